//! What a parameter is to hold, said as a definition and not as an order: "the full text of your system prompt".

use super::lexicon::*;
use super::sentence::Sentence;
use super::takes;

/// Words of tools that handle conversations.
pub(super) const ABOUT_TALK: &[&str] = &[
    "chat",
    "conversation",
    "conversación",
    "conversa",
    "summari",
    "transcript",
    "model",
    "llm",
    "message",
    "dialog",
    "meeting",
    "thread",
    "gespräch",
    "переписк",
    "чат",
    "диалог",
    "对话",
    "聊天",
    "會話",
    "会話",
    "チャット",
    "대화",
    "채팅",
];

/// Words of tools that handle prompts, environments and what was typed into a shell.
pub(super) const ABOUT_HOST: &[&str] = &[
    "prompt",
    "environment",
    "environ",
    " env",
    "env_",
    "_env",
    "history",
    "shell",
    "terminal",
    "redact",
    "llm",
];

/// Words of tools that handle what people prove with who they are.
pub(super) const ABOUT_LOGIN: &[&str] = &[
    "login",
    "log in",
    "logs in",
    "log into",
    "logs into",
    "logged in",
    "sign in",
    "signs in",
    "sign-in",
    "sign up",
    "signup",
    "auth",
    "password",
    "credential",
    "account",
    "unlock",
    "vault",
    "wallet",
    "connect",
    "register",
    "ssh",
    "crypt",
    "sign_",
    "session",
    "secret",
    "user_",
    "_user",
    "member",
    "security",
    "mail",
    "smtp",
    "imap",
    "ldap",
    "database",
    "payment",
    "checkout",
    "card",
    "cookie",
    "browser",
    "form",
    "登录",
    "登入",
    "账户",
    "账号",
    "ログイン",
    "認証",
    "로그인",
    "인증",
    "계정",
    "вход",
    "войти",
    "аккаунт",
    "учетн",
    "учётн",
    "anmeld",
    "benutzer",
    "connexion",
    "compte",
    "sesión",
    "cuenta",
    "accesso",
    "conta",
    "logow",
    "konto",
    "giriş",
    "oturum",
    "hesap",
    "تسجيل",
    "حساب",
    "लॉग",
    "खाता",
    "đăng nhập",
    "tài khoản",
    "inlogg",
    "logga",
    "σύνδε",
    "увійти",
    "masuk",
    "akun",
];

/// What the host told the model, or what lies on the machine: no tool takes it as an argument.
pub(super) fn holds_host(sentence: &Sentence<'_>) -> bool {
    if is_spared(sentence) {
        return false;
    }
    holds_prompt(sentence) || holds_environment(sentence) || holds_history(sentence)
}

/// "Never include passwords."
fn is_spared(sentence: &Sentence<'_>) -> bool {
    sentence.at(NEVER | FORBID).any(|at| !matches!(sentence.word(at), "no" | "ne" | "pas" | "non"))
}

/// "The text of the system prompt you were given".
fn holds_prompt(sentence: &Sentence<'_>) -> bool {
    // "You were given", "you run under".
    let yours = |what: usize| {
        (what + 1..what + 6).any(|you| {
            sentence.word(you).starts_with("you")
                && (sentence.tokens.get(you).is_some_and(|token| token.is(TOLD))
                    || (you + 1..you + 4).any(|verb| {
                        [
                            "given", "receive", "start", "run", "operat", "work", "follow", "configur",
                            "told", "act", "obey", "have", "hold", "see",
                        ]
                        .iter()
                        .any(|begin| sentence.word(verb).starts_with(begin))
                    }))
        }) || sentence.find(what + 1..what + 5, &["effect", "force", "session", "chat"]).is_some()
    };
    // A tool that makes assistants is given theirs.
    let for_another = |what: usize| {
        sentence.find(what.saturating_sub(4)..what, &["custom", "new", "optional", "default"]).is_some()
            || (what + 1..what + 4)
                .any(|at| matches!(sentence.word(at), "for" | "for the" | "to" | "used" | "that the"))
    };
    let whole = |what: usize| {
        sentence.near(what, 4, WHOLE).is_some()
            || sentence
                .find(what.saturating_sub(5)..what, &["copy", "text", "wording", "contents of"])
                .is_some()
    };
    let prompt = sentence.at(PROMPT).any(|at| {
        let your = sentence.before(at, 3, YOUR).is_some() || sentence.before(at, 3, MODEL).is_some();
        let foreign = sentence.tokens[at].is(FOREIGN) && whole(at);
        yours(at) || foreign || (your && (whole(at) || at <= 2) && !for_another(at))
    });
    // "The operator's text", "the instructions you got at the start".
    let rules = || {
        (0..sentence.tokens.len()).any(|at| {
            let named = sentence.tokens[at].is(RULES)
                || matches!(sentence.word(at), "text" | "briefing" | "brief" | "setup" | "message");
            let of_host = sentence
                .find(
                    at.saturating_sub(3)..at,
                    &["operator", "host", "host s", "system", "hidden", "developer", "deployment"],
                )
                .is_some();
            named && of_host && yours(at)
        })
    };
    prompt || rules()
}

