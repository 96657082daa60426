//! What is to be kept from people: orders to say nothing, and to lie.

use std::ops::Range;

use super::lexicon::*;
use super::sentence::Sentence;

pub(super) fn conceals(sentence: &Sentence<'_>) -> bool {
    let untold = sentence.at(TELL).any(|at| {
        let token = &sentence.tokens[at];
        if token.is(FOREIGN) {
            let never = sentence
                .near(at, 4, NEVER)
                .is_some_and(|near| sentence.tokens[near].is(FOREIGN) || sentence.word(near) == "no");
            return never && sentence.near(at, 6, USER).is_some();
        }
        let forbidden = sentence.before(at, 2, FORBID).is_some();
        let listener = sentence.after(at, 5, USER | MARK).filter(|at| sentence.tokens[*at].is(USER));
        // To tell somebody to do something is to ask, and what a machine writes for itself is no secret.
        forbidden
            && listener
                .is_some_and(|user| sentence.word(user + 1) != "to" && !is_technical(sentence, at + 1..user))
    });
    let unaware = sentence.at(USER).any(|at| {
        let kept = sentence.after(at, 4, FORBID).and_then(|never| sentence.after(never, 3, AWARE));
        let never = sentence.before(at, 4, FORBID).and_then(|_| sentence.after(at, 4, AWARE));
        kept.is_some() || (never.is_some() && sentence.word(0).starts_with("under"))
    });
    let hides = sentence.orders(HIDE).any(|at| {
        let what = sentence.after(at, 1, THIS);
        let from = what.and_then(|what| (what..what + 14).find(|at| sentence.word(*at) == "from"));
        from.is_some_and(|from| sentence.after(from, 10, USER).is_some())
    });
    // "This step is not to be mentioned in the reply."
    let unsaid = sentence.at(TELL | SHOW).any(|at| {
        sentence.tokens[at].past
            && sentence.before(at, 3, FORBID | NEVER).is_some()
            && (at + 1..at + 5).any(|at| {
                let word = sentence.word(at);
                ["repl", "answer", "respon", "summar", "output"].iter().any(|end| word.starts_with(end))
                    || word.starts_with("your answer")
                    || word.starts_with("your re")
            })
            && (0..at).any(|at| {
                sentence.tokens[at].is(THIS)
                    && sentence.after(at, 2, TEXT).is_some_and(|text| sentence.word(text) != "text")
            })
    });
    untold || unaware || hides || unsaid || is_hushed(sentence) || leaves_out(sentence)
}

/// "The internal ids", "raw JSON": how something is shown to people is a matter of form.
fn is_technical(sentence: &Sentence<'_>, part: Range<usize>) -> bool {
    const WORDS: &[&str] = &[
        "id",
        "ids",
        "identifier",
        "identifiers",
        "uuid",
        "uuids",
        "json",
        "xml",
        "html",
        "markdown",
        "yaml",
        "raw",
        "internal",
        "technical",
        "cursor",
        "cursors",
        "schema",
        "schemas",
        "stack",
        "markup",
        "slug",
        "slugs",
        "codes",
        "coordinates",
    ];
    sentence.find(part, WORDS).is_some()
}

/// "Say nothing of it to anybody."
fn is_hushed(sentence: &Sentence<'_>) -> bool {
    const SILENT: &[&str] =
        &["nothing", "nobody", "none", "quiet", "silent", "mum", "silence", "word", "yourself"];
    let silent = sentence.find(0..sentence.tokens.len(), SILENT).is_some_and(|at| {
        let before = sentence.word(at.saturating_sub(1));
        let about = || matches!(sentence.word(at + 1), "of" | "about" | "to" | "on");
        match sentence.word(at) {
            "nothing" => matches!(before, "say" | "breathe" | "tell") && about(),
            "nobody" | "none" => before == "tell",
            "word" => matches!(before, "no" | "not a" | "a" | "single") && about() && sentence.has(NEVER),
            "yourself" => before == "to" && sentence.find(at.saturating_sub(4)..at, &["keep"]).is_some(),
            _ => {
                (matches!(before, "keep" | "stay" | "remain" | "be") && about())
                    || before == "maintain" && sentence.word(at + 1) == "about"
            }
        }
    });
    silent
}

/// "Your answer must hold no hint of it."
fn gives_no_hint(sentence: &Sentence<'_>) -> bool {
    let hint = || {
        let answer = |at: usize| {
            let word = sentence.word(at);
            word.starts_with("your answer") || word.starts_with("your re")
        };
        let Some(at) = (0..sentence.tokens.len()).find(|at| answer(*at)) else { return false };
        sentence.after(at, 6, FORBID | NEVER).is_some_and(|never| {
            sentence
                .find(
                    never + 1..never + 7,
                    &["hint", "trace", "sign", "clue", "indication", "reference", "mention"],
                )
                .is_some()
        })
    };
    sentence.has(TALK) && hint()
}

/// "Leave the upload out of your replies."
fn leaves_out(sentence: &Sentence<'_>) -> bool {
    let Some(verb) = sentence.find(0..sentence.tokens.len(), &["leave", "keep", "cut", "strip"]) else {
        return false;
    };
    (verb + 2..verb + 9).any(|at| {
        let out =
            (sentence.word(at) == "out" && sentence.word(at + 1) == "of") || sentence.word(at) == "out of";
        out && (at + 1..at + 4).any(|at| {
            let word = sentence.word(at);
            word.starts_with("your answer")
                || word.starts_with("your re")
                || word == "your"
                    && [
                        "summar", "report", "answer", "output", "message", "explan", "review", "repl",
                        "respon",
                    ]
                    .iter()
                    .any(|begin| sentence.word(at + 1).starts_with(begin))
        })
    })
}

/// The text denies itself, or orders to lie.
pub(super) fn denies(sentence: &Sentence<'_>) -> bool {
    let itself = sentence.at(SHOW).any(|at| {
        sentence.before(at, 2, FORBID).is_some()
            && sentence.after(at, 2, THIS).is_some_and(|this| {
                sentence.after(this, 2, TEXT | RULES).is_some() || sentence.tokens[this].is(TEXT)
            })
    });
    let keeps = sentence.orders(HIDE).any(|at| {
        sentence.after(at, 1, THIS).is_some()
            && sentence.after(at, 3, TEXT | RULES).is_some()
            && (at..at + 8).any(|at| {
                matches!(sentence.word(at), "confidential" | "secret" | "private" | "hidden" | "yourself")
            })
    });
    let hides =
        sentence.orders(HIDE).any(|at| sentence.word(at + 1) == "that" && sentence.word(at) != "keep");
    // "Say that no match was found" is what documentation says; an answer to a question is a lie.
    let lies = sentence.orders(LIE).any(|at| {
        let says = sentence.word(at).starts_with("say") || sentence.word(at).starts_with("answer");
        !says || sentence.before(at, 8, ASK).is_some()
    });
    itself || keeps || hides || lies || gives_no_hint(sentence)
}
