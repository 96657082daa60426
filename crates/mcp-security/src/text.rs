//! Characters that do not show: which of them a script needs, and which hide something.
//!
//! A zero-width joiner belongs into emoji and into Indic and Arabic words, a tag character into the flag of England, a
//! direction mark into Hebrew. Anywhere else they are invisible to people and plain to a model.

use std::borrow::Cow;

/// What an invisible character does where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    /// Not invisible, or at home here.
    Fine,
    /// Shows nothing; harmless once in a while.
    Stray,
    /// Carries or turns round text that people cannot see.
    Hiding,
    /// Moves a terminal's cursor, or worse.
    Control,
}

/// The invisible characters of a text that its script does not need.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Hidden {
    /// How many there are.
    pub count: usize,
    /// The first.
    pub first: Option<char>,
    /// They carry text, or turn round what is shown.
    pub hides: bool,
    /// Control characters are among them.
    pub controls: bool,
}

/// More stray marks than this carry something.
const STRAY: usize = 6;

/// Looks for characters that do not show.
///
/// ```
/// use mcp_security::text::hidden;
/// assert_eq!(hidden("family: \u{1f468}\u{200d}\u{1f467}").count, 0);
/// assert_eq!(hidden("read\u{200b}me").first, Some('\u{200b}'));
/// assert!(hidden("\u{202e}txt.exe").hides);
/// ```
pub fn hidden(text: &str) -> Hidden {
    let mut hidden = Hidden::default();
    if shows(text) {
        return hidden;
    }
    each(text, |c, mark| {
        if mark != Mark::Fine {
            hidden.count += 1;
            hidden.first.get_or_insert(c);
            hidden.hides |= mark == Mark::Hiding;
            hidden.controls |= mark == Mark::Control;
        }
    });
    hidden.hides |= hidden.count > STRAY && !hidden.controls;
    hidden
}

/// The text without them; borrowed where there are none.
pub fn visible(text: &str) -> Cow<'_, str> {
    if hidden(text).count == 0 {
        return Cow::Borrowed(text);
    }
    let mut clean = String::with_capacity(text.len());
    each(text, |c, mark| {
        if mark == Mark::Fine {
            clean.push(c);
        }
    });
    Cow::Owned(clean)
}

/// The text with every character written out that would not show, would break a line of a log or turn text round.
///
/// ```
/// assert_eq!(mcp_security::text::escaped("a\u{1b}[2J\u{2028}b"), "a\\u{1b}[2J\\u{2028}b");
/// ```
pub fn escaped(text: &str) -> Cow<'_, str> {
    let odd = |c: char| (c.is_control() && !matches!(c, '\t' | '\n')) || is_separator(c) || is_bidi(c);
    if is_plain(text) || (!text.contains(odd) && hidden(text).count == 0) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    let mut at_return = false;
    each(text, |c, mark| {
        // CR LF is how Windows ends its lines.
        if at_return && c != '\n' {
            shown.push_str("\\r");
        }
        at_return = c == '\r';
        if at_return {
        } else if mark != Mark::Fine || is_separator(c) || (c.is_control() && !matches!(c, '\t' | '\n')) {
            shown.extend(c.escape_unicode());
        } else {
            shown.push(c);
        }
    });
    if at_return {
        shown.push_str("\\r");
    }
    if shown == text { Cow::Borrowed(text) } else { Cow::Owned(shown) }
}

/// Every byte is a printable ASCII character, a tab or a line feed.
fn is_plain(text: &str) -> bool {
    let plain =
        |bytes: &[u8]| bytes.iter().fold(true, |all, b| all & matches!(b, b' '..=b'~' | b'\t' | b'\n'));
    // Piece by piece without a way out in the middle, the compiler takes many bytes at once.
    text.as_bytes().chunks(256).all(plain)
}

/// Every character shows wherever it stands, as most letters do: there is no need for a closer look.
fn shows(text: &str) -> bool {
    let shows = |c: char| {
        matches!(c, ' '..='~' | '\t' | '\n' | '\u{c0}'..='\u{24f}' | '\u{370}'..='\u{58f}')
            || matches!(c, '\u{3001}'..='\u{3003}' | '\u{3041}'..='\u{3096}' | '\u{30a1}'..='\u{30fc}')
            || matches!(c, '\u{4e00}'..='\u{9fff}' | '\u{ac00}'..='\u{d7a3}' | '\u{ff01}'..='\u{ff5e}')
    };
    is_plain(text) || text.chars().all(shows)
}

pub(crate) fn is_separator(c: char) -> bool {
    matches!(c, '\u{2028}' | '\u{2029}' | '\u{85}')
}

