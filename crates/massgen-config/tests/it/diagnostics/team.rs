//! What is said of wrong agents, references, kinds of values and rules.

use expect_test::expect;

use super::check;

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
              help: set it in the environment or in .env, or give a default: ${name:-default}
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
              help: set it in the environment or in .env, or give a default: ${NOPE:-default}
            conf/team.yaml:5:38: error: the environment variable EMPTY is empty
              5 |     base_url: https://${SET}.example/${EMPTY}
                |                                      ^^^^^^^^
              help: set it in the environment or in .env, or give a default: ${EMPTY:-default}
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
                |                                                                      ^^^
              help: close it, or write $${ for a literal ${"#]],
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
