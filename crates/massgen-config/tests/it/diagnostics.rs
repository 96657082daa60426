//! What wrong files say.

use std::path::Path;

use expect_test::{Expect, expect};
use massgen_config::load;

use crate::{load_text, options};

fn check(text: &str, expected: Expect) {
    let loaded = load_text(text, &[("SET", "x"), ("EMPTY", "")]);
    assert_eq!(loaded.config.is_none(), loaded.diagnostics.has_errors());
    expected.assert_eq(&loaded.diagnostics.to_string());
}

#[test]
fn everything_is_reported_at_once() {
    check(
        "agents:
  - id: a
    backend:
      type: opnai
      temprature: 0.5
      max_tokens: -3
      mcp_servers:
        x y: { command: a }
        w: {}
  - backend: { type: claude, model: m, reasoning: { effort: low }, cwd: \"${NOPE}\" }
ui: { display_type: fancy }
timeout: 5
",
        expect![[r#"
            conf/team.yaml:4:13: error: there is no backend type "opnai"
              4 |       type: opnai
                |             ^^^^^
              help: did you mean openai?
            conf/team.yaml:5:7: warning: unknown key agents[0].backend.temprature; it is ignored
              5 |       temprature: 0.5
                |       ^^^^^^^^^^
              help: did you mean temperature?
            conf/team.yaml:6:19: error: agents[0].backend.max_tokens must be a whole number from 1 to 4294967295, not -3
              6 |       max_tokens: -3
                |                   ^^
            conf/team.yaml:8:9: error: server name "x y" contains ' '; allowed are letters, digits, "_" and "-"
              8 |         x y: { command: a }
                |         ^^^
              help: a server's name is 1 to 100 letters, digits, "_" and "-"
            conf/team.yaml:9:9: error: the server w has neither command nor url
              9 |         w: {}
                |         ^
              help: add command: (a program) or url: (a remote server)
            conf/team.yaml:10:40: warning: agents[1].backend.reasoning means nothing to claude; it is ignored
              10 |   - backend: { type: claude, model: m, reasoning: { effort: low }, cwd: "${NOPE}" }
                 |                                        ^^^^^^^^^
              help: write output_config: { effort: medium }, or thinking
            conf/team.yaml:10:74: error: the environment variable NOPE is not set
              10 |   - backend: { type: claude, model: m, reasoning: { effort: low }, cwd: "${NOPE}" }
                 |                                                                          ^^^^^^^
              help: set it, or give a default: ${NOPE:-default}
            conf/team.yaml:11:21: error: ui.display_type cannot be "fancy"
              11 | ui: { display_type: fancy }
                 |                     ^^^^^
              help: it is one of rich_terminal, terminal, simple
            conf/team.yaml:12:1: warning: unknown key timeout; it is ignored
              12 | timeout: 5
                 | ^^^^^^^
              help: known keys here: agent, agents, mcp_servers, mcp_config, permissions, labels, ui, timeout_settings, orchestrator, limits"#]],
    );
}

#[test]
fn there_must_be_agents() {
    check(
        "",
        expect![[r#"
        conf/team.yaml: error: the file is empty
          help: a configuration needs agent or agents"#]],
    );
    check(
        "ui: {}",
        expect![[r#"
        conf/team.yaml: error: there are no agents
          help: add agents: with at least one agent, such as
            agents:
              - id: scout
                backend: { type: openai, model: gpt-5-nano }"#]],
    );
    check(
        "agents: []",
        expect![[r#"
        conf/team.yaml: error: there are no agents
          help: add agents: with at least one agent, such as
            agents:
              - id: scout
                backend: { type: openai, model: gpt-5-nano }"#]],
    );
    check(
        "agents: { a: 1 }",
        expect![[r#"
        conf/team.yaml:1:9: error: agents must be a list, not a mapping
          1 | agents: { a: 1 }
            |         ^
          help: begin each agent with "- "; a single one may be under agent:"#]],
    );
    check(
        "- a",
        expect![[r#"
        conf/team.yaml:1:1: error: a configuration is a mapping, not a list
          1 | - a
            | ^
          help: begin with agent: or agents:"#]],
    );
    check(
        "agents:\n  - just text\n  - id: b\n",
        expect![[r#"
        conf/team.yaml:2:5: error: agents[0] must be a mapping, not text
          2 |   - just text
            |     ^^^^^^^^^
          help: write it as a mapping with keys such as id, backend, system_message
        conf/team.yaml:3:5: error: agents[1] has no backend
          3 |   - id: b
            |     ^
          help: add backend: with type or model, such as { type: openai, model: gpt-5-nano }"#]],
    );
    check(
        "agent: { backend: { model: gpt-5 } }\nagents: [{ backend: { model: '${NOPE}' } }]",
        expect![[r#"
        conf/team.yaml:1:1: warning: there are both agent and agents; agents is ignored
          1 | agent: { backend: { model: gpt-5 } }
            | ^^^^^
          help: remove one of them"#]],
    );
}

#[test]
fn a_backend_must_be_known() {
    check(
        "agent: { backend: }",
        expect![[r#"
        conf/team.yaml:1:8: error: agent has no backend
          1 | agent: { backend: }
            |        ^
          help: add backend: with type or model, such as { type: openai, model: gpt-5-nano }"#]],
    );
    check(
        "agent: { backend: { temperature: 1 } }",
        expect![[r#"
        conf/team.yaml:1:10: error: agent.backend has neither type nor model
          1 | agent: { backend: { temperature: 1 } }
            |          ^^^^^^^
          help: add type: (such as openai, claude, gemini) or a model it follows from"#]],
    );
    check(
        "agent: { backend: { model: llama3 } }",
        expect![[r#"
        conf/team.yaml:1:28: error: the model "llama3" does not say which provider it belongs to
          1 | agent: { backend: { model: llama3 } }
            |                            ^^^^^^
          help: add type:, such as chatcompletion with base_url"#]],
    );
    check(
        "agent: { backend: { type: groq } }",
        expect![[r#"
        conf/team.yaml:1:27: error: there is no backend type "groq"
          1 | agent: { backend: { type: groq } }
            |                           ^^^^
          help: write type: chatcompletion with base_url: https://api.groq.com/openai/v1"#]],
    );
    check(
        "agent: { backend: { type: anthropic } }",
        expect![[r#"
        conf/team.yaml:1:27: error: there is no backend type "anthropic"
          1 | agent: { backend: { type: anthropic } }
            |                           ^^^^^^^^^
          help: did you mean claude?"#]],
    );
    check(
        "agent: { backend: { type: nonsense } }",
        expect![[r#"
        conf/team.yaml:1:27: error: there is no backend type "nonsense"
          1 | agent: { backend: { type: nonsense } }
            |                           ^^^^^^^^
          help: it is one of openai, claude, gemini, grok, chatcompletion, zai, lmstudio, claude_code, azure_openai, scripted"#]],
    );
    check(
        "agent: { backend: { type: azure_openai } }",
        expect![[r#"
        conf/team.yaml:1:19: error: agent.backend has no model
          1 | agent: { backend: { type: azure_openai } }
            |                   ^
          help: model names the deployment in your Azure resource"#]],
    );
    check(
        "agent: { backend: { type: scripted } }",
        expect![[r#"
        conf/team.yaml:1:19: error: agent.backend has no script
          1 | agent: { backend: { type: scripted } }
            |                   ^
          help: type scripted needs script: the file that plays the model"#]],
    );
    check(
        "agent: { backend: { type: claude } }",
        expect![[r#"
        conf/team.yaml:1:19: warning: agent.backend has no model; claude-3-sonnet-20240229 is used, which may no longer be offered
          1 | agent: { backend: { type: claude } }
            |                   ^
          help: name a model"#]],
    );
    check(
        "agent: { id: \"a\\nb\", backend: { model: gpt-5 } }",
        expect![[r#"
        conf/team.yaml:1:14: error: agent id "a\nb" contains '\n'; allowed are all characters but control characters
          1 | agent: { id: "a\nb", backend: { model: gpt-5 } }
            |              ^^^^^^
          help: choose a shorter or plainer id"#]],
    );
}

#[test]
fn keys_of_others_are_dropped_with_a_warning() {
    check(
        "agent:
  backend:
    type: gemini
    model: gemini-2.5-pro
    permission_mode: plan
    seed: 1
    min_p: 0.1
    api_version: x
    text: { verbosity: low }
    tools: []
    append_system_prompt: Be brief.
    new_parameter: 3
    base url: x
",
        expect![[r#"
            conf/team.yaml:5:5: warning: agent.backend.permission_mode means nothing to gemini; it is ignored
              5 |     permission_mode: plan
                |     ^^^^^^^^^^^^^^^
              help: it is for claude_code
            conf/team.yaml:7:5: warning: agent.backend.min_p means nothing to gemini; it is ignored
              7 |     min_p: 0.1
                |     ^^^^^
              help: it is for chatcompletion, lmstudio
            conf/team.yaml:8:5: warning: agent.backend.api_version means nothing to gemini; it is ignored
              8 |     api_version: x
                |     ^^^^^^^^^^^
              help: it is for type: azure_openai
            conf/team.yaml:9:5: warning: agent.backend.text means nothing to gemini; it is ignored
              9 |     text: { verbosity: low }
                |     ^^^^
              help: it is for openai, chatcompletion, lmstudio, azure_openai
            conf/team.yaml:10:5: warning: agent.backend.tools is ignored: massgen sets it in every request
              10 |     tools: []
                 |     ^^^^^
              help: remove it
            conf/team.yaml:11:5: warning: agent.backend.append_system_prompt is for claude_code only; it is taken as system_message
              11 |     append_system_prompt: Be brief.
                 |     ^^^^^^^^^^^^^^^^^^^^
              help: write it as system_message of the agent
            conf/team.yaml:12:5: warning: unknown key agent.backend.new_parameter; it is passed to the provider as it is
              12 |     new_parameter: 3
                 |     ^^^^^^^^^^^^^
              help: write it under extra_body if that is meant
            conf/team.yaml:13:5: warning: unknown key agent.backend."base url"; it is ignored
              13 |     base url: x
                 |     ^^^^^^^^
              help: did you mean base_url?"#]],
    );
    check(
        "agent: { backend: { type: chatcompletion, enable_web_search: true, enable_code_interpreter: true } }",
        expect![[r#"
        conf/team.yaml:1:43: warning: agent.backend.enable_web_search means nothing to chatcompletion; it is ignored
          1 | agent: { backend: { type: chatcompletion, enable_web_search: true, enable_code_interpreter: true } }
            |                                           ^^^^^^^^^^^^^^^^^
          help: give the agent an MCP server that searches
        conf/team.yaml:1:68: warning: agent.backend.enable_code_interpreter means nothing to chatcompletion; it is ignored
          1 | agent: { backend: { type: chatcompletion, enable_web_search: true, enable_code_interpreter: true } }
            |                                                                    ^^^^^^^^^^^^^^^^^^^^^^^
          help: give the agent an MCP server that runs code"#]],
    );
    check(
        "agent: { backend: { type: claude_code, temperature: 1, base_url: 'https://x.example', append_system_prompt: a }, system_message: b }",
        expect![[r#"
        conf/team.yaml:1:40: warning: agent.backend.temperature means nothing to claude_code; it is ignored
          1 | agent: { backend: { type: claude_code, temperature: 1, base_url: 'https://x.example', append_system_prompt: a }, system_
            |                                        ^^^^^^^^^^^
          help: it is for openai, claude, gemini, grok, chatcompletion, zai, lmstudio, azure_openai
        conf/team.yaml:1:56: warning: agent.backend.base_url means nothing to claude_code; it is ignored
          1 | agent: { backend: { type: claude_code, temperature: 1, base_url: 'https://x.example', append_system_prompt: a }, system_
            |                                                        ^^^^^^^^
          help: set ANTHROPIC_BASE_URL in the environment
        conf/team.yaml:1:109: warning: agent.backend.append_system_prompt is ignored: system_message is used in its place
          1 | re: 1, base_url: 'https://x.example', append_system_prompt: a }, system_message: b }
            |                                                             ^
          help: remove one"#]],
    );
    check(
        "agent: { backend: { type: grok, model: grok-4, extra_body: { search_parameters: { mode: auto }, stream: false } } }",
        expect![[r#"
        conf/team.yaml:1:62: warning: search_parameters is no longer offered; the provider's own web search is used
          1 | agent: { backend: { type: grok, model: grok-4, extra_body: { search_parameters: { mode: auto }, stream: false } } }
            |                                                              ^^^^^^^^^^^^^^^^^
          help: write enable_web_search: true
        conf/team.yaml:1:97: warning: agent.backend.extra_body.stream is ignored: massgen sets it in every request
          1 | agent: { backend: { type: grok, model: grok-4, extra_body: { search_parameters: { mode: auto }, stream: false } } }
            |                                                                                                 ^^^^^^
          help: remove it"#]],
    );
    check(
        "agent: { backend: { type: claude, model: m, temperature: 1.5, max_tokens: 1, max_output_tokens: 2 } }",
        expect![[r#"
        conf/team.yaml:1:58: warning: claude takes temperatures from 0 to 1; 1 is used
          1 | agent: { backend: { type: claude, model: m, temperature: 1.5, max_tokens: 1, max_output_tokens: 2 } }
            |                                                          ^^^
        conf/team.yaml:1:97: warning: max_tokens and max_output_tokens mean the same; max_tokens is used
          1 | agent: { backend: { type: claude, model: m, temperature: 1.5, max_tokens: 1, max_output_tokens: 2 } }
            |                                                                                                 ^
          help: remove one"#]],
    );
    check(
        "agent: { backend: { type: openai, stop: x, text: low, reasoning: { efort: low }, extra_body: 3 } }",
        expect![[r#"
        conf/team.yaml:1:41: warning: agent.backend.stop means nothing to openai; it is ignored
          1 | agent: { backend: { type: openai, stop: x, text: low, reasoning: { efort: low }, extra_body: 3 } }
            |                                         ^
        conf/team.yaml:1:50: error: agent.backend.text must be a mapping, not text
          1 | agent: { backend: { type: openai, stop: x, text: low, reasoning: { efort: low }, extra_body: 3 } }
            |                                                  ^^^
          help: write text: { verbosity: medium }
        conf/team.yaml:1:68: warning: unknown key agent.backend.reasoning.efort; it is ignored
          1 | agent: { backend: { type: openai, stop: x, text: low, reasoning: { efort: low }, extra_body: 3 } }
            |                                                                    ^^^^^
          help: did you mean effort?
        conf/team.yaml:1:94: error: agent.backend.extra_body must be a mapping, not a number
          1 | agent: { backend: { type: openai, stop: x, text: low, reasoning: { efort: low }, extra_body: 3 } }
            |                                                                                              ^"#]],
    );
}

#[test]
fn references_must_lead_somewhere() {
    check(
        "agent:
  system_message: Use ${name} and ${user.name} and ${
  backend:
    model: ${NOPE}
    base_url: https://${SET}.example/${EMPTY}
    api_key: ${keyring:x}
    provider_name: ${file:nowhere}
    cwd: ${not a name}
    mcp_servers: { s: { command: run, args: [\"--token\", \"${SET_TOKEN:-x}\", \"${\"] } }
",
        expect![[r#"
            conf/team.yaml:2:23: warning: the environment variable name is not set; the text is left as it is
              2 |   system_message: Use ${name} and ${user.name} and ${
                |                       ^^^^^^^
              help: set it, or give a default: ${name:-default}
            conf/team.yaml:2:23: warning: "${" has no "}"; the text is left as it is
              2 |   system_message: Use ${name} and ${user.name} and ${
                |                       ^^
              help: close it, or write $${ for a literal ${
            conf/team.yaml:2:35: warning: "${user.name}" is no reference; the text is left as it is
              2 |   system_message: Use ${name} and ${user.name} and ${
                |                                   ^^^^^^^^^^^^
              help: write ${NAME}, ${NAME:-default}, ${keyring:NAME}, ${file:PATH}, ${cwd} or ${config_dir}; a literal ${ is $${
            conf/team.yaml:4:12: error: the environment variable NOPE is not set
              4 |     model: ${NOPE}
                |            ^^^^^^^
              help: set it, or give a default: ${NOPE:-default}
            conf/team.yaml:5:38: error: the environment variable EMPTY is empty
              5 |     base_url: https://${SET}.example/${EMPTY}
                |                                      ^^^^^^^^
              help: set it, or give a default: ${EMPTY:-default}
            conf/team.yaml:6:14: error: ${keyring:...} cannot be looked up here
              6 |     api_key: ${keyring:x}
                |              ^^^^^^^^^^^^
              help: put the value into an environment variable and write ${NAME}, or into a file and write ${file:PATH}
            conf/team.yaml:7:20: error: the file conf/nowhere cannot be read: there is no such file
              7 |     provider_name: ${file:nowhere}
                |                    ^^^^^^^^^^^^^^^
              help: check the path; it starts from the folder of the configuration file
            conf/team.yaml:8:10: error: "${not a name}" is no reference
              8 |     cwd: ${not a name}
                |          ^^^^^^^^^^^^^
              help: write ${NAME}, ${NAME:-default}, ${keyring:NAME}, ${file:PATH}, ${cwd} or ${config_dir}; a literal ${ is $${
            conf/team.yaml:9:58: warning: agent.backend.mcp_servers.s.args[1] puts SET_TOKEN on a command line, where every process of this machine can read it
              9 |     mcp_servers: { s: { command: run, args: ["--token", "${SET_TOKEN:***
                |                                                          ^^^^^^^^^^^^^^^
              help: give it to the server in env, if it takes it there
            conf/team.yaml:9:77: error: "${" has no "}"
              9 |     mcp_servers: { s: { command: run, args: ["--token", "${SET_TOKEN:***
                |                                                                         ^
              help: close it, or write $${ for a literal ${"#]],
    );
}

#[test]
fn servers_must_be_reachable() {
    check(
        "agent: { backend: { model: gpt-5 } }
mcp_servers:
  none: {}
  both: { command: a, url: 'https://x.example' }
  odd: { type: stdin, command: a }
  old: { type: sse, url: 'https://x.example/sse' }
  nourl: { type: http }
  badurl: { url: 'x y' }
  ftp: { url: 'ftp://x.example' }
  user: { url: 'https://me:hush@x.example' }
  nocommand: { type: stdio, args: [] }
  useless: { command: a, headers: { X: y }, http_read_timeout: 3 }
  time: { command: a, timeout: soon, startup_timeout: 0 }
  unknown: { command: a, comand: b, foo: 1 }
  effects: { command: a, effects: later }
  glob: { command: a, allowed_tools: ['[x'], effects: { '[y': planned } }
  name: { command: a, name: other }
  level: { command: a, security: { level: permisive, env: { mode: x } } }
  env: { command: a, env: { 'A=B': c, D: [1] } }
  text: just text
",
        expect![[r#"
            conf/team.yaml:3:3: error: the server none has neither command nor url
              3 |   none: {}
                |   ^^^^
              help: add command: (a program) or url: (a remote server)
            conf/team.yaml:4:28: warning: the server both has both command and url; it is started by command
              4 |   both: { command: a, url: 'https://x.example' }
                |                            ^^^^^^^^^^^^^^^^^^^
              help: remove one, or set type
            conf/team.yaml:5:16: error: mcp_servers.odd.type cannot be "stdin"
              5 |   odd: { type: stdin, command: a }
                |                ^^^^^
              help: did you mean stdio?
            conf/team.yaml:6:16: warning: the sse transport is deprecated
              6 |   old: { type: sse, url: 'https://x.example/sse' }
                |                ^^^
              help: use streamable-http if the server offers it
            conf/team.yaml:7:3: error: the server nourl has no url
              7 |   nourl: { type: http }
                |   ^^^^^
              help: type http needs url
            conf/team.yaml:8:18: error: this is not a url: relative URL without a base
              8 |   badurl: { url: 'x y' }
                |                  ^^^^^
              help: write it as https://host/path
            conf/team.yaml:9:15: error: the url's scheme is ftp, not http or https
              9 |   ftp: { url: 'ftp://x.example' }
                |               ^^^^^^^^^^^^^^^^^
              help: a remote server is reached over http or https
            conf/team.yaml:10:16: error: the url holds a user or a password
              10 |   user: { url: 'https://***@x.example' }
                 |                ^^^^^^^^^^^^^^^^^^^^^^^^^
              help: send it in headers: { Authorization: "..." }
            conf/team.yaml:11:3: error: the server nocommand has no command
              11 |   nocommand: { type: stdio, args: [] }
                 |   ^^^^^^^^^
              help: type stdio needs command: the program that is the server
            conf/team.yaml:12:35: warning: headers has no effect: the server useless is reached by a child process (stdio)
              12 |   useless: { command: a, headers: ***
                 |                                   ^
            conf/team.yaml:12:64: warning: http_read_timeout has no effect: the server useless is reached by a child process (stdio)
              12 |   useless: { command: a, headers: ***
                 |                                      ^
            conf/team.yaml:13:32: error: mcp_servers.time.timeout must be a time such as 30 (seconds), "90s", "2m" or "500ms", longer than nothing and at most a day, not "soon"
              13 |   time: { command: a, timeout: soon, startup_timeout: 0 }
                 |                                ^^^^
            conf/team.yaml:13:55: error: mcp_servers.time.startup_timeout must be a time such as 30 (seconds), "90s", "2m" or "500ms", longer than nothing and at most a day, not 0
              13 |   time: { command: a, timeout: soon, startup_timeout: 0 }
                 |                                                       ^
            conf/team.yaml:14:26: warning: unknown key mcp_servers.unknown.comand; it is ignored
              14 |   unknown: { command: a, comand: b, foo: 1 }
                 |                          ^^^^^^
              help: did you mean command?
            conf/team.yaml:14:37: warning: unknown key mcp_servers.unknown.foo; it is ignored
              14 |   unknown: { command: a, comand: b, foo: 1 }
                 |                                     ^^^
            conf/team.yaml:15:35: error: mcp_servers.effects.effects cannot be "later"
              15 |   effects: { command: a, effects: later }
                 |                                   ^^^^^
              help: it is one of planned, immediate
            conf/team.yaml:16:39: error: "[x" is not a pattern: error parsing glob '[x': unclosed character class; missing ']'
              16 |   glob: { command: a, allowed_tools: ['[x'], effects: { '[y': planned } }
                 |                                       ^^^^
              help: close every [ and {
            conf/team.yaml:16:57: error: "[y" is not a pattern: error parsing glob '[y': unclosed character class; missing ']'
              16 |   glob: { command: a, allowed_tools: ['[x'], effects: { '[y': planned } }
                 |                                                         ^^^^
              help: close every [ and {
            conf/team.yaml:17:9: warning: the server is called "name", not "other"
              17 |   name: { command: a, name: other }
                 |         ^
              help: remove name: the key is the name
            conf/team.yaml:18:43: error: mcp_servers.level.security.level cannot be "permisive"
              18 |   level: { command: a, security: { level: permisive, env: ***
                 |                                           ^^^^^^^^^
              help: did you mean permissive?
            conf/team.yaml:18:67: error: mcp_servers.level.security.env.mode cannot be "x"
              18 |   level: { command: a, security: { level: permisive, env: ***
                 |                                                              ^
              help: it is one of denylist, allowlist
            conf/team.yaml:19:42: error: mcp_servers.env.env.D must be text, not a list
              19 |   env: ***
                 |           ^
              help: write it as one text, in quotes
            conf/team.yaml:20:9: error: mcp_servers.text must be a mapping, not text
              20 |   text: just text
                 |         ^^^^^^^^^
              help: write it as a mapping with keys such as name, type, command"#]],
    );
    check(
        "agent: { backend: { model: gpt-5 } }\nmcp_servers: [{ command: a }, { name: x, command: a }, { name: x, command: b }]",
        expect![[r#"
        conf/team.yaml:2:15: error: mcp_servers[0] has no name
          2 | mcp_servers: [{ command: a }, { name: x, command: a }, { name: x, command: b }]
            |               ^
          help: in the list form every server needs name
        conf/team.yaml:2:64: error: there are two servers called x
          2 | mcp_servers: [{ command: a }, { name: x, command: a }, { name: x, command: b }]
            |                                                                ^
          help: rename one; the other is in line 2"#]],
    );
    check(
        "agent: { backend: { model: gpt-5 } }\nmcp_servers: { x: { command: a }, x: { command: b } }",
        expect![[r#"
        conf/team.yaml:2:35: error: there are two servers called x
          2 | mcp_servers: { x: { command: a }, x: { command: b } }
            |                                   ^
          help: rename one; the other is in line 2"#]],
    );
    check(
        "agent: { backend: { model: gpt-5 } }\nmcp_servers: text\nmcp_config: nowhere.json",
        expect![[r#"
        conf/team.yaml:2:14: error: mcp_servers must be a mapping of names to servers, or a list of servers, not text
          2 | mcp_servers: text
            |              ^^^^
        conf/team.yaml:3:13: error: conf/nowhere.json cannot be read: there is no such file
          3 | mcp_config: nowhere.json
            |             ^^^^^^^^^^^^
          help: the path starts from the folder of the configuration file"#]],
    );
    check(
        "agent: { backend: { model: gpt-5 } }\nmcpServers: {}",
        expect![[r#"
        conf/team.yaml:2:1: warning: unknown key mcpServers; it is ignored
          2 | mcpServers: {}
            | ^^^^^^^^^^
          help: did you mean mcp_servers? A whole mcpServers file is named by mcp_config"#]],
    );
}

#[test]
fn values_have_kinds_and_ranges() {
    check(
        "agent:
  backend: { model: gpt-5, temperature: hot, top_p: 2, max_tokens: 1.5, allowed_tools: { a: b } }
  permissions: [{ tool: x, decision: maybe }, { tool: x }, { decision: ask }, { tool: '[', decision: ask }, x]
ui: { display_type: [rich], logging_enabled: perhaps, type: simple, dispaly_type: x }
timeout_settings: { orchestrator_timeout_seconds: -1, agent_timeout: 3 }
limits: { max_cost_usd: .inf, max_rounds: 0 }
orchestrator: { coordination: { enable_planning_mode: true }, snapshot_storage: [a] }
display: { type: simple }
",
        expect![[r#"
            conf/team.yaml:2:41: error: agent.backend.temperature must be a number from 0 to 2, not "hot"
              2 |   backend: { model: gpt-5, temperature: hot, top_p: 2, max_tokens: 1.5, allowed_tools: { a: b } }
                |                                         ^^^
            conf/team.yaml:2:53: error: agent.backend.top_p must be a number from 0 to 1, not 2
              2 |   backend: { model: gpt-5, temperature: hot, top_p: 2, max_tokens: 1.5, allowed_tools: { a: b } }
                |                                                     ^
            conf/team.yaml:2:68: error: agent.backend.max_tokens must be a whole number from 1 to 4294967295, not 1.5
              2 |   backend: { model: gpt-5, temperature: hot, top_p: 2, max_tokens: 1.5, allowed_tools: { a: b } }
                |                                                                    ^^^
            conf/team.yaml:2:88: error: agent.backend.allowed_tools must be a list of texts, not a mapping
              2 |   backend: { model: gpt-5, temperature: hot, top_p: 2, max_tokens: 1.5, allowed_tools: { a: b } }
                |                                                                                        ^
            conf/team.yaml:3:38: error: agent.permissions[0].decision cannot be "maybe"
              3 |   permissions: [{ tool: x, decision: maybe }, { tool: x }, { decision: ask }, { tool: '[', decision: ask }, x]
                |                                      ^^^^^
              help: it is one of allow, ask, deny
            conf/team.yaml:3:47: error: agent.permissions[1] has no decision
              3 |   permissions: [{ tool: x, decision: maybe }, { tool: x }, { decision: ask }, { tool: '[', decision: ask }, x]
                |                                               ^
              help: decision is allow, ask or deny
            conf/team.yaml:3:60: error: agent.permissions[2] has no tool
              3 |   permissions: [{ tool: x, decision: maybe }, { tool: x }, { decision: ask }, { tool: '[', decision: ask }, x]
                |                                                            ^
              help: name the tools by a pattern, such as mcp__tracker__*
            conf/team.yaml:3:87: error: "[" is not a pattern: error parsing glob '[': unclosed character class; missing ']'
              3 |   permissions: [{ tool: x, decision: maybe }, { tool: x }, { decision: ask }, { tool: '[', decision: ask }, x]
                |                                                                                       ^^^
              help: close every [ and {
            conf/team.yaml:3:109: error: agent.permissions[4] must be a mapping, not text
              3 |   permissions: [{ tool: x, decision: maybe }, { tool: x }, { decision: ask }, { tool: '[', decision: ask }, x]
                |                                                                                                             ^
              help: write it as a mapping with keys such as tool, decision, when
            conf/team.yaml:4:21: error: ui.display_type must be one of rich_terminal, terminal, simple, not a list
              4 | ui: { display_type: [rich], logging_enabled: perhaps, type: simple, dispaly_type: x }
                |                     ^
            conf/team.yaml:4:46: error: ui.logging_enabled must be true or false, not "perhaps"
              4 | ui: { display_type: [rich], logging_enabled: perhaps, type: simple, dispaly_type: x }
                |                                              ^^^^^^^
            conf/team.yaml:4:55: warning: ui.type never had an effect: the key is display_type
              4 | ui: { display_type: [rich], logging_enabled: perhaps, type: simple, dispaly_type: x }
                |                                                       ^^^^
            conf/team.yaml:4:69: warning: unknown key ui.dispaly_type; it is ignored
              4 | ui: { display_type: [rich], logging_enabled: perhaps, type: simple, dispaly_type: x }
                |                                                                     ^^^^^^^^^^^^
              help: did you mean display_type?
            conf/team.yaml:5:51: error: timeout_settings.orchestrator_timeout_seconds must be a time such as 30 (seconds), "90s", "2m" or "500ms", longer than nothing and at most a day, not -1
              5 | timeout_settings: { orchestrator_timeout_seconds: -1, agent_timeout: 3 }
                |                                                   ^^
            conf/team.yaml:5:55: warning: unknown key timeout_settings.agent_timeout; it is ignored
              5 | timeout_settings: { orchestrator_timeout_seconds: -1, agent_timeout: 3 }
                |                                                       ^^^^^^^^^^^^^
              help: known keys here: orchestrator_timeout_seconds
            conf/team.yaml:6:25: error: limits.max_cost_usd must be a number from 0 to 1000000000, not ".inf"
              6 | limits: { max_cost_usd: .inf, max_rounds: 0 }
                |                         ^^^^
            conf/team.yaml:6:43: error: limits.max_rounds must be a whole number from 1 to 4294967295, not 0
              6 | limits: { max_cost_usd: .inf, max_rounds: 0 }
                |                                           ^
            conf/team.yaml:7:17: warning: coordination has no effect: calls that change the world are planned until an answer has won, unless a server says effects: immediate
              7 | orchestrator: { coordination: { enable_planning_mode: true }, snapshot_storage: [a] }
                |                 ^^^^^^^^^^^^
            conf/team.yaml:7:81: error: orchestrator.snapshot_storage must be text, not a list
              7 | orchestrator: { coordination: { enable_planning_mode: true }, snapshot_storage: [a] }
                |                                                                                 ^
            conf/team.yaml:8:1: warning: unknown key display; it is ignored
              8 | display: { type: simple }
                | ^^^^^^^
              help: did you mean ui?"#]],
    );
    check(
        "agent: { id: a, backend: { model: gpt-5 }, id: b }\nui: 3",
        expect![[r#"
        conf/team.yaml:1:44: warning: agent.id is given twice; the later value is used
          1 | agent: { id: a, backend: { model: gpt-5 }, id: b }
            |                                            ^^
          help: remove one; the other is in line 1
        conf/team.yaml:2:5: error: ui must be a mapping, not a number
          2 | ui: 3
            |     ^
          help: write it as a mapping with keys such as display_type, logging_enabled, use_orchestrator_for_single_agent"#]],
    );
}

#[test]
fn no_message_shows_a_secret() {
    for text in [
        "agent: { backend: { type: opnai, api_key: sk-hush-1 } }",
        "agent: { backend: { type: '${SOME_KEY}' } }",
        "agent: { backend: { model: '${SOME_KEY}' } }",
        "agent: { backend: { model: gpt-5, temperature: '${SOME_KEY}', base_url: '${SOME_KEY}' } }",
        "agent: { backend: { model: gpt-5, api_key: opaque-hush, temperature: opaque-hush } }",
        "agent:\n  backend:\n    type: openai\n    api_key: [sk-hush-1]\n",
        "agent:\n  backend:\n    type: openai\n    api_key: sk-hush-1: x\n",
        "agent: { backend: { model: gpt-5 } }\nmcp_servers:\n  s:\n    command: x\n    env: { TOKEN: [hush], FOO: {a: hush} }\n    headers: [hush]\n",
        "agent: { backend: { model: gpt-5 } }\nmcp_servers:\n  s: { url: 'https://u:hush@h.example', headers: { A: hush } }\n",
        "agent: { backend: { model: gpt-5, base_url: 'ftp://h.example/?token=hush' } }",
        "agent: { backend: { model: gpt-5, api_key: \"hush\\0\" } }",
        "mcp_servers:\n  s:\n    env:\n      SOME_VALUE: hush\n     bad: indent\n",
    ] {
        let loaded = load_text(text, &[("SOME_KEY", "hush-from-outside")]);
        assert!(loaded.config.is_none(), "{text}");
        let shown = format!(
            "{}\n{:?}\n{}",
            loaded.diagnostics,
            loaded.diagnostics,
            serde_json::to_string(&loaded.diagnostics).unwrap()
        );
        assert!(!shown.contains("hush"), "{text}\n{shown}");
    }
}

#[test]
fn a_file_that_is_not_there_has_neighbours() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["team.yaml", "other.yml", "note.txt"] {
        std::fs::write(folder.path().join(name), "agent: { backend: { model: gpt-5 } }").unwrap();
    }
    let shown = |name: &str| {
        let loaded = load(&folder.path().join(name), &options(&[]));
        loaded.diagnostics.to_string().replace(&folder.path().display().to_string(), "DIR")
    };
    expect![[r#"
        DIR/taem.yaml: error: there is no such file
          help: did you mean DIR/team.yaml?"#]]
    .assert_eq(&shown("taem.yaml"));
    expect![[r#"
        DIR/team.json: error: there is no such file
          help: did you mean DIR/team.yaml?"#]]
    .assert_eq(&shown("team.json"));
    expect![[r#"
        DIR/zzzzzzzz.yaml: error: there is no such file
          help: the folder DIR holds other.yml, team.yaml"#]]
    .assert_eq(&shown("zzzzzzzz.yaml"));
    expect![[r#"
        DIR/nowhere/x.yaml: error: there is no such file
          help: there is no folder DIR/nowhere either"#]]
    .assert_eq(&shown("nowhere/x.yaml"));
    expect![[r#"
        DIR/note.txt: error: a configuration is a .yaml, .yml or .json file
          help: name it .yaml, .yml or .json: the extension decides how it is read"#]]
    .assert_eq(&shown("note.txt"));
    expect![[r#"
        DIR/: error: a configuration is a .yaml, .yml or .json file
          help: name it .yaml, .yml or .json: the extension decides how it is read"#]]
    .assert_eq(&shown(""));
    std::fs::create_dir(folder.path().join("dir.yaml")).unwrap();
    expect![[r#"
        DIR/dir.yaml: error: the file cannot be read: it is not a regular file
          help: check its permissions and that it is UTF-8 text"#]]
    .assert_eq(&shown("dir.yaml"));
    std::fs::write(folder.path().join("latin.yaml"), b"agent: \xff").unwrap();
    expect![[r#"
        DIR/latin.yaml: error: the file cannot be read: it is not UTF-8 text
          help: check its permissions and that it is UTF-8 text"#]]
    .assert_eq(&shown("latin.yaml"));
    assert_eq!(shown("team.yaml"), "");
    assert!(load(Path::new(""), &options(&[])).config.is_none());
}

#[test]
fn a_check_is_json_too() {
    let json = |text: &str| serde_json::to_string_pretty(&load_text(text, &[]).to_json()).unwrap();
    expect![[r#"
        {
          "ok": true,
          "errors": 0,
          "warnings": 1,
          "diagnostics": [
            {
              "severity": "warning",
              "file": "conf/team.yaml",
              "line": 1,
              "column": 35,
              "key": "agent.backend.modl",
              "message": "unknown key agent.backend.modl; it is ignored",
              "help": "did you mean model?"
            }
          ],
          "summary": {
            "agents": [
              {
                "id": "agent1",
                "type": "openai",
                "model": "gpt-5",
                "mcp_servers": []
              }
            ],
            "mcp_servers": []
          }
        }"#]]
    .assert_eq(&json("agent: { backend: { model: gpt-5, modl: x } }"));
    expect![[r#"
        {
          "ok": false,
          "errors": 1,
          "warnings": 0,
          "diagnostics": [
            {
              "severity": "error",
              "file": "conf/team.yaml",
              "line": 1,
              "column": 27,
              "key": "agent.backend.type",
              "message": "there is no backend type \"x\"",
              "help": "it is one of openai, claude, gemini, grok, chatcompletion, zai, lmstudio, claude_code, azure_openai, scripted"
            }
          ],
          "summary": null
        }"#]].assert_eq(&json("agent: { backend: { type: x } }"));
}

#[test]
fn rules_that_cannot_be_meant_are_none() {
    check(
        "agent: { backend: { model: gpt-5 } }
permissions:
  - { tool: mcp__a__*, decision: allow, when: { path: '/srv/[' } }
  - { tool: mcp__a__*, decision: allow, nature: writes }
  - { tool: mcp__a__*, decision: allow, when: [path] }
labels:
  - { tool: mcp__mail__*, labels: [private, public_sink] }
  - { labels: [private_data] }
  - { tool: x }
",
        expect![[r#"
            conf/team.yaml:3:47: error: "/srv/[" is not a pattern: error parsing glob '/srv/[': unclosed character class; missing ']'
              3 |   - { tool: mcp__a__*, decision: allow, when: { path: '/srv/[' } }
                |                                               ^
              help: close every [ and {
            conf/team.yaml:4:49: error: permissions[1].nature cannot be "writes"
              4 |   - { tool: mcp__a__*, decision: allow, nature: writes }
                |                                                 ^^^^^^
              help: it is one of reads, changes, destroys
            conf/team.yaml:5:47: error: permissions[2].when must be a mapping of names to texts, not a list
              5 |   - { tool: mcp__a__*, decision: allow, when: [path] }
                |                                               ^
            conf/team.yaml:7:35: error: "private" is not a label
              7 |   - { tool: mcp__mail__*, labels: [private, public_sink] }
                |                                   ^
              help: the labels are private_data, untrusted_content, public_sink
            conf/team.yaml:8:5: error: labels[1] has no tool
              8 |   - { labels: [private_data] }
                |     ^
              help: name the tools by a pattern, such as mcp__mail__*
            conf/team.yaml:9:5: error: labels[2] has no labels
              9 |   - { tool: x }
                |     ^
              help: add private_data, untrusted_content, public_sink"#]],
    );
}
