//! The text of an answer, decoded in one pass.
//!
//! Most answers are one text, and a large one costs what decoding its text costs. A general reader looks at every piece of
//! it twice and copies it twice; where an answer begins the way servers write them, its first text is decoded by hand, to
//! where it stays, and the rest is read as any other answer is.

/// An answer without its first text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Lifted {
    /// The first text of the result, decoded.
    pub(super) text: String,
    /// The line with an empty text in its place.
    pub(super) rest: String,
}

/// Where a text begins to be worth it, bytes.
const WORTH: usize = 1024;

/// What the member with the first text begins with.
const CONTENT: &str = r#""content":[{"type":"text","text":"#;

/// Takes the first text out of an answer to `tools/call`. `None`: it does not begin as usual, or its text is small or none.
pub(super) fn lift(line: &str) -> Option<Lifted> {
    if line.len() < WORTH {
        return None;
    }
    let rest = after_id(line).or_else(|| line.strip_prefix('{'))?.strip_prefix(r#""result":{"#)?;
    let rest = rest.strip_prefix(r#""resultType":"complete","#).unwrap_or(rest);
    let json = rest.strip_prefix(CONTENT)?;
    let (text, after) = decode(json)?;
    let head = &line[..line.len() - json.len()];
    let mut rest = String::with_capacity(head.len() + 2 + after.len());
    rest.push_str(head);
    rest.push_str(r#""""#);
    rest.push_str(after);
    Some(Lifted { text, rest })
}

/// What follows version and id, where a line begins with them.
fn after_id(line: &str) -> Option<&str> {
    let rest = line.strip_prefix(r#"{"jsonrpc":"2.0","id":"#)?;
    rest.trim_start_matches(|digit: char| digit.is_ascii_digit()).strip_prefix(',')
}

/// Decodes the JSON string that `json` begins with, and gives what follows it. `None`: there is none, or one that says
/// nothing as a string of Unicode, such as half of a surrogate pair.
fn decode(json: &str) -> Option<(String, &str)> {
    let inside = json.strip_prefix('"')?;
    // No text is longer than its escaped form, and mostly it is all that follows.
    let mut text = String::with_capacity(inside.len());
    let mut rest = inside;
    loop {
        let run = plain(rest.as_bytes());
        let (piece, special) = rest.split_at_checked(run)?;
        text.push_str(piece);
        let mut after = special.chars();
        match after.next()? {
            '"' => {
                if text.len() < text.capacity() / 2 {
                    text.shrink_to_fit();
                }
                return Some((text, after.as_str()));
            }
            '\\' => {}
            // A control character, which must be escaped.
            _ => return None,
        }
        text.push(match after.next()? {
            '"' => '"',
            '\\' => '\\',
            '/' => '/',
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                let (escaped, follows) = escaped(after.as_str())?;
                after = follows.chars();
                escaped
            }
            _ => return None,
        });
        rest = after.as_str();
    }
}

/// The character of a `\u` escape, whose digits `digits` begins with, and what follows it.
fn escaped(digits: &str) -> Option<(char, &str)> {
    let (first, rest) = unit(digits)?;
    match first {
        0xD800..=0xDBFF => {
            let (second, rest) = unit(rest.strip_prefix("\\u")?)?;
            let pair = char::decode_utf16([first, second]).next()?.ok()?;
            Some((pair, rest))
        }
        // The second half of a pair alone is no character.
        first => Some((char::from_u32(first.into())?, rest)),
    }
}

fn unit(digits: &str) -> Option<(u16, &str)> {
    let (digits, rest) = digits.split_at_checked(4)?;
    // The standard parser takes a sign as well.
    let hexadecimal = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    Some((u16::from_str_radix(digits, 16).ok().filter(|_| hexadecimal)?, rest))
}

/// How many bytes come before the first quote, backslash or control character.
fn plain(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::MAX / 255;
    /// The highest bit of each byte that is zero, and of some above such a one.
    fn zero(word: u64) -> u64 {
        word.wrapping_sub(ONES) & !word
    }
    let (words, rest) = bytes.as_chunks::<8>();
    for (n, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let control = word.wrapping_sub(ONES * 0x20) & !word;
        let quote = zero(word ^ (ONES * u64::from(b'"')));
        let backslash = zero(word ^ (ONES * u64::from(b'\\')));
        // The lowest mark is right: what is carried goes upwards only.
        let marks = (control | quote | backslash) & (ONES << 7);
        if marks != 0 {
            return n * 8 + marks.trailing_zeros() as usize / 8;
        }
    }
    let end = rest.iter().position(|byte| matches!(byte, 0..=0x1F | b'"' | b'\\'));
    words.len() * 8 + end.unwrap_or(rest.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As the general reader decodes a string.
    fn expected(json: &str) -> Option<String> {
        serde_json::from_str(json).ok()
    }

    fn whole(json: &str) -> Option<String> {
        decode(json).filter(|(_, after)| after.is_empty()).map(|(text, _)| text)
    }

    #[test]
    fn every_escape_is_what_it_is_to_the_general_reader() {
        for json in [
            r#""""#,
            r#""a""#,
            r#""eight by""#,
            r#""seven b\\\"\/\b\f\n\r\t after""#,
            r#""\u0041 \u00e9 \uD83D\uDE00 \ud83d\ude00""#,
            r#""\u0000""#,
            // What no string can hold, and what is no string.
            r#""\ud83d""#,
            r#""\ude00""#,
            r#""\ud83d\u0041""#,
            r#""\ud83dx""#,
            r#""\u+041""#,
            r#""\u00g1""#,
            r#""\u00""#,
            r#""\u00é0""#,
            r#""\x""#,
            r#""\"#,
            r#"""#,
            r#""no end"#,
            "\"tab\t\"",
            "\"eight by\u{1f}tes\"",
            "\"\u{7f}\u{80}\"",
            "",
            "7",
            "null",
        ] {
            assert_eq!(whole(json), expected(json), "{json}");
        }
    }

    #[test]
    fn only_the_first_text_of_a_result_is_lifted() {
        let long = r#"a \"word\"\n"#.repeat(WORTH / 10);
        let text = r#"a "word""#.to_owned() + "\n";
        let text = text.repeat(WORTH / 10);
        for (head, tail) in [
            (r#"{"jsonrpc":"2.0","id":7,"result":{"content":[{"type":"text","text":"#, "}]}}"),
            (
                r#"{"jsonrpc":"2.0","id":7,"result":{"resultType":"complete","content":[{"type":"text","text":"#,
                r#","annotations":{}},{"type":"text","text":"b"}],"isError":false}}"#,
            ),
            (r#"{"result":{"content":[{"type":"text","text":"#, r#"}]},"jsonrpc":"2.0","id":7}"#),
        ] {
            let lifted = lift(&format!("{head}\"{long}\"{tail}")).unwrap();
            assert_eq!((lifted.text, lifted.rest), (text.clone(), format!("{head}\"\"{tail}")));
        }
        for line in [
            format!(
                r#"{{"jsonrpc":"2.0","id":7,"error":{{"content":[{{"type":"text","text":"{long}"}}]}}}}"#
            ),
            format!(
                r#"{{"id":7,"result":{{"structuredContent":{{"content":[{{"type":"text","text":"{long}"}}]}}}}}}"#
            ),
            format!(r#"{{"jsonrpc":"2.0","id":7,"result":{{"content":[{{"type":"text","text":"{long}"#),
            format!(
                r#"{{"jsonrpc":"2.0","id":7,"result":{{"content":[{{"type":"text","text":7,"{long}":1}}]}}}}"#
            ),
        ] {
            assert_eq!(lift(&line), None, "{line}");
        }
    }

    proptest! {
        #[test]
        fn a_written_string_is_read(text in ".{0,60}") {
            let json = serde_json::to_string(&text).unwrap();
            prop_assert_eq!(whole(&json), Some(text));
        }

        #[test]
        fn whatever_looks_like_a_string_is_read_as_the_general_reader_does(
            pieces in prop::collection::vec(
                prop_oneof![
                    3 => "[ -~]{0,12}",
                    2 => prop::sample::select(vec![
                        r#"\""#, r"\\", r"\/", r"\b", r"\f", r"\n", r"\r", r"\t", r"\u0041", r"\u00e9", r"\ud83d", r"\ude00",
                        r"\uD83D\uDE00", r"\u12", r"\x", "\n", "\u{1f}", "\u{7f}", "é", "😀", "\"", "\\",
                    ]).prop_map(str::to_owned),
                    1 => prop::char::any().prop_map(String::from),
                ],
                0..12,
            ),
        ) {
            let json = format!("\"{}\"", pieces.concat());
            prop_assert_eq!(whole(&json), expected(&json));
        }
    }
}
