//! What the arguments of a call say besides their schema: where their paths lie, and what should not travel.

use std::sync::Arc;
use std::time::Duration;

use mcp_core::{JsonObject, Refusal, ToolError};
use mcp_security::{Verdict, args};
use tokio::time::timeout;

use crate::judged::{Judgement, Subject};
use crate::pipeline::Request;
use crate::server::Shared;
use crate::step::{Ended, Further, Stack, Step};

/// How long the disk may take to say where the paths of a call lead.
const LOOK: Duration = Duration::from_secs(5);

/// Refuses calls whose arguments lead out of the server's folders, tells of what looks as if it should not travel, and
/// takes out what people cannot see.
#[derive(Clone)]
pub(crate) struct Arguments {
    server: Arc<Shared>,
    rules: Arc<args::Server>,
}

impl Step for Arguments {
    async fn take<S: Stack>(self, mut request: Request, further: Further<S>) -> Ended {
        let verdict = if self.rules.roots.is_empty() {
            args::judge(request.spec.name.as_str(), &request.call.arguments, &self.rules)
        } else {
            self.look(&request).await
        };
        self.apply(verdict, &mut request)?;
        further.call(request).await
    }
}

impl Arguments {
    pub(crate) fn new(server: Arc<Shared>) -> Self {
        let roots = server.config.roots.iter().map(|root| root.to_string_lossy().into_owned());
        let rules = args::Server { roots: roots.collect(), ..args::Server::default() };
        Self { server, rules: Arc::new(rules) }
    }

    /// Where links lead is the disk's to say, and a disk may take its time.
    async fn look(&self, request: &Request) -> Verdict<JsonObject> {
        let (name, call, rules) = (request.spec.name.clone(), request.call.clone(), self.rules.clone());
        let looked = tokio::task::spawn_blocking(move || {
            args::judge_with_links(name.as_str(), &call.arguments, &rules, &link)
        });
        match timeout(LOOK, looked).await {
            Ok(Ok(verdict)) => verdict,
            _ => Verdict::Block(Refusal {
                rule: "path-unknown",
                reason: "the disk did not say in time where the path leads".to_owned(),
                hint: "try again, or name a path elsewhere".to_owned(),
            }),
        }
    }

    /// What the verdict makes of the call.
    fn apply(&self, verdict: Verdict<JsonObject>, request: &mut Request) -> Result<(), ToolError> {
        let server = &request.spec.server;
        match verdict {
            Verdict::Allow => {}
            Verdict::Sanitize(clean) => request.call_mut().arguments = clean,
            Verdict::Flag(findings) => {
                for finding in findings {
                    let subject = Subject::Call(request.spec.name.clone());
                    self.server.observer.judged(server, &Judgement::told(subject, finding));
                }
            }
            Verdict::Block(refusal) => return Err(ToolError::Refused { server: server.clone(), refusal }),
        }
        Ok(())
    }
}

/// Where a symbolic link leads; `None`: it is none, or nobody may look.
fn link(path: &str) -> Option<String> {
    std::fs::read_link(path).ok().map(|target| target.to_string_lossy().into_owned())
}
