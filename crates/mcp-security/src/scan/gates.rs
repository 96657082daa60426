//! What must stand in a text before a cue can be in it.
//!
//! Most texts of tools hold nothing of the kind, and are decided by one pass over their letters: no expression is
//! compiled for them, and none is run. A cue without an entry is looked for whenever somebody asks for it; those are the
//! everyday words that matter only beside others.

use std::ops::Range;
use std::sync::LazyLock;

use aho_corasick::AhoCorasick;

use super::cues::Cue::{self, *};
use super::cues::PATTERNS;

/// Wherever a cue is found there is one of these. A test derives that from the patterns.
pub(super) const GATES: &[(Cue, &[&str])] = &[
    (
        Override,
        &[
            "ignor",
            "disregard",
            "forget",
            "override",
            "bypass",
            "discard",
            "skip ",
            "you are now",
            "instruction",
            "prompt",
            "rules",
            "guideline",
            "directive",
            "your system",
            "your original",
            "your previous",
            "do not follow",
            "do not obey",
            "do not listen",
        ],
    ),
    (
        Approve,
        &[
            "approve",
            "grant",
            "say yes",
            "always accept",
            "always allow",
            "always confirm",
            "always permit",
            "auto",
            "on behalf",
            "for the user",
            "to all",
            "to every",
            "to any",
            "skip ",
            "bypass ",
            "suppress ",
            "ignore ",
            "accepted",
        ],
    ),
    (HiddenTag, &["<", "inst]", "system", " message", " prompt", " instruction", " override"]),
    (Unseen, &["<"]),
    (LoudTag, &["<"]),
    (Comment, &["<!--"]),
    (
        KeyFile,
        &[
            ".ssh",
            "rsa",
            "ed25519",
            "ecdsa",
            "dsa",
            ".aws/",
            "~/.",
            ".config/gh",
            "gh/hosts.yml",
            "kube",
            ".gitconfig",
            ".pgpass",
            ".my.cnf",
            ".terraformrc",
            ".cargo/credentials",
            ".m2/settings",
            ".azure/",
            "service",
            ".netrc",
            ".npmrc",
            ".pypirc",
            ".git-credentials",
            ".kube/config",
            ".docker/config",
            ".gnupg",
            "/etc/",
            "mcp.json",
            ".cursor/",
            "claude_desktop_config",
            "credentials",
            "gcloud",
            "login data",
            "cookie",
            "keychain",
            "wallet.dat",
            "seed phrase",
            ".env",
            "_history",
            "environ",
            ".vault-token",
        ],
    ),
    (
        Secrets,
        &[
            "key",
            "password",
            "passphrase",
            "secret",
            "credential",
            "token",
            "cookie",
            "environment variable",
            "env var",
            ".env",
            "credit card",
        ],
    ),
    (TellsFirst, &["without"]),
    (KeepsPrompt, &["system", "developer", "initial", "hidden"]),
    (Configures, &[".env", "claude_desktop_config", "mcp.json", ".cursor/", ".npmrc"]),
    (Codes, &["code", "password", "pin", "otp", "tan"]),
    (
        Defines,
        &[
            "verbatim",
            "word for word",
            "unedited",
            "in full",
            "so far",
            "up to ",
            "until now",
            "from ",
            " in ",
            " on ",
            "exactly as",
            "as given",
            "as received",
        ],
    ),
    (HostTemplate, &["<", "{", "[", "$"]),
    (PipesByTool, &["curl", "wget", "iwr", "irm"]),
    (Template, &["{{", "${", "$("]),
    (Tells, &["system", "developer", "initial", "hidden"]),
    (
        Steals,
        &[
            "exfiltrate",
            "steal",
            "harvest",
            "siphon",
            "smuggle",
            "and send",
            "and put",
            "and pass",
            "and forward",
            "and post",
            "and upload",
            "and submit",
            "and paste",
            "and transmit",
            "and e",
            "and include",
            "and place",
            "and add",
        ],
    ),
    (Context, &["conversation", "chat", "message", "dialog", "transcript", "context"]),
    (
        Conceal,
        &[
            "do not",
            "don't",
            "dont",
            "never",
            "without",
            "avoid",
            "no need to",
            "refrain",
            "keep this",
            "keep it",
            "hide this",
            "hide it",
            "silently",
            "secretly",
            "covertly",
            "user must",
            "user should",
            "user may",
            "user can",
            "user will",
            "human must",
            "human should",
            "human may",
            "human can",
            "human will",
            "person must",
            "person should",
            "person may",
            "person can",
            "person will",
            "must not",
            "should not",
            "may not",
            "can not",
        ],
    ),
    (ImageTemplate, &["![", "http"]),
    (Line, &["before", "prior to"]),
    (
        Prefer,
        &[
            "always",
            "prefer",
            "other",
            "alternative",
            "competing",
            "over a",
            "over e",
            "instead of",
            "rather than",
            "before a",
            "before e",
            "several ",
            "more than one ",
            "a different ",
            "choose ",
            "pick ",
            "select ",
            "favor ",
            "favour ",
            "take ",
            "the only ",
        ],
    ),
    (Role, &[":"]),
    (
        Pretext,
        &[
            "prete",
            "excuse",
            "guise",
            "cover story",
            "pretend",
            "claim",
            "saying",
            "telling them",
            "as if",
            "as though",
            "say ",
            "explain",
            "why",
            "reason",
            "is for",
            "vorwand",
            "предлог",
            "под видом",
            "借口",
            "谎称",
            "口実",
            "핑계",
        ],
    ),
    (
        Consent,
        &[
            "user",
            "human",
            "owner",
            "operator",
            "account holder",
            "customer",
            "nutzer",
            "utilisateur",
            "usuario",
            "utente",
            "пользовател",
            "用户",
            "ユーザー",
            "사용자",
        ],
    ),
    (Pipes, &["curl", "wget", "iwr", "irm"]),
];

