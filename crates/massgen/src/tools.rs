//! The tools of one agent: those of the team's servers and of its own, through its own filter.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use mcp_client::{Gate, Judgement, MultiMcpClient, Observer, Subject};
use mcp_core::{
    BoxFuture, Catalogue, CatalogueEntry, Envelope, ServerName, ToolCall, ToolError, ToolFilter, ToolName,
    ToolOutput, ToolService, ToolSpec,
};
use mcp_security::result;

use crate::board::Board;

/// Several clients as one service. Where two offer the same exposed name, the later one's tool is used.
pub(crate) struct AgentTools {
    pub(crate) parts: Vec<Part>,
    pub(crate) reader: Reader,
}

/// Looks at what tools answer before a model reads it.
pub(crate) struct Reader {
    gate: Gate,
    board: Arc<Board>,
    observer: Option<Arc<dyn Observer>>,
    /// Makes marks that no server can foretell.
    key: RandomState,
    count: AtomicU64,
    /// What was told already, by tool and rule.
    told: Mutex<BTreeSet<(String, &'static str)>>,
}

impl Reader {
    pub(crate) fn new(gate: Gate, board: Arc<Board>, observer: Option<Arc<dyn Observer>>) -> Self {
        Self {
            gate,
            board,
            observer,
            key: RandomState::new(),
            count: AtomicU64::new(0),
            told: Mutex::default(),
        }
    }

    /// The answer as a model may read it: control characters written out, and in an envelope that says whose words it
    /// holds. What looks like orders in it is told, and the gate learns of it.
    fn read(&self, spec: &ToolSpec, output: ToolOutput) -> ToolOutput {
        let found = result::findings(&output);
        self.gate.learn(spec, !found.is_empty());
        for finding in found {
            if let Some(observer) = &self.observer {
                let judgement = Judgement::told(Subject::Answer(spec.name.clone()), finding.clone());
                observer.judged(&spec.server, &judgement);
            }
            let key = (format!("{}/{}", spec.server, spec.name), finding.rule);
            if self.told.lock().unwrap_or_else(PoisonError::into_inner).insert(key) {
                self.board.notice(format!(
                    "an answer of the tool {} of server {} may be meant to steer the model ({}): {}",
                    spec.name.as_str().escape_debug(),
                    spec.server,
                    finding.rule,
                    finding.reason
                ));
            }
        }
        let mut output = result::presentable(&output).unwrap_or(output);
        let mark = self.key.hash_one(self.count.fetch_add(1, Ordering::Relaxed)) >> 24;
        output.envelope = Some(Envelope::new(&spec.server, &spec.name, &format!("{mark:010x}")));
        output
    }
}

/// One of the clients, and what of it the agent sees.
pub(crate) struct Part {
    pub(crate) client: MultiMcpClient,
    /// Servers of it that the agent does not see, because it has one of that name of its own.
    pub(crate) hidden: Vec<ServerName>,
    /// The agent's filter for servers that have no allow-list of their own.
    pub(crate) filter: ToolFilter,
    /// Servers with an allow-list of their own, and the agent's exclusions alone.
    pub(crate) own_lists: Vec<ServerName>,
    pub(crate) exclusions: ToolFilter,
}

impl Part {
    fn shows(&self, entry: &CatalogueEntry) -> bool {
        self.permits(&entry.spec.server, &entry.spec.name)
    }

    fn permits(&self, server: &ServerName, tool: &ToolName) -> bool {
        let filter = if self.own_lists.contains(server) { &self.exclusions } else { &self.filter };
        !self.hidden.contains(server) && filter.permits(server, tool)
    }

    fn catalogue(&self) -> Arc<Catalogue> {
        let all = self.client.catalogue();
        if all.iter().all(|entry| self.shows(entry)) {
            all
        } else {
            Arc::new(all.filtered(|entry| self.shows(entry)))
        }
    }
}

impl AgentTools {
    /// Ends a call of a tool that the agent is not shown, on the record of whose tool it is.
    fn refuse(&self, call: &ToolCall) -> ToolError {
        let unknown = || ToolError::unknown_tool(call.tool.clone(), &self.catalogue());
        let holder = self.parts.iter().rev().find_map(|part| Some((part, part.client.target(&call.tool)?)));
        let refused = match holder {
            // Held back, or away with its server.
            Some((part, (server, tool))) if part.permits(&server, &tool) => part.client.refuse(call),
            Some((part, _)) => return part.client.deny(call, unknown()),
            None => match self.parts.first() {
                Some(part) => part.client.refuse(call),
                None => return unknown(),
            },
        };
        match refused {
            // It may be near to a name that this agent is not shown.
            ToolError::UnknownTool { .. } => unknown(),
            other => other,
        }
    }
}

impl ToolService for AgentTools {
    fn catalogue(&self) -> Arc<Catalogue> {
        match self.parts.as_slice() {
            [] => Arc::default(),
            [part] => part.catalogue(),
            parts => {
                let catalogues: Vec<_> = parts.iter().map(Part::catalogue).collect();
                Arc::new(Catalogue::union(catalogues.iter().map(AsRef::as_ref)))
            }
        }
    }

    fn call(&self, call: ToolCall) -> BoxFuture<'_, Result<ToolOutput, ToolError>> {
        // A tool that the agent is not shown is not there for it, whatever name it guesses.
        let holder = self.parts.iter().rev().find_map(|part| {
            let catalogue = part.client.catalogue();
            let entry = catalogue.find(&call.tool).filter(|entry| part.shows(entry))?;
            Some((part, entry.spec.clone()))
        });
        match holder {
            Some((part, spec)) => Box::pin(async move {
                let output = part.client.call(call).await?;
                Ok(self.reader.read(&spec, output))
            }),
            None => Box::pin(async move { Err(self.refuse(&call)) }),
        }
    }
}
