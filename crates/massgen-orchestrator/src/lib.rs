//! A team of agents answers one question.

mod event;

pub use event::{
    AgentInfo, AgentSummary, Emitter, Event, EventKind, RunOutcome, ServerState, ToolStatus, VERSION,
};
