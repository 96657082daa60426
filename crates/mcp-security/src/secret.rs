//! Secrets on their way out: what was registered as one is taken out of every text.

mod redact;

pub use redact::Redactor;
