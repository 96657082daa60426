//! Secrets on their way out: what was registered as one is taken out of every text, and stopped on its way to a server
//! that it does not belong to; and questions of servers that want one.

mod asked;
mod redact;
mod resemble;
mod scope;
mod spell;

pub use asked::{field_wants_credential, question_wants_credential};
pub use redact::Redactor;
pub use resemble::resembles;
pub use scope::{Foreign, Scopes};
