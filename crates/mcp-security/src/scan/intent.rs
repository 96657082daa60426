//! What a sentence wants, by the senses of its words: who is told to do what with what, and what of it is kept from whom.
//!
//! Descriptions tell what a tool does ("Sends a mail"), and how it is called. Orders ("send", "must be sent") about things
//! that are not the tool's are what these rules look for; the words' forms tell the two apart in English, and nearness of
//! the words alone elsewhere.

use std::ops::Range;

use super::beyond;
use super::cues::Cue;
use super::lexicon::*;
use super::spoken;
use super::tokens::{Room, Token, Words};

/// Where a sentence stands.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Place {
    /// It is the first of its text, which says what the tool is for.
    pub(super) first: bool,
    /// An address of the web stands in the sentence before.
    pub(super) after_web: bool,
}

/// What was understood.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Intent {
    pub(super) cues: u64,
    /// The sentence holds an address of the web.
    pub(super) web: bool,
    /// It orders, or says what must be.
    pub(super) orders: bool,
}

pub(super) struct Sentence<'a> {
    pub(super) tokens: &'a [Token<'a>],
    /// All senses that are in it: most rules look for some that are not.
    senses: Senses,
}

impl Sentence<'_> {
    pub(super) fn at(&self, senses: Senses) -> impl Iterator<Item = usize> + '_ {
        let tokens = if self.has(senses) { self.tokens } else { &[] };
        tokens.iter().enumerate().filter(move |(_, token)| token.is(senses)).map(|(at, _)| at)
    }

    pub(super) fn has(&self, senses: Senses) -> bool {
        self.senses & senses != 0
    }

    /// A token of these senses in the `count` after this place.
    pub(super) fn after(&self, at: usize, count: usize, senses: Senses) -> Option<usize> {
        let end = (at + 1 + count).min(self.tokens.len());
        (at + 1..end).find(|near| self.tokens[*near].is(senses))
    }

    pub(super) fn before(&self, at: usize, count: usize, senses: Senses) -> Option<usize> {
        (at.saturating_sub(count)..at).rev().find(|near| self.tokens[*near].is(senses))
    }

    pub(super) fn near(&self, at: usize, count: usize, senses: Senses) -> Option<usize> {
        self.before(at, count, senses).or_else(|| self.after(at, count, senses))
    }

    pub(super) fn word(&self, at: usize) -> &str {
        self.tokens.get(at).map_or("", |token| token.word)
    }

    /// Places where something is ordered that has these senses.
    pub(super) fn orders(&self, senses: Senses) -> impl Iterator<Item = usize> + '_ {
        self.at(senses).filter(|at| self.is_order(*at))
    }

    pub(super) fn is_order(&self, at: usize) -> bool {
        let token = &self.tokens[at];
        if self.is_forbidden(at) || self.is_diagnostic(at) {
            return false;
        }
        if token.is(FOREIGN) {
            return true;
        }
        // `"email": "a@example.com"` is a field.
        let is_key = |at: usize| {
            self.tokens.get(at).is_some_and(|token| token.is(FIELD) && token.word.starts_with('\u{1}'))
        };
        if is_key(at + 1) && self.tokens.get(at + 2).is_some_and(|token| token.is(MARK)) {
            return false;
        }
        if token.past {
            // "must be sent".
            return self.before(at, 3, DUTY | HOLDS).is_some();
        }
        let leads = LEAD | MARK | PATH | RULES | PROMPT | STEALTH | RUN;
        token.bare && (at == 0 || self.tokens[at - 1].is(leads) || self.leads_on(at) || self.is_fronted(at))
    }

    /// "Before the lookup open the file": what is done when may stand before an order, without a comma.
    fn is_fronted(&self, at: usize) -> bool {
        let part = (0..at).rev().find(|at| self.tokens[*at].is(MARK)).map_or(0, |mark| mark + 1);
        let begins = matches!(
            self.word(part),
            "before" | "after" | "for" | "from" | "during" | "on" | "at" | "upon" | "until" | "in" | "prior"
        );
        let before = self.word(at.saturating_sub(1));
        let is_subject = before.ends_with('s') && before != "results"
            || matches!(
                before,
                "you" | "we" | "they" | "it" | "i" | "to" | "not" | "people" | "which" | "that" | "who"
            )
            || self.tokens[at.saturating_sub(1)].is(USER | MODEL | READ | MOVE | FETCH | RUN);
        let what = self.word(at + 1);
        let has_object = matches!(
            what,
            "the" | "this" | "these" | "any" | "all" | "every" | "each" | "everything" | "a" | "an" | "your"
        ) || self.tokens.get(at + 1).is_some_and(|next| next.is(THEIRS | PATH));
        begins && (2..=7).contains(&(at - part)) && !is_subject && has_object
    }

    /// What a program says of itself: `cat: /etc/shadow: Permission denied`.
    fn is_diagnostic(&self, at: usize) -> bool {
        at == 0
            && self.tokens.get(1).is_some_and(|next| next.is(MARK))
            && self
                .tokens
                .iter()
                .any(|token| matches!(token.word, "denied" | "directory" | "permitted" | "exist" | "errno"))
    }

    /// "Always also send": one word may stand between.
    fn leads_on(&self, at: usize) -> bool {
        at >= 2
            && self.tokens[at - 2].is(LEAD)
            && (self.word(at - 1).ends_with("ly") || self.word(at - 1) == "be")
    }

    /// Whether it is told not to. "Do not forget to" tells to.
    fn is_forbidden(&self, at: usize) -> bool {
        let insists = |near: usize| {
            (near..at).any(|at| {
                self.word(at).starts_with("forget")
                    || self.word(at).starts_with("fail")
                    || self.word(at).starts_with("hesitate")
            })
        };
        let reach = if self.tokens[at].is(FOREIGN) { 3 } else { 2 };
        let before = self.before(at, reach, FORBID | NEVER);
        let behind = self.tokens[at].is(FOREIGN)
            && self.after(at, 2, NEVER).is_some_and(|at| self.tokens[at].is(FOREIGN));
        before.is_some_and(|near| !insists(near)) || behind
    }
}

