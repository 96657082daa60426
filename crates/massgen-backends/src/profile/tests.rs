use expect_test::expect;
use serde_json::json;

use super::*;
use crate::wire::testing::{question, weather};
use crate::{Request, ToolChoice};

fn config(kind: ProviderKind, base: &str, model: &str) -> ProviderConfig {
    let base = match base {
        "" => kind.default_base_url().unwrap(),
        base => Url::parse(base).unwrap(),
    };
    let mut config = ProviderConfig::new(kind, base, model);
    config.api_key = Some("sk-secret-key".into());
    config
}

#[test]
fn every_kind_has_its_name_address_and_label() {
    let rows: Vec<String> = ProviderKind::ALL
        .into_iter()
        .map(|kind| {
            assert_eq!(ProviderKind::from_name(kind.name()), Some(kind));
            let base = kind.default_base_url().map(|url| url.to_string());
            let (header, prefix) = key_header(kind);
            format!(
                "{} | {} | {} | {header}: {prefix}",
                kind.name(),
                kind.label(),
                base.unwrap_or("-".into())
            )
        })
        .collect();
    expect![[r#"
        openai | OpenAI | https://api.openai.com/v1 | authorization: Bearer 
        claude | Claude | https://api.anthropic.com/ | x-api-key: 
        gemini | Gemini | https://generativelanguage.googleapis.com/v1beta | x-goog-api-key: 
        grok | Grok | https://api.x.ai/v1 | authorization: Bearer 
        chatcompletion | ChatCompletion | https://api.openai.com/v1 | authorization: Bearer 
        zai | ZAI | https://api.z.ai/api/paas/v4 | authorization: Bearer 
        lmstudio | LM Studio | http://localhost:1234/v1 | authorization: Bearer 
        azure_openai | Azure OpenAI | - | api-key: 
        claude_code | Claude Code | https://api.anthropic.com/ | authorization: Bearer "#]]
    .assert_eq(&rows.join("\n"));
    assert_eq!(ProviderKind::from_name("nobody"), None);
}

#[test]
fn requests_go_where_each_provider_wants_them() {
    use ProviderKind as K;
    let mut old_azure = config(K::AzureOpenAi, "https://x.openai.azure.com/", "dep");
    old_azure.api_version = Some("2024-02-01".into());
    let rows: Vec<String> = [
        config(K::OpenAi, "", "gpt-5"),
        config(K::Grok, "", "grok-4"),
        config(K::Claude, "", "claude"),
        config(K::Gemini, "", "gemini-2.5-flash"),
        config(K::ChatCompletion, "", "gpt-5"),
        config(K::ChatCompletion, "", "gpt-4o"),
        config(K::ChatCompletion, "https://api.groq.com/openai/v1/", "m"),
        config(K::ChatCompletion, "https://api.mistral.ai/v1", "m"),
        config(K::ChatCompletion, "https://api.moonshot.ai/v1", "m"),
        config(K::ChatCompletion, "https://not-z.ai.example/v1", "m"),
        config(K::Zai, "", "glm"),
        config(K::LmStudio, "", "m"),
        config(K::AzureOpenAi, "https://x.openai.azure.com", "dep/1"),
        config(K::AzureOpenAi, "https://x.openai.azure.com/openai/v1/", "dep"),
        config(K::AzureOpenAi, "https://x.openai.azure.com/openai/deployments/other?api-version=1", "dep"),
        old_azure,
    ]
    .into_iter()
    .map(|mut config| {
        config.max_tokens = Some(7);
        let (origin, codec, capabilities) = self::codec(&config).unwrap();
        let request = Request { tool_choice: ToolChoice::Required, ..question() };
        let encoded = codec.encode(&request, &model_options(&config));
        let body = encoded.body.as_object().unwrap();
        let limit = body.keys().find(|key| key.contains("tokens")).map_or("-", String::as_str);
        let usage = if body.contains_key("stream_options") { "asks usage" } else { "-" };
        let choice =
            body.get("tool_choice").or(body.get("toolConfig")).map_or("-".into(), ToString::to_string);
        format!(
            "{} | {} | {} | {limit} | {usage} | {choice} | {}",
            origin.provider, origin.wire.host, encoded.url, capabilities.forced_tool_use
        )
    })
    .collect();
    expect![[r#"
        OpenAI | api.openai.com | https://api.openai.com/v1/responses | max_output_tokens | - | "required" | true
        Grok | api.x.ai | https://api.x.ai/v1/responses | max_output_tokens | - | "required" | true
        Claude | api.anthropic.com | https://api.anthropic.com/v1/messages | max_tokens | - | {"type":"any"} | true
        Gemini | generativelanguage.googleapis.com | https://generativelanguage.googleapis.com/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse | - | - | {"functionCallingConfig":{"mode":"ANY"}} | true
        OpenAI | api.openai.com | https://api.openai.com/v1/chat/completions | max_completion_tokens | asks usage | "required" | true
        OpenAI | api.openai.com | https://api.openai.com/v1/chat/completions | max_tokens | asks usage | "required" | true
        Groq | api.groq.com | https://api.groq.com/openai/v1/chat/completions | max_tokens | asks usage | "required" | true
        Mistral | api.mistral.ai | https://api.mistral.ai/v1/chat/completions | max_tokens | - | "required" | true
        Kimi | api.moonshot.ai | https://api.moonshot.ai/v1/chat/completions | max_tokens | asks usage | - | false
        ChatCompletion | not-z.ai.example | https://not-z.ai.example/v1/chat/completions | max_tokens | asks usage | "required" | true
        ZAI | api.z.ai | https://api.z.ai/api/paas/v4/chat/completions | max_tokens | asks usage | - | false
        LM Studio | localhost:1234 | http://localhost:1234/v1/chat/completions | max_tokens | asks usage | "required" | true
        Azure OpenAI | x.openai.azure.com | https://x.openai.azure.com/openai/deployments/dep%2F1/chat/completions?api-version=2024-12-01-preview | max_completion_tokens | asks usage | "required" | true
        Azure OpenAI | x.openai.azure.com | https://x.openai.azure.com/openai/v1/chat/completions | max_completion_tokens | asks usage | "required" | true
        Azure OpenAI | x.openai.azure.com | https://x.openai.azure.com/openai/deployments/other/chat/completions?api-version=1 | max_completion_tokens | asks usage | "required" | true
        Azure OpenAI | x.openai.azure.com | https://x.openai.azure.com/openai/deployments/dep/chat/completions?api-version=2024-02-01 | max_tokens | - | "required" | true"#]].assert_eq(&rows.join("\n"));
}

#[test]
fn claude_code_has_no_wire() {
    assert!(codec(&config(ProviderKind::ClaudeCode, "", "")).is_none());
}

#[test]
fn xai_reads_the_system_message_as_input() {
    let config = config(ProviderKind::Grok, "", "grok-4");
    let body = codec(&config).unwrap().1.encode(&question(), &model_options(&config)).body;
    assert_eq!(body["input"][0], json!({"type": "message", "role": "system", "content": "Be brief."}));
    assert!(body.get("instructions").is_none());
}

#[test]
fn massgens_own_keys_are_never_sent() {
    let mut config = config(ProviderKind::ChatCompletion, "", "m");
    config.extra = json!({
        "type": "x", "agent_id": "x", "api_key": "x", "base_url": "x", "cwd": "x", "enable_web_search": true, "seed": 1,
    })
    .as_object()
    .unwrap()
    .clone();
    let body = codec(&config).unwrap().1.encode(&question(), &model_options(&config)).body;
    let keys: Vec<&str> = body.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, ["model", "messages", "stream", "stream_options", "tools", "seed"]);
}

#[test]
fn notes_tell_what_is_not_sent_or_not_wise() {
    use ProviderKind as K;
    let mut shown = String::new();
    let mut show = |config: &ProviderConfig| {
        notes(config).iter().for_each(|note| shown.push_str(&format!("{}: {note}\n", config.kind.name())));
    };
    let mut openai = config(K::OpenAi, "", "gpt-5");
    show(&openai);
    openai.temperature = Some(0.5);
    openai.extra =
        json!({"enable_web_search": true, "enable_code_interpreter": false}).as_object().unwrap().clone();
    openai.tool_mode = ToolMode::JsonSchema;
    show(&openai);
    let mut claude = config(K::Claude, "http://proxy.example", "claude");
    claude.temperature = Some(1.5);
    claude.top_p = Some(0.5);
    claude.reasoning = Some(json!({"effort": "low"}));
    claude.text = Some(json!({}));
    show(&claude);
    claude.reasoning = Some(json!({"type": "enabled", "budget_tokens": 2000}));
    claude.temperature = None;
    claude.text = None;
    show(&claude);
    let mut gemini = config(K::Gemini, "", "gemini");
    gemini.reasoning = Some(json!({"effort": "low"}));
    gemini.api_key = None;
    gemini.key_hint = "set GEMINI_API_KEY".into();
    show(&gemini);
    show(&config(K::LmStudio, "", "m"));
    expect![[r#"
        openai: enable_web_search: the provider's own web search is not supported yet and stays off; an MCP server can do the same.
        openai: temperature and top_p are not sent: gpt-5 refuses them.
        openai: tool_mode: openai always uses its own tools; json_schema is for OpenAI-compatible servers.
        claude: temperature: Claude takes 0 to 1; the nearest is sent.
        claude: top_p: Claude takes either temperature or top_p; temperature is sent.
        claude: reasoning: not sent to Claude; use thinking: {type: enabled, budget_tokens: N} instead.
        claude: text: not sent to claude.
        claude: base_url: the key goes to proxy.example without encryption; use https.
        claude: temperature and top_p are not sent while Claude thinks.
        claude: base_url: the key goes to proxy.example without encryption; use https.
        gemini: reasoning: not sent to Gemini; use thinking_config: {...} instead.
        gemini: no key is set: set GEMINI_API_KEY.
    "#]].assert_eq(&shown);
}

#[test]
fn a_configurations_debug_output_holds_no_key() {
    let shown = format!("{:?}", config(ProviderKind::OpenAi, "", "m"));
    assert!(!shown.contains("sk-secret"), "{shown}");
}

#[test]
fn claude_cannot_be_forced_while_it_thinks() {
    let mut config = config(ProviderKind::Claude, "", "m");
    assert!(codec(&config).unwrap().2.forced_tool_use);
    config.extra = json!({"thinking": {"type": "adaptive"}}).as_object().unwrap().clone();
    assert!(!codec(&config).unwrap().2.forced_tool_use);
    config.extra = json!({"thinking": {"type": "disabled"}}).as_object().unwrap().clone();
    assert!(codec(&config).unwrap().2.forced_tool_use);
}

#[test]
fn schema_mode_forces_what_the_host_cannot() {
    let mut config = config(ProviderKind::Zai, "", "glm");
    assert!(!codec(&config).unwrap().2.forced_tool_use);
    config.tool_mode = ToolMode::JsonSchema;
    let (_, codec, capabilities) = codec(&config).unwrap();
    assert!(capabilities.forced_tool_use);
    let request = Request { tools: vec![weather()], ..question() };
    assert!(codec.encode(&request, &model_options(&config)).body.get("response_format").is_some());
}
