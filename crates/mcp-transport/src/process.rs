//! Child processes: the one place that starts them, and the one that sees to their end.
//!
//! A runner such as `npx` starts a shell that starts the server: what is signalled is always the whole tree. Each child
//! leads a process group of its own, and a session where there is a terminal to keep it from. Where there is a
//! [`crate::Launcher`], it stands at the head of the tree, sees to its session, knows also those that left the group, and
//! outlives us long enough to end them.

use std::ffi::OsString;
#[cfg(target_os = "linux")]
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use mcp_core::{Admitted, LaunchSpec, ServerName, ToolError};
use process_wrap::tokio::{ChildWrapper, CommandWrap, KillOnDrop};
use tokio::process::{ChildStdin, ChildStdout};
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

use crate::convert;
use crate::options::SessionOptions;
use crate::process::crowd::Crowd;
use crate::process::tree::Tree;
use crate::stderr::{Drain, Tail};

mod crowd;
mod memory;
#[cfg_attr(not(unix), allow(dead_code, reason = "no other system ends processes so"))]
mod oom;
mod tree;

/// How long the remains of a tree may take to end once its leader is gone.
const SWEEP: Duration = Duration::from_millis(500);
/// How often it is looked whether they have.
const SWEEP_STEP: Duration = Duration::from_millis(10);
/// How long the kernel may take to end a killed process.
const KILL: Duration = Duration::from_secs(5);
/// How long an error waits for the words and the exit code that explain it.
const LAST_WORDS: Duration = Duration::from_millis(1000);
/// How long it waits for those of a process that seems to go on.
const LIVING: Duration = Duration::from_millis(60);

/// Servers whose programs are looked for at the same time.
static LOOKUPS: Semaphore = Semaphore::const_new(2);
/// What fits between a server and us in each direction: what is large goes in fewer pieces than through the 64 KiB that are
/// usual.
#[cfg(target_os = "linux")]
const PIPE: usize = 256 * 1024;

/// A running child. Dropping it kills the whole tree at once.
pub(crate) struct Child {
    tree: Arc<Tree>,
    crowd: Arc<Crowd>,
    tail: Arc<Tail>,
    drained: watch::Receiver<bool>,
    exit: watch::Receiver<Option<String>>,
    stop: watch::Sender<bool>,
}

/// The two ends of the child that the protocol uses.
pub(crate) struct Pipes {
    pub(crate) stdin: ChildStdin,
    pub(crate) stdout: ChildStdout,
}

/// Starts a server. Its environment is the spec's and nothing else; the program is looked up on that `PATH`.
pub(crate) async fn start(
    server: &ServerName,
    launch: &Admitted<LaunchSpec>,
    options: &SessionOptions,
) -> Result<(Child, Pipes), ToolError> {
    let spec = launch.spec();
    let failed = |reason: String, searched| ToolError::Spawn { server: server.clone(), reason, searched };
    if let Some(cwd) = &spec.cwd
        && !is_folder(cwd).await
    {
        return Err(failed(format!("its working folder {} does not exist", cwd.display()), Vec::new()));
    }
    let not_found = |NotFound { reason, searched }| failed(reason, searched);
    let program = match path(spec) {
        // Starting it tells whether it can be started; a launcher could tell only by its own end.
        Some(path) if options.launcher.is_none() => path,
        _ => find(spec).await.map_err(not_found)?,
    };

    // The launcher's own arguments come before the mark, the server's after it.
    let (head, lead) = match &options.launcher {
        Some(launcher) => {
            let mut lead: Vec<OsString> = launcher.args.iter().map(OsString::from).collect();
            lead.extend(["--parent".into(), std::process::id().to_string().into()]);
            lead.extend(["--".into(), program.clone().into()]);
            (&launcher.program, lead)
        }
        None => (&program, Vec::new()),
    };
    let mut command = CommandWrap::with_new(head, |command| {
        command
            .args(&lead)
            .args(&spec.args)
            .env_clear()
            .envs(&spec.env)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if let Some(cwd) = &spec.cwd {
            command.current_dir(cwd);
        }
    });
    // A launcher must not be killed before it has killed its tree.
    if options.launcher.is_none() {
        command.wrap(KillOnDrop);
    }
    #[cfg(unix)]
    keep_apart(&mut command, options);
    #[cfg(windows)]
    command.wrap(process_wrap::tokio::JobObject);

    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            if let Some(error) = convert::out_of_descriptors(server, &error) {
                return Err(error);
            }
            find(spec).await.map_err(not_found)?;
            return Err(failed(format!("{} cannot be run: {error}", head.display()), Vec::new()));
        }
    };
    let memory_events = options.memory_events.clone().or_else(oom::own);
    if let Some(events) = &memory_events {
        oom::begin(events);
    }
    let tree = Arc::new(Tree::new(child.id(), options.launcher.is_some()));
    let (Some(stdin), Some(stdout), Some(stderr)) =
        (child.stdin().take(), child.stdout().take(), child.stderr().take())
    else {
        tree.kill();
        return Err(ToolError::Internal("a child was started without pipes".to_owned()));
    };
    // The system may have given all it has to give; then the pipes stay as they are.
    #[cfg(target_os = "linux")]
    for pipe in [stdout.as_fd(), stdin.as_fd()] {
        let _ = rustix::pipe::fcntl_setpipe_size(pipe, PIPE);
    }
    tracing::debug!(%server, pid = tree.id(), program = %program.display(), "started");

    let tail = Arc::new(Tail::new(secrets(spec)));
    let (done, drained) = watch::channel(false);
    let drain = Drain { server: server.clone(), tail: tail.clone(), sink: options.stderr.clone() };
    tokio::spawn(drain.run(stderr, done));

    let (exited, exit) = watch::channel(None);
    let (stop, stopped) = watch::channel(false);
    let crowd = Arc::new(Crowd::new(options.max_processes));
    let watched = Watched { child, tree: KillTree(tree.clone()), crowd: crowd.clone(), memory_events };
    tokio::spawn(supervise(watched, stopped, options.close_grace, exited));
    Ok((Child { tree, crowd, tail, drained, exit, stop }, Pipes { stdin, stdout }))
}