/// Words that are understood together. What a longer sentence wants stands in a part of it.
const REACH: usize = 64;

/// What one of has to be in a sentence before any rule below finds anything in it.
const TELLING: Senses = IGNORE
    | VOID
    | OBEY
    | OUTRANKS
    | PROMPT
    | BECOME
    | SECRET
    | READ
    | MOVE
    | HOLDS
    | NEVER
    | TELL
    | USER
    | HIDE
    | DISABLE
    | APPROVES
    | PRESUME
    | WHENEVER
    | CHANGE
    | FETCH
    | RUN
    | LASTING
    | ADDRESSED
    | MODEL
    | TALK
    | LIE
    | BOAST
    | BAD
    | EARLY
    | SHOW
    | RESULT
    | WEB
    | DUTY
    | BACKDOOR;

/// Reads one sentence, a part of the text of these words.
pub(super) fn read<'a>(
    words: &'a Words,
    sentence: Range<usize>,
    place: Place,
    room: &mut Room<'a>,
) -> Intent {
    let tokens = words.tokens(sentence, TELLING, room);
    let mut whole = Intent::default();
    let mut at = 0;
    loop {
        let end = (at + REACH).min(tokens.len());
        let near = &tokens[at..end];
        let senses = near.iter().fold(0, |senses, token| senses | token.senses);
        if senses & TELLING != 0 {
            let part = understand(&Sentence { tokens: near, senses }, place);
            whole.cues |= part.cues;
            whole.web |= part.web;
            whole.orders |= part.orders;
        }
        if end == tokens.len() {
            return whole;
        }
        at += REACH / 2;
    }
}

