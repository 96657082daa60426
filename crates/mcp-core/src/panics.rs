//! A panic in the middle of a call is the end of that call, and of nothing else.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

use crate::ToolError;

/// Awaits a call; a panic in it becomes its error. What was said of the panic stays with the panic hook: it may hold
/// anything.
///
/// What the call held is dropped before this returns, as where it is dropped from outside.
///
/// # Errors
///
/// The call's own, or [`ToolError::Internal`].
pub async fn caught<T>(call: impl Future<Output = Result<T, ToolError>>) -> Result<T, ToolError> {
    let mut call = pin!(call);
    // Nothing of a call that panicked is looked at again.
    poll_fn(|cx| {
        catch_unwind(AssertUnwindSafe(|| call.as_mut().poll(cx))).unwrap_or_else(|_| {
            Poll::Ready(Err(ToolError::Internal("a panic ended the call; please report it".to_owned())))
        })
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::task::{Context, Waker};

    use super::*;

    #[test]
    fn a_panic_is_an_error_and_what_the_call_held_is_dropped() {
        struct Held<'a>(&'a AtomicBool);
        impl Drop for Held<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::SeqCst);
            }
        }
        let dropped = AtomicBool::new(false);
        let call = async {
            let _held = Held(&dropped);
            if !dropped.load(Ordering::SeqCst) {
                // Without the noise of the hook, which prints.
                std::panic::resume_unwind(Box::new("a fault of ours"));
            }
            Ok(())
        };
        let mut call = pin!(caught(call));
        let ended = call.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(ended, Poll::Ready(Err(ToolError::Internal(_)))), "{ended:?}");
        assert!(dropped.load(Ordering::SeqCst));
    }
}
