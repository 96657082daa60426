//! `massgen [QUESTION]`: one question, or a conversation.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use massgen::client::Ledger;
use massgen::config::quick::{self, QuickSetup};
use massgen::config::{self, BackendKind, Config};
use massgen::orchestrator::{Exchange, RunOutcome, Task};
use massgen::security::Redactor;
use massgen::{Context, Team};
use tokio_util::sync::CancellationToken;

use crate::args::{OutputFormat, RunArgs};
use crate::ask::{self, Terminal};
use crate::audit_log::AuditLog;
use crate::consent::{self, Accepted, Given, Settled};
use crate::console::{Console, Pause, Paused};
use crate::failure::{Failure, Kind};
use crate::log_directory::LogDirectory;
use crate::login_store::Logins;
use crate::person::AtTerminal;
use crate::recorder::{self, Outlets, Recorder};
use crate::run_record::RunRecord;
use crate::session::{ServerLogs, Session};
use crate::summary::Summary;
use crate::{audit_key, environment, interactive, output, panics, players, signals, telemetry};

/// The most that is read as a question from standard input, in bytes.
const QUESTION_LIMIT: u64 = 16 * 1024 * 1024;

pub(crate) async fn run(args: RunArgs) -> Result<(), Failure> {
    let session = Session::start(args.output.clone(), environment::read()).guarded(args.guard);
    let mut config = configuration(&args, &session).await?;
    apply_flags(&mut config, &args);
    let trust = consent::trust(&config, args.config.as_deref());
    let settled = consent::settle(&session, config, trust, Given::Asked, None).await?;
    let question = question(args.question.as_deref())?;
    match question {
        Some(question) => {
            let next = next_steps(settled.config().file.as_deref(), &args);
            once(&session, &settled, question, BTreeMap::new(), &next).await
        }
        None => interactive::run(&session, &settled).await,
    }
}

/// One question, from assembling the team to what to type next.
pub(crate) async fn once(
    session: &Session,
    settled: &Settled,
    question: String,
    scripts: BTreeMap<PathBuf, String>,
    next: &str,
) -> Result<(), Failure> {
    let stop = CancellationToken::new();
    let _listening = signals::listen(stop.clone());
    let mut desk = Desk::with_scripts(session, settled, scripts)?;
    let asked = desk.ask(Task::new(question), &stop).await;
    desk.close().await;
    let summary = asked?;
    conclude(session, &summary, next)
}

/// A team that is ready to be asked, with everything that watches it.
pub(crate) struct Desk<'a> {
    session: &'a Session,
    team: Team,
    server_logs: std::sync::Arc<ServerLogs>,
    audit: std::sync::Arc<AuditLog>,
    ledger: Ledger,
    redactor: Redactor,
    logging: bool,
    record: RunRecord,
    pause: Pause,
    #[cfg(feature = "prometheus")]
    _metrics: Option<telemetry::Listener>,
}

impl<'a> Desk<'a> {
    /// Assembles the team. Its servers start at once, in the background.
    pub(crate) fn open(session: &'a Session, settled: &Settled) -> Result<Self, Failure> {
        Self::with_scripts(session, settled, BTreeMap::new())
    }

