//! A conversation: many questions, one team.

use std::path::PathBuf;

use massgen::orchestrator::{Exchange, Task};
use tokio_util::sync::CancellationToken;

use crate::consent::Settled;
use crate::failure::{Failure, Kind};
use crate::output;
use crate::prompt::{Line, Prompt};
use crate::run::{self, Desk};
use crate::session::Session;
use crate::signals;

/// What a line at the prompt asks for.
#[derive(Debug, PartialEq, Eq)]
enum Command<'a> {
    Ask(&'a str),
    Quit,
    Reset,
    Help,
    Status,
    Nothing,
    Unknown(&'a str),
}

fn parse(line: &str) -> Command<'_> {
    let line = line.trim();
    match line.to_ascii_lowercase().as_str() {
        "" => Command::Nothing,
        "/quit" | "/exit" | "/q" | "quit" | "exit" | "q" => Command::Quit,
        "/reset" | "/clear" | "reset" | "clear" => Command::Reset,
        "/help" | "/h" | "/?" => Command::Help,
        "/status" => Command::Status,
        word if word.starts_with('/') && !word.contains(char::is_whitespace) => Command::Unknown(line),
        _ => Command::Ask(line),
    }
}

const HELP: &str = "\
/status   the team, its servers and this conversation
/reset    forget the conversation
/quit     leave (Ctrl-D too)
Ctrl-C    stop the run and come back here
Anything else is a question.";

pub(crate) async fn run(session: &Session, settled: &Settled) -> Result<(), Failure> {
    let mut desk = Desk::open(session, settled)?;
    let ended = converse(session, &mut desk).await;
    desk.close().await;
    ended
}

async fn converse(session: &Session, desk: &mut Desk<'_>) -> Result<(), Failure> {
    session.say(desk.team().describe());
    session.say("Type a question; /help lists the commands.");
    let prompt = Prompt::new(output::is_interactive(), history_file(session));
    let mut history: Vec<Exchange> = Vec::new();
    loop {
        let line = tokio::select! {
            line = prompt.line("\nyou › ") => line,
            // Once a run has listened for signals, none of them ends the program by itself any more.
            () = signals::first_signal() => return Err(Failure::silent(Kind::Interrupted)),
        };
        let Line::Text(line) = line else { break };
        match parse(&line) {
            Command::Nothing => session.say("Type a question, or /quit to leave."),
            Command::Quit => break,
            Command::Help => session.say(HELP),
            Command::Reset => {
                history.clear();
                session.say("The conversation is forgotten.");
            }
            Command::Status => {
                session.say(desk.team().describe());
                session.say(format!("exchanges so far: {}", history.len()));
            }
            Command::Unknown(command) => {
                session.say(format!("There is no command {command}; /help lists them."));
            }
            Command::Ask(question) => {
                let question = question.to_owned();
                let stop = CancellationToken::new();
                let listening = signals::listen(stop.clone());
                let task = Task { question: question.clone(), history: history.clone() };
                let summary = desk.ask(task, &stop).await?;
                drop(listening);
                if let Some(log) = &summary.log {
                    session.say(format!("log      {log}"));
                }
                if let Err(failure) = run::outcome(&summary) {
                    output::failure(&failure);
                }
                history.extend(run::exchange(question, &summary));
            }
        }
    }
    session.say("Goodbye.");
    Ok(())
}

/// Where questions are remembered between conversations.
fn history_file(session: &Session) -> Option<PathBuf> {
    let folder = crate::environment::state_folder(&session.environment)?;
    std::fs::create_dir_all(&folder).ok()?;
    Some(folder.join("history"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_v0_0_13_mean_what_they_meant() {
        for (line, command) in [
            ("/QUIT", Command::Quit),
            ("q", Command::Quit),
            (" exit ", Command::Quit),
            ("/clear", Command::Reset),
            ("reset", Command::Reset),
            ("/h", Command::Help),
            ("/status", Command::Status),
            ("/nope", Command::Unknown("/nope")),
            ("  ", Command::Nothing),
            ("quit smoking, how?", Command::Ask("quit smoking, how?")),
            ("/etc/hosts: what is it?", Command::Ask("/etc/hosts: what is it?")),
        ] {
            assert_eq!(parse(line), command, "{line:?}");
        }
    }
}
