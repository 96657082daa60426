//! Real third-party programs, where `cargo xtask tools` has installed them.
//!
//! The cache is `$MASSGEN_CACHE`, else `$XDG_CACHE_HOME/massgen-dev`, else `~/.cache/massgen-dev`. A set counts
//! only when its stamp is there, which is written last.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// The stamp of a set that is installed completely.
const STAMP: &str = "massgen-stamp";

/// A program of the npm set, such as `mcp-server-everything`.
pub fn npm(name: &str) -> Option<PathBuf> {
    Cache::of_the_user()?.npm(name)
}

/// A program of a Node set that is installed by itself, such as `mcp-discord` of `discord`.
pub fn node(set: &str, name: &str) -> Option<PathBuf> {
    Cache::of_the_user()?.node(set, name)
}

/// A program of a Python environment, such as `mcp-server-time` of `mcp2`.
pub fn python(environment: &str, name: &str) -> Option<PathBuf> {
    Cache::of_the_user()?.python(environment, name)
}

/// The Python in whose environment a real, very small model and llama.cpp's server are installed.
pub fn llama() -> Option<PathBuf> {
    python("llama", "python")
}

/// A folder for one test beside the installed programs, gone with the value: massgen starts no program from below the
/// system's temporary folder, where anybody may put one.
///
/// # Panics
/// Where the cache cannot be written to.
pub fn scratch() -> TempDir {
    let folder = Cache::of_the_user().expect("a cache").folder.join("scratch");
    std::fs::create_dir_all(&folder).expect("a writable cache");
    tempfile::tempdir_in(folder).expect("a writable cache")
}

/// Passes a program on; where there is none it says loudly that the test is skipped.
///
/// ```
/// use massgen_testkit::tools;
///
/// fn test_against_a_real_server() {
///     let Some(server) = tools::or_skip(tools::npm("mcp-server-everything"), "mcp-server-everything") else {
///         return;
///     };
///     assert!(server.exists());
/// }
/// ```
///
/// # Panics
/// With `CI=true` a missing program is a failure.
pub fn or_skip<T>(program: Option<T>, name: &str) -> Option<T> {
    if program.is_none() {
        let test = std::thread::current().name().unwrap_or("a test").to_owned();
        let message = format!("SKIPPED: {test}: {name} is not installed: run cargo xtask tools");
        assert!(std::env::var_os("CI").is_none_or(|value| value != "true"), "{message}");
        eprintln!("{message}");
    }
    program
}

/// A program, or the end of the test with a loud word about it; see [`tools::or_skip`](or_skip).
///
/// The first form takes any `Option` and a name; the others find the program.
///
/// ```
/// # fn test() {
/// let server = massgen_testkit::require!(npm "mcp-server-everything");
/// let chat = massgen_testkit::require!(node "discord", "mcp-discord");
/// let clock = massgen_testkit::require!(python "mcp2", "mcp-server-time");
/// let model = massgen_testkit::require!(llama);
/// # }
/// ```
#[macro_export]
macro_rules! require {
    (npm $name:expr) => {
        $crate::require!($crate::tools::npm($name), $name)
    };
    (node $set:expr, $name:expr) => {
        $crate::require!($crate::tools::node($set, $name), $name)
    };
    (python $environment:expr, $name:expr) => {
        $crate::require!($crate::tools::python($environment, $name), $name)
    };
    (llama) => {
        $crate::require!($crate::tools::llama(), "llama.cpp with a small model")
    };
    ($program:expr, $name:expr) => {
        match $crate::tools::or_skip($program, $name) {
            Some(program) => program,
            None => return,
        }
    };
}

/// A folder of installed sets.
#[derive(Debug, Clone)]
pub struct Cache {
    folder: PathBuf,
}

impl Cache {
    /// A cache at any place.
    pub fn at(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// The user's cache; `None` where there is no home folder either.
    pub fn of_the_user() -> Option<Self> {
        let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        set("MASSGEN_CACHE")
            .or_else(|| Some(set("XDG_CACHE_HOME")?.join("massgen-dev")))
            .or_else(|| Some(set("HOME").or_else(|| set("USERPROFILE"))?.join(".cache").join("massgen-dev")))
            .map(Self::at)
    }

    /// See [`npm`].
    pub fn npm(&self, name: &str) -> Option<PathBuf> {
        self.node("npm", name)
    }

    /// See [`node`].
    pub fn node(&self, set: &str, name: &str) -> Option<PathBuf> {
        let name = if cfg!(windows) { format!("{name}.cmd") } else { name.to_owned() };
        self.set(set)?.file(&format!("node_modules/.bin/{name}"))
    }

    /// See [`python`].
    pub fn python(&self, environment: &str, name: &str) -> Option<PathBuf> {
        let folder = if cfg!(windows) { "Scripts" } else { "bin" };
        let end = std::env::consts::EXE_SUFFIX;
        self.set(&format!("py/{environment}"))?.file(&format!("{folder}/{name}{end}"))
    }

    fn set(&self, folder: &str) -> Option<Set> {
        let folder = self.folder.join(folder);
        folder.join(STAMP).is_file().then_some(Set(folder))
    }
}

/// The folder of a complete set.
struct Set(PathBuf);

impl Set {
    fn file(&self, path: &str) -> Option<PathBuf> {
        let file: PathBuf = self.0.join(Path::new(path));
        file.is_file().then_some(file)
    }
}
