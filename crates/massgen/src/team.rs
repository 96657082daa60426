//! A team that can be asked, again and again.

use massgen_orchestrator::{Agent, Budget, Emitter, EventKind, Options, RunResult, Task};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::servers::Servers;

/// Agents and their servers. The servers run as long as the team does.
#[derive(Debug)]
pub struct Team {
    agents: Vec<Agent>,
    options: Options,
    servers: Servers,
    notes: Vec<String>,
    secrets: Vec<String>,
}

impl Team {
    pub(crate) fn new(
        agents: Vec<Agent>,
        options: Options,
        servers: Servers,
        notes: Vec<String>,
        secrets: Vec<String>,
    ) -> Self {
        Self { agents, options, servers, notes, secrets }
    }

    /// Lets the team answer a question. The agents begin when every server is ready or has failed, each within its own
    /// limit of time; the events tell about the servers, too. Where one that is required has failed, the run ends at once,
    /// without an answer, and a warning lists all that are missing.
    pub async fn ask(&self, task: &Task, emitter: &Emitter, cancel: &CancellationToken) -> RunResult {
        let budget = Budget::new(self.agents.len(), &self.options.limits);
        let shared = budget.clone();
        let ready = async {
            for note in &self.notes {
                emitter.emit(EventKind::Warning { message: note.clone() });
            }
            self.servers.attach(emitter, &shared, &self.agents);
            self.servers.settled().await;
            match self.servers.missing() {
                missing if missing.is_empty() => {
                    self.servers.go_on();
                    Ok(())
                }
                missing => Err(missing),
            }
        };
        let run =
            massgen_orchestrator::run_when(ready, &self.agents, task, &self.options, budget, emitter, cancel);
        let result = run.instrument(tracing::info_span!("massgen run", agents = self.agents.len())).await;
        // No event may follow the last one.
        self.servers.detach();
        result
    }

    /// The agents, in order.
    pub fn agents(&self) -> &[Agent] {
        &self.agents
    }

    /// The servers.
    pub fn servers(&self) -> &Servers {
        &self.servers
    }

    /// Secrets that came from the environment, for a redactor.
    pub fn secrets(&self) -> &[String] {
        &self.secrets
    }

    /// The team in a few lines, for people.
    pub fn describe(&self) -> String {
        let agents: Vec<_> = self
            .agents
            .iter()
            .map(|agent| {
                let model = agent.backend.model();
                format!("  {}: {} {}", agent.id, model.provider, model.model).trim_end().to_owned()
            })
            .collect();
        let mode = match self.agents.len() {
            1 if self.options.single_agent_direct => "one agent, answering directly",
            1 => "one agent",
            _ => "a team that coordinates",
        };
        let servers: Vec<_> = self
            .servers
            .reports()
            .iter()
            .map(|report| format!("  server {}: {}", report.name, report.state))
            .collect();
        let mut lines = vec![mode.to_owned()];
        lines.extend(agents);
        lines.extend(servers);
        lines.join("\n")
    }

    /// Ends the servers, all at once, each within its bound.
    pub async fn close(self) {
        self.servers.close().await;
    }
}
