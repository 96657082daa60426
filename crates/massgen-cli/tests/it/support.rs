//! Runs the binary in a folder of its own, with an environment of its own.

use std::ffi::OsString;
use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use massgen_testkit::process;
use serde_json::Value;
use tempfile::TempDir;

/// A folder to run in.
pub(crate) struct Place {
    folder: TempDir,
    variables: Vec<(String, String)>,
}

/// How a run ended.
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    fn of(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("the output is UTF-8");
        Self { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// Fails with everything that was said where the exit code is another one.
    #[track_caller]
    pub(crate) fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {}", self.stdout))
    }
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), variables: Vec::new() }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Writes a configuration; JSON is YAML.
    pub(crate) fn config(&self, config: &Value) {
        self.write("team.yaml", config.to_string());
    }

    pub(crate) fn set(&mut self, name: &str, value: impl Into<String>) {
        self.variables.push((name.to_owned(), value.into()));
    }

    /// The variables of the program: nothing of the machine's own keys or servers may reach a test.
    pub(crate) fn environment(&self) -> Vec<(String, OsString)> {
        let own = [
            ("PATH".to_owned(), std::env::var_os("PATH").unwrap_or_default()),
            ("HOME".to_owned(), self.path().into()),
        ];
        let further = self.variables.iter().map(|(name, value)| (name.clone(), value.into()));
        own.into_iter().chain(further).collect()
    }

    fn command(&self, args: &[&str]) -> Command {
        self.command_by(&[], args)
    }

    /// The program after other words, such as `unshare`'s.
    fn command_by(&self, before: &[&str], args: &[&str]) -> Command {
        let words = [before, &[env!("CARGO_BIN_EXE_massgen")], args].concat();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).current_dir(self.path()).env_clear().stdin(Stdio::null());
        command.envs(self.environment());
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Ended {
        Ended::of(self.command(args).output().unwrap())
    }

    pub(crate) fn run_by(&self, before: &[&str], args: &[&str]) -> Ended {
        Ended::of(self.command_by(before, args).output().unwrap())
    }

    /// With its standard output led elsewhere.
    pub(crate) fn run_into(&self, stdout: impl Into<Stdio>, args: &[&str]) -> Ended {
        let child = self.command(args).stdout(stdout).stderr(Stdio::piped()).spawn().unwrap();
        Ended::of(child.wait_with_output().unwrap())
    }

    pub(crate) fn pipe(&self, args: &[&str], input: &str) -> Ended {
        let mut child = self
            .command(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        Ended::of(child.wait_with_output().unwrap())
    }

    pub(crate) fn spawn(&self, args: &[&str]) -> Running {
        let child = self.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        Running(Some(child))
    }

    /// The events of the one run in this folder.
    pub(crate) fn events(&self) -> Vec<Value> {
        let path = self.log().join("events.jsonl");
        let text = std::fs::read_to_string(path).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The records of the audit log of the one run in this folder.
    pub(crate) fn records(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.log().join("audit.jsonl")).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The records that this rule made, in a log that this installation made and whose chain holds. Where one byte of
    /// the first two is another one, the chain does not, and its line is named.
    #[track_caller]
    pub(crate) fn ruled(&self, rule: &str) -> Vec<Value> {
        let path = self.log().join("audit.jsonl");
        let verify = || self.run(&["mcp", "audit", "verify", "--keyed", path.to_str().unwrap()]);
        verify().expect_code(0);
        let whole = std::fs::read(&path).unwrap();
        let records = self.records();
        let is_meant = |record: &Value| record["rule"] == rule;
        let starts = std::iter::once(0)
            .chain(whole.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1));
        let meant = starts.zip(&records).enumerate().filter(|(_, (_, record))| is_meant(record));
        // A server that is tried again and again makes many.
        for (number, (start, record)) in meant.take(2) {
            let mut flipped = whole.clone();
            // A letter of the rule's name becomes another one: the line stays JSON.
            let named = format!("\"rule\":{}", record["rule"]);
            let at = whole[start..].windows(named.len()).position(|part| part == named.as_bytes()).unwrap();
            flipped[start + at + named.len() - 2] ^= 1;
            std::fs::write(&path, flipped).unwrap();
            let told = verify().expect_code(3).stderr;
            assert!(told.contains(&format!("line {} was altered", number + 1)), "{told}");
        }
        std::fs::write(&path, whole).unwrap();
        records.into_iter().filter(is_meant).collect()
    }

    /// The log folder of the one run in this folder.
    pub(crate) fn log(&self) -> PathBuf {
        let mut logs: Vec<_> = std::fs::read_dir(self.path().join("massgen_logs"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        assert_eq!(logs.len(), 1, "{logs:?}");
        logs.remove(0)
    }
}

/// A run that goes on. It is killed with the test.
pub(crate) struct Running(Option<Child>);

impl Running {
    pub(crate) fn pid(&self) -> u32 {
        self.0.as_ref().unwrap().id()
    }

    pub(crate) fn signal(&self, signal: process::Signal) {
        process::signal(self.pid(), signal);
    }

    /// The first line on standard error that begins like this. What stands there is read and gone.
    pub(crate) fn line_of_stderr(&mut self, start: &str) -> String {
        let stderr = self.0.as_mut().unwrap().stderr.take().unwrap();
        let mut lines = std::io::BufReader::new(stderr).lines().map(Result::unwrap);
        let line = lines.find(|line| line.starts_with(start)).expect("the line comes");
        // Somebody must go on reading, so that the program does not find its pipe full or closed.
        std::thread::spawn(move || lines.for_each(drop));
        line
    }

    pub(crate) fn wait(mut self) -> Ended {
        Ended::of(self.0.take().unwrap().wait_with_output().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The events of one type.
pub(crate) fn of_type<'a>(events: &'a [Value], kind: &str) -> Vec<&'a Value> {
    events.iter().filter(|event| event["type"] == kind).collect()
}

/// Every run's record has one beginning, one end, and no gap.
#[track_caller]
pub(crate) fn assert_well_formed(events: &[Value]) {
    assert_eq!(events.first().unwrap()["type"], "run_started");
    assert_eq!(events.last().unwrap()["type"], "run_finished");
    for (at, event) in events.iter().enumerate() {
        assert_eq!(event["seq"], at as u64 + 1);
        assert_eq!(event["v"], 1);
    }
    for agent in of_type(events, "tool_started") {
        let ended = of_type(events, "tool_finished").iter().any(|end| end["call"] == agent["call"]);
        let stopped =
            !of_type(events, "restarted").is_empty() || events.last().unwrap()["outcome"] != "answered";
        assert!(ended || stopped, "a call without an end: {agent}");
    }
}