    /// As [`Desk::open`], with the texts of scripts that are not on disk.
    fn with_scripts(
        session: &'a Session,
        settled: &Settled,
        scripts: BTreeMap<PathBuf, String>,
    ) -> Result<Self, Failure> {
        let config = settled.config();
        let ledger = Ledger::new();
        let redactor = Redactor::default();
        for secret in config.secrets() {
            redactor.register(secret.expose());
        }
        panics::without(&redactor);
        let logging = config.ui.logging_enabled;
        let server_logs = ServerLogs::new(redactor.clone(), session.telemetry.observer());
        let audit = AuditLog::new(
            redactor.clone(),
            session.telemetry.observer(),
            audit_key::path(&session.environment),
        );
        let Accepted { lock, grants } = settled.accepted(session)?;
        let pause = Pause::default();
        let console = Console::new(pause.clone());
        let for_people = session.output.output == OutputFormat::Text;
        Logins::prepare(&session.secrets, config);
        let context = Context {
            permission_defaults: ask::defaults(session.guard.changes),
            ask: Some(Terminal::new(console.clone(), grants, redactor.clone())),
            person: Some(AtTerminal::new(console.clone(), for_people)),
            lock,
            stderr: Some(server_logs.clone()),
            observer: Some(audit.clone()),
            scripts,
            metrics: Some(session.telemetry.observer()),
            ledger: Some(ledger.clone()),
            trace: session.telemetry.traces(),
            content_in_spans: session.telemetry.content(),
            oauth: crate::mcp_auth::kept(session, for_people.then_some(console)),
            ..Context::default()
        };
        let record = RunRecord::new(config.file.as_deref(), settled.consent().trust);
        #[cfg(feature = "prometheus")]
        let metrics = session.output.metrics.map(|address| session.telemetry.listen(address)).transpose()?;
        let team = settled.assemble(session, context)?;
        for secret in team.secrets() {
            redactor.register(secret);
        }
        Ok(Self {
            session,
            team,
            server_logs,
            audit,
            ledger,
            redactor,
            logging,
            record,
            pause,
            #[cfg(feature = "prometheus")]
            _metrics: metrics,
        })
    }

    /// The log folder of the run that its runs take up again.
    pub(crate) fn resuming(mut self, log: &Path) -> Self {
        self.record.resumes = std::path::absolute(log).ok();
        self
    }

    pub(crate) fn team(&self) -> &Team {
        &self.team
    }

    /// Asks the team; everything is shown and kept on the way.
    pub(crate) async fn ask(&mut self, task: Task, stop: &CancellationToken) -> Result<Summary, Failure> {
        let log = self.session.log_directory(self.logging)?;
        self.watch(log.clone());
        let measured_in = log.clone();
        let recorder = Recorder::start(Outlets {
            display: Box::new(Paused { inner: self.session.display(), pause: self.pause.clone() }),
            log,
            redactor: self.redactor.clone(),
            metrics: self.session.telemetry.observer(),
            reader_gone: stop.clone(),
        })
        .map_err(|error| Failure::config(format!("the log could not be opened: {error}")))?;
        let emitter = recorder.emitter();
        let before = self.session.telemetry.metrics();
        let result = self.team.ask(&task, &emitter, stop).await;
        tracing::debug!(outcome = ?result.outcome, "the run is over");
        drop(emitter);
        self.ledger.flush().await;
        self.audit.end().await;
        let metrics = self.session.telemetry.metrics();
        if let Some(log) = measured_in {
            let write = move || log.tell("metrics.json", telemetry::write(&log, metrics, &before));
            if tokio::time::timeout(recorder::FINISH, tokio::task::spawn_blocking(write)).await.is_err() {
                tracing::warn!("the disk does not keep up; metrics.json may be missing");
            }
        }
        Ok(recorder.finish().await)
    }

    fn watch(&self, log: Option<LogDirectory>) {
        if let Some(log) = &log {
            let key = audit_key::path(&self.session.environment);
            log.tell("run.json", self.record.write(log.path(), key));
        }
        self.ledger.write_to(log.as_ref().map(|log| log.path().join("ledger.jsonl")));
        self.audit.begin(log.as_ref(), self.team.servers().gate());
        self.server_logs.write_to(log);
    }

    /// Ends the servers.
    pub(crate) async fn close(self) {
        self.team.close().await;
        self.session.telemetry.end().await;
    }
}