/// Away from the terminal: its Ctrl-C reaches us and not the child, and nothing of the child can read or write there. A
/// launcher sees to that itself. A session takes a fork of this whole process, which is dear in one that holds much: where
/// there is no terminal, a group does as well, and the child is spawned.
#[cfg(unix)]
fn keep_apart(command: &mut CommandWrap, options: &SessionOptions) {
    if options.launcher.is_some() {
        return;
    }
    if has_terminal() {
        command.wrap(process_wrap::tokio::ProcessSession);
    } else {
        command.command_mut().process_group(0);
    }
}

#[cfg(unix)]
fn has_terminal() -> bool {
    use rustix::fs::{Mode, OFlags, open};
    open("/dev/tty", OFlags::RDONLY | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty()).is_ok()
}

impl Child {
    /// The process id.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.tree.id()
    }

    /// What it and its descendants take of the memory, bytes. Reads files.
    pub(crate) fn resident_memory(&self) -> Option<u64> {
        self.tree.living().and_then(memory::resident)
    }

    /// The most processes that were seen at a time.
    pub(crate) fn peak_processes(&self) -> Option<usize> {
        self.crowd.peak()
    }

    /// Whether it was ended because they were too many.
    pub(crate) fn is_overgrown(&self) -> bool {
        self.crowd.is_overgrown()
    }

    /// The last lines of its standard error.
    pub(crate) fn tail(&self) -> Vec<String> {
        self.tail.lines()
    }

    /// The same lines, for who outlives the child.
    pub(crate) fn shared_tail(&self) -> Arc<Tail> {
        self.tail.clone()
    }

    /// How it ended, such as "it exited with code 1"; `None` while it runs.
    pub(crate) fn exit(&self) -> Option<String> {
        self.exit.borrow().clone()
    }

    /// Turns `Some` when it has ended, with how.
    pub(crate) fn watch_exit(&self) -> watch::Receiver<Option<String>> {
        self.exit.clone()
    }

    /// Resolves when it has ended, with how.
    pub(crate) async fn ended(&self) -> String {
        let mut exit = self.exit.clone();
        match exit.wait_for(Option::is_some).await {
            Ok(how) => how.clone().unwrap_or_default(),
            Err(_) => "it was ended".to_owned(),
        }
    }

    /// Waits a moment for the child's end and its last words, which explain a stream that broke.
    pub(crate) async fn last_words(&self) -> Option<String> {
        self.words_within(LAST_WORDS).await
    }

    /// The same for somebody in a hurry: a process that only closed its output has none.
    pub(crate) async fn quick_words(&self) -> Option<String> {
        let tree = self.tree.clone();
        // A file is read.
        let ends = tokio::task::spawn_blocking(move || tree.is_ending()).await.unwrap_or(false);
        self.words_within(if ends { LAST_WORDS } else { LIVING }).await
    }

    async fn words_within(&self, patience: Duration) -> Option<String> {
        let mut drained = self.drained.clone();
        let _ = timeout(patience, async {
            self.ended().await;
            let _ = drained.wait_for(|done| *done).await;
        })
        .await;
        self.exit()
    }

    /// Ends it politely, then less so: asks by signal once the end of its input did not do, then kills. Bounded.
    /// Whoever closes its input does so first.
    pub(crate) async fn close(&self) {
        self.stop.send_replace(true);
        self.ended().await;
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Synchronous: the runtime may be shutting down.
        self.tree.kill();
    }
}

