//! Orders about what lies beyond a tool: what the model writes, and what it obeys.

use super::lexicon::*;
use super::sentence::{Place, Sentence};

/// Orders what is to stand in the programs that the model writes for people.
pub(super) fn plants_backdoor(sentence: &Sentence<'_>, place: Place) -> bool {
    let planted = |at: usize| {
        sentence.tokens[at].is(FOREIGN)
            || matches!(
                sentence.word(at),
                "add"
                    | "insert"
                    | "include"
                    | "embed"
                    | "append"
                    | "put"
                    | "place"
                    | "write"
                    | "plant"
                    | "leave"
                    | "hide"
                    | "slip"
                    | "slip in"
                    | "sneak"
                    | "sneak in"
            )
    };
    // "Must include" is one.
    let held = || sentence.at(HOLDS).find(|at| sentence.before(*at, 1, FORBID).is_none());
    let Some(order) = sentence.orders(CHANGE | MOVE | HIDE).find(|at| planted(*at)).or_else(held) else {
        return false;
    };
    let written = (0..sentence.tokens.len()).any(|at| {
        let makes =
            ["write", "generate", "create", "build", "produce", "scaffold", "commit", "deploy", "develop"];
        // "In each app you write".
        sentence.word(at) == "you"
            && makes.iter().any(|makes| sentence.word(at + 1).starts_with(makes))
            && (sentence.before(at, 5, ANY).is_some()
                // Documentation says what to write when; it slips nothing in.
                || (matches!(sentence.word(order), "slip" | "slip in" | "sneak" | "sneak in" | "hide" | "plant")
                    && sentence.before(at, 2, WHENEVER).is_some()))
    });
    let harms = || {
        let word = |at: usize| sentence.word(at);
        (order + 1..sentence.tokens.len()).any(|at| {
            matches!(
                word(at),
                "shell"
                    | "eval"
                    | "exec"
                    | "obfuscated"
                    | "undocumented"
                    | "tracker"
                    | "hardcoded"
                    | "hard coded"
            ) || (sentence.tokens[at].is(WEB | MAILBOX)
                && (order + 1..at).any(|at| {
                    [
                        "send", "post", "load", "script", "import", "fetch", "report", "upload", "forward",
                        "call", "request",
                    ]
                    .iter()
                    .any(|acts| word(at).starts_with(acts))
                }))
        })
    };
    (written && (sentence.has(BACKDOOR) || harms()))
        || (!place.first
            && !sentence.tokens[order].is(HOLDS)
            && sentence.after(order, 8, BACKDOOR).is_some_and(|what| is_way_in(sentence.word(what))))
        || (sentence.tokens[order].is(FOREIGN)
            && !place.first
            && sentence.at(BACKDOOR).any(|at| sentence.tokens[at].is(FOREIGN)))
}

/// Orders what the programs that the model writes are to depend on.
pub(super) fn steers_code(sentence: &Sentence<'_>, place: Place) -> bool {
    const WHAT: &[&str] = &[
        "program",
        "programs",
        "code",
        "script",
        "scripts",
        "project",
        "projects",
        "app",
        "apps",
        "file",
        "files",
        "function",
        "functions",
        "module",
        "package.json",
        "dockerfile",
        "requirements.txt",
    ];
    const MAKES: &[&str] =
        &["write", "generate", "create", "build", "produce", "scaffold", "develop", "make", "edit"];
    let on = [
        "depend",
        "requirement",
        "package",
        "librar",
        "import",
        "package.json",
        "cargo.toml",
        "lockfile",
        "go.mod",
    ];
    let written = (0..sentence.tokens.len()).any(|at| {
        sentence.word(at) == "you"
            && (at + 1..at + 3).any(|verb| MAKES.contains(&sentence.word(verb)))
            && (at.saturating_sub(3)..at).any(|what| WHAT.contains(&sentence.word(what)))
            && sentence.before(at, 5, ANY).is_some()
    });
    let depends = || {
        (0..sentence.tokens.len()).any(|at| {
            let ordered = matches!(
                sentence.word(at),
                "list"
                    | "add"
                    | "include"
                    | "use"
                    | "import"
                    | "install"
                    | "put"
                    | "require"
                    | "declare"
                    | "pin"
                    | "depend on"
            ) && (at == 0 || sentence.tokens[at - 1].is(LEAD | MARK));
            ordered
                && (at + 1..at + 10).any(|what| on.iter().any(|begin| sentence.word(what).starts_with(begin)))
                // By name, and not "the packages that it needs".
                && (at + 1..at + 8).any(|name| {
                    sentence.word(name).starts_with('\u{1}') || sentence.word(name).contains(['-', '_'])
                })
        })
    };
    !place.first && written && depends()
}

/// Some of them have a use in other places: a network may have a kill switch, a page a beacon.
fn is_way_in(word: &str) -> bool {
    !word.starts_with("kill") && !word.starts_with("beacon") && !word.starts_with("master")
}

/// Orders to decode something and to do what it says.
pub(super) fn obeys_code(sentence: &Sentence<'_>, place: Place) -> bool {
    let Some(code) = (0..sentence.tokens.len()).find(|at| {
        let word = sentence.word(*at);
        [
            "decode",
            "decrypt",
            "decipher",
            "unscramble",
            "deobfuscate",
            "rot13",
            "rot",
            "base64",
            "base32",
            "caesar",
        ]
        .contains(&word)
            || matches!(word, "backwards" | "backward" | "reversed")
    }) else {
        return false;
    };
    !place.first
        && sentence.orders(OBEY | RUN).any(|at| {
            at > code
                && if sentence.tokens[at].is(OBEY) {
                    sentence.after(at, 1, MARK).is_some()
                        || (at + 1..at + 3).any(|at| {
                            ["it", "them", "what", "that", "this", "the instruction"]
                                .contains(&sentence.word(at))
                                || sentence.word(at).starts_with("instruction")
                        })
                } else {
                    sentence
                        .after(at, 1, THIS)
                        .is_some_and(|what| matches!(sentence.word(what), "it" | "them"))
                }
        })
}
