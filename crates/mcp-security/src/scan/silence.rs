//! What is to be kept from people: orders to say nothing, and to lie.

use std::ops::Range;

use super::lexicon::*;
use super::sentence::Sentence;
use super::spell;

pub(super) fn conceals(sentence: &Sentence<'_>) -> bool {
    let untold = sentence.at(TELL).any(|at| {
        let token = &sentence.tokens[at];
        if token.is(FOREIGN) {
            // The word holds it in itself: "soyleme" is "do not say", "soylemek" to say.
            let unsaid = ["soyleme", "bildirme", "haber verme", "bahsetme", "gosterme", "anlatma"]
                .iter()
                .any(|begin| token.word.starts_with(begin) && !token.word[begin.len()..].starts_with('k'));
            let never = unsaid
                || sentence.near(at, 4, NEVER).is_some_and(|near| is_foreign_never(sentence, near))
                    && !is_told_first(sentence, at);
            return never && sentence.near(at, 6, USER).is_some();
        }
        // "Never without telling them."
        let forbidden = sentence.before(at, 2, FORBID).is_some_and(|never| {
            !sentence.word(never).starts_with("without") || !is_forbidden_before(sentence, never)
        });
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

fn is_foreign_never(sentence: &Sentence<'_>, at: usize) -> bool {
    sentence.tokens[at].is(NEVER) && (sentence.tokens[at].is(FOREIGN) || sentence.word(at) == "no")
}

/// Whether something is forbidden in the part of the sentence before this place.
fn is_forbidden_before(sentence: &Sentence<'_>, at: usize) -> bool {
    let part = (0..at).rev().find(|at| sentence.tokens[*at].is(MARK)).map_or(0, |mark| mark + 1);
    (part..at.saturating_sub(1)).any(|near| {
        sentence.tokens[near].is(FORBID | NEVER)
            && !["hesitate", "forget", "fail"].contains(&sentence.word(near + 1))
    })
}

/// "No lo ejecutes sin avisar al usuario": what is forbidden is to do it untold.
fn is_told_first(sentence: &Sentence<'_>, at: usize) -> bool {
    const WITHOUT: &[&str] =
        &["sin", "sans", "ohne", "senza", "sem", "zonder", "bez", "без", "utan", "uden", "uten"];
    // What forbids by itself, in scripts without blanks.
    const BANS: &[&str] =
        &["不要", "别", "勿", "切勿", "不得", "禁止", "마세요", "마라", "しないで", "ないで"];
    let Some(near) = (0..sentence.tokens.len())
        .filter(|near| is_foreign_never(sentence, *near))
        .min_by_key(|near| near.abs_diff(at))
    else {
        return false;
    };
    let word = sentence.word(near);
    let unspaced = word.chars().next().is_some_and(is_unspaced);
    let holds =
        if unspaced { !BANS.iter().any(|ban| spell::plain(ban) == word) } else { WITHOUT.contains(&word) };
    let reach = near.saturating_sub(8)..near + 9;
    holds
        && reach.into_iter().any(|other| {
            other.abs_diff(near) > 1
                && other < sentence.tokens.len()
                && is_foreign_never(sentence, other)
                && (unspaced || other < near)
        })
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
    sentence.find(0..sentence.tokens.len(), SILENT).is_some_and(|at| {
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
    })
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
