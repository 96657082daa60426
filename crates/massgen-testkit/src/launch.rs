//! Finds, builds and starts the program `massgen-scripted-server`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::SystemTime;

use crate::{Journal, ServerScript};

const PROGRAM: &str = "massgen-scripted-server";

/// The program `massgen-scripted-server`, built first where it is missing or older than its sources.
///
/// It lies in the target folder, and is built in the profile, of the running test.
///
/// # Panics
/// When it cannot be built, with cargo's words.
pub fn scripted_server() -> PathBuf {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        let place = Place::of_this_test();
        if !is_fresh(&place.program()) {
            place.build();
        }
        place.program()
    })
    .clone()
}

/// A target folder, the profile's folder in it, and the target triple where one was named.
#[derive(Debug)]
struct Place {
    target: PathBuf,
    triple: Option<String>,
    profile: String,
}

impl Place {
    fn of_this_test() -> Self {
        let exe = std::env::current_exe().unwrap_or_default();
        Self::around(&exe).unwrap_or_else(|| Self {
            // A doc test runs from a temporary folder.
            target: std::env::var_os("CARGO_TARGET_DIR")
                .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"), PathBuf::from),
            triple: None,
            profile: "debug".into(),
        })
    }

    /// Reads `target[/TRIPLE]/PROFILE/...` out of the path of a test program. Cargo tags the target folder.
    fn around(exe: &Path) -> Option<Self> {
        let target = exe.ancestors().find(|folder| folder.join("CACHEDIR.TAG").is_file())?;
        let inside: Vec<String> =
            exe.strip_prefix(target).ok()?.iter().map(|part| part.to_string_lossy().into_owned()).collect();
        let (triple, profile) = match inside.as_slice() {
            [profile, _] => (None, profile),
            [profile, place, ..] if matches!(place.as_str(), "deps" | "examples") => (None, profile),
            [triple, profile, ..] => (Some(triple.clone()), profile),
            _ => return None,
        };
        Some(Self { target: target.into(), triple, profile: profile.clone() })
    }

    fn program(&self) -> PathBuf {
        let mut path = self.target.clone();
        path.extend(&self.triple);
        path.join(&self.profile).join(format!("{PROGRAM}{}", std::env::consts::EXE_SUFFIX))
    }

    fn build(&self) {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
        let mut command = Command::new(cargo);
        let profile = if self.profile == "debug" { "dev" } else { &self.profile };
        command
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .args([
                "build",
                "--quiet",
                "--package",
                "massgen-testkit",
                "--bin",
                PROGRAM,
                "--profile",
                profile,
            ])
            .arg("--target-dir")
            .arg(&self.target);
        if let Some(triple) = &self.triple {
            command.args(["--target", triple]);
        }
        let output = command.output().expect("cargo starts");
        assert!(
            output.status.success(),
            "building {PROGRAM} failed:\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

/// Whether the program is there and younger than every source of this crate, which saves the wait for cargo's lock.
fn is_fresh(program: &Path) -> bool {
    let changed = |path: &Path| path.metadata().and_then(|m| m.modified()).ok();
    let Some(built) = changed(program) else { return false };
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut newest = changed(&root.join("Cargo.toml")).unwrap_or(SystemTime::UNIX_EPOCH);
    let mut folders = vec![root.join("src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if let Some(time) = changed(&path) {
                newest = newest.max(time);
            }
        }
    }
    built > newest
}

/// A script on disk, ready to start: what a server's configuration wants to know. The files go with it.
#[derive(Debug)]
pub struct ScriptedServer {
    folder: tempfile::TempDir,
    program: PathBuf,
}

impl ScriptedServer {
    /// Writes the script down; see [`ServerScript::launch`].
    pub fn new(script: &ServerScript) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(folder.path().join("script.json"), script.to_json()).expect("the script is written");
        Self { folder, program: scripted_server() }
    }

    /// The program.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// The program as text, for configuration files.
    pub fn command(&self) -> String {
        self.program.to_str().expect("a UTF-8 path").to_owned()
    }

    /// The arguments.
    pub fn args(&self) -> Vec<String> {
        let file = |name: &str| self.folder.path().join(name).to_str().expect("a UTF-8 path").to_owned();
        vec!["--script".into(), file("script.json"), "--journal".into(), file("journal.jsonl")]
    }

    /// The entry of `mcp_servers` in a configuration file, which is YAML as well as JSON.
    pub fn config(&self, name: &str) -> serde_json::Value {
        serde_json::json!({"name": name, "type": "stdio", "command": self.command(), "args": self.args()})
    }

    /// What arrived.
    pub fn journal(&self) -> Journal {
        Journal::at(self.folder.path().join("journal.jsonl"))
    }

    /// A folder of its own, for what a test wants to put beside the script.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_profile_is_read_out_of_the_path_of_the_test() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("CACHEDIR.TAG"), "").unwrap();
        for (path, triple, profile) in [
            ("debug/deps/it-1", None, "debug"),
            ("debug/massgen", None, "debug"),
            ("ci/examples/e", None, "ci"),
            ("x86_64-unknown-linux-gnu/release/deps/it-1", Some("x86_64-unknown-linux-gnu"), "release"),
        ] {
            let place = Place::around(&folder.path().join(path)).unwrap();
            assert_eq!((place.triple.as_deref(), place.profile.as_str()), (triple, profile), "{path}");
            assert!(place.program().starts_with(folder.path()));
        }
        assert!(Place::around(Path::new("/nowhere/rustdoctest/rust_out")).is_none());
    }
}
