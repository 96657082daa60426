//! `massgen __launch`: what stands at the head of a server's processes.
//!
//! massgen starts a server through this. It runs the server as its child, ends as the server ends, and sees to it that
//! nothing of the server outlives that, or outlives massgen: whoever loses his parent below it becomes its child, also
//! one that has left the session. It talks to nobody and keeps none of the server's streams.
//!
//! It must cost next to nothing: no runtime, no parser of arguments, no thread.

mod sandbox;
mod signals;
mod tree;

use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use massgen::security::sandbox::Sandbox;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{PidfdFlags, Resource, Rlimit, Signal, WaitOptions};
use tokio::time::Instant;

use sandbox::OwnFolder;
use signals::Signals;
use tree::Tree;

/// The first argument that means this and not the command line for people.
pub(crate) const COMMAND: &str = "__launch";

/// The exit code where the server could not be started, as shells have it.
const NOT_STARTED: i32 = 126;
/// How long what a server left behind may take to end after it was asked to.
const REMAINS: Duration = Duration::from_millis(500);
/// How long a server may take to end after it was asked to, because massgen is gone.
const ORPHANS: Duration = Duration::from_secs(1);
/// How long the kernel may take to end what was killed.
const KILLED: Duration = Duration::from_secs(3);
/// How often it is looked whether they have ended.
const STEP: Duration = Duration::from_millis(10);

/// Starts what the arguments say, waits for its end, and ends in the same way. Returns the exit code.
pub(crate) fn run(arguments: impl Iterator<Item = OsString>) -> i32 {
    match launch(arguments) {
        Ok(status) => end_as(status),
        Err(reason) => {
            // It is quoted as the server's last words.
            let _ = writeln!(io::stderr(), "massgen: {reason}");
            NOT_STARTED
        }
    }
}

/// What the arguments say.
#[derive(Debug, Default, PartialEq)]
struct Orders {
    parent: Option<i32>,
    sandbox: Option<Sandbox>,
    command: Vec<OsString>,
}

impl Orders {
    fn parse(mut arguments: impl Iterator<Item = OsString>) -> Result<Self, String> {
        let mut orders = Self::default();
        while let Some(argument) = arguments.next() {
            match argument.to_str() {
                Some("--parent") => {
                    let value = arguments.next();
                    let parent = value.as_deref().and_then(OsStr::to_str).and_then(|text| text.parse().ok());
                    orders.parent = Some(parent.ok_or("--parent needs a process id")?);
                }
                Some("--sandbox") => {
                    let text = arguments.next().and_then(|value| value.into_string().ok());
                    let text = text.ok_or("--sandbox needs a plan")?;
                    orders.sandbox = Some(Sandbox::from_argument(&text)?);
                }
                Some("--") => {
                    orders.command = arguments.collect();
                    break;
                }
                _ => return Err(format!("{} is for massgen itself: {argument:?} is unknown", COMMAND)),
            }
        }
        if orders.command.is_empty() {
            return Err(format!("{COMMAND} is for massgen itself: there is no command after --"));
        }
        Ok(orders)
    }
}

fn launch(arguments: impl Iterator<Item = OsString>) -> Result<ExitStatus, String> {
    let orders = Orders::parse(arguments)?;
    // Away from massgen's terminal. Who leads a group already, as where somebody tries this by hand, is refused.
    let _ = rustix::process::setsid();
    close_inherited();
    let said = |what: &'static str| move |error: io::Error| format!("{what}: {error}");
    let signals = Signals::catch().map_err(said("signals cannot be taken over"))?;
    let parent = match orders.parent.map(watch).transpose().map_err(said("massgen cannot be watched"))? {
        Some(Parent::Gone) => return Ok(ExitStatus::from_raw(0)),
        Some(Parent::Watched(parent)) => Some(parent),
        Some(Parent::Signals) | None => None,
    };
    confine().map_err(said("the server cannot be confined"))?;
    let nowhere = OpenOptions::new().read(true).write(true).open("/dev/null").map_err(said("/dev/null"))?;

    let own = orders.sandbox.as_ref().map(|_| OwnFolder::new()).transpose();
    let own = own.map_err(said("no temporary folder for the server"))?;
    let child = match (&orders.sandbox, &own) {
        // A sandbox holds the thread that enters it and what that one starts; this one has to see and end it all.
        (Some(sandbox), Some(own)) => std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                sandbox::enter(sandbox, own.path())?;
                start(&orders.command, Some(own))
            });
            inside.join().unwrap_or_else(|_| Err("the sandbox could not be entered".to_owned()))
        })?,
        _ => start(&orders.command, None)?,
    };
    forget_streams(&nowhere).map_err(said("the server's streams cannot be let go"))?;
    Ok(Vigil { child, signals, parent, status: None, phase: Phase::Running }.keep())
}

