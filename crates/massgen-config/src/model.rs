//! A configuration as typed values: what the rest of massgen works with.

mod backend;
mod kind;
mod mcp;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use mcp_core::AgentId;
use serde::Serialize;

pub use backend::{BackendConfig, ClaudeCodeOptions, ModelParams, PermissionMode, SettingSource, ToolMode};
pub use kind::BackendKind;
pub use mcp::{
    Duplicates, Effects, Isolation, McpServerConfig, McpTransport, Origin, SamplingApproval, SamplingConfig,
    Sandbox, SecurityConfig, SecurityEnvConfig, SecurityEnvMode, SecurityLevel, Start, ToolEffects,
};

use crate::Secret;

/// A team and everything around it.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Config {
    /// The file this came from; `None` where it was made in code (quick set-up).
    pub file: Option<PathBuf>,
    /// The folder that relative `script`, `mcp_config` and `${file:...}` paths start from: the file's own. Empty
    /// for a configuration made in code.
    pub dir: PathBuf,
    /// The team, in the order of the file; ids are unique. Never empty in a loaded configuration.
    pub agents: Vec<AgentConfig>,
    /// Servers shared by all agents (`mcp_servers` and `mcp_config` at the top); names are unique.
    pub mcp_servers: Vec<McpServerConfig>,
    /// What all agents may call, asked after their own rules; the first that matches decides.
    pub permissions: Vec<PermissionRule>,
    /// What flows through tools.
    pub labels: Vec<LabelRule>,
    /// What is shown.
    pub ui: UiConfig,
    /// Time limits of v0.0.13.
    pub timeouts: Timeouts,
    /// Workspaces.
    pub orchestrator: OrchestratorConfig,
    /// Limits that end a run early.
    pub limits: Limits,
    /// Values the redactor has to know; see [`Config::secrets`].
    #[serde(skip)]
    pub(crate) secrets: Vec<Secret>,
}

impl Config {
    /// Every secret this configuration holds: API keys, the values that `${...}` put into `env` and `headers`, files
    /// named by `${file:...}`, and literal `env` and `headers` values whose name says that they are secret.
    /// Meant for whoever redacts logs and output. Each is listed once; none is empty.
    pub fn secrets(&self) -> &[Secret] {
        &self.secrets
    }

    /// The agent with this id.
    pub fn agent(&self, id: &str) -> Option<&AgentConfig> {
        self.agents.iter().find(|agent| agent.id.as_str() == id)
    }

    /// The servers an agent sees: its own, and those at the top that none of its own replaces by name.
    pub fn servers_of<'a>(&'a self, agent: &'a AgentConfig) -> impl Iterator<Item = &'a McpServerConfig> {
        let own = &agent.backend.mcp_servers;
        (self.mcp_servers.iter().filter(|shared| own.iter().all(|server| server.name != shared.name)))
            .chain(own)
    }
}

/// One agent.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AgentConfig {
    /// Free text; `agent1`, `agent2`... by position where the file gives none.
    pub id: AgentId,
    /// Its model.
    pub backend: BackendConfig,
    /// Put before the coordination prompt.
    pub system_message: Option<String>,
    /// What it may call; the first rule that matches decides.
    pub permissions: Vec<PermissionRule>,
}

/// Decides about the calls of some tools.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PermissionRule {
    /// A glob over exposed tool names, such as `mcp__tracker__delete_*`.
    pub tool: String,
    /// What becomes of such a call.
    pub decision: Decision,
    /// Globs that arguments, by their dotted paths, must match, all of them; empty: any arguments.
    pub when: BTreeMap<String, String>,
    /// Only tools that say so of themselves; `None`: whatever they say.
    pub nature: Option<Nature>,
}

/// What a tool says that it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Nature {
    /// It leaves the world as it is.
    Reads,
    /// It may change the world, or it says nothing.
    Changes,
    /// It may delete or overwrite.
    Destroys,
}

/// Says what flows through some tools.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LabelRule {
    /// A glob over exposed tool names, such as `mcp__mail__*`.
    pub tool: String,
    /// What flows through them.
    pub labels: Vec<DataLabel>,
}

/// What flows through a tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DataLabel {
    /// Its answers hold what is not for everybody.
    PrivateData,
    /// Its answers hold words that anybody may have written.
    UntrustedContent,
    /// What it is given leaves for where others read it.
    PublicSink,
}

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// It may happen.
    Allow,
    /// A person is asked first.
    Ask,
    /// It is refused.
    Deny,
}

/// What is shown (`ui`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UiConfig {
    /// Which display (`display_type`).
    pub display: DisplayType,
    /// Whether a log directory is written (`logging_enabled`); true unless said otherwise.
    pub logging_enabled: bool,
    /// Whether a single agent goes through the orchestrator too; true unless said otherwise.
    pub use_orchestrator_for_single_agent: bool,
    /// Verbose logging.
    pub debug: bool,
}

impl Default for UiConfig {
    fn default() -> Self {
        Self {
            display: DisplayType::default(),
            logging_enabled: true,
            use_orchestrator_for_single_agent: true,
            debug: false,
        }
    }
}

/// `ui.display_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DisplayType {
    /// Live columns.
    #[default]
    RichTerminal,
    /// Live lines.
    Terminal,
    /// Plain lines.
    Simple,
}

/// `timeout_settings`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Timeouts {
    /// Bounds a whole run (`orchestrator_timeout_seconds`); 1800 seconds unless said otherwise.
    pub orchestrator: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { orchestrator: Duration::from_secs(1800) }
    }
}

/// `orchestrator`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct OrchestratorConfig {
    /// Where workspace snapshots go.
    pub snapshot_storage: Option<PathBuf>,
    /// Where agents get copies of each other's workspaces to read.
    pub agent_temporary_workspace: Option<PathBuf>,
}

/// `limits`: what ends a run early with the best answer so far. `None`: the orchestrator's own default.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Limits {
    /// Rounds of the whole team.
    pub max_rounds: Option<u32>,
    /// New answers by one agent.
    pub max_answers_per_agent: Option<u32>,
    /// Tokens of all agents together, input and output.
    pub max_tokens: Option<u64>,
    /// Estimated price of all agents together, in US dollars.
    pub max_cost_usd: Option<f64>,
    /// Calls of tools at a time, over all servers. It ends no run: further ones wait. `None`: 64.
    pub max_calls_in_flight: Option<u32>,
    /// One attempt of one agent.
    pub agent_timeout: Option<Duration>,
    /// The final presentation.
    pub presentation_timeout: Option<Duration>,
}
