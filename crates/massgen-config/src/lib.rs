//! MassGen configuration files: YAML and JSON into typed values, with diagnostics that name the place and the remedy.
//!
//! Files of v0.0.13 load unchanged. All problems of a file are reported at once; what is merely useless is a warning.
//!
//! ```
//! use std::path::Path;
//! use massgen_config::{BackendKind, Disk, Format, LoadOptions, load_str};
//!
//! let text = "
//! agents:
//!   - id: scout
//!     backend: { model: gpt-5-nano, temprature: 0.2 }
//! ";
//! let loaded = load_str(text, Path::new("team.yaml"), Format::Yaml, &LoadOptions::default(), &Disk);
//!
//! let config = loaded.config.expect("there is no error in it");
//! assert_eq!(config.agents[0].backend.kind, BackendKind::OpenAi);
//!
//! let warning = loaded.diagnostics.warnings().next().expect("there is a slip of the pen in it");
//! assert_eq!((warning.line, warning.column), (4, 35));
//! assert_eq!(warning.help.as_deref(), Some("did you mean temperature?"));
//! ```
//!
//! # Features
//!
//! None.

mod diagnostic;
mod interpolate;
mod jsonc;
pub mod keys;
mod load;
mod mask;
mod model;
mod node;
mod parse;
pub mod quick;
mod read;
mod schema;
mod secret;
mod summary;

pub use diagnostic::{Diagnostic, Diagnostics, Severity};
pub use load::{
    Disk, FileReader, Folders, LoadOptions, Loaded, Unresolved, is_server_file, load, load_server_file,
    load_str, mcp_servers_from_json,
};
pub use model::*;
pub use parse::{Format, from_yaml_str};
pub use schema::json_schema;
pub use secret::{Secret, SecretError, SecretSource};
pub use summary::{AgentSummary, ServerSummary, Summary};