fn understand(sentence: &Sentence<'_>, place: Place) -> Intent {
    let mut cues = 0;
    let mut add = |cue: Cue, holds: bool| cues |= u64::from(holds) << cue as u32;
    add(Cue::Override, overrides(sentence));
    add(Cue::Approve, approves(sentence, place));
    add(Cue::Conceal, conceals(sentence));
    add(Cue::Denies, denies(sentence));
    add(Cue::TakesTalk, takes_talk(sentence) || beyond::takes_what_was_said(sentence));
    add(Cue::TakesSecrets, takes_secrets(sentence, place) || beyond::solicits(sentence));
    add(Cue::Asks, beyond::asks(sentence));
    add(Cue::Backdoors, beyond::plants_backdoor(sentence, place));
    add(Cue::Decodes, beyond::obeys_code(sentence, place));
    add(Cue::Diverts, diverts(sentence));
    add(Cue::ObeysPage, obeys_page(sentence, place));
    add(Cue::Plants, plants(sentence));
    add(Cue::Addresses, addresses(sentence));
    add(Cue::Speaks, spoken::speaks(sentence));
    add(Cue::Prefer, prefers(sentence));
    add(
        Cue::Line,
        sentence.at(EARLY).any(|at| {
            // "Before any other script": of its own kind, not of tools.
            !sentence.word(at).ends_with("other") || sentence.after(at, 3, TOOL | RUN | ASK).is_some() || {
                let next = |ahead: usize| sentence.word(at + ahead);
                ["action", "call", "request", "task", "step", "thing", "response", "answer", "message"]
                    .iter()
                    .any(|word| next(1).starts_with(word) || next(2).starts_with(word))
            }
        }),
    );
    // What other languages say counts as what English says.
    let foreign = |senses: Senses| {
        sentence.has(FOREIGN) && sentence.at(senses).any(|at| sentence.tokens[at].is(FOREIGN))
    };
    add(Cue::Read, foreign(READ));
    add(Cue::Order, sentence.orders(READ | MOVE).any(|at| sentence.tokens[at].is(FOREIGN)));
    add(Cue::Secrets, foreign(SECRET));
    add(Cue::Spares, foreign(NEVER));
    add(Cue::Prompt, sentence.has(PROMPT));
    let contents = sentence
        .at(RESULT)
        .any(|at| sentence.word(at).starts_with("content") || sentence.tokens[at].is(FOREIGN));
    add(Cue::Hands, contents || sentence.orders(READ | MOVE | FETCH).next().is_some());
    let orders = sentence.has(DUTY | HOLDS | BAD)
        || sentence.orders(READ | MOVE | CHANGE | FETCH | RUN).next().is_some();
    Intent { cues, web: sentence.has(WEB), orders }
}

fn overrides(sentence: &Sentence<'_>) -> bool {
    let ignores = sentence.orders(IGNORE).any(|at| {
        if sentence.tokens[at].is(FOREIGN) {
            return sentence.near(at, 8, RULES).is_some()
                && sentence.near(at, 9, PRIOR | YOUR | WHOLE).is_some();
        }
        let wish = |at: usize| {
            ["request", "question", "instruction", "wish", "choice"]
                .iter()
                .any(|wish| sentence.word(at).starts_with(wish))
        };
        if sentence.after(at, 3, USER | THEIRS).is_some_and(|user| wish(user + 1)) {
            return true;
        }
        let Some(what) = sentence.after(at, 8, RULES | NORMS | TOLD | PROMPT) else { return false };
        sentence.tokens[what].is(TOLD | PROMPT)
            || (at + 1..(what + 4).min(sentence.tokens.len())).any(|at| sentence.tokens[at].is(PRIOR | YOUR))
    });
    let void = sentence.at(VOID).any(|at| {
        sentence.before(at, 8, TOLD | PROMPT).is_some()
            || sentence
                .before(at, 6, RULES)
                .is_some_and(|what| sentence.near(what, 3, PRIOR | YOUR).is_some())
            || (sentence.before(at, 5, NORMS).is_some_and(|what| sentence.near(what, 3, YOUR).is_some()))
    });
    let disobeys = sentence.at(OBEY).any(|at| {
        let close = |near: usize| at - near <= 2;
        sentence.before(at, 2, FORBID | NEVER).is_some_and(close)
            && sentence.after(at, 6, RULES | NORMS | PROMPT).is_some_and(|what| {
                sentence.tokens[what].is(PROMPT) || sentence.near(what, 3, PRIOR | YOUR | USER).is_some()
            })
    });
    let only = sentence.orders(OBEY).any(|at| {
        sentence.near(at, 2, ONLY).is_some() && sentence.after(at, 6, TEXT | NORMS | RULES | TOOL).is_some()
    });
    let outranks = sentence.at(OUTRANKS).any(|at| {
        sentence.after(at, 10, PROMPT).is_some()
            || sentence
                .after(at, 10, RULES | NORMS)
                .is_some_and(|what| sentence.near(what, 3, PRIOR | YOUR | USER).is_some())
            || (sentence.after(at, 10, USER).is_some() && sentence.after(at, 3, ANY).is_some())
    });
    let becomes = sentence.at(BECOME).any(|at| {
        // Machines have modes too: "switch to debug mode in the emulator".
        let of_machine = |mode: usize| {
            sentence.word(mode).ends_with("mode")
                && matches!(sentence.word(mode + 1), "in" | "on" | "of" | "for")
        };
        let you = sentence.word(at).starts_with("you");
        (you || sentence.is_order(at))
            && sentence.after(at, 9, UNBOUND).is_some_and(|mode| you || !of_machine(mode))
    });
    ignores || void || disobeys || only || outranks || becomes
}

