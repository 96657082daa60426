//! A source without its comments and the contents of its literals, line by line as before. Just enough of Rust's
//! grammar to tell a word in the code from a word in a text.

/// The code of a file.
pub(super) struct Code {
    lines: Vec<String>,
    /// Whether the line stands in a `#[cfg(test)] mod`.
    in_test: Vec<bool>,
}

impl Code {
    pub(super) fn of(text: &str) -> Self {
        let lines: Vec<String> = strip(text).lines().map(str::to_owned).collect();
        let in_test = test_lines(&lines);
        Self { lines, in_test }
    }

    /// The lines (from 1) that use the word as a whole word, and whether each is part of a test.
    pub(super) fn uses<'a>(&'a self, word: &'a str) -> impl Iterator<Item = (usize, bool)> + 'a {
        let lines = self.lines.iter().zip(&self.in_test).enumerate();
        lines.filter(move |(_, (line, _))| has_word(line, word)).map(|(index, (_, test))| (index + 1, *test))
    }

    /// A line, counted from 1.
    pub(super) fn line(&self, number: usize) -> &str {
        self.lines.get(number.wrapping_sub(1)).map_or("", String::as_str)
    }

    pub(super) fn lines_without_tests(&self) -> usize {
        self.in_test.iter().filter(|test| !**test).count()
    }
}

fn has_word(line: &str, word: &str) -> bool {
    let part_of_name = |char: Option<char>| char.is_some_and(|char| char.is_alphanumeric() || char == '_');
    line.match_indices(word).any(|(at, _)| {
        !part_of_name(line[..at].chars().next_back()) && !part_of_name(line[at + word.len()..].chars().next())
    })
}

/// Marks the lines from `#[cfg(test)]` before a `mod` to that module's closing brace.
fn test_lines(lines: &[String]) -> Vec<bool> {
    let mut marks = vec![false; lines.len()];
    let mut index = 0;
    while index < lines.len() {
        let attribute = lines[index].trim_start();
        if !(attribute.starts_with("#[cfg(test") || attribute.starts_with("#[cfg(all(test")) {
            index += 1;
            continue;
        }
        let mut depth = 0usize;
        let mut opened = false;
        while index < lines.len() {
            marks[index] = true;
            for char in lines[index].chars() {
                match char {
                    '{' => (depth, opened) = (depth + 1, true),
                    '}' => depth = depth.saturating_sub(1),
                    _ => {}
                }
            }
            let ends_without_body = !opened && lines[index].trim_end().ends_with(';');
            index += 1;
            if (opened && depth == 0) || ends_without_body {
                break;
            }
        }
    }
    marks
}

/// Replaces comments and the contents of literals by blanks; line ends stay.
fn strip(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = match chars[at] {
            '/' if chars.get(at + 1) == Some(&'/') => line_end(&chars, at),
            '/' if chars.get(at + 1) == Some(&'*') => comment_end(&chars, at),
            '"' => string_end(&chars, at),
            'r' if !after_name(&chars, at) => raw_string_end(&chars, at).unwrap_or(at),
            '\'' => char_end(&chars, at).unwrap_or(at),
            _ => at,
        };
        if end == at {
            out.push(chars[at]);
            at += 1;
            continue;
        }
        out.extend(chars[at..end].iter().map(|char| if *char == '\n' { '\n' } else { ' ' }));
        at = end;
    }
    out
}

fn after_name(chars: &[char], at: usize) -> bool {
    // `b` of a raw byte string is no name that ends here.
    let before = at.checked_sub(1).and_then(|before| chars.get(before));
    before.is_some_and(|char| (char.is_alphanumeric() || *char == '_') && *char != 'b' && *char != 'c')
}

fn line_end(chars: &[char], at: usize) -> usize {
    chars[at..].iter().position(|char| *char == '\n').map_or(chars.len(), |length| at + length)
}

fn comment_end(chars: &[char], at: usize) -> usize {
    let (mut depth, mut at) = (1, at + 2);
    while at < chars.len() && depth > 0 {
        match (chars[at], chars.get(at + 1)) {
            ('/', Some('*')) => (depth, at) = (depth + 1, at + 2),
            ('*', Some('/')) => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
    }
    at.min(chars.len())
}

fn string_end(chars: &[char], at: usize) -> usize {
    let mut at = at + 1;
    while at < chars.len() {
        match chars[at] {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    chars.len()
}

fn raw_string_end(chars: &[char], at: usize) -> Option<usize> {
    let hashes = chars[at + 1..].iter().take_while(|char| **char == '#').count();
    let start = at + 1 + hashes;
    if chars.get(start) != Some(&'"') {
        return None;
    }
    let mut at = start + 1;
    while at < chars.len() {
        let closing =
            chars[at] == '"' && chars[at + 1..].iter().take_while(|char| **char == '#').count() >= hashes;
        if closing {
            return Some(at + 1 + hashes);
        }
        at += 1;
    }
    Some(chars.len())
}

/// `None` for a lifetime.
fn char_end(chars: &[char], at: usize) -> Option<usize> {
    if chars.get(at + 1) == Some(&'\\') {
        let closing = chars.get(at + 3..)?.iter().position(|char| *char == '\'')?;
        return Some(at + 3 + closing + 1);
    }
    (chars.get(at + 2) == Some(&'\'')).then_some(at + 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_is_left() {
        let check = |text: &str, expected: &str| assert_eq!(strip(text).trim_end(), expected, "{text:?}");
        check("a // b", "a");
        check("a /* b /* c */ d */ e", "a                   e");
        check(r#"f("a\"b", c)"#, "f(      , c)");
        check("r#\"a\"b\"# c", "         c");
        check("br\"a\" c", "b     c");
        check("fn f<'a>(x: &'a str) {}", "fn f<'a>(x: &'a str) {}");
        check(r"['a', '\'', '\u{7f}', '/', b]", "[   ,     ,         ,    , b]");
        check("for_ \"unterminated", "for_");
    }

    #[test]
    fn a_test_module_ends_with_its_brace() {
        let code = Code::of(
            "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\nfn c() {}\n#[cfg(test)]\nmod t;\nfn d() {}",
        );
        assert_eq!(code.in_test, [false, true, true, true, true, false, true, true, false]);
    }
}
