//! What a server's program may touch: a plan, as pure data. Whoever starts the program enforces all of it, or does not
//! start the program.
//!
//! The plan names places; it opens none. Landlock and seccomp enforce it on Linux, in `massgen __launch`.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use mcp_core::LaunchSpec;
use serde::{Deserialize, Serialize};

/// How closely a program is confined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// It writes to its own places only, and does not see where people keep their keys.
    Restrict,
    /// The same; and it reaches the network by the named TCP ports only, talks to no other program of this machine, and
    /// cannot use what the kernel keeps for debuggers and administrators.
    Strict,
}

impl Level {
    /// Its name in configurations.
    pub fn name(self) -> &'static str {
        match self {
            Self::Restrict => "restrict",
            Self::Strict => "strict",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What one program may touch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sandbox {
    /// How closely it is confined.
    pub level: Level,
    /// Folders and files that it may write, with all that is below; `.` is its working folder. What does not exist is left out; a temporary folder
    /// of its own comes on top.
    pub write: Vec<PathBuf>,
    /// Folders and files that it may not read, with all that is below, unless they are below one that it may write.
    pub hidden: Vec<PathBuf>,
    /// TCP ports that it may connect to, at [`Level::Strict`]. None: it has no network.
    pub ports: Vec<u16>,
}

/// Where people keep keys, below their home.
const KEYS: &[&str] = &[
    ".ssh",
    ".aws",
    ".azure",
    ".gnupg",
    ".kube",
    ".netrc",
    ".pypirc",
    ".git-credentials",
    ".vault-token",
    ".password-store",
    ".docker/config.json",
    ".config/gcloud",
    ".config/gh",
    ".config/massgen",
    ".local/state/massgen",
    ".local/share/keyrings",
    ".mozilla",
    ".config/google-chrome",
    ".config/chromium",
    ".bash_history",
    ".zsh_history",
];

/// Where runners keep what they download, below the home: without these `npx` and `uvx` start nothing.
const CACHES: &[(&[&str], &[&str])] = &[
    (&["npx", "npm", "node"], &[".npm", ".cache/node", ".cache/npm"]),
    (&["pnpm", "pnpx"], &[".local/share/pnpm", ".local/state/pnpm", ".cache/pnpm"]),
    (&["yarn", "yarnpkg"], &[".yarn", ".cache/yarn", ".cache/node"]),
    (&["bun", "bunx"], &[".bun"]),
    (&["deno"], &[".cache/deno"]),
    (&["uvx", "uv"], &[".cache/uv", ".local/share/uv"]),
    (&["pipx"], &[".local/share/pipx", ".local/state/pipx", ".cache/pipx", ".cache/pip"]),
];

/// Variables by which a program is told of another place for its cache.
const CACHE_VARIABLES: &[&str] =
    &["npm_config_cache", "NPM_CONFIG_CACHE", "UV_CACHE_DIR", "PIP_CACHE_DIR", "DENO_DIR", "PNPM_HOME"];

/// Devices that hold nothing and reach nothing.
const DEVICES: &[&str] = &[
    "/dev/null",
    "/dev/zero",
    "/dev/full",
    "/dev/random",
    "/dev/urandom",
    "/dev/shm",
    "/dev/tty",
    "/dev/ptmx",
];

impl Sandbox {
    /// The plan for a launch. It may write to `roots`, or where there are none to its working folder, and to its runner's
    /// cache.
    #[must_use]
    pub fn plan(level: Level, launch: &LaunchSpec, roots: &[PathBuf]) -> Self {
        let home = variable(&launch.env, "HOME").map(Path::new).filter(|home| home.is_absolute());
        let mut write: Vec<PathBuf> = DEVICES.iter().map(PathBuf::from).collect();
        if roots.is_empty() {
            // Whoever enforces it stands there already.
            write.push(PathBuf::from("."));
        } else {
            write.extend(roots.iter().cloned());
        }
        let named = CACHE_VARIABLES.iter().filter_map(|name| variable(&launch.env, name)).map(PathBuf::from);
        write.extend(named.filter(|path| path.is_absolute()));
        let mut hidden = Vec::new();
        if let Some(home) = home {
            let program = Path::new(&launch.program).file_stem().and_then(|name| name.to_str());
            let caches = CACHES.iter().filter(|(runners, _)| program.is_some_and(|p| runners.contains(&p)));
            write.extend(caches.flat_map(|(_, places)| *places).map(|place| home.join(place)));
            hidden.extend(KEYS.iter().map(|place| home.join(place)));
        }
        Self { level, write, hidden, ports: Vec::new() }
    }

    /// The plan as one word of a command line. It holds paths and numbers, and no secret.
    #[must_use]
    pub fn to_argument(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads what [`Sandbox::to_argument`] wrote.
    ///
    /// # Errors
    ///
    /// What is wrong with the text, in words.
    pub fn from_argument(text: &str) -> Result<Self, String> {
        serde_json::from_str(text).map_err(|error| format!("the sandbox cannot be read: {error}"))
    }
}

fn variable<'a>(env: &'a BTreeMap<String, String>, name: &str) -> Option<&'a str> {
    env.get(name).map(String::as_str).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn launch(program: &str) -> LaunchSpec {
        LaunchSpec {
            program: program.into(),
            env: [("HOME".to_owned(), "/home/me".to_owned())].into(),
            ..LaunchSpec::default()
        }
    }

    fn plan(launch: &LaunchSpec, roots: &[&str]) -> Sandbox {
        let roots: Vec<PathBuf> = roots.iter().map(PathBuf::from).collect();
        Sandbox::plan(Level::Restrict, launch, &roots)
    }

    fn writes(plan: &Sandbox, path: &str) -> bool {
        plan.write.iter().any(|place| place == Path::new(path))
    }

    #[test]
    fn it_writes_to_its_roots_or_else_to_its_working_folder() {
        let server = launch("node");
        assert!(writes(&plan(&server, &[]), "."));
        let rooted = plan(&server, &["/data"]);
        assert!(writes(&rooted, "/data") && !writes(&rooted, "."));
    }

    #[test]
    fn a_runner_reaches_its_own_cache_and_no_other() {
        for (program, cache) in [
            ("npx", "/home/me/.npm"),
            ("/usr/bin/npx", "/home/me/.npm"),
            ("uvx", "/home/me/.cache/uv"),
            ("pnpm", "/home/me/.local/share/pnpm"),
        ] {
            assert!(writes(&plan(&launch(program), &[]), cache), "{program}");
        }
        assert!(!writes(&plan(&launch("uvx"), &[]), "/home/me/.npm"));
        let mut moved = launch("uvx");
        moved.env.insert("UV_CACHE_DIR".into(), "/big/uv".into());
        assert!(writes(&plan(&moved, &[]), "/big/uv"));
    }

    #[test]
    fn keys_are_hidden() {
        let plan = plan(&launch("npx"), &[]);
        for place in ["/home/me/.ssh", "/home/me/.aws", "/home/me/.netrc", "/home/me/.docker/config.json"] {
            assert!(plan.hidden.iter().any(|hidden| hidden == Path::new(place)), "{place}");
        }
        let homeless = LaunchSpec { program: "npx".into(), ..LaunchSpec::default() };
        assert!(self::plan(&homeless, &[]).hidden.is_empty());
    }

    #[test]
    fn a_plan_survives_the_command_line() {
        let mut plan = plan(&launch("npx"), &["/data with spaces"]);
        (plan.level, plan.ports) = (Level::Strict, vec![443, 8080]);
        assert_eq!(Sandbox::from_argument(&plan.to_argument()), Ok(plan));
        for bad in ["", "{}", r#"{"level":"loose","write":[],"hidden":[],"ports":[]}"#] {
            assert!(Sandbox::from_argument(bad).is_err(), "{bad}");
        }
    }
}
