//! What would be started, against what was accepted and what was started before: looked at before each start, for a
//! restart is when a program that was swapped would be run.
//!
//! Between the look and the start lies a moment. Whoever can swap the program in that moment could have swapped it
//! before: this finds what changed, it does not lock the file.

use std::collections::{BTreeMap, HashMap};
use std::fs::{File, Metadata};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::SystemTime;

use mcp_core::{LaunchSpec, Refusal};
use mcp_security::lock::{Change, LaunchPin, ProgramPin, sha256_hex_of};
use tokio::sync::Semaphore;

use crate::Target;

/// The longest file whose content counts; of a longer one, its length.
const LONGEST: u64 = 512 * 1024 * 1024;
/// The longest program whose content is read where nothing was accepted; of a longer one, it counts whether it is the
/// same file.
const CHEAP: u64 = 1024 * 1024;
/// Servers whose programs are looked at at the same time: fifty that start together do not need fifty threads, which cost
/// more than the looks. More than one, so that a disk that does not answer keeps few of them waiting.
static LOOKS: Semaphore = Semaphore::const_new(4);
/// Arguments that may be scripts.
const SCRIPTS: usize = 16;
/// Files whose hashes are remembered.
const REMEMBERED: usize = 256;
/// What the names of programs that other programs run end with.
const CODE: [&str; 18] = [
    "py", "pyz", "js", "mjs", "cjs", "ts", "mts", "cts", "rb", "pl", "php", "sh", "lua", "jar", "dll",
    "wasm", "ps1", "exs",
];

/// How a server may be started or dialled.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Consent {
    /// How the configuration says that it is reached, as a pin is written: without secrets, and without what is on the
    /// disk.
    pub declared: LaunchPin,
    /// What was accepted; all of them hold. Empty: nothing was, and every start must be what the first one was.
    pub accepted: Vec<LaunchPin>,
    /// Whether it is not started as long as nothing was accepted: its configuration came with a project.
    pub needed: bool,
}

impl Consent {
    /// Compares with what was accepted.
    pub(crate) fn judge(&self, now: &LaunchPin) -> Result<(), Refusal> {
        if self.needed && self.accepted.is_empty() {
            return Err(Refusal {
                rule: "launch-unaccepted",
                reason: "its configuration came with this folder, and nobody has accepted how it is reached".to_owned(),
                hint: "look at it with massgen mcp scan, then accept it with massgen mcp lock --accept, or answer on a \
                       terminal; a configuration of your own is named with --config"
                    .to_owned(),
            });
        }
        match self.accepted.iter().find_map(|accepted| accepted.judge(now)) {
            None => Ok(()),
            Some(change) => Err(changed("how it is reached is not what was accepted", &change)),
        }
    }

    fn wants_content(&self) -> bool {
        self.accepted.iter().any(|accepted| accepted.resolved.is_some())
    }
}

fn changed(what: &str, change: &Change) -> Refusal {
    Refusal {
        rule: "launch-changed",
        reason: format!("{what}:\n{change}"),
        hint: "look at it, then accept it with: massgen mcp lock --accept".to_owned(),
    }
}

/// The starts of one server.
#[derive(Debug, Default)]
pub(crate) struct Launches {
    /// What the first start ran.
    first: Mutex<Option<Sight>>,
}

impl Launches {
    /// May it be started, or dialled, now?
    pub(crate) async fn admit(&self, target: &Target, consent: &Consent) -> Result<(), Refusal> {
        let Target::Stdio(spec) = target else { return consent.judge(&consent.declared) };
        let now = looked(spec, Depth::of(consent)).await?;
        consent.judge(&now.pin(&consent.declared))?;
        let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        match &*first {
            Some(first) => now.judge(first)?,
            // What is not there cannot be run: the first start is still to come.
            None if now.program.is_none() => {}
            None => *first = Some(now),
        }
        Ok(())
    }
}

async fn looked(spec: &LaunchSpec, depth: Depth) -> Result<Sight, Refusal> {
    let spec = spec.clone();
    // The semaphore is never closed.
    let _turn = LOOKS.acquire().await;
    tokio::task::spawn_blocking(move || look(&spec, depth)).await.map_err(|error| Refusal {
        rule: "launch-unknown",
        reason: format!("its program could not be looked at: {error}"),
        hint: "start it again".to_owned(),
    })
}

