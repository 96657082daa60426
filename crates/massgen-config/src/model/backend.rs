//! An agent's model (`backend`).

use std::collections::BTreeMap;
use std::path::PathBuf;

use mcp_core::JsonObject;
use serde::Serialize;

use super::{BackendKind, McpServerConfig};
use crate::Secret;

/// `backend`: which model, with which options. Framework keys never end in `extra`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BackendConfig {
    /// `type`, or what follows from `model`.
    pub kind: BackendKind,
    /// The model: the file's, else [`BackendKind::default_model`]. For Azure: the deployment. `None` where the
    /// provider decides (Claude Code) or there is none (scripted).
    pub model: Option<String>,
    /// The file's `base_url`, else v0.0.13's injected default (zai, lmstudio, chatcompletion). `None` leaves the
    /// choice to [`crate::keys::endpoint`].
    pub base_url: Option<String>,
    /// `api_key` as written; where there is none, [`crate::keys::api_key`] looks into the environment.
    pub api_key: Option<Secret>,
    /// Parameters of the model that several providers share.
    pub params: ModelParams,
    /// The provider's own web search (`enable_web_search`).
    pub enable_web_search: bool,
    /// The provider's own interpreter: `enable_code_interpreter` (OpenAI, Azure) and `enable_code_execution` (Claude,
    /// Gemini) mean the same and are both read into this.
    pub enable_code_execution: bool,
    /// Everything else, for the request's body as it is.
    pub extra: JsonObject,
    /// This agent's own MCP servers; names are unique.
    pub mcp_servers: Vec<McpServerConfig>,
    /// Globs over tool names; `None` allows all. For Claude Code the names of its built-in tools are among them.
    pub allowed_tools: Option<Vec<String>>,
    /// Globs over tool names; wins over `allowed_tools`.
    pub exclude_tools: Vec<String>,
    /// The agent's working folder, as written.
    pub cwd: Option<PathBuf>,
    /// A label for people (`provider` or `provider_name`).
    pub provider_name: Option<String>,
    /// Azure: `api_version`.
    pub api_version: Option<String>,
    /// Azure: `azure_endpoint` or `base_url`.
    pub azure_endpoint: Option<String>,
    /// How tools are offered to a Chat Completions server.
    pub tool_mode: ToolMode,
    /// Scripted: the script's path, from the folder of the configuration file.
    pub script: Option<PathBuf>,
    /// Claude Code's own options; `None` for every other kind.
    pub claude_code: Option<ClaudeCodeOptions>,
    /// Whether circuit breakers watch this agent's servers; true unless said otherwise.
    pub circuit_breaker_enabled: bool,
    /// Tool messages kept in a conversation (v0.0.15); accepted, `None` unless given.
    pub max_mcp_message_history: Option<u32>,
}

impl BackendConfig {
    /// A backend of this kind with its defaults and nothing else.
    pub fn new(kind: BackendKind) -> Self {
        let injected = matches!(kind, BackendKind::ChatCompletion | BackendKind::Zai | BackendKind::LmStudio);
        Self {
            kind,
            model: kind.default_model().map(str::to_owned),
            base_url: kind.default_base_url().filter(|_| injected).map(str::to_owned),
            api_key: None,
            params: ModelParams::default(),
            enable_web_search: false,
            enable_code_execution: false,
            extra: JsonObject::new(),
            mcp_servers: Vec::new(),
            allowed_tools: None,
            exclude_tools: Vec::new(),
            cwd: None,
            provider_name: None,
            api_version: None,
            azure_endpoint: None,
            tool_mode: ToolMode::default(),
            script: None,
            claude_code: (kind == BackendKind::ClaudeCode).then(ClaudeCodeOptions::default),
            circuit_breaker_enabled: true,
            max_mcp_message_history: None,
        }
    }

    /// The provider's name for people: the file's label, else the kind's.
    pub fn label(&self) -> &str {
        self.provider_name.as_deref().unwrap_or_else(|| self.kind.label())
    }
}

/// Parameters that several providers share, under one name each.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ModelParams {
    /// `temperature`.
    pub temperature: Option<f64>,
    /// `top_p`.
    pub top_p: Option<f64>,
    /// `max_tokens`, `max_output_tokens` or `max_completion_tokens`.
    pub max_tokens: Option<u32>,
    /// `text.verbosity`: `low`, `medium` or `high`.
    pub verbosity: Option<String>,
    /// `reasoning.effort`: `none`, `minimal`, `low`, `medium`, `high` or a newer word.
    pub reasoning_effort: Option<String>,
    /// `reasoning.summary`: `auto`, `concise` or `detailed`.
    pub reasoning_summary: Option<String>,
}

/// How tools are offered to a Chat Completions server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ToolMode {
    /// Whatever the server is known to do well.
    #[default]
    Auto,
    /// Function tools.
    Native,
    /// The union of the tools as the response format; calls are read from the content.
    JsonSchema,
}

/// Options of Claude Code's command line.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ClaudeCodeOptions {
    /// `permission_mode`; v0.0.13 used `acceptEdits` where none was given.
    pub permission_mode: Option<PermissionMode>,
    /// `disallowed_tools`; replaces the default list.
    pub disallowed_tools: Option<Vec<String>>,
    /// `max_turns`.
    pub max_turns: Option<u32>,
    /// `max_thinking_tokens`.
    pub max_thinking_tokens: Option<u32>,
    /// `system_prompt`: replaces Claude Code's own.
    pub system_prompt: Option<String>,
    /// `append_system_prompt`: comes after Claude Code's own.
    pub append_system_prompt: Option<String>,
    /// `continue_conversation`.
    pub continue_conversation: bool,
    /// `resume`: a session's id.
    pub resume: Option<String>,
    /// `settings`: a path or JSON text.
    pub settings: Option<String>,
    /// `add_dirs`.
    pub add_dirs: Vec<PathBuf>,
    /// `permission_prompt_tool_name`.
    pub permission_prompt_tool_name: Option<String>,
    /// `extra_args`: flags without their dashes; `None` for a flag without a value.
    pub extra_args: BTreeMap<String, Option<String>>,
    /// `setting_sources`: which settings files Claude Code reads; `None` leaves that to it.
    pub setting_sources: Option<Vec<SettingSource>>,
    /// `fallback_model`.
    pub fallback_model: Option<String>,
}

/// `permission_mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum PermissionMode {
    /// Asks where its rules say so.
    Default,
    /// Edits files without asking.
    AcceptEdits,
    /// Plans only.
    Plan,
    /// Asks nothing.
    BypassPermissions,
    /// Refuses what it would have asked about.
    DontAsk,
    /// Decides by itself.
    Auto,
}

impl PermissionMode {
    /// The value as Claude Code takes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::AcceptEdits => "acceptEdits",
            Self::Plan => "plan",
            Self::BypassPermissions => "bypassPermissions",
            Self::DontAsk => "dontAsk",
            Self::Auto => "auto",
        }
    }
}

/// A settings file that Claude Code may read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SettingSource {
    /// The user's.
    User,
    /// The project's.
    Project,
    /// The project's, not under version control.
    Local,
}
