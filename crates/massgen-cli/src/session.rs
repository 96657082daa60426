//! What every command that runs something needs first: environment, output style, log folder, tracing.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};

use massgen::client::metrics::Observer;
use massgen::config::LoadOptions;
use massgen::core::{Environment, ServerName};
use massgen::security::Redactor;
use massgen::transport::{Launcher, StderrSink};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::args::{GuardArgs, OutputArgs, OutputFormat};
use crate::display::{Display, JsonLines, Plain, Silent};
use crate::failure::Failure;
use crate::log_directory::{LOGS, LogDirectory, file_name};
use crate::output;
use crate::secret_store::SecretStore;
use crate::style::Style;
#[cfg(feature = "otlp")]
use crate::telemetry::otlp;
use crate::telemetry::{Telemetry, names};

/// One start of the command.
pub(crate) struct Session {
    pub(crate) environment: Environment,
    pub(crate) output: OutputArgs,
    pub(crate) style: Style,
    pub(crate) guard: GuardArgs,
    pub(crate) telemetry: Telemetry,
    /// Where secrets and logins are kept.
    pub(crate) secrets: SecretStore,
    /// Ends the log writer when it is dropped.
    _log_guard: Option<tracing_appender::non_blocking::WorkerGuard>,
}

impl Session {
    /// Reads the environment and starts tracing: warnings (with `--debug`: everything of ours) on standard error.
    pub(crate) fn start(output: OutputArgs, environment: Environment) -> Self {
        let style = Style::of(output::is_terminal(), &environment);
        // rmcp logs each notification with its payload. What libraries call an error is told in our own words.
        let level = if output.debug {
            "info,massgen=debug,mcp=debug,rmcp=warn"
        } else {
            "off,massgen=warn,mcp=error"
        };
        let filter = environment
            .non_empty("MASSGEN_LOG")
            .and_then(|filter| EnvFilter::try_new(filter).ok())
            .unwrap_or_else(|| EnvFilter::new(level));
        let (writer, guard) = tracing_appender::non_blocking(io::stderr());
        let layer = tracing_subscriber::fmt::layer()
            .with_writer(writer)
            .without_time()
            .with_target(output.debug)
            .with_ansi(false);
        // A second start in one process (tests) keeps the first subscriber.
        let layer = layer.with_filter(filter);
        #[cfg(not(feature = "otlp"))]
        let (telemetry, _) = (Telemetry::new(), tracing_subscriber::registry().with(layer).try_init());
        #[cfg(feature = "otlp")]
        let telemetry = {
            let (exporter, problem) = match otlp::Exporter::new(&environment).transpose() {
                Ok(exporter) => (exporter, None),
                Err(error) => (None, Some(error)),
            };
            let spans = exporter.as_ref().map(otlp::Exporter::spans);
            let _ = tracing_subscriber::registry().with(layer).with(spans).try_init();
            if let Some(error) = problem {
                tracing::warn!(%error, "no telemetry is sent");
            }
            Telemetry::new(exporter)
        };
        let guard_args = GuardArgs::default();
        let secrets = SecretStore::new(&environment);
        Self { environment, output, style, guard: guard_args, telemetry, secrets, _log_guard: Some(guard) }
    }

    /// The same session, with what agents may do.
    pub(crate) fn guarded(self, guard: GuardArgs) -> Self {
        Self { guard, ..self }
    }

    /// What loading a configuration needs.
    pub(crate) fn load_options(&self) -> LoadOptions {
        load_options(self.environment.clone(), self.secrets.clone())
    }

    /// A new log folder for one run, unless it is not wanted.
    pub(crate) fn log_directory(&self, wanted: bool) -> Result<Option<LogDirectory>, Failure> {
        if self.output.no_logs || !wanted {
            return Ok(None);
        }
        let now = jiff::ZonedDateTime::now().strftime("%Y%m%d_%H%M%S").to_string();
        let parent = Path::new(LOGS);
        LogDirectory::create(parent, &now).map(Some).map_err(|error| no_log(parent, &error))
    }

    /// The display that was asked for.
    pub(crate) fn display(&self) -> Box<dyn Display> {
        match self.output.output {
            OutputFormat::Text => Box::new(Plain::new(io::BufWriter::new(io::stdout()), self.style)),
            OutputFormat::Json => Box::new(Silent),
            OutputFormat::Events => Box::new(JsonLines(io::BufWriter::new(io::stdout()))),
        }
    }

    /// A line for people: on standard output where that is for people, else on standard error.
    pub(crate) fn say(&self, text: impl AsRef<str>) {
        match self.output.output {
            OutputFormat::Text => output::line(text),
            OutputFormat::Json | OutputFormat::Events => output::note(text),
        }
    }
}

/// Why there is no log folder, and what to do about it.
fn no_log(parent: &Path, error: &io::Error) -> Failure {
    let place = std::path::absolute(parent).unwrap_or_else(|_| parent.to_owned());
    let place = place.display();
    if parent.is_dir() || parent.symlink_metadata().is_err() {
        return Failure::config(format!("no log folder could be made in {place}: {error}"))
            .with_hint("change to a folder you may write to, or pass --no-logs");
    }
    let what = if parent.is_symlink() { "a link to no folder" } else { "a file" };
    Failure::config(format!("the runs' logs go to the folder {place}, which is {what}"))
        .with_hint("rename or remove it, change to another folder, or pass --no-logs")
}