/// How a server would be reached now, with what is on this computer's disk.
///
/// # Errors
///
/// Where its program could not be looked at.
pub async fn launch_pin(target: &Target, declared: &LaunchPin) -> Result<LaunchPin, Refusal> {
    match target {
        Target::Stdio(spec) => Ok(looked(spec, Depth::Content).await?.pin(declared)),
        _ => Ok(declared.clone()),
    }
}

/// What a start would run.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sight {
    /// The program and the scripts, by the names under which they are told.
    files: BTreeMap<String, Seen>,
    program: Option<PathBuf>,
}

/// One file.
#[derive(Debug, Clone, PartialEq)]
struct Seen {
    identity: Identity,
    sha256: Option<String>,
}

/// Whether a file is the same one, without reading it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Identity {
    place: (u64, u64),
    length: u64,
    modified: Option<SystemTime>,
    /// When anything about it was changed last, in seconds and nanoseconds: nobody can set that, as they can the time of its
    /// content.
    altered: (i64, i64),
}

impl Identity {
    fn of(metadata: &Metadata) -> Self {
        #[cfg(unix)]
        let (place, altered) = {
            use std::os::unix::fs::MetadataExt;
            ((metadata.dev(), metadata.ino()), (metadata.ctime(), metadata.ctime_nsec()))
        };
        #[cfg(not(unix))]
        let (place, altered) = ((0, 0), (0, 0));
        Self { place, length: metadata.len(), modified: metadata.modified().ok(), altered }
    }
}

/// How much is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Depth {
    /// Scripts and small programs.
    Cheap,
    /// The program as well, however long.
    Content,
}

impl Depth {
    pub(crate) fn of(consent: &Consent) -> Self {
        if consent.wants_content() { Self::Content } else { Self::Cheap }
    }
}

/// Looks at what would be started. It asks the disk: not on a runtime.
pub(crate) fn look(spec: &LaunchSpec, depth: Depth) -> Sight {
    let mut files = BTreeMap::new();
    let program = find(spec);
    if let Some(path) = &program
        && let Ok(metadata) = std::fs::metadata(path)
    {
        let reads = depth == Depth::Content && !is_the_systems(&metadata) || metadata.len() <= CHEAP;
        files.insert(String::new(), Seen::at(path, &metadata, reads));
    }
    for arg in spec.args.iter().take(SCRIPTS) {
        let is_code = Path::new(arg)
            .extension()
            .and_then(|extension| extension.to_str())
            .is_some_and(|extension| CODE.iter().any(|code| code.eq_ignore_ascii_case(extension)));
        let path = spec.cwd.as_deref().unwrap_or(Path::new("")).join(arg);
        if is_code
            && let Ok(metadata) = std::fs::metadata(&path)
            && metadata.is_file()
        {
            files.insert(arg.clone(), Seen::at(&path, &metadata, true));
        }
    }
    Sight { files, program }
}

impl Seen {
    fn at(path: &Path, metadata: &Metadata, reads: bool) -> Self {
        let identity = Identity::of(metadata);
        let sha256 = reads.then(|| content(path, &identity)).flatten();
        Self { identity, sha256 }
    }

    fn is(&self, other: &Self) -> bool {
        self.identity == other.identity || self.sha256.is_some() && self.sha256 == other.sha256
    }

    /// For people, where a pin would have the hash.
    fn shown(&self) -> String {
        match &self.sha256 {
            Some(hash) => format!("sha256 {hash}"),
            None => {
                let Identity { length, modified, altered, place } = &self.identity;
                let modified = modified
                    .and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok())
                    .unwrap_or_default();
                // All that tells two files apart, so that a difference is one to read.
                format!(
                    "{length} bytes, file {}:{}, written at {}.{:09} s, changed at {}.{:09} s",
                    place.0,
                    place.1,
                    modified.as_secs(),
                    modified.subsec_nanos(),
                    altered.0,
                    altered.1
                )
            }
        }
    }
}

