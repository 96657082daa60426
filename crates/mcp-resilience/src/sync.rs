//! Locks of the breaker's gate: the standard ones, or loom's in this crate's unit tests, which try out every order in
//! which threads can take them.

#[cfg(test)]
pub(crate) use loom::sync::{Arc, Mutex, MutexGuard};
#[cfg(not(test))]
pub(crate) use std::sync::{Arc, Mutex, MutexGuard};
