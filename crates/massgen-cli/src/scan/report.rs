//! What was found, for people and for programs.

use std::collections::BTreeSet;

use massgen::Surveyed;
use massgen::client::{Judgement, Subject};
use massgen::config::{Config, Origin};
use massgen::core::ServerName;
use massgen::security::Finding;
use serde::Serialize;
use serde_json::json;

use super::files::Target;
use crate::args::ScanArgs;
use crate::output;
use crate::sarif::{self, Entry, Level};
use crate::style::safe;

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Found {
    #[serde(rename = "severity", serialize_with = "level")]
    pub(super) level: Level,
    pub(super) rule: String,
    pub(super) message: String,
    pub(super) remedy: String,
    pub(super) server: String,
    /// The agent whose own server it is.
    pub(super) agent: Option<String>,
    pub(super) tool: Option<String>,
    /// Where the server is written.
    pub(super) file: Option<String>,
    /// From 1; 0: not known.
    pub(super) line: u32,
    /// The key that it is about, in full.
    pub(super) key: Option<String>,
}

fn level<S: serde::Serializer>(level: &Level, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(level.as_str())
}

impl Found {
    /// What is wrong with how a server is written.
    pub(super) fn surveyed(surveyed: &Surveyed, target: &Target) -> Self {
        let level = if surveyed.refused {
            Level::Error
        } else if surveyed.finding.rule == "not-known" {
            Level::Note
        } else {
            Level::Warning
        };
        let found = Self::new(&surveyed.server, level, &surveyed.finding);
        Self { agent: surveyed.agent.as_ref().map(ToString::to_string), ..found }.at(
            surveyed.origin.as_ref(),
            &surveyed.key,
            target,
        )
    }

    /// What was judged about a server that was started.
    pub(super) fn judged(
        server: &ServerName,
        judgement: &Judgement,
        target: &Target,
        config: &Config,
    ) -> Self {
        let level = if judgement.withheld { Level::Error } else { Level::Warning };
        let tool = match &judgement.subject {
            Subject::Tool(tool) => Some(tool.as_str()),
            _ => None,
        };
        Self::said(server, tool, level, &judgement.finding, target, config)
    }

    /// What a server says, or is.
    pub(super) fn said(
        server: &ServerName,
        tool: Option<&str>,
        level: Level,
        finding: &Finding,
        target: &Target,
        config: &Config,
    ) -> Self {
        let own = config.agents.iter().flat_map(|agent| &agent.backend.mcp_servers);
        let written = config.mcp_servers.iter().chain(own).find(|known| known.name == *server);
        let found = Self { tool: tool.map(str::to_owned), ..Self::new(server, level, finding) };
        found.at(written.and_then(|server| server.origin.as_ref()), "", target)
    }

    fn new(server: &ServerName, level: Level, finding: &Finding) -> Self {
        Self {
            level,
            rule: finding.rule.to_owned(),
            message: finding.reason.clone(),
            remedy: finding.hint.clone(),
            server: server.to_string(),
            agent: None,
            tool: None,
            file: None,
            line: 0,
            key: None,
        }
    }

    fn at(self, origin: Option<&Origin>, key: &str, target: &Target) -> Self {
        match origin {
            Some(origin) => Self {
                file: Some(origin.file.clone()),
                line: origin.line_of(key),
                key: Some(if key.is_empty() { origin.key.clone() } else { format!("{}.{key}", origin.key) }),
                ..self
            },
            None => Self { file: target.file().map(|path| path.display().to_string()), ..self },
        }
    }

    /// What it is about, in words that stay when lines move.
    fn subject(&self) -> String {
        let key = self.key.clone().unwrap_or_else(|| self.server.clone());
        match &self.tool {
            Some(tool) => format!("{key}, tool {tool}"),
            None => key,
        }
    }

