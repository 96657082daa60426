//! Secrets out of what servers say when they fail: their last words go to models, logs and people.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use mcp_core::{Content, ToolError, ToolName, ToolOutput, ToolSpec};
use mcp_security::{Finding, Redactor};
use pin_project_lite::pin_project;
use tower::{Layer, Service};

use crate::metrics::redacted;
use crate::pipeline::Request;
use crate::server::Shared;
use crate::step::Ended;
use crate::{ClientOptions, Judgement, Subject};

/// A text on its way to `sink` without registered secrets. That there was one is counted.
pub(crate) fn text(options: &ClientOptions, sink: &'static str, text: String) -> String {
    match options.redactor.redact(&text) {
        Cow::Owned(clean) => {
            redacted(options, sink);
            clean
        }
        Cow::Borrowed(_) => text,
    }
}

/// The same error without registered secrets.
pub(crate) fn error(options: &ClientOptions, error: ToolError) -> ToolError {
    let redactor = &options.redactor;
    let clean = |of: String| text(options, "error", of);
    let lines = |lines: Vec<String>| lines.into_iter().map(clean).collect();
    match error {
        ToolError::Spawn { server, reason, searched } => {
            ToolError::Spawn { server, reason: clean(reason), searched }
        }
        ToolError::Start { server, reason, stderr } => {
            ToolError::Start { server, reason: clean(reason), stderr: lines(stderr) }
        }
        ToolError::Connection { server, phase, reason, stderr, source } => {
            // What a lower layer says may quote a secret as well: where it does, its text is all that is kept.
            let source = source.filter(|source| !holds_secret(redactor, source.as_ref()));
            ToolError::Connection { server, phase, reason: clean(reason), stderr: lines(stderr), source }
        }
        ToolError::Server { server, code, message } => {
            ToolError::Server { server, code, message: clean(message) }
        }
        ToolError::Malformed { server, reason } => ToolError::Malformed { server, reason: clean(reason) },
        ToolError::NotMcp { server, content_type, title } => {
            ToolError::NotMcp { server, content_type: clean(content_type), title: clean(title) }
        }
        ToolError::Http { server, status, body } => ToolError::Http { server, status, body: clean(body) },
        ToolError::TooLarge { server, limit, what } => {
            ToolError::TooLarge { server, limit, what: clean(what) }
        }
        ToolError::Unavailable { server, reason, retry_at } => {
            ToolError::Unavailable { server, reason: clean(reason), retry_at }
        }
        ToolError::OutcomeUnknown { server, tool, reason } => {
            ToolError::OutcomeUnknown { server, tool, reason: clean(reason) }
        }
        ToolError::Internal(text) => ToolError::Internal(clean(text)),
        other => other,
    }
}

/// Takes registered secrets out of an answer; where there were any, answers with the names of those that have one.
fn output(options: &ClientOptions, output: &mut ToolOutput) -> Option<BTreeSet<String>> {
    let redactor = &options.redactor;
    let (mut any, mut names) = (false, BTreeSet::new());
    for content in &mut output.content {
        match content {
            Content::Text(text) => {
                if let Cow::Owned(clean) = redactor.redact_naming(text, &mut names) {
                    (*text, any) = (clean, true);
                }
            }
            Content::Unknown(value) => any |= redactor.redact_json_naming(value, &mut names),
            _ => {}
        }
    }
    if let Some(structured) = &mut output.structured {
        any |= redactor.redact_json_naming(structured, &mut names);
    }
    any.then(|| {
        redacted(options, "answer");
        names
    })
}

/// What it means that an answer of this tool held secrets of these names.
fn echoed(tool: &ToolName, names: &BTreeSet<String>) -> Judgement {
    let which = match names.len() {
        0 => "a registered secret".to_owned(),
        _ => names.iter().map(|name| format!("the secret {name}")).collect::<Vec<_>>().join(" and "),
    };
    let finding = Finding {
        rule: "echoed-secret",
        reason: format!("it repeated {which}, which was taken out"),
        hint: "a server that shows what it was given may show it elsewhere: look at what it logs and sends"
            .into(),
    };
    Judgement::told(Subject::Answer(tool.clone()), finding)
}

