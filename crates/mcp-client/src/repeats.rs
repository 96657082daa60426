//! Calls that fail again and again with the same arguments: a model is told when to stop.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Mutex, PoisonError};

use mcp_core::{Class, Content, ToolCall, ToolError, ToolOutput};

/// With this failure the caller is told.
const ENOUGH: u32 = 3;
/// Calls that are remembered; beyond that all are forgotten.
const REMEMBERED: usize = 1000;

/// Counts the failures of each call, by caller, tool and arguments. What succeeds begins anew.
#[derive(Default)]
pub(crate) struct Repeats {
    hasher: RandomState,
    failures: Mutex<HashMap<u64, u32>>,
}

/// One call among those that are counted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Key(u64);

impl Repeats {
    /// `None` for a call that no agent makes: a program knows what it repeats.
    pub(crate) fn key(&self, call: &ToolCall) -> Option<Key> {
        let caller = call.caller.as_ref()?;
        let mut hasher = self.hasher.build_hasher();
        (caller, &call.tool, &call.arguments).hash(&mut hasher);
        Some(Key(std::hash::Hasher::finish(&hasher)))
    }

    /// Counts how a call ended, and adds to its outcome what the caller must be told.
    pub(crate) fn told(
        &self,
        Key(key): Key,
        result: Result<ToolOutput, ToolError>,
    ) -> Result<ToolOutput, ToolError> {
        let failed = match &result {
            Ok(output) => output.is_error,
            // Whoever takes a call back has not failed at it, and whoever is told to come back later may do so.
            Err(error) => !matches!(error.class(), Class::Cancelled | Class::Rejected),
        };
        let times = {
            let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
            if !failed {
                failures.remove(&key);
                return result;
            }
            if failures.len() >= REMEMBERED {
                failures.clear();
            }
            let times = failures.entry(key).or_default();
            *times += 1;
            *times
        };
        if times < ENOUGH {
            return result;
        }
        match result {
            Ok(mut output) => {
                output.content.push(Content::text(format!(
                    "This very call has failed {times} times in this run. Do not repeat it: change the arguments, use \
                     another tool, or go on without it."
                )));
                Ok(output)
            }
            Err(error) => Err(ToolError::Repeated { error: Box::new(error), times }),
        }
    }
}

#[cfg(test)]
mod tests {
    use mcp_core::{AgentId, CallId, JsonObject};

    use super::*;

    fn call(count: u64) -> ToolCall {
        let arguments = JsonObject::from_iter([("count".to_owned(), count.into())]);
        ToolCall::new(CallId::new("c"), "t", arguments).by(AgentId::new("a").unwrap())
    }

    #[test]
    fn the_third_failure_of_the_same_call_says_so() {
        let repeats = Repeats::default();
        let key = |count| repeats.key(&call(count)).unwrap();
        let fail = |count| repeats.told(key(count), Err(ToolError::Internal("no".into())));
        for _ in 0..2 {
            assert!(matches!(fail(1), Err(ToolError::Internal(_))));
            assert!(matches!(fail(2), Err(ToolError::Internal(_))));
        }
        let told = fail(1).unwrap_err();
        assert_eq!(told.class(), mcp_core::Class::Internal);
        assert!(told.to_string().contains("failed 3 times in this run. Do not repeat it"), "{told}");
        // A success begins anew.
        assert!(repeats.told(key(2), Ok(ToolOutput::text("yes"))).is_ok());
        assert!(matches!(fail(2), Err(ToolError::Internal(_))));
        let said = repeats.told(key(1), Ok(ToolOutput::error("no"))).unwrap();
        assert!(said.to_text().contains("failed 4 times"), "{said:?}");
    }
}
