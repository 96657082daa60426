//! The policy against what users write, what attackers write, and what nobody writes.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say so at once")]

use std::collections::BTreeMap;

use mcp_core::{Environment, Guard, LaunchSpec, Refusal, RemoteSpec, ServerName};
use mcp_security::{Level, Policy, Rules, command, env, url};
use proptest::prelude::*;

mod address;
mod launch;
mod mutations;

fn server() -> ServerName {
    ServerName::new("srv").unwrap()
}

fn argv(words: &[&str]) -> LaunchSpec {
    LaunchSpec {
        program: words[0].into(),
        args: words[1..].iter().map(|&word| word.to_owned()).collect(),
        ..LaunchSpec::default()
    }
}

fn admit(level: Level, words: &[&str]) -> Result<(), Refusal> {
    Policy::new(Rules::at(level)).admit_command(&server(), argv(words)).map(drop)
}

fn admit_url(rules: Rules, text: &str) -> Result<(), Refusal> {
    let spec = RemoteSpec { url: url::parse(text)?, headers: BTreeMap::new() };
    Policy::new(rules).admit_url(&server(), spec).map(drop)
}

proptest! {
    #[test]
    fn the_splitter_answers_every_text(line in any::<String>()) {
        if let Ok(words) = command::split(&line) {
            prop_assert!(!words[0].is_empty());
        }
    }

    #[test]
    fn quoted_words_come_back_whole(words in proptest::collection::vec("[^\0]{0,12}", 1..6)) {
        prop_assume!(!words[0].is_empty() && !words[0].contains('='));
        let quoted: Vec<_> = words.iter().map(|word| format!("'{}'", word.replace('\'', r"'\''"))).collect();
        prop_assert_eq!(command::split(&quoted.join(" ")).unwrap(), words);
    }

    #[test]
    fn any_command_gets_a_verdict(words in proptest::collection::vec(any::<String>(), 1..8)) {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        for level in [Level::Strict, Level::Moderate, Level::Permissive] {
            let _ = admit(level, &words);
        }
    }

    #[test]
    fn runners_with_any_options_get_a_verdict(
        runner in prop::sample::select(vec![
            "bash", "python", "node", "npx", "uv", "docker", "env", "cmd", "timeout", "perl", "pwsh", "npm", "deno",
        ]),
        args in proptest::collection::vec("-{0,2}[a-zA-Z=/:@{-]{0,6}", 0..6),
    ) {
        let words: Vec<&str> = std::iter::once(runner).chain(args.iter().map(String::as_str)).collect();
        let _ = admit(Level::Moderate, &words);
    }

    #[test]
    fn a_child_inherits_no_key(names in proptest::collection::vec("[A-Z_]{1,20}(_KEY|_TOKEN|_SECRET)", 0..8)) {
        let ambient = Environment::from_iter(names.iter().map(|name| (name.clone(), "sk-secret".to_owned())));
        prop_assert!(env::child_environment(&ambient, &BTreeMap::new()).is_empty());
    }

    #[test]
    fn what_is_declared_arrives(
        ambient in proptest::collection::btree_map(any::<String>(), any::<String>(), 0..8),
        declared in proptest::collection::btree_map("[A-Z]{1,8}", "[^()]{0,8}", 0..8),
    ) {
        let child = env::child_environment(&ambient.into_iter().collect(), &declared);
        for (name, value) in &declared {
            prop_assert_eq!(child.get(name), Some(value));
        }
    }

    #[test]
    fn any_url_gets_a_verdict(text in any::<String>()) {
        let _ = admit_url(Rules::default(), &text);
        let _ = admit_url(Rules::default(), &format!("http://{text}"));
    }
}
