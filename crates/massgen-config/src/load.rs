//! From a path to a [`Config`].

mod backend;
mod claude_code;
mod mcp;
mod mcp_file;
mod permissions;

pub use mcp_file::{is_server_file, load_server_file, mcp_servers_from_json};

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use mcp_core::{AgentId, Environment, MissingCredential};

use crate::diagnostic::{Diagnostic, Diagnostics, Place, Severity, Source};
use crate::interpolate::Interpolator;
use crate::mask::is_secret_name;
use crate::node::{Node, Value};
use crate::parse::{Format, SIZE_LIMIT, parse};
use crate::read::{KeyPath, Reader, Section};
use crate::schema::{AGENT, LIMITS, ORCHESTRATOR, TIMEOUTS, TOP, UI};
use crate::secret::SecretSource;
use crate::{
    AgentConfig, BackendConfig, Config, DisplayType, Limits, OrchestratorConfig, Secret, Timeouts, UiConfig,
};

/// What a load needs from outside: libraries read neither the environment nor the current folder.
#[derive(Clone, Default)]
pub struct LoadOptions {
    /// Where `${VARIABLE}` is looked up.
    pub environment: Environment,
    /// What `${cwd}` is outside a backend with `cwd`: the folder the program runs in.
    pub cwd: PathBuf,
    /// Where `${keyring:NAME}` is looked up; `None`: nowhere, and such a reference is an error.
    pub keyring: Option<Arc<dyn SecretSource>>,
    /// What becomes of a reference whose value is not there.
    pub unresolved: Unresolved,
    /// Whether the servers that another program's file holds for single folders are read too.
    pub folders: Folders,
}

/// The servers that a file of Claude Code's (`~/.claude.json`) holds for single folders, below `projects`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Folders {
    /// They are for those folders, and left out.
    #[default]
    LeaveOut,
    /// They are read, for looking at all of them. One whose name is taken gets a number.
    Include,
}

/// What becomes of a `${...}` whose value is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Unresolved {
    /// It is an error, with its place and remedy.
    #[default]
    Refuse,
    /// It stays as it is written, and no file and no keyring is asked: for looking at a configuration that is not run.
    Keep,
}

impl fmt::Debug for LoadOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoadOptions")
            .field("environment", &self.environment)
            .field("cwd", &self.cwd)
            .field("keyring", &self.keyring.is_some())
            .field("unresolved", &self.unresolved)
            .field("folders", &self.folders)
            .finish()
    }
}

/// Reads files that a configuration names. `mcp_config` and `${file:...}` go through it.
pub trait FileReader {
    /// The file as text.
    ///
    /// # Errors
    ///
    /// As [`std::fs::read_to_string`].
    fn read(&self, path: &Path) -> io::Result<String>;
}

/// The real files. Reading blocks: load a configuration before the runtime is busy.
#[derive(Debug, Clone, Copy, Default)]
pub struct Disk;

impl FileReader for Disk {
    fn read(&self, path: &Path) -> io::Result<String> {
        // The whole of an endless file (a device, a pipe) would never come, and that of a huge one is not wanted.
        let metadata = std::fs::metadata(path)?;
        if metadata.is_dir() {
            return Err(io::Error::other("it is a folder"));
        }
        if !metadata.is_file() {
            return Err(io::Error::other("it is not a regular file"));
        }
        if metadata.len() > 4 * SIZE_LIMIT as u64 {
            return Err(io::Error::other("it is too large to be a configuration"));
        }
        String::from_utf8(std::fs::read(path)?).map_err(|error| {
            let before = error.as_bytes().get(..error.utf8_error().valid_up_to()).unwrap_or_default();
            let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
            io::Error::new(io::ErrorKind::InvalidData, format!("it is not UTF-8 text (line {line})"))
        })
    }
}

/// What came of a load.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// The configuration; `None` exactly where `diagnostics` has an error.
    pub config: Option<Config>,
    /// Everything that is wrong, by place.
    pub diagnostics: Diagnostics,
}

impl Loaded {
    /// What `config check --json` prints: `ok`, `errors` and `warnings` (how many), `diagnostics`, and `summary`
    /// (`null` where there is no configuration).
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::json!({
            "ok": self.config.is_some(),
            "errors": self.diagnostics.errors().count(),
            "warnings": self.diagnostics.warnings().count(),
            "diagnostics": self.diagnostics,
            "summary": self.config.as_ref().map(Config::summary),
        })
    }

    fn failed(diagnostic: Diagnostic) -> Self {
        Self { config: None, diagnostics: diagnostic.into() }
    }
}

