//! `${...}` in values: environment variables, files, folders.

use std::path::{Path, PathBuf};

use mcp_core::{Environment, MissingCredential};

use crate::diagnostic::{Diagnostic, Place, Severity};
use crate::load::{FileReader, Unresolved};
use crate::mask::is_secret_name;
use crate::node::{Entry, Node, Value};
use crate::read::{KeyPath, Reader};
use crate::secret::{SecretError, SecretSource};

/// Where values come from.
pub(crate) struct Interpolator<'a> {
    pub environment: &'a Environment,
    /// What `${cwd}` is outside a backend.
    pub cwd: &'a Path,
    /// What `${config_dir}` is, and where relative `${file:...}` paths start.
    pub dir: &'a Path,
    pub files: &'a dyn FileReader,
    /// Where `${keyring:...}` is looked up.
    pub keyring: Option<&'a dyn SecretSource>,
    pub unresolved: Unresolved,
    /// Every value that came from outside and has to stay out of sight.
    pub secrets: Vec<String>,
    /// The values of servers that wait for a credential, by place. They cost that server and nothing else.
    pub missing: Vec<(Place, MissingCredential)>,
}

/// What a value is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    /// Anything.
    Plain,
    /// Written for a model to read: `${...}` may be meant literally.
    Prose,
    /// `api_key`, and everything under `env` and `headers`.
    Secret,
    /// Arguments of a program: everybody on the machine can read them.
    Arguments,
}

