//! The tools of one agent: those of the team's servers and of its own, through its own filter.

use std::sync::Arc;

use mcp_core::{
    BoxFuture, Catalogue, CatalogueEntry, ServerName, ToolCall, ToolError, ToolFilter, ToolOutput,
    ToolService,
};

/// Several services as one. Where two offer the same exposed name, the later one's tool is used.
pub(crate) struct AgentTools {
    pub(crate) parts: Vec<Part>,
}

/// One of the services, and what of it the agent sees.
pub(crate) struct Part {
    pub(crate) service: Arc<dyn ToolService>,
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
        let server = &entry.spec.server;
        let filter = if self.own_lists.contains(server) { &self.exclusions } else { &self.filter };
        !self.hidden.contains(server) && filter.permits(server, &entry.spec.name)
    }

    fn catalogue(&self) -> Arc<Catalogue> {
        let all = self.service.catalogue();
        if all.iter().all(|entry| self.shows(entry)) {
            all
        } else {
            Arc::new(all.filtered(|entry| self.shows(entry)))
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
        let holds =
            |part: &&Part| part.service.catalogue().find(&call.tool).is_some_and(|entry| part.shows(entry));
        match self.parts.iter().rev().find(holds) {
            Some(part) => part.service.call(call),
            None => Box::pin(async move { Err(ToolError::unknown_tool(call.tool, &self.catalogue())) }),
        }
    }
}