/// Puts [`Redacting`] around a service.
#[derive(Clone)]
pub(crate) struct RedactLayer(pub(crate) Arc<Shared>);

impl<S> Layer<S> for RedactLayer {
    type Service = Redacting<S>;

    fn layer(&self, inner: S) -> Redacting<S> {
        Redacting { inner, server: self.0.clone() }
    }
}

/// Takes registered secrets out of how a call ends, and tells of those that an answer held.
#[derive(Clone)]
pub(crate) struct Redacting<S> {
    inner: S,
    server: Arc<Shared>,
}

impl<S: Service<Request, Response = ToolOutput, Error = ToolError>> Service<Request> for Redacting<S> {
    type Response = ToolOutput;
    type Error = ToolError;
    type Future = RedactFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ToolError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let spec = request.spec.clone();
        RedactFuture { inner: self.inner.call(request), server: self.server.clone(), spec }
    }
}

pin_project! {
    pub(crate) struct RedactFuture<F> {
        #[pin]
        inner: F,
        server: Arc<Shared>,
        spec: Arc<ToolSpec>,
    }
}

impl<F: Future<Output = Ended>> Future for RedactFuture<F> {
    type Output = Ended;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Ended> {
        let this = self.project();
        let options = &this.server.options;
        Poll::Ready(match ready!(this.inner.poll(cx)) {
            Ok(mut answer) => {
                if let Some(names) = output(options, &mut answer) {
                    this.server.tell_of_secret(&echoed(&this.spec.name, &names));
                }
                Ok(answer)
            }
            Err(failure) => Err(error(options, failure)),
        })
    }
}

fn holds_secret(redactor: &Redactor, mut error: &(dyn std::error::Error + 'static)) -> bool {
    loop {
        let text = error.to_string();
        if redactor.redact(&text) != text {
            return true;
        }
        match error.source() {
            Some(source) => error = source,
            None => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use mcp_core::{Phase, ServerName};

    use super::*;

    #[test]
    fn an_answer_that_echoes_a_secret_loses_it() {
        let options = ClientOptions::default();
        options.redactor.register_as("KEY", "hunter2-hunter2");
        let mut said = ToolOutput::new(
            vec![Content::text("key=hunter2-hunter2")],
            Some(serde_json::json!({"key": "hunter2-hunter2"})),
            false,
        );
        let names = output(&options, &mut said).unwrap();
        let told = echoed(&ToolName::new("t").unwrap(), &names);
        assert_eq!(told.finding.reason, "it repeated the secret KEY, which was taken out");
        let clean = said;
        assert_eq!(clean.to_text(), "key=[redacted]");
        assert!(!format!("{clean:?}").contains("hunter2"), "{clean:?}");
    }

    #[test]
    fn no_text_of_an_error_keeps_a_secret() {
        let options = ClientOptions::default();
        options.redactor.register("hunter2-hunter2");
        let server = ServerName::new("srv").unwrap();
        let text = || "key hunter2-hunter2 refused".to_owned();
        let errors = [
            ToolError::Start { server: server.clone(), reason: text(), stderr: vec![text()] },
            ToolError::Connection {
                server: server.clone(),
                phase: Phase::Call,
                reason: text(),
                stderr: vec![text()],
                source: Some(text().into()),
            },
            ToolError::Server { server: server.clone(), code: 1, message: text() },
            ToolError::Malformed { server: server.clone(), reason: text() },
            ToolError::NotMcp { server: server.clone(), content_type: text(), title: text() },
            ToolError::Http { server: server.clone(), status: 500, body: text() },
            ToolError::TooLarge { server: server.clone(), limit: 1, what: text() },
            ToolError::Unavailable { server: server.clone(), reason: text(), retry_at: None },
            ToolError::OutcomeUnknown { server, tool: "t".into(), reason: text() },
            ToolError::Internal(text()),
        ];
        for found in errors {
            let found = error(&options, found);
            assert!(!format!("{found} {found:?}").contains("hunter2"), "{found:?}");
            assert!(format!("{found} {found:?}").contains("key [redacted] refused"), "{found}");
        }
    }
}
