//! A configuration in a few lines.

use std::fmt;

use serde::Serialize;

use crate::{Config, McpServerConfig, McpTransport};

/// What a configuration comes to, for `config check`. Holds no secret: neither arguments, URLs' queries nor values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// The team, in order.
    pub agents: Vec<AgentSummary>,
    /// Servers shared by all agents.
    pub mcp_servers: Vec<ServerSummary>,
}

/// One agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AgentSummary {
    /// Its id.
    pub id: String,
    /// The backend's type.
    #[serde(rename = "type")]
    pub kind: String,
    /// The model that will be asked for; `None` where the provider decides.
    pub model: Option<String>,
    /// Its own servers.
    pub mcp_servers: Vec<ServerSummary>,
}

/// One server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ServerSummary {
    /// Its name.
    pub name: String,
    /// `stdio`, `streamable-http` or `sse`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The program, or scheme, host and path of the URL.
    pub target: String,
}

impl Config {
    /// What it comes to.
    pub fn summary(&self) -> Summary {
        let agents = self.agents.iter().map(|agent| AgentSummary {
            id: agent.id.to_string(),
            kind: agent.backend.kind.to_string(),
            model: agent.backend.model.clone(),
            mcp_servers: agent.backend.mcp_servers.iter().map(ServerSummary::of).collect(),
        });
        Summary {
            agents: agents.collect(),
            mcp_servers: self.mcp_servers.iter().map(ServerSummary::of).collect(),
        }
    }
}

impl ServerSummary {
    fn of(server: &McpServerConfig) -> Self {
        let (kind, target) = match &server.transport {
            McpTransport::Stdio { command, .. } => ("stdio", command.clone()),
            McpTransport::StreamableHttp { url, .. } => ("streamable-http", bare(url)),
            McpTransport::Sse { url, .. } => ("sse", bare(url)),
        };
        Self { name: server.name.to_string(), kind, target }
    }
}

fn bare(url: &str) -> String {
    let mut parsed = match url::Url::parse(url) {
        Ok(parsed) => parsed,
        Err(_) => return String::from("?"),
    };
    parsed.set_query(None);
    parsed.set_fragment(None);
    parsed.to_string()
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let servers = |servers: &[ServerSummary]| {
            let names: Vec<_> = servers.iter().map(|server| server.name.as_str()).collect();
            names.join(", ")
        };
        let width = self.agents.iter().map(|agent| agent.id.chars().count()).max().unwrap_or(0).min(40);
        for (i, agent) in self.agents.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{:width$}  {}", agent.id, agent.kind)?;
            if let Some(model) = &agent.model {
                write!(f, " / {model}")?;
            }
            if !agent.mcp_servers.is_empty() {
                write!(f, "  [{}]", servers(&agent.mcp_servers))?;
            }
        }
        if !self.mcp_servers.is_empty() {
            write!(f, "\nshared servers: {}", servers(&self.mcp_servers))?;
        }
        Ok(())
    }
}
