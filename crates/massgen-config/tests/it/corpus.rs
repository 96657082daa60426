//! The 37 files of v0.0.13 load unchanged.

use std::path::PathBuf;

use massgen_config::{BackendKind, Config, DisplayType, McpTransport, Severity, load};

use crate::expected::EXPECTED;
use crate::options;

/// The files stand beside the repository, if anywhere. `None`, loudly, where they do not.
fn corpus() -> Option<PathBuf> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let found =
        root.ancestors().map(|folder| folder.join("shared/corpora/configs-v0.0.13")).find(|p| p.is_dir());
    if found.is_none() {
        println!("SKIPPED: shared/corpora/configs-v0.0.13 is not beside the repository");
    }
    found
}

fn loaded(name: &str) -> Option<Config> {
    let path = corpus()?.join(name);
    let loaded = load(&path, &options(&[]));
    assert!(!loaded.diagnostics.has_errors(), "{}", loaded.diagnostics);
    loaded.config
}

#[test]
fn all_files_have_the_agents_types_and_models_they_had() {
    let Some(corpus) = corpus() else { return };
    let mut agents = 0;
    for (file, expected, messages) in EXPECTED {
        let loaded = load(&corpus.join(file), &options(&[]));
        let config = loaded.config.unwrap_or_else(|| panic!("{file}: {}", loaded.diagnostics));
        assert_eq!(config.agents.len(), expected.len(), "{file}");
        for (i, (agent, &(id, kind, model))) in config.agents.iter().zip(expected).enumerate() {
            assert_eq!(agent.id.as_str(), id, "{file}");
            assert_eq!(agent.backend.kind.as_str(), kind, "{file} {id}");
            assert_eq!(agent.backend.model.as_deref().unwrap_or_default(), model, "{file} {id}");
            assert_eq!(agent.system_message.is_some(), messages.contains(&(i + 1)), "{file} {id}");
            assert!(agent.backend.extra.is_empty(), "{file} {id}: {:?}", agent.backend.extra);
            agents += 1;
        }
    }
    assert_eq!(agents, 81);
    let files = std::fs::read_dir(corpus).unwrap().filter(|entry| {
        entry
            .as_ref()
            .is_ok_and(|entry| entry.path().extension().is_some_and(|extension| extension == "yaml"))
    });
    assert_eq!(files.count(), EXPECTED.len(), "a file is not in the table");
}

#[test]
fn only_what_never_had_an_effect_is_warned_about() {
    let Some(corpus) = corpus() else { return };
    let mut warnings = Vec::new();
    for (file, ..) in EXPECTED {
        let loaded = load(&corpus.join(file), &options(&[]));
        for diagnostic in &loaded.diagnostics {
            assert_eq!(diagnostic.severity, Severity::Warning);
            warnings.push(format!("{file}:{} {}\n", diagnostic.line, diagnostic.message));
        }
    }
    expect_test::expect![[r#"
        claude_code_context_sharing.yaml:67 ui.type never had an effect: the key is display_type
        claude_code_flash2.5.yaml:42 ui.type never had an effect: the key is display_type
        claude_code_flash2.5_gptoss.yaml:48 ui.type never had an effect: the key is display_type
        claude_code_single.yaml:39 ui.type never had an effect: the key is display_type
        single_flash2.5.yaml:41 unknown key display; it is ignored
    "#]]
    .assert_eq(&warnings.concat());
}

#[test]
fn what_loads_without_a_warning_fits_the_json_schema() {
    let Some(corpus) = corpus() else { return };
    let validator = jsonschema::validator_for(&massgen_config::json_schema()).unwrap();
    for (file, ..) in EXPECTED {
        let path = corpus.join(file);
        let text = std::fs::read_to_string(&path).unwrap();
        let value = massgen_config::from_yaml_str::<serde_json::Value>(&text, file).unwrap();
        let clean = load(&path, &options(&[])).diagnostics.is_empty();
        assert_eq!(validator.is_valid(&value), clean, "{file}");
    }
}

#[test]
fn options_arrive_where_they_are_used() {
    let Some(config) = loaded("creative_team.yaml") else { return };
    let params: Vec<_> = config.agents.iter().map(|agent| &agent.backend.params).collect();
    assert_eq!(params[0].verbosity.as_deref(), Some("high"));
    assert_eq!(params[0].reasoning_effort.as_deref(), Some("high"));
    assert_eq!(params[0].reasoning_summary.as_deref(), Some("auto"));
    assert_eq!(params[2].temperature, Some(0.8));
    assert_eq!(params[2].max_tokens, Some(3000));
    assert!(config.agents[0].backend.enable_web_search && config.agents[0].backend.enable_code_execution);
    assert_eq!(config.ui.display, DisplayType::RichTerminal);

    let config = loaded("fast_timeout_example.yaml").unwrap();
    assert_eq!(config.timeouts.orchestrator.as_secs(), 30);

    let config = loaded("claude_code_context_sharing.yaml").unwrap();
    assert_eq!(config.orchestrator.snapshot_storage.unwrap().to_str(), Some("claude_code_snapshots"));
    assert_eq!(config.agents[0].backend.cwd.as_ref().unwrap().to_str(), Some("claude_code_workspace1"));

    let config = loaded("claude_code_twitter_mcp_example.yaml").unwrap();
    let backend = &config.agents[0].backend;
    assert_eq!(backend.kind, BackendKind::ClaudeCode);
    assert_eq!(backend.allowed_tools.as_ref().unwrap().len(), 5);
    let McpTransport::Stdio { command, args, env, .. } = &backend.mcp_servers[0].transport else { panic!() };
    assert_eq!((command.as_str(), args.join(" ").as_str()), ("npx", "-y @enescinar/twitter-mcp"));
    assert_eq!(
        env.keys().map(String::as_str).collect::<Vec<_>>(),
        ["ACCESS_TOKEN", "ACCESS_TOKEN_SECRET", "API_KEY", "API_SECRET_KEY"]
    );

    let config = loaded("zai_coding_team.yaml").unwrap();
    assert_eq!(config.agents[3].backend.base_url.as_deref(), Some("https://api.z.ai/api/paas/v4/"));
}
