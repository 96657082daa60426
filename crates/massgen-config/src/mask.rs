//! Hides what may be secret in a line of a configuration file before the line is shown.
//!
//! This works on text, without knowing the structure, because the line may be the one that does not parse. It errs
//! on the side of hiding.

use std::ops::Range;

const HIDDEN: &str = "***";

/// Whether a key's or variable's name says that its value is secret.
pub(crate) fn is_secret_name(name: &str) -> bool {
    const PARTS: [&str; 11] = [
        "key",
        "token",
        "secret",
        "password",
        "passwd",
        "authorization",
        "auth",
        "credential",
        "cookie",
        "bearer",
        "private",
    ];
    // Words that contain such a part and mean something else.
    const HARMLESS: [&str; 7] = [
        "max_tokens",
        "max_output_tokens",
        "max_completion_tokens",
        "max_thinking_tokens",
        "author",
        "keyboard",
        "prompt_cache_key",
    ];
    let name = name.to_ascii_lowercase();
    !HARMLESS.contains(&name.as_str()) && PARTS.iter().any(|part| name.contains(part))
}

/// A line with every value behind a secret-looking name's `:` or `=`, and every known token shape, replaced by `***`.
/// References (`${NAME}`) stay: they name a secret and are none.
pub(crate) struct Masked<'a> {
    line: &'a str,
    /// In order, none touching another; bytes of the line.
    hidden: Vec<Range<usize>>,
}

impl<'a> Masked<'a> {
    pub(crate) fn new(line: &'a str) -> Self {
        let (mut found, references) = (tokens(line), references(line));
        let (mut start, mut from) = (0, 0);
        while let Some(at) = line[from..].find([':', '=']).map(|at| from + at) {
            let name = line[start..at].trim_end_matches(['"', '\'']);
            let name = name.rsplit(|c: char| !is_of_name(c)).next().unwrap_or_default();
            let scheme = ["${env", "${keyring", "${file"].iter().any(|scheme| line[..at].ends_with(scheme));
            from = at + 1;
            if !scheme && hides_value(name) {
                from = hide_value(line, from, &references, &mut found);
            }
            start = from;
        }
        Self { line, hidden: without(found, &references) }
    }

    pub(crate) fn text(&self) -> String {
        let mut text = String::with_capacity(self.line.len());
        let mut from = 0;
        for hidden in &self.hidden {
            text.push_str(&self.line[from..hidden.start]);
            text.push_str(HIDDEN);
            from = hidden.end;
        }
        text.push_str(&self.line[from..]);
        text
    }

    /// Where some characters of the line are in the text, and how many they are there: those that are hidden are as many as
    /// the stars. Counts from 0, in characters.
    pub(crate) fn span(&self, first: usize, length: usize) -> Range<usize> {
        self.position(first, Edge::First)..self.position(first.saturating_add(length), Edge::Last)
    }

    fn position(&self, character: usize, edge: Edge) -> usize {
        let end = self.line.char_indices().nth(character).map_or(self.line.len(), |(at, _)| at);
        let (mut position, mut from) = (0, 0);
        let count = |range: Range<usize>| self.line[range].chars().count();
        for hidden in self.hidden.iter().filter(|hidden| hidden.start < end) {
            position += count(from..hidden.start);
            if end < hidden.end && edge == Edge::First {
                return position;
            }
            position += HIDDEN.len();
            if end < hidden.end {
                return position;
            }
            from = hidden.end;
        }
        position + count(from..end)
    }
}

/// Which end of a span is meant, where it lies in what is hidden.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Edge {
    First,
    Last,
}

fn is_of_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '-'
}

