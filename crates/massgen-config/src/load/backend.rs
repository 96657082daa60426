//! `backend`.

use std::path::PathBuf;

use mcp_core::JsonObject;
use serde_json::Value as Json;

use super::Loader;
use super::claude_code::claude_code;
use super::mcp::patterns;
use crate::diagnostic::Place;
use crate::node::{Entry, Node, Value};
use crate::read::{KeyPath, Reader, Section, short};
use crate::schema::{BACKEND, Key, Role};
use crate::{BackendConfig, BackendKind, ModelParams, Secret, ToolMode};

/// Types that later versions and other programs have, and where they are reached here.
const HOSTS: [(&str, &str); 12] = [
    ("cerebras", "https://api.cerebras.ai/v1"),
    ("together", "https://api.together.xyz/v1"),
    ("fireworks", "https://api.fireworks.ai/inference/v1"),
    ("groq", "https://api.groq.com/openai/v1"),
    ("openrouter", "https://openrouter.ai/api/v1"),
    ("nebius", "https://api.studio.nebius.ai/v1"),
    ("kimi", "https://api.moonshot.cn/v1"),
    ("moonshot", "https://api.moonshot.cn/v1"),
    ("qwen", "https://dashscope-intl.aliyuncs.com/compatible-mode/v1"),
    ("ollama", "http://localhost:11434/v1"),
    ("vllm", "http://localhost:8000/v1"),
    ("sglang", "http://localhost:30000/v1"),
];

/// Names that mean one of our types.
const SYNONYMS: [(&str, BackendKind); 8] = [
    ("anthropic", BackendKind::Claude),
    ("google", BackendKind::Gemini),
    ("xai", BackendKind::Grok),
    ("response", BackendKind::OpenAi),
    ("azure", BackendKind::AzureOpenAi),
    ("claudecode", BackendKind::ClaudeCode),
    ("lm_studio", BackendKind::LmStudio),
    ("chat_completion", BackendKind::ChatCompletion),
];

impl Loader<'_> {
    pub(super) fn backend(
        &mut self,
        node: &Node,
        place: Place,
        path: &KeyPath,
        system_message: &mut Option<String>,
        reader: &mut Reader<'_>,
    ) -> Option<BackendConfig> {
        // The type is read by hand: its table entry would report a wrong one without the help that is possible here.
        let known = node.find("type").is_none_or(|node| kind_named(node).is_some() || node.is_null());
        let without_type;
        let shown = if known {
            node
        } else {
            let mut copy = node.clone();
            if let Value::Map(entries) = &mut copy.value {
                entries.retain(|entry| entry.key != "type");
            }
            without_type = copy;
            &without_type
        };
        let mut section = reader.open(shown, path, &BACKEND)?;
        let kind = kind(node, &section, place, path, reader);
        if let Some(kind) = kind {
            foreign_keys(&mut section, kind, system_message, reader);
        }
        let unknown = std::mem::take(&mut section.unknown);
        let extra = extra(&section, &unknown, kind, reader);
        let mcp_servers = self.servers(&section, reader);
        if let Some(key) = section.text("api_key") {
            self.note_secret("api_key", &key);
        }
        let kind = kind?;
        let claude_code = if kind == BackendKind::ClaudeCode {
            Some(claude_code(&section, system_message.as_deref(), reader))
        } else {
            None
        };
        let backend = self.assemble(&section, kind, extra, reader);
        Some(BackendConfig { mcp_servers, claude_code, ..backend })
    }

    fn assemble(
        &self,
        section: &Section<'_>,
        kind: BackendKind,
        extra: JsonObject,
        reader: &mut Reader<'_>,
    ) -> BackendConfig {
        let path = &section.path;
        let defaults = BackendConfig::new(kind);
        let text =
            |key: &str| section.text(key).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
        let model = text("model").or_else(|| text("azure_deployment"));
        if model.is_none() {
            match (kind, kind.default_model()) {
                (BackendKind::AzureOpenAi, _) => {
                    reader.error(
                        section.place,
                        path,
                        format!("{path} has no model"),
                        "model names the deployment in your Azure resource",
                    );
                }
                (BackendKind::Claude | BackendKind::Grok, Some(default)) => {
                    let message =
                        format!("{path} has no model; {default} is used, which may no longer be offered");
                    reader.warn(section.place, path, message, "name a model");
                }
                _ => {}
            }
        }
        for key in ["base_url", "azure_endpoint"] {
            if let Some(url) = text(key) {
                check_url(&url, section.place_of(key), &path.key(key), reader);
            }
        }
        let base_url = text("base_url");
        let script = text("script").map(|script| self.dir.join(script));
        if kind == BackendKind::Scripted && script.is_none() {
            reader.error(
                section.place,
                path,
                format!("{path} has no script"),
                "type scripted needs script: the file that plays the model",
            );
        }
        patterns(section, "allowed_tools", reader);
        patterns(section, "exclude_tools", reader);
        let mut exclude_tools = section.list("exclude_tools").unwrap_or_default();
        if kind != BackendKind::ClaudeCode {
            // The same idea under Claude Code's name.
            exclude_tools.extend(section.list("disallowed_tools").unwrap_or_default());
        }
        let flag = |key: &str| section.bool(key).unwrap_or(false);
        BackendConfig {
            kind,
            model: model.or(defaults.model),
            azure_endpoint: (kind == BackendKind::AzureOpenAi)
                .then(|| text("azure_endpoint").or_else(|| base_url.clone()))
                .flatten()
                .map(|endpoint| endpoint.trim_end_matches('/').to_owned()),
            base_url: base_url.or(defaults.base_url),
            api_key: text("api_key").map(Secret::new),
            params: params(section, kind, reader),
            enable_web_search: flag("enable_web_search") || searches(section, kind),
            enable_code_execution: flag("enable_code_interpreter") || flag("enable_code_execution"),
            extra,
            mcp_servers: Vec::new(),
            allowed_tools: section.list("allowed_tools"),
            exclude_tools,
            cwd: text("cwd").map(PathBuf::from),
            provider_name: text("provider_name").or_else(|| text("provider")),
            api_version: text("api_version"),
            tool_mode: match section.choice("tool_mode", &["auto", "native", "json_schema"]) {
                Some("native") => ToolMode::Native,
                Some("json_schema") => ToolMode::JsonSchema,
                _ => ToolMode::Auto,
            },
            script,
            claude_code: None,
            circuit_breaker_enabled: section.bool("circuit_breaker_enabled").unwrap_or(true),
            max_mcp_message_history: section.small("max_mcp_message_history"),
        }
    }
}

