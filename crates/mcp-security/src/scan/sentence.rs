//! A sentence by its words: what stands near what, and what of it is an order.

use std::ops::Range;

use super::lexicon::*;
use super::tokens::Token;

/// Where a sentence stands.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Place {
    /// It is the first of its text, which says what the tool is for.
    pub(super) first: bool,
    /// An address of the web stands in the sentence before.
    pub(super) after_web: bool,
}

pub(super) struct Sentence<'a> {
    pub(super) tokens: &'a [Token<'a>],
    /// All senses that are in it: most rules look for some that are not.
    pub(super) senses: Senses,
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

    /// The first of these words in a part.
    pub(super) fn find(&self, mut part: Range<usize>, words: &[&str]) -> Option<usize> {
        part.find(|at| words.contains(&self.word(*at)))
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
    pub(super) fn is_forbidden(&self, at: usize) -> bool {
        let insists = |near: usize| {
            (near..at).any(|at| {
                self.word(at).starts_with("forget")
                    || self.word(at).starts_with("fail")
                    || self.word(at).starts_with("hesitate")
            })
        };
        if !insists(at.saturating_sub(SPAN)) && self.is_further_forbidden(at) {
            return true;
        }
        let reach = if self.tokens[at].is(FOREIGN) { 3 } else { 2 };
        let before = self.before(at, reach, FORBID | NEVER);
        let behind = self.tokens[at].is(FOREIGN)
            && self.after(at, 2, NEVER).is_some_and(|at| self.tokens[at].is(FOREIGN));
        before.is_some_and(|near| !insists(near)) || behind
    }

    /// "Never ask for it or pass it on", "do not log, send or store it": what is forbidden is several things.
    fn is_further_forbidden(&self, at: usize) -> bool {
        if !self.has(FORBID | NEVER) || at == 0 {
            return false;
        }
        let joins = |at: usize| matches!(self.word(at), "or" | "nor");
        // A list ends in an "or".
        let is_listed = || {
            self.tokens[at - 1].is(MARK)
                && (at + 1..at + 5)
                    .find(|next| self.tokens.get(*next).is_some_and(|t| t.is(MARK)) || joins(*next))
                    .is_some_and(|next| {
                        (joins(next) || joins(next + 1))
                            && self.tokens.get(next + 1).is_some_and(|verb| {
                                verb.bare && verb.is(READ | MOVE | TELL | SHOW | CHANGE | RUN | FETCH | ASK)
                            })
                    })
        };
        if !(joins(at - 1) || is_listed()) {
            return false;
        }
        let turns = ["but", "instead", "then", "always", "must", "please", "also", "should"];
        let forbids = (at.saturating_sub(SPAN)..at)
            .rev()
            .find(|near| self.tokens[*near].is(FORBID) || turns.contains(&self.word(*near)));
        forbids.is_some_and(|near| self.tokens[near].is(FORBID) && !self.word(near).starts_with("without"))
    }
}

/// How far a prohibition reaches over what is listed behind it, in words.
const SPAN: usize = 14;
