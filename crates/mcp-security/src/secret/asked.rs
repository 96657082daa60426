//! Questions that want a credential: a server must not ask for one in a form, where it would see it.

/// Words, one after another, that name a credential. A trailing `s` is another word: `max_tokens` asks for a number.
const CREDENTIALS: &[&[&str]] = &[
    &["password"],
    &["passwd"],
    &["passcode"],
    &["passphrase"],
    &["pass", "word"],
    &["pass", "phrase"],
    &["pwd"],
    &["secret"],
    &["apikey"],
    &["api", "key"],
    &["access", "key"],
    &["private", "key"],
    &["secret", "key"],
    &["signing", "key"],
    &["encryption", "key"],
    &["ssh", "key"],
    &["access", "token"],
    &["auth", "token"],
    &["bearer", "token"],
    &["refresh", "token"],
    &["session", "token"],
    &["api", "token"],
    &["bot", "token"],
    &["id", "token"],
    &["personal", "access", "token"],
    &["token"],
    &["credential"],
    &["credentials"],
    &["session", "cookie"],
    &["otp"],
    &["totp"],
    &["mfa", "code"],
    &["2fa", "code"],
    &["one", "time", "code"],
    &["verification", "code"],
    &["authentication", "code"],
    &["security", "code"],
    &["recovery", "code"],
    &["backup", "code"],
    &["seed", "phrase"],
    &["recovery", "phrase"],
    &["mnemonic"],
    &["pin", "code"],
    &["pin", "number"],
    &["cvv"],
    &["cvc"],
    &["card", "number"],
    &["credit", "card"],
    &["social", "security", "number"],
    &["ssn"],
];

/// What asks for something to be typed.
const REQUESTS: &[&str] = &[
    "enter", "type", "provide", "give", "confirm", "paste", "input", "submit", "supply", "reenter", "insert",
    "send", "need", "needs", "require", "requires", "required", "verify", "tell", "fill", "share",
];

/// Words after a credential's that make it something else: its name, its place, how many there are.
const HARMLESS_AFTER: &[&str] = &[
    "name", "count", "limit", "length", "budget", "id", "label", "policy", "manager", "type", "usage",
    "expiry",
];

/// The credential that the name, the title or the description of a form's field names.
///
/// ```
/// use mcp_security::secret::field_wants_credential;
///
/// assert_eq!(field_wants_credential("githubPassword").as_deref(), Some("password"));
/// assert_eq!(field_wants_credential("API key").as_deref(), Some("api key"));
/// assert_eq!(field_wants_credential("max_tokens"), None);
/// ```
pub fn field_wants_credential(text: &str) -> Option<String> {
    find(&words(text))
}

/// The credential that a question asks to be typed: one that is named in a sentence that asks for something.
///
/// ```
/// use mcp_security::secret::question_wants_credential;
///
/// let phishing = "Session expired. Enter your GitHub password";
/// assert_eq!(question_wants_credential(phishing).as_deref(), Some("password"));
/// assert_eq!(question_wants_credential("Reset the password of user 7?"), None);
/// ```
pub fn question_wants_credential(text: &str) -> Option<String> {
    text.split(['.', '!', '?', '\n', ';']).find_map(|sentence| {
        let words = words(sentence);
        let asks = words.iter().any(|word| REQUESTS.contains(&word.as_str()));
        asks.then(|| find(&words)).flatten()
    })
}

fn find(words: &[String]) -> Option<String> {
    let at = |start: usize, names: &[&str]| {
        let end = start + names.len();
        let said = words.get(start..end)?;
        let harmless = words.get(end).is_some_and(|next| HARMLESS_AFTER.contains(&next.as_str()));
        (said.iter().zip(names).all(|(word, name)| word == name) && !harmless).then(|| names.join(" "))
    };
    (0..words.len()).find_map(|start| CREDENTIALS.iter().find_map(|names| at(start, names)))
}

/// The words of a text or an identifier, in lower case: `githubApiKey`, `github_api_key` and `GitHub API-key` are the
/// same. Look-alikes of other widths and invisible characters do not hide a word.
fn words(text: &str) -> Vec<String> {
    let plain = plain(text);
    let mut words: Vec<String> = Vec::new();
    let mut word = String::new();
    let characters: Vec<char> = plain.chars().collect();
    for (at, &c) in characters.iter().enumerate() {
        if !c.is_alphanumeric() {
            words.extend((!word.is_empty()).then(|| std::mem::take(&mut word)));
            continue;
        }
        let before = at.checked_sub(1).and_then(|at| characters.get(at));
        let after = characters.get(at + 1);
        // fooBar, and APIKey before its last capital.
        let turns = c.is_uppercase()
            && (before.is_some_and(|b| b.is_lowercase())
                || before.is_some_and(|b| b.is_uppercase()) && after.is_some_and(|a| a.is_lowercase()));
        if turns {
            words.extend((!word.is_empty()).then(|| std::mem::take(&mut word)));
        }
        word.extend(c.to_lowercase());
    }
    words.extend((!word.is_empty()).then_some(word));
    words
}

fn plain(text: &str) -> String {
    let visible = text.chars().filter(|c| {
        !matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{2064}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
    });
    visible
        .map(|c| match c {
            // Full-width forms of ASCII.
            '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(c) - 0xfee0).unwrap_or(c),
            'а' => 'a',
            'е' => 'e',
            'о' => 'o',
            'р' => 'p',
            'с' => 'c',
            'х' => 'x',
            'у' => 'y',
            'і' => 'i',
            'ѕ' => 's',
            'к' => 'k',
            c => c,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_for_credentials_are_known_however_they_are_spelt() {
        for name in [
            "password",
            "Password",
            "user_password",
            "githubToken",
            "GITHUB_TOKEN",
            "api-key",
            "apiKey",
            "APIKey",
            "secret",
            "clientSecret",
            "passphrase",
            "OTP",
            "otp",
            "verification code",
            "Credit card",
            "cvv",
            "privateKey",
            "p\u{200b}assword",
            "\u{ff50}assword",
            "pаssword",
            "Seed phrase (12 words)",
        ] {
            assert!(field_wants_credential(name).is_some(), "{name}");
        }
        for name in [
            "name",
            "max_tokens",
            "tokens",
            "token_count",
            "tokenLimit",
            "keyword",
            "key",
            "passenger",
            "secretary",
            "compass",
            "pin",
            "pinColor",
            "code",
            "country code",
            "zip_code",
            "password_policy",
            "author",
            "username",
        ] {
            assert_eq!(field_wants_credential(name), None, "{name}");
        }
    }

    #[test]
    fn a_question_is_refused_when_it_asks_and_not_when_it_mentions() {
        for question in [
            "Session expired. Enter your GitHub password",
            "Please provide the API key of your account!",
            "To go on, we need your one-time code",
            "Confirm your seed phrase",
        ] {
            assert!(question_wants_credential(question).is_some(), "{question}");
        }
        for question in [
            "Which repository?",
            "Rotate the API key of service 7?",
            "The password was changed. Enter a name for the backup",
            "How many tokens may I use? Enter a number",
        ] {
            assert_eq!(question_wants_credential(question), None, "{question}");
        }
    }
}
