//! Permission: each call is judged by the rules, and where they say so a person is asked.

mod gate;
mod layer;
mod taint;

pub use gate::Gate;
pub use gate::{Answer, Ask, Question};
pub(crate) use layer::Permission;
