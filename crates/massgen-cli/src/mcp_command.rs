//! `massgen mcp …`: look at the servers of a configuration, and call their tools.

use std::sync::Arc;
use std::time::{Duration, Instant};

use massgen::core::{CallId, ExposedName, JsonObject, ServerName, ToolCall, ToolError, ToolName, ToolOutput};
use massgen::security::lock::LaunchPin;
use massgen::transport::PeerInfo;
use massgen::transport::oauth::OAuthOptions;
use massgen::{Context, Owner, ServerReport, Servers};
use serde_json::{Value, json};

use crate::args::{McpCommand, OutputArgs, ServersArgs};
use crate::consent::{self, Given, Settled};
use crate::console::{Console, Pause};
use crate::failure::{Failure, Kind};
use crate::login_store::Logins;
use crate::observed::Observed;
use crate::person::AtTerminal;
use crate::session::Session;
use crate::style::{one_line, safe};
use crate::{
    audit_command, chaos, doctor, environment, lock_file, mcp_auth, mcp_offers, mcp_tool, output, run, scan,
    stats,
};

pub(crate) async fn run(command: McpCommand) -> Result<(), Failure> {
    match command {
        McpCommand::List { servers } => list(&servers).await,
        McpCommand::Tools { server, tool: None, servers } => tools(&servers, server.as_deref()).await,
        McpCommand::Tools { server, tool: Some(tool), servers } => {
            mcp_tool::show(&servers, &server.unwrap_or_default(), &tool).await
        }
        McpCommand::Call { server, tool, arguments, arguments_json, servers } => {
            let arguments = parse_arguments(&arguments, arguments_json.as_deref())?;
            call(&servers, &server, &tool, arguments).await
        }
        McpCommand::Auth(args) => {
            let session = Session::start(OutputArgs::default(), environment::read());
            mcp_auth::run(args, &session).await
        }
        McpCommand::Resources { server, servers } => mcp_offers::resources(&servers, server.as_deref()).await,
        McpCommand::Read { server, uri, servers } => mcp_offers::read(&servers, &server, &uri).await,
        McpCommand::Prompts { server, servers } => mcp_offers::prompts(&servers, server.as_deref()).await,
        McpCommand::Prompt { server, prompt, arguments, complete, servers } => {
            mcp_offers::prompt(&servers, &server, &prompt, &arguments, complete.as_deref()).await
        }
        McpCommand::Lock { accept, servers } => lock(&servers, accept).await,
        McpCommand::Doctor(args) => doctor::run(args).await,
        McpCommand::Scan(args) => scan::run(args).await,
        McpCommand::Audit(command) => audit_command::run(command),
        McpCommand::Stats(args) => stats::run(&args),
        McpCommand::Chaos(args) => chaos::run(args).await,
    }
}

/// Servers that were started to be looked at or used.
pub(crate) struct Started {
    pub(crate) servers: Servers,
    /// What was told about them on the way.
    pub(crate) observed: Arc<Observed>,
}

/// Starts the servers of the configuration, all agents' together, and waits until each is ready or has failed. What is not
/// as the lock beside the configuration has it is held back, as in a run.
pub(crate) async fn start(args: &ServersArgs, only: Option<&str>) -> Result<Started, Failure> {
    let session = Session::start(OutputArgs::default(), environment::read());
    let config = load(args, &session)?;
    let settled = settled(&session, args, config, Given::Asked, only).await?;
    Logins::prepare(&session.secrets, settled.config());
    let console = Console::new(Pause::default());
    let observed = Observed::new();
    let context = Context {
        oauth: mcp_auth::kept(&session, (!args.json).then(|| console.clone())),
        person: Some(AtTerminal::new(console, !args.json)),
        observer: Some(observed.clone()),
        lock: settled.accepted(&session)?.lock,
        ..Context::default()
    };
    let servers = begin(&session, &settled, only, context).await?;
    Ok(Started { servers, observed })
}