fn kind_named(node: &Node) -> Option<BackendKind> {
    BackendKind::from_name(node.as_text()?.trim())
}

/// `type`, or what follows from `model`.
fn kind(
    node: &Node,
    section: &Section<'_>,
    place: Place,
    path: &KeyPath,
    reader: &mut Reader<'_>,
) -> Option<BackendKind> {
    if let Some(given) = node.find("type").filter(|node| !node.is_null()) {
        if let Some(kind) = kind_named(given) {
            return Some(kind);
        }
        let at = path.key("type");
        let Some(name) = given.as_text() else {
            reader.error(given.place, &at, format!("{at} must be text, not {}", given.describe()), "");
            return None;
        };
        let plain = name.trim().to_ascii_lowercase().replace('-', "_");
        let all: Vec<_> = BackendKind::ALL.into_iter().map(BackendKind::as_str).collect();
        let near = || crate::schema::nearest(&plain, all.iter().copied());
        let help = if let Some((_, url)) = HOSTS.iter().find(|(host, _)| *host == plain) {
            format!("write type: chatcompletion with base_url: {url}")
        } else if let Some((_, kind)) = SYNONYMS.iter().find(|(synonym, _)| *synonym == plain) {
            format!("did you mean {kind}?")
        } else if let Some(near) = near() {
            format!("did you mean {near}?")
        } else {
            format!("it is one of {}", all.join(", "))
        };
        reader.error(given.place, &at, format!("there is no backend type {}", short(name)), help);
        return None;
    }
    let Some(model) = section.text("model").filter(|model| !model.trim().is_empty()) else {
        let message = format!("{path} has neither type nor model");
        reader.error(
            place,
            path,
            message,
            "add type: (such as openai, claude, gemini) or a model it follows from",
        );
        return None;
    };
    let kind = BackendKind::of_model(&model);
    if kind.is_none() {
        let message = format!("the model {} does not say which provider it belongs to", short(&model));
        reader.error(
            section.place_of("model"),
            &path.key("model"),
            message,
            "add type:, such as chatcompletion with base_url",
        );
    }
    kind
}

