//! What right files mean.

use std::path::Path;
use std::time::Duration;

use massgen_config::{
    BackendKind, Decision, Format, Isolation, LoadOptions, McpTransport, Secret, SecurityLevel, ToolEffects,
    ToolMode, Unresolved, is_server_file, load_str, mcp_servers_from_json,
};

use crate::{Files, good, load_text, options};

#[test]
fn references_are_replaced_and_secrets_are_known() {
    let config = good(
        r#"
agents:
  - id: a
    system_message: "Say ${GREETING}, not $${GREETING}. $$ stays."
    backend:
      type: openai
      model: ${MODEL:-gpt-5-nano}
      api_key: ${OPENAI_API_KEY}
      temperature: ${TEMPERATURE:-0.5}
      cwd: work
      mcp_servers:
        s:
          command: ${cwd}/server
          args: ["--config", "${config_dir}/x.toml", "${PLAIN}"]
          env: { TOKEN: "pre ${TOKEN} post", PORT: 8080, ON: yes, LITERAL_SECRET: hush, EMPTY: }
        r:
          url: https://example.com/mcp
          headers: { Authorization: "Bearer literal", X-Plain: visible }
"#,
        &[("GREETING", "hello: [1]"), ("OPENAI_API_KEY", "sk-1"), ("TOKEN", "tok"), ("PLAIN", "p")],
    );
    let agent = &config.agents[0];
    assert_eq!(agent.system_message.as_deref(), Some("Say hello: [1], not ${GREETING}. $$ stays."));
    assert_eq!(agent.backend.model.as_deref(), Some("gpt-5-nano"));
    assert_eq!(agent.backend.params.temperature, Some(0.5));
    assert_eq!(agent.backend.api_key, Some(Secret::new("sk-1")));
    let McpTransport::Stdio { command, args, env, .. } = &agent.backend.mcp_servers[0].transport else {
        panic!()
    };
    assert_eq!(command, "/home/project/work/server");
    assert_eq!(args, &["--config", "/home/project/conf/x.toml", "p"]);
    let env: Vec<_> = env.iter().map(|(name, value)| (name.as_str(), value.expose())).collect();
    assert_eq!(
        env,
        [
            ("EMPTY", ""),
            ("LITERAL_SECRET", "hush"),
            ("ON", "yes"),
            ("PORT", "8080"),
            ("TOKEN", "pre tok post")
        ]
    );
    let secrets: Vec<_> = config.secrets().iter().map(Secret::expose).collect();
    assert_eq!(secrets, ["pre tok post", "literal", "hush", "sk-1", "tok"]);
    let shown = format!("{config:?} {}", serde_json::to_string(&config).unwrap());
    for secret in ["sk-1", "hush", "Bearer", "tok post"] {
        assert!(!shown.contains(secret), "{secret}");
    }
}

