//! Orders about what lies beyond a tool: what was said to the model, what it writes, what it asks people for.

use super::intent::{Place, Sentence};
use super::lexicon::*;

/// Asks for what people said, or what the model was told to begin with, under whatever name.
pub(super) fn takes_what_was_said(sentence: &Sentence<'_>) -> bool {
    let held = |at: usize| {
        let defined = sentence.before(at, 5, MARK).is_some() && sentence.before(at, 7, FIELD).is_some();
        defined
            || sentence.orders(MOVE).any(|order| order < at && at - order <= 5)
                && sentence.has(FIELD | WEB | MAILBOX)
    };
    let said = (0..sentence.tokens.len()).any(|at| {
        if !matches!(sentence.word(at), "everything" | "all" | "whatever" | "anything" | "every word") {
            return false;
        }
        let Some(who) = (at + 1..at + 5).find(|who| {
            sentence.tokens.get(*who).is_some_and(|token| token.is(USER)) || sentence.word(*who) == "they"
        }) else {
            return false;
        };
        // What they say to this tool is its own business; what they said before is not.
        let says = (who + 1..who + 4).find(|at| is_said(sentence.word(*at)));
        says.is_some_and(|says| {
            (says + 1..says + 5).any(|at| {
                matches!(
                    sentence.word(at),
                    "today"
                        | "so"
                        | "so far"
                        | "session"
                        | "until"
                        | "yet"
                        | "before"
                        | "earlier"
                        | "far"
                        | "previously"
                )
            })
        }) && held(at)
    });
    let told = sentence.at(TOLD).any(|at| {
        // "The operator text you were given at the start".
        let Some(what) = (at.saturating_sub(3)..at).rev().find(|what| {
            sentence.tokens[*what].is(RULES | NORMS)
                || matches!(sentence.word(*what), "text" | "setup" | "briefing" | "role")
        }) else {
            return false;
        };
        let of_host = (what.saturating_sub(3)..what).any(|at| {
            matches!(
                sentence.word(at),
                "operator" | "operator s" | "host" | "system" | "developer" | "hidden" | "secret"
            )
        });
        let at_first = (at + 1..at + 5)
            .any(|at| matches!(sentence.word(at), "start" | "beginning" | "outset" | "startup"));
        (of_host || at_first) && held(what)
    });
    said || told
}

fn is_said(word: &str) -> bool {
    matches!(
        word,
        "said"
            | "says"
            | "typed"
            | "types"
            | "wrote"
            | "writes"
            | "asked"
            | "entered"
            | "sent"
            | "told"
            | "written"
            | "pasted"
    )
}

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
            && sentence.before(at, 5, ANY).is_some()
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
                    ["send", "post", "load", "script", "import", "fetch", "report", "upload", "forward"]
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
                    (at + 1..at + 3).any(|at| {
                        ["it", "them", "what", "that", "this", "the instruction"].contains(&sentence.word(at))
                            || sentence.word(at).starts_with("instruction")
                    })
                } else {
                    sentence
                        .after(at, 1, THIS)
                        .is_some_and(|what| matches!(sentence.word(what), "it" | "them"))
                }
        })
}

fn is_question(sentence: &Sentence<'_>, at: usize) -> bool {
    matches!(sentence.word(at), "ask" | "request" | "demand" | "prompt" | "get" | "have")
        && sentence.is_order(at)
}

/// Orders to ask somebody.
pub(super) fn asks(sentence: &Sentence<'_>) -> bool {
    let foreign = || sentence.at(ASK).any(|at| sentence.tokens[at].is(FOREIGN));
    (0..sentence.tokens.len()).any(|at| is_question(sentence, at)) || foreign()
}

/// Has a model ask people for a secret that opens more than the tool, and hand it on.
pub(super) fn solicits(sentence: &Sentence<'_>) -> bool {
    (0..sentence.tokens.len()).filter(|at| is_question(sentence, *at)).any(|ask| {
        sentence.after(ask, 3, USER).and_then(|user| sentence.after(user, 8, SECRET)).is_some_and(|secret| {
            let word = sentence.word(secret);
            let opens_all = word.starts_with("seed")
                || word.starts_with("recovery")
                || word.starts_with("mnemonic")
                || (secret.saturating_sub(3)..secret).any(|at| {
                    matches!(
                        sentence.word(at),
                        "corporate"
                            | "company"
                            | "bank"
                            | "banking"
                            | "domain"
                            | "master"
                            | "wallet"
                            | "windows"
                            | "sudo"
                            | "root"
                            | "mailbox"
                            | "other"
                    )
                });
            opens_all && sentence.orders(MOVE).any(|moves| moves > secret)
        })
    })
}
