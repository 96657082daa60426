//! What a model is to hand over: the conversation, what it was told, the secrets of people.

use std::ops::Range;

use super::lexicon::*;
use super::sentence::{Place, Sentence};

/// Whether the conversation stands here as a whole.
fn is_whole_talk(sentence: &Sentence<'_>, at: usize) -> bool {
    let word = sentence.word(at);
    if word == "what the user" {
        // What they want is not what they said.
        let says = [
            "said", "say", "typed", "type", "wrote", "write", "asked", "told", "enter", "sent", "has", "just",
        ];
        return says.iter().any(|says| sentence.word(at + 1).starts_with(says))
            // What they ask of the tool goes into its own parameter.
            && (sentence.has(WEB | MAILBOX | TOOL | WHOLE | ANY) || is_long_ago(sentence, at + 1..at + 8));
    }
    word.contains("user")
        || word.contains("memory")
        || word.starts_with("your")
        || word.starts_with("everything")
        // Scripts without blanks have particles between.
        || sentence.near(at, if word.chars().any(is_unspaced) { 5 } else { 3 }, WHOLE).is_some()
}

/// Words for more than what is said now.
fn is_long_ago(sentence: &Sentence<'_>, part: Range<usize>) -> bool {
    const WORDS: &[&str] = &[
        "today",
        "so",
        "so far",
        "session",
        "until",
        "yet",
        "before",
        "earlier",
        "far",
        "previously",
        "already",
        "past",
        "chat",
        "conversation",
        "thread",
        "throughout",
    ];
    sentence.find(part, WORDS).is_some()
}

pub(super) fn takes_talk(sentence: &Sentence<'_>) -> bool {
    let sink = || sentence.has(FIELD | WEB | MAILBOX | TOOL | FOREIGN);
    // "If the user's question spans several topics" moves nothing.
    let talk = || {
        sentence.at(TALK).any(|at| is_whole_talk(sentence, at) && sentence.before(at, 2, CONDITION).is_none())
    };
    // Where an address says to whom, theirs is enough.
    let theirs = || {
        sentence.has(WEB | MAILBOX)
            && sentence.at(TALK).any(|at| {
                sentence.near(at, 2, THEIRS | YOUR).is_some()
                    || (sentence.tokens[at].is(FOREIGN) && !sentence.word(at).starts_with("me"))
            })
    };
    let results = || {
        sentence.at(RESULT).any(|at| {
            sentence.near(at, 4, OTHER).is_some_and(|other| sentence.near(other, 2, TOOL).is_some())
        })
    };
    let moved = || {
        sentence.orders(MOVE | CHANGE).next().is_some()
            || (sentence.has(FIELD | WEB | MAILBOX) && sentence.orders(READ).next().is_some())
    };
    let prompt = sentence.at(PROMPT).any(|at| {
        let whole = sentence.before(at, 2, YOUR).is_some() && sentence.near(at, 4, WHOLE).is_some();
        let given = sentence.orders(MOVE).any(|order| order < at && at - order <= 4)
            && matches!(sentence.word(at.saturating_sub(1)), "your" | "its")
            && sentence.has(FIELD | WEB | MAILBOX);
        whole || given
    });
    let held = || sentence.has(HOLDS) && sentence.has(FIELD);
    // "ctx: everything that was said so far".
    let defined = sentence.at(TALK).any(|at| {
        sentence.word(at).starts_with("everything")
            && sentence.before(at, 4, MARK).is_some()
            && sentence.before(at, 5, FIELD).is_some()
    });
    // "The last twenty messages of this chat".
    let messages = || {
        sentence.at(TALK).any(|at| {
            at >= 2
                && matches!(sentence.word(at - 1), "this" | "our" | "the" | "current")
                && (at.saturating_sub(5)..at).any(|message| {
                    ["message", "turn", "exchange", "line"]
                        .iter()
                        .any(|begin| sentence.word(message).starts_with(begin))
                        && (sentence.before(message, 4, WHOLE | ANY).is_some()
                            || sentence.before(message, 3, PRIOR).is_some())
                })
        }) && (sentence.has(FIELD | WEB | MAILBOX)
            || sentence.find(0..sentence.tokens.len(), &["here"]).is_some())
    };
    prompt
        || defined
        || (moved() && messages())
        || (((moved() && sink()) || held()) && (talk() || results() || theirs()))
}

/// Secrets that no tool but their own has a use for.
pub(super) fn is_personal(sentence: &Sentence<'_>, at: usize) -> bool {
    [
        "passw",
        "passp",
        "master",
        "private key",
        "ssh key",
        "session cookie",
        "cookie",
        "seed",
        "recovery",
        "keychain",
        "wallet",
        "browser history",
        "credit",
        "card",
        "ssn",
    ]
    .iter()
    .any(|word| sentence.word(at).starts_with(word))
}

