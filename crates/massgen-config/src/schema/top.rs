//! The file's own keys, agents, display, limits.

use super::{ANY_NUMBER, BACKEND, Kind, MCP_SERVER, Table, idle, key};

pub(crate) static TOP: Table = Table {
    name: "config",
    doc: "A team of agents and everything around it.",
    keys: &[
        key("agent", Kind::Section(&AGENT), "A single agent. Wins over agents."),
        key("agents", Kind::List(&AGENT), "The team. The order matters where votes tie."),
        key(
            "mcp_servers",
            Kind::Servers(&MCP_SERVER),
            "MCP servers shared by all agents: one process for the whole team.",
        ),
        key(
            "mcp_config",
            Kind::TextList,
            "Files with mcpServers (Claude Desktop, Cursor), from the folder of this file; shared by all agents.",
        ),
        key(
            "permissions",
            Kind::List(&PERMISSION),
            "What all agents may call; asked after an agent's own. The first rule that matches decides.",
        ),
        key(
            "labels",
            Kind::List(&LABEL),
            "What flows through tools: private data, strangers' words, the way out.",
        ),
        key("ui", Kind::Section(&UI), "What is shown."),
        key("timeout_settings", Kind::Section(&TIMEOUTS), "Time limits."),
        key("orchestrator", Kind::Section(&ORCHESTRATOR), "Workspaces."),
        key("limits", Kind::Section(&LIMITS), "What ends a run early, with the best answer so far."),
    ],
};

pub(crate) static AGENT: Table = Table {
    name: "agent",
    doc: "One agent.",
    keys: &[
        key("id", Kind::Text, "Its name; agent1, agent2... by position where none is given."),
        key("backend", Kind::Section(&BACKEND), "Its model."),
        key("system_message", Kind::Text, "Put before the coordination prompt."),
        key("permissions", Kind::List(&PERMISSION), "What it may call; the first rule that matches decides."),
    ],
};

pub(crate) static PERMISSION: Table = Table {
    name: "permission",
    doc: "Decides about the calls of some tools.",
    keys: &[
        key("tool", Kind::Text, "A glob over tool names, such as mcp__tracker__delete_*."),
        key("decision", Kind::Choice(&["allow", "ask", "deny"]), "What becomes of such a call."),
        key(
            "when",
            Kind::TextMap,
            "Arguments, by their dotted paths, with the globs that they must match: all of them.",
        ),
        key(
            "nature",
            Kind::Choice(&NATURES),
            "Only tools that say so of themselves; changes means destroys as well.",
        ),
    ],
};

/// What a tool says that it does.
pub(crate) const NATURES: [&str; 3] = ["reads", "changes", "destroys"];
/// What flows through a tool.
pub(crate) const LABELS: [&str; 3] = ["private_data", "untrusted_content", "public_sink"];

pub(crate) static LABEL: Table = Table {
    name: "label",
    doc: "Says what flows through some tools.",
    keys: &[
        key("tool", Kind::Text, "A glob over tool names, such as mcp__mail__*."),
        key(
            "labels",
            Kind::TextList,
            "private_data (its answers are not for everybody), untrusted_content (anybody may have written them), public_sink (what it is given leaves for where others read it).",
        ),
    ],
};

pub(crate) static UI: Table = Table {
    name: "ui",
    doc: "What is shown.",
    keys: &[
        key(
            "display_type",
            Kind::Choice(&["rich_terminal", "terminal", "simple"]),
            "Which display; rich_terminal unless said otherwise.",
        ),
        key("logging_enabled", Kind::Bool, "Whether a log directory is written; true unless said otherwise."),
        key(
            "use_orchestrator_for_single_agent",
            Kind::Bool,
            "Whether a single agent goes through the orchestrator too; true unless said otherwise.",
        ),
        key("debug", Kind::Bool, "Verbose logging."),
        idle("type", Kind::Text, "ui.type never had an effect: the key is display_type"),
    ],
};

pub(crate) static TIMEOUTS: Table = Table {
    name: "timeout_settings",
    doc: "Time limits.",
    keys: &[key(
        "orchestrator_timeout_seconds",
        Kind::Duration,
        "Bounds a whole run; 1800 seconds unless said otherwise.",
    )],
};

pub(crate) static ORCHESTRATOR: Table = Table {
    name: "orchestrator",
    doc: "Workspaces.",
    keys: &[
        key("snapshot_storage", Kind::Text, "The folder that workspace snapshots go to."),
        key(
            "agent_temporary_workspace",
            Kind::Text,
            "The folder where agents get copies of each other's workspaces to read.",
        ),
        idle(
            "coordination",
            Kind::Any,
            "coordination has no effect: calls that change the world are planned until an answer has won, unless a server says effects: immediate",
        ),
    ],
};

pub(crate) static LIMITS: Table = Table {
    name: "limits",
    doc: "What ends a run early, with the best answer so far.",
    keys: &[
        key("max_rounds", ANY_NUMBER, "Rounds of the whole team."),
        key("max_answers_per_agent", ANY_NUMBER, "New answers by one agent."),
        key("max_tokens", Kind::Integer(1, u64::MAX), "Tokens of all agents together, input and output."),
        key("max_cost_usd", Kind::Number(0.0, 1e9), "Estimated price of all agents together, in US dollars."),
        key(
            "max_calls_in_flight",
            ANY_NUMBER,
            "Calls of tools at a time, over all servers; a server that hangs holds half of what is left at most; 64 unless said otherwise. It ends no run.",
        ),
        key("agent_timeout", Kind::Duration, "Bounds one attempt of one agent."),
        key("presentation_timeout", Kind::Duration, "Bounds the final presentation."),
    ],
};
