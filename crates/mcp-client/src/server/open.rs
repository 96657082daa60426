//! How a server's session is opened: judged, started or dialled, and listed.

use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use mcp_core::{Refusal, ToolError, ToolSpec};
use mcp_transport::{EraPolicy, Launcher, Session, TransportKind};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::{Shared, WITHOUT_SESSIONS};
use crate::asked::Screened;
use crate::{Target, metrics};

/// How often a start that takes long says so.
const STILL: Duration = Duration::from_secs(15);

impl Shared {
    /// Opens it, and says from time to time that this takes long.
    pub(super) async fn open_telling(
        &self,
    ) -> Result<(Session, Vec<Arc<ToolSpec>>, watch::Receiver<u64>), ToolError> {
        let (begun, mut opening) = (Instant::now(), std::pin::pin!(self.open()));
        loop {
            match timeout(STILL, &mut opening).await {
                Ok(opened) => return opened,
                Err(_) => tracing::info!(
                    server = %self.config.name,
                    seconds = begun.elapsed().as_secs(),
                    at_most = self.config.startup_timeout.as_secs(),
                    "still starting"
                ),
            }
        }
    }

    async fn open(&self) -> Result<(Session, Vec<Arc<ToolSpec>>, watch::Receiver<u64>), ToolError> {
        let name = self.config.name.clone();
        let mut options = self.options.session.clone();
        options.startup_timeout = self.config.startup_timeout;
        options.read_timeout = self.config.read_timeout;
        if let Some(limit) = self.config.max_processes {
            options.max_processes = limit;
        }
        options.ca_file.clone_from(&self.config.ca_file);
        options.breaches = Some(metrics::counted(self.integrity.clone(), &self.options));
        options.era = self.era();
        if let Some(missing) = &self.config.missing_credential {
            return Err(ToolError::CredentialUnavailable { server: name, missing: missing.clone() });
        }
        if let Some(host) = options.host.take() {
            let (observer, scopes) = (self.observer.clone(), self.options.scopes.clone());
            let open = self.questions.clone();
            options.host = Some(Arc::new(Screened { host, observer, scopes, open }));
        }
        let refused = |refusal| ToolError::Refused { server: name.clone(), refusal };
        let session = match &self.config.target {
            Target::Stdio(spec) => {
                // Judged again at each start: a restart is when a swapped program would be started.
                options.launcher = self.launcher(options.launcher.take()).map_err(refused)?;
                let concerns = self.guard.concerns(&name, spec);
                let spec = self.guard.admit_command(&name, spec.clone()).map_err(refused)?;
                self.launches.admit(&self.config.target, &self.config.consent).await.map_err(refused)?;
                concerns.into_iter().for_each(|concern| self.tell(concern));
                Session::stdio(name, spec, options).await?
            }
            Target::Http(spec) => {
                let spec = self.guard.admit_url(&name, spec.clone()).map_err(refused)?;
                self.launches.admit(&self.config.target, &self.config.consent).await.map_err(refused)?;
                Session::http(name, spec, self.guard.clone(), options).await?
            }
            Target::Sse(spec) => {
                let spec = self.guard.admit_url(&name, spec.clone()).map_err(refused)?;
                self.launches.admit(&self.config.target, &self.config.consent).await.map_err(refused)?;
                Session::sse(name, spec, self.guard.clone(), options).await?
            }
            Target::InMemory(service) => Session::in_memory(service.clone(), name, options).await?,
        };
        let changed = session.tools_changed();
        let tools = self.list(&session).await?;
        Ok((session, tools, changed))
    }

    /// What starts its program: what starts all of them, told what this one may touch.
    fn launcher(&self, launcher: Option<Launcher>) -> Result<Option<Launcher>, Refusal> {
        let Some(sandbox) = &self.config.sandbox else { return Ok(launcher) };
        let Some(mut launcher) = launcher else {
            return Err(Refusal {
                rule: "sandbox",
                reason: format!("nothing here can keep its program to sandbox: {}", sandbox.level),
                hint: "start it through massgen on Linux, or set sandbox: off".to_owned(),
            });
        };
        launcher.args.extend(["--sandbox".to_owned(), sandbox.to_argument()]);
        Ok(Some(launcher))
    }

    /// Which generation of the protocol to speak: the one found out before, unless the configuration says.
    fn era(&self) -> EraPolicy {
        match self.config.era {
            EraPolicy::Auto => self.remembered().unwrap_or_default(),
            era => era,
        }
    }

    fn remembered(&self) -> MutexGuard<'_, Option<EraPolicy>> {
        self.era.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Learns how a start ended. One that failed may have failed because the server was replaced by another version.
    pub(super) fn remember(&self, opened: Option<&Session>) {
        let program = |session: &&Session| session.peer().transport == TransportKind::Stdio;
        *self.remembered() = opened.filter(program).map(|session| {
            // Revisions are dates, and sort as such.
            if session.peer().protocol_version.as_str() < WITHOUT_SESSIONS {
                EraPolicy::Legacy
            } else {
                EraPolicy::Modern
            }
        });
    }
}
