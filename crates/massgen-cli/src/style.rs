//! Colour, where the reader can show it, and text made safe to show.

use std::borrow::Cow;

/// Whether to colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    Plain,
    Colour,
}

const AGENTS: [&str; 6] = ["36", "35", "33", "34", "32", "31"];

impl Style {
    /// Colour on a terminal, unless `NO_COLOR` is set (no-color.org) or the terminal is `dumb`.
    pub(crate) fn of(is_terminal: bool, environment: &massgen::core::Environment) -> Self {
        let refused = environment.non_empty("NO_COLOR").is_some() || environment.get("TERM") == Some("dumb");
        if is_terminal && !refused { Self::Colour } else { Self::Plain }
    }

    fn paint<'a>(self, code: &str, text: &'a str) -> Cow<'a, str> {
        match self {
            Self::Plain => Cow::Borrowed(text),
            Self::Colour => Cow::Owned(format!("\u{1b}[{code}m{text}\u{1b}[0m")),
        }
    }

    /// The colour of the agent at this place of the team.
    pub(crate) fn agent(self, at: usize, text: &str) -> Cow<'_, str> {
        self.paint(AGENTS[at % AGENTS.len()], text)
    }

    pub(crate) fn bold(self, text: &str) -> Cow<'_, str> {
        self.paint("1", text)
    }

    pub(crate) fn dim(self, text: &str) -> Cow<'_, str> {
        self.paint("2", text)
    }

    pub(crate) fn bad(self, text: &str) -> Cow<'_, str> {
        self.paint("31", text)
    }
}

/// The text with control characters made visible, so that what a model or a server wrote cannot move the cursor.
/// Newlines and tabs stay.
pub(crate) fn safe(text: &str) -> Cow<'_, str> {
    let unsafe_character = |c: char| (c.is_control() && c != '\n' && c != '\t') || is_direction_override(c);
    if !text.contains(unsafe_character) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '\r' => {}
            c if unsafe_character(c) => shown.extend(c.escape_unicode()),
            c => shown.push(c),
        }
    }
    Cow::Owned(shown)
}

/// Characters that make text read in another order than it stands ("Trojan Source").
fn is_direction_override(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The first line of the text, cut to `limit` characters.
pub(crate) fn one_line(text: &str, limit: usize) -> String {
    let line = text.trim().lines().next().unwrap_or_default();
    let line = safe(line);
    let more = line.chars().count() > limit || text.trim().lines().nth(1).is_some();
    let mut short: String = line.chars().take(limit).collect();
    if more {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_a_model_writes_moves_the_cursor() {
        assert_eq!(safe("a\u{1b}[2Jb\r\nc\u{202e}d"), "a\\u{1b}[2Jb\nc\\u{202e}d");
        assert!(matches!(safe("plain\ttext\n"), Cow::Borrowed(_)));
    }

    #[test]
    fn one_line_says_when_there_is_more() {
        assert_eq!(one_line("short", 10), "short");
        assert_eq!(one_line("longer than that", 6), "longer…");
        assert_eq!(one_line("first\nsecond", 10), "first…");
    }
}
