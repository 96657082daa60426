//! A team of agents answers one question.
//!
//! All agents work at once, each on a snapshot of the answers given so far. A new answer stops every round that does not
//! know it and takes back every vote; when every agent holds a vote for one of the current answers, the one with the
//! most votes presents. What happens is told by typed [`Event`]s, and `events.jsonl` ([`Journal`]) is their record.
//!
//! ```
//! use std::sync::{Arc, Mutex};
//!
//! use massgen_backends::{
//!     Backend, Event as Said, EventStream, FinishReason, ModelInfo, Request, ToolInvocation, Turn,
//! };
//! use massgen_orchestrator::{Agent, Emitter, Options, RunOutcome, Task, run};
//! use tokio_util::sync::CancellationToken;
//!
//! /// A model that answers every question at once.
//! struct Fast(ModelInfo);
//!
//! impl Backend for Fast {
//!     fn model(&self) -> &ModelInfo {
//!         &self.0
//!     }
//!     fn stream(&self, _: Request, _: CancellationToken) -> EventStream {
//!         let arguments = Ok([("content".to_owned(), "42".into())].into_iter().collect());
//!         let call = ToolInvocation { id: "1".into(), name: "new_answer".into(), arguments };
//!         let turn = Turn { calls: vec![call], ..Turn::default() };
//!         let done = Said::Done { reason: FinishReason::ToolCalls, turn };
//!         Box::pin(futures_util::stream::iter([Ok(done)]))
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), mcp_core::NameError> {
//! let model = ModelInfo { provider: "Example".into(), model: "fast".into() };
//! let agent = Agent::new(mcp_core::AgentId::new("alpha")?, Arc::new(Fast(model)));
//!
//! let events = Arc::new(Mutex::new(Vec::new()));
//! let sink = events.clone();
//! let emitter = Emitter::new(move |event| sink.lock().unwrap().push(event.clone()));
//!
//! let task = Task::new("What is 6 times 7?");
//! let result = run(&[agent], &task, &Options::default(), &emitter, &CancellationToken::new()).await;
//! assert_eq!((result.outcome, result.answer.as_deref()), (RunOutcome::Answered, Some("42")));
//! assert_eq!(events.lock().unwrap().len(), 7);
//! # Ok(())
//! # }
//! ```
//!
//! # Features
//!
//! None.

mod agent;
mod budget;
mod driver;
mod event;
mod journal;
mod prompt;
mod state;
mod team;
mod vote;

pub use budget::{Budget, Meter};
pub use driver::{run, run_when};
pub use event::{
    AgentInfo, AgentSummary, Emitter, Event, EventKind, RunOutcome, ServerState, ToolStatus, VERSION,
};
pub use journal::{Journal, JournalError, Recording, read_events};
pub use team::{Agent, Ballot, Exchange, Limits, Options, RunResult, Task};
