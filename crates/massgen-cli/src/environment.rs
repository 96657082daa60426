//! The one place that reads the process's environment.

use std::path::PathBuf;

use massgen::core::Environment;

use crate::dotenv;
use crate::output;
use crate::style::safe;

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
    let file = dotenv::read(std::path::Path::new(".env"));
    for (name, value) in &file {
        if may_set(name, &file) {
            environment.set(name.clone(), value.clone());
        } else if environment.get(name) != Some(value.as_str()) {
            output::note(safe(&format!(
                "warning: {name} in ./.env is passed over: a file of a folder does not say that"
            )));
        }
    }
    environment
}

/// Whether `./.env`, which came with the folder, may say this: not where the user's own files and programs are, and to
/// which address a key goes only where it brings the key.
fn may_set(name: &str, file: &[(String, String)]) -> bool {
    let name = name.to_ascii_uppercase();
    let is_place = matches!(
        name.as_str(),
        "HOME"
            | "USERPROFILE"
            | "APPDATA"
            | "LOCALAPPDATA"
            | "PATH"
            | "MASSGEN_SECRETS"
            | "SSL_CERT_FILE"
            | "SSL_CERT_DIR"
    ) || name.starts_with("XDG_");
    if is_place {
        return false;
    }
    if !name.ends_with("_BASE_URL") && name != "AZURE_OPENAI_ENDPOINT" {
        return true;
    }
    let provider = name.split('_').next().unwrap_or_default();
    file.iter().any(|(key, _)| {
        let key = key.to_ascii_uppercase();
        key.ends_with("_API_KEY")
            && (key.starts_with(provider) || provider == "GOOGLE" && key == "GEMINI_API_KEY")
    })
}
