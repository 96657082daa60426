//! The gate as a step of the pipeline.

use mcp_core::ToolError;

use super::Gate;
use crate::pipeline::Request;
use crate::step::{Ended, Further, Stack, Step};

/// Lets on what the gate admits.
#[derive(Clone)]
pub(crate) struct Permission {
    gate: Gate,
}

impl Permission {
    pub(crate) fn new(gate: Gate) -> Self {
        Self { gate }
    }
}

impl Step for Permission {
    async fn take<S: Stack>(self, request: Request, further: Further<S>) -> Ended {
        self.gate
            .admit(&request.call, &request.spec)
            .await
            .map_err(|refusal| ToolError::Refused { server: request.spec.server.clone(), refusal })?;
        further.call(request).await
    }
}
