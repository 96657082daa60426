//! The words of the Model Context Protocol, as a host uses them: names, tools, calls, content,
//! errors and the traits that let crates which must not know each other work together.
//!
//! There is no I/O here, no runtime and no protocol library, so that anything can depend on it.
//!
//! ```
//! use mcp_core::{Catalogue, ServerName, ToolFilter, ToolName, ToolSpec};
//!
//! let server = ServerName::new("time")?;
//! let tool = ToolSpec::new(server.clone(), ToolName::new("now")?);
//! let catalogue = Catalogue::build([(server, vec![tool], ToolFilter::default())]).catalogue;
//!
//! // Models see one legal name per tool; the way back is a table, never a split on "__".
//! let entry = catalogue.find("mcp__time__now").expect("it was just added");
//! assert_eq!(entry.spec.name.as_str(), "now");
//! # Ok::<(), mcp_core::NameError>(())
//! ```
//!
//! # Features
//!
//! None: this crate is small enough to take whole.

mod call;
mod catalogue;
mod class;
mod content;
mod credential;
mod envelope;
mod environment;
mod error;
mod filter;
mod guard;
mod names;
mod panics;
mod schema;
mod service;
mod tool;

pub use call::{CallId, ToolCall, ToolOutput};
pub use catalogue::{Catalogue, CatalogueEntry, Merge, Notice};
pub use class::Class;
pub use content::{Content, EmbeddedResource, ResourceBody};
pub use credential::MissingCredential;
pub use envelope::Envelope;
pub use environment::Environment;
pub use error::{ErrorKind, Phase, ToolError};
pub use filter::ToolFilter;
pub use guard::{Admitted, Guard, LaunchSpec, Refusal, RemoteSpec};
pub use names::{AgentId, ExposedName, NameError, ServerName, ToolName};
pub use panics::caught;
pub use schema::Schema;
pub use service::{BoxFuture, ToolService};
pub use tool::{Annotations, ToolSpec};

/// A JSON object, in the order its author wrote it.
pub type JsonObject = serde_json::Map<String, serde_json::Value>;
