use mcp_core::Refusal;

use crate::refusal;

/// Splits a line such as `npx -y "my server"` into program and arguments, by POSIX quoting and without a shell.
///
/// What only a shell could give a meaning to (`;`, `|`, `$VAR`, redirections, a leading `NAME=value`) is refused
/// rather than passed on as text, because its author expected the shell.
///
/// ```
/// let argv = mcp_security::command::split(r#"npx -y 'my server' --title "a b""#)?;
/// assert_eq!(argv, ["npx", "-y", "my server", "--title", "a b"]);
///
/// assert_eq!(mcp_security::command::split("npx foo; rm -rf x").unwrap_err().rule, "shell-syntax");
/// # Ok::<(), mcp_core::Refusal>(())
/// ```
///
/// # Errors
///
/// A [`Refusal`] by the rule `shell-syntax` (a metacharacter, an open quote) or `empty-program`.
pub fn split(line: &str) -> Result<Vec<String>, Refusal> {
    let mut words = Vec::new();
    // `None` between words, so that '' still makes an (empty) word.
    let mut word: Option<String> = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' => words.extend(word.take()),
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next() {
                        Some('\'') => break,
                        Some(c) => word.push(c),
                        None => return Err(open_quote('\'')),
                    }
                }
            }
            '"' => double_quoted(&mut chars, word.get_or_insert_default())?,
            '\\' => match chars.next() {
                Some(c) if c != '\n' => word.get_or_insert_default().push(c),
                _ => {
                    return Err(refusal(
                        "shell-syntax",
                        "the command ends in a backslash",
                        "remove it, or write \\\\ for a backslash",
                    ));
                }
            },
            '&' | '|' | ';' | '<' | '>' | '(' | ')' | '$' | '`' | '\n' | '\r' | '\0' => {
                return Err(metacharacter(c));
            }
            '#' if word.is_none() => return Err(metacharacter(c)),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    match words.first() {
        None => Err(refusal("empty-program", "the command is empty", "set command: to a program")),
        Some(first) if first.is_empty() => Err(refusal(
            "empty-program",
            "the command begins with an empty word",
            "set command: to a program",
        )),
        Some(first) if is_assignment(first) => Err(refusal(
            "shell-syntax",
            format!(
                "the command begins with the assignment {:?}",
                first.split('=').next().unwrap_or_default()
            ),
            "put variables into env: of this server",
        )),
        Some(_) => Ok(words),
    }
}

/// Inside double quotes a backslash escapes only what would be special there.
fn double_quoted(chars: &mut std::str::Chars<'_>, word: &mut String) -> Result<(), Refusal> {
    loop {
        match chars.next() {
            Some('"') => return Ok(()),
            Some('\\') => match chars.next() {
                Some(c @ ('"' | '\\' | '$' | '`')) => word.push(c),
                Some(c) => {
                    word.push('\\');
                    word.push(c);
                }
                None => return Err(open_quote('"')),
            },
            Some(c @ ('$' | '`')) => return Err(metacharacter(c)),
            Some(c) => word.push(c),
            None => return Err(open_quote('"')),
        }
    }
}

fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| {
        name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    })
}

fn metacharacter(c: char) -> Refusal {
    refusal(
        "shell-syntax",
        format!("the command contains {c:?}, which only a shell understands, and no shell is used"),
        "put the arguments into args: as a list, or quote the character with '...'",
    )
}

fn open_quote(c: char) -> Refusal {
    refusal("shell-syntax", format!("the command has an open quote ({c})"), "close the quote")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_as_posix_does() {
        let cases: &[(&str, &[&str])] = &[
            ("npx -y foo", &["npx", "-y", "foo"]),
            ("  npx \t foo  ", &["npx", "foo"]),
            (r#"a "b c" 'd e' f\ g"#, &["a", "b c", "d e", "f g"]),
            (r#"a "" ''"#, &["a", "", ""]),
            (r#"a 'b"c' "d'e""#, &["a", r#"b"c"#, "d'e"]),
            (r#"a "\"\\\$\n""#, &["a", r#""\$\n"#]),
            (r#"a x'y'z"w""#, &["a", "xyzw"]),
            ("a '$HOME; rm' --q=#1", &["a", "$HOME; rm", "--q=#1"]),
            ("uvx pkg[extra]==1.* --url=http://h/?a", &["uvx", "pkg[extra]==1.*", "--url=http://h/?a"]),
        ];
        for (line, words) in cases {
            assert_eq!(&split(line).unwrap(), words, "{line}");
        }
    }

    #[test]
    fn what_only_a_shell_understands_is_refused() {
        for line in [
            "a; b",
            "a && b",
            "a | b",
            "a > b",
            "a < b",
            "a $(b)",
            "a $B",
            "a `b`",
            r#"a "$B""#,
            "a\nb",
            "a (b)",
            "a #b",
            "a 'b",
            r#"a "b"#,
            r"a \",
            "A=1 b",
            "a \0",
        ] {
            assert_eq!(split(line).unwrap_err().rule, "shell-syntax", "{line:?}");
        }
        for line in ["", "   ", "''", "'' a"] {
            assert_eq!(split(line).unwrap_err().rule, "empty-program", "{line:?}");
        }
    }
}
