//! The keys of `backend`, and which providers they mean something to.

use super::{ANY_NUMBER, Kind, Kinds, MCP_SERVER, Table, key, only, pass, reserved};
use crate::BackendKind::{
    AzureOpenAi, ChatCompletion, Claude, ClaudeCode, Gemini, Grok, LmStudio, OpenAi, Scripted, Zai,
};

const OPENAI: Kinds = Kinds::of(&[OpenAi]);
const RESPONSES: Kinds = Kinds::of(&[OpenAi, Grok, AzureOpenAi]);
const CHAT: Kinds = Kinds::of(&[ChatCompletion, Zai, LmStudio, AzureOpenAi]);
const LOCAL: Kinds = Kinds::of(&[ChatCompletion, LmStudio]);
const MESSAGES: Kinds = Kinds::of(&[Claude]);
const GEMINI: Kinds = Kinds::of(&[Gemini]);
const AZURE: Kinds = Kinds::of(&[AzureOpenAi]);
const CLAUDE_CODE: Kinds = Kinds::of(&[ClaudeCode]);
const SCRIPTED: Kinds = Kinds::of(&[Scripted]);
const HTTP: Kinds = RESPONSES.and(CHAT).and(MESSAGES).and(GEMINI);
const SEARCH: Kinds = Kinds::of(&[OpenAi, Claude, Gemini, Grok]);
const INTERPRETER: Kinds = Kinds::of(&[OpenAi, Claude, Gemini, Grok, AzureOpenAi]);

