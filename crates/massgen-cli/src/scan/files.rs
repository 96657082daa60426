//! What is scanned: files that were named, files in their usual places, servers that are in no file.

use std::path::{Path, PathBuf};

use massgen::config::{
    Config, Disk, FileReader, Folders, LoadOptions, Loaded, McpServerConfig, McpTransport, Unresolved,
    is_server_file, load, load_server_file,
};
use massgen::core::{Environment, ServerName};
use massgen::security::Trust;

use crate::args::ScanArgs;
use crate::failure::{Failure, Kind};
use crate::session::Session;
use crate::style::safe;
use crate::{output, run};

/// One thing to scan.
pub(super) struct Target {
    pub(super) what: What,
    /// Who wrote it.
    pub(super) trust: Trust,
}

pub(super) enum What {
    /// A team's configuration.
    Team(PathBuf),
    /// Another program's file with servers.
    Foreign(PathBuf),
    /// Servers that are in no file.
    Given(Vec<McpServerConfig>),
}

impl Target {
    /// The file.
    pub(super) fn file(&self) -> Option<&Path> {
        match &self.what {
            What::Team(path) | What::Foreign(path) => Some(path),
            What::Given(_) => None,
        }
    }

    /// Whether it is this file, under whatever path.
    fn is_file(&self, path: &Path) -> bool {
        let real = |path: &Path| std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        self.file().is_some_and(|own| real(own) == real(path))
    }

    /// The servers as they are written: no variable, no file and no keyring is asked, so that anybody can look at them.
    pub(super) fn as_written(&self, environment: &Environment) -> Result<Config, Failure> {
        let known = ["HOME", "USERPROFILE", "USER"];
        let environment =
            known.iter().filter_map(|name| Some((*name, environment.get(name)?))).collect::<Environment>();
        let cwd = std::env::current_dir().unwrap_or_default();
        let options = LoadOptions {
            environment,
            cwd,
            unresolved: Unresolved::Keep,
            folders: Folders::Include,
            ..LoadOptions::default()
        };
        self.read(&options)
    }

    /// The servers as they are started.
    pub(super) fn as_started(&self, session: &Session) -> Result<Config, Failure> {
        self.read(&LoadOptions { folders: Folders::Include, ..session.load_options() })
    }

    fn read(&self, options: &LoadOptions) -> Result<Config, Failure> {
        match &self.what {
            What::Team(path) => config_of(load(path, options)),
            What::Foreign(path) => config_of(load_server_file(&text(path)?, path, options)),
            What::Given(servers) => {
                let mut config = Config::default();
                config.mcp_servers.clone_from(servers);
                Ok(config)
            }
        }
    }
}

/// Every problem is told at once.
fn config_of(loaded: Loaded) -> Result<Config, Failure> {
    if !loaded.diagnostics.is_empty() {
        output::note(safe(&loaded.diagnostics.to_string()));
    }
    loaded.config.ok_or_else(|| Failure::silent(Kind::Config))
}

fn text(path: &Path) -> Result<String, Failure> {
    Disk.read(path).map_err(|error| {
        Failure::config(format!("{}: {error}", path.display())).with_hint(
            "name a configuration (YAML or JSON), another program's file with servers (JSON), or a server: --server URL",
        )
    })
}

/// Everything that the command line asks for. Where it names nothing: the folder's own configuration, or, where there is
/// none, what other programs have.
pub(super) fn targets(args: &ScanArgs, environment: &Environment) -> Result<Vec<Target>, Failure> {
    let own = run::default_file();
    let mut targets = Vec::new();
    for path in args.config.iter().chain(&args.named) {
        targets.push(Target { what: kind(path)?, trust: Trust::User });
    }
    if !args.server.is_empty() {
        let servers = args.server.iter().enumerate().map(|(at, text)| given(at, text));
        targets.push(Target { what: What::Given(servers.collect::<Result<_, _>>()?), trust: Trust::User });
    }
    let names_nothing = targets.is_empty();
    if let Some(own) = own.as_ref().filter(|_| args.all || names_nothing)
        && !targets.iter().any(|known| known.is_file(own))
    {
        targets.push(Target { what: What::Team(own.clone()), trust: Trust::Project });
    }
    if args.all || names_nothing && own.is_none() {
        for (path, trust) in usual_places(environment) {
            // A file that holds no servers, or cannot be read as what it should be, is not about servers.
            let is_one = Disk.read(&path).is_ok_and(|text| is_server_file(&text, &path));
            if is_one && !targets.iter().any(|known| known.is_file(&path)) {
                targets.push(Target { what: What::Foreign(path), trust });
            }
        }
    }
    match (targets.is_empty(), args.all) {
        (true, true) => output::note("no program has servers in its usual place"),
        (true, false) => {
            let nothing =
                "there is no massgen.yaml here, and no other program has servers in its usual place";
            return Err(
                Failure::config(nothing).with_hint("name a file: massgen mcp scan FILE, or --server URL")
            );
        }
        _ => {}
    }
    Ok(targets)
}

fn kind(path: &Path) -> Result<What, Failure> {
    let text = text(path)?;
    let path = path.to_owned();
    Ok(if is_server_file(&text, &path) { What::Foreign(path) } else { What::Team(path) })
}

/// A server that is in no file: an address, or a command line.
fn given(at: usize, text: &str) -> Result<McpServerConfig, Failure> {
    let name =
        ServerName::new(format!("server-{}", at + 1)).map_err(|error| Failure::config(error.to_string()))?;
    let transport = if text.starts_with("http://") || text.starts_with("https://") {
        McpTransport::StreamableHttp { url: text.to_owned(), headers: Default::default() }
    } else {
        McpTransport::Stdio { command: text.to_owned(), args: Vec::new(), env: Default::default(), cwd: None }
    };
    Ok(McpServerConfig { description: Some(text.to_owned()), ..McpServerConfig::new(name, transport) })
}

/// Where other programs keep their servers: for the user, and for the project in the current folder.
fn usual_places(environment: &Environment) -> Vec<(PathBuf, Trust)> {
    let home =
        environment.non_empty("HOME").or_else(|| environment.non_empty("USERPROFILE")).map(PathBuf::from);
    let settings = if cfg!(windows) {
        environment.non_empty("APPDATA").map(PathBuf::from)
    } else if cfg!(target_os = "macos") {
        home.as_ref().map(|home| home.join("Library/Application Support"))
    } else {
        let named = environment.non_empty("XDG_CONFIG_HOME").map(PathBuf::from);
        named.or_else(|| home.as_ref().map(|home| home.join(".config")))
    };
    let below = |folder: &Option<PathBuf>, names: &[&str]| -> Vec<PathBuf> {
        folder.iter().flat_map(|folder| names.iter().map(|name| folder.join(name))).collect()
    };
    let mut users = below(
        &settings,
        &["Claude/claude_desktop_config.json", "Code/User/mcp.json", "Code/User/settings.json"],
    );
    users.extend(below(&home, &[".cursor/mcp.json", ".claude.json"]));
    let projects = [".mcp.json", ".cursor/mcp.json", ".vscode/mcp.json", ".vscode/settings.json"];
    let users = users.into_iter().map(|path| (path, Trust::User));
    users.chain(projects.into_iter().map(|path| (PathBuf::from(path), Trust::Project))).collect()
}
