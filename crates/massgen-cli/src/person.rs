//! Puts servers' questions to the person at the terminal: forms, pages to visit, words of a model.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use massgen::core::{BoxFuture, Content, JsonObject, ServerName};
use massgen::transport::host::{Elicitation, ElicitationReply, Field, FieldKind, SamplingRequest};
use massgen::{Person, SamplingQuestion};
use serde_json::Value;
use url::Url;

use crate::console::{Console, Talk, block, is_attended, quoted};
use crate::page;

/// The person at the terminal, if there is one.
pub(crate) struct AtTerminal {
    console: Arc<Console>,
    attended: bool,
    /// Servers of which nothing more is to be heard in this run.
    muted: Mutex<BTreeSet<ServerName>>,
    /// Servers that may use a model for the rest of the run.
    agreed: Mutex<BTreeSet<ServerName>>,
}

/// What a person says to a question that may be asked again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    Yes,
    /// The other way to say yes that the question offers.
    Other,
    No,
    /// No, and to all that follow.
    Never,
    Cancel,
}

impl AtTerminal {
    /// `for_people`: standard output is read by people, and not by a program.
    pub(crate) fn new(console: Arc<Console>, for_people: bool) -> Arc<Self> {
        Arc::new(Self {
            console,
            attended: for_people && is_attended(),
            muted: Mutex::default(),
            agreed: Mutex::default(),
        })
    }

    fn is_muted(&self, server: &ServerName) -> bool {
        self.muted.lock().unwrap_or_else(PoisonError::into_inner).contains(server)
    }

    fn decline(&self, server: &ServerName, word: Word) -> ElicitationReply {
        match word {
            Word::Cancel => ElicitationReply::Cancel,
            Word::Never => {
                self.muted.lock().unwrap_or_else(PoisonError::into_inner).insert(server.clone());
                ElicitationReply::Decline
            }
            _ => ElicitationReply::Decline,
        }
    }

    async fn form(&self, server: &ServerName, request: &Elicitation) -> ElicitationReply {
        let mut talk = self.console.talk().await;
        // Whoever was asked before may have answered for this one as well.
        if self.is_muted(server) {
            return ElicitationReply::Decline;
        }
        talk.say(&format!(
            "\nserver {server} asks for input. Its words, which nobody has checked:\n{}",
            block(request.message())
        ));
        let fields = request.fields();
        let names: Vec<_> = fields.iter().map(|field| quoted(&field.name)).collect();
        if !names.is_empty() {
            talk.say(&format!("  it wants: {}", names.join(", ")));
        }
        let first = word(
            &mut talk,
            "answer it? [y] yes  [n] decline  [c] cancel  [s] decline all of its questions: ",
            false,
        );
        match first.await {
            Word::Yes => {}
            word => return self.decline(server, word),
        }
        loop {
            let Some(values) = fill(&mut talk, &fields).await else { return ElicitationReply::Cancel };
            let shown = values
                .iter()
                .map(|(name, value)| format!("\n  {} = {}", quoted(name), quoted(&value.to_string())));
            talk.say(&format!("server {server} would get:{}", shown.collect::<String>()));
            for problem in request.problems(&values) {
                talk.say(&format!("  {}", quoted(&problem)));
            }
            match word(&mut talk, "send it? [y] yes  [e] fill in anew  [n] decline  [c] cancel: ", true).await
            {
                Word::Yes => return ElicitationReply::Accept(values),
                Word::Other => {}
                word => return self.decline(server, word),
            }
        }
    }

    async fn visit(&self, server: &ServerName, message: &str, address: &str) -> ElicitationReply {
        let page = Url::parse(address).ok().filter(page::is_web);
        let Some(page) = page else {
            tracing::warn!(%server, "the page it wants to be visited is not one of the web; declined");
            return ElicitationReply::Decline;
        };
        let mut talk = self.console.talk().await;
        if self.is_muted(server) {
            return ElicitationReply::Decline;
        }
        talk.say(&format!(
            "\nserver {server} asks you to visit a page. Its words, which nobody has checked:\n{}\n  page: {}\n  host: {}",
            block(message),
            quoted(page.as_str()),
            page.host_str().unwrap_or_default()
        ));
        if let Some(doubt) = page::doubt(&page) {
            talk.say(&format!("  warning: {doubt}"));
        }
        let choices = "visit it? [y] open it in the browser  [m] I open it myself  [n] no  [c] cancel  [s] decline all of its questions: ";
        match word(&mut talk, choices, true).await {
            Word::Yes => {
                if !page::open(&page) {
                    talk.say("No browser could be started: open the page yourself.");
                }
                ElicitationReply::Accept(JsonObject::new())
            }
            Word::Other => ElicitationReply::Accept(JsonObject::new()),
            word => self.decline(server, word),
        }
    }