fn approves(sentence: &Sentence<'_>, place: Place) -> bool {
    let presumes = sentence
        .orders(PRESUME)
        .any(|at| sentence.after(at, 9, AGREED | ASK).is_some() && sentence.after(at, 9, ANY).is_some());
    let agreed = sentence.at(USER).any(|at| {
        sentence.after(at, 4, AGREED).is_some_and(|agreed| {
            sentence.after(agreed, 6, ANY).is_some()
                || sentence.after(agreed, 12, FORBID).is_some_and(|at| sentence.after(at, 2, ASK).is_some())
        }) && sentence.before(at, 6, CONDITION).is_none()
    });
    let disables = !place.first
        && !sentence.has(ONLY)
        && sentence.orders(DISABLE).any(|at| {
            // One rule of a firewall is not the firewall.
            sentence.after(at, 4, SAFEGUARD).is_some_and(|what| !sentence.word(what + 1).starts_with("rule"))
        });
    let clicks =
        sentence.has(APPROVES) && (sentence.has(ASK | WHENEVER) || sentence.word(0).starts_with("run"));
    let unasked = !place.first
        && sentence.orders(RUN | MOVE | CHANGE).any(|at| {
            sentence.after(at, 18, FORBID).is_some_and(|never| sentence.after(never, 2, ASK).is_some())
        });
    let waived = sentence.at(AGREED).any(|at| {
        sentence.word(at) == "waived"
            && sentence.near(at, 5, ASK | SAFEGUARD).is_some()
            && sentence.before(at, 6, CONDITION).is_none()
    });
    presumes || agreed || waived || disables || clicks || unasked
}

