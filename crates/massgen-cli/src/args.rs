//! The command line: v0.0.13's flags, and the commands that came since.

use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::failure::{Failure, Kind};
use crate::output;

/// A team of language-model agents answers one question together, with tools from any number of MCP servers.
#[derive(Debug, Parser)]
#[command(
    name = "massgen",
    version,
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  \
                    massgen demo                             a team at work, without any account\n  \
                    massgen --config team.yaml \"QUESTION\"    one question; without it, a conversation\n  \
                    massgen --backend claude \"QUESTION\"      one agent, without a configuration\n  \
                    echo \"QUESTION\" | massgen --output json  the answer as one document\n  \
                    massgen mcp doctor --config team.yaml    what is wrong with its servers\n\n\
                  Exit codes: 0 answered, 1 configuration, 2 usage, 3 no answer, 4 timed out with the best answer printed, 130 interrupted."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,

    #[command(flatten)]
    pub(crate) run: RunArgs,
}

/// What to ask whom.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct RunArgs {
    /// The question; `-` reads it from standard input
    pub(crate) question: Option<String>,

    /// The team's configuration, YAML or JSON [default: ./massgen.yaml where there is one]
    #[arg(long, value_name = "PATH", conflicts_with = "backend")]
    pub(crate) config: Option<PathBuf>,

    /// One agent of this provider, without a configuration
    #[arg(long, value_name = "NAME")]
    pub(crate) backend: Option<String>,

    /// The model; its provider is inferred where --backend is not given
    #[arg(long, value_name = "NAME")]
    pub(crate) model: Option<String>,

    /// The agent's system message, without a configuration
    #[arg(long, value_name = "TEXT")]
    pub(crate) system_message: Option<String>,

    /// The provider's address, without a configuration
    #[arg(long, value_name = "URL")]
    pub(crate) base_url: Option<String>,

    /// End the coordination after this many seconds and present the best answer so far
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) orchestrator_timeout: Option<u64>,

    #[command(flatten)]
    pub(crate) guard: GuardArgs,

    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// What agents may do.
#[derive(Debug, Clone, Copy, Default, Args)]
pub(crate) struct GuardArgs {
    /// What becomes of calls that may change the world and that no permission rule speaks of [default: ask on a
    /// terminal; elsewhere allow, but refuse what says that it deletes or overwrites]
    #[arg(long, value_enum, value_name = "DECISION")]
    pub(crate) changes: Option<Changes>,

    /// Offer only tools that are in massgen.lock as they are, and none of servers that it does not know
    #[arg(long)]
    pub(crate) locked: bool,
}

/// What becomes of calls that may change the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Changes {
    /// They may happen
    Allow,
    /// A person is asked; where nobody can be asked, they are refused
    Ask,
    /// They are refused
    Deny,
}

/// What is shown and kept.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct OutputArgs {
    /// What standard output carries
    #[arg(long, value_enum, default_value_t)]
    pub(crate) output: OutputFormat,

    /// Plain lines, as in a pipe
    #[arg(long)]
    pub(crate) no_display: bool,

    /// Keep no log directory
    #[arg(long)]
    pub(crate) no_logs: bool,

    /// Tell more: details on standard error and in the log
    #[arg(long)]
    pub(crate) debug: bool,

    /// Show metrics to Prometheus at http://ADDR/metrics while it runs, such as 127.0.0.1:9464
    #[cfg(feature = "prometheus")]
    #[arg(long, value_name = "ADDR")]
    pub(crate) metrics: Option<std::net::SocketAddr>,
}

/// What standard output carries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputFormat {
    /// Progress, the answer and the votes, for people
    #[default]
    Text,
    /// One JSON document at the end
    Json,
    /// One JSON line per event, as they happen
    Events,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show a team at work: models where there are some, else played from a script, and said so
    Demo(DemoArgs),
    /// Look into the MCP servers of a configuration
    #[command(subcommand)]
    Mcp(McpCommand),
    /// Take a run up again that was cut off: names the calls that may have taken effect, sends none of them again
    Resume(ResumeArgs),
    /// Work with configuration files
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Keep values that configurations name by `${keyring:NAME}`
    #[command(subcommand)]
    Secrets(SecretsCommand),
    /// Print the completions of a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Clone, Args)]
pub(crate) struct DemoArgs {
    /// A question of your own; it needs a model
    pub(crate) question: Option<String>,

    /// Fetch and start a small local model (about 160 MB, kept in a cache)
    #[arg(long)]
    pub(crate) local_model: bool,