/// Takes away what means nothing to this provider, with a warning; what has an equivalent is kept for it.
fn foreign_keys(
    section: &mut Section<'_>,
    kind: BackendKind,
    system_message: &mut Option<String>,
    reader: &mut Reader<'_>,
) {
    let path = section.path.clone();
    let mut dropped: Vec<&str> = Vec::new();
    let prompt = section.text("system_prompt").or_else(|| section.text("append_system_prompt"));
    for entry in section.entries() {
        let Some(key) = BACKEND.key(&entry.key) else { continue };
        let at = path.key(key.name);
        if key.role == Role::Reserved {
            if kind != BackendKind::Scripted {
                reader.warn(
                    entry.key_place,
                    &at,
                    format!("{at} is ignored: massgen sets it in every request"),
                    "remove it",
                );
            }
            dropped.push(key.name);
        } else if !key.only.contains(kind) && key.name != "disallowed_tools" {
            dropped.push(key.name);
            // A team is rehearsed by changing its type: everything else may stay. A switch that is off asks for nothing.
            let off = key.name.starts_with("enable_") && section.bool(key.name) == Some(false);
            // A script beside a real model waits for the next rehearsal.
            if kind == BackendKind::Scripted || key.name == "script" || off {
                continue;
            }
            if matches!(key.name, "system_prompt" | "append_system_prompt") && system_message.is_none() {
                system_message.clone_from(&prompt);
                reader.warn(
                    entry.key_place,
                    &at,
                    format!("{at} is for claude_code only; it is taken as system_message"),
                    "write it as system_message of the agent",
                );
                continue;
            }
            let message = format!("{at} means nothing to {kind}; it is ignored");
            reader.warn(entry.key_place, &at, message, instead(key, kind));
        }
    }
    section.retain(|entry| !dropped.contains(&entry.key.as_str()));
}

/// What to write instead of a key that means nothing to this provider.
fn instead(key: &Key, kind: BackendKind) -> String {
    match (key.name, kind) {
        ("enable_web_search", _) => "give the agent an MCP server that searches".to_owned(),
        ("enable_code_interpreter" | "enable_code_execution", _) => {
            "give the agent an MCP server that runs code".to_owned()
        }
        ("reasoning" | "reasoning_effort", BackendKind::Claude) => {
            "write output_config: { effort: medium }, or thinking".to_owned()
        }
        ("reasoning" | "reasoning_effort", BackendKind::Gemini) => "write thinking_config".to_owned(),
        ("system_prompt" | "append_system_prompt", _) => "system_message of the agent is used".to_owned(),
        ("base_url", BackendKind::ClaudeCode) => "set ANTHROPIC_BASE_URL in the environment".to_owned(),
        ("api_version" | "azure_endpoint" | "azure_deployment", _) => {
            "it is for type: azure_openai".to_owned()
        }
        _ => format!("it is for {}", key.only.names()),
    }
}

/// What goes into the request's body as it is.
fn extra(
    section: &Section<'_>,
    unknown: &[&Entry],
    kind: Option<BackendKind>,
    reader: &mut Reader<'_>,
) -> JsonObject {
    let path = &section.path;
    let mut extra = JsonObject::new();
    let speaks_http = !matches!(kind, Some(BackendKind::ClaudeCode | BackendKind::Scripted));
    for entry in section.entries() {
        if BACKEND.key(&entry.key).is_some_and(|key| key.role == Role::Pass) {
            extra.insert(entry.key.clone(), entry.node.to_json());
        }
    }
    for entry in unknown {
        if kind == Some(BackendKind::Scripted) && BACKEND.nearest(&entry.key).is_none() {
            continue;
        }
        // A blank or a quote in a key is a slip of the pen, not a parameter.
        let parameter =
            entry.key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') && !entry.key.is_empty();
        if BACKEND.nearest(&entry.key).is_some() || !speaks_http || !parameter {
            reader.unknown(entry, path, &BACKEND);
        } else if !entry.node.is_null() {
            let at = path.key(&entry.key);
            reader.warn(
                entry.key_place,
                &at,
                format!("unknown key {at}; it is passed to the provider as it is"),
                "write it under extra_body if that is meant",
            );
            extra.insert(entry.key.clone(), entry.node.to_json());
        }
    }
    if let Some(node) = section.node("extra_body") {
        let at = path.key("extra_body");
        match &node.value {
            Value::Map(entries) => {
                for entry in entries {
                    let inner = at.key(&entry.key);
                    if entry.key == "search_parameters" && kind == Some(BackendKind::Grok) {
                        let message =
                            "search_parameters is no longer offered; the provider's own web search is used";
                        reader.warn(entry.key_place, &inner, message, "write enable_web_search: true");
                    } else if BACKEND.key(&entry.key).is_some_and(|key| key.role == Role::Reserved)
                        || entry.key == "model"
                    {
                        reader.warn(
                            entry.key_place,
                            &inner,
                            format!("{inner} is ignored: massgen sets it in every request"),
                            "remove it",
                        );
                    } else {
                        extra.insert(entry.key.clone(), entry.node.to_json());
                    }
                }
            }
            _ => {
                reader.error(node.place, &at, format!("{at} must be a mapping, not {}", node.describe()), "")
            }
        }
    }
    // One idea, two spellings.
    let stop = section.list("stop").or_else(|| section.list("stop_sequences"));
    if let (Some(stop), Some(kind)) = (stop, kind) {
        let name = match kind {
            BackendKind::Claude | BackendKind::Gemini => Some("stop_sequences"),
            BackendKind::ChatCompletion
            | BackendKind::Zai
            | BackendKind::LmStudio
            | BackendKind::AzureOpenAi => Some("stop"),
            _ => None,
        };
        match name {
            Some(name) => {
                extra.insert(name.to_owned(), Json::from(stop));
            }
            None => {
                let key = if section.has("stop") { "stop" } else { "stop_sequences" };
                reader.warn(
                    section.place_of(key),
                    &path.key(key),
                    format!("{} means nothing to {kind}; it is ignored", path.key(key)),
                    "",
                );
            }
        }
    }
    // As text, `provider` is a label; as a mapping it is OpenRouter's routing.
    if let Some(node) = section.node("provider").filter(|node| matches!(node.value, Value::Map(_))) {
        extra.insert("provider".to_owned(), node.to_json());
    }
    extra
}

