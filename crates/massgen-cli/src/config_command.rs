//! `massgen config …`

use std::path::Path;

use massgen::Context;
use massgen::config::{self, Config, Diagnostics};
use serde_json::json;

use crate::args::ConfigCommand;
use crate::failure::{Failure, Kind};
use crate::secret_store::SecretStore;
use crate::{environment, output, session};

pub(crate) fn run(command: ConfigCommand) -> Result<(), Failure> {
    match command {
        ConfigCommand::Check { file, json } => check(&file, json),
        ConfigCommand::Schema => {
            output::json(&config::json_schema());
            Ok(())
        }
    }
}

/// Checks a file. Nothing is started, and a key or a variable that this machine lacks is a problem of this machine,
/// not of the file: it is a warning.
fn check(file: &Path, as_json: bool) -> Result<(), Failure> {
    let environment = environment::read();
    let secrets = SecretStore::new(&environment);
    let context = Context { environment: environment.clone(), ..Context::default() };
    let options = session::load_options(environment, secrets);
    let loaded = config::load(file, &options);
    let lacks: Vec<_> =
        loaded.config.iter().flat_map(|config| massgen::obstacles(config, &context)).collect();
    if as_json {
        let lacks: Vec<_> =
            lacks.iter().map(|lack| json!({"message": lack.message, "help": lack.hint})).collect();
        output::json(&json!({
            "file": file,
            "ok": !loaded.diagnostics.has_errors(),
            "diagnostics": loaded.diagnostics,
            "lacks": lacks,
            "summary": loaded.config.as_ref().map(Config::summary),
        }));
    } else {
        show(file, loaded.config.as_ref(), &loaded.diagnostics);
        for lack in lacks {
            let help = lack.hint.map(|hint| format!("\n  help: {hint}")).unwrap_or_default();
            output::note(format!("warning: a run would end at once: {}{help}", lack.message));
        }
    }
    if loaded.diagnostics.has_errors() { Err(Failure::silent(Kind::Config)) } else { Ok(()) }
}

fn show(file: &Path, config: Option<&Config>, diagnostics: &Diagnostics) {
    if !diagnostics.is_empty() {
        output::note(diagnostics.to_string());
    }
    let Some(config) = config else { return };
    let warned = match diagnostics.warnings().count() {
        0 => String::new(),
        1 => ", with one warning".to_owned(),
        n => format!(", with {n} warnings"),
    };
    output::line(format!("{} is fine{warned}", file.display()));
    output::line(config.summary().to_string().trim_end());
}
