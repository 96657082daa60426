//! Servers that are started or dialled to see what they say, through the guard that every run has.

use std::collections::BTreeSet;

use massgen::client::Subject;
use massgen::config::Config;
use massgen::core::ServerName;
use massgen::security::lock::ServerPins;
use massgen::security::scan::{self as texts, Around, Scan};
use massgen::security::{Finding, Trust, Verdict};
use massgen::{Context, Servers};

use super::files::{Target, What};
use super::report::{Found, Report};
use crate::consent::{self, Given};
use crate::failure::Failure;
use crate::lock_file::{self, Difference};
use crate::mcp_auth;
use crate::observed::Observed;
use crate::sarif::Level;
use crate::session::Session;

/// Starts the servers of a target, except those of these names, and adds what they say to the report.
pub(super) async fn scan(
    target: &Target,
    session: &Session,
    refused: &[String],
    report: &mut Report,
) -> Result<(), Failure> {
    let mut config = target.as_started(session)?;
    let admitted = |name: &ServerName| !refused.iter().any(|refused| refused == name.as_str());
    config.mcp_servers.retain(|server| admitted(&server.name));
    for agent in &mut config.agents {
        agent.backend.mcp_servers.retain(|server| admitted(&server.name));
    }
    // Whoever names a file to have its servers started has said that they may be, as they are now.
    let given = match target.trust {
        Trust::User => Given::ByCommand,
        Trust::Project => Given::Asked,
    };
    let settled = consent::settle(session, config, target.trust, given, None).await?;
    let config = settled.config();
    let observed = Observed::new();
    let context = Context {
        oauth: mcp_auth::kept(session, None),
        observer: Some(observed.clone()),
        ..Context::default()
    };
    let servers = settled.start(session, context, None)?;
    servers.settled().await;
    shadows(&servers, target, config, report);
    let pins = servers.pins();
    let reports = servers.reports();
    servers.close().await;

    let mut refused = BTreeSet::new();
    for (server, judgement) in observed.take().judgements {
        // Nothing was found out about it: nobody has looked.
        if judgement.finding.rule == "launch-unaccepted" {
            continue;
        }
        if judgement.subject == Subject::Server {
            refused.insert(server.clone());
        }
        report.add(Found::judged(&server, &judgement, target, config));
    }
    for failed in reports {
        if let Some(error) = failed.error.filter(|_| !refused.contains(&failed.name)) {
            report.unseen.push((failed.name.to_string(), error));
        }
    }
    if let What::Team(_) = target.what {
        differences(config, &pins, target, report)?;
    }
    Ok(())
}

/// What a server says about tools of other servers.
fn shadows(servers: &Servers, target: &Target, config: &Config, report: &mut Report) {
    let catalogue = servers.catalogue();
    let around = |server: &ServerName| {
        let names = |own: bool| {
            let specs =
                catalogue.iter().map(|entry| &entry.spec).filter(|spec| (spec.server == *server) == own);
            specs.map(|spec| spec.name.as_str().to_owned()).collect()
        };
        Around { foreign: names(false), own: names(true) }
    };
    let about_others = |finding: &Finding| matches!(finding.rule, "shadows-tool" | "names-foreign-tool");
    for entry in catalogue.iter() {
        let (refused, found) = match texts::tool(&entry.spec, &around(&entry.spec.server)) {
            Verdict::Block(refusal) => {
                (true, vec![Finding { rule: refusal.rule, reason: refusal.reason, hint: refusal.hint }])
            }
            Verdict::Flag(found) => (false, found),
            _ => continue,
        };
        for finding in found.into_iter().filter(about_others) {
            let level = if refused { Level::Error } else { Level::Warning };
            let tool = Some(entry.spec.name.as_str());
            report.add(Found::said(&entry.spec.server, tool, level, &finding, target, config));
        }
    }
    for status in servers.reports() {
        let Some(instructions) = status.status.peer.and_then(|peer| peer.instructions) else { continue };
        let Scan { hard, soft, .. } = texts::text(&instructions, &around(&status.name));
        let found = hard.iter().map(|finding| (Level::Error, finding));
        for (level, finding) in found.chain(soft.iter().map(|finding| (Level::Warning, finding))) {
            if about_others(finding) {
                report.add(Found::said(&status.name, None, level, finding, target, config));
            }
        }
    }
}

/// What is not as it was accepted.
fn differences(
    config: &Config,
    pins: &std::collections::BTreeMap<String, ServerPins>,
    target: &Target,
    report: &mut Report,
) -> Result<(), Failure> {
    let path = lock_file::path(config);
    let Some(lock) = lock_file::read(&path)?.filter(|lock| !lock.servers.is_empty()) else { return Ok(()) };
    for difference in lock_file::differences(&lock, pins) {
        let (level, rule) = match &difference {
            Difference::Changed { .. } => (Level::Error, "tool-changed"),
            Difference::Launch { .. } => (Level::Error, "launch-changed"),
            Difference::Instructions { .. } => (Level::Error, "instructions-changed"),
            Difference::New { .. } => (Level::Warning, "tool-new"),
            Difference::NewServer { .. } => (Level::Warning, "server-new"),
            Difference::Gone { .. } => (Level::Note, "tool-gone"),
        };
        let (server, tool) = difference.subject();
        let finding = Finding {
            rule,
            reason: difference.to_string(),
            hint: "look at it, then accept it with: massgen mcp lock --accept".to_owned(),
        };
        let name = server.rsplit('/').next().unwrap_or(server);
        if let Ok(name) = ServerName::new(name) {
            report.add(Found::said(&name, tool, level, &finding, target, config));
        }
    }
    Ok(())
}