/// Whether `extra_body.search_parameters` asks Grok for its search, as v0.0.13's configurations did.
fn searches(section: &Section<'_>, kind: BackendKind) -> bool {
    let parameters = || section.node("extra_body")?.find("search_parameters");
    let mode = |node: &Node| node.find("mode").and_then(Node::as_text).map(str::to_owned);
    kind == BackendKind::Grok && parameters().is_some_and(|node| mode(node).as_deref() != Some("off"))
}

fn params(section: &Section<'_>, kind: BackendKind, reader: &mut Reader<'_>) -> ModelParams {
    let path = &section.path;
    let lengths: Vec<&str> = ["max_tokens", "max_output_tokens", "max_completion_tokens"]
        .into_iter()
        .filter(|key| section.has(key))
        .collect();
    if let [first, second, ..] = lengths[..] {
        reader.warn(
            section.place_of(second),
            &path.key(second),
            format!("{first} and {second} mean the same; {first} is used"),
            "remove one",
        );
    }
    let mut temperature = section.number("temperature");
    if kind == BackendKind::Claude && temperature.is_some_and(|t| t > 1.0) {
        let at = path.key("temperature");
        reader.warn(
            section.place_of("temperature"),
            &at,
            "claude takes temperatures from 0 to 1; 1 is used",
            "",
        );
        temperature = Some(1.0);
    }
    let [verbosity] = inner(section, "text", ["verbosity"], reader);
    let [effort, summary] = inner(section, "reasoning", ["effort", "summary"], reader);
    ModelParams {
        temperature,
        top_p: section.number("top_p"),
        max_tokens: lengths.first().and_then(|key| section.small(key)),
        verbosity: verbosity.or_else(|| section.text("verbosity")),
        reasoning_effort: effort.or_else(|| section.text("reasoning_effort")),
        reasoning_summary: summary,
    }
}

/// Some texts of a mapping inside the backend.
fn inner<const N: usize>(
    section: &Section<'_>,
    key: &str,
    names: [&str; N],
    reader: &mut Reader<'_>,
) -> [Option<String>; N] {
    let path = section.path.key(key);
    let mut values = [const { None }; N];
    let Some(node) = section.node(key) else { return values };
    let Value::Map(entries) = &node.value else {
        let help = format!("write {key}: {{ {}: medium }}", names[0]);
        reader.error(node.place, &path, format!("{path} must be a mapping, not {}", node.describe()), help);
        return values;
    };
    for entry in entries {
        let at = path.key(&entry.key);
        let Some(i) = names.iter().position(|name| *name == entry.key) else {
            let help = match crate::schema::nearest(&entry.key, names) {
                Some(near) => format!("did you mean {near}?"),
                None => format!("known keys here: {}", names.join(", ")),
            };
            reader.warn(entry.key_place, &at, format!("unknown key {at}; it is ignored"), help);
            continue;
        };
        match entry.node.as_text() {
            Some(text) => values[i] = Some(text.to_owned()),
            None if entry.node.is_null() => {}
            None => reader.error(
                entry.node.place,
                &at,
                format!("{at} must be text, not {}", entry.node.describe()),
                "",
            ),
        }
    }
    values
}

fn check_url(url: &str, place: Place, path: &KeyPath, reader: &mut Reader<'_>) {
    match url::Url::parse(url) {
        Ok(parsed) if !matches!(parsed.scheme(), "http" | "https") => {
            reader.error(
                place,
                path,
                format!("{path} begins with {}:, not http: or https:", parsed.scheme()),
                "write it as https://host/path",
            );
        }
        Ok(parsed) if parsed.password().is_some() || !parsed.username().is_empty() => {
            reader.error(
                place,
                path,
                format!("{path} holds a user or a password"),
                "write the key as api_key: ${VARIABLE}",
            );
        }
        Ok(_) => {}
        Err(error) => reader.error(
            place,
            path,
            format!("{path} is not a url: {error}"),
            "write it as https://host/path",
        ),
    }
}
