//! Language-model providers behind one trait: four wire formats as pure codecs, one way to send and to stream, and
//! the loop that runs the tools a model calls.
//!
//! ```
//! use massgen_backends::{HttpClient, HttpOptions, Message, ProviderConfig, ProviderKind, Request, connect};
//! use tokio_util::sync::CancellationToken;
//!
//! let kind = ProviderKind::LmStudio;
//! let base_url = kind.default_base_url().expect("a usual address");
//! let backend = connect(
//!     ProviderConfig::new(kind, base_url, "qwen3-8b"),
//!     &HttpClient::new(HttpOptions::default())?,
//! );
//! assert_eq!(backend.model().provider, "LM Studio");
//!
//! // A stream of events; nothing is dialled before it is polled, and dropping it closes the connection.
//! let request = Request { messages: vec![Message::User("Hello!".into())], ..Request::default() };
//! let events = backend.stream(request, CancellationToken::new());
//! # drop(events);
//! # Ok::<(), massgen_backends::BackendError>(())
//! ```
//!
//! - [`Backend`] and [`Event`]: the trait, and what a model says.
//! - [`connect`], [`ProviderConfig`], [`ProviderKind`]: the providers; [`profile::notes`] tells what a configuration
//!   asks for in vain.
//! - [`wire`]: the formats. A provider's own items are kept verbatim and replayed to it, and to nobody else.
//! - [`local`]: model servers on this machine. [`prices`]: what an answer cost.
//! - [`ScriptedBackend`]: a model played from a script. [`ToolLoop`]: the loop.
//!
//! # Features
//!
//! None.

mod backend;
mod classify;
mod event;
mod http;
pub mod local;
mod message;
pub mod prices;
pub mod profile;
mod provider;
pub mod scripted;
mod tool_loop;
pub mod wire;

pub use backend::{Backend, Capabilities, EventStream, ModelInfo};
pub use event::{BackendError, Event, Exhausted, FinishReason, TimeoutPhase, Usage};
pub use http::{HttpClient, HttpOptions};
pub use message::{
    Message, Request, RequestContext, RequestPhase, ToolChoice, ToolDefinition, ToolInvocation, ToolReply,
    Turn, Wire,
};
pub use profile::ProviderKind;
pub use provider::{ProviderConfig, connect};
pub use scripted::{Script, ScriptedBackend};
pub use tool_loop::{CallStatus, LoopEnd, LoopError, LoopEvent, LoopStop, ToolLoop, ToolLoopOptions};