/// Kills the tree where the supervising task ends early, as it does when the runtime shuts down.
struct KillTree(Arc<Tree>);

impl Drop for KillTree {
    fn drop(&mut self) {
        self.0.kill();
    }
}

/// A child that is supervised.
struct Watched {
    child: Box<dyn ChildWrapper>,
    tree: KillTree,
    crowd: Arc<Crowd>,
    /// Where the system says that it ended a process because memory was short.
    memory_events: Option<PathBuf>,
}

/// Waits for the child, ends it when asked to or when it overgrows, reaps it, and clears away what is left of its tree.
async fn supervise(
    Watched { mut child, tree, crowd, memory_events }: Watched,
    mut stopped: watch::Receiver<bool>,
    grace: Duration,
    exited: watch::Sender<Option<String>>,
) {
    let told = async {
        // The other end is dropped with the session, which kills the tree: the wait below sees it.
        if stopped.wait_for(|stop| *stop).await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    let status = tokio::select! {
        status = child.wait() => Some(status),
        () = told => None,
        () = crowd.overgrows(&tree.0) => {
            tree.0.kill();
            timeout(KILL, child.wait()).await.ok()
        }
    };
    let status = match status {
        Some(status) => Some(status),
        None => end(&mut *child, &tree.0, grace).await,
    };
    tracing::trace!(pid = tree.0.id(), "reaped");
    // A process id is nobody else's while a group has it: what is left of the group can be signalled by it.
    if !tree.0.is_empty() {
        tree.0.terminate_remains();
        let swept = timeout(SWEEP, async {
            while !tree.0.is_empty() {
                tokio::time::sleep(SWEEP_STEP).await;
            }
        });
        if swept.await.is_err() {
            tree.0.kill_remains();
        }
    }
    tree.0.forget();
    let how = match status {
        _ if crowd.is_overgrown() => crowd.reason(),
        Some(Ok(status)) => describe(status, memory_events.as_deref()),
        Some(Err(error)) => format!("its end could not be seen: {error}"),
        None => "it did not end when it was killed".to_owned(),
    };
    tracing::debug!(pid = tree.0.id(), how, "the server's process ended");
    exited.send_replace(Some(how));
}

async fn end(
    child: &mut dyn ChildWrapper,
    tree: &Tree,
    grace: Duration,
) -> Option<std::io::Result<ExitStatus>> {
    if let Ok(status) = timeout(grace, child.wait()).await {
        return Some(status);
    }
    tree.terminate();
    if let Ok(status) = timeout(grace, child.wait()).await {
        return Some(status);
    }
    tree.kill();
    if let Ok(status) = timeout(KILL, child.wait()).await {
        return Some(status);
    }
    // A launcher that does not do its work.
    tree.kill_remains();
    let _ = child.start_kill();
    timeout(KILL, child.wait()).await.ok()
}

/// The name of a signal by which programs usually end.
#[cfg(unix)]
fn signal_name(signal: i32) -> Option<&'static str> {
    use rustix::process::Signal;
    const NAMES: [(Signal, &str); 11] = [
        (Signal::HUP, "SIGHUP"),
        (Signal::INT, "SIGINT"),
        (Signal::QUIT, "SIGQUIT"),
        (Signal::ILL, "SIGILL"),
        (Signal::ABORT, "SIGABRT"),
        (Signal::BUS, "SIGBUS"),
        (Signal::FPE, "SIGFPE"),
        (Signal::KILL, "SIGKILL"),
        (Signal::SEGV, "SIGSEGV"),
        (Signal::PIPE, "SIGPIPE"),
        (Signal::TERM, "SIGTERM"),
    ];
    NAMES.iter().find(|(known, _)| known.as_raw() == signal).map(|(_, name)| *name)
}

#[cfg_attr(not(unix), allow(unused_variables, reason = "no other system has such a counter"))]
fn describe(status: ExitStatus, memory_events: Option<&Path>) -> String {
    #[cfg(unix)]
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
        let name = signal_name(signal).map(|name| format!(" ({name})")).unwrap_or_default();
        let why = match signal {
            9 if memory_events.is_some_and(oom::is_one_more) => ", by the system, because memory was short",
            9 => ", as the system does when memory is short",
            _ => "",
        };
        return format!("it was ended by signal {signal}{name}{why}");
    }
    match status.code() {
        Some(code) => format!("it exited with code {code}"),
        None => "it ended".to_owned(),
    }
}

/// Why there is no program to run.
pub(crate) struct NotFound {
    reason: String,
    /// The folders of `PATH`, where it was looked for there.
    searched: Vec<PathBuf>,
}