    /// Do not ask before downloading
    #[arg(long, short)]
    pub(crate) yes: bool,

    /// Another team than the built-in one
    #[arg(long, value_name = "PATH", hide = true)]
    pub(crate) team: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct ResumeArgs {
    /// The log folder of the run
    #[arg(value_name = "LOG_DIR")]
    pub(crate) log: PathBuf,

    /// Another configuration than the run's
    #[arg(long, value_name = "PATH")]
    pub(crate) config: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) guard: GuardArgs,

    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Check a configuration and say what it means; nothing is started
    Check {
        /// The file
        file: PathBuf,
        /// One JSON document
        #[arg(long)]
        json: bool,
    },
    /// Print the JSON Schema of the configuration format
    Schema,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SecretsCommand {
    /// Keep a value: it is asked for without an echo, or read from standard input
    Set {
        /// Its name: letters, digits, `_`, `-` and `.`
        name: String,
    },
    /// Show the names, and where each is kept; never a value
    List {
        /// One JSON document
        #[arg(long)]
        json: bool,
    },
    /// Forget a value
    Rm {
        /// Its name
        name: String,
    },
}

/// Which servers are meant.
#[derive(Debug, Clone, Args)]
pub(crate) struct ServersArgs {
    /// The team's configuration, YAML or JSON [default: ./massgen.yaml]
    #[arg(long, value_name = "PATH", global = true)]
    pub(crate) config: Option<PathBuf>,

    /// One JSON document
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum McpCommand {
    /// Start every server and show how each one is
    List {
        #[command(flatten)]
        servers: ServersArgs,
    },
    /// Show the tools, under the names that models see
    Tools {
        /// Only this server's
        server: Option<String>,
        /// This tool alone, with its arguments and everything the server says of it
        tool: Option<String>,
        #[command(flatten)]
        servers: ServersArgs,
    },
    /// Call one tool through the whole pipeline
    Call {
        /// The server
        server: String,
        /// The tool, by the server's own name for it
        tool: String,
        /// Arguments: `key=value`; a value that is JSON is taken as such
        #[arg(value_name = "KEY=VALUE")]
        arguments: Vec<String>,
        /// All arguments as one JSON object
        #[arg(long, value_name = "OBJECT", conflicts_with = "arguments")]
        arguments_json: Option<String>,
        #[command(flatten)]
        servers: ServersArgs,
    },
    /// Show the resources, and the patterns of their addresses
    Resources {
        /// Only this server's
        server: Option<String>,
        #[command(flatten)]
        servers: ServersArgs,
    },
    /// Read a resource
    Read {
        /// The server
        server: String,
        /// The resource's address
        uri: String,
        #[command(flatten)]
        servers: ServersArgs,
    },
    /// Show the prompts and their arguments
    Prompts {
        /// Only this server's
        server: Option<String>,
        #[command(flatten)]
        servers: ServersArgs,
    },
    /// Fill in a prompt
    Prompt {
        /// The server
        server: String,
        /// The prompt
        prompt: String,
        /// Arguments: `key=value`
        #[arg(value_name = "KEY=VALUE")]
        arguments: Vec<String>,
        /// Show the server's proposals for this argument instead, from what is given of it so far
        #[arg(long, value_name = "ARGUMENT")]
        complete: Option<String>,
        #[command(flatten)]
        servers: ServersArgs,
    },
    /// Log in at a remote server through the browser; the login is kept for later runs
    Auth(AuthArgs),
    /// Write massgen.lock: what every tool is now; later, show what changed
    Lock {
        /// Take over the changes
        #[arg(long)]
        accept: bool,
        #[command(flatten)]
        servers: ServersArgs,
    },
    /// Start every server and say, step by step, what is wrong and what to do
    Doctor(DoctorArgs),
    /// Judge configurations of servers, massgen's or another program's; with --live also what the servers say
    Scan(ScanArgs),
    /// Look into the audit log of a run
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Show how often tools were called, by whom, how that went and how long it took
    Stats(StatsArgs),
    /// Start a stdio server behind a proxy that makes trouble, to see how a client takes it
    Chaos(ChaosArgs),
}

/// Which login is made.
#[derive(Debug, Clone, Args)]
pub(crate) struct AuthArgs {
    /// The server, by its name in the configuration
    pub(crate) server: String,

    /// Start no browser: the address of the page is shown, and the one it leads to is asked for
    #[arg(long)]
    pub(crate) no_browser: bool,