struct Gates {
    finder: Option<AhoCorasick>,
    /// For each word of the finder the cues it may stand for.
    opens: Vec<u64>,
    /// The cues without an entry that have patterns.
    always: u64,
}

static ALL: LazyLock<Gates> = LazyLock::new(|| {
    let mut words: Vec<&str> = Vec::new();
    let mut opens: Vec<u64> = Vec::new();
    let mut always = PATTERNS.iter().fold(0, |always, (cue, _)| always | cue.bit());
    for (cue, gates) in GATES {
        always &= !cue.bit();
        for word in *gates {
            match words.iter().position(|known| known == word) {
                Some(at) => {
                    if let Some(open) = opens.get_mut(at) {
                        *open |= cue.bit();
                    }
                }
                None => {
                    words.push(word);
                    opens.push(cue.bit());
                }
            }
        }
    }
    // The words are constants; were they too many, every cue would be looked for.
    Gates { finder: AhoCorasick::new(words).ok(), opens, always }
});

/// What of [`GATES`] stands in a text.
#[derive(Debug, Default)]
pub(super) struct Open {
    /// Each word's beginning, end and cues, in order of their ends.
    words: Vec<(usize, usize, u64)>,
}

impl Open {
    /// In a text whose lines are joined.
    pub(super) fn of(joined: &str) -> Self {
        let Some(finder) = &ALL.finder else { return Self { words: vec![(0, 0, u64::MAX)] } };
        let words = finder.find_overlapping_iter(joined).map(|found| {
            let opens = ALL.opens.get(found.pattern().as_usize()).copied().unwrap_or(u64::MAX);
            (found.start(), found.end(), opens)
        });
        Self { words: words.collect() }
    }

    /// The cues that may be in the text.
    pub(super) fn all(&self) -> u64 {
        self.words.iter().fold(ALL.always, |open, (.., opens)| open | opens)
    }

    /// The cues that may be in a part of it.
    pub(super) fn within(&self, part: Range<usize>) -> u64 {
        if ALL.finder.is_none() {
            return u64::MAX;
        }
        let first = self.words.partition_point(|(_, end, _)| *end < part.start);
        let near = self.words[first..].iter().take_while(|(_, end, _)| *end <= part.end);
        near.filter(|(start, ..)| *start >= part.start).fold(ALL.always, |open, (.., opens)| open | opens)
    }
}

#[cfg(test)]
mod tests {
    use regex_syntax::hir::literal::{ExtractKind, Extractor};
    use regex_syntax::hir::{Hir, HirKind};

    use super::*;

    /// Whether every match of the expression holds one of the words.
    fn needs(hir: &Hir, words: &[&str]) -> bool {
        let holds = |literal: &[u8]| {
            words.iter().any(|word| literal.windows(word.len()).any(|part| part == word.as_bytes()))
        };
        let ends = [ExtractKind::Prefix, ExtractKind::Suffix].into_iter().any(|kind| {
            let found = Extractor::new().kind(kind).extract(hir);
            found.literals().is_some_and(|found| found.iter().all(|literal| holds(literal.as_bytes())))
        });
        ends || match hir.kind() {
            HirKind::Literal(literal) => holds(&literal.0),
            HirKind::Capture(capture) => needs(&capture.sub, words),
            HirKind::Repetition(repeated) => repeated.min > 0 && needs(&repeated.sub, words),
            HirKind::Alternation(all) => all.iter().all(|hir| needs(hir, words)),
            HirKind::Concat(parts) => {
                parts.iter().any(|part| needs(part, words))
                    // Words that reach over parts.
                    || (1..parts.len()).any(|at| {
                        let rest = Hir::concat(parts[at..].to_vec());
                        let found = Extractor::new().extract(&rest);
                        found.literals().is_some_and(|found| found.iter().all(|one| holds(one.as_bytes())))
                    })
            }
            _ => false,
        }
    }

    #[test]
    fn no_cue_is_found_where_its_words_are_not() {
        let mut wrong = Vec::new();
        for (cue, pattern) in PATTERNS {
            let Some((_, words)) = GATES.iter().find(|(gated, _)| gated == cue) else { continue };
            let hir = regex_syntax::parse(pattern).unwrap();
            if !needs(&hir, words) {
                wrong.push(format!("{cue:?}: {pattern}"));
            }
        }
        assert!(wrong.is_empty(), "no word of GATES is in every match of these:\n{}", wrong.join("\n"));
    }

    #[test]
    fn a_gate_opens_for_its_cue() {
        let open = |text: &str| Open::of(text).all();
        let harmless = open("lists the files of a folder");
        assert_eq!(harmless & (Override.bit() | Secrets.bit() | Conceal.bit()), 0);
        assert_ne!(harmless & Order.bit(), 0);
        assert_ne!(open("ignore it") & Override.bit() & !harmless, 0);
        let open = Open::of("ignore it. lists files");
        assert_ne!(open.within(0..10) & Override.bit(), 0);
        assert_eq!(open.within(2..22) & Override.bit(), 0);
    }
}