    async fn agreement(&self, question: SamplingQuestion<'_>) -> bool {
        let server = question.server;
        let has_agreed = || self.agreed.lock().unwrap_or_else(PoisonError::into_inner).contains(server);
        let mut talk = self.console.talk().await;
        if has_agreed() {
            return true;
        }
        if self.is_muted(server) {
            return false;
        }
        talk.say(&format!(
            "\nserver {server} asks that {}'s model ({}) continues this conversation, with an answer of at most {} tokens:\n{}",
            quoted(question.agent.as_str()),
            quoted(question.model),
            question.max_tokens,
            conversation(question.request)
        ));
        let choices = "let it? [y] once  [r] for this run  [n] no  [s] decline all of its questions: ";
        match word(&mut talk, choices, true).await {
            Word::Yes => true,
            Word::Other => {
                self.agreed.lock().unwrap_or_else(PoisonError::into_inner).insert(server.clone());
                true
            }
            word => {
                self.decline(server, word);
                false
            }
        }
    }
}

impl Person for AtTerminal {
    fn elicit<'a>(&'a self, server: &'a ServerName, request: Elicitation) -> BoxFuture<'a, ElicitationReply> {
        Box::pin(async move {
            if !self.attended || self.is_muted(server) {
                tracing::warn!(%server, "it asks for input, and nobody is there to answer; declined");
                return ElicitationReply::Decline;
            }
            match &request {
                Elicitation::Form { .. } => self.form(server, &request).await,
                Elicitation::Url { message, url } => self.visit(server, message, url).await,
                _ => ElicitationReply::Decline,
            }
        })
    }

    fn agree<'a>(&'a self, question: SamplingQuestion<'a>) -> BoxFuture<'a, bool> {
        Box::pin(async move { self.attended && self.agreement(question).await })
    }
}

/// Asks until the answer is one of the offered letters. A bare return declines, the end of the input cancels. `other`: there
/// is another way to say yes.
async fn word(talk: &mut Talk<'_>, prompt: &str, other: bool) -> Word {
    loop {
        let Some(line) = talk.line(prompt).await else { return Word::Cancel };
        match line.trim().to_ascii_lowercase().as_str() {
            "y" | "yes" => return Word::Yes,
            "e" | "m" | "r" if other => return Word::Other,
            "n" | "no" | "" => return Word::No,
            "c" | "cancel" => return Word::Cancel,
            "s" => return Word::Never,
            _ => {}
        }
    }
}

/// Asks for one field after the other; `None`: cancelled.
async fn fill(talk: &mut Talk<'_>, fields: &[Field]) -> Option<JsonObject> {
    let mut values = JsonObject::new();
    if !fields.is_empty() {
        talk.say("A bare return takes the default, or leaves the field out. /cancel ends it.");
    }
    for field in fields {
        let prompt = describe(field);
        loop {
            let line = talk.line(&prompt).await?;
            let typed = line.trim();
            if typed == "/cancel" {
                return None;
            }
            match (typed.is_empty(), &field.default) {
                (true, Some(default)) => {
                    values.insert(field.name.clone(), default.clone());
                    break;
                }
                (true, None) if !field.required => break,
                (true, None) => talk.say("  it is required"),
                (false, _) => match field.parse(typed) {
                    Ok(value) => {
                        values.insert(field.name.clone(), value);
                        break;
                    }
                    Err(problem) => talk.say(&format!("  no: it {problem}")),
                },
            }
        }
    }
    Some(values)
}

/// A field's prompt: name, title, kind, limits, default.
fn describe(field: &Field) -> String {
    let mut about: Vec<String> = Vec::new();
    let list = |choices: &[(String, String)]| {
        let shown = choices.iter().enumerate().map(|(at, (value, name))| match value == name {
            true => format!("{}) {}", at + 1, quoted(value)),
            false => format!("{}) {} ({})", at + 1, quoted(value), quoted(name)),
        });
        shown.collect::<Vec<_>>().join("  ")
    };
    about.push(match &field.kind {
        FieldKind::Text { format: Some(format) } => format!("text, {}", quoted(format)),
        FieldKind::Number => "a number".to_owned(),
        FieldKind::Integer => "a whole number".to_owned(),
        FieldKind::Boolean => "yes or no".to_owned(),
        FieldKind::Choice(choices) => format!("one of: {}", list(choices)),
        FieldKind::Choices(choices) => format!("any of, separated by commas: {}", list(choices)),
        _ => "text".to_owned(),
    });
    let limits = field.limits();
    about.extend((!limits.is_empty()).then_some(limits));
    about.push(if field.required { "required" } else { "optional" }.to_owned());
    if let Some(default) = &field.default {
        let default = match default {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        about.push(format!("default: {}", quoted(&default)));
    }
    let title = field.title.as_ref().map(|title| format!(" ({})", quoted(title))).unwrap_or_default();
    let description =
        field.description.as_ref().map(|text| format!("  {}\n", quoted(text))).unwrap_or_default();
    format!("{description}  {}{title} [{}]: ", quoted(&field.name), about.join("; "))
}

/// All that the model would be told.
fn conversation(request: &SamplingRequest) -> String {
    let mut shown = Vec::new();
    if let Some(system) = &request.system_prompt {
        shown.push(format!("  first of all:\n{}", block(system)));
    }
    for message in &request.messages {
        let text = message.content.iter().map(|part| match part {
            Content::Text(text) => text.clone(),
            other => other.to_value().to_string(),
        });
        shown.push(format!("  {}:\n{}", quoted(&message.role), block(&text.collect::<Vec<_>>().join("\n"))));
    }
    shown.join("\n")
}