    /// Forget the login that is kept, and make none
    #[arg(long, conflicts_with = "no_browser")]
    pub(crate) forget: bool,

    #[command(flatten)]
    pub(crate) servers: ServersArgs,
}

/// Which servers are examined.
#[derive(Debug, Clone, Args)]
pub(crate) struct DoctorArgs {
    /// Only this one
    pub(crate) server: Option<String>,

    #[command(flatten)]
    pub(crate) servers: ServersArgs,
}

/// What is scanned, and how it is told.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Exit codes: 0 nothing of --fail-on or worse, 1 a file cannot be read, 3 a server could not be looked at, 5 something was found."
)]
pub(crate) struct ScanArgs {
    /// Configurations: massgen's own, or files with servers of Claude Desktop, Cursor, VS Code and their like
    /// [default: ./massgen.yaml; where there is none, as --all]
    #[arg(value_name = "CONFIG")]
    pub(crate) config: Vec<PathBuf>,

    /// The same as CONFIG
    #[arg(long = "config", value_name = "PATH")]
    pub(crate) named: Vec<PathBuf>,

    /// Also what such programs have in their usual places, for you and in this folder
    #[arg(long)]
    pub(crate) all: bool,

    /// A server that is in no file: an address, or a command line
    #[arg(long, value_name = "URL|COMMAND")]
    pub(crate) server: Vec<String>,

    /// Start or dial the servers that are not refused, and judge their tools, texts and schemas, against massgen.lock too
    #[arg(long)]
    pub(crate) live: bool,

    /// Exit with code 5 where something this bad or worse was found
    #[arg(long, value_enum, value_name = "SEVERITY", default_value_t)]
    pub(crate) fail_on: FailOn,

    /// One JSON document
    #[arg(long, conflicts_with = "sarif")]
    pub(crate) json: bool,

    /// One SARIF 2.1.0 document, as code scanning takes it
    #[arg(long)]
    pub(crate) sarif: bool,
}

/// What makes a scan fail.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum FailOn {
    /// What massgen refuses or holds back
    #[default]
    Error,
    /// What massgen tells and uses
    Warning,
    /// What is worth knowing
    Note,
    /// Nothing
    Never,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Check that no line was altered, left out, added or moved; exit code 3 where one was, or where the end is missing
    Verify(AuditVerify),
    /// Show records, all of them or some
    Query(AuditQuery),
    /// Write the log in a format that other programs collect
    Export(AuditExport),
}

/// Which log is checked.
#[derive(Debug, Clone, Args)]
pub(crate) struct AuditVerify {
    /// The log folder of a run, or its audit.jsonl; where the log was moved while it was written, all its files in order
    #[arg(required = true)]
    pub(crate) log: Vec<PathBuf>,

    /// The run is still on, or was killed: a log without its last line is fine
    #[arg(long)]
    pub(crate) unfinished: bool,

    /// Only a log that is keyed by this installation will do
    #[arg(long)]
    pub(crate) keyed: bool,

    /// One JSON document
    #[arg(long)]
    pub(crate) json: bool,
}

/// What is written where.
#[derive(Debug, Clone, Args)]
pub(crate) struct AuditExport {
    /// The log folder of a run, or its audit.jsonl
    pub(crate) log: PathBuf,

    /// The format
    #[arg(long, value_enum)]
    pub(crate) format: AuditFormat,

    /// The file [default: standard output]
    #[arg(long, short, value_name = "PATH")]
    pub(crate) output: Option<PathBuf>,
}

/// What other programs read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum AuditFormat {
    /// Open Cybersecurity Schema Framework 1.6, one event a line: calls as API Activity (6003), servers as Application
    /// Lifecycle (6002), everything that a rule found as Detection Finding (2004)
    Ocsf,
    /// SARIF 2.1.0: what was refused or found
    Sarif,
}

/// Which records are meant.
#[derive(Debug, Clone, Args)]
pub(crate) struct AuditQuery {
    /// The log folder of a run, or its audit.jsonl
    pub(crate) log: PathBuf,

    /// Only calls of this agent
    #[arg(long, value_name = "ID")]
    pub(crate) agent: Option<String>,

    /// Only this server's
    #[arg(long, value_name = "NAME")]
    pub(crate) server: Option<String>,

    /// Only this tool's, by the server's own name for it
    #[arg(long, value_name = "NAME")]
    pub(crate) tool: Option<String>,

    /// Only this kind
    #[arg(long, value_name = "KIND", value_parser = PossibleValuesParser::new(crate::audit_log::EVENTS))]
    pub(crate) event: Option<String>,