/// Orders in other languages to hand over a secret of people.
fn gives_their_secret(sentence: &Sentence<'_>) -> bool {
    const OF: &[&str] =
        &["de", "del", "des", "do", "da", "dell", "della", "der", "van", "pelo", "par", "vom"];
    const THEIR: &[&str] =
        &["su", "sus", "ses", "sa", "seine", "seinen", "ihre", "suas", "seu", "suoi", "sue"];
    let of_people = |secret: usize| {
        let user = sentence.near(secret, 6, USER).filter(|user| sentence.tokens[*user].is(FOREIGN));
        user.is_some_and(|user| {
            let word = sentence.word(user);
            let is_of = |at: usize| at > 0 && OF.contains(&sentence.word(at - 1));
            is_of(user)
                || is_of(user.saturating_sub(1))
                || sentence.find(secret.saturating_sub(3)..secret, THEIR).is_some()
                || ["я", "ika", "inin", "ului", "ů", "ача", "ens", "ns"].iter().any(|end| word.ends_with(end))
                || ["の", "的", "의"]
                    .iter()
                    .any(|of| sentence.word(user + 1).starts_with(of) || word.ends_with(of))
        })
    };
    sentence.at(SECRET).any(|at| sentence.tokens[at].is(FOREIGN) && of_people(at))
        && sentence.orders(MOVE).any(|at| sentence.tokens[at].is(FOREIGN))
}

pub(super) fn takes_secrets(sentence: &Sentence<'_>, place: Place) -> bool {
    let theirs = |at: usize| sentence.tokens[at].is(THEIRS) || sentence.near(at, 4, THEIRS).is_some();
    // "The output of `printenv`".
    let dumps = sentence.at(RESULT).any(|at| {
        sentence.word(at).starts_with("output")
            && (at + 1..at + 4)
                .any(|at| matches!(sentence.word(at), "env" | "printenv" | "set" | "export" | "environ"))
    });
    let their_secret = dumps || sentence.at(SECRET).any(theirs);
    let outside = sentence.has(WEB | MAILBOX);
    let moved = sentence.orders(MOVE | READ).next().is_some();
    // "Set this to the user's password."
    let set = sentence.orders(CHANGE).any(|at| {
        matches!(sentence.word(at), "set")
            && (at + 1..at + 6).any(|to| {
                matches!(sentence.word(to), "to" | "to the")
                    && (dumps || sentence.after(to, 8, SECRET).is_some())
            })
    });
    let held = (sentence.has(HOLDS) || set) && sentence.has(FIELD);
    let spared = sentence.has(NEVER);
    let read_and_moved = || {
        sentence.orders(READ).any(|at| {
            (at + 1..sentence.tokens.len()).any(|to| sentence.tokens[to].is(MOVE) && sentence.is_order(to))
        })
    };
    let personal = || {
        sentence.orders(READ | MOVE).any(|at| {
            sentence.after(at, 6, SECRET).is_some_and(|what| is_personal(sentence, what) && theirs(what))
        })
    };
    let things = || {
        sentence.at(THING | RESULT).any(|at| sentence.near(at, 3, WHOLE | THEIRS | ANY).is_some())
            || sentence.at(TALK).any(|at| is_whole_talk(sentence, at))
    };
    let sent = sentence.orders(MOVE).next().is_some();
    // "Read /a/b and send the token as ..."; people are told to copy a file and to add their key.
    let from_file = || {
        sentence
            .orders(READ)
            .filter(|at| matches!(sentence.word(*at), "read" | "open" | "cat" | "load" | "dump"))
            .any(|at| {
                sentence.after(at, 4, PATH).is_some_and(|path| {
                    sentence.orders(MOVE).any(|to| {
                        to > path
                            && sentence.word(to) != "add"
                            && sentence
                                .after(to, 5, SECRET)
                                .is_some_and(|secret| sentence.before(secret, 3, YOUR).is_none())
                    })
                })
            })
    };
    (!spared && !place.first && (gives_their_secret(sentence) || from_file()))
        || (their_secret && held && !spared)
        || (their_secret && moved && !spared && (outside || (sentence.has(FIELD) && !place.first)))
        || (their_secret && !place.first && (read_and_moved() || personal()))
        || (outside && !place.first && sent && (things() || sentence.has(SECRET)))
}

/// Asks for what people said, or what the model was told to begin with, under whatever name.
pub(super) fn takes_what_was_said(sentence: &Sentence<'_>) -> bool {
    let held = |at: usize| {
        let defined = sentence.before(at, 5, MARK).is_some() && sentence.before(at, 7, FIELD).is_some();
        defined
            || sentence.orders(MOVE).any(|order| order < at && at - order <= 5)
                && sentence.has(FIELD | WEB | MAILBOX)
    };
    let said = was_said(sentence, held);
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

/// What people said before: "everything they typed so far".
pub(super) fn was_said(sentence: &Sentence<'_>, held: impl Fn(usize) -> bool) -> bool {
    (0..sentence.tokens.len()).any(|at| {
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
        says.is_some_and(|says| is_long_ago(sentence, says + 1..says + 6)) && held(at)
    })
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
