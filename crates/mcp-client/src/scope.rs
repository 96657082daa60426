//! One server's secret does not go to another server.

use mcp_core::{Refusal, ToolError};
use mcp_security::Scopes;

use crate::pipeline::Request;
use crate::step::Check;

/// Refuses calls whose arguments hold a secret of another server.
#[derive(Clone)]
pub(crate) struct Scope {
    scopes: Scopes,
}

impl Scope {
    pub(crate) fn new(scopes: Scopes) -> Self {
        Self { scopes }
    }
}

impl Check for Scope {
    fn check(&self, request: &Request) -> Result<(), ToolError> {
        let server = &request.spec.server;
        let Some(foreign) = self.scopes.foreign_in(server, &request.call.arguments) else { return Ok(()) };
        let refusal = Refusal {
            rule: "foreign-secret",
            reason: format!("the arguments hold {foreign}, which is not for this server"),
            hint: "leave the value out; a server that needs it gets it through its own env or headers".into(),
        };
        Err(ToolError::Refused { server: server.clone(), refusal })
    }
}
