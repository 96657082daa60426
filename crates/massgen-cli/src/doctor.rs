//! `massgen mcp doctor`: everything that servers trip over, step by step, with the remedy.

use massgen::client::Subject;
use massgen::config::{Config, McpServerConfig, McpTransport};
use massgen::core::ServerName;
use massgen::security::Redactor;
use massgen::{Context, Owner, ServerReport, Surveyed};
use serde::Serialize;

use crate::args::{DoctorArgs, OutputArgs};
use crate::consent::Given;
use crate::failure::{Failure, Kind};
use crate::lock_file;
use crate::observed::{Observed, Seen};
use crate::session::Session;
use crate::style::safe;
use crate::{environment, mcp_auth, mcp_command, output};

/// One server, step by step.
#[derive(Debug, Serialize)]
struct Examination {
    server: String,
    /// The agent whose own it is.
    agent: Option<String>,
    checks: Vec<Check>,
}

/// One step.
#[derive(Debug, Serialize)]
struct Check {
    /// `command`, `address`, `start`, `output`, `tools` or `lock`.
    check: &'static str,
    status: Status,
    detail: String,
    remedy: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Ok,
    Warning,
    Failed,
}

impl Status {
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failed => "failed",
        }
    }
}

impl Check {
    fn new(check: &'static str, status: Status, detail: impl Into<String>) -> Self {
        Self { check, status, detail: detail.into(), remedy: None }
    }

    fn with_remedy(self, remedy: impl Into<String>) -> Self {
        let remedy = remedy.into();
        Self { remedy: (!remedy.is_empty()).then_some(remedy), ..self }
    }
}

pub(crate) async fn run(args: DoctorArgs) -> Result<(), Failure> {
    let session = Session::start(OutputArgs::default(), environment::read());
    let config = mcp_command::load(&args.servers, &session)?;
    let only = args.server.as_deref();
    let settled = mcp_command::settled(&session, &args.servers, config, Given::Asked, only).await?;
    let config = settled.config();
    let observed = Observed::new();
    let context = Context {
        oauth: mcp_auth::kept(&session, None),
        observer: Some(observed.clone()),
        ..Context::default()
    };
    let servers = settled.start(&session, context, only)?;
    if servers.is_empty() {
        return Err(mcp_command::no_servers(config, only));
    }
    servers.settled().await;
    let reports = servers.reports();
    let pins = servers.pins();
    servers.close().await;

    let seen = observed.take();
    let surveyed = massgen::survey(config, settled.consent().trust);
    let mut examinations: Vec<Examination> = reports
        .iter()
        .map(|report| Examination {
            server: report.name.to_string(),
            agent: match &report.owner {
                Owner::Team => None,
                Owner::Agent(id) => Some(id.to_string()),
            },
            checks: checks(report, config, &surveyed, &seen),
        })
        .collect();
    let path = lock_file::path(config);
    if let Some(lock) = lock_file::read(&path)?.filter(|lock| !lock.servers.is_empty()) {
        for difference in lock_file::differences(&lock, &pins) {
            let (key, _) = difference.subject();
            let of =
                |examination: &&mut Examination| key.rsplit('/').next() == Some(examination.server.as_str());
            if let Some(examination) = examinations.iter_mut().find(of) {
                let check = Check::new("lock", Status::Warning, difference.to_string())
                    .with_remedy("look at it, then accept it with: massgen mcp lock --accept");
                examination.checks.push(check);
            }
        }
    }
    let redactor = Redactor::default();
    config.secrets().iter().for_each(|secret| redactor.register(secret.expose()));
    for check in examinations.iter_mut().flat_map(|examination| &mut examination.checks) {
        check.detail = redactor.redact(&check.detail).into_owned();
    }
    if args.servers.json {
        output::json(&examinations);
    } else {
        show(&examinations);
    }
    let failed =
        |examination: &Examination| examination.checks.iter().any(|check| check.status == Status::Failed);
    if examinations.iter().any(failed) { Err(Failure::silent(Kind::NoAnswer)) } else { Ok(()) }
}