/// Starts one server with a login, for which the user has `patience`.
pub(crate) async fn start_for(
    args: &ServersArgs,
    server: &str,
    oauth: OAuthOptions,
    patience: Duration,
) -> Result<Servers, Failure> {
    let session = Session::start(OutputArgs::default(), environment::read());
    let mut config = load(args, &session)?;
    let own = config.agents.iter_mut().flat_map(|agent| &mut agent.backend.mcp_servers);
    for entry in config.mcp_servers.iter_mut().chain(own) {
        entry.startup_timeout = Some(patience);
    }
    let settled = settled(&session, args, config, Given::Asked, Some(server)).await?;
    let context = Context {
        oauth: Some(oauth),
        person: Some(AtTerminal::new(Console::new(Pause::default()), !args.json)),
        lock: settled.accepted(&session)?.lock,
        ..Context::default()
    };
    begin(&session, &settled, Some(server), context).await
}

pub(crate) fn load(args: &ServersArgs, session: &Session) -> Result<massgen::config::Config, Failure> {
    if let Some(path) = &args.config {
        return run::load(path, session);
    }
    match run::default_file() {
        Some(path) => run::load(&path, session),
        None => Err(Failure::config("there is no massgen.yaml here")
            .with_hint("name the configuration: --config FILE")),
    }
}

/// The configuration, with what was accepted of its servers.
pub(crate) async fn settled(
    session: &Session,
    args: &ServersArgs,
    config: massgen::config::Config,
    given: Given,
    only: Option<&str>,
) -> Result<Settled, Failure> {
    let trust = consent::trust(&config, args.config.as_deref());
    consent::settle(session, config, trust, given, only).await
}

async fn begin(
    session: &Session,
    settled: &Settled,
    only: Option<&str>,
    context: Context,
) -> Result<Servers, Failure> {
    let servers = settled.start(session, context, only)?;
    if servers.is_empty() {
        return Err(no_servers(settled.config(), only));
    }
    servers.settled().await;
    Ok(servers)
}

/// Why there is nothing to look at.
pub(crate) fn no_servers(config: &massgen::config::Config, only: Option<&str>) -> Failure {
    match only {
        Some(name) => Failure::config(format!("the configuration has no server {name:?}"))
            .with_hint(format!("it has: {}", config_servers(config).join(", "))),
        None => {
            Failure::config("the configuration has no MCP servers").with_hint("add some under mcp_servers:")
        }
    }
}

fn config_servers(config: &massgen::config::Config) -> Vec<String> {
    let own = config.agents.iter().flat_map(|agent| &agent.backend.mcp_servers);
    config.mcp_servers.iter().chain(own).map(|server| server.name.to_string()).collect()
}

/// Writes down, or compares, how every server is reached and what its tools are. Servers are asked afresh: no tool is held
/// back here. One that would be started otherwise than it was accepted is not started for that.
async fn lock(args: &ServersArgs, accept: bool) -> Result<(), Failure> {
    let session = Session::start(OutputArgs::default(), environment::read());
    let config = load(args, &session)?;
    let path = lock_file::path(&config);
    let launches = consent::launches(&session, &config).await?;
    if lock_file::tell_launches(&path, &launches)? && !accept {
        return Err(lock_file::unfit(&path));
    }
    let given = if accept { Given::ByCommand } else { Given::Asked };
    let settled = settled(&session, args, config, given, None).await?;
    Logins::prepare(&session.secrets, settled.config());
    let console = Console::new(Pause::default());
    let context = Context {
        oauth: mcp_auth::kept(&session, (!args.json).then(|| console.clone())),
        person: Some(AtTerminal::new(console, !args.json)),
        ..Context::default()
    };
    let servers = begin(&session, &settled, None, context).await?;
    let failed = servers.reports().into_iter().find_map(|report| Some((report.name, report.error?)));
    let mut pins = servers.pins();
    servers.close().await;
    if let Some((name, error)) = failed {
        return Err(Failure::new(Kind::NoAnswer, format!("nothing was written: {name}: {error}")));
    }
    for (key, pins) in &mut pins {
        pins.launch = launches.get(key).map(LaunchPin::shared);
    }
    lock_file::update(&path, pins, accept)?;
    consent::keep(settled.consent(), launches)
}

