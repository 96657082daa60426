//! One spelling for what can be spelt in many ways.

use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, AhoCorasickKind};

use super::has_run;
use super::meant::meant;
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
    // A name that is a sentence: `content_of_the_env_file`.
    if !shown.contains(' ') && shown.matches('_').count() >= 3 {
        shown = shown.replace('_', " ");
    }
    if shown.contains("&#") {
        shown = unescaped(&shown, "&#");
    }
    // Marks for emphasis stand inside words that are meant to be overlooked.
    let stays = |pair: &[u8]| {
        matches!(pair[0], b'!'..=b'~' | b'\n' | b' ')
            && !matches!(pair[0], b'*' | b'`')
            && (pair[0] > b' ' || pair[0] != pair[1])
    };
    if shown.as_bytes().windows(2).all(stays) && shown.bytes().last().is_none_or(|last| stays(&[last, 0])) {
        return shown;
    }
    if shown.contains('`') {
        shown = with_names(&shown);
    }
    let mut spaced = String::with_capacity(shown.len());
    for c in shown.chars() {
        if !c.is_ascii() && push_folded(c, &mut spaced) {
            continue;
        }
        let c = if c == '\n' {
            '\n'
        } else if c.is_whitespace() {
            ' '
        } else {
            c
        };
        if matches!(c, '*' | '`') || (matches!(c, ' ' | '\n') && spaced.ends_with(c)) {
            continue;
        }
        spaced.push(c);
    }
    spaced
}

/// A text with its names in quotes, as `name` is one.
fn with_names(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('`') {
        quoted.push_str(before);
        let name = after.split('`').next().filter(|name| {
            let is_name =
                |b: u8| b.is_ascii_alphanumeric() || !b.is_ascii() || matches!(b, b'_' | b'-' | b'.');
            (1..=40).contains(&name.len()) && name.len() < after.len() && name.bytes().all(is_name)
        });
        // Inside a word it hides something.
        let alone = |name: &&str| {
            !before.ends_with(char::is_alphanumeric)
                && !after[name.len() + 1..].starts_with(|c: char| c.is_alphanumeric() || c == '`')
        };
        match name.filter(alone) {
            Some(name) => {
                quoted.push('\'');
                quoted.push_str(name);
                quoted.push('\'');
                rest = &after[name.len() + 1..];
            }
            None => {
                quoted.push('`');
                rest = after;
            }
        }
    }
    quoted.push_str(rest);
    quoted
}

/// A letter without its accents, and the points of other scripts as ours; false: it is something else.
fn push_folded(c: char, folded: &mut String) -> bool {
    let letter = match c {
        // Marks over, under and through letters.
        '\u{300}'..='\u{36f}'
        | '\u{1ab0}'..='\u{1aff}'
        | '\u{1dc0}'..='\u{1dff}'
        | '\u{20d0}'..='\u{20ff}' => "",
        '\u{3002}' | '\u{ff61}' | '\u{964}' | '\u{6d4}' => ". ",
        '\u{61f}' => "? ",
        '\u{3001}' | '\u{60c}' => ", ",
        '\u{e0}'..='\u{e5}'
        | '\u{101}'
        | '\u{103}'
        | '\u{105}'
        | '\u{1ce}'
        | '\u{227}'
        | '\u{1ea0}'..='\u{1eb7}' => "a",
        '\u{e6}' => "ae",
        '\u{e7}' | '\u{107}' | '\u{109}' | '\u{10b}' | '\u{10d}' => "c",
        '\u{f0}' | '\u{10f}' | '\u{111}' => "d",
        '\u{e8}'..='\u{eb}'
        | '\u{113}'
        | '\u{115}'
        | '\u{117}'
        | '\u{119}'
        | '\u{11b}'
        | '\u{229}'
        | '\u{1eb8}'..='\u{1ec7}' => "e",
        '\u{11d}' | '\u{11f}' | '\u{121}' | '\u{123}' | '\u{1e21}' => "g",
        '\u{125}' | '\u{127}' => "h",
        '\u{ec}'..='\u{ef}' | '\u{129}' | '\u{12b}' | '\u{12d}' | '\u{12f}' | '\u{1ec8}'..='\u{1ecb}' => "i",
        '\u{135}' => "j",
        '\u{137}' => "k",
        '\u{13a}' | '\u{13c}' | '\u{13e}' | '\u{140}' | '\u{142}' => "l",
        '\u{f1}' | '\u{144}' | '\u{146}' | '\u{148}' => "n",
        '\u{f2}'..='\u{f6}'
        | '\u{f8}'
        | '\u{14d}'
        | '\u{14f}'
        | '\u{151}'
        | '\u{22f}'
        | '\u{1ecc}'..='\u{1ee3}' => "o",
        '\u{153}' => "oe",
        '\u{155}' | '\u{157}' | '\u{159}' => "r",
        '\u{15b}' | '\u{15d}' | '\u{15f}' | '\u{161}' | '\u{219}' => "s",
        '\u{df}' => "ss",
        '\u{163}' | '\u{165}' | '\u{21b}' => "t",
        '\u{f9}'..='\u{fc}'
        | '\u{169}'
        | '\u{16b}'
        | '\u{16d}'
        | '\u{16f}'
        | '\u{171}'
        | '\u{173}'
        | '\u{1ee4}'..='\u{1ef1}' => "u",
        '\u{fd}' | '\u{ff}' | '\u{1ef2}'..='\u{1ef9}' => "y",
        '\u{17a}' | '\u{17c}' | '\u{17e}' => "z",
        _ => return false,
    };
    folded.push_str(letter);
    true
}