fn checks(report: &ServerReport, config: &Config, surveyed: &[Surveyed], seen: &Seen) -> Vec<Check> {
    let mut checks = Vec::new();
    let name = &report.name;
    let server = find(config, report);
    let (what, reached) = match server.map(|server| &server.transport) {
        Some(McpTransport::Stdio { command, args, .. }) => (
            "command",
            std::iter::once(command).chain(args).map(String::as_str).collect::<Vec<_>>().join(" "),
        ),
        Some(McpTransport::StreamableHttp { url, .. } | McpTransport::Sse { url, .. }) => {
            ("address", url.clone())
        }
        None => ("command", String::new()),
    };
    let before = checks.len();
    for found in surveyed.iter().filter(|found| found.server == *name) {
        let status = if found.refused { Status::Failed } else { Status::Warning };
        checks.push(
            Check::new(what, status, format!("{} ({})", found.finding.reason, found.finding.rule))
                .with_remedy(found.finding.hint.clone()),
        );
    }
    if checks.len() == before {
        // Whether it is there shows in the next step.
        let may = if what == "command" { "may be started" } else { "may be reached" };
        checks.push(Check::new(what, Status::Ok, format!("{may}: {reached}")));
    }
    if checks.iter().any(|check| check.status == Status::Failed) {
        // It was not started, for that reason.
        return checks;
    }
    match &report.status.state {
        state if !state.is_usable() => {
            let (reason, hint) = match (state.reason(), seen.failures.get(name)) {
                (None, Some((reason, hint))) => (reason.clone(), hint.as_deref()),
                _ => (state.to_string(), state.hint()),
            };
            checks.push(Check::new("start", Status::Failed, reason).with_remedy(hint.unwrap_or_default()));
            // What it printed where messages belong may be the very reason.
            checks.extend(chatter(report));
            told(name, seen, &mut checks);
            return checks;
        }
        _ => checks.push(Check::new("start", Status::Ok, started(report, seen))),
    }
    checks.extend(chatter(report));
    let tools = match report.tools {
        0 => Check::new("tools", Status::Warning, "it offers no tool").with_remedy(
            "look at allowed_tools and exclude_tools, and at what the server needs to offer any",
        ),
        1 => Check::new("tools", Status::Ok, "1 tool"),
        count => Check::new("tools", Status::Ok, format!("{count} tools")),
    };
    checks.push(tools);
    told(name, seen, &mut checks);
    checks
}

/// What it printed where messages belong.
fn chatter(report: &ServerReport) -> Option<Check> {
    let line = report.status.chatter.as_deref()?;
    let detail = format!("it writes to its standard output what is no message of MCP: {line:?}");
    let check = Check::new("output", Status::Warning, detail);
    // Where that is all it does, the failed start has the remedy.
    Some(if report.status.state.is_usable() {
        check.with_remedy(
            "massgen passes it over, other clients may not: have the server, and what starts it, write such lines to standard \
             error",
        )
    } else {
        check
    })
}

/// How long it took, and what it says it is.
fn started(report: &ServerReport, seen: &Seen) -> String {
    let mut words = Vec::new();
    if let Some(took) = seen.starts.get(&report.name) {
        words.push(format!("{:.1} s", took.as_secs_f64()));
    }
    if let Some(peer) = &report.status.peer {
        words.push(peer.transport.to_string());
        words.push(format!("protocol {}", peer.protocol_version));
        let says = [peer.name.as_deref(), peer.version.as_deref()];
        let says = says.into_iter().flatten().collect::<Vec<_>>().join(" ");
        if !says.is_empty() {
            words.push(format!("says it is {says}"));
        }
    }
    words.join(", ")
}

/// What was found in what the server says, and what else was told about it.
fn told(name: &ServerName, seen: &Seen, checks: &mut Vec<Check>) {
    for (_, judgement) in seen.judgements.iter().filter(|(server, _)| server == name) {
        let subject = match &judgement.subject {
            Subject::Tool(tool) => format!("tool {tool:?}"),
            Subject::Instructions => "instructions".to_owned(),
            _ => continue,
        };
        let becomes = if judgement.withheld { ", left out" } else { "" };
        let finding = &judgement.finding;
        let detail = format!("{subject}{becomes}: {} ({})", finding.reason, finding.rule);
        checks.push(Check::new("tools", Status::Warning, detail).with_remedy(finding.hint.clone()));
    }
    // The judgements are among the notices, in other words.
    let judged = ["is left out (", "is doubtful: ", "its instructions are suspicious"];
    let notices = seen.notices.iter().filter(|(server, _)| server == name).map(|(_, notice)| notice);
    for notice in notices.filter(|notice| !judged.iter().any(|words| notice.contains(words))) {
        checks.push(Check::new("tools", Status::Warning, notice.clone()));
    }
}

/// The configuration of a server that was started.
fn find<'a>(config: &'a Config, report: &ServerReport) -> Option<&'a McpServerConfig> {
    let own = config.agents.iter().filter(|agent| report.owner == Owner::Agent(agent.id.clone()));
    let own = own.flat_map(|agent| &agent.backend.mcp_servers);
    own.chain(&config.mcp_servers).find(|server| server.name == report.name)
}

fn show(examinations: &[Examination]) {
    for examination in examinations {
        let of = examination.agent.as_ref().map(|agent| format!(" (of {agent})")).unwrap_or_default();
        output::line(safe(&format!("{}{of}", examination.server)));
        for check in &examination.checks {
            let mut lines = check.detail.lines();
            let first = lines.next().unwrap_or_default();
            output::line(safe(&format!("  {:8} {:8} {first}", check.status.word(), check.check)));
            for line in lines {
                output::line(safe(&format!("                    {line}")));
            }
            if let Some(remedy) = &check.remedy {
                output::line(safe(&format!("                    help: {remedy}")));
            }
        }
    }
}
