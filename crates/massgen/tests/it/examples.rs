//! Every configuration under `examples/` is read without a word of complaint, and a team can be made of it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use massgen::Context;
use massgen::config::{BackendKind, Config, LoadOptions, McpServerConfig, from_yaml_str, load};
use massgen::core::Environment;
use massgen::transport::Launcher;
use serde_json::Value;

/// The variables that the examples name, and the providers' keys. There is no `PATH`: no server can be found.
const VARIABLES: [&str; 19] = [
    "ANTHROPIC_API_KEY",
    "AZURE_OPENAI_API_KEY",
    "BRAVE_API_KEY",
    "DISCORD_TOKEN",
    "GEMINI_API_KEY",
    "GROQ_API_KEY",
    "HOME",
    "NOTES_DIR",
    "OPENAI_API_KEY",
    "OPENROUTER_API_KEY",
    "SEMANTIC_SCHOLAR_API_KEY",
    "TRACKER_TOKEN",
    "TWITTER_ACCESS_TOKEN",
    "TWITTER_ACCESS_TOKEN_SECRET",
    "TWITTER_API_KEY",
    "TWITTER_API_SECRET",
    "TWITTER_BEARER_TOKEN",
    "XAI_API_KEY",
    "ZAI_API_KEY",
];

fn environment() -> Environment {
    VARIABLES.map(|name| (name, "value-of-nobody")).into_iter().collect()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").canonicalize().unwrap()
}

/// All YAML and JSON files below a folder.
fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let extension = path.extension().and_then(|extension| extension.to_str());
        if path.is_dir() {
            files(&path, found);
        } else if matches!(extension, Some("yaml" | "yml" | "json")) {
            found.push(path);
        }
    }
}

fn plain(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).unwrap();
    from_yaml_str(&text, &path.display().to_string()).unwrap_or_else(|error| panic!("{error}"))
}

/// Whether a file says that it is a configuration. What else is there are scripts, and lists of servers.
fn is_configuration(value: &Value) -> bool {
    value["agents"].is_array() || value["agent"].is_object()
}

fn read(path: &Path) -> Config {
    let options = LoadOptions { environment: environment(), cwd: root(), ..LoadOptions::default() };
    let loaded = load(path, &options);
    assert!(loaded.diagnostics.is_empty(), "{}", loaded.diagnostics);
    loaded.config.unwrap()
}

/// The files that a configuration names.
fn companions(path: &Path, config: &Config, value: &Value, found: &mut BTreeSet<PathBuf>) {
    let folder = path.parent().unwrap();
    let scripts = config.agents.iter().filter_map(|agent| agent.backend.script.clone());
    let backends = config.agents.iter().enumerate().map(|(at, _)| &value["agents"][at]["backend"]);
    let lists = backends.chain([value, &value["agent"]["backend"]]).map(|part| &part["mcp_config"]);
    let lists = lists.flat_map(|list| match list {
        Value::Array(names) => names.iter().collect(),
        name => vec![name],
    });
    let lists = lists.filter_map(|name| Some(folder.join(name.as_str()?)));
    found.extend(scripts.map(|path| root().join(path)).chain(lists).map(|path| path.canonicalize().unwrap()));
}

#[test]
fn every_example_is_read_and_its_team_assembles() {
    let mut all = Vec::new();
    files(&root(), &mut all);
    let (configurations, others): (Vec<_>, Vec<_>) =
        all.into_iter().partition(|path| is_configuration(&plain(path)));
    assert!(configurations.len() >= 20, "{configurations:?}");
    // What is begun here is never waited for, so that no server is started and nobody is called.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    // Sandboxes are made by the command.
    let launcher = Some(Launcher { program: "/usr/bin/massgen".into(), args: vec!["__launch".to_owned()] });
    let mut named = BTreeSet::new();
    for path in configurations {
        let config = read(&path);
        companions(&path, &config, &plain(&path), &mut named);
        let team = runtime.block_on(async {
            let launcher = launcher.clone();
            let context = Context { environment: environment(), launcher, ..Context::default() };
            massgen::assemble(&config, context).map(drop)
        });
        team.unwrap_or_else(|error| panic!("{}: {error:?}", path.display()));
    }
    // A script is read with the agents it plays; a file that nobody names is read by nobody.
    for path in others {
        assert!(named.contains(&path), "no example uses {}", path.display());
    }
}

#[test]
fn the_examples_of_one_server_differ_in_their_models_only() {
    let kinds = ["chatcompletion", "claude", "gemini", "grok", "openai", "scripted"];
    for folder in ["discord", "paper-search", "twitter"] {
        let mut found = BTreeSet::new();
        let mut servers: Option<Vec<McpServerConfig>> = None;
        for entry in std::fs::read_dir(root().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|extension| extension != "yaml")
                || !is_configuration(&plain(&path))
            {
                continue;
            }
            let config = read(&path);
            found.extend(config.agents.iter().map(|agent| agent.backend.kind));
            let agents = config.agents.iter().flat_map(|agent| agent.backend.mcp_servers.clone());
            // Where it stands in its file makes no difference.
            let here = config.mcp_servers.iter().cloned().chain(agents);
            let here: Vec<_> = here.map(|server| McpServerConfig { origin: None, ..server }).collect();
            assert_eq!(here.len(), 1, "{}", path.display());
            assert_eq!(servers.get_or_insert_with(|| here.clone()), &here, "{}", path.display());
        }
        let mut found: Vec<_> = found.into_iter().map(BackendKind::as_str).collect();
        found.sort_unstable();
        assert_eq!(found, kinds, "{folder}");
    }
}