/// Hides the value that begins at `from`, and says where what follows it begins. Where that is not sure, all of the line is hidden.
fn hide_value(line: &str, from: usize, references: &[Range<usize>], hidden: &mut Vec<Range<usize>>) -> usize {
    let start = line.len() - line[from..].trim_start().len();
    match line[start..].chars().next() {
        None | Some('#') => start,
        Some('{' | '[') => hide_collection(line, start, references, hidden),
        Some(quote @ ('"' | '\'')) => hide_quoted(line, start, quote, hidden),
        Some(_) => hide_rest(line, start, hidden),
    }
}

fn hide_rest(line: &str, from: usize, hidden: &mut Vec<Range<usize>>) -> usize {
    hidden.push(from..line.trim_end().len().max(from));
    line.len()
}

fn hide_quoted(line: &str, open: usize, quote: char, hidden: &mut Vec<Range<usize>>) -> usize {
    let Some(close) = closing(line, open, quote) else { return hide_rest(line, open, hidden) };
    let after = line[close + 1..].trim_start().chars().next();
    if after.is_none_or(|c| matches!(c, ',' | '}' | ']' | '#')) {
        hidden.push(open + 1..close);
        close + 1
    } else {
        hide_rest(line, open, hidden)
    }
}

/// Where the quote that opens here is closed.
fn closing(line: &str, open: usize, quote: char) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in line[open + 1..].char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quote == '"' => escaped = true,
            c if c == quote => return Some(open + 1 + at),
            _ => {}
        }
    }
    None
}

/// Hides every value of a collection in flow style, and shows its keys.
fn hide_collection(
    line: &str,
    open: usize,
    references: &[Range<usize>],
    hidden: &mut Vec<Range<usize>>,
) -> usize {
    let (mut at, mut depth) = (open, 0_usize);
    while let Some(c) = line[at..].chars().next() {
        match c {
            '{' | '[' => depth += 1,
            '}' | ']' if depth <= 1 => return at + 1,
            '}' | ']' => depth -= 1,
            ',' => {}
            c if c.is_whitespace() => {}
            _ => {
                at = match key(line, at) {
                    Some(after) if line[after..].trim_start().starts_with(['{', '[']) => after,
                    Some(after) => {
                        hide_item(line, line.len() - line[after..].trim_start().len(), references, hidden)
                    }
                    None => hide_item(line, at, references, hidden),
                };
                continue;
            }
        }
        at += c.len_utf8();
    }
    at
}

/// Where the key that begins here ends, with its colon; `None`: there is none.
fn key(line: &str, start: usize) -> Option<usize> {
    let rest = &line[start..];
    let name = rest.trim_start_matches(['"', '\'']).trim_start_matches(is_of_name);
    let colon = name.trim_start_matches(['"', '\'']).trim_start();
    let after = colon.strip_prefix(':')?;
    // Behind a name without quotes, a quote makes all of it one text: "a:'b".
    let is_quoted = rest.starts_with(['"', '\'']);
    let is_key = name.len() < rest.len()
        && (after.starts_with([' ', '{', '[']) || is_quoted && after.starts_with(['"', '\'']));
    is_key.then(|| line.len() - after.len())
}

/// Hides one scalar of a collection.
fn hide_item(line: &str, start: usize, references: &[Range<usize>], hidden: &mut Vec<Range<usize>>) -> usize {
    if let Some(quote @ ('"' | '\'')) = line[start..].chars().next() {
        return hide_quoted(line, start, quote, hidden);
    }
    let inside = |at: usize| {
        let next = references.partition_point(|reference| reference.end <= at);
        references.get(next).is_some_and(|reference| reference.contains(&at))
    };
    let end = line[start..].char_indices().map(|(at, c)| (start + at, c));
    let end = end.filter(|(at, c)| matches!(c, ',' | '}' | ']') && !inside(*at)).map(|(at, _)| at).next();
    let end = end.unwrap_or(line.len());
    hidden.push(start..start + line[start..end].trim_end().len());
    end
}

