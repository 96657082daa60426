//! Language-model providers behind one trait.

mod backend;
mod event;
mod message;
mod tool_loop;

pub use backend::{Backend, Capabilities, EventStream, ModelInfo};
pub use event::{BackendError, Event, Exhausted, FinishReason, TimeoutPhase, Usage};
pub use message::{
    Message, Request, RequestContext, RequestPhase, ToolChoice, ToolDefinition, ToolInvocation, ToolReply,
    Turn, Wire,
};
pub use tool_loop::{CallStatus, LoopEnd, LoopError, LoopEvent, LoopStop, ToolLoop, ToolLoopOptions};