/// What loading a configuration needs.
pub(crate) fn load_options(environment: Environment, secrets: SecretStore) -> LoadOptions {
    LoadOptions {
        environment,
        cwd: std::env::current_dir().unwrap_or_default(),
        keyring: Some(Arc::new(secrets)),
        ..LoadOptions::default()
    }
}

/// What starts servers: this program, once more, where the system has what it takes.
pub(crate) fn launcher() -> Option<Launcher> {
    #[cfg(target_os = "linux")]
    {
        // A program that was replaced while it runs has no path any more, and can be run all the same.
        let own = std::env::current_exe().ok().filter(|path| path.exists());
        let program = own.unwrap_or_else(|| "/proc/self/exe".into());
        Some(Launcher { program, args: vec![crate::launcher::COMMAND.to_owned()] })
    }
    #[cfg(not(target_os = "linux"))]
    None
}

/// Servers' standard error, each in its file below the current run's log folder.
pub(crate) struct ServerLogs {
    lines: LineWriter,
    redactor: Redactor,
    metrics: Arc<dyn Observer>,
}

impl ServerLogs {
    /// No registered secret gets into them; `metrics` hears how often one would have.
    pub(crate) fn new(redactor: Redactor, metrics: Arc<dyn Observer>) -> Arc<Self> {
        Arc::new(Self { lines: LineWriter::default(), redactor, metrics })
    }

    /// From now on lines go to this run's folder.
    pub(crate) fn write_to(&self, log: Option<LogDirectory>) {
        self.lines.write_to(log);
    }
}

impl StderrSink for ServerLogs {
    fn line(&self, server: &ServerName, line: &str) {
        let line = self.redactor.redact(line);
        if matches!(line, Cow::Owned(_)) {
            self.metrics.count(names::SECRET_REDACTIONS, &[("sink", "log")], 1);
        }
        self.lines.write(format!("mcp/{}.stderr.log", file_name(server.as_str())), line.into_owned());
    }
}

/// Appends lines to files of the current log folder, on a thread of its own; without a folder lines are dropped.
#[derive(Default)]
struct LineWriter {
    current: Mutex<Option<Lines>>,
}

impl LineWriter {
    fn write_to(&self, log: Option<LogDirectory>) {
        let lines = log.map(|log| {
            let (lines, inbox) = Lines::new();
            let waiting = lines.waiting.clone();
            std::thread::spawn(move || append_lines(&log, &inbox, &waiting));
            lines
        });
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = lines;
    }

    fn write(&self, file: String, line: String) {
        if let Some(lines) = &*self.current.lock().unwrap_or_else(PoisonError::into_inner) {
            lines.write(file, line);
        }
    }
}

/// The most that waits for a disk that does not keep up, bytes; lines on top of it are left out.
const MOST_WAITING: usize = 16 << 20;

/// Lines on their way to the disk, and how many bytes they are.
struct Lines {
    sender: mpsc::Sender<(String, String)>,
    waiting: Arc<AtomicUsize>,
}

impl Lines {
    fn new() -> (Self, mpsc::Receiver<(String, String)>) {
        let (sender, inbox) = mpsc::channel();
        (Self { sender, waiting: Arc::default() }, inbox)
    }

    fn write(&self, file: String, line: String) {
        let room = |waiting: usize| waiting.checked_add(line.len()).filter(|sum| *sum <= MOST_WAITING);
        if self.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room).is_ok() {
            let _ = self.sender.send((file, line));
        }
    }
}

fn append_lines(log: &LogDirectory, lines: &mpsc::Receiver<(String, String)>, waiting: &AtomicUsize) {
    let mut files = HashMap::new();
    while let Ok((name, line)) = lines.recv() {
        let file = files.entry(name).or_insert_with_key(|name| log.append(name).ok());
        if let Some(file) = file {
            let _ = writeln!(file, "{line}");
        }
        waiting.fetch_sub(line.len(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use massgen_testkit::{PATIENCE, process};

    use super::*;
    use crate::telemetry::registry::{Registry, Value};

    #[test]
    fn a_disk_that_does_not_keep_up_fills_no_memory() {
        let (lines, inbox) = Lines::new();
        for _ in 0..100 {
            lines.write("srv".to_owned(), "x".repeat(MOST_WAITING / 16));
        }
        drop(lines);
        assert_eq!(inbox.iter().count(), 16);
    }

    #[test]
    fn what_a_server_says_to_its_log_is_kept_without_secrets() {
        let folder = tempfile::tempdir().unwrap();
        let log = LogDirectory::create(folder.path(), "now").unwrap();
        let (redactor, registry) = (Redactor::default(), Arc::new(Registry::default()));
        redactor.register("hunter2-hunter2");
        let logs = ServerLogs::new(redactor, registry.clone());
        logs.write_to(Some(log.clone()));
        let server = ServerName::new("srv").unwrap();
        logs.line(&server, "trying hunter2-hunter2");
        logs.line(&server, "refused");
        let path = log.path().join("mcp/srv.stderr.log");
        let expected = "trying [redacted]\nrefused\n";
        let kept = || std::fs::read_to_string(&path).unwrap_or_default();
        assert!(process::until_blocking(PATIENCE, || kept() == expected), "{}", kept());
        let metrics = registry.metrics();
        let counted = &metrics[names::SECRET_REDACTIONS].series;
        assert_eq!((counted.len(), &counted[0].value), (1, &Value::Number { value: 1.0 }));
        assert_eq!(counted[0].labels["sink"], "log");
    }
}
