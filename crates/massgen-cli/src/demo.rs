//! `massgen demo`: a team at work, with whoever is there to play the models.

use std::path::{Path, PathBuf};

use massgen::config::{self, Config, Disk, Format, ToolMode};
use massgen::core::Environment;
use massgen::security::Trust;

use crate::args::DemoArgs;
use crate::consent::{self, Given, Settled};
use crate::failure::{Failure, Kind};
use crate::local_model::{self, LocalModel};
use crate::players::{self, Players};
use crate::session::Session;
use crate::{environment, output, run};

/// The team, and the script that plays it where there is no model. They are `examples/quickstart`.
const TEAM: &str = include_str!("../demo/team.yaml");
const REHEARSAL: &str = include_str!("../demo/rehearsal.yaml");

pub(crate) async fn run(args: DemoArgs) -> Result<(), Failure> {
    let mut session = Session::start(args.output.clone(), environment::read());
    let own_question = args.question.clone().filter(|question| !question.trim().is_empty());
    let mut started: Option<LocalModel> = None;
    let players = if args.local_model {
        let model = local_model::start(&session, local_model::Consent::of(args.yes)).await?;
        let players = model.players();
        started = Some(model);
        players
    } else {
        players::find(&session.environment).await
    };
    let first_line = match &players {
        Some(players) => format!("models   {players}"),
        None if own_question.is_some() => return Err(nobody_to_ask()),
        None => "models   none found: this is a rehearsal. The models' words are played from a script; servers, tool calls, \
                 answers, votes and the log are real."
            .to_owned(),
    };
    session.say(first_line);
    if players.is_none() {
        session.say("         For real models set a provider's key, start a local model server, or pass --local-model.");
    }
    cast(&mut session.environment, players.as_ref());
    let ended = perform(&session, &args, own_question).await;
    if let Some(model) = started {
        model.stop().await;
    }
    ended
}

fn nobody_to_ask() -> Failure {
    Failure::new(Kind::Config, "a question of your own needs a model, and none was found")
        .with_hint(format!("{}\n  Without a question the demo is played from a script.", players::REMEDIES))
}

async fn perform(session: &Session, args: &DemoArgs, own_question: Option<String>) -> Result<(), Failure> {
    let settled = match &args.team {
        // Whoever names it has said whose it is.
        Some(path) => {
            let config = run::load(path, session)?;
            consent::settle(session, config, Trust::User, Given::Asked, None).await?
        }
        None => Settled::own(built_in(session)?),
    };
    let question = match own_question {
        Some(question) => question,
        None => massgen::rehearsal_question(REHEARSAL).map_err(Failure::config)?,
    };
    let next = match Path::new("examples/quickstart/team.yaml") {
        team if team.is_file() => {
            format!("massgen demo \"a question of your own\"   or read {}", team.display())
        }
        _ => "massgen demo \"a question of your own\"".to_owned(),
    };
    let scripts = [(PathBuf::from("rehearsal.yaml"), REHEARSAL.to_owned())].into();
    run::once(session, &settled, question, scripts, &next).await
}

/// Gives the team's parts to the players: the configuration reads these variables.
fn cast(environment: &mut Environment, players: Option<&Players>) {
    let (backend, model, base_url) = match players.and_then(Players::backend) {
        None => ("scripted", "", ""),
        Some(backend) => (
            backend.kind.as_str(),
            backend.model.as_deref().unwrap_or_default(),
            backend.base_url.as_deref().unwrap_or_default(),
        ),
    };
    if let Some(backend) = players.and_then(Players::backend)
        && backend.tool_mode == ToolMode::JsonSchema
    {
        environment.set("MASSGEN_DEMO_TOOL_MODE", "json_schema");
        let limit = backend.params.max_tokens.map(|limit| limit.to_string());
        environment.set("MASSGEN_DEMO_LENGTH", limit.unwrap_or_else(|| "8000".to_owned()));
    }
    environment.set("MASSGEN_DEMO_BACKEND", backend);
    environment.set("MASSGEN_DEMO_MODEL", model);
    environment.set("MASSGEN_DEMO_BASE_URL", base_url);
    if environment.non_empty("MASSGEN_EXAMPLES_BIN").is_none()
        && let Some(folder) = std::env::current_exe().ok().as_deref().and_then(Path::parent)
    {
        environment.set("MASSGEN_EXAMPLES_BIN", folder.display().to_string());
    }
}

/// The team that is built in.
fn built_in(session: &Session) -> Result<Config, Failure> {
    let folder = PathBuf::from(session.environment.get("MASSGEN_EXAMPLES_BIN").unwrap_or("."));
    let desk = folder.join(format!("desk{}", std::env::consts::EXE_SUFFIX));
    if !desk.is_file() {
        return Err(Failure::config(format!("the demo's own servers are not beside the program: {} is missing", desk.display()))
            .with_hint("in a clone, cargo xtask demo builds them; cargo install --path examples/servers/desk, and library, put them beside it"));
    }
    let loaded = config::load_str(TEAM, Path::new("team.yaml"), Format::Yaml, &session.load_options(), &Disk);
    match loaded.config {
        Some(config) => Ok(config),
        None => {
            output::note(loaded.diagnostics.to_string());
            Err(Failure::silent(Kind::Config))
        }
    }
}