    fn entry(&self) -> Entry {
        Entry {
            rule: self.rule.clone(),
            level: self.level,
            message: format!("{}: {}", self.subject(), self.message),
            help: self.remedy.clone(),
            file: self.file.clone(),
            line: self.line.into(),
            subject: self.subject(),
        }
    }
}

/// Everything that was found.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) found: Vec<Found>,
    /// Servers that were to be started and could not be looked at, and why.
    pub(super) unseen: Vec<(String, String)>,
    /// What was looked at, and how many servers are there.
    looked_at: Vec<(Option<String>, usize)>,
}

impl Report {
    pub(super) fn looked_at(&mut self, target: &Target, config: &Config) {
        let own: usize = config.agents.iter().map(|agent| agent.backend.mcp_servers.len()).sum();
        let file = target.file().map(|path| path.display().to_string());
        self.looked_at.push((file, config.mcp_servers.len() + own));
    }

    /// Adds a finding, unless it is known: what is wrong with the command is found as it is written and when it is started.
    pub(super) fn add(&mut self, found: Found) {
        let same = |known: &Found| {
            (&known.rule, &known.server, &known.tool, &known.message, &known.file)
                == (&found.rule, &found.server, &found.tool, &found.message, &found.file)
        };
        if !self.found.iter().any(same) {
            self.found.push(found);
        }
    }

    fn count(&self, level: Level) -> usize {
        self.found.iter().filter(|found| found.level == level).count()
    }

    pub(super) fn show(&self, args: &ScanArgs) {
        if args.sarif {
            let entries: Vec<Entry> = self.found.iter().map(Found::entry).collect();
            output::json(&sarif::document(&entries, &std::env::current_dir().unwrap_or_default()));
            self.tell_unseen();
        } else if args.json {
            output::json(&self.document());
        } else {
            self.lines();
            self.tell_unseen();
        }
    }

    fn tell_unseen(&self) {
        for (server, error) in &self.unseen {
            output::note(safe(&format!("warning: {server} could not be looked at: {error}")));
        }
    }

    fn document(&self) -> serde_json::Value {
        let files = self.looked_at.iter().map(|(file, servers)| json!({"file": file, "servers": servers}));
        let unseen = self.unseen.iter().map(|(server, error)| json!({"server": server, "error": error}));
        json!({
            "files": files.collect::<Vec<_>>(),
            "findings": self.found,
            "errors": self.count(Level::Error),
            "warnings": self.count(Level::Warning),
            "notes": self.count(Level::Note),
            "unseen": unseen.collect::<Vec<_>>(),
        })
    }

    fn lines(&self) {
        let mut sorted: Vec<&Found> = self.found.iter().collect();
        sorted.sort_by_key(|found| (found.file.clone(), std::cmp::Reverse(found.level), found.line));
        for found in sorted {
            let file = found.file.as_deref().unwrap_or("--server");
            let line = if found.line > 0 { format!(":{}", found.line) } else { String::new() };
            output::line(safe(&format!(
                "{:8} {}  {file}{line}  {}",
                found.level.as_str(),
                found.rule,
                found.subject()
            )));
            for line in found.message.lines() {
                output::line(safe(&format!("         {line}")));
            }
            if !found.remedy.is_empty() {
                output::line(safe(&format!("         help: {}", found.remedy)));
            }
        }
        let servers: usize = self.looked_at.iter().map(|(_, servers)| servers).sum();
        let files: BTreeSet<_> = self.looked_at.iter().filter_map(|(file, _)| file.as_ref()).collect();
        let [errors, warnings, notes] =
            [Level::Error, Level::Warning, Level::Note].map(|level| self.count(level));
        let counts = [
            counted(servers, "server"),
            counted(files.len(), "file"),
            counted(errors, "error"),
            counted(warnings, "warning"),
            counted(notes, "note"),
        ];
        let [servers, files, errors, warnings, notes] = counts;
        output::line(format!("{servers} in {files}: {errors}, {warnings}, {notes}"));
    }
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}
