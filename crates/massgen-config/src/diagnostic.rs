//! What is wrong with a file, where, and what to do about it.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use serde::Serialize;

use crate::mask::Masked;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The file cannot be used.
    Error,
    /// The file can be used; something in it does nothing, or not what it seems.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

/// One problem. `Display` gives several lines of plain text: `file:line:column: severity: message`, the line of the
/// file with a caret, and `help:`. No text in it holds a secret: the line is shown masked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// The file, as it was named; `None` where the problem has none (a key missing from the environment).
    pub file: Option<String>,
    /// The line, from 1; 0 where the problem has no place in the file.
    pub line: u32,
    /// The column in characters, from 1; 0 where the problem has no place in the file.
    pub column: u32,
    /// The key it is about, such as `agents[1].backend.model`; empty for the file as a whole.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
    #[serde(skip)]
    pub(crate) excerpt: Option<Excerpt>,
}

/// The line a problem is on, masked, and how many characters of it are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Excerpt {
    line: String,
    start: usize,
    length: usize,
}

impl Diagnostic {
    /// A problem without a place.
    pub fn new(severity: Severity, message: impl Into<String>) -> Self {
        Self {
            severity,
            file: None,
            line: 0,
            column: 0,
            key: String::new(),
            message: message.into(),
            help: None,
            excerpt: None,
        }
    }

    /// The same problem, with a remedy.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{file}:")?;
            if self.line > 0 {
                write!(f, "{}:{}:", self.line, self.column)?;
            }
            f.write_str(" ")?;
        }
        write!(f, "{}: {}", self.severity, self.message)?;
        if let Some(excerpt) = &self.excerpt {
            let number = self.line.to_string();
            let margin = " ".repeat(number.len());
            write!(f, "\n  {number} | {}\n  {margin} | ", excerpt.line)?;
            write!(f, "{}{}", " ".repeat(excerpt.start), "^".repeat(excerpt.length))?;
        }
        if let Some(help) = &self.help {
            write!(f, "\n  help: {help}")?;
        }
        Ok(())
    }
}

/// All problems of a load, in the order they were found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Diagnostics(Vec<Diagnostic>);

impl Diagnostics {
    /// Adds one, unless the same is there already (an alias repeats the place it stands for).
    pub fn push(&mut self, diagnostic: Diagnostic) {
        let same = |known: &Diagnostic| {
            known.message == diagnostic.message
                && (known.line, known.column) == (diagnostic.line, diagnostic.column)
                && known.file == diagnostic.file
                && (known.line > 0 || known.key == diagnostic.key)
        };
        if !self.0.iter().any(same) {
            self.0.push(diagnostic);
        }
    }

    /// All of them.
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.0.iter()
    }

    /// Those that make the file unusable.
    pub fn errors(&self) -> impl Iterator<Item = &Diagnostic> {
        self.0.iter().filter(|diagnostic| diagnostic.severity == Severity::Error)
    }

    /// Those that do not.
    pub fn warnings(&self) -> impl Iterator<Item = &Diagnostic> {
        self.0.iter().filter(|diagnostic| diagnostic.severity == Severity::Warning)
    }

    /// Whether any of them makes the file unusable.
    pub fn has_errors(&self) -> bool {
        self.errors().next().is_some()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Hides secrets that found their way into a text: a key put where a type belongs is quoted like any wrong type.
    pub(crate) fn redact(&mut self, secrets: &[String]) {
        // Shorter ones are words that would be hidden everywhere.
        for secret in secrets.iter().filter(|secret| secret.len() >= 4) {
            for diagnostic in &mut self.0 {
                let excerpt = diagnostic.excerpt.as_mut().map(|excerpt| &mut excerpt.line);
                let texts = [
                    Some(&mut diagnostic.message),
                    diagnostic.help.as_mut(),
                    Some(&mut diagnostic.key),
                    excerpt,
                ];
                for text in texts.into_iter().flatten().filter(|text| text.contains(secret.as_str())) {
                    *text = text.replace(secret.as_str(), "***");
                }
            }
        }
    }

    /// By place, errors and warnings mixed: the order a reader of the file meets them. Problems of included files
    /// follow those of the file that names them.
    pub(crate) fn sort(&mut self) {
        let mut files: Vec<Option<String>> = Vec::new();
        for diagnostic in &self.0 {
            if !files.contains(&diagnostic.file) {
                files.push(diagnostic.file.clone());
            }
        }
        let rank = |file: &Option<String>| files.iter().position(|known| known == file);
        self.0.sort_by_key(|diagnostic| (rank(&diagnostic.file), diagnostic.line, diagnostic.column));
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, diagnostic) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{diagnostic}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}

impl From<Diagnostic> for Diagnostics {
    fn from(diagnostic: Diagnostic) -> Self {
        Self(vec![diagnostic])
    }
}

impl<'a> IntoIterator for &'a Diagnostics {
    type Item = &'a Diagnostic;
    type IntoIter = std::slice::Iter<'a, Diagnostic>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl IntoIterator for Diagnostics {
    type Item = Diagnostic;
    type IntoIter = std::vec::IntoIter<Diagnostic>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// A place in a file: line and column from 1, length in characters. All 0 where it is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Place {
    pub line: u32,
    pub column: u32,
    pub length: u32,
}

/// A file whose text diagnostics quote.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub name: Arc<str>,
    pub text: Arc<str>,
}

/// The longest piece of a line that is shown, in characters.
const EXCERPT_LIMIT: usize = 120;

impl Source {
    pub(crate) fn new(name: &str, text: &str) -> Self {
        Self { name: name.into(), text: text.into() }
    }

    /// A problem at a place of this file.
    pub(crate) fn diagnostic(
        &self,
        severity: Severity,
        place: Place,
        key: String,
        message: String,
    ) -> Diagnostic {
        Diagnostic {
            severity,
            file: Some(self.name.to_string()),
            line: place.line,
            column: place.column,
            key,
            message,
            help: None,
            excerpt: self.excerpt(place),
        }
    }

    fn excerpt(&self, place: Place) -> Option<Excerpt> {
        let index = usize::try_from(place.line.checked_sub(1)?).ok()?;
        let line = self.text.lines().nth(index)?.trim_start_matches('\u{feff}');
        let column = usize::try_from(place.column.checked_sub(1)?).ok()?;
        let hidden = Masked::new(line);
        let masked = hidden.text();
        let length = masked.chars().count();
        // A long line is cut around the place; hiding a word before the place moves it.
        let wanted = usize::try_from(place.length).unwrap_or(1);
        let Range { start: column, end } = hidden.span(column, wanted);
        let first = if length > EXCERPT_LIMIT { column.saturating_sub(EXCERPT_LIMIT / 2) } else { 0 };
        let shown =
            masked.chars().skip(first).take(EXCERPT_LIMIT).map(|c| if c.is_control() { ' ' } else { c });
        let start = (column - first).min(length.saturating_sub(first));
        let room = length.saturating_sub(first + start).min(EXCERPT_LIMIT - start.min(EXCERPT_LIMIT));
        let wanted = end.saturating_sub(column);
        Some(Excerpt { line: shown.collect(), start, length: wanted.min(room).max(1) })
    }
}