    /// Only what this rule decided
    #[arg(long, value_name = "RULE")]
    pub(crate) rule: Option<String>,

    /// Only what was refused
    #[arg(long)]
    pub(crate) denied: bool,

    /// One JSON document
    #[arg(long)]
    pub(crate) json: bool,
}

/// Which runs are meant.
#[derive(Debug, Clone, Args)]
pub(crate) struct StatsArgs {
    /// The log folder of a run [default: the newest in ./massgen_logs]
    #[arg(value_name = "LOG_DIR", conflicts_with = "all")]
    pub(crate) log: Option<PathBuf>,

    /// All runs in ./massgen_logs together
    #[arg(long)]
    pub(crate) all: bool,

    /// One JSON document
    #[arg(long)]
    pub(crate) json: bool,
}

/// Which trouble is made. Requests are counted and drawn one by one; without an option nothing is changed.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ChaosArgs {
    /// Hold each message of the server back for so long
    #[arg(long, value_name = "MS", default_value_t = 0)]
    pub(crate) delay: u64,

    /// Swallow a message of the server with this probability, 0 to 1
    #[arg(long, value_name = "P", default_value_t = 0.0, value_parser = probability)]
    pub(crate) drop: f64,

    /// Write a line that is no message before one with this probability, 0 to 1
    #[arg(long, value_name = "P", default_value_t = 0.0, value_parser = probability)]
    pub(crate) garbage: f64,

    /// Kill the server and end when this many requests have been passed on
    #[arg(long, value_name = "N")]
    pub(crate) crash_after: Option<u64>,

    /// Answer a call with a JSON-RPC error of this code instead of passing it on, with probability --error-rate
    #[arg(long, value_name = "CODE", allow_negative_numbers = true)]
    pub(crate) error: Option<i64>,

    /// How often --error strikes, 0 to 1
    #[arg(long, value_name = "P", default_value_t = 1.0, value_parser = probability)]
    pub(crate) error_rate: f64,

    /// Makes the same draws each time
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,

    /// The server: a program and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub(crate) command: Vec<String>,
}

/// Tells what is wrong with the command line. Several words that are no command are, mostly, a question without quotes.
pub(crate) fn refuse(error: &clap::Error) -> Result<(), Failure> {
    use clap::error::{ContextKind, ContextValue, ErrorKind};
    let beside = |kind: ContextKind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.contains("QUESTION"),
        Some(ContextValue::Strings(texts)) => texts.iter().any(|text| text.contains("QUESTION")),
        _ => false,
    };
    if error.kind() == ErrorKind::ArgumentConflict
        && (beside(ContextKind::PriorArg) || beside(ContextKind::InvalidArg))
    {
        return Err(Failure::new(Kind::Usage, "a question of several words stands in quotes")
            .with_hint("massgen \"Why is the sky blue?\"; massgen --help shows the commands"));
    }
    let printed = error.print();
    if error.use_stderr() {
        return Err(Failure::silent(Kind::Usage));
    }
    // Help, or the version: what was asked for.
    output::remember(printed);
    output::complete()
}

/// A limit of nothing would end every run before its first answer, and is none of the ways to have no limit.
fn seconds(text: &str) -> Result<u64, String> {
    match text.parse::<u64>() {
        Ok(0) => {
            Err("it leaves no time for an answer; without the flag, the team's own limit holds".to_owned())
        }
        Ok(seconds) => Ok(seconds),
        Err(_) => Err("a number of seconds is wanted, such as 600".to_owned()),
    }
}

fn probability(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if (0.0..=1.0).contains(&value) => Ok(value),
        _ => Err("a probability lies between 0 and 1".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn flags_of_v0_0_13_keep_their_meaning() {
        let cli = Cli::parse_from([
            "massgen",
            "--backend",
            "claude",
            "--model",
            "m",
            "--system-message",
            "s",
            "--base-url",
            "u",
            "--no-display",
            "--no-logs",
            "--debug",
            "--orchestrator-timeout",
            "30",
            "why?",
        ]);
        assert_eq!(cli.run.backend.as_deref(), Some("claude"));
        assert_eq!(cli.run.question.as_deref(), Some("why?"));
        assert_eq!(cli.run.orchestrator_timeout, Some(30));
        let both = Cli::try_parse_from(["massgen", "--config", "a.yaml", "--backend", "claude"]);
        assert_eq!(both.unwrap_err().exit_code(), 2);
    }
}
