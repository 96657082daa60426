//! What is said to whoever keeps a log.

use std::fmt::{Debug, Write};
use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata};

use crate::lab::{Measured, Scene, Seen};

/// Writes down what it is asked to, as `field=value field=value level=LEVEL target=module`.
#[derive(Clone)]
pub(crate) struct Heard {
    wants: fn(&Metadata<'_>) -> bool,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Heard {
    pub(crate) fn new(wants: fn(&Metadata<'_>) -> bool) -> Self {
        Self { wants, lines: Arc::default() }
    }

    /// Everything so far.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }
}

/// Plays a scene as [`apart`].
pub(crate) async fn listening(scene: impl FnOnce(Heard) -> Scene + Send + 'static) -> Measured {
    apart(|heard| scene(heard).play()).await
}

/// Plays on a thread of its own, on which all is heard that this workspace says about what it does.
pub(crate) async fn apart<F, T>(play: impl FnOnce(Heard) -> F + Send + 'static) -> T
where
    F: Future<Output = T>,
    T: Send + 'static,
{
    let played = tokio::task::spawn_blocking(move || {
        let heard = Heard::new(|metadata| {
            metadata.is_event()
                && metadata.target().starts_with("mcp_")
                && *metadata.level() <= tracing::Level::DEBUG
        });
        let _heard = crate::support::listen(heard.clone());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(play(heard))
    });
    played.await.unwrap()
}

/// One line was heard that says all of these.
pub(crate) fn logs(heard: Heard, words: &'static [&'static str]) -> impl Fn(&Seen, &mut Measured) + Send {
    move |_, measured| {
        let lines = heard.lines();
        let is_said = lines.iter().any(|line| words.iter().all(|word| line.contains(word)));
        measured.expect(is_said, format!("no line says {words:?}: {lines:?}"));
    }
}

/// Whether a line is about a server that cannot be believed.
pub(crate) fn is_of_security(line: &str) -> bool {
    line.ends_with(" target=mcp_client::security")
}

impl tracing::Subscriber for Heard {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        (self.wants)(metadata)
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        struct Line(String);
        impl Visit for Line {
            fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
                let _ = write!(self.0, "{}={value:?} ", field.name());
            }
        }
        let mut line = Line(String::new());
        event.record(&mut line);
        let metadata = event.metadata();
        let _ = write!(line.0, "level={} target={}", metadata.level(), metadata.target());
        self.lines.lock().unwrap().push(line.0);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}