/// The places of `${...}` that have no default: what they stand for is elsewhere.
fn references(line: &str) -> Vec<Range<usize>> {
    let begun = line.match_indices("${").filter_map(|(at, _)| {
        let names = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | ':' | '/' | '~');
        let rest = &line[at + 2..];
        let (inner, after) = rest.split_at(rest.find(|c| !names(c))?);
        let is_one = after.starts_with('}') && !inner.is_empty() && !inner.contains(":-");
        is_one.then(|| at..at + 2 + inner.len() + 1)
    });
    begun.collect()
}

/// The ranges as one list in order, without those of `kept`.
fn without(mut ranges: Vec<Range<usize>>, kept: &[Range<usize>]) -> Vec<Range<usize>> {
    ranges.sort_by_key(|range| range.start);
    let mut merged: Vec<Range<usize>> = Vec::new();
    for range in ranges.into_iter().filter(|range| !range.is_empty()) {
        match merged.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => merged.push(range),
        }
    }
    let mut left = Vec::new();
    for range in merged {
        let mut from = range.start;
        let first = kept.partition_point(|kept| kept.start < range.start);
        for kept in kept[first..].iter().take_while(|kept| kept.end <= range.end) {
            left.push(from..kept.start);
            from = kept.end;
        }
        left.push(from..range.end);
    }
    left.retain(|range| !range.is_empty());
    left
}

/// Names whose value is hidden: secret ones, and those of environment variables.
fn hides_value(name: &str) -> bool {
    let variable = name.len() > 2
        && name.starts_with(|c: char| c.is_ascii_uppercase())
        && name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
    variable || is_secret_name(name) || name == "env" || name == "headers"
}

