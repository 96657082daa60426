//! Secrets on their way out: what was registered as one is taken out of every text, and stopped on its way to a server
//! that it does not belong to.

mod redact;
mod resemble;
mod scope;

pub use redact::Redactor;
pub use resemble::resembles;
pub use scope::{Foreign, Scopes};