/// Prints what the display has not, and turns the outcome into the exit code.
pub(crate) fn conclude(session: &Session, summary: &Summary, next: &str) -> Result<(), Failure> {
    match session.output.output {
        OutputFormat::Json => output::json(summary),
        OutputFormat::Events => {}
        OutputFormat::Text => {
            if let Some(log) = &summary.log {
                output::line(format!("log      {log}"));
            }
            // Where nothing came of it the error says what to do.
            if summary.outcome == Some(RunOutcome::NoAnswer) {
                // In a pipe or a file the reasons may not be where the error is.
                let reasons = if output::is_terminal() { Reasons::Told } else { Reasons::Untold };
                return Err(no_answer(summary, reasons));
            }
            output::line(format!("next     {next}"));
        }
    }
    outcome(summary)
}

/// Whether the agents' reasons stand on the screen already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reasons {
    Told,
    Untold,
}

fn no_answer(summary: &Summary, reasons: Reasons) -> Failure {
    let failed = summary.agents.iter().filter_map(|agent| Some((&agent.id, agent.failure.as_deref()?)));
    let told: String = match reasons {
        Reasons::Told => String::new(),
        Reasons::Untold => failed.map(|(agent, why)| format!("\n  {agent}: {why}")).collect(),
    };
    let colon = if told.is_empty() { "" } else { ":" };
    Failure::new(Kind::NoAnswer, format!("no agent has an answer{colon}{told}"))
}

/// The outcome as the command's end.
pub(crate) fn outcome(summary: &Summary) -> Result<(), Failure> {
    match summary.outcome {
        Some(RunOutcome::Answered) => Ok(()),
        Some(RunOutcome::TimedOut) => Err(Failure::silent(Kind::TimedOut)),
        Some(RunOutcome::Interrupted) => Err(Failure::silent(Kind::Interrupted)),
        _ => Err(no_answer(summary, Reasons::Untold)),
    }
}

/// The same team again.
fn next_steps(file: Option<&Path>, args: &RunArgs) -> String {
    let flags = [("backend", &args.backend), ("model", &args.model), ("base-url", &args.base_url)];
    let again = match (file, &args.config) {
        (Some(file), Some(_)) => format!(" --config {}", file.display()),
        _ => flags
            .iter()
            .filter_map(|(flag, value)| Some(format!(" --{flag} {}", value.as_deref()?)))
            .collect(),
    };
    format!("massgen{again}   (without a question: a conversation)")
}

/// The exchange that a conversation remembers.
pub(crate) fn exchange(question: String, summary: &Summary) -> Option<Exchange> {
    let assistant = summary.answer.clone().filter(|answer| !answer.trim().is_empty())?;
    Some(Exchange { user: question, assistant })
}

/// The question: the argument's, else what a pipe carries; `None` where a person is to be asked.
fn question(argument: Option<&str>) -> Result<Option<String>, Failure> {
    use std::io::IsTerminal;
    let piped = !std::io::stdin().is_terminal();
    match argument {
        Some("-") => piped_question().map(Some),
        Some(question) if question.trim().is_empty() => Err(empty_question()),
        Some(question) => Ok(Some(question.to_owned())),
        None if piped => piped_question().map(Some),
        None => Ok(None),
    }
}

fn empty_question() -> Failure {
    Failure::config("the question is empty").with_hint("massgen \"Why is the sky blue?\"")
}

fn piped_question() -> Result<String, Failure> {
    read_question(std::io::stdin().lock())
}

fn read_question(input: impl Read) -> Result<String, Failure> {
    let failed = |reason: String| {
        Failure::config(format!("the question could not be read from standard input: {reason}"))
    };
    let mut bytes = Vec::new();
    // One more than there may be: what is too long is not cut.
    input.take(QUESTION_LIMIT + 1).read_to_end(&mut bytes).map_err(|error| failed(error.to_string()))?;
    if bytes.len() as u64 > QUESTION_LIMIT {
        let limit = QUESTION_LIMIT >> 20;
        return Err(Failure::config(format!("the question on standard input is longer than {limit} MiB"))
            .with_hint("no model reads that much; let agents read large files by a tool"));
    }
    let text = String::from_utf8(bytes).map_err(|_| failed("it is not UTF-8".to_owned()))?;
    let question = text.trim();
    if question.is_empty() { Err(empty_question()) } else { Ok(question.to_owned()) }
}