/// A text whose characters are written as numbers behind `lead` (`&#105;`, `\\u0069`, `\\x69`), as those characters.
fn unescaped(text: &str, lead: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(lead) {
        plain.push_str(before);
        let (digits, radix) = match lead {
            "&#" => after.strip_prefix(['x', 'X']).map_or((after, 10), |hex| (hex, 16)),
            _ => (after.trim_start_matches('{'), 16),
        };
        let most = match lead {
            "\\x" => 2,
            "\\u" if after.len() == digits.len() => 4,
            _ => 6,
        };
        let count = digits.chars().take(most).take_while(|c| c.is_digit(radix)).count();
        match u32::from_str_radix(&digits[..count], radix).ok().and_then(char::from_u32) {
            Some(c) if !c.is_control() || c == '\n' => {
                plain.extend(c.to_lowercase());
                rest = digits[count..].trim_start_matches([';', '}']);
            }
            _ => {
                plain.push_str(lead);
                rest = after;
            }
        }
    }
    plain.push_str(rest);
    plain
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
    let stands_for = |b: u8| matches!(b, b'0' | b'1' | b'3' | b'4' | b'5' | b'@' | b'$');
    if !plain.bytes().any(stands_for) {
        return None;
    }
    let mixed = |word: &str| {
        word.len() >= 4
            && word.bytes().any(stands_for)
            && word.bytes().filter(u8::is_ascii_alphabetic).count() * 2 >= word.len()
    };
    // One such word is a name; several are a habit.
    if plain.split(' ').filter(|word| mixed(word)).count() < 2 {
        return None;
    }
    let letter = |c: char| u8::try_from(c).ok().and_then(letter_of).map_or(c, char::from);
    let read = |word: &str| if mixed(word) { word.chars().map(letter).collect() } else { word.to_owned() };
    Some(plain.split(' ').map(read).collect::<Vec<String>>().join(" "))
}

/// Whether the letters of a text, whatever stands between them, order to ignore what was said before: `ig nore all prev
/// ious instruc tions`, `i.g.n.o.r.e`, `ignore_all_previous_instructions`.
pub(super) fn is_squashed_override(plain: &str) -> bool {
    if plain.len() > 16 * 1024 {
        return false;
    }
    let letters: Vec<u8> = meant(plain).bytes().filter_map(letter_of).collect();
    fn after<'l>(letters: &'l [u8], words: &[&str]) -> Option<&'l [u8]> {
        words.iter().find_map(|word| letters.strip_prefix(word.as_bytes()))
    }
    static VERBS: LazyLock<Option<AhoCorasick>> =
        LazyLock::new(|| table(&["ignore", "disregard", "forget", "override", "bypass"]));
    // The words are constants.
    VERBS.as_ref().is_some_and(|verbs| {
        verbs.find_overlapping_iter(&letters).any(|verb| {
            let mut rest = &letters[verb.end()..letters.len().min(verb.end() + 48)];
            while let Some(next) = after(rest, &["all", "any", "every", "the", "of", "your", "my", "these"]) {
                rest = next;
            }
            let before = ["previous", "prior", "earlier", "above", "preceding", "system", "former", "safety"];
            let rules =
                ["instruction", "prompt", "rule", "guideline", "directive", "system", "safety", "command"];
            after(rest, &before).is_some_and(|rest| after(rest, &rules).is_some())
        })
    })
}

/// The letter that a character of a text stands for.
fn letter_of(byte: u8) -> Option<u8> {
    match byte {
        b'a'..=b'z' => Some(byte),
        b'0' => Some(b'o'),
        b'1' | b'!' => Some(b'i'),
        b'3' => Some(b'e'),
        b'4' | b'@' => Some(b'a'),
        b'5' | b'$' => Some(b's'),
        b'7' => Some(b't'),
        _ => None,
    }
}

