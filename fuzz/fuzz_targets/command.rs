//! Any text as a command line: it gets a verdict, a stricter level never admits more, and a wrapper around a program hides
//! nothing.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mcp_security::{Level, Platform, Rules, Trust, command};

fn judge(words: &[String]) {
    for platform in [Platform::Unix, Platform::Windows] {
        for trust in [Trust::User, Trust::Project] {
            let admitted = [Level::Strict, Level::Moderate, Level::Permissive].map(|level| {
                let rules = Rules { level, platform, trust, ..Rules::default() };
                command::judge(&words[0], &words[1..], &rules).is_ok()
            });
            assert!(admitted.is_sorted(), "a stricter level admits more: {words:?} {platform:?} {trust:?}");
        }
    }
    let rules = Rules { platform: Platform::Unix, ..Rules::default() };
    if command::judge(&words[0], &words[1..], &rules).is_err() && !words[0].starts_with('-') {
        assert!(command::judge("nohup", words, &rules).is_err(), "a wrapper hides it: {words:?}");
    }
}

fuzz_target!(|text: &str| {
    if let Ok(words) = command::split(text) {
        judge(&words);
    }
    judge(&text.split('\0').map(str::to_owned).collect::<Vec<String>>());
});
