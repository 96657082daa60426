//! One spelling for what can be spelt in many ways.

use crate::{path, text};

/// A text as it is read: in lower case, in plain letters, decoded, with single blanks; line breaks stay.
pub(super) fn plain(raw: &str) -> String {
    let mut shown = text::skeleton(raw);
    if shown.contains('%') {
        shown = path::decoded(&shown);
        shown.make_ascii_lowercase();
    }
    if shown.contains('&') {
        for (entity, character) in
            [("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&"), ("&quot;", "\""), ("&#39;", "'"), ("&nbsp;", " ")]
        {
            if shown.contains(entity) {
                shown = shown.replace(entity, character);
            }
        }
    }
    let mut spaced = String::with_capacity(shown.len());
    for c in shown.chars() {
        let c = if c == '\n' {
            '\n'
        } else if c.is_whitespace() {
            ' '
        } else {
            c
        };
        // Marks for emphasis stand inside words that are meant to be overlooked.
        if matches!(c, '*' | '`') || (matches!(c, ' ' | '\n') && spaced.ends_with(c)) {
            continue;
        }
        spaced.push(c);
    }
    spaced
}

/// The text with letters that were set apart put together (`i g n o r e   a l l`), or with digits read as the letters they
/// stand for (`1gn0re`); `None`: nothing of the kind is in it.
pub(super) fn disguised(plain: &str, raw: &str) -> Option<String> {
    let is_apart =
        |word: &&str| word.chars().count() >= 3 && word.split(' ').all(|part| part.chars().count() == 1);
    let words = || raw.split("  ").map(str::trim).filter(|word| !word.is_empty());
    if words().filter(is_apart).count() >= 3 {
        let joined =
            words().map(|word| if is_apart(&word) { word.replace(' ', "") } else { word.to_owned() });
        return Some(self::plain(&joined.collect::<Vec<String>>().join(" ")));
    }
    let mixed = |word: &str| {
        word.len() >= 4
            && word.bytes().any(|b| matches!(b, b'0' | b'1' | b'3' | b'4' | b'5' | b'@' | b'$'))
            && word.bytes().filter(u8::is_ascii_alphabetic).count() * 2 >= word.len()
    };
    // One such word is a name; several are a habit.
    if plain.split(' ').filter(|word| mixed(word)).count() < 2 {
        return None;
    }
    let letter = |c: char| match c {
        '0' => 'o',
        '1' => 'i',
        '3' => 'e',
        '4' | '@' => 'a',
        '5' | '$' => 's',
        c => c,
    };
    let read = |word: &str| if mixed(word) { word.chars().map(letter).collect() } else { word.to_owned() };
    Some(plain.split(' ').map(read).collect::<Vec<String>>().join(" "))
}

/// The texts that are encoded in a text: base64 and hexadecimal that make readable words.
pub(super) fn encoded(raw: &str) -> Vec<String> {
    let mut found = Vec::new();
    let part = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '-' | '_' | '='));
    for run in raw.split(part).filter(|run| (24..=65_536).contains(&run.len())) {
        let run = run.trim_matches('=');
        if let Some(bytes) = hex(run).or_else(|| base64(run))
            && let Ok(text) = String::from_utf8(bytes)
            && is_readable(&text)
        {
            found.push(text);
            if found.len() >= 16 {
                break;
            }
        }
    }
    found
}

fn is_readable(text: &str) -> bool {
    let total = text.chars().count();
    let readable = text.chars().filter(|c| c.is_ascii_graphic() || *c == ' ' || *c == '\n').count();
    total >= 12 && readable == total && text.contains(' ')
}

fn hex(run: &str) -> Option<Vec<u8>> {
    if !run.len().is_multiple_of(2) {
        return None;
    }
    run.as_bytes()
        .chunks(2)
        .map(|pair| std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok()))
        .collect()
}

fn base64(run: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(run.len() * 3 / 4);
    let (mut group, mut bits) = (0u32, 0);
    for byte in run.bytes() {
        let six = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        };
        group = group << 6 | u32::from(six);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from(group >> bits & 0xff).unwrap_or(0));
        }
    }
    Some(bytes)
}