/// Loads a configuration file: `.yaml` and `.yml` as YAML, `.json` as JSON. All problems are reported at once.
pub fn load(path: &Path, options: &LoadOptions) -> Loaded {
    let name = path.display().to_string();
    let problem = |message: String, help: String| {
        let diagnostic =
            Source::new(&name, "").diagnostic(Severity::Error, Place::default(), String::new(), message);
        Loaded::failed(diagnostic.with_help(help))
    };
    let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase();
    let format = match extension.as_str() {
        "yaml" | "yml" => Format::Yaml,
        "json" => Format::Json,
        _ if path.is_file() => {
            let help = "name it .yaml, .yml or .json: the extension decides how it is read".to_owned();
            return problem("a configuration is a .yaml, .yml or .json file".to_owned(), help);
        }
        _ => Format::Yaml,
    };
    match Disk.read(path) {
        Ok(text) => load_str(&text, path, format, options, &Disk),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            problem("there is no such file".to_owned(), missing_help(path))
        }
        Err(error) => problem(
            format!("the file cannot be read: {}", reason(&error)),
            match error.kind() {
                io::ErrorKind::InvalidData => "save it as UTF-8",
                io::ErrorKind::PermissionDenied => "check its permissions",
                _ => "name a file of YAML or JSON",
            }
            .to_owned(),
        ),
    }
}

/// Loads a configuration from text. `path` says where it came from: for messages, and as the start of relative paths.
pub fn load_str(
    text: &str,
    path: &Path,
    format: Format,
    options: &LoadOptions,
    files: &dyn FileReader,
) -> Loaded {
    let source = Source::new(&path.display().to_string(), text);
    let mut root = match parse(&source, format) {
        Ok(root) => root,
        Err(diagnostic) => return Loaded::failed(*diagnostic),
    };
    let mut diagnostics = Diagnostics::default();
    let mut loader = Loader {
        options,
        files,
        dir: path.parent().unwrap_or(Path::new("")).to_path_buf(),
        secrets: Vec::new(),
        missing: Vec::new(),
    };
    let config = loader.config(&source, &mut root, &mut diagnostics);
    diagnostics.sort();
    let secrets = distinct(loader.secrets);
    diagnostics.redact(&secrets);
    let config = config.filter(|_| !diagnostics.has_errors()).map(|config| Config {
        file: Some(path.to_path_buf()),
        dir: loader.dir,
        secrets: secrets.into_iter().map(Secret::new).collect(),
        ..config
    });
    Loaded { config, diagnostics }
}

/// An I/O error in a few words, without the system's error number.
pub(crate) fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        // Ours says where; the system's own has no more than the fact.
        io::ErrorKind::InvalidData => {
            error.get_ref().map_or_else(|| "it is not UTF-8 text".to_owned(), ToString::to_string)
        }
        _ => error.to_string(),
    }
}

/// What may have been meant by a path that does not exist.
fn missing_help(path: &Path) -> String {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let Ok(entries) = std::fs::read_dir(folder) else {
        return format!("there is no folder {} either", folder.display());
    };
    let is_config =
        |name: &String| [".yaml", ".yml", ".json"].iter().any(|extension| name.ends_with(extension));
    let mut names: Vec<String> = entries
        .take(2000)
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(is_config)
        .collect();
    names.sort();
    let wanted = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let stem = |name: &str| name.rsplit_once('.').map_or(name, |(stem, _)| stem).to_owned();
    let near = (names.iter())
        .find(|name| stem(name) == stem(wanted))
        .map(String::as_str)
        .or_else(|| crate::schema::nearest(wanted, names.iter().map(String::as_str)));
    match near {
        Some(near) => format!("did you mean {}?", folder.join(near).display()),
        None if names.is_empty() => format!("the folder {} holds no configuration", folder.display()),
        None => {
            let more = if names.len() > 5 { ", ..." } else { "" };
            names.truncate(5);
            format!("the folder {} holds {}{more}", folder.display(), names.join(", "))
        }
    }
}

/// Each once, without the empty ones, longest first: what is inside another must not be replaced before it.
fn distinct(mut secrets: Vec<String>) -> Vec<String> {
    secrets.retain(|secret| !secret.trim().is_empty());
    secrets.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
    secrets.dedup();
    secrets
}

struct Loader<'a> {
    options: &'a LoadOptions,
    files: &'a dyn FileReader,
    /// The folder of the configuration file.
    dir: PathBuf,
    secrets: Vec<String>,
    /// Values of servers that wait for a credential, by their place.
    missing: Vec<(Place, MissingCredential)>,
}

