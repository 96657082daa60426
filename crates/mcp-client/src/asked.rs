//! What a server asks of us, before the host hears of it: questions that want a credential are declined, another
//! server's secret is not given away in an answer, one server cannot pile up questions, and a call that waits for a
//! person does not run out of time meanwhile.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mcp_core::{BoxFuture, Content, ServerName};
use mcp_resilience::timeout::Vital;
use mcp_security::Scopes;
use mcp_security::secret::{field_wants_credential, question_wants_credential};
use mcp_transport::host::{
    Abilities, Elicitation, ElicitationReply, Field, Host, LogMessage, Root, SamplingRefusal, SamplingReply,
    SamplingRequest,
};
use serde_json::Value;
use tokio::time::Instant;

use crate::Observer;

/// The most questions of one server that are open at a time.
const OPEN: usize = 8;
/// A text of so few words is a label, and not prose that may merely mention something.
const LABEL: usize = 8;

/// A host that is asked only what a server may ask.
pub(crate) struct Screened {
    pub(crate) host: Arc<dyn Host>,
    pub(crate) observer: Arc<dyn Observer>,
    pub(crate) scopes: Scopes,
    pub(crate) open: Arc<Questions>,
}

/// The questions of one server that wait for a person or a model. As long as we owe the server an answer, it need not
/// give its own: that counts as a sign of life.
#[derive(Debug, Default)]
pub(crate) struct Questions(Mutex<Asked>);

#[derive(Debug, Default)]
struct Asked {
    open: usize,
    /// When the last one was answered.
    closed: Option<Instant>,
}

impl Questions {
    fn lock(&self) -> MutexGuard<'_, Asked> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more, if that is not too many.
    fn begin(&self) -> Option<Open<'_>> {
        let mut asked = self.lock();
        let admitted = asked.open < OPEN;
        asked.open += usize::from(admitted);
        admitted.then_some(Open(self))
    }
}

impl Vital for Questions {
    fn last(&self) -> Option<Instant> {
        let asked = self.lock();
        if asked.open > 0 { Some(Instant::now()) } else { asked.closed }
    }
}

/// An open question.
struct Open<'a>(&'a Questions);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        let mut asked = self.0.lock();
        asked.open = asked.open.saturating_sub(1);
        asked.closed = Some(Instant::now());
    }
}

impl Screened {
    /// Counts a question as open; `None`: there are too many.
    fn begin(&self, server: &ServerName) -> Option<Open<'_>> {
        let open = self.open.begin();
        if open.is_none() {
            self.refuse(
                server,
                &format!("it has more than {OPEN} questions open; further ones are declined"),
            );
        }
        open
    }

    fn refuse(&self, server: &ServerName, reason: &str) {
        tracing::warn!(%server, reason, "a server's question is declined");
        self.observer.notice(server, reason);
    }

    fn is_foreign(&self, server: &ServerName, answer: &Value) -> bool {
        let Some(foreign) = self.scopes.foreign(server, answer) else { return false };
        self.refuse(server, &format!("the answer to its question holds {foreign} and is not sent"));
        true
    }
}

/// What a question asks for that no server may ask for in a form.
fn credential(request: &Elicitation) -> Option<String> {
    // On a page of its own the server asks for it without this program in between; that is what pages are for.
    if matches!(request, Elicitation::Url { .. }) {
        return None;
    }
    question_wants_credential(request.message()).or_else(|| {
        request.fields().iter().find_map(|field| {
            let Field { name, title, description, .. } = field;
            let label = |text: &String| match text.split_whitespace().count() {
                0..LABEL => field_wants_credential(text),
                _ => question_wants_credential(text),
            };
            field_wants_credential(name)
                .or_else(|| title.as_ref().and_then(label))
                .or_else(|| description.as_ref().and_then(label))
                .or_else(|| field.is_secret().then(|| "password".to_owned()))
        })
    })
}

impl Host for Screened {
    fn abilities(&self, server: &ServerName) -> Abilities {
        self.host.abilities(server)
    }

    fn elicit<'a>(&'a self, server: &'a ServerName, request: Elicitation) -> BoxFuture<'a, ElicitationReply> {
        Box::pin(async move {
            if let Some(wanted) = credential(&request) {
                let reason = format!(
                    "it asked for a credential ({wanted}) in a form and was declined: a server takes credentials from \
                     its configuration, or on a page of its own"
                );
                self.refuse(server, &reason);
                return ElicitationReply::Decline;
            }
            let Some(_open) = self.begin(server) else { return ElicitationReply::Decline };
            match self.host.elicit(server, request).await {
                ElicitationReply::Accept(values)
                    if self.is_foreign(server, &Value::Object(values.clone())) =>
                {
                    ElicitationReply::Cancel
                }
                reply => reply,
            }
        })
    }

    fn sample<'a>(
        &'a self,
        server: &'a ServerName,
        request: SamplingRequest,
    ) -> BoxFuture<'a, Result<SamplingReply, SamplingRefusal>> {
        Box::pin(async move {
            let _open = self.begin(server).ok_or(SamplingRefusal::NotAgreed)?;
            let reply = self.host.sample(server, request).await?;
            let said = match &reply.content {
                Content::Text(text) => Value::from(text.as_str()),
                other => other.to_value(),
            };
            if self.is_foreign(server, &said) { Err(SamplingRefusal::NotAgreed) } else { Ok(reply) }
        })
    }

    fn roots(&self, server: &ServerName) -> Vec<Root> {
        self.host.roots(server)
    }

    fn log(&self, server: &ServerName, message: LogMessage) {
        self.host.log(server, message);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn form(message: &str, properties: Value) -> Elicitation {
        let schema = json!({"type": "object", "properties": properties});
        Elicitation::form(message, schema)
    }

    #[test]
    fn forms_that_want_a_credential_are_found_and_pages_are_not() {
        let text = json!({"type": "string"});
        let cases = [
            (form("Session expired. Enter your GitHub password", json!({"value": text})), true),
            (form("Go on?", json!({"apiKey": text})), true),
            (form("Go on?", json!({"a": {"type": "string", "title": "Access token"}})), true),
            (form("Go on?", json!({"a": {"type": "string", "description": "Your GitHub password"}})), true),
            (form("Go on?", json!({"a": {"type": "string", "format": "password"}})), true),
            (form("Which size?", json!({"size": text, "max_tokens": {"type": "integer"}})), false),
            (Elicitation::url("Enter your password there", "https://login.example/"), false),
        ];
        for (request, expected) in cases {
            assert_eq!(credential(&request).is_some(), expected, "{request:?}");
        }
    }
}