async fn list(args: &ServersArgs) -> Result<(), Failure> {
    let Started { servers, .. } = start(args, None).await?;
    let reports = servers.reports();
    if args.json {
        output::json(&reports.iter().map(as_json).collect::<Vec<_>>());
    } else {
        let rows = reports.iter().map(|report| {
            let peer = report.status.peer.as_ref();
            [
                report.name.to_string(),
                owner(report).unwrap_or("the team").to_owned(),
                match report.status.sandbox {
                    Some(level) => format!("{} ({level})", report.state),
                    None => report.state.to_owned(),
                },
                peer.map(|peer| peer.transport.to_string()).unwrap_or_default(),
                peer.map(|peer| peer.protocol_version.clone()).unwrap_or_default(),
                report.tools.to_string(),
                peer.map(says_it_is).unwrap_or_default(),
            ]
        });
        table(["SERVER", "OF", "STATE", "TRANSPORT", "PROTOCOL", "TOOLS", "SAYS IT IS"], rows.collect());
        for report in &reports {
            // One that is merely degraded can be used, and why it is belongs here too.
            if let Some(why) = report.error.as_deref().or(report.status.state.reason()) {
                output::line(format!("\n{}: {}", report.name, safe(why)));
            }
        }
    }
    let failed = reports.iter().filter(|status| status.error.is_some()).count();
    servers.close().await;
    if failed > 0 { Err(Failure::silent(Kind::NoAnswer)) } else { Ok(()) }
}

fn owner(report: &ServerReport) -> Option<&str> {
    match &report.owner {
        Owner::Team => None,
        Owner::Agent(id) => Some(id.as_str()),
    }
}

fn says_it_is(peer: &PeerInfo) -> String {
    let name = peer.name.as_deref().unwrap_or_default();
    format!("{name} {}", peer.version.as_deref().unwrap_or_default()).trim().to_owned()
}

fn as_json(report: &ServerReport) -> Value {
    let peer = report.status.peer.as_ref();
    json!({
        "server": report.name,
        "agent": owner(report),
        "state": report.state,
        "tools": report.tools,
        "error": report.error,
        "transport": peer.map(|peer| peer.transport.to_string()),
        "protocol": peer.map(|peer| &peer.protocol_version),
        "name": peer.and_then(|peer| peer.name.as_deref()),
        "version": peer.and_then(|peer| peer.version.as_deref()),
        "instructions": peer.and_then(|peer| peer.instructions.as_deref()),
        "sandbox": report.status.sandbox,
        "pid": peer.and_then(|peer| peer.pid),
        "restarts": report.status.restarts,
        "circuit": report.status.circuit.name(),
        "peak_processes": report.status.peak_processes,
    })
}

async fn tools(args: &ServersArgs, server: Option<&str>) -> Result<(), Failure> {
    let Started { servers, observed } = start(args, server).await?;
    let catalogue = servers.catalogue();
    let failed: Vec<ServerReport> =
        servers.reports().into_iter().filter(|status| status.error.is_some()).collect();
    if args.json {
        output::json(&catalogue.iter().map(mcp_tool::document).collect::<Vec<_>>());
    } else if !catalogue.is_empty() || failed.is_empty() {
        // An empty table would say that there are none.
        let rows = catalogue.iter().map(|entry| {
            let nature = mcp_tool::nature(&entry.spec.annotations);
            let description = one_line(entry.spec.description.as_deref().unwrap_or_default(), 70);
            [entry.exposed.to_string(), nature.to_owned(), description]
        });
        table(["TOOL", "NATURE", "DESCRIPTION"], rows.collect());
    }
    observed.tell();
    servers.close().await;
    let told =
        |status: &ServerReport| format!("{}: {}", status.name, status.error.as_deref().unwrap_or_default());
    match failed.as_slice() {
        [] => Ok(()),
        // Nothing else was asked for.
        [one] if server.is_some() => Err(Failure::new(Kind::NoAnswer, told(one))),
        several => {
            several.iter().for_each(|status| output::note(safe(&format!("warning: {}", told(status)))));
            Err(Failure::silent(Kind::NoAnswer))
        }
    }
}