impl Loader<'_> {
    /// Replaces the references in a tree.
    fn interpolate(&mut self, root: &mut Node, reader: &mut Reader<'_>) {
        let mut interpolator = Interpolator {
            environment: &self.options.environment,
            cwd: &self.options.cwd,
            dir: &self.dir,
            files: self.files,
            keyring: self.options.keyring.as_deref(),
            unresolved: self.options.unresolved,
            secrets: std::mem::take(&mut self.secrets),
            missing: Vec::new(),
        };
        interpolator.run(root, reader);
        self.secrets = interpolator.secrets;
        self.missing = interpolator.missing;
    }

    /// A value that was written in the file under a name; secret ones are remembered.
    fn note_secret(&mut self, name: &str, value: &str) {
        // A reference that led nowhere still stands there, and hides nothing.
        if is_secret_name(name) && !value.contains("${") {
            let bare =
                value.strip_prefix("Bearer ").or_else(|| value.strip_prefix("Basic ")).unwrap_or(value);
            self.secrets.push(bare.trim().to_owned());
        }
    }

    fn config(&mut self, source: &Source, root: &mut Node, diagnostics: &mut Diagnostics) -> Option<Config> {
        let mut reader = Reader::new(source, diagnostics);
        let top = KeyPath::default();
        match &mut root.value {
            Value::Null => {
                reader.error(
                    Place::default(),
                    &top,
                    "the file is empty",
                    "a configuration needs agent or agents",
                );
                return None;
            }
            Value::Map(entries) => {
                // What is not used must not fail.
                if let Some(agent) =
                    entries.iter().find(|entry| entry.key == "agent" && !entry.node.is_null())
                    && entries.iter().any(|entry| entry.key == "agents" && !entry.node.is_null())
                {
                    let place = agent.key_place;
                    reader.warn(
                        place,
                        &top.key("agent"),
                        "there are both agent and agents; agents is ignored",
                        "remove one of them",
                    );
                    entries.retain(|entry| entry.key != "agents");
                }
            }
            _ => {
                let message = format!("a configuration is a mapping, not {}", root.describe());
                reader.error(root.place, &top, message, "begin with agent: or agents:");
                return None;
            }
        }
        self.interpolate(root, &mut reader);
        let mut section = reader.open(root, &top, &TOP)?;
        for entry in std::mem::take(&mut section.unknown) {
            if entry.key.starts_with("x-") {
                continue;
            }
            match entry.key.as_str() {
                "display" => reader.warn(
                    entry.key_place,
                    &top.key("display"),
                    "unknown key display; it is ignored",
                    "did you mean ui?",
                ),
                "mcpServers" => reader.warn(
                    entry.key_place,
                    &top.key("mcpServers"),
                    "unknown key mcpServers; it is ignored",
                    "did you mean mcp_servers? A whole mcpServers file is named by mcp_config",
                ),
                _ => reader.unknown(entry, &top, &TOP),
            }
        }
        let agents = self.agents(&section, &mut reader);
        let mcp_servers = self.servers(&section, &mut reader);
        Some(Config {
            agents,
            mcp_servers,
            permissions: permissions::rules(&section, &mut reader),
            labels: permissions::labels(&section, &mut reader),
            ui: ui(&section, &mut reader),
            timeouts: timeouts(&section, &mut reader),
            orchestrator: orchestrator(&section, &mut reader),
            limits: limits(&section, &mut reader),
            ..Config::default()
        })
    }

    fn agents(&mut self, top: &Section<'_>, reader: &mut Reader<'_>) -> Vec<AgentConfig> {
        let root = KeyPath::default();
        let found: Vec<(KeyPath, &Node)> = match (top.node("agent"), top.node("agents")) {
            (Some(agent), _) => vec![(root.key("agent"), agent)],
            (None, Some(agents)) => match &agents.value {
                Value::List(items) => {
                    items.iter().enumerate().map(|(i, item)| (root.key("agents").index(i), item)).collect()
                }
                _ => {
                    let message = format!("agents must be a list, not {}", agents.describe());
                    reader.error(
                        agents.place,
                        &root.key("agents"),
                        message,
                        "begin each agent with \"- \"; a single one may be under agent:",
                    );
                    return Vec::new();
                }
            },
            (None, None) => Vec::new(),
        };
        if found.is_empty() {
            let help = "add agents: with at least one agent, such as\n    agents:\n      - id: scout\n        backend: { type: openai, model: gpt-5-nano }";
            reader.error(Place::default(), &root, "there are no agents", help);
        }
        let mut agents: Vec<(AgentConfig, Place)> = Vec::new();
        for (i, (path, node)) in found.into_iter().enumerate() {
            let Some((agent, place)) = self.agent(node, &path, i, reader) else { continue };
            match agents.iter_mut().find(|(known, _)| known.id == agent.id) {
                Some(known) => {
                    let message = format!(
                        "the id {:?} is taken by an earlier agent, which this one replaces",
                        agent.id
                    );
                    reader.warn(
                        place,
                        &path.key("id"),
                        message,
                        format!("give each agent an id of its own; the other is in line {}", known.1.line),
                    );
                    known.0 = agent;
                }
                None => agents.push((agent, place)),
            }
        }
        agents.into_iter().map(|(agent, _)| agent).collect()
    }

    fn agent(
        &mut self,
        node: &Node,
        path: &KeyPath,
        position: usize,
        reader: &mut Reader<'_>,
    ) -> Option<(AgentConfig, Place)> {
        let section = reader.section(node, path, &AGENT)?;
        let id = section
            .text("id")
            .filter(|id| !id.is_empty())
            .unwrap_or_else(|| format!("agent{}", position + 1));
        let place = section.place_of("id");
        let id = match AgentId::new(&id) {
            Ok(id) => Some(id),
            Err(error) => {
                reader.error(place, &path.key("id"), error.to_string(), "choose a shorter or plainer id");
                None
            }
        };
        let mut system_message = section.text("system_message").filter(|text| !text.is_empty());
        let backend = match section.entry("backend") {
            Some(entry) => {
                self.backend(&entry.node, entry.key_place, &path.key("backend"), &mut system_message, reader)
            }
            None => {
                let message = format!("{path} has no backend");
                reader.error(
                    node.place,
                    path,
                    message,
                    "add backend: with type or model, such as { type: openai, model: gpt-5-nano }",
                );
                None
            }
        };
        let permissions = permissions::rules(&section, reader);
        let (id, backend): (AgentId, BackendConfig) = (id?, backend?);
        Some((AgentConfig { id, backend, system_message, permissions }, place))
    }
}