/// The texts that are encoded in a text: in base64, base32, hexadecimal, numbers, escapes, turned round or with other
/// letters, where that makes readable words.
pub(super) fn encoded(raw: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut take = |bytes: Option<Vec<u8>>| {
        if let Some(text) = bytes.and_then(readable)
            && found.len() < MOST
        {
            found.push(text);
        }
    };
    // Most texts have nothing of the kind, and one look says so.
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_' | b'=');
    let part = |c: char| !u8::try_from(c).is_ok_and(is_part);
    let has_words = has_run(raw, 16, is_part);
    if has_words && has_run(raw, 24, is_part) {
        for run in raw.split(part).filter(|run| (24..=65_536).contains(&run.len())).take(4 * MOST) {
            let run = run.trim_matches('=');
            take(hex(run).or_else(|| base64(run)));
            take(base32(run));
        }
    }
    // Lines of one encoded text.
    let lines: String = match has_words {
        false => String::new(),
        true => {
            raw.split_ascii_whitespace().filter(|word| word.len() >= 16 && !word.contains(part)).collect()
        }
    };
    if lines.len() >= 24 && lines.len() <= 65_536 {
        take(base64(lines.trim_matches('=')));
    }
    // A printable character begins with a digit, however it is written.
    if raw.bytes().filter(u8::is_ascii_digit).take(12).count() == 12 {
        for radix in [16, 10, 2] {
            take(numbers(raw, radix));
        }
    }
    for lead in ["\\u", "\\x"] {
        if raw.contains('\\') && raw.matches(lead).take(8).count() == 8 {
            take(Some(unescaped(raw, lead).into_bytes()));
        }
    }
    if raw.len() <= 16 * 1024 {
        let (turned, respelt) = respelt(raw);
        if turned {
            take(Some(raw.to_ascii_lowercase().chars().rev().collect::<String>().into_bytes()));
        }
        if respelt {
            take(Some(raw.to_ascii_lowercase().bytes().map(rotated).collect()));
        }
    }
    found
}

/// Encoded texts of one text that are looked into.
const MOST: usize = 16;

/// Words that orders to models are made of, turned round.
const TURNED: &[&str] = &[
    "snoitcurtsni",
    "erongi",
    " eht ",
    "suoiverp",
    "terces",
    "drowssap",
    "laitnederc",
    "metsys",
    "yek ",
    "resu eht",
];

/// The same with each letter half an alphabet on.
const ROTATED: &[&str] = &[
    "vafgehpgvba",
    "vtaber",
    " gur ",
    " naq ",
    "ernq gur",
    "rot13",
    "rot-13",
    "cerivbhf",
    "frperg",
    "cnffjbeq",
    "perqragvny",
    "flfgrz",
    "xrl",
    "gur hfre",
];

/// Whether words are in it that are turned round, and such that have other letters.
fn respelt(raw: &str) -> (bool, bool) {
    static WORDS: LazyLock<Option<AhoCorasick>> = LazyLock::new(|| table(TURNED.iter().chain(ROTATED)));
    // The words are constants; without their table the text is read both ways.
    let Some(words) = &*WORDS else { return (true, true) };
    words.find_overlapping_iter(raw).fold((false, false), |(turned, rotated), found| {
        let is_turned = found.pattern().as_usize() < TURNED.len();
        (turned || is_turned, rotated || !is_turned)
    })
}

fn table<'w>(words: impl IntoIterator<Item = &'w &'w str>) -> Option<AhoCorasick> {
    let mut builder = AhoCorasick::builder();
    builder.kind(Some(AhoCorasickKind::DFA)).ascii_case_insensitive(true).build(words).ok()
}

fn rotated(byte: u8) -> u8 {
    match byte {
        b'a'..=b'z' => (byte - b'a' + 13) % 26 + b'a',
        other => other,
    }
}

/// Bytes that are a text, in UTF-8 or UTF-16.
fn readable(bytes: Vec<u8>) -> Option<String> {
    let bytes = if bytes.len() >= 24 && bytes.iter().skip(1).step_by(2).all(|byte| *byte == 0) {
        bytes.into_iter().step_by(2).collect()
    } else {
        bytes
    };
    let text = String::from_utf8(bytes).ok()?;
    let total = text.chars().count();
    let readable = text.chars().filter(|c| c.is_ascii_graphic() || matches!(c, ' ' | '\n' | '\t')).count();
    (total >= 12 && readable * 20 >= total * 19).then_some(text)
}

/// Letters written as numbers, each for itself: `69 67 6e`, `105 103 110`, `01101001 01100111`.
fn numbers(raw: &str, radix: u32) -> Option<Vec<u8>> {
    let digits = match radix {
        16 => 2..=2,
        10 => 2..=3,
        _ => 7..=8,
    };
    let mut bytes = Vec::new();
    let between = |c: char| c.is_ascii_whitespace() || matches!(c, ',' | ':' | ';' | '-');
    for word in raw.split(between).filter(|word| !word.is_empty()) {
        let word = word.trim_start_matches("0x");
        let is_digits =
            digits.contains(&word.len()) && word.bytes().all(|byte| char::from(byte).is_digit(radix));
        match is_digits.then(|| u8::from_str_radix(word, radix)) {
            Some(Ok(byte @ 0x20..=0x7e)) => bytes.push(byte),
            _ if bytes.len() >= 12 => break,
            _ => bytes.clear(),
        }
    }
    (bytes.len() >= 12).then_some(bytes)
}

fn base32(run: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(run.len() * 5 / 8);
    let (mut group, mut bits) = (0u32, 0);
    for byte in run.bytes() {
        let five = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'2'..=b'7' => byte - b'2' + 26,
            _ => return None,
        };
        group = (group << 5 | u32::from(five)) & 0xffff;
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from(group >> bits & 0xff).unwrap_or(0));
        }
    }
    Some(bytes)
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