fn conceals(sentence: &Sentence<'_>) -> bool {
    let untold = sentence.at(TELL).any(|at| {
        let token = &sentence.tokens[at];
        if token.is(FOREIGN) {
            let never = sentence.near(at, 4, NEVER).is_some_and(|near| sentence.tokens[near].is(FOREIGN));
            return never && sentence.near(at, 6, USER).is_some();
        }
        let forbidden = sentence.before(at, 2, FORBID).is_some();
        let listener = sentence.after(at, 5, USER | MARK).filter(|at| sentence.tokens[*at].is(USER));
        // To tell somebody to do something is to ask.
        forbidden && listener.is_some_and(|at| sentence.word(at + 1) != "to")
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
    untold || unaware || hides || unsaid
}

/// The text denies itself, or orders to lie.
fn denies(sentence: &Sentence<'_>) -> bool {
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
    itself || keeps || hides || lies
}

/// Whether the conversation stands here as a whole.
fn is_whole_talk(sentence: &Sentence<'_>, at: usize) -> bool {
    let word = sentence.word(at);
    if word == "what the user" {
        // What they want is not what they said.
        let says = [
            "said", "say", "typed", "type", "wrote", "write", "asked", "told", "enter", "sent", "has", "just",
        ];
        return says.iter().any(|says| sentence.word(at + 1).starts_with(says));
    }
    word.contains("user")
        || word.contains("memory")
        || word.starts_with("your")
        || word.starts_with("everything")
        // Scripts without blanks have particles between.
        || sentence.near(at, if word.chars().any(is_unspaced) { 5 } else { 3 }, WHOLE).is_some()
}

fn takes_talk(sentence: &Sentence<'_>) -> bool {
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
    prompt || defined || (((moved() && sink()) || held()) && (talk() || results() || theirs()))
}

/// Secrets that no tool but their own has a use for.
fn is_personal(sentence: &Sentence<'_>, at: usize) -> bool {
    [
        "passw",
        "passp",
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

fn takes_secrets(sentence: &Sentence<'_>, place: Place) -> bool {
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
    (their_secret && held && !spared)
        || (their_secret && moved && !spared && (outside || (sentence.has(FIELD) && !place.first)))
        || (their_secret && !place.first && (read_and_moved() || personal()))
        || (outside && !place.first && sent && (things() || sentence.has(SECRET)))
}

/// What others do is led elsewhere.
fn diverts(sentence: &Sentence<'_>) -> bool {
    let mailbox = sentence.has(MAILBOX)
        && sentence
            .orders(MOVE | CHANGE)
            .any(|at| sentence.after(at, 8, MAILBOX).is_some() && (sentence.has(TARGET | WHENEVER | ANY)));
    let page = sentence.has(WEB)
        && sentence.at(WHENEVER).any(|at| !matches!(sentence.word(at), "when" | "after" | "before" | "once"))
        && sentence.orders(MOVE | CHANGE).next().is_some();
    let others = sentence.at(WHENEVER).any(|at| {
        sentence.near(at, 8, TOOL).is_some_and(|tool| {
            sentence.near(tool, 3, OTHER | ANY).is_some() || sentence.word(at).ends_with("any")
        }) && sentence.orders(CHANGE).any(|at| sentence.after(at, 4, TARGET).is_some())
    });
    // "Whatever the user says, use account ... instead."
    let despite = sentence.tokens.iter().enumerate().any(|(at, token)| {
        matches!(token.word, "whatever" | "regardless" | "whichever") && sentence.after(at, 4, USER).is_some()
    });
    let other = || {
        sentence.orders(CHANGE | MOVE).any(|at| sentence.after(at, 4, TARGET).is_some())
            || sentence.at(TARGET).any(|at| (at.saturating_sub(3)..at).any(|at| sentence.word(at) == "use"))
    };
    // An account that the text itself names.
    let account = sentence.tokens.iter().any(|token| is_account(token.word))
        && sentence.orders(CHANGE | MOVE).any(|at| sentence.after(at, 4, TARGET).is_some());
    mailbox || page || others || account || (despite && other())
}

/// The number of a bank account (IBAN), or the address of a wallet.
fn is_account(word: &str) -> bool {
    let bytes = word.as_bytes();
    let iban = (15..=34).contains(&bytes.len())
        && bytes[..2].iter().all(u8::is_ascii_lowercase)
        && bytes[2..4].iter().all(u8::is_ascii_digit)
        && bytes[4..].iter().filter(|byte| byte.is_ascii_digit()).count() >= 8;
    let wallet = bytes.len() == 42 && word.starts_with("0x") && bytes[2..].iter().all(u8::is_ascii_hexdigit);
    iban || wallet
}

fn obeys_page(sentence: &Sentence<'_>, place: Place) -> bool {
    let fetched = sentence.orders(FETCH).any(|at| sentence.after(at, 6, WEB).is_some());
    let obeys = |at: usize| {
        let word = sentence.word(at);
        // People are told to follow the steps of a page to get something done.
        let purpose = word.starts_with("follow") && (at + 1..at + 8).any(|at| sentence.word(at) == "to");
        !purpose
    };
    let obeyed = sentence.at(OBEY).any(|at| obeys(at) && !sentence.is_forbidden(at));
    let run = sentence.orders(RUN).any(|at| sentence.after(at, 3, THIS).is_some());
    (fetched && (obeyed || run))
        || (place.after_web
            && sentence.orders(OBEY).any(|at| sentence.after(at, 1, THIS).is_some() && obeys(at)))
}

/// Writes into what is read again: profiles, memories, files of rules.
fn plants(sentence: &Sentence<'_>) -> bool {
    let memory = |at: usize| sentence.word(at).contains("memory");
    let Some(place) = sentence.at(LASTING).find(|at| !memory(*at)).or_else(|| sentence.at(LASTING).next())
    else {
        return false;
    };
    if sentence.orders(MOVE | CHANGE | PRESUME).next().is_none()
        && !sentence.at(TEXT | RULES).any(|at| sentence.before(at, 2, THIS).is_some())
    {
        return false;
    }
    let this = |senses: Senses| sentence.at(THIS).any(|at| sentence.after(at, 2, senses).is_some());
    if memory(place) {
        // Memories are there to be written to, but not with what a server says of itself.
        return this(RULES);
    }
    let following = || sentence.tokens.iter().any(|token| token.word == "following");
    this(RULES | NORMS | TEXT | TOOL | FIELD)
        || (sentence.has(RULES | NORMS | TEXT) && following())
        || sentence.has(WEB)
}

/// Speaks to the model, and not to whoever reads documentation, about what is not the tool's.
fn addresses(sentence: &Sentence<'_>) -> bool {
    sentence.at(ADDRESSED).any(|at| sentence.after(at, 3, MODEL).is_some())
        && sentence.orders(READ | MOVE | CHANGE | RUN | FETCH | HIDE | IGNORE).next().is_some()
        && sentence.has(SECRET | TALK | TARGET | PROMPT)
}

fn prefers(sentence: &Sentence<'_>) -> bool {
    let worse = sentence.at(BAD).any(|at| {
        sentence.before(at, 6, OTHER).is_some_and(|other| {
            let word = sentence.word(other);
            word.starts_with("rival")
                || word.starts_with("compet")
                || sentence.after(other, 2, TOOL).is_some()
        })
    });
    sentence.has(BOAST) || worse
}
