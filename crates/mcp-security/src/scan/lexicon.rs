//! Words by what they mean for a judgement, in the languages that are met most.
//!
//! A phrase has one entry for all its forms: `*` stands for any ending, and without it the usual endings of English are
//! taken off. The entries stand in order, so that one search finds all that a word begins with, and no automaton has to
//! be built before the first text is read.

use std::borrow::Cow;
use std::sync::LazyLock;

use super::spell;

mod english;
mod others;

use english::ENGLISH;
use others::OTHERS;

/// Meanings, as bits.
pub(super) type Senses = u64;

macro_rules! senses {
    ($($(#[$doc:meta])* $name:ident,)*) => { senses!(@ 0; $($(#[$doc])* $name,)*); };
    (@ $at:expr; $(#[$doc:meta])* $name:ident, $($rest:tt)*) => {
        $(#[$doc])*
        pub(super) const $name: Senses = 1 << ($at);
        senses!(@ $at + 1; $($rest)*);
    };
    (@ $at:expr;) => {};
}

senses! {
    /// Ignore, forget, set aside.
    IGNORE,
    /// Void, suspended, no longer.
    VOID,
    /// Previous, above, of the system.
    PRIOR,
    /// The prompt's own words: instructions, guidelines, directives.
    RULES,
    /// Rules, policies, orders: of a model, or of anything else.
    NORMS,
    /// Your.
    YOUR,
    /// What you were told.
    TOLD,
    /// Obey, comply with.
    OBEY,
    /// Takes precedence over.
    OUTRANKS,
    /// The system prompt.
    PROMPT,
    /// You are, act as.
    BECOME,
    /// Unrestricted, root.
    UNBOUND,
    /// The conversation.
    TALK,
    /// Full, entire, all.
    WHOLE,
    /// Keys, passwords, cookies.
    SECRET,
    /// Of the user, saved, of the environment.
    THEIRS,
    /// Read, collect.
    READ,
    /// Send, put, include.
    MOVE,
    /// Must hold, is set to.
    HOLDS,
    /// Parameter, field.
    FIELD,
    /// Not, never, without.
    NEVER,
    /// Tell, mention, know.
    TELL,
    /// The user.
    USER,
    /// Secretly.
    STEALTH,
    /// Hide, leave out.
    HIDE,
    /// This, these, its existence.
    THIS,
    /// This text: instruction, note, step.
    TEXT,
    /// Know, notice.
    AWARE,
    /// Disable, bypass.
    DISABLE,
    /// Confirmation, sandbox, audit.
    SAFEGUARD,
    /// Agreed, authorized.
    AGREED,
    /// Ask.
    ASK,
    /// Everything, any.
    ANY,
    /// Whenever.
    WHENEVER,
    /// Replace, redirect.
    CHANGE,
    /// Recipient, account, amount.
    TARGET,
    /// Download, open, consult.
    FETCH,
    /// Run, execute.
    RUN,
    /// Places that are read again: profiles, memories, rule files.
    LASTING,
    /// Language model, assistant.
    MODEL,
    /// Note for, addressed to.
    ADDRESSED,
    /// Tool, function, server.
    TOOL,
    /// Other, competing.
    OTHER,
    /// Words after which a bare verb is an order.
    LEAD,
    /// A way in that nobody is to know of.
    BACKDOOR,
    /// Claim that, deny that.
    LIE,
    /// The best, better than.
    BOAST,
    /// Broken, unreliable.
    BAD,
    /// A mark between parts of a sentence.
    MARK,
    /// First of all.
    EARLY,
    /// Beyond English: forms tell no mood.
    FOREIGN,
    /// Do not, must never, without.
    FORBID,
    /// Show, quote, repeat.
    SHOW,
    /// Flags of programs that leave out every question.
    APPROVES,
    /// Assume, treat as.
    PRESUME,
    /// If, unless, when.
    CONDITION,
    /// Results, answers.
    RESULT,
    /// Files, documents, messages.
    THING,
    /// An address of the web.
    WEB,
    /// An address of a mailbox.
    MAILBOX,
    /// A path.
    PATH,
    /// Only.
    ONLY,
    /// Must, should, always.
    DUTY,
}

/// The endings that an English word may have.
const ENDINGS: &[&str] = &["", "s", "es", "ed", "d", "ing", "ting", "ning"];

/// A word or phrase, or its beginning.
#[derive(Debug)]
pub(super) struct Entry {
    stem: Cow<'static, str>,
    /// What it means.
    pub(super) senses: Senses,
    any_ending: bool,
    /// It needs no blank before or behind it: its script has none.
    unspaced: bool,
    /// The place of the next shorter entry that this one begins with.
    shorter: Option<usize>,
}

impl Entry {
    /// The length of what is written in the entry, in bytes.
    pub(super) fn len(&self) -> usize {
        self.stem.len()
    }

    /// Whether a word may end so behind the entry.
    pub(super) fn takes(&self, ending: &str) -> bool {
        ending.is_empty()
            || self.any_ending
            || (self.senses & FOREIGN == 0 && ENDINGS.contains(&ending))
            // The last letter is doubled or left out: "omitting", "including".
            || (self.senses & FOREIGN == 0 && ending.len() == 4 && ending.ends_with("ing"))
    }

    /// Whether no ending belongs to it, as its script has no blanks to end a word.
    pub(super) fn is_unspaced(&self) -> bool {
        self.unspaced
    }

    /// Whether the word is as it stands in a dictionary, with this ending.
    pub(super) fn is_bare(&self, ending: &str) -> bool {
        // "copies" is an entry of its own.
        let third = self.stem.ends_with('s') && !self.stem.ends_with("ss") && !self.stem.contains(' ');
        (ending.is_empty() || self.any_ending) && !third
    }

    /// Whether it speaks of what was done, with this ending.
    pub(super) fn is_past(&self, ending: &str) -> bool {
        ending.ends_with('d') || self.stem.ends_with("ed") || matches!(&*self.stem, "sent" | "written")
    }
}

struct Lexicon {
    /// The first bytes of each entry, which decide most comparisons.
    keys: Vec<u64>,
    /// In order of their stems.
    entries: Vec<Entry>,
}

static LEXICON: LazyLock<Lexicon> = LazyLock::new(|| {
    let mut entries: Vec<Entry> = Vec::with_capacity(2048);
    let groups = ENGLISH.iter().map(|(senses, words)| (*senses, *words));
    let others = OTHERS.iter().map(|(senses, words)| (*senses | FOREIGN, *words));
    for (senses, words) in groups.chain(others) {
        for word in words.split('|').map(str::trim) {
            let (stem, any_ending) = word.strip_suffix('*').map_or((word, false), |stem| (stem, true));
            // A test sees to it that the others are in plain spelling already.
            let stem = if stem.is_ascii() { Cow::Borrowed(stem) } else { Cow::Owned(spell::plain(stem)) };
            let unspaced = stem.chars().next().is_some_and(is_unspaced);
            entries.push(Entry { stem, senses, any_ending, unspaced, shorter: None });
        }
    }
    entries.sort_unstable_by(|one, other| one.stem.cmp(&other.stem));
    // What is spelt alike has all the senses.
    entries.dedup_by(|again, first| {
        let same = again.stem == first.stem;
        if same {
            first.senses |= again.senses;
            first.any_ending |= again.any_ending;
        }
        same
    });
    for at in 1..entries.len() {
        let mut shorter = Some(at - 1);
        while let Some(near) = shorter
            && !entries[at].stem.starts_with(&*entries[near].stem)
        {
            shorter = entries[near].shorter;
        }
        entries[at].shorter = shorter;
    }
    Lexicon { keys: entries.iter().map(|entry| key(entry.stem.as_bytes())).collect(), entries }
});

/// The first eight bytes as a number that has their order.
fn key(bytes: &[u8]) -> u64 {
    let mut first = [0; 8];
    let count = bytes.len().min(8);
    first[..count].copy_from_slice(&bytes[..count]);
    u64::from_be_bytes(first)
}

/// The entries that a text begins with, the longest first.
pub(super) fn entries_at(text: &str) -> impl Iterator<Item = &'static Entry> {
    let Lexicon { keys, entries } = &*LEXICON;
    let first = key(text.as_bytes());
    // Whatever the text begins with is a beginning of the last entry that stands before the text in order, too.
    let mut last = keys.partition_point(|key| *key <= first);
    while last > 0 && keys[last - 1] == first && *entries[last - 1].stem > *text {
        last -= 1;
    }
    let mut next = last.checked_sub(1);
    std::iter::from_fn(move || {
        loop {
            let entry = entries.get(next?)?;
            next = entry.shorter;
            if text.starts_with(&*entry.stem) {
                return Some(entry);
            }
        }
    })
}

/// Scripts whose words stand together.
pub(super) fn is_unspaced(c: char) -> bool {
    matches!(c, '\u{e00}'..='\u{eff}' | '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}' | '\u{ac00}'..='\u{d7af}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_is_found_where_it_stands_and_in_plain_spelling() {
        assert!(LEXICON.entries.len() > 500);
        for entry in &LEXICON.entries {
            assert_eq!(spell::plain(&entry.stem), *entry.stem);
            for behind in ["", "s", " and", "\u{4e00}", "zzzzzzzzz"] {
                let text = format!("{}{behind}", entry.stem);
                let found: Vec<&str> = entries_at(&text).map(|entry| &*entry.stem).collect();
                let mut all: Vec<&str> = LEXICON.entries.iter().map(|entry| &*entry.stem).collect();
                all.retain(|stem| text.starts_with(stem));
                all.reverse();
                assert_eq!(found, all, "{text}");
            }
        }
    }
}