/// Starts the server, as confined as this thread is.
fn start(command: &[OsString], own: Option<&OwnFolder>) -> Result<i32, String> {
    let Some((program, arguments)) = command.split_first() else { return Err("no command".to_owned()) };
    #[expect(clippy::disallowed_methods, reason = "judged by the policy before it came here")]
    let mut command = Command::new(program);
    command.args(arguments);
    if let Some(own) = own {
        command.envs(["TMPDIR", "TMP", "TEMP"].map(|name| (name, own.path())));
    }
    let child = command.spawn().map_err(|error| {
        let why = why_not(Path::new(program), &error).unwrap_or_else(|| error.to_string());
        format!("{} cannot be run: {why}", program.display())
    })?;
    i32::try_from(child.id()).map_err(|_| "the server has no process id".to_owned())
}

/// What the system's word for it leaves out, with the remedy.
fn why_not(program: &Path, error: &io::Error) -> Option<String> {
    let mut start = [0; 128];
    let read = File::open(program).ok()?.read(&mut start).ok()?;
    let start = String::from_utf8_lossy(start.get(..read)?);
    let interpreter = start.strip_prefix("#!").and_then(|line| line.split_whitespace().next());
    match (error.kind(), interpreter) {
        (io::ErrorKind::NotFound, Some(interpreter)) => {
            Some(format!("its first line names {interpreter}, which is not there. Install that, or mend the line"))
        }
        // What a shell would take for a script of its own.
        (_, None) if error.raw_os_error() == Some(libc::ENOEXEC) => Some(
            "it is no program, and has no first line (#!) that names one. Set command: to what runs it, such as python3 \
             or node, and put the file into args:"
                .to_owned(),
        ),
        _ => None,
    }
}

/// Closes what was left open by whoever started massgen: the server gets its three streams and nothing else.
fn close_inherited() {
    let Ok(folder) = std::fs::read_dir("/proc/self/fd") else { return };
    let open: Vec<i32> =
        folder.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    for fd in open.into_iter().filter(|fd| *fd > 2) {
        // The folder's own is among them, and closed by now.
        let _ = nix::unistd::close(fd);
    }
}

enum Parent {
    Gone,
    /// Readable when it is gone.
    Watched(OwnedFd),
    /// Its end comes as SIGHUP.
    Signals,
}

fn watch(parent: i32) -> io::Result<Parent> {
    let pid = rustix::process::Pid::from_raw(parent);
    let watched = match pid.map(|pid| rustix::process::pidfd_open(pid, PidfdFlags::empty())) {
        Some(Ok(watched)) => Parent::Watched(watched),
        // Kernels before 5.3. The signal comes when the *thread* ends that started this; massgen's do not end before it.
        _ => {
            rustix::process::set_parent_process_death_signal(Some(Signal::HUP))?;
            Parent::Signals
        }
    };
    // Now that its end would be seen: had it come before?
    Ok(if rustix::process::getppid() == pid { watched } else { Parent::Gone })
}

/// What holds for the server as it holds for this process.
fn confine() -> io::Result<()> {
    // It would match `killall massgen`, and leave its server behind.
    rustix::thread::set_name(c"mcp-launcher")?;
    // Whoever loses his parent below here becomes a child of this process, however far he has gone.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    rustix::thread::set_no_new_privs(true)?;
    // What a server has in its memory belongs on no disk.
    rustix::process::setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    Ok(())
}