pub(crate) static BACKEND: Table = Table {
    name: "backend",
    doc: "An agent's model. Keys that only another provider knows are dropped with a warning.",
    keys: &[
        key(
            "type",
            Kind::Choice(&[
                "openai",
                "claude",
                "gemini",
                "grok",
                "chatcompletion",
                "zai",
                "lmstudio",
                "claude_code",
                "azure_openai",
                "scripted",
            ]),
            "Which provider; follows from model where it is missing.",
        ),
        key("model", Kind::Text, "The model. For azure_openai: the deployment."),
        only(
            HTTP.and(CLAUDE_CODE),
            key("api_key", Kind::Text, "The key. Better left to the environment, or written as ${VARIABLE}."),
        ),
        only(HTTP, key("base_url", Kind::Text, "Where the provider listens.")),
        key("cwd", Kind::Text, "The agent's working folder."),
        key("mcp_servers", Kind::Servers(&MCP_SERVER), "This agent's own MCP servers."),
        key(
            "mcp_config",
            Kind::TextList,
            "Files with mcpServers (Claude Desktop, Cursor), from the folder of this file; for this agent.",
        ),
        key(
            "allowed_tools",
            Kind::TextList,
            "Globs over tool names; all where it is missing. For claude_code its built-in tools are among them.",
        ),
        key("exclude_tools", Kind::TextList, "Globs over tool names; wins over allowed_tools."),
        key(
            "circuit_breaker_enabled",
            Kind::Bool,
            "Whether circuit breakers watch this agent's servers; true unless said otherwise.",
        ),
        key("max_mcp_message_history", ANY_NUMBER, "Tool messages kept in a conversation."),
        // Parameters under one name for all.
        only(HTTP, key("temperature", Kind::Number(0.0, 2.0), "How much chance there is in the answer.")),
        only(
            HTTP,
            key("top_p", Kind::Number(0.0, 1.0), "The share of probability that words are drawn from."),
        ),
        only(HTTP, key("max_tokens", ANY_NUMBER, "The longest answer, in tokens.")),
        only(HTTP, key("max_output_tokens", ANY_NUMBER, "The same as max_tokens.")),
        only(HTTP, key("max_completion_tokens", ANY_NUMBER, "The same as max_tokens.")),
        only(OPENAI.and(AZURE).and(LOCAL), key("text", Kind::Any, "verbosity: low, medium or high.")),
        only(
            RESPONSES.and(LOCAL),
            key(
                "reasoning",
                Kind::Any,
                "effort: none, minimal, low, medium or high; summary: auto, concise or detailed.",
            ),
        ),
        only(RESPONSES.and(LOCAL), key("reasoning_effort", Kind::Text, "The same as reasoning.effort.")),
        only(OPENAI.and(AZURE).and(LOCAL), key("verbosity", Kind::Text, "The same as text.verbosity.")),
        only(HTTP, key("stop", Kind::TextList, "Texts that end the answer.")),
        only(HTTP, key("stop_sequences", Kind::TextList, "The same as stop.")),
        // The provider's own tools.
        only(SEARCH, key("enable_web_search", Kind::Bool, "The provider's own web search.")),
        only(INTERPRETER, key("enable_code_interpreter", Kind::Bool, "The provider's own interpreter.")),
        only(INTERPRETER, key("enable_code_execution", Kind::Bool, "The same as enable_code_interpreter.")),
        // One provider's.
        only(CHAT, key("provider", Kind::Any, "A label for people. As a mapping: OpenRouter's routing.")),
        only(CHAT, key("provider_name", Kind::Text, "The same as provider.")),
        only(
            CHAT,
            key(
                "tool_mode",
                Kind::Choice(&["auto", "native", "json_schema"]),
                "How tools are offered to the server.",
            ),
        ),
        only(
            AZURE,
            key(
                "api_version",
                Kind::Text,
                "The version of Azure's interface; 2024-12-01-preview unless said otherwise.",
            ),
        ),
        only(AZURE, key("azure_endpoint", Kind::Text, "The resource's address; base_url means the same.")),
        only(AZURE, key("azure_deployment", Kind::Text, "The same as model.")),
        only(
            SCRIPTED,
            key("script", Kind::Text, "The script that plays the model, from the folder of this file."),
        ),
        only(HTTP, key("extra_body", Kind::Any, "A mapping that is put into the request's body.")),
        only(
            CLAUDE_CODE,
            key(
                "permission_mode",
                Kind::Choice(&["default", "acceptEdits", "plan", "bypassPermissions", "dontAsk", "auto"]),
                "What Claude Code asks about.",
            ),
        ),
        only(
            CLAUDE_CODE,
            key(
                "disallowed_tools",
                Kind::TextList,
                "Built-in tools it may not use. On other types the same as exclude_tools.",
            ),
        ),
        only(CLAUDE_CODE, key("max_turns", ANY_NUMBER, "Its turns at most.")),
        only(CLAUDE_CODE, key("max_thinking_tokens", ANY_NUMBER, "Its thinking at most, in tokens.")),
        only(CLAUDE_CODE, key("system_prompt", Kind::Text, "Replaces its own system prompt.")),
        only(
            CLAUDE_CODE,
            key(
                "append_system_prompt",
                Kind::Text,
                "Comes after its own system prompt; system_message wins.",
            ),
        ),
        only(
            CLAUDE_CODE,
            key("continue_conversation", Kind::Bool, "Whether it goes on with its last conversation."),
        ),
        only(CLAUDE_CODE, key("resume", Kind::Text, "The id of the session it goes on with.")),
        only(CLAUDE_CODE, key("settings", Kind::Any, "Its settings: a path, or a mapping.")),
        only(CLAUDE_CODE, key("add_dirs", Kind::TextList, "Further folders it may use.")),
        only(CLAUDE_CODE, key("permission_prompt_tool_name", Kind::Text, "The tool it asks for permission.")),
        only(CLAUDE_CODE, key("extra_args", Kind::TextMap, "Further flags, without their dashes.")),
        only(
            CLAUDE_CODE,
            key("setting_sources", Kind::TextList, "Which settings files it reads: user, project, local."),
        ),
        only(
            CLAUDE_CODE,
            key("fallback_model", Kind::Text, "The model it uses where the first is overloaded."),
        ),
        // Passed on as they are.
        pass("metadata", RESPONSES.and(MESSAGES).and(CHAT), "Labels for the provider."),
        pass("service_tier", RESPONSES.and(MESSAGES).and(CHAT), "The provider's service tier."),
        pass("parallel_tool_calls", RESPONSES.and(CHAT), "Whether several tools may be called at once."),
        pass("prompt_cache_key", RESPONSES.and(CHAT), "Groups requests for the provider's cache."),
        pass("safety_identifier", RESPONSES.and(CHAT), "Names the end user to the provider."),
        pass("user", RESPONSES.and(CHAT), "Names the end user to the provider."),
        pass("truncation", RESPONSES, "What happens to a conversation that is too long."),
        pass("max_tool_calls", RESPONSES, "Calls of the provider's own tools at most."),
        pass("include", RESPONSES, "Further parts of the answer."),
        pass("store", RESPONSES.and(CHAT), "Whether the provider keeps the answer."),
        pass("top_logprobs", RESPONSES.and(CHAT), "Probabilities of alternative words."),
        pass("logprobs", CHAT, "Probabilities of words."),
        pass("frequency_penalty", CHAT.and(GEMINI), "Makes repetition less likely."),
        pass("presence_penalty", CHAT.and(GEMINI), "Makes known words less likely."),
        pass("seed", CHAT.and(GEMINI), "Makes chance repeatable."),
        pass("logit_bias", CHAT, "Makes words more or less likely."),
        pass("top_k", MESSAGES.and(GEMINI).and(LOCAL), "The number of words that the next is drawn from."),
        pass("min_p", LOCAL, "The least probability a word must have."),
        pass("repetition_penalty", LOCAL, "Makes repetition less likely."),
        pass("repeat_penalty", LOCAL, "Makes repetition less likely."),
        pass("chat_template_kwargs", LOCAL, "Options of the model's chat template."),
        pass("enable_thinking", LOCAL, "Whether the model thinks first."),
        pass("models", LOCAL, "OpenRouter: models to fall back to."),
        pass("transforms", LOCAL, "OpenRouter: what happens to a conversation that is too long."),
        pass("search_parameters", Kinds::of(&[ChatCompletion]), "Options of a host's own search."),
        pass(
            "thinking",
            MESSAGES.and(Kinds::of(&[Zai, ChatCompletion])),
            "Whether and how much the model thinks first.",
        ),
        pass("output_config", MESSAGES, "effort: low, medium or high."),
        pass("cache_control", MESSAGES, "What the provider caches."),
        pass("container", MESSAGES, "The container of the provider's code execution."),
        pass("thinking_config", GEMINI, "Whether and how much the model thinks first."),
        pass("safety_settings", GEMINI, "What the provider refuses."),
        pass("cached_content", GEMINI, "What the provider has cached."),
        pass("media_resolution", GEMINI, "How closely images are looked at."),
        // Set by massgen itself.
        reserved("stream"),
        reserved("stream_options"),
        reserved("messages"),
        reserved("input"),
        reserved("instructions"),
        reserved("contents"),
        reserved("system"),
        reserved("system_instruction"),
        reserved("tools"),
        reserved("tool_choice"),
        reserved("tool_config"),
        reserved("functions"),
        reserved("function_call"),
        reserved("n"),
        reserved("candidate_count"),
        reserved("response_format"),
        reserved("response_mime_type"),
        reserved("response_schema"),
        reserved("previous_response_id"),
        reserved("conversation"),
        reserved("background"),
        reserved("agent_id"),
        reserved("session_id"),
    ],
};