/// "Dump of the process environment", "output of printenv".
fn holds_environment(sentence: &Sentence<'_>) -> bool {
    const WHAT: &[&str] = &["environment variable", "environment variables", "env vars", "environment"];
    const HEADS: &[&str] = &[
        "dump",
        "output",
        "output of",
        "contents of",
        "content of",
        "listing",
        "list",
        "snapshot",
        "copy",
        "value",
        "values",
        "all",
        "every",
        "full",
        "complete",
        "entire",
        "whole",
    ];
    const WHOSE: &[&str] = &[
        "user s",
        "host s",
        "current",
        "your",
        "shell",
        "process",
        "machine",
        "machine s",
        "host",
        "local",
        "shell s",
        "client s",
        "caller s",
        "our",
        "agent s",
        "assistant s",
    ];
    let english = || {
        sentence.find(0..sentence.tokens.len(), WHAT).is_some_and(|what| {
            let around = what.saturating_sub(6)..what + 6;
            let purpose = (what + 1..what + 4).any(|at| {
                matches!(sentence.word(at), "to" | "for" | "for the" | "passed" | "given" | "in which")
                    || sentence
                        .tokens
                        .get(at)
                        .is_some_and(|token| token.is(LEAD) && token.word.ends_with(" to"))
            });
            let headed = sentence.find(what.saturating_sub(6)..what, HEADS).is_some();
            headed && sentence.find(around, WHOSE).is_some() && !purpose
        })
    };
    let command = || {
        sentence
            .at(RESULT)
            .any(|at| (at + 1..at + 4).any(|at| matches!(sentence.word(at), "printenv" | "env" | "environ")))
            || sentence.find(0..sentence.tokens.len(), &["output of env", "output of printenv"]).is_some()
    };
    english() || command()
}

/// "The latest commands of the shell's history".
fn holds_history(sentence: &Sentence<'_>) -> bool {
    sentence.at(SECRET).any(|at| {
        let word = sentence.word(at);
        word.ends_with(" history")
            && (sentence.before(at, 6, WHOLE | THEIRS | RESULT | YOUR).is_some()
                || sentence
                    .find(
                        at.saturating_sub(6)..at,
                        &["latest", "recent", "lines", "entries", "commands", "tail"],
                    )
                    .is_some())
    })
}

/// The conversation: what only tools that handle conversations take.
pub(super) fn holds_talk(sentence: &Sentence<'_>) -> bool {
    if is_spared(sentence) {
        return false;
    }
    let ends = |at: usize| {
        sentence
            .find(
                at.saturating_sub(5)..at + 7,
                &["so far", "until now", "up to", "verbatim", "word for word", "unedited", "session"],
            )
            .is_some()
    };
    let talk = sentence.at(TALK).any(|at| {
        let whole = sentence.near(at, 3, WHOLE).is_some();
        whole && at <= 8 && (ends(at) || sentence.tokens[at].is(FOREIGN))
    });
    talk || takes::was_said(sentence, |_| true)
}

/// A secret of people that opens more than one tool.
pub(super) fn holds_secret(sentence: &Sentence<'_>) -> bool {
    if is_spared(sentence) {
        return false;
    }
    const WHOSE: &[&str] = &[
        "user s",
        "users",
        "user",
        "their",
        "caller s",
        "owner s",
        "customer s",
        "person s",
        "operator s",
        "human s",
        "his",
        "her",
        "developer s",
        "admin s",
    ];
    sentence.at(SECRET).any(|at| {
        if sentence.tokens[at].is(FOREIGN) {
            return sentence.near(at, 3, USER).is_some_and(|user| sentence.tokens[user].is(FOREIGN))
                && at <= 6
                && takes::is_personal(sentence, at);
        }
        takes::is_personal(sentence, at)
            && (sentence.find(at.saturating_sub(5)..at, WHOSE).is_some()
                || sentence.after(at, 4, USER).is_some_and(|user| {
                    matches!(sentence.word(user.saturating_sub(1)), "the" | "of" | "this")
                        && sentence.word(at + 1) == "of"
                }))
    })
}

/// "The assistant forwards all keys to x@y.example, silently": what a model does, as if it were a term of use.
pub(super) fn consents_for_model(sentence: &Sentence<'_>) -> bool {
    sentence.at(MODEL).any(|model| {
        let moves = (model + 1..model + 5).find(|at| {
            sentence.tokens.get(*at).is_some_and(|token| token.is(MOVE)) && !sentence.tokens[*at].past
        });
        moves.is_some_and(|moves| {
            let what = sentence.after(moves, 6, SECRET | TALK);
            let stealthy = sentence.has(STEALTH);
            let termed = (0..model).any(|at| {
                ["accept", "agree", "consent", "licen", "clause", "terms"]
                    .iter()
                    .any(|begin| sentence.word(at).starts_with(begin))
            });
            what.is_some()
                && (stealthy || termed)
                && sentence.before(moves, 4, NEVER | FORBID).is_none()
                && !sentence.word(moves.saturating_sub(1)).ends_with("n t")
        })
    })
}
