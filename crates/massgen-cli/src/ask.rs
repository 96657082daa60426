//! Asks the person at the terminal whether a call may happen.

use std::path::PathBuf;
use std::sync::Arc;

use massgen::client::{Answer, Ask, Question};
use massgen::core::BoxFuture;
use massgen::security::Redactor;
use massgen::security::lock::{Grant, fingerprint};
use massgen::security::permission::{Decision, Defaults, Nature};

use crate::args::Changes;
use crate::console::{Console, is_attended, quoted};
use crate::lock_file;
use crate::style::safe;

/// What becomes of calls that no rule speaks of: on a terminal a person is asked about everything that may change the
/// world.
pub(crate) fn defaults(changes: Option<Changes>) -> Defaults {
    match changes {
        Some(Changes::Allow) => Defaults::all_changes(Decision::Allow),
        Some(Changes::Ask) => Defaults::all_changes(Decision::Ask),
        Some(Changes::Deny) => Defaults::all_changes(Decision::Deny),
        None if is_attended() => Defaults::ATTENDED,
        None => Defaults::UNATTENDED,
    }
}

/// The terminal, as far as it can be asked.
pub(crate) struct Terminal {
    console: Arc<Console>,
    /// Where "always" is written down; `None`: there is no place for it.
    lock: Option<PathBuf>,
    /// A call may hold its own server's credential; whoever looks over one's shoulder does not read it.
    redactor: Redactor,
}

impl Terminal {
    pub(crate) fn new(console: Arc<Console>, lock: Option<PathBuf>, redactor: Redactor) -> Arc<Self> {
        Arc::new(Self { console, lock, redactor })
    }

    async fn question(&self, question: Question) -> Answer {
        let mut talk = self.console.talk().await;
        talk.say(&describe(&question, &self.redactor));
        // What was read is of this run: nobody can speak for all to come.
        let lock = self.lock.as_ref().filter(|_| question.concern.is_none());
        let lasting = lock.is_some();
        let always = if lasting { "  [a] always" } else { "" };
        let choice = loop {
            let Some(line) = talk.line(&format!("allow? [y] once  [r] for this run{always}  [n] no: ")).await
            else {
                break Choice::No;
            };
            match parse(&line) {
                Some(Choice::Always) if !lasting => {}
                Some(choice) => break choice,
                None => {}
            }
        };
        match choice {
            Choice::Once => Answer::Once,
            Choice::Run => Answer::ThisRun,
            Choice::Always => {
                let grant = Grant {
                    server: question.spec.server.to_string(),
                    tool: question.spec.name.to_string(),
                    sha256: fingerprint(&question.spec),
                };
                if let Some(lock) = lock {
                    let path = lock.display();
                    let told = match lock_file::add_grant(lock, grant) {
                        Ok(()) => format!("written to {path}"),
                        Err(error) => format!("allowed for this run only: {path}: {error}"),
                    };
                    talk.say(&safe(&told));
                }
                Answer::ThisRun
            }
            Choice::No => Answer::No,
        }
    }
}

impl Ask for Terminal {
    fn ask(&self, question: Question) -> BoxFuture<'_, Answer> {
        Box::pin(async move {
            if !is_attended() {
                return Answer::Nobody {
                    hint: "allow it by a rule under permissions:, start with --changes allow, or run on a terminal and answer"
                        .to_owned(),
                };
            }
            self.question(question).await
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Choice {
    Once,
    Run,
    Always,
    No,
}

/// Exactly what would be sent but for registered secrets, with nothing in it that could move the cursor or hide.
fn describe(question: &Question, redactor: &Redactor) -> String {
    let caller = question.caller.as_ref().map_or("someone", |agent| agent.as_str());
    let why = match (&question.verdict.pattern, question.verdict.nature) {
        (Some(pattern), _) => format!("the rule {pattern:?} says to ask"),
        (None, Nature::Destroys) => "it says that it may delete or overwrite".to_owned(),
        (None, _) => "it may change the world".to_owned(),
    };
    let why = question.concern.clone().unwrap_or(why);
    let mut text = format!(
        "\n{} wants to call {} of server {}: {why}",
        caller.escape_debug(),
        question.spec.name.as_str().escape_debug(),
        question.spec.server
    );
    for (name, value) in &question.arguments {
        let (name, value) = (redactor.redact(name), value.to_string());
        text.push_str(&format!("\n  {} = {}", name.escape_debug(), quoted(&redactor.redact(&value))));
    }
    text
}

fn parse(line: &str) -> Option<Choice> {
    match line.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" | "once" => Some(Choice::Once),
        "r" | "run" => Some(Choice::Run),
        "a" | "always" => Some(Choice::Always),
        "n" | "no" | "" => Some(Choice::No),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_return_says_no_and_nonsense_is_asked_again() {
        assert_eq!(parse("Y\n"), Some(Choice::Once));
        assert_eq!(parse("always\n"), Some(Choice::Always));
        assert_eq!(parse("\n"), Some(Choice::No));
        assert_eq!(parse("maybe\n"), None);
    }
}