/// The streams are between massgen and the server: whoever else holds them hides that one of the two has closed them.
fn forget_streams(nowhere: &File) -> io::Result<()> {
    rustix::stdio::dup2_stdin(nowhere)?;
    rustix::stdio::dup2_stdout(nowhere)?;
    rustix::stdio::dup2_stderr(nowhere)?;
    Ok(())
}

/// The wait for the end of the server and everything it started.
struct Vigil {
    child: i32,
    signals: Signals,
    parent: Option<OwnedFd>,
    /// How the server ended.
    status: Option<ExitStatus>,
    phase: Phase,
}

#[derive(Clone, Copy)]
enum Phase {
    Running,
    /// All were asked to end; they are killed then.
    Asked(Instant),
    /// All are being killed; they are given up then.
    Killing(Instant),
}

impl Vigil {
    fn keep(mut self) -> ExitStatus {
        loop {
            self.reap();
            if self.step() {
                return self.status.unwrap_or_else(|| ExitStatus::from_raw(Signal::KILL.as_raw()));
            }
            self.wait();
        }
    }

    fn reap(&mut self) {
        while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
            if pid.as_raw_nonzero().get() == self.child {
                self.status = Some(ExitStatus::from_raw(status.as_raw()));
            }
        }
    }

    /// Does what is due; true: all is over.
    fn step(&mut self) -> bool {
        if matches!(self.phase, Phase::Running) {
            if self.status.is_none() {
                return false;
            }
            self.ask(REMAINS);
        }
        let tree = Tree::below();
        if tree.is_empty() {
            return self.status.is_some();
        }
        match self.phase {
            Phase::Asked(until) if Instant::now() >= until => self.kill(),
            Phase::Killing(until) if Instant::now() >= until => return true,
            _ => {}
        }
        if matches!(self.phase, Phase::Killing(_)) {
            tree.signal(Signal::KILL);
        }
        false
    }

    fn ask(&mut self, grace: Duration) {
        Tree::below().signal(Signal::TERM);
        self.phase = Phase::Asked(Instant::now() + grace);
    }

    fn kill(&mut self) {
        if !matches!(self.phase, Phase::Killing(_)) {
            self.phase = Phase::Killing(Instant::now() + KILLED);
        }
    }

    /// Waits for something to happen, and takes note of it.
    fn wait(&mut self) {
        let step = Timespec { tv_sec: 0, tv_nsec: STEP.subsec_nanos().into() };
        let timeout = if matches!(self.phase, Phase::Running) { None } else { Some(&step) };
        let mut watched = vec![PollFd::from_borrowed_fd(self.signals.as_fd(), PollFlags::IN)];
        watched.extend(
            self.parent.as_ref().map(|parent| PollFd::from_borrowed_fd(parent.as_fd(), PollFlags::IN)),
        );
        // An interruption is as good as an event: everything is looked at again.
        let _ = poll(&mut watched, timeout);
        let orphaned = watched.get(1).is_some_and(|parent| !parent.revents().is_empty());
        if orphaned {
            self.parent = None;
            self.orphaned();
        }
        let caught = self.signals.take();
        if caught.terminate {
            Tree::below().signal(Signal::TERM);
        }
        if caught.hang_up {
            self.orphaned();
        }
        if caught.quit {
            self.kill();
        }
    }

    fn orphaned(&mut self) {
        if !matches!(self.phase, Phase::Killing(_)) {
            self.ask(ORPHANS);
        }
    }
}

/// Ends this process as the server ended, so that massgen reads the one off the other.
fn end_as(status: ExitStatus) -> i32 {
    if let Some(signal) = status.signal() {
        let _ = signal_hook::low_level::emulate_default_handler(signal);
    }
    // A signal that does not end this process: shells count from 128.
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Orders, String> {
        Orders::parse(words.iter().map(OsString::from))
    }

    #[test]
    fn what_follows_the_mark_is_the_servers() {
        let orders = parse(&["--parent", "7", "--", "/bin/x", "--parent", "--"]).unwrap();
        assert_eq!(orders.parent, Some(7));
        assert_eq!(orders.command, ["/bin/x", "--parent", "--"]);
        for bad in [&["--parent"][..], &["--parent", "x", "--", "a"], &["--"], &[], &["--other", "--", "a"]] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }
}
