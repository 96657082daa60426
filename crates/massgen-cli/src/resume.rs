//! `massgen resume LOG_DIR`: takes a run up again that was cut off. Nothing is sent a second time: the calls whose outcome
//! is unknown are named, to the user and to the agents.

use std::path::Path;

use massgen::client::{UnknownOutcome, read_ledger};
use massgen::orchestrator::{EventKind, Exchange, RunOutcome, Task, read_events};
use massgen::security::Trust;
use tokio_util::sync::CancellationToken;

use crate::args::ResumeArgs;
use crate::consent::{self, Given};
use crate::failure::Failure;
use crate::run::{self, Desk};
use crate::run_record::RunRecord;
use crate::session::Session;
use crate::style::{one_line, safe};
use crate::{audit_key, environment, output, signals};

/// How many runs that took each other up are followed back.
const CHAIN: usize = 100;
/// How much of a call's arguments is shown, characters.
const ARGUMENTS: usize = 200;

/// A call that may have taken effect.
struct Open {
    call: UnknownOutcome,
    /// The arguments as the model wrote them, without secrets, where the record of the run has them.
    arguments: Option<String>,
}

/// What is left of a run.
#[derive(Default)]
struct Remains {
    question: String,
    outcome: Option<RunOutcome>,
    open: Vec<Open>,
    damaged: usize,
    unnamed: usize,
    lost: u64,
}

pub(crate) async fn run(args: ResumeArgs) -> Result<(), Failure> {
    let session = Session::start(args.output.clone(), environment::read()).guarded(args.guard);
    let folder = args.log.clone();
    let found = tokio::task::spawn_blocking(move || remains(&folder)).await;
    let remains = found.map_err(|error| Failure::config(format!("the log could not be read: {error}")))??;
    tell(&session, &args.log, &remains);
    if remains.outcome == Some(RunOutcome::Answered) {
        session.say(format!("The run was answered: {}", args.log.join("answer.md").display()));
        return Ok(());
    }
    if remains.question.is_empty() {
        return Err(Failure::config("the record of the run ends before its question"));
    }

    let before = RunRecord::read(&args.log).unwrap_or_default();
    let (path, trust) = match (&args.config, &before.config) {
        (Some(path), _) => (path.clone(), Trust::User),
        (None, Some(path)) => (path.clone(), before.trust(audit_key::path(&session.environment))),
        (None, None) => {
            return Err(Failure::config("the run has no configuration on record")
                .with_hint("name one: --config FILE"));
        }
    };
    let config = run::load(&path, &session)?;
    let here = std::env::current_dir().unwrap_or_default();
    if before.folder != here && !before.folder.as_os_str().is_empty() {
        let folder = before.folder.display();
        output::note(format!("warning: the run was made in {folder}; relative paths mean this folder now"));
    }
    let settled = consent::settle(&session, config, trust, Given::Asked, None).await?;

    let stop = CancellationToken::new();
    let _listening = signals::listen(stop.clone());
    let next = format!("massgen --config {}   (without a question: a conversation)", path.display());
    let mut desk = Desk::open(&session, &settled)?.resuming(&args.log);
    let asked = desk.ask(task(&remains), &stop).await;
    desk.close().await;
    run::conclude(&session, &asked?, &next)
}

/// Reads what the run left, and what the runs left that it took up.
fn remains(log: &Path) -> Result<Remains, Failure> {
    let mut remains = Remains::default();
    let mut folder = Some(log.to_owned());
    for depth in 0..CHAIN {
        let Some(log) = folder else { break };
        read_one(&log, &mut remains, depth == 0)?;
        folder = RunRecord::read(&log).and_then(|record| record.resumes).filter(|log| log.is_dir());
    }
    remains.open.sort_by_key(|open| open.call.at);
    Ok(remains)
}

fn read_one(log: &Path, remains: &mut Remains, is_last: bool) -> Result<(), Failure> {
    let events = read_events(log.join("events.jsonl")).map_err(|error| {
        Failure::config(format!("{} is no log folder of a run: {error}", log.display()))
            .with_hint("massgen resume massgen_logs/log_…")
    })?;
    let ledger = read_ledger(log.join("ledger.jsonl")).map_err(|error| {
        Failure::config(format!("the ledger in {} cannot be read: {error}", log.display()))
    })?;
    remains.damaged += ledger.damaged;
    remains.unnamed += ledger.unnamed;
    remains.lost += ledger.lost;
    for call in ledger.unknown {
        let arguments = events.events.iter().find_map(|event| match &event.kind {
            EventKind::ToolStarted { agent, call: id, arguments, .. }
                if *id == call.key
                    && call.caller.as_deref().is_none_or(|caller| caller == agent.as_str()) =>
            {
                Some(one_line(&arguments.to_string(), ARGUMENTS))
            }
            _ => None,
        });
        remains.open.push(Open { call, arguments });
    }
    if is_last {
        for event in events.events {
            match event.kind {
                EventKind::RunStarted { question, .. } => remains.question = question,
                EventKind::RunFinished { outcome, .. } => remains.outcome = Some(outcome),
                _ => {}
            }
        }
    }
    Ok(())
}

fn tell(session: &Session, log: &Path, remains: &Remains) {
    if remains.damaged > 0 {
        let named = match remains.unnamed {
            0 => "what became of its call is taken for unknown",
            _ => "of which call it was cannot be told any more: check what the servers of the run did last",
        };
        let log = log.display();
        output::note(format!("warning: the last record of the ledger in {log} was cut off; {named}"));
    }
    if remains.lost > 0 {
        let (lost, log) = (remains.lost, log.display());
        output::note(format!(
            "warning: {lost} records of the ledger in {log} are missing: the disk did not take them"
        ));
    }
    if remains.open.is_empty() {
        session.say("No call of the run has an unknown outcome.");
        return;
    }
    session.say(
        "Calls with an unknown outcome (they may or may not have taken effect, and are not sent again):",
    );
    for open in &remains.open {
        session.say(safe(&format!("  {}", line(open))));
    }
}

/// A call in one line.
fn line(open: &Open) -> String {
    let call = &open.call;
    let at = jiff::Timestamp::try_from(call.at).unwrap_or_default();
    let at = at.to_zoned_datetime(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S %:z");
    let end = match (&call.class, call.sent) {
        (Some(class), _) => format!("it ended with {class}"),
        (None, true) => "sent, and no answer came".to_owned(),
        (None, false) => "written down, perhaps not sent".to_owned(),
    };
    let caller = call.caller.as_ref().map(|caller| format!(" by {caller}")).unwrap_or_default();
    let arguments = open.arguments.as_ref().map(|arguments| format!(" {arguments}")).unwrap_or_default();
    format!("{} on server {}{caller}, {at}: {end}{arguments}", call.tool, call.server)
}

/// The same question, with what is known of the first attempt.
fn task(remains: &Remains) -> Task {
    let mut task = Task::new(remains.question.clone());
    if !remains.open.is_empty() {
        let calls: Vec<_> = remains.open.iter().map(|open| format!("- {}\n", line(open))).collect();
        task.history.push(Exchange {
            user: remains.question.clone(),
            assistant: format!(
                "I was cut off before I had an answer. These tool calls may or may not have taken effect:\n{}\
                 They must not simply be made again: the state has to be checked first, with a tool that only reads.",
                calls.concat()
            ),
        });
    }
    task
}
