//! The trait every provider stands behind.

use std::pin::Pin;

use futures_util::Stream;
use tokio_util::sync::CancellationToken;

use crate::{BackendError, Event, Request};

/// What a model answers with: events until [`Event::Done`], or one error, which ends it.
pub type EventStream = Pin<Box<dyn Stream<Item = Result<Event, BackendError>> + Send>>;

/// Which model stands behind a backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelInfo {
    /// The provider's label for people, such as `OpenAI`, `Claude`, `LM Studio`.
    pub provider: String,
    /// The model's name as the provider knows it; empty where the provider decides.
    pub model: String,
}

/// What a backend can do, where that differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Capabilities {
    /// It can be made to call a tool ([`crate::ToolChoice::Required`]).
    pub forced_tool_use: bool,
}

/// One model of one provider. Holds no conversation: every request carries the whole of it.
pub trait Backend: Send + Sync {
    /// Which model this is.
    fn model(&self) -> &ModelInfo;

    /// What it can do.
    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    /// Asks the model. The stream does nothing until it is polled, ends with exactly one [`Event::Done`] or one
    /// error, and stops soon after `cancel` fires or it is dropped.
    fn stream(&self, request: Request, cancel: CancellationToken) -> EventStream;
}
