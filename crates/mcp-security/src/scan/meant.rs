//! Sentences as they are meant: what is quoted as an example, what others say and what a log tells of is not said.

use std::borrow::Cow;

/// Words after which a quotation is an example.
const INTRODUCTIONS: &[&str] = &[
    "such as",
    "e.g.",
    "e.g.,",
    "e.g",
    "eg",
    "like",
    "for example",
    "for example,",
    "for instance",
    "example:",
    "examples:",
    "phrases",
    "attempts",
    "phrase",
    "expected",
    "received",
];

/// Whether all sentences of a text are meant as they stand: most texts lack what it takes to mean something else.
pub(super) fn is_meant(text: &str) -> bool {
    let any = |words: &[&str]| words.iter().any(|word| text.contains(word));
    let quotes = || text.contains(QUOTES);
    let reports = || REPORTS.iter().any(|(word, _)| text.contains(word));
    !(text.contains(TO_ASK) || text.contains(REQUEST) || text.contains('<') && any(TAGS))
        && !(quotes() && (any(INTRODUCTIONS) || any(ATTACKS)))
        && !(reports() && (any(FINDS) || any(ATTACKS)))
}

/// Words that make somebody else say what follows, with what may stand between them and that.
const REPORTS: &[(&str, &[&str])] = &[
    ("that ", SAYS),
    ("requests ", TO),
    ("attempts ", TO),
    ("commands ", TO),
    ("demands ", TO),
    ("which ", SAYS),
    ("who ", SAYS),
    ("asks ", MODELS),
    ("tells ", MODELS),
    ("instructs ", MODELS),
    ("told ", MODELS),
    ("asked ", MODELS),
    ("instructed ", MODELS),
    ("tricked ", MODELS),
    ("tries to make ", MODELS),
    ("try to make ", MODELS),
];

/// Whether it says of a tool that it changes what other people were told: "overrides the instructions given to the
/// driver".
pub(super) fn is_for_others(sentence: &str) -> bool {
    let begin = sentence.trim_start_matches(|c: char| !c.is_alphanumeric());
    let changes = ["overrides ", "replaces ", "supersedes ", "cancels ", "discards ", "updates "];
    changes.iter().any(|word| begin.starts_with(word))
        && ["instructions ", "guidelines ", "directives ", "rules ", "constraints ", "policies "].iter().any(
            |rules| {
                begin.split_once(rules).is_some_and(|(_, rest)| {
                    let mut words =
                        rest.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).peekable();
                    words.next_if(|word| {
                        matches!(*word, "given" | "sent" | "left" | "issued" | "passed" | "printed" | "set")
                    });
                    words.next().is_some_and(|word| matches!(word, "to" | "for" | "by" | "of" | "on"))
                        && words
                            .next()
                            .is_some_and(|word| matches!(word, "the" | "a" | "an" | "this" | "each"))
                        && words.next().is_some_and(|who| {
                            ![
                                "model",
                                "assist",
                                "agent",
                                "ai",
                                "llm",
                                "you",
                                "system",
                                "bot",
                                "chat",
                                "reader",
                                "conversation",
                                "session",
                                "user",
                                "host",
                                "client",
                            ]
                            .iter()
                            .any(|model| who.starts_with(model))
                        })
                })
            },
        )
}

/// What somebody wants others to do.
const TO: &[&str] = &["to "];

const SAYS: &[&str] = &[
    "tell",
    "told",
    "ask",
    "instruct",
    "order ",
    "orders ",
    "ordered ",
    "urge",
    "try to ",
    "tries to ",
    "tried to ",
    "trick",
    "say",
    "said",
    "claim",
    "convince",
    "persuade",
    "would make",
    "make an",
    "make the",
];

const MODELS: &[&str] = &[
    "the model",
    "the assistant",
    "the agent",
    "the ai",
    "the llm",
    "an ai",
    "an agent",
    "an assistant",
    "a model",
    "an llm",
    "models",
    "agents",
    "assistants",
    "claude",
    "chatgpt",
    "copilot",
];

