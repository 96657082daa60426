//! Asks the person at the terminal whether a call may happen.

use std::io::{BufRead, IsTerminal, Write};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use massgen::client::{Answer, Ask, Question};
use massgen::core::BoxFuture;
use massgen::orchestrator::Event;
use massgen::security::lock::{Grant, fingerprint};
use massgen::security::permission::{Decision, Defaults, Nature};
use tokio::sync::oneshot;

use crate::args::Changes;
use crate::display::Display;
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

fn is_attended() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// Holds the display while a question is open, so that the question is not scrolled away.
#[derive(Clone, Default)]
pub(crate) struct Pause(Arc<(Mutex<bool>, Condvar)>);

impl Pause {
    fn set(&self, paused: bool) {
        let (state, changed) = &*self.0;
        *state.lock().unwrap_or_else(PoisonError::into_inner) = paused;
        changed.notify_all();
    }

    fn wait(&self) {
        let (state, changed) = &*self.0;
        let mut paused = state.lock().unwrap_or_else(PoisonError::into_inner);
        while *paused {
            paused = changed.wait(paused).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// A display that waits while a question is open.
pub(crate) struct Paused {
    pub(crate) inner: Box<dyn Display>,
    pub(crate) pause: Pause,
}

impl Display for Paused {
    fn show(&mut self, event: &Event) -> std::io::Result<()> {
        self.pause.wait();
        self.inner.show(event)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.pause.wait();
        self.inner.flush()
    }
}

/// The terminal, as far as it can be asked.
pub(crate) struct Terminal {
    pause: Pause,
    /// Where "always" is written down.
    lock: PathBuf,
}

impl Terminal {
    pub(crate) fn new(pause: Pause, lock: PathBuf) -> Arc<Self> {
        Arc::new(Self { pause, lock })
    }

    async fn question(&self, question: Question) -> Answer {
        /// Lets the display go on however the question ends.
        struct Open<'a>(&'a Pause);
        impl Drop for Open<'_> {
            fn drop(&mut self) {
                self.0.set(false);
            }
        }
        self.pause.set(true);
        let _open = Open(&self.pause);
        let (reply, answer) = oneshot::channel();
        let text = describe(&question);
        // Not on the runtime's own threads: a person may think for long, and a read cannot be taken back.
        std::thread::spawn(move || {
            let _ = reply.send(read(&text));
        });
        match answer.await {
            Ok(Some(Choice::Once)) => Answer::Once,
            Ok(Some(Choice::Run)) => Answer::ThisRun,
            Ok(Some(Choice::Always)) => {
                let grant = Grant {
                    server: question.spec.server.to_string(),
                    tool: question.spec.name.to_string(),
                    sha256: fingerprint(&question.spec),
                };
                match lock_file::add_grant(&self.lock, grant) {
                    Ok(()) => note(format!("written to {}", self.lock.display())),
                    Err(error) => {
                        note(format!("allowed for this run only: {}: {error}", self.lock.display()))
                    }
                }
                Answer::ThisRun
            }
            _ => Answer::No,
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

fn note(text: String) {
    crate::output::note(safe(&text));
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Choice {
    Once,
    Run,
    Always,
    No,
}

/// Exactly what would be sent, with nothing in it that could move the cursor or hide.
fn describe(question: &Question) -> String {
    let caller = question.caller.as_ref().map_or("someone", |agent| agent.as_str());
    let why = match (&question.verdict.pattern, question.verdict.nature) {
        (Some(pattern), _) => format!("the rule {pattern:?} says to ask"),
        (None, Nature::Destroys) => "it says that it may delete or overwrite".to_owned(),
        (None, _) => "it may change the world".to_owned(),
    };
    let mut text = format!(
        "\n{} wants to call {} of server {}: {why}\n",
        caller.escape_debug(),
        question.spec.name.as_str().escape_debug(),
        question.spec.server
    );
    for (name, value) in &question.arguments {
        text.push_str(&format!("  {} = {}\n", name.escape_debug(), visible(&value.to_string())));
    }
    text
}

/// JSON text in which every character shows as itself.
fn visible(json: &str) -> String {
    json.chars()
        .flat_map(|c| match c {
            '"' | '\'' | '\\' => vec![c],
            c => c.escape_debug().collect(),
        })
        .collect()
}

fn read(text: &str) -> Option<Choice> {
    let mut terminal = std::io::stderr();
    terminal.write_all(text.as_bytes()).ok()?;
    loop {
        terminal.write_all(b"allow? [y] once  [r] for this run  [a] always  [n] no: ").ok()?;
        terminal.flush().ok()?;
        let mut line = String::new();
        if std::io::stdin().lock().read_line(&mut line).ok()? == 0 {
            return None;
        }
        if let Some(choice) = parse(&line) {
            return Some(choice);
        }
    }
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

    #[test]
    fn nothing_in_an_argument_moves_the_cursor_or_hides() {
        let shown = visible(&serde_json::json!("a\u{1b}[2J\u{202e}b\u{200b}\u{e0041}").to_string());
        assert!(shown.is_ascii(), "{shown}");
        assert!(!shown.contains('\u{1b}'), "{shown}");
    }

    #[test]
    fn a_display_goes_on_when_the_question_is_over() {
        let pause = Pause::default();
        pause.set(true);
        let waiting = std::thread::spawn({
            let pause = pause.clone();
            move || pause.wait()
        });
        pause.set(false);
        waiting.join().unwrap();
    }
}