#[test]
fn files_are_read_for_references_and_server_lists() {
    let files = Files(
        [
            ("conf/token.txt", "  from-file\n"),
            (
                "conf/mcp.json",
                r#"{ "mcpServers": {
                    "my files": { "command": "npx", "args": ["-y", "fs", "/x"], "env": { "K": "${env:A}" }, "disabled": false, "autoApprove": [] },
                    "off": { "command": "never", "disabled": true },
                    "web": { "type": "streamableHttp", "url": "https://example.com/mcp" },
                    "wind": { "serverUrl": "https://example.com/w" }
                } }"#,
            ),
        ]
        .into(),
    );
    let text = "mcp_config: mcp.json\nagent: { backend: { model: gpt-5, api_key: '${file:token.txt}' } }\n";
    let loaded =
        load_str(text, Path::new("conf/team.yml"), Format::Yaml, &options(&[("A", "env-a")]), &files);
    expect_test::expect![[r#"
        conf/mcp.json:2:21: warning: the server "my files" is called my-files here
          2 |                     "my files": { "command": "npx", "args": ["-y", "fs", "/x"], "env": { "K": "${env:A}" }, "disabled": 
            |                     ^^^^^^^^^^"#]]
    .assert_eq(&loaded.diagnostics.to_string());
    let config = loaded.config.unwrap();
    let names: Vec<_> = config.mcp_servers.iter().map(|server| server.name.as_str()).collect();
    assert_eq!(names, ["my-files", "web", "wind"]);
    assert_eq!(config.agents[0].backend.api_key, Some(Secret::new("from-file")));
    assert!(config.secrets().contains(&Secret::new("env-a")));
    assert!(config.secrets().contains(&Secret::new("from-file")));

    let (servers, _) = mcp_servers_from_json(
        r#"{ "mcpServers": { "a": { "command": "x y", "cwd": "/w" } } }"#,
        Path::new("mcp.json"),
        &options(&[]),
    )
    .unwrap();
    let McpTransport::Stdio { command, args, .. } = &servers[0].transport else { panic!() };
    assert_eq!((command.as_str(), &args[..]), ("x", &["y".to_owned()][..]));
}

#[test]
fn a_switch_is_on_or_off_in_every_spelling() {
    let config = good(
        "
mcp_servers:
  a: { command: a, circuit_breaker: { enabled: yes } }
  b: { command: b, circuit_breaker: { enabled: \"${BREAKER:-on}\" } }
  c: { command: c, circuit_breaker: { enabled: off }, disabled: no }
  d: { command: d, circuit_breaker: { enabled: }, disabled: off }
agent: { backend: { model: gpt-5 } }
",
        &[],
    );
    let breakers: Vec<_> = config.mcp_servers.iter().map(|server| server.circuit_breaker).collect();
    assert_eq!(breakers, [Some(true), Some(true), Some(false), None]);
    let files = Files([("conf/mcp.yaml", "mcpServers: { off: { command: never, disabled: yes } }")].into());
    let text = "mcp_config: mcp.yaml\nagent: { backend: { model: gpt-5 } }\n";
    let loaded = load_str(text, Path::new("conf/team.yml"), Format::Yaml, &options(&[]), &files);
    assert!(loaded.config.unwrap().mcp_servers.is_empty(), "{}", loaded.diagnostics);
}

#[test]
fn a_reference_is_replaced_once() {
    let config = good(
        "
agents:
  - { id: a, backend: { model: gpt-5, cwd: \"$${x}\", base_url: \"https://h.example/${cwd}\" } }
  - { id: b, backend: { model: gpt-5, cwd: \"${DIR}\", base_url: \"https://h.example${cwd}\" } }
  - { id: c, backend: { model: gpt-5, cwd: \"${cwd}/sub\", base_url: \"https://h.example${cwd}\" } }
",
        &[("DIR", "/w/${HOME}")],
    );
    let backends = config.agents.iter().map(|agent| &agent.backend);
    let shown: Vec<_> = backends
        .map(|backend| {
            (backend.cwd.as_deref().unwrap().to_str().unwrap(), backend.base_url.as_deref().unwrap())
        })
        .collect();
    assert_eq!(
        shown,
        [
            ("${x}", "https://h.example//home/project/${x}"),
            ("/w/${HOME}", "https://h.example/w/${HOME}"),
            ("/home/project/sub", "https://h.example/home/project/sub"),
        ]
    );
}

#[test]
fn servers_have_both_forms_and_all_fields() {
    let config = good(
        r#"
mcp_servers:
  - name: one
    type: stdio
    command: [python, -m]
    args: server
    env: { A: 1 }
    cwd: /x
    timeout: 45
    startup_timeout: 2m
    allowed_tools: search_*
    exclude_tools: [search_bad]
    required: true
    isolation: per_agent
    effects: { "post_*": planned, "*": immediate }
    security:
      level: moderate
      allowed_executables: [python]
      env: { mode: allowlist, allowed_vars: [A], denied_vars: [B], level: permissive }
    max_retries: 2
    circuit_breaker: { enabled: false, threshold: 3 }
  - name: two
    url: http://localhost:8000/mcp
    http_read_timeout: 500ms
    ca_file: company.pem
    effects: immediate
    security: { allow_localhost: true, allow_private_ips: yes, allowed_hostnames: [localhost], resolve_dns: false }
agent: { backend: { model: gpt-5 } }
"#,
        &[],
    );
    let [one, two] = &config.mcp_servers[..] else { panic!() };
    let McpTransport::Stdio { command, args, cwd, .. } = &one.transport else { panic!() };
    assert_eq!((command.as_str(), args.join(" ").as_str()), ("python", "-m server"));
    assert_eq!(cwd.as_ref().unwrap().to_str(), Some("/x"));
    assert_eq!(one.timeout, Some(Duration::from_secs(45)));
    assert_eq!(one.startup_timeout, Some(Duration::from_secs(120)));
    assert_eq!(one.allowed_tools, Some(vec!["search_*".to_owned()]));
    assert_eq!(one.isolation, Isolation::PerAgent);
    assert_eq!(one.effects.tools[1], ("*".to_owned(), ToolEffects::Immediate));
    assert_eq!(one.security.level, Some(SecurityLevel::Moderate));
    assert_eq!(one.security.env.level, Some(SecurityLevel::Permissive));
    assert_eq!(one.circuit_breaker, Some(false));
    assert!(one.required);
    assert!(matches!(&two.transport, McpTransport::StreamableHttp { .. }));
    assert_eq!(two.http_read_timeout, Some(Duration::from_millis(500)));
    assert!(two.ca_file.as_ref().is_some_and(|file| file.ends_with("company.pem")), "{:?}", two.ca_file);
    assert_eq!(two.effects.default, Some(ToolEffects::Immediate));
    assert!(two.security.allow_private_ips);
    assert_eq!(two.security.resolve_dns, Some(false));
}

#[test]
fn keys_are_translated_between_providers() {
    let backend =
        |keys: &str| good(&format!("agent: {{ backend: {{ {keys} }} }}"), &[]).agents[0].backend.clone();
    assert!(backend("type: claude, model: m, enable_code_interpreter: true").enable_code_execution);
    assert!(backend("type: openai, enable_code_execution: true").enable_code_execution);
    assert_eq!(backend("type: claude, model: m, max_output_tokens: 5").params.max_tokens, Some(5));
    assert_eq!(backend("type: openai, max_completion_tokens: 3000.0").params.max_tokens, Some(3000));
    assert_eq!(
        backend("type: claude, model: m, stop: END").extra["stop_sequences"],
        serde_json::json!(["END"])
    );
    assert_eq!(
        backend("type: lmstudio, stop_sequences: [a, b]").extra["stop"],
        serde_json::json!(["a", "b"])
    );
    assert_eq!(backend("type: gemini, disallowed_tools: [x]").exclude_tools, ["x"]);
    assert_eq!(
        backend("type: azure_openai, azure_deployment: d, base_url: 'https://x.openai.azure.com/'")
            .azure_endpoint
            .as_deref(),
        Some("https://x.openai.azure.com")
    );
    assert_eq!(backend("type: chatcompletion, provider: Groq").label(), "Groq");
    assert_eq!(backend("type: chatcompletion, provider: { order: [a] }").extra["provider"]["order"][0], "a");
    assert_eq!(backend("type: chatcompletion, extra_body: { foo: 1 }, seed: 7").extra.len(), 2);
    assert_eq!(backend("type: lmstudio, tool_mode: json_schema").tool_mode, ToolMode::JsonSchema);
    assert_eq!(backend("type: OpenAI").kind, BackendKind::OpenAi);
    assert_eq!(
        backend("type: openai, reasoning: { effort: low }, text: { verbosity: high }")
            .params
            .verbosity
            .as_deref(),
        Some("high")
    );
    // A team is rehearsed by changing its types alone.
    let rehearsed = backend(
        "type: scripted, script: s.yaml, model: gpt-5, reasoning: { effort: low }, enable_web_search: true, permission_mode: plan, seed: 1, some_new_parameter: 2",
    );
    assert_eq!(rehearsed.script.as_ref().unwrap().to_str(), Some("conf/s.yaml"));
    assert!(rehearsed.extra.is_empty() && !rehearsed.enable_web_search);
}

#[test]
fn nulls_are_as_good_as_nothing() {
    let config = good(
        "agent: { id: , backend: { type: , model: gpt-5, temperature: ~ }, permissions: }\nui:\norchestrator: null\nagents: null\nmcp_servers:\n",
        &[],
    );
    assert_eq!(config.agents[0].id.as_str(), "agent1");
    assert!(config.ui.use_orchestrator_for_single_agent);
}

#[test]
fn ids_default_to_the_position_and_later_ones_win() {
    let config = good(
        "agents: [{backend: {model: gpt-5}}, {id: 7, backend: {model: gpt-5}}, {backend: {model: gpt-5}}]",
        &[],
    );
    let ids: Vec<_> = config.agents.iter().map(|agent| agent.id.as_str()).collect();
    assert_eq!(ids, ["agent1", "7", "agent3"]);

    let loaded = load_text(
        "agents: [{id: x, backend: {model: gpt-5}}, {id: y, backend: {model: gpt-5}}, {id: x, backend: {model: grok-4}}]",
        &[],
    );
    let config = loaded.config.unwrap();
    let kinds: Vec<_> = config.agents.iter().map(|agent| agent.backend.kind.as_str()).collect();
    assert_eq!(kinds, ["grok", "openai"]);
}

#[test]
fn anchors_and_merges_work() {
    let config = good(
        "x-common: &common { type: openai, temperature: 0.1, model: '${UNSET_BUT_OVERRIDDEN}' }\nagents:\n  - { id: a, backend: { <<: *common, model: gpt-5 } }\n  - { id: b, backend: { <<: *common, model: gpt-5-nano, temperature: 1 } }\n",
        &[],
    );
    let temperatures: Vec<_> = config.agents.iter().map(|agent| agent.backend.params.temperature).collect();
    assert_eq!(temperatures, [Some(0.1), Some(1.0)]);
}

#[test]
fn permissions_keep_their_order() {
    let config = good(
        "agent: { backend: { model: gpt-5 }, permissions: [{ tool: 'mcp__t__delete_*', decision: deny }, { tool: '*', decision: Ask }] }",
        &[],
    );
    let rules = &config.agents[0].permissions;
    assert_eq!((rules[0].tool.as_str(), rules[0].decision), ("mcp__t__delete_*", Decision::Deny));
    assert_eq!(rules[1].decision, Decision::Ask);
}

#[test]
fn an_agents_own_server_replaces_a_shared_one() {
    let config = good(
        "mcp_servers: { a: { command: shared }, b: { command: shared } }\nagent: { backend: { model: gpt-5, mcp_servers: { a: { command: own } } } }",
        &[],
    );
    let seen: Vec<_> = (config.servers_of(&config.agents[0]))
        .map(|server| match &server.transport {
            McpTransport::Stdio { command, .. } => format!("{} {command}", server.name),
            _ => panic!(),
        })
        .collect();
    assert_eq!(seen, ["b shared", "a own"]);
}

#[test]
fn json_is_read_with_places() {
    let text = "{\n\t\"agent\": {\n\t\t\"backend\": {\"type\": \"opanai\"}\n\t}\n}\n";
    let loaded = load_str(text, Path::new("team.json"), Format::Json, &options(&[]), &Files::default());
    expect_test::expect![[r#"
        team.json:3:23: error: there is no backend type "opanai"
          3 |   "backend": {"type": "opanai"}
            |                       ^^^^^^^^
          help: did you mean openai?"#]]
    .assert_eq(&loaded.diagnostics.to_string());
    let loaded = load_str(
        "{\"agent\": {\"backend\": {\"model\": \"gpt-5\"}},}",
        Path::new("team.json"),
        Format::Json,
        &options(&[]),
        &Files::default(),
    );
    expect_test::expect![[r#"
        team.json:1:43: error: this is not JSON: key must be a string
          1 | {"agent": {"backend": {"model": "gpt-5"}},}
            |                                           ^
          help: remove the comma before it: JSON has none before a } or a ]"#]]
    .assert_eq(&loaded.diagnostics.to_string());
}

#[test]
fn a_script_is_read_into_its_own_type() {
    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Script {
        turns: Vec<u8>,
    }
    let script: Script = massgen_config::from_yaml_str("turns: [1, 2]\n", "s.yaml").unwrap();
    assert_eq!(script.turns, [1, 2]);
    let error = massgen_config::from_yaml_str::<Script>("turns: [1, x]\n", "s.yaml").unwrap_err();
    expect_test::expect![[r#"
        s.yaml:1:12: error: invalid u8
          1 | turns: [1, x]
            |            ^"#]]
    .assert_eq(&error.to_string());
    let error = massgen_config::from_yaml_str::<Script>("turns: [1]\nturn: 2\n", "s.yaml").unwrap_err();
    expect_test::expect![[r#"
        s.yaml:2:1: error: unknown field `turn`, expected one of turns
          2 | turn: 2
            | ^^^^"#]]
    .assert_eq(&error.to_string());
    // No advice that has nothing to do with it.
    let error = massgen_config::from_yaml_str::<Script>("{ turns: [1], turn: 2 }\n", "s.yaml").unwrap_err();
    assert!(!error.to_string().contains("help:"), "{error}");
}

#[test]
fn a_summary_shows_agents_and_servers() {
    let config = good(
        "mcp_servers: { a: { command: secret-free } }\nagents: [{id: scout, backend: {model: gpt-5}}, {id: critic, backend: {type: claude_code, mcp_servers: {b: {url: 'https://x.example/mcp?key=hush'}}}}]",
        &[],
    );
    expect_test::expect![[r#"
        scout   openai / gpt-5
        critic  claude_code  [b]
        shared servers: a"#]]
    .assert_eq(&config.summary().to_string());
    expect_test::expect![[r#"
        {
          "agents": [
            {
              "id": "scout",
              "type": "openai",
              "model": "gpt-5",
              "mcp_servers": []
            },
            {
              "id": "critic",
              "type": "claude_code",
              "model": null,
              "mcp_servers": [
                {
                  "name": "b",
                  "type": "streamable-http",
                  "target": "https://x.example/mcp"
                }
              ]
            }
          ],
          "mcp_servers": [
            {
              "name": "a",
              "type": "stdio",
              "target": "secret-free"
            }
          ]
        }"#]]
    .assert_eq(&serde_json::to_string_pretty(&config.summary()).unwrap());
}

#[test]
fn a_file_of_an_editor_is_read_with_its_comments_and_nothing_is_looked_up() {
    let text = r#"{
  // who asks
  "inputs": [{ "id": "token", "type": "promptString" }],
  "servers": {
    "web": { "type": "http", "url": "https://mcp.example.com/mcp", /* login */
      "headers": { "Authorization": "Bearer ${input:token}" } },
    "files": { "command": "npx", "args": ["-y", "fs@1.0.0", "${workspaceFolder}"], "env": { "K": "${file:/x}", "L": "${UNSET:-l}" }, },
    "lost": { "url": "${ADDRESS}" },
  },
}"#;
    let path = Path::new("mcp.json");
    assert!(is_server_file(text, path));
    assert!(!is_server_file(r#"{"agents": [], "mcpServers": {}}"#, path));
    assert!(!is_server_file(r#"{"editor.fontSize": 12}"#, path));
    assert!(is_server_file(r#"{"mcp": {"servers": {}}}"#, path));
    let options = LoadOptions { unresolved: Unresolved::Keep, ..options(&[]) };
    let (servers, told) = mcp_servers_from_json(text, path, &options).unwrap();
    let names: Vec<_> = servers.iter().map(|server| server.name.as_str()).collect();
    assert_eq!(names, ["web", "files"]);
    assert!(told.to_string().contains("ADDRESS is not set; what it stands for is not known"), "{told}");
    let McpTransport::StreamableHttp { headers, .. } = &servers[0].transport else { panic!() };
    assert_eq!(headers["Authorization"].expose(), "Bearer ${input:token}");
    let McpTransport::Stdio { args, env, .. } = &servers[1].transport else { panic!() };
    assert_eq!(
        (args[2].as_str(), env["K"].expose(), env["L"].expose()),
        ("${workspaceFolder}", "${file:/x}", "${UNSET:-l}")
    );
    let origin = servers[1].origin.as_ref().unwrap();
    assert_eq!((origin.file.as_str(), origin.key.as_str(), origin.line), ("mcp.json", "servers.files", 7));
    assert_eq!(servers[0].origin.as_ref().map(|origin| origin.line_of("headers.Authorization")), Some(6));
    assert_eq!(servers[0].origin.as_ref().map(|origin| origin.line_of("env.NONE")), Some(5));
}

#[test]
fn permissions_and_labels_of_the_whole_team() {
    let config = good(
        "agent: { backend: { type: lmstudio, model: m }, permissions: [{ tool: x, decision: deny }] }
permissions:
  - { tool: mcp__disk__write_*, decision: allow, when: { path: '/srv/**', options.mode: '6??' }, nature: changes }
  - { tool: '*', decision: ask, nature: destroys }
labels: [{ tool: mcp__mail__*, labels: [private_data, untrusted_content] }]
",
        &[],
    );
    assert_eq!((config.permissions.len(), config.agents[0].permissions.len()), (2, 1));
    let rule = &config.permissions[0];
    assert_eq!(rule.when["path"], "/srv/**");
    assert_eq!(rule.when["options.mode"], "6??");
    assert_eq!(rule.nature, Some(massgen_config::Nature::Changes));
    assert_eq!(config.permissions[1].nature, Some(massgen_config::Nature::Destroys));
    use massgen_config::DataLabel::{PrivateData, UntrustedContent};
    assert_eq!(config.labels[0].labels, [PrivateData, UntrustedContent]);
}