/// What stands between `${` and `}`.
enum Reference<'t> {
    Variable { name: &'t str, default: Option<&'t str> },
    File(&'t str),
    Keyring(&'t str),
    Cwd,
    ConfigDir,
    Unknown,
}

impl<'t> Reference<'t> {
    fn read(inner: &'t str) -> Self {
        match inner {
            "cwd" => return Self::Cwd,
            "config_dir" => return Self::ConfigDir,
            _ => {}
        }
        if let Some(path) = inner.strip_prefix("file:") {
            return Self::File(path.trim());
        }
        if let Some(name) = inner.strip_prefix("keyring:") {
            return Self::Keyring(name.trim());
        }
        let inner = inner.strip_prefix("env:").unwrap_or(inner);
        let (name, default) =
            inner.split_once(":-").map_or((inner, None), |(name, default)| (name, Some(default)));
        let legal = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        if legal { Self::Variable { name, default } } else { Self::Unknown }
    }
}

impl Interpolator<'_> {
    /// Replaces every reference in the tree. Top-level keys that begin with `x-` are left alone: they are places for
    /// anchors, and an alias is replaced where it is used.
    pub(crate) fn run(&mut self, root: &mut Node, reader: &mut Reader<'_>) {
        let cwd = self.cwd.to_path_buf();
        self.walk(root, &KeyPath::default(), Use::Plain, &cwd, reader);
    }

    fn walk(&mut self, node: &mut Node, path: &KeyPath, usage: Use, cwd: &Path, reader: &mut Reader<'_>) {
        match &mut node.value {
            Value::Text(text) => {
                if text.contains("${") {
                    let place = node.place;
                    *text = self.expand(text, place, path, usage, cwd, reader);
                }
            }
            Value::List(items) => {
                for (i, item) in items.iter_mut().enumerate() {
                    self.walk(item, &path.index(i), usage, cwd, reader);
                }
            }
            Value::Map(entries) => {
                let top = *path == KeyPath::default();
                for entry in entries {
                    if !(top && entry.key.starts_with("x-")) {
                        self.entry(entry, path, usage, cwd, reader);
                    }
                }
            }
            Value::Null | Value::Bool(..) | Value::Number(..) => {}
        }
    }

    fn entry(&mut self, entry: &mut Entry, path: &KeyPath, usage: Use, cwd: &Path, reader: &mut Reader<'_>) {
        let at = path.key(&entry.key);
        let inner = match entry.key.as_str() {
            "backend" => return self.backend(&mut entry.node, &at, usage, cwd, reader),
            "api_key" | "env" | "headers" => Use::Secret,
            "args" | "extra_args" | "command" => Use::Arguments,
            "system_message" | "system_prompt" | "append_system_prompt" | "description" => Use::Prose,
            _ => usage,
        };
        self.walk(&mut entry.node, &at, inner, cwd, reader);
    }

    /// A backend. Its own working folder comes first: it is what `${cwd}` is in all the rest.
    fn backend(&mut self, node: &mut Node, path: &KeyPath, usage: Use, cwd: &Path, reader: &mut Reader<'_>) {
        let Value::Map(entries) = &mut node.value else { return self.walk(node, path, usage, cwd, reader) };
        let first = entries.iter().rposition(|entry| entry.key == "cwd");
        let mut own = cwd.to_path_buf();
        if let Some(entry) = first.and_then(|at| entries.get_mut(at)) {
            self.entry(entry, path, usage, cwd, reader);
            own.extend(entry.node.as_text());
        }
        for (at, entry) in entries.iter_mut().enumerate() {
            if Some(at) != first {
                self.entry(entry, path, usage, &own, reader);
            }
        }
    }

    fn expand(
        &mut self,
        text: &str,
        place: Place,
        path: &KeyPath,
        usage: Use,
        cwd: &Path,
        reader: &mut Reader<'_>,
    ) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find("${") {
            let (before, after) = (&rest[..at], &rest[at + 2..]);
            if let Some(escaped) = before.strip_suffix('$') {
                out.push_str(escaped);
                out.push_str("${");
                rest = after;
                continue;
            }
            out.push_str(before);
            let Some(end) = after.find('}') else {
                out.push_str("${");
                rest = after;
                let problem = Problem::new("\"${\" has no \"}\"", "close it, or write $${ for a literal ${");
                self.report(problem, "${", place, path, usage, reader);
                continue;
            };
            let inner = &after[..end];
            let whole = &rest[at..at + 2 + end + 1];
            rest = &after[end + 1..];
            match self.value(inner, usage, cwd) {
                Ok(value) => {
                    self.in_arguments(inner, usage, place, whole, path, reader);
                    out.push_str(&value);
                }
                Err(problem) => {
                    out.push_str(whole);
                    match problem.missing {
                        Some(missing) if path.is_inside_servers() => {
                            self.without_credential(missing, whole, place, path, reader);
                        }
                        _ => self.report(problem, whole, place, path, usage, reader),
                    }
                }
            }
        }
        out.push_str(rest);
        out
    }

    fn value(&mut self, inner: &str, usage: Use, cwd: &Path) -> Result<String, Problem> {
        match Reference::read(inner) {
            Reference::Cwd => Ok(cwd.display().to_string()),
            Reference::ConfigDir => Ok(self.cwd.join(self.dir).display().to_string()),
            Reference::Variable { name, default } => {
                let secret = usage == Use::Secret || is_secret_name(name);
                match (self.environment.non_empty(name), default) {
                    (Some(value), _) => {
                        if secret {
                            self.secrets.push(value.to_owned());
                        }
                        Ok(value.to_owned())
                    }
                    // Which variable it is must be seen by who looks at the configuration.
                    (None, Some(_)) if usage == Use::Secret && self.unresolved == Unresolved::Keep => {
                        Err(Problem::new("the reference is not looked up", ""))
                    }
                    (None, Some(default)) => Ok(default.to_owned()),
                    (None, None) => {
                        let state =
                            if self.environment.get(name).is_some() { "is empty" } else { "is not set" };
                        Err(Problem::new(
                            format!("the environment variable {name} {state}"),
                            format!(
                                "set it in the environment or in .env, or give a default: ${{{name}:-default}}"
                            ),
                        ))
                    }
                }
            }
            Reference::File(_) | Reference::Keyring(_) if self.unresolved == Unresolved::Keep => {
                Err(Problem::new("the reference is not looked up", ""))
            }
            Reference::File(file) => {
                let path = expand_home(file, self.environment).unwrap_or_else(|| self.dir.join(file));
                let read = self.files.read(&path).map_err(|error| {
                    let reason = crate::load::reason(&error);
                    Problem::new(
                        format!("the file {} cannot be read: {reason}", path.display()),
                        "check the path; it starts from the folder of the configuration file",
                    )
                })?;
                let value = read.trim().to_owned();
                self.secrets.push(value.clone());
                Ok(value)
            }
            Reference::Keyring(name) => self.kept(name),
            Reference::Unknown => Err(Problem::new(
                format!("{} is no reference", crate::read::short(&format!("${{{inner}}}"))),
                "write ${NAME}, ${NAME:-default}, ${keyring:NAME}, ${file:PATH}, ${cwd} or ${config_dir}; a literal ${ is $${",
            )),
        }
    }

    /// A secret by its name.
    fn kept(&mut self, name: &str) -> Result<String, Problem> {
        let Some(keyring) = self.keyring else {
            return Err(Problem::new(
                "${keyring:...} cannot be looked up here",
                "put the value into an environment variable and write ${NAME}, or into a file and write ${file:PATH}",
            ));
        };
        if !is_secret_key(name) {
            return Err(Problem::new(
                format!("{} cannot be the name of a secret", crate::read::short(name)),
                "a secret's name is 1 to 100 letters, digits, \"_\", \"-\" and \".\"",
            ));
        }
        match keyring.secret(name) {
            Ok(secret) => {
                self.secrets.push(secret.expose().to_owned());
                Ok(secret.expose().to_owned())
            }
            Err(SecretError::Unknown { store }) => Err(Problem::new(
                format!("there is no secret {name} in {store}"),
                format!("keep it there with: massgen secrets set {name}"),
            )),
            Err(SecretError::Unavailable(missing)) => {
                let help = format!("unlock {}, or keep it anew: massgen secrets set {name}", missing.store);
                Err(Problem { missing: Some(missing.clone()), ..Problem::new(missing.to_string(), help) })
            }
        }
    }

    /// Without its credential a server is of no use, and the others are.
    fn without_credential(
        &mut self,
        missing: MissingCredential,
        whole: &str,
        place: Place,
        path: &KeyPath,
        reader: &mut Reader<'_>,
    ) {
        let message = format!("{missing}; the server is left alone");
        let help = format!("unlock {}, or keep it anew: massgen secrets set {}", missing.store, missing.name);
        let diagnostic = reader.source.diagnostic(
            Severity::Warning,
            precise(place, whole, &reader.source.text),
            path.to_string(),
            message,
        );
        reader.diagnostics.push(diagnostic.with_help(help));
        reader.broken.push(place);
        self.missing.push((place, missing));
    }

    fn in_arguments(
        &self,
        inner: &str,
        usage: Use,
        place: Place,
        whole: &str,
        path: &KeyPath,
        reader: &mut Reader<'_>,
    ) {
        let secret = match Reference::read(inner) {
            Reference::Variable { name, .. } if is_secret_name(name) => Some(name),
            Reference::Keyring(name) => Some(name),
            _ => None,
        };
        if let Some(name) = secret
            && usage == Use::Arguments
        {
            let place = precise(place, whole, &reader.source.text);
            let message = format!(
                "{path} puts {name} on a command line, where every process of this machine can read it"
            );
            reader.warn(place, path, message, "give it to the server in env, if it takes it there");
        }
    }

    fn report(
        &self,
        problem: Problem,
        whole: &str,
        place: Place,
        path: &KeyPath,
        usage: Use,
        reader: &mut Reader<'_>,
    ) {
        let value_place = place;
        let place = precise(place, whole, &reader.source.text);
        let (severity, message) = match usage {
            _ if self.unresolved == Unresolved::Keep => {
                // Nothing else has to have a form, so that nothing else is lost.
                if path.is_inside_servers() && path.is_key("url") {
                    let message = format!("{}; what it stands for is not known", problem.message);
                    let diagnostic =
                        reader.source.diagnostic(Severity::Warning, place, path.to_string(), message);
                    reader.diagnostics.push(diagnostic);
                }
                if value_place != Place::default() {
                    reader.broken.push(value_place);
                }
                return;
            }
            Use::Prose => (Severity::Warning, format!("{}; the text is left as it is", problem.message)),
            _ => (Severity::Error, problem.message),
        };
        let diagnostic: Diagnostic = reader.source.diagnostic(severity, place, path.to_string(), message);
        reader.diagnostics.push(diagnostic.with_help(problem.help));
        if severity == Severity::Error && value_place != Place::default() {
            reader.broken.push(value_place);
        }
    }
}