impl Sight {
    /// As it is written in a lock.
    pub(crate) fn pin(&self, declared: &LaunchPin) -> LaunchPin {
        let scripts = self.files.iter().filter(|(name, _)| !name.is_empty());
        let scripts = scripts.filter_map(|(name, seen)| Some((name.clone(), seen.sha256.clone()?)));
        let resolved = self.program.as_ref().map(|path| ProgramPin {
            path: path.display().to_string(),
            sha256: self.files.get("").and_then(|seen| seen.sha256.clone()),
        });
        LaunchPin { scripts: scripts.collect(), resolved, ..declared.clone() }
    }

    /// Compares with what was started before.
    pub(crate) fn judge(&self, before: &Self) -> Result<(), Refusal> {
        let same_files = before.files.len() == self.files.len()
            && before.files.iter().zip(&self.files).all(|((a, old), (b, new))| a == b && old.is(new));
        if before.program == self.program && same_files {
            return Ok(());
        }
        let shown = |sight: &Self| {
            let file = |(name, seen): (&String, &Seen)| {
                (if name.is_empty() { "the program".to_owned() } else { name.clone() }, seen.shown())
            };
            let program = sight.program.as_ref().map(|path| path.display().to_string());
            LaunchPin { program, scripts: sight.files.iter().map(file).collect(), ..LaunchPin::default() }
        };
        match shown(before).judge(&shown(self)) {
            Some(change) => Err(Refusal {
                hint: "put back what was there, or look at it and start massgen again".to_owned(),
                ..changed("a start now would run something else than before", &change)
            }),
            None => Ok(()),
        }
    }
}

/// The program that the transport will find under the spec's name; `None`: it will say why there is none.
fn find(spec: &LaunchSpec) -> Option<PathBuf> {
    let named = Path::new(&spec.program);
    if named.is_absolute() || named.components().count() > 1 {
        let path = match &spec.cwd {
            Some(cwd) if named.is_relative() => cwd.join(named),
            _ => named.to_owned(),
        };
        return path.is_file().then_some(path);
    }
    let folders = spec.env.get("PATH").map(String::as_str).unwrap_or_default();
    let endings: &[&str] = if cfg!(windows) { &["", ".exe", ".cmd", ".bat"] } else { &[""] };
    std::env::split_paths(folders)
        .filter(|folder| folder.is_absolute())
        .flat_map(|folder| endings.iter().map(move |ending| folder.join(format!("{}{ending}", spec.program))))
        .find(|path| std::fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && may_run(&metadata)))
}

#[cfg(unix)]
fn may_run(metadata: &Metadata) -> bool {
    std::os::unix::fs::MetadataExt::mode(metadata) & 0o111 != 0
}

#[cfg(not(unix))]
fn may_run(_: &Metadata) -> bool {
    true
}

/// Whether only the system's administrator can change it, and we are not that: its updates are no news.
#[cfg(unix)]
fn is_the_systems(metadata: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    metadata.uid() == 0 && metadata.mode() & 0o022 == 0 && !rustix::process::geteuid().is_root()
}

#[cfg(not(unix))]
fn is_the_systems(_: &Metadata) -> bool {
    false
}