fn ui(top: &Section<'_>, reader: &mut Reader<'_>) -> UiConfig {
    let defaults = UiConfig::default();
    let read = |node| reader.section(node, &KeyPath::default().key("ui"), &UI);
    let Some(section) = top.node("ui").and_then(read) else { return defaults };
    UiConfig {
        display: match section.choice("display_type", &["rich_terminal", "terminal", "simple"]) {
            Some("terminal") => DisplayType::Terminal,
            Some("simple") => DisplayType::Simple,
            _ => DisplayType::RichTerminal,
        },
        logging_enabled: section.bool("logging_enabled").unwrap_or(defaults.logging_enabled),
        use_orchestrator_for_single_agent: section
            .bool("use_orchestrator_for_single_agent")
            .unwrap_or(defaults.use_orchestrator_for_single_agent),
        debug: section.bool("debug").unwrap_or(defaults.debug),
    }
}

fn timeouts(top: &Section<'_>, reader: &mut Reader<'_>) -> Timeouts {
    let read = |node| reader.section(node, &KeyPath::default().key("timeout_settings"), &TIMEOUTS);
    let section = top.node("timeout_settings").and_then(read);
    let given: Option<Duration> =
        section.and_then(|section| section.duration("orchestrator_timeout_seconds"));
    given.map_or_else(Timeouts::default, |orchestrator| Timeouts { orchestrator })
}

fn orchestrator(top: &Section<'_>, reader: &mut Reader<'_>) -> OrchestratorConfig {
    let read = |node| reader.section(node, &KeyPath::default().key("orchestrator"), &ORCHESTRATOR);
    let Some(section) = top.node("orchestrator").and_then(read) else { return OrchestratorConfig::default() };
    let folder = |key| section.text(key).filter(|text| !text.is_empty()).map(PathBuf::from);
    OrchestratorConfig {
        snapshot_storage: folder("snapshot_storage"),
        agent_temporary_workspace: folder("agent_temporary_workspace"),
    }
}

fn limits(top: &Section<'_>, reader: &mut Reader<'_>) -> Limits {
    let read = |node| reader.section(node, &KeyPath::default().key("limits"), &LIMITS);
    let Some(section) = top.node("limits").and_then(read) else { return Limits::default() };
    Limits {
        max_rounds: section.small("max_rounds"),
        max_answers_per_agent: section.small("max_answers_per_agent"),
        max_tokens: section.integer("max_tokens"),
        max_cost_usd: section.number("max_cost_usd"),
        max_calls_in_flight: section.small("max_calls_in_flight"),
        agent_timeout: section.duration("agent_timeout"),
        presentation_timeout: section.duration("presentation_timeout"),
    }
}