struct Problem {
    message: String,
    help: String,
    /// The credential that cannot be had, where that is the problem.
    missing: Option<MissingCredential>,
}

impl Problem {
    fn new(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { message: message.into(), help: help.into(), missing: None }
    }
}

/// Whether a secret may have this name.
fn is_secret_key(name: &str) -> bool {
    (1..=100).contains(&name.len())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))
}

/// `~/...` by the `HOME` that the caller's environment names.
pub(crate) fn expand_home(path: &str, environment: &Environment) -> Option<PathBuf> {
    let rest = path.strip_prefix("~/")?;
    let home = environment.non_empty("HOME").or_else(|| environment.non_empty("USERPROFILE"))?;
    Some(Path::new(home).join(rest))
}

/// The place of a reference inside its value, where it can be found in the value's line.
fn precise(place: Place, reference: &str, text: &str) -> Place {
    let find = || {
        let line = text.lines().nth(usize::try_from(place.line.checked_sub(1)?).ok()?)?;
        let skip = usize::try_from(place.column.checked_sub(1)?).ok()?;
        let start = line.char_indices().nth(skip)?.0;
        let at = line.get(start..)?.find(reference)?;
        let column = skip + line.get(start..start + at)?.chars().count() + 1;
        let length = u32::try_from(reference.chars().count()).ok()?;
        Some(Place { line: place.line, column: u32::try_from(column).ok()?, length })
    };
    find().unwrap_or(place)
}