/// Where the team comes from: `--config`, the quick set-up flags, `./massgen.yaml`, a provider's key, a local server.
async fn configuration(args: &RunArgs, session: &Session) -> Result<Config, Failure> {
    if let Some(path) = &args.config {
        if args.model.is_some() || args.system_message.is_some() || args.base_url.is_some() {
            output::note("warning: --model, --system-message and --base-url say nothing beside --config");
        }
        return load(path, session);
    }
    if args.backend.is_some() || args.model.is_some() {
        let setup = QuickSetup {
            backend: args.backend.as_deref().map(backend_kind).transpose()?,
            model: args.model.clone(),
            system_message: args.system_message.clone(),
            base_url: args.base_url.clone(),
        };
        return quick::quick(&setup).map_err(|problems| {
            output::note(problems.to_string());
            Failure::silent(Kind::Config)
        });
    }
    if args.base_url.is_some() {
        return Err(Failure::new(Kind::Usage, "--base-url needs to know who answers there")
            .with_hint("add --model NAME, or --backend NAME"));
    }
    if let Some(path) = default_file() {
        if args.system_message.is_some() {
            output::note(format!("warning: --system-message says nothing beside {}", path.display()));
        }
        return load(&path, session);
    }
    let found = players::find(&session.environment).await.ok_or_else(players::nobody)?;
    session.say(format!("models   {found}"));
    let mut config = found.into_single_agent();
    if let (Some(agent), Some(message)) = (config.agents.first_mut(), &args.system_message) {
        agent.system_message = Some(message.clone());
    }
    Ok(config)
}

/// The configuration that is meant where none is named.
pub(crate) fn default_file() -> Option<PathBuf> {
    ["massgen.yaml", "massgen.yml"].map(PathBuf::from).into_iter().find(|path| path.is_file())
}

/// Loads a file; every problem is told at once.
pub(crate) fn load(path: &Path, session: &Session) -> Result<Config, Failure> {
    let loaded = config::load(path, &session.load_options());
    if !loaded.diagnostics.is_empty() {
        output::note(loaded.diagnostics.to_string());
    }
    loaded.config.ok_or_else(|| Failure::silent(Kind::Config))
}

fn backend_kind(name: &str) -> Result<BackendKind, Failure> {
    BackendKind::from_name(name).ok_or_else(|| {
        let known: Vec<_> = BackendKind::ALL.iter().map(|kind| kind.as_str()).collect();
        Failure::new(Kind::Usage, format!("there is no backend {name:?}"))
            .with_hint(format!("known are: {}", known.join(", ")))
    })
}

fn apply_flags(config: &mut Config, args: &RunArgs) {
    if let Some(seconds) = args.orchestrator_timeout {
        config.timeouts.orchestrator = std::time::Duration::from_secs(seconds);
    }
}

#[cfg(test)]
mod tests {
    use std::io::repeat;

    use super::*;

    #[test]
    fn a_question_from_a_pipe_is_taken_whole_or_refused() {
        let longest = read_question(repeat(b'x').take(QUESTION_LIMIT)).unwrap();
        assert_eq!(longest.len() as u64, QUESTION_LIMIT);
        for (input, words) in [
            (&mut repeat(b'x') as &mut dyn Read, "longer than 16 MiB"),
            (&mut &b"caf\xe9"[..], "not UTF-8"),
            (&mut &b" \n"[..], "the question is empty"),
        ] {
            let failure = read_question(input).unwrap_err();
            assert!(failure.message.contains(words) && failure.exit_code() == 1, "{failure}");
        }
    }
}
