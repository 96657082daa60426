//! The one place that reads the process's environment.

use massgen::core::Environment;

use crate::dotenv;

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
