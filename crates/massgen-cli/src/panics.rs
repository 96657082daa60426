//! What is said of a panic: where it was and how it came about, in the log and without secrets.

use std::backtrace::Backtrace;
use std::panic::PanicHookInfo;
use std::sync::{Mutex, TryLockError};

use massgen::security::Redactor;

use crate::output;

/// Knows the secrets of what is being run.
static REDACTOR: Mutex<Option<Redactor>> = Mutex::new(None);

/// From now on panics are told in the log.
pub(crate) fn tell() {
    std::panic::set_hook(Box::new(|panic| {
        let text = report(panic, &Backtrace::force_capture());
        if tracing::dispatcher::has_been_set() {
            tracing::error!("{text}");
        } else {
            output::note(text);
        }
    }));
}

/// From now on nothing that this one knows is in what is said.
pub(crate) fn without(redactor: &Redactor) {
    if let Ok(mut known) = REDACTOR.lock() {
        *known = Some(redactor.clone());
    }
}

fn report(panic: &PanicHookInfo<'_>, backtrace: &Backtrace) -> String {
    let text = format!("{panic}\n{backtrace}");
    // Whoever panics may hold the lock.
    match REDACTOR.try_lock() {
        Ok(redactor) => match &*redactor {
            Some(redactor) => redactor.redact(&text).into_owned(),
            None => text,
        },
        Err(TryLockError::Poisoned(_) | TryLockError::WouldBlock) => {
            let place = panic.location().map(ToString::to_string).unwrap_or_default();
            format!("panicked at {place}")
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_panic_is_told_with_its_place_and_without_secrets() {
        let redactor = Redactor::default();
        redactor.register("hunter2-hunter2");
        without(&redactor);
        let told: Arc<Mutex<Vec<String>>> = Arc::default();
        let before = Arc::new(std::panic::take_hook());
        let (heard, others) = (told.clone(), before.clone());
        std::panic::set_hook(Box::new(move |panic| {
            if std::thread::current().name() == Some("panics") {
                heard.lock().unwrap().push(report(panic, &Backtrace::force_capture()));
            } else {
                others(panic);
            }
        }));
        let thread = std::thread::Builder::new().name("panics".into());
        let ended = thread.spawn(|| panic!("the key hunter2-hunter2 fits nothing")).unwrap().join();
        std::panic::set_hook(Box::new(move |panic| before(panic)));
        assert!(ended.is_err());
        let told = told.lock().unwrap();
        let [text] = told.as_slice() else { panic!("{told:?}") };
        assert!(text.contains("panics.rs:") && text.contains("the key [redacted] fits nothing"), "{text}");
        assert!(text.contains("0: ") && !text.contains("hunter2"), "{text}");
    }
}
