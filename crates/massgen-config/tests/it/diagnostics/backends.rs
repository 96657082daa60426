//! What is said of wrong backends.

use expect_test::expect;

use super::check;

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
