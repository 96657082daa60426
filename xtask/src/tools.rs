//! `tools`: third-party programs that tests talk to, pinned, in the user's cache.

mod cache;
mod llama;
mod npm;
mod python;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::args::Args;
use crate::project;

pub(crate) const HELP: &str = "\
installs the pinned servers and the small model that tests talk to

Usage: cargo xtask tools [--list] [SET...]

Sets: npm (server-everything, -filesystem, -memory, -sequential-thinking), mcp2 (mcp-server-time, -git, -fetch),
mcp1 (mcp-server-sqlite), discord, twitter and papers (the servers of the examples of those names), conformance
(MCP's conformance suite and a Node for it), schemas (of SARIF and OCSF), llama (llama.cpp's server and SmolLM2-135M-Instruct).

  --list   say what is there, install nothing

The cache is $MASSGEN_CACHE, else $XDG_CACHE_HOME/massgen-dev, else ~/.cache/massgen-dev. A set that is there already
costs nothing. Without Node or Python a set is skipped, and the output says so; with CI=true that is a failure.
";

/// One program that takes a minute or two at most gets ten.
const LIMIT: Duration = Duration::from_secs(600);

/// A set of programs that is installed as a whole.
struct Set {
    name: &'static str,
    /// Its folder inside the cache.
    folder: &'static str,
    /// What is in it, exactly: the set is installed again when this changes.
    pins: &'static [&'static str],
    /// Why it cannot be installed here.
    obstacle: fn() -> Option<String>,
    /// Whether what is installed still starts.
    works: fn(&Path) -> bool,
    /// Installs it into its empty folder.
    install: fn(&Path, &[&str]) -> Result<()>,
}

const SETS: &[Set] = &[
    npm::SET,
    npm::DISCORD,
    npm::CONFORMANCE,
    python::MCP2,
    python::MCP1,
    python::TWITTER,
    python::PAPERS,
    python::SCHEMAS,
    llama::SET,
];

pub(crate) fn run(mut args: Args) -> Result<()> {
    let list = args.switch("--list");
    let names = args.names()?;
    if let Some(unknown) = names.iter().find(|name| SETS.iter().all(|set| set.name != **name)) {
        let known: Vec<_> = SETS.iter().map(|set| set.name).collect();
        bail!("no set {unknown:?}. There are: {}", known.join(", "));
    }
    let sets = SETS.iter().filter(|set| names.is_empty() || names.iter().any(|name| name == set.name));
    let cache = cache::folder()?;
    if list {
        for set in sets {
            let state = if is_ready(set, &cache) { "ready" } else { "not installed" };
            println!("{:<12}{state}  {}", set.name, set.pins.join(" "));
        }
        return Ok(());
    }
    install(&cache, sets)
}

/// The folder of one set, installed if need be.
pub(crate) fn folder_of(name: &str) -> Result<PathBuf> {
    let cache = cache::folder()?;
    let set = SETS.iter().find(|set| set.name == name).with_context(|| format!("no set {name:?}"))?;
    if !is_ready(set, &cache) {
        install(&cache, [set].into_iter())?;
    }
    if !is_ready(set, &cache) {
        bail!("the set {name:?} cannot be installed here");
    }
    Ok(cache.join(set.folder))
}

/// Installs all sets; what `ci` does.
pub(crate) fn install_all() -> Result<()> {
    install(&cache::folder()?, SETS.iter())
}

fn install<'a>(cache: &Path, sets: impl Iterator<Item = &'a Set>) -> Result<()> {
    println!("cache: {}", cache.display());
    let _lock = cache::lock(cache)?;
    let mut missing = Vec::new();
    for set in sets {
        if is_ready(set, cache) {
            println!("{:<8}ready", set.name);
            continue;
        }
        match (set.obstacle)() {
            Some(why) => {
                println!("{:<8}SKIPPED: {why}", set.name);
                missing.push(set.name);
            }
            None => {
                println!("{:<8}installing {}", set.name, set.pins.join(" "));
                let folder = cache.join(set.folder);
                cache::clear(&folder)?;
                (set.install)(&folder, set.pins)?;
                cache::stamp(&folder, set.pins)?;
            }
        }
    }
    if !missing.is_empty() {
        println!("\nTests that need {} will be skipped.", missing.join(", "));
        if project::in_ci() {
            bail!("skipped in CI: {}", missing.join(", "));
        }
    }
    Ok(())
}

fn is_ready(set: &Set, cache: &Path) -> bool {
    let folder = cache.join(set.folder);
    cache::is_stamped(&folder, set.pins) && (set.works)(&folder)
}