fn is_bidi(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Hands over each character with what it does where it stands.
fn each(text: &str, mut take: impl FnMut(char, Mark)) {
    let right_to_left = text.chars().any(is_right_to_left);
    let balanced = right_to_left && is_balanced(text);
    let mut chars = text.chars().peekable();
    // The end of an emoji tag sequence that is under way.
    let mut tags: Option<usize> = None;
    let mut before: Option<char> = None;
    // The last character that is there to stay: nothing leans on one that is taken out.
    let mut base: Option<char> = None;
    let mut rest = text;
    while let Some(c) = chars.next() {
        rest = &rest[c.len_utf8()..];
        let after = chars.peek().copied();
        let mark = match c {
            '\t' | '\n' | '\r' => Mark::Fine,
            _ if c.is_control() => Mark::Control,
            '\u{e0001}' | '\u{e0020}'..='\u{e007f}' => match tags {
                Some(left) if left > 0 => {
                    tags = Some(left - 1);
                    Mark::Fine
                }
                _ => Mark::Hiding,
            },
            '\u{202d}' | '\u{202e}' => Mark::Hiding,
            _ if is_bidi(c) => {
                if balanced {
                    Mark::Fine
                } else {
                    Mark::Hiding
                }
            }
            '\u{200e}' | '\u{200f}' | '\u{61c}' => {
                if right_to_left {
                    Mark::Fine
                } else {
                    Mark::Stray
                }
            }
            '\u{200d}' => {
                let emoji = base.is_some_and(is_emoji_part) && after.is_some_and(is_emoji_part);
                if emoji || base.is_some_and(is_joining) { Mark::Fine } else { Mark::Stray }
            }
            '\u{200c}' => {
                if base.is_some_and(is_joining) || after.is_some_and(is_joining) {
                    Mark::Fine
                } else {
                    Mark::Stray
                }
            }
            // Scripts without blanks mark the places where a line may break.
            '\u{200b}' => {
                let unspaced = |c: char| matches!(c, '\u{e00}'..='\u{eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}');
                if base.is_some_and(unspaced) || after.is_some_and(unspaced) {
                    Mark::Fine
                } else {
                    Mark::Stray
                }
            }
            // One selector belongs to the character before it; a row of them is bytes.
            _ if is_selector(c) && (before.is_some_and(is_selector) || base.is_some_and(is_selector)) => {
                Mark::Hiding
            }
            _ if is_selector(c) => match base {
                Some(base) if !base.is_ascii_whitespace() && !base.is_ascii_alphabetic() => Mark::Fine,
                _ => Mark::Stray,
            },
            '\u{feff}' | '\u{2060}'..='\u{2064}' | '\u{206a}'..='\u{206f}' | '\u{180e}' => Mark::Stray,
            '\u{ad}' | '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}' => Mark::Stray,
            '\u{fff9}'..='\u{fffb}' | '\u{f0000}'..='\u{10ffff}' | '\u{e0000}'..='\u{e0fff}' => Mark::Hiding,
            _ => Mark::Fine,
        };
        if !matches!(c, '\u{e0001}' | '\u{e0020}'..='\u{e007f}') {
            tags = if is_emoji_part(c) { flag_length(rest) } else { None };
        }
        take(c, mark);
        before = Some(c);
        if mark == Mark::Fine {
            base = before;
        }
    }
}

/// The length of the tag sequence (with its end) that makes a flag of the emoji before it, such as England's.
fn flag_length(rest: &str) -> Option<usize> {
    let letters = rest.chars().take_while(|c| matches!(c, '\u{e0030}'..='\u{e007a}')).count();
    let ends = rest.chars().nth(letters) == Some('\u{e007f}');
    // Regions have two or three letters and at most three more.
    (ends && (2..=6).contains(&letters)).then_some(letters + 1)
}

/// Chooses a form of the character before it.
fn is_selector(c: char) -> bool {
    matches!(c, '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}')
}

fn is_balanced(text: &str) -> bool {
    let mut open = Vec::new();
    for c in text.chars() {
        match c {
            '\u{202a}' | '\u{202b}' => open.push('\u{202c}'),
            '\u{2066}'..='\u{2068}' => open.push('\u{2069}'),
            '\u{202c}' | '\u{2069}' if open.pop() != Some(c) => return false,
            _ => {}
        }
    }
    open.is_empty()
}

fn is_right_to_left(c: char) -> bool {
    matches!(c, '\u{590}'..='\u{8ff}' | '\u{fb1d}'..='\u{fdff}' | '\u{fe70}'..='\u{fefc}')
}

/// Scripts whose letters join, or are kept from joining, by an invisible character.
fn is_joining(c: char) -> bool {
    matches!(c, '\u{600}'..='\u{8ff}' | '\u{900}'..='\u{dff}' | '\u{f00}'..='\u{109f}' | '\u{1780}'..='\u{18af}')
        || matches!(c, '\u{a840}'..='\u{abff}' | '\u{fb50}'..='\u{fdff}' | '\u{fe70}'..='\u{fefc}')
}

fn is_emoji_part(c: char) -> bool {
    matches!(c, '\u{2190}'..='\u{2bff}' | '\u{1f000}'..='\u{1faff}' | '\u{fe0f}' | '\u{a9}' | '\u{ae}')
}

/// The Latin letter that a letter of another script, or of another shape, looks like.
fn lookalike(c: char) -> Option<char> {
    Some(match c {
        'а' | 'А' | 'α' | 'Α' | 'ɑ' | 'ᴀ' | 'ᵃ' => 'a',
        'в' | 'В' | 'Β' | 'ʙ' | 'ᵇ' => 'b',
        'с' | 'С' | 'ᴄ' | 'ᶜ' | 'ϲ' => 'c',
        'ԁ' | 'ᴅ' | 'ᵈ' => 'd',
        'е' | 'Е' | 'ε' | 'Ε' | 'ᴇ' | 'ᵉ' => 'e',
        'ꜰ' | 'ᶠ' => 'f',
        'ɡ' | 'ց' | 'ԍ' | 'ɢ' | 'ᵍ' => 'g',
        'һ' | 'н' | 'Н' | 'Η' | 'հ' | 'ʜ' | 'ʰ' => 'h',
        'і' | 'І' | 'ι' | 'Ι' | 'ı' | 'ɪ' | 'ᴉ' | 'ⁱ' => 'i',
        'ј' | 'Ј' | 'ᴊ' | 'ʲ' => 'j',
        'к' | 'К' | 'κ' | 'Κ' | 'ᴋ' | 'ᵏ' => 'k',
        'ӏ' | 'ʟ' | 'ˡ' => 'l',
        'м' | 'М' | 'Μ' | 'ᴍ' | 'ᵐ' => 'm',
        'Ν' | 'ո' | 'ɴ' | 'ⁿ' => 'n',
        'о' | 'О' | 'ο' | 'Ο' | 'օ' | 'ᴏ' | 'ᵒ' => 'o',
        'р' | 'Р' | 'ρ' | 'Ρ' | 'ᴘ' | 'ᵖ' => 'p',
        'ԛ' | 'ǫ' => 'q',
        'ʀ' | 'ʳ' => 'r',
        'ѕ' | 'Ѕ' | 'ſ' | 'ꜱ' | 'ˢ' => 's',
        'т' | 'Т' | 'τ' | 'Τ' | 'ᴛ' | 'ᵗ' => 't',
        'υ' | 'ս' | 'ᴜ' | 'ᵘ' => 'u',
        'ν' | 'ᴠ' | 'ᵛ' => 'v',
        'ԝ' | 'ᴡ' | 'ʷ' => 'w',
        'х' | 'Х' | 'Χ' | 'ˣ' => 'x',
        'у' | 'У' | 'Υ' | 'ʏ' | 'ʸ' => 'y',
        'Ζ' | 'ᴢ' | 'ᶻ' => 'z',
        _ => return None,
    })
}

/// The letter inside a circle, a square or brackets.
fn enclosed(c: char) -> Option<char> {
    let first = match c {
        '\u{249c}'..='\u{24b5}' => 0x249c,
        '\u{24b6}'..='\u{24cf}' => 0x24b6,
        '\u{24d0}'..='\u{24e9}' => 0x24d0,
        '\u{1f110}'..='\u{1f129}' => 0x1f110,
        '\u{1f130}'..='\u{1f149}' => 0x1f130,
        '\u{1f150}'..='\u{1f169}' => 0x1f150,
        '\u{1f170}'..='\u{1f189}' => 0x1f170,
        '\u{2170}' => return Some('i'),
        '\u{217c}' => return Some('l'),
        _ => return None,
    };
    let letter = u8::try_from(u32::from(c) - first).unwrap_or(0);
    Some(char::from(b'a' + letter))
}

/// What the text looks like: in lower case, in Latin letters where others only look different to a computer, without
/// what does not show.
///
/// ```
/// assert_eq!(mcp_security::text::skeleton("Re\u{430}d\u{ff3f}File"), "read_file");
/// ```
pub fn skeleton(text: &str) -> String {
    if is_plain(text) {
        return text.to_ascii_lowercase();
    }
    let mut shown = String::with_capacity(text.len());
    let shorn = visible(text);
    for c in shorn.chars() {
        push_skeleton(c, &mut shown);
    }
    shown
}

fn push_skeleton(c: char, shown: &mut String) {
    if c.is_ascii() {
        return shown.push(c.to_ascii_lowercase());
    }
    match c {
        '\u{ff01}'..='\u{ff5e}' => {
            let ascii = char::from_u32(u32::from(c) - 0xfee0).unwrap_or(c);
            shown.push(ascii.to_ascii_lowercase());
        }
        '\u{3000}' | '\u{a0}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' => shown.push(' '),
        // Mathematical letters: thirteen alphabets of 52.
        '\u{1d400}'..='\u{1d6a3}' => {
            let letter = (u32::from(c) - 0x1d400) % 26;
            shown.push(char::from(b'a' + u8::try_from(letter).unwrap_or(0)));
        }
        '\u{2018}' | '\u{2019}' => shown.push('\''),
        '\u{2010}'..='\u{2015}' | '\u{2212}' => shown.push('-'),
        '\u{2024}' => shown.push('.'),
        _ => match lookalike(c).or_else(|| enclosed(c)) {
            Some(latin) => shown.push(latin),
            None => shown.extend(c.to_lowercase()),
        },
    }
}

/// Whether one word mixes Latin letters with those that are easily taken for them.
pub(crate) fn mixes_scripts(word: &str) -> bool {
    let latin = word.chars().any(|c| c.is_ascii_alphabetic() || matches!(c, '\u{c0}'..='\u{24f}'));
    let similar = word.chars().any(|c| matches!(c, '\u{370}'..='\u{58f}' | '\u{13a0}'..='\u{13ff}'));
    let cyrillic = word.chars().any(|c| matches!(c, '\u{400}'..='\u{52f}'));
    let greek = word.chars().any(|c| matches!(c, '\u{370}'..='\u{3ff}'));
    (latin && similar) || (cyrillic && greek)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_script_needs_is_not_hidden() {
        for text in [
            "plain\ttext\r\n",
            "\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467} and \u{2764}\u{fe0f}",
            "\u{1f3f4}\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f}",
            "می\u{200c}خواهم",
            "क्\u{200d}ष",
            "\u{202b}עברית\u{202c}",
            "\u{2067}עברית\u{2069} and text",
            "ภาษา\u{200b}ไทย",
            "größer, 数据, проекты",
        ] {
            assert_eq!(hidden(text).count, 0, "{text:?}");
            assert_eq!(visible(text), text);
        }
    }

    #[test]
    fn what_shows_needs_no_closer_look() {
        for c in ('\0'..=char::MAX).filter(|c| shows(&c.to_string())) {
            each(&format!("{c}{c}a{c}"), |_, mark| assert_eq!(mark, Mark::Fine, "{c:?}"));
        }
    }

    #[test]
    fn what_hides_is_found_and_taken_out() {
        for (text, clean, hides) in [
            ("a\u{200b}b", "ab", false),
            ("a\u{200d}b", "ab", false),
            ("x\u{202e}y\u{202c}", "xy", true),
            ("hi\u{e0065}\u{e0078}", "hi", true),
            ("a\u{2066}b\u{2069}", "ab", true),
            ("a\u{fe00}\u{fe01}\u{fe02}", "a", true),
            ("b\0\u{e0186}", "b", false),
            ("%\u{fe01}\u{200b}\u{fe01}9", "%\u{fe01}9", true),
            ("flag \u{1f3f4}\u{e0072}\u{e0065}\u{e0061}\u{e0064}", "flag \u{1f3f4}", true),
        ] {
            assert_eq!(visible(text), clean, "{text:?}");
            assert_eq!(hidden(text).hides, hides, "{text:?}");
        }
        assert!(hidden(&"a\u{200b}\u{200c}".repeat(4)).hides);
        assert!(hidden("a\u{1b}[31m").controls);
    }

    #[test]
    fn nothing_moves_a_cursor_once_it_is_escaped() {
        assert_eq!(escaped("ok\r\nnext\ttab"), "ok\nnext\ttab");
        assert_eq!(escaped("over\rwrite"), "over\\rwrite");
        assert_eq!(escaped("a\u{9b}31m\u{202e}b"), "a\\u{9b}31m\\u{202e}b");
    }

    #[test]
    fn letters_that_look_alike_are_alike() {
        assert_eq!(skeleton("ｒｅａｄ"), "read");
        assert_eq!(skeleton("\u{1d42b}\u{1d41e}ad"), "read");
        assert!(mixes_scripts("ex\u{430}mple") && !mixes_scripts("пример") && !mixes_scripts("größe"));
    }
}