/// Where the program is, if its name says so.
fn path(spec: &LaunchSpec) -> Option<PathBuf> {
    let program = Path::new(&spec.program);
    if program.components().count() < 2 && !program.is_absolute() {
        return None;
    }
    Some(match &spec.cwd {
        Some(cwd) if program.is_relative() => cwd.join(program),
        _ => program.to_owned(),
    })
}

/// Finds the program as the child would: a path as it is, a name on the child's `PATH`.
pub(crate) async fn find(spec: &LaunchSpec) -> Result<PathBuf, NotFound> {
    let not_found = |reason: String, searched| NotFound { reason, searched };
    if spec.program.is_empty() {
        return Err(not_found("its command is empty. Set command: to a program".to_owned(), Vec::new()));
    }
    // The file system is asked on threads of its own: of fifty servers at once, not fifty threads.
    let _turn = LOOKUPS.acquire().await;
    let path = path(spec);
    let (name, folders) = (spec.program.clone(), spec.env.get("PATH").cloned().unwrap_or_default());
    let found = tokio::task::spawn_blocking(move || match path {
        Some(path) => match executable(&path) {
            Executable::Yes => Ok(path),
            Executable::No => Err(not_found(not_executable(&path), Vec::new())),
            Executable::Missing => Err(not_found(missing(&path), Vec::new())),
        },
        None => {
            let folders: Vec<PathBuf> =
                std::env::split_paths(&folders).filter(|folder| folder.is_absolute()).collect();
            on_path(&name, &folders).ok_or_else(|| {
                let remedy = remedy(&name);
                not_found(format!("{name:?} is not on PATH. {remedy} command: to its full path"), folders)
            })
        }
    });
    // The task can only be gone together with the runtime.
    found.await.unwrap_or_else(|_| Err(not_found("nothing is started any more".to_owned(), Vec::new())))
}

/// That nothing is there, with the remedy.
fn missing(path: &Path) -> String {
    format!(
        "{} does not exist. Install it, or set command: to where the program is, or to its name alone where it is on PATH",
        path.display()
    )
}

/// Why what is there is no program, with the remedy.
fn not_executable(path: &Path) -> String {
    let shown = path.display();
    if path.is_dir() {
        return format!("{shown} is a folder. Set command: to a program");
    }
    format!(
        "{shown} is not a program that may be run. Make it one with: chmod +x {shown}, or set command: to what runs it, such as \
         python3 or node, and put the file into args:"
    )
}

fn on_path(name: &str, folders: &[PathBuf]) -> Option<PathBuf> {
    let names = names(name);
    let candidates = folders.iter().flat_map(|folder| names.iter().map(|name| folder.join(name)));
    candidates.into_iter().find(|candidate| matches!(executable(candidate), Executable::Yes))
}

fn remedy(program: &str) -> &'static str {
    match program {
        "npx" | "npm" | "node" => "Install Node.js, or set",
        "uvx" | "uv" => "Install uv, or set",
        "python" | "python3" | "pipx" => "Install Python, or set",
        "docker" => "Install Docker, or set",
        "deno" => "Install Deno, or set",
        "bunx" | "bun" => "Install Bun, or set",
        _ => "Install it, or set",
    }
}

fn names(program: &str) -> Vec<String> {
    if cfg!(windows) {
        ["", ".exe", ".cmd", ".bat"].iter().map(|suffix| format!("{program}{suffix}")).collect()
    } else {
        vec![program.to_owned()]
    }
}

enum Executable {
    Yes,
    No,
    Missing,
}

fn executable(path: &Path) -> Executable {
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_file() && may_run(&metadata) => Executable::Yes,
        Ok(_) => Executable::No,
        Err(_) => Executable::Missing,
    }
}

#[cfg(unix)]
fn may_run(metadata: &std::fs::Metadata) -> bool {
    std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o111 != 0
}

#[cfg(not(unix))]
fn may_run(_: &std::fs::Metadata) -> bool {
    true
}

pub(crate) async fn is_folder(path: &Path) -> bool {
    tokio::fs::metadata(path).await.is_ok_and(|metadata| metadata.is_dir())
}

/// The values of the environment that a server's words must not carry into errors and logs, judged by name.
fn secrets(spec: &LaunchSpec) -> Vec<String> {
    const MARKS: [&str; 7] = ["KEY", "TOKEN", "SECRET", "PASSWORD", "PASSWD", "CREDENTIAL", "AUTH"];
    let mut values: Vec<String> = spec
        .env
        .iter()
        .filter(|(name, value)| {
            let name = name.to_ascii_uppercase();
            value.len() >= 8 && MARKS.iter().any(|mark| name.contains(mark))
        })
        .map(|(_, value)| value.clone())
        .collect();
    // A value may be part of another one: the longer first.
    values.sort_by_key(|value| std::cmp::Reverse(value.len()));
    values
}
