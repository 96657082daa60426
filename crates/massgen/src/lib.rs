//! A team of language-model agents answers one question together, with tools from any number of MCP servers.
//!
//! This crate is thin: it re-exports the layers below, and [`assemble`] puts them together, from a configuration to
//! a running [`Team`].
//!
//! ```
//! use massgen::config::{Format, LoadOptions, load_str};
//! use massgen::orchestrator::{Emitter, RunOutcome, Task};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! let yaml = "
//! agent:
//!   id: parrot
//!   backend: { type: scripted, script: parrot.yaml }
//! ";
//! let script = "turns: [{ answer: Polly wants a cracker. }, { vote: { for: parrot, reason: mine } }]";
//!
//! let config = load_str(yaml, "team.yaml".as_ref(), Format::Yaml, &LoadOptions::default(), &massgen::config::Disk)
//!     .config
//!     .ok_or("the configuration has errors")?;
//! let mut context = massgen::Context::default();
//! context.scripts.insert("parrot.yaml".into(), script.into());
//! let team = massgen::assemble(&config, context)?;
//! let result = team.ask(&Task::new("What do you want?"), &Emitter::new(|_| ()), &Default::default()).await;
//! team.close().await;
//!
//! assert_eq!(result.outcome, RunOutcome::Answered);
//! assert_eq!(result.answer.as_deref(), Some("Polly wants a cracker."));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! # Ok::<(), std::io::Error>(())
//! ```

mod asked;
mod assemble;
mod board;
mod error;
mod guards;
pub mod measured;
mod models;
mod places;
mod project;
mod proxies;
mod servers;
mod survey;
mod team;
mod tools;

pub use massgen_backends as backends;
pub use massgen_config as config;
pub use massgen_orchestrator as orchestrator;
pub use mcp_client as client;
pub use mcp_core as core;
pub use mcp_resilience as resilience;
pub use mcp_security as security;
pub use mcp_transport as transport;

pub use asked::{Person, SamplingQuestion};
pub use assemble::{AcceptedLock, Context, assemble, obstacles};
pub use error::{AssembleError, Problem};
pub use models::rehearsal_question;
pub use places::launch_policy;
pub use project::launches;
pub use servers::{Owner, ServerReport, Servers};
pub use survey::{Surveyed, survey};
pub use team::Team;