/// Whoever names these speaks about attacks, and what is quoted then is one that is spoken about.
const ATTACKS: &[&str] = &[
    "injection",
    "jailbreak",
    "poisoning",
    "exfiltration",
    "attack",
    "malicious",
    "phishing",
    "cve-",
    "exploit",
    "adversarial",
    "red team",
    "red-team",
    "guardrail",
    "malware",
    "to be rejected",
    "to be blocked",
    "to be refused",
];

/// What a sentence begins with that says what a tool finds.
const FINDS: &[&str] = &[
    "detects ",
    "finds ",
    "flags ",
    "blocks ",
    "scans ",
    "catches ",
    "identifies ",
    "recognizes ",
    "recognises ",
    "classifies ",
    "filters ",
    "looks for ",
    "spots ",
    "warns ",
    "reports ",
    "checks ",
    "rejects ",
    "refuses ",
    "strips ",
];

/// Whether a sentence speaks about attacks.
fn is_about_attacks(sentence: &str) -> bool {
    let begin = sentence.trim_start_matches(|c: char| !c.is_alphanumeric());
    FINDS.iter().any(|word| begin.starts_with(word)) || ATTACKS.iter().any(|word| sentence.contains(word))
}

/// A sentence without what it says that somebody else says: "flags texts that tell a model to ignore its instructions".
fn without_reports(sentence: &str) -> &str {
    let reports = REPORTS.iter().filter_map(|(word, says)| {
        sentence.match_indices(word).map(|(at, _)| at + word.len()).find(|at| {
            let rest = &sentence[*at..];
            says.iter().any(|says| rest.starts_with(says))
        })
    });
    match reports.min() {
        Some(at) if is_about_attacks(sentence) => &sentence[..at],
        _ => sentence,
    }
}

/// What follows the request in a line of a web server's log.
const REQUEST: &str = " http/1";

/// A line of a log without the request that it tells of: `"get /a/b http/1.1" 404`.
fn without_requests(sentence: &str) -> Cow<'_, str> {
    let mut kept = Cow::Borrowed(sentence);
    while let Some(end) = kept.find(REQUEST) {
        let before = &kept[..end];
        // The path is one word, and the method is the one before it.
        let Some(path) = before.rfind(' ').filter(|at| before[at + 1..].starts_with('/')) else { break };
        let methods = ["get", "post", "put", "head", "delete", "options", "patch"];
        let Some(method) = methods.iter().find(|method| before[..path].ends_with(*method)) else { break };
        kept = Cow::Owned(format!("{}{}", &kept[..path - method.len()], &kept[end + REQUEST.len()..]));
    }
    kept
}

/// Words for marks of a page.
const TAGS: &[&str] = &["tag", "element", "marker", "delimiter"];

/// A sentence without the tags that it speaks of: "fake <system> tags", "tags such as <hidden> or <secret>".
fn without_tags(sentence: &str) -> Cow<'_, str> {
    if !sentence.contains('<') || !TAGS.iter().any(|word| sentence.contains(word)) {
        return Cow::Borrowed(sentence);
    }
    const LONGEST_TAG: usize = 40;
    let (mut kept, mut rest, mut in_list) = (String::new(), sentence, false);
    let mut dropped = false;
    while let Some(open) = rest.find('<') {
        let (before, tag) = rest.split_at(open);
        let Some(end) = tag.as_bytes().iter().take(LONGEST_TAG).position(|byte| *byte == b'>') else {
            kept.push_str(&rest[..open + 1]);
            rest = &rest[open + 1..];
            continue;
        };
        let behind = tag[end + 1..].trim_start_matches(['\'', '"', ' ']);
        let lead = before.trim_end_matches(['\'', '"', ' ', '(', ':']);
        let introduced =
            ["tags", "elements", "markers", "delimiters"].iter().any(|tags| lead.ends_with(tags))
                || ["like", "such as", "e.g."].iter().any(|word| {
                    lead.strip_suffix(word).is_some_and(|lead| {
                        TAGS.iter().any(|tag| lead.trim_end().trim_end_matches('s').ends_with(tag))
                    })
                });
        let listed = in_list && matches!(lead.trim_matches([' ', ',']), "" | "or" | "and");
        in_list = introduced
            || listed
            || TAGS.iter().any(|word| behind.starts_with(word))
            || in_list && TAGS.iter().any(|word| lead.trim_start().starts_with(word));
        kept.push_str(before);
        if in_list {
            dropped = true;
        } else {
            kept.push_str(&tag[..=end]);
        }
        rest = &tag[end + 1..];
    }
    kept.push_str(rest);
    if dropped { Cow::Owned(kept) } else { Cow::Borrowed(sentence) }
}