/// Words with the shape of well-known tokens, and the users of addresses.
fn tokens(line: &str) -> Vec<Range<usize>> {
    const PREFIXES: [&str; 9] =
        ["sk-", "xai-", "ghp_", "gho_", "github_pat_", "AIza", "xoxb-", "xoxp-", "Bearer "];
    let until =
        |from: usize, ends: fn(char) -> bool| line[from..].find(ends).map_or(line.len(), |at| from + at);
    let mut found = Vec::new();
    for (at, _) in line.match_indices("://") {
        let start = at + 3;
        let end = until(start, |c| c.is_whitespace() || matches!(c, '/' | '"' | '\'' | '?' | '#'));
        found.extend(line[start..end].rfind('@').map(|at| start..start + at));
    }
    for prefix in PREFIXES {
        let mut from = 0;
        while let Some(at) = line[from..].find(prefix).map(|at| from + at) {
            from =
                until(at + prefix.len(), |c| c.is_whitespace() || matches!(c, '"' | '\'' | ',' | '}' | ']'));
            found.push(at..from);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_secret_is_hidden() {
        for (line, masked) in [
            ("  api_key: sk-123", "  api_key: ***"),
            ("  \"api_key\": \"abc\",", "  \"api_key\": \"***\","),
            ("  \"api_key\": \"a\\\"b\", \"x\": 1", "  \"api_key\": \"***\", \"x\": 1"),
            ("  api_key: \"abc\" def", "  api_key: ***"),
            ("  api_key: 'abc", "  api_key: ***"),
            ("  env: { FOO: hunter2 }", "  env: { FOO: *** }"),
            ("  env: { A: \"${A}\", b: 'x, c: y' }, k: v", "  env: { A: \"${A}\", b: '***' }, k: v"),
            ("  env: { A: \"${A} x ${B:-y}\" }", "  env: { A: \"${A}***\" }"),
            ("  env: { A: \"open, B: shut }", "  env: { A: ***"),
            (
                "  headers: {\"X-Y\":\"Bearer ${T}\",\"Z\":[a, {q: b}]}, k: v",
                "  headers: {\"X-Y\":\"***${T}\",\"Z\":[***, {q: ***}]}, k: v",
            ),
            ("  env: { A: a b, c }", "  env: { A: ***, *** }"),
            ("  env: {A: b, c:'d}", "  env: {A: ***, ***}"),
            ("  env: {\"A\":'b', c: d}", "  env: {\"A\":'***', c: ***}"),
            ("  env: [A=b, C]", "  env: [***, ***]"),
            ("    BRAVE_API_KEY: abc", "    BRAVE_API_KEY: ***"),
            ("    NAME: abc", "    NAME: ***"),
            ("  api_key: ${OPENAI_API_KEY}", "  api_key: ${OPENAI_API_KEY}"),
            ("  api_key: ${OPENAI_API_KEY:-sk-1}", "  api_key: ***"),
            ("  max_tokens: 12", "  max_tokens: 12"),
            ("  model: gpt-5 # sk-abcdef", "  model: gpt-5 # ***"),
            ("  args: [\"--token=abc\"]", "  args: [\"--token=***"),
            ("  Authorization: Bearer x", "  Authorization: ***"),
            ("  args: [Bearer abc]", "  args: [***]"),
            ("  url: https://example.com/mcp", "  url: https://example.com/mcp"),
            ("env:", "env:"),
            ("  url: https://me:pw@h.example/x", "  url: https://***@h.example/x"),
            ("  api_key: \"${keyring:x}\"", "  api_key: \"${keyring:x}\""),
            ("  model: ${env:NAME} # x", "  model: ${env:NAME} # x"),
        ] {
            assert_eq!(Masked::new(line).text(), masked);
        }
    }

    /// With a look along the whole line for each item of it, this test would not end.
    #[test]
    fn a_long_line_is_looked_along_once() {
        let count = 100_000;
        let line = format!(
            "env: {{ {}}}, x: {}{}",
            "A: ${B} c, ".repeat(count),
            "sk-".repeat(count),
            "${".repeat(count)
        );
        let text = Masked::new(&line).text();
        assert_eq!(text.matches("A: ${B}***,").count(), count);
        assert!(!text.contains(" c,") && !text.contains("sk-"));
    }

    #[test]
    fn a_place_is_where_it_is_shown() {
        let line = "  env: { K: secret, A: \"x${A}\" } # é";
        let masked = Masked::new(line);
        let text = masked.text();
        assert_eq!(text, "  env: { K: ***, A: \"***${A}\" } # é");
        let at = |line: &str, part: &str| line[..line.find(part).unwrap()].chars().count();
        for part in ["env", "K", "A:", "${A}", "}", "é"] {
            let start = at(&text, part);
            assert_eq!(
                masked.span(at(line, part), part.chars().count()),
                start..start + part.chars().count()
            );
        }
        let stars = at(&text, "***");
        assert_eq!(masked.span(at(line, "cre"), 3), stars..stars + 3);
        assert_eq!(masked.span(at(line, "${A}") - 1, 5), at(&text, "${A}") - 3..at(&text, "${A}") + 4);
        assert_eq!(masked.span(1000, 1000), text.chars().count()..text.chars().count());
    }

    proptest::proptest! {
        #[test]
        fn no_value_of_a_secret_name_is_seen(
            before in "[ a-z{,:\"'=]{0,12}",
            gap in "[ \"'{\\[]{0,4}",
            after in "[ a-z0-9{}\\[\\],:\"'=$#\\\\é]{0,24}",
        ) {
            // One word, which nothing but what stands around it could show.
            let line = format!("{before} API_KEY: {gap}HUNTER2{after}");
            let masked = Masked::new(&line);
            let text = masked.text();
            // As a key it is seen.
            let is_key = text.split_once("HUNTER2").is_none_or(|(_, rest)| {
                rest.trim_start_matches(is_of_name).trim_start_matches(['"', '\'']).trim_start().starts_with(':')
            });
            proptest::prop_assert!(is_key, "{line}: {text}");
            for column in 0..line.chars().count() + 2 {
                let span = masked.span(column, 3);
                proptest::prop_assert!(span.start <= span.end && span.end <= masked.text().chars().count());
            }
        }
    }
}
