//! Secrets out of what servers say when they fail: their last words go to models, logs and people.

use std::borrow::Cow;

use mcp_core::{Content, ToolError, ToolOutput};
use mcp_security::Redactor;

/// The same error without registered secrets.
pub(crate) fn error(redactor: &Redactor, error: ToolError) -> ToolError {
    let clean = |text: String| redactor.redact(&text).into_owned();
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

/// Takes registered secrets out of answers, and says so where there was one.
pub(crate) fn output<F: Fn() + Clone>(
    redactor: &Redactor,
    found: F,
) -> impl Fn(ToolOutput) -> ToolOutput + Clone + use<F> {
    let redactor = redactor.clone();
    move |mut output| {
        let mut any = false;
        for content in &mut output.content {
            match content {
                Content::Text(text) => {
                    if let Cow::Owned(clean) = redactor.redact(text) {
                        (*text, any) = (clean, true);
                    }
                }
                Content::Unknown(value) => redactor.redact_json(value),
                _ => {}
            }
        }
        if let Some(structured) = &mut output.structured {
            redactor.redact_json(structured);
        }
        if any {
            found();
        }
        output
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
        let redactor = Redactor::default();
        redactor.register("hunter2-hunter2");
        let said = ToolOutput::new(
            vec![Content::text("key=hunter2-hunter2")],
            Some(serde_json::json!({"key": "hunter2-hunter2"})),
            false,
        );
        let found = std::cell::Cell::new(0);
        let clean = output(&redactor, || found.set(found.get() + 1))(said);
        assert_eq!(found.get(), 1);
        assert_eq!(clean.to_text(), "key=[redacted]");
        assert!(!format!("{clean:?}").contains("hunter2"), "{clean:?}");
    }

    #[test]
    fn no_text_of_an_error_keeps_a_secret() {
        let redactor = Redactor::default();
        redactor.register("hunter2-hunter2");
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
            ToolError::Unavailable { server: server.clone(), reason: text(), retry_at: None },
            ToolError::OutcomeUnknown { server, tool: "t".into(), reason: text() },
            ToolError::Internal(text()),
        ];
        for found in errors {
            let found = error(&redactor, found);
            assert!(!format!("{found} {found:?}").contains("hunter2"), "{found:?}");
            assert!(found.to_string().contains("key [redacted] refused"), "{found}");
        }
    }
}