/// To tell somebody to do something is to ask.
const TO_ASK: &str = "tell the user to ";

const QUOTES: [char; 4] = ['\'', '"', '\u{201c}', '\u{201d}'];

/// A sentence as it is meant: to tell somebody to do something is to ask, and what is quoted as an example is not said.
pub(super) fn meant(sentence: &str) -> Cow<'_, str> {
    if sentence.contains(TO_ASK) {
        let asks = sentence.replace(TO_ASK, "ask the user to ");
        return Cow::Owned(meant(&asks).into_owned());
    }
    if let Cow::Owned(less) = without_tags(sentence) {
        return Cow::Owned(meant(&less).into_owned());
    }
    if let Cow::Owned(less) = without_requests(sentence) {
        return Cow::Owned(meant(&less).into_owned());
    }
    match without_reports(sentence) {
        less if less.len() < sentence.len() => Cow::Owned(without_examples(less).into_owned()),
        _ => without_examples(sentence),
    }
}

/// The first of [`QUOTES`], and where it stands.
fn quote_in(text: &str) -> Option<(usize, &str)> {
    let bytes = text.as_bytes();
    (0..bytes.len()).find_map(|at| match bytes[at] {
        b'\'' | b'"' => Some((at, &text[at..=at])),
        0xe2 if bytes[at + 1..].starts_with(&[0x80]) && matches!(bytes.get(at + 2), Some(0x9c | 0x9d)) => {
            Some((at, &text[at..at + 3]))
        }
        _ => None,
    })
}

/// A longer quotation is no example, in bytes.
const LONGEST_EXAMPLE: usize = 120;

/// A sentence without the quotations that it gives as examples: `detects phrases such as "ignore all rules"`.
fn without_examples(sentence: &str) -> Cow<'_, str> {
    if !sentence.contains(QUOTES) {
        return Cow::Borrowed(sentence);
    }
    let about_attacks = ATTACKS.iter().any(|word| sentence.contains(word));
    if !about_attacks && !INTRODUCTIONS.iter().any(|word| sentence.contains(word)) {
        return Cow::Borrowed(sentence);
    }
    let mut kept = String::with_capacity(sentence.len());
    let mut rest = sentence;
    let mut in_list = false;
    while let Some((open, _)) = quote_in(rest) {
        let (before, quoted) = rest.split_at(open);
        kept.push_str(before);
        let mark = quoted.chars().next().unwrap_or('"');
        let inside = &quoted[mark.len_utf8()..];
        // An apostrophe inside a word opens nothing.
        let opens = !before.ends_with(char::is_alphanumeric);
        let lead = before.trim_end_matches([' ', '(', ',']);
        let between = before.trim_matches([' ', ',']);
        let is_example = about_attacks
            || INTRODUCTIONS.iter().any(|word| lead.ends_with(word.trim_end_matches(',')))
            || (in_list && matches!(between, "" | "or" | "and"));
        let closes = |at: &(usize, &str)| !inside[at.0 + at.1.len()..].starts_with(char::is_alphanumeric);
        let near = &inside[..inside.floor_char_boundary(LONGEST_EXAMPLE + mark.len_utf8())];
        let end = || {
            let mut next = 0;
            std::iter::from_fn(|| {
                let (at, mark) = quote_in(&near[next..])?;
                let found = (next + at, mark);
                next += at + mark.len();
                Some(found)
            })
            .find(closes)
            .map(|(at, mark)| (at, at + mark.len()))
        };
        match (opens && is_example).then(end).flatten() {
            Some((end, after)) if end <= LONGEST_EXAMPLE => {
                rest = &inside[after..];
                in_list = true;
            }
            _ => {
                kept.push(mark);
                rest = inside;
                in_list = false;
            }
        }
    }
    kept.push_str(rest);
    Cow::Owned(kept)
}
