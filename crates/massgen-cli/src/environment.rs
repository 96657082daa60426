//! The one place that reads the process's environment.

use std::path::PathBuf;

use massgen::core::Environment;

use crate::dotenv;

/// Where this program keeps what outlives its runs; `None`: the environment names no place.
pub(crate) fn state_folder(environment: &Environment) -> Option<PathBuf> {
    let state = match environment.non_empty("XDG_STATE_HOME") {
        Some(state) => PathBuf::from(state),
        None => PathBuf::from(environment.non_empty("HOME")?).join(".local/state"),
    };
    Some(state.join("massgen"))
}

/// The process's variables, overlaid with those of `./.env`: as in v0.0.13, the file wins.
pub(crate) fn read() -> Environment {
    #[expect(clippy::disallowed_methods, reason = "this is the place that reads the environment")]
    let mut environment: Environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    for (name, value) in dotenv::read(std::path::Path::new(".env")) {
        environment.set(name, value);
    }
    environment
}
