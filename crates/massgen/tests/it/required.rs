//! A server that a run cannot do without.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use massgen::Context;
use massgen::config::{Disk, Format, LoadOptions, load_str};
use massgen::orchestrator::{Emitter, EventKind, RunOutcome, Task};
use tokio_util::sync::CancellationToken;

const CONFIGURATION: &str = "
agents:
  - { id: scout, backend: { type: scripted, script: script.yaml } }
mcp_servers:
  papers: { command: no-such-program-anywhere, required: REQUIRED, security: { level: permissive } }
";
const SCRIPT: &str = "
agents:
  scout:
    - text: forty-two
";

async fn run(required: &str) -> (RunOutcome, Vec<EventKind>) {
    let options = LoadOptions { cwd: PathBuf::from("/"), ..LoadOptions::default() };
    let text = CONFIGURATION.replace("REQUIRED", required);
    let loaded = load_str(&text, Path::new("/team.yaml"), Format::Yaml, &options, &Disk);
    let config = loaded.config.unwrap_or_else(|| panic!("{}", loaded.diagnostics));
    let script = config.agents[0].backend.script.clone().unwrap();
    let scripts = [(script, SCRIPT.to_owned())].into();
    let team = massgen::assemble(&config, Context { scripts, ..Context::default() }).unwrap();
    let told = Arc::new(Mutex::new(Vec::new()));
    let emitter = Emitter::new({
        let told = told.clone();
        move |event| told.lock().unwrap().push(event.kind.clone())
    });
    let result = team.ask(&Task::new("What is it?"), &emitter, &CancellationToken::new()).await;
    team.close().await;
    let told = told.lock().unwrap().clone();
    (result.outcome, told)
}

#[tokio::test]
async fn a_run_without_a_required_server_ends_before_any_model_is_asked() {
    let (outcome, told) = run("true").await;
    assert_eq!(outcome, RunOutcome::NoAnswer);
    let missing = |event: &EventKind| matches!(event, EventKind::Warning { message } if message.contains("requires") && message.contains("papers"));
    assert!(told.iter().any(missing), "{told:?}");
    assert!(!told.iter().any(|event| matches!(event, EventKind::RoundStarted { .. })), "{told:?}");
}

#[tokio::test]
async fn a_run_goes_on_without_an_optional_server() {
    let (_, told) = run("false").await;
    assert!(told.iter().any(|event| matches!(event, EventKind::RoundStarted { .. })), "{told:?}");
}
