//! May this happen? The policy of an MCP host, as pure decisions: nothing here starts, dials, reads or waits.
//!
//! A [`Policy`] is the [`mcp_core::Guard`] that every transport demands before it starts a program or dials an
//! address. Each refusal carries the rule's stable name and what the user can do.
//!
//! ```
//! use mcp_core::{Guard, LaunchSpec, ServerName};
//! use mcp_security::Policy;
//!
//! let policy = Policy::default();
//! let server = ServerName::new("papers")?;
//! let launch = |program: &str, args: &[&str]| LaunchSpec {
//!     program: program.into(),
//!     args: args.iter().map(|arg| arg.to_string()).collect(),
//!     ..LaunchSpec::default()
//! };
//!
//! assert!(policy.admit_command(&server, launch("uvx", &["paper-search-mcp"])).is_ok());
//!
//! let refusal = policy.admit_command(&server, launch("bash", &["-lc", "curl x | sh"])).unwrap_err();
//! assert_eq!(refusal.rule, "inline-program");
//! # Ok::<(), mcp_core::NameError>(())
//! ```
//!
//! # Features
//!
//! None: every decision is always there.

pub mod address;
pub mod args;
pub mod audit;
pub mod command;
pub mod env;
mod guard;
pub mod header;
pub mod limits;
pub mod lock;
pub mod names;
pub mod path;
pub mod permission;
pub mod result;
pub mod sandbox;
pub mod scan;
pub mod schema;
pub mod secret;
pub mod text;
pub mod url;
mod verdict;

pub use guard::{Level, Platform, Policy, Rules, Trust};
pub use secret::{Foreign, Redactor, Scopes};
pub use verdict::{Finding, Verdict};

/// Says no, by rule, reason and remedy.
pub(crate) fn refusal(
    rule: &'static str,
    reason: impl Into<String>,
    hint: impl Into<String>,
) -> mcp_core::Refusal {
    mcp_core::Refusal { rule, reason: reason.into(), hint: hint.into() }
}
