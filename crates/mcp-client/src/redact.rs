//! Secrets out of what servers say when they fail: their last words go to models, logs and people.

use std::borrow::Cow;

use mcp_core::{Content, ToolError, ToolOutput};
use mcp_security::Redactor;

use crate::ClientOptions;
use crate::metrics::redacted;

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

/// Takes registered secrets out of an answer. True: there was one.
pub(crate) fn output(options: &ClientOptions, output: &mut ToolOutput) -> bool {
    let redactor = &options.redactor;
    let mut any = false;
    for content in &mut output.content {
        match content {
            Content::Text(text) => {
                if let Cow::Owned(clean) = redactor.redact(text) {
                    (*text, any) = (clean, true);
                }
            }
            Content::Unknown(value) => any |= redactor.redact_json(value),
            _ => {}
        }
    }
    if let Some(structured) = &mut output.structured {
        any |= redactor.redact_json(structured);
    }
    if any {
        redacted(options, "answer");
    }
    any
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
        options.redactor.register("hunter2-hunter2");
        let mut said = ToolOutput::new(
            vec![Content::text("key=hunter2-hunter2")],
            Some(serde_json::json!({"key": "hunter2-hunter2"})),
            false,
        );
        assert!(output(&options, &mut said));
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
