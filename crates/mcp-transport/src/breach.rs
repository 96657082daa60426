//! What a server does that no honest one does: told apart from trouble, because it says nothing about whether the server
//! is there, and much about whether it can be believed.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use mcp_core::ServerName;

/// The most characters of an id that are repeated.
const ID: usize = 40;

/// One act against the protocol that looks like an attempt to deceive or to harm.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Breach {
    /// An answer under an id that was never given out.
    ForeignId {
        /// The id as JSON, at most 40 characters of it.
        id: String,
        /// How many requests waited for an answer then.
        pending: usize,
    },
    /// A further answer to a request that was answered already.
    SecondAnswer {
        /// SHA-256 of that answer, as it came, in hexadecimal digits; `None` where it was too large to be kept.
        hash: Option<String>,
    },
    /// An answer whose id has another JSON type than the request's.
    IdType,
    /// An answer that cannot be read.
    Unreadable(Flaw),
    /// A line longer than anything that is accepted, without an end and without an id.
    EndlessLine,
    /// More than 1,000 notices a second for 5 seconds.
    Flood,
    /// It led a request to where none may go: by a redirect, or by its name.
    Misled {
        /// Why nothing may go there.
        where_to: String,
    },
    /// A request for something that was never offered.
    Undeclared {
        /// The request's method.
        method: String,
    },
}

impl Breach {
    /// An answer under this id, where so many others were waited for. JSON escapes what would move a cursor.
    pub(crate) fn foreign_id(id: impl fmt::Display, pending: usize) -> Self {
        Self::ForeignId { id: id.to_string().chars().take(ID).collect(), pending }
    }
}

/// Why an answer cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Flaw {
    /// It is not UTF-8.
    Encoding,
    /// It is nested deeper than anything that is read.
    Depth,
    /// It is not JSON, or JSON that is no answer: a member twice, none of those that are wanted.
    Shape,
}

impl Flaw {
    /// What is wrong with an answer that could not be read.
    pub(crate) fn of(answer: &[u8]) -> Self {
        let Ok(answer) = std::str::from_utf8(answer) else { return Self::Encoding };
        let (mut depth, mut deepest, mut quoted, mut escaped) = (0_usize, 0, false, false);
        for byte in answer.bytes() {
            match byte {
                _ if std::mem::take(&mut escaped) => {}
                b'\\' if quoted => escaped = true,
                b'"' => quoted = !quoted,
                b'[' | b'{' if !quoted => depth += 1,
                b']' | b'}' if !quoted => depth = depth.saturating_sub(1),
                _ => {}
            }
            deepest = deepest.max(depth);
        }
        if deepest > DEPTH { Self::Depth } else { Self::Shape }
    }
}

/// How deep JSON may be nested; serde_json's own bound.
const DEPTH: usize = 127;

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ForeignId { id, pending } => {
                write!(f, "it answered under an id that was never given out: {id}, while {pending} waited")
            }
            Self::SecondAnswer { hash: None } => f.write_str("it answered one request twice"),
            Self::SecondAnswer { hash: Some(hash) } => {
                write!(f, "it answered one request twice; SHA-256 of the second answer: {hash}")
            }
            Self::IdType => f.write_str("it answered under an id of another type than the request's"),
            Self::Unreadable(_) => f.write_str("it sent an answer that cannot be read"),
            Self::EndlessLine => f.write_str("it sent a line without end"),
            Self::Flood => f.write_str("it floods us with notices"),
            Self::Misled { where_to } => write!(f, "it leads where nothing may go: {where_to}"),
            Self::Undeclared { method } => write!(f, "it asked for {method:?}, which was never offered"),
        }
    }
}

/// What a server does that is no breach, and that somebody should know of.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// It names a time to wait before its streams of events are opened again (`retry`) that is not kept to: sooner than that
    /// would be an attack on it, later as good as never.
    Retry {
        /// What it wants.
        asked: Duration,
        /// What is waited.
        kept: Duration,
    },
    /// The stream that is to bring an answer broke, and as many were opened again as may be: ten in five minutes.
    Exhausted {
        /// How long until one may be opened again.
        wait: Duration,
    },
    /// It wrote to its standard output what is no message, as programs do that greet or log there. Told of each such line: how
    /// often it is passed on to people is for whoever hears it.
    Chatter {
        /// How that begins, at most 80 characters.
        line: String,
    },
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Retry { asked, kept } => write!(
                f,
                "it wants its streams of events to be opened again after {} s: {} s are waited",
                asked.as_secs_f64(),
                kept.as_secs_f64()
            ),
            Self::Exhausted { .. } => {
                f.write_str("its streams of events break too often: they are opened again later")
            }
            Self::Chatter { line } => {
                write!(f, "it wrote to its standard output what is no message: {line:?}")
            }
        }
    }
}

/// Hears of breaches. It is called from the task that reads what the server sends: it must return at once.
pub trait BreachSink: Send + Sync {
    /// One breach.
    fn breach(&self, server: &ServerName, breach: Breach);

    /// An answer to a request that nobody waits for any more. That is no breach: the server was slow.
    fn late(&self, _server: &ServerName) {}

    /// Something else that is no breach.
    fn notice(&self, _server: &ServerName, _notice: Notice) {}
}

/// Where the breaches of one session go; nowhere until it is told.
#[derive(Clone, Default)]
pub(crate) struct Breaches(Arc<OnceLock<(ServerName, Arc<dyn BreachSink>)>>);

impl Breaches {
    /// Tells them from now on.
    pub(crate) fn report_to(&self, server: &ServerName, sink: Option<&Arc<dyn BreachSink>>) {
        if let Some(sink) = sink {
            // Set once, when the session is opened.
            let _ = self.0.set((server.clone(), sink.clone()));
        }
    }

    pub(crate) fn note(&self, breach: Breach) {
        tracing::debug!(%breach, "breach of the protocol");
        if let Some((server, sink)) = self.0.get() {
            sink.breach(server, breach);
        }
    }

    /// Tells of something that is no breach.
    pub(crate) fn notice(&self, notice: Notice) {
        tracing::debug!(%notice, "notice");
        if let Some((server, sink)) = self.0.get() {
            sink.notice(server, notice);
        }
    }

    /// Tells of an answer that comes too late.
    pub(crate) fn late(&self) {
        tracing::debug!("an answer to what nobody waits for any more");
        if let Some((server, sink)) = self.0.get() {
            sink.late(server);
        }
    }
}

impl fmt::Debug for Breaches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Breaches").field("told", &self.0.get().is_some()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_an_answer() {
        let deep =
            |levels: usize| format!(r#"{{"id":1,"result":{}{}"#, "[".repeat(levels), "]".repeat(levels));
        let brackets = format!(r#"{{"id":1,"result":"\\\"{}"#, "[".repeat(200));
        for (answer, flaw) in [
            (b"{\"id\":1,\"result\":\"\xff\"}".to_vec(), Flaw::Encoding),
            (deep(126).into_bytes(), Flaw::Shape),
            (deep(127).into_bytes(), Flaw::Depth),
            (brackets.into_bytes(), Flaw::Shape),
            (Vec::new(), Flaw::Shape),
        ] {
            assert_eq!(Flaw::of(&answer), flaw, "{}", String::from_utf8_lossy(&answer));
        }
    }
}