/// The SHA-256 of a file's content, read once for as long as it is the same file.
fn content(path: &Path, identity: &Identity) -> Option<String> {
    static KNOWN: LazyLock<Mutex<HashMap<Identity, String>>> = LazyLock::new(Mutex::default);
    if identity.length > LONGEST {
        return Some(format!("{} bytes", identity.length));
    }
    // Without a place and a time there is nothing to know it by.
    let lasting = identity.place != (0, 0) && identity.modified.is_some();
    let known = || KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if lasting && let Some(hash) = known().get(identity) {
        return Some(hash.clone());
    }
    let file = File::open(path).ok()?;
    let hash = sha256_hex_of(file.take(LONGEST)).ok()?;
    let mut known = known();
    if lasting && known.len() < REMEMBERED {
        known.insert(identity.clone(), hash.clone());
    }
    Some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(folder: &Path, program: &str, args: &[&str]) -> LaunchSpec {
        LaunchSpec {
            program: program.to_owned(),
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            env: BTreeMap::from([("PATH".to_owned(), folder.join("bin").display().to_string())]),
            cwd: Some(folder.to_owned()),
        }
    }

    fn program(path: &Path, text: &str) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
    }

    #[test]
    fn another_program_or_another_script_is_another_start() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path();
        program(&folder.join("bin/runner"), "one");
        std::fs::write(folder.join("server.py"), "print(1)").unwrap();
        std::fs::write(folder.join("data.db"), "rows").unwrap();
        let spec = spec(folder, "runner", &["server.py", "--db", "data.db", "missing.js"]);
        let before = look(&spec, Depth::Cheap);
        let pin = before.pin(&LaunchPin::default());
        assert_eq!(pin.scripts.keys().collect::<Vec<_>>(), ["server.py"]);
        assert!(pin.resolved.unwrap().path.ends_with("runner"));

        // Data changes, files are written anew with what was in them: nothing else would start.
        std::fs::write(folder.join("data.db"), "more rows").unwrap();
        std::fs::write(folder.join("copy"), "print(1)").unwrap();
        std::fs::rename(folder.join("copy"), folder.join("server.py")).unwrap();
        look(&spec, Depth::Cheap).judge(&before).unwrap();

        std::fs::write(folder.join("server.py"), "print(2)").unwrap();
        let refusal = look(&spec, Depth::Cheap).judge(&before).unwrap_err();
        assert_eq!(refusal.rule, "launch-changed");
        assert!(
            refusal.reason.contains("server.py\n  - ") && refusal.reason.contains("sha256"),
            "{refusal:?}"
        );

        std::fs::write(folder.join("server.py"), "print(1)").unwrap();
        program(&folder.join("bin/runner"), "two");
        assert!(look(&spec, Depth::Cheap).judge(&before).unwrap_err().reason.contains("the program"));
        std::fs::remove_file(folder.join("bin/runner")).unwrap();
        look(&spec, Depth::Cheap).judge(&before).unwrap_err();
    }

    #[cfg(unix)]
    #[test]
    fn a_program_that_was_changed_in_place_is_another_start_whatever_its_time_says() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path();
        let path = folder.join("bin/runner");
        // Too long to be read at each start.
        program(&path, &"a".repeat(CHEAP as usize + 1));
        let written = std::fs::metadata(&path).unwrap().modified().unwrap();
        let spec = spec(folder, "runner", &[]);
        let (cheap, content) = (look(&spec, Depth::Cheap), look(&spec, Depth::Content));
        look(&spec, Depth::Cheap).judge(&cheap).unwrap();
        // A file system's clock is coarse: within one tick nothing tells.
        let altered = || std::os::unix::fs::MetadataExt::ctime_nsec(&std::fs::metadata(&path).unwrap());
        let before = altered();
        while altered() == before {
            std::fs::write(&path, "b".repeat(CHEAP as usize + 1)).unwrap();
        }
        File::options().write(true).open(&path).unwrap().set_modified(written).unwrap();
        assert_eq!(look(&spec, Depth::Cheap).judge(&cheap).unwrap_err().rule, "launch-changed");
        assert_eq!(look(&spec, Depth::Content).judge(&content).unwrap_err().rule, "launch-changed");
    }

    #[cfg(unix)]
    #[test]
    fn a_link_that_leads_elsewhere_is_another_start() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path();
        program(&folder.join("a"), "one");
        program(&folder.join("b"), "two");
        std::fs::create_dir(folder.join("bin")).unwrap();
        std::os::unix::fs::symlink(folder.join("a"), folder.join("bin/runner")).unwrap();
        let spec = spec(folder, "runner", &[]);
        let before = look(&spec, Depth::Content);
        std::fs::remove_file(folder.join("bin/runner")).unwrap();
        std::os::unix::fs::symlink(folder.join("b"), folder.join("bin/runner")).unwrap();
        look(&spec, Depth::Content).judge(&before).unwrap_err();
    }

    #[test]
    fn what_came_with_a_project_needs_a_word() {
        let pin = |program: &str| LaunchPin { program: Some(program.to_owned()), ..LaunchPin::default() };
        let consent = |accepted: &[LaunchPin], needed| Consent {
            accepted: accepted.to_vec(),
            needed,
            ..Consent::default()
        };
        assert_eq!(consent(&[], false).judge(&pin("a")), Ok(()));
        assert_eq!(consent(&[], true).judge(&pin("a")).unwrap_err().rule, "launch-unaccepted");
        assert_eq!(consent(&[pin("a")], true).judge(&pin("a")), Ok(()));
        assert_eq!(consent(&[pin("a")], false).judge(&pin("b")).unwrap_err().rule, "launch-changed");
    }
}