async fn call(args: &ServersArgs, server: &str, tool: &str, arguments: JsonObject) -> Result<(), Failure> {
    let Started { servers, observed } = start(args, Some(server)).await?;
    let catalogue = servers.catalogue();
    let exposed = match catalogue.find_on(server, tool).or_else(|| catalogue.find(tool)) {
        Some(entry) => entry.exposed.to_string(),
        // Perhaps it is held back, and known by that name.
        None => match (ServerName::new(server), ToolName::new(tool)) {
            (Ok(server), Ok(tool)) => ExposedName::for_tool(&server, &tool).to_string(),
            _ => tool.to_owned(),
        },
    };
    #[expect(clippy::disallowed_methods, reason = "shown to a person, never tested against")]
    let began = Instant::now();
    let answer = match servers.reports().into_iter().find_map(|status| status.error) {
        Some(error) => Err(Failure::new(Kind::NoAnswer, error)),
        None => {
            let answer = servers.call(ToolCall::new(CallId::new("cli"), exposed, arguments)).await;
            answer.map_err(|error| match error {
                ToolError::UnknownTool { .. } => {
                    observed.tell();
                    mcp_tool::unknown(&catalogue, server, tool)
                }
                ToolError::InvalidArguments { .. } => tool_failure(error)
                    .with_hint(format!("massgen mcp tools {server} {tool} shows what it takes")),
                error => tool_failure(error),
            })
        }
    };
    let took = began.elapsed();
    servers.close().await;
    let answer = answer?;
    if args.json {
        output::json(&json!({
            "content": answer.content,
            "structuredContent": answer.structured,
            "isError": answer.is_error,
            "durationMs": u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        }));
    } else {
        show(&answer);
    }
    if answer.is_error { Err(Failure::silent(Kind::NoAnswer)) } else { Ok(()) }
}

fn show(answer: &ToolOutput) {
    output::line(safe(&answer.to_text()));
    if answer.is_error {
        output::note("the tool says that it failed");
    }
}

pub(crate) fn tool_failure(error: ToolError) -> Failure {
    use massgen::core::ErrorKind;
    let kind = match error.kind() {
        ErrorKind::Caller | ErrorKind::Config | ErrorKind::Denied => Kind::Config,
        ErrorKind::Cancelled => Kind::Interrupted,
        _ => Kind::NoAnswer,
    };
    let failure = Failure::new(kind, error.to_string());
    match error.hint() {
        Some(hint) => failure.with_hint(hint),
        None => failure,
    }
}

/// `key=value` pairs, or one JSON object. A value that is JSON is taken as such, everything else is text.
fn parse_arguments(pairs: &[String], object: Option<&str>) -> Result<JsonObject, Failure> {
    if let Some(object) = object {
        return serde_json::from_str(object).map_err(|error| {
            Failure::new(Kind::Usage, format!("--arguments-json is not a JSON object: {error}"))
        });
    }
    let mut arguments = JsonObject::new();
    for pair in pairs {
        let Some((key, value)) = pair.split_once('=') else {
            return Err(Failure::new(Kind::Usage, format!("{pair:?} is not KEY=VALUE")));
        };
        let value = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
        arguments.insert(key.to_owned(), value);
    }
    Ok(arguments)
}

/// Columns as wide as their content; the last one runs free.
pub(crate) fn table<const N: usize>(head: [&str; N], rows: Vec<[String; N]>) {
    let mut widths = head.map(|title| title.chars().count());
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: Vec<&str>| {
        let padded: Vec<_> = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        output::line(safe(padded.join("  ").trim_end()));
    };
    line(head.to_vec());
    for row in &rows {
        line(row.iter().map(String::as_str).collect());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_are_json_are_taken_as_json() {
        let pairs = ["n=1", "list=[1,2]", "text=hello", "quoted=\"1\"", "empty="].map(str::to_owned);
        let arguments = parse_arguments(&pairs, None).unwrap();
        assert_eq!(
            Value::Object(arguments),
            json!({"n": 1, "list": [1, 2], "text": "hello", "quoted": "1", "empty": ""})
        );
        assert_eq!(parse_arguments(&["x".to_owned()], None).unwrap_err().exit_code(), 2);
        assert_eq!(parse_arguments(&[], Some("[1]")).unwrap_err().exit_code(), 2);
    }
}
