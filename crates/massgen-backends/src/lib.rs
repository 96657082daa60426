//! Language-model providers behind one trait.

mod backend;
mod event;
mod message;

pub use backend::{Backend, Capabilities, EventStream, ModelInfo};
pub use event::{BackendError, Event, Exhausted, FinishReason, TimeoutPhase, Usage};
pub use message::{
    Message, Request, RequestContext, RequestPhase, ToolChoice, ToolDefinition, ToolInvocation, ToolReply,
    Turn, Wire,
};
