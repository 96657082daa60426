//! Rules for Rust sources: where a thing may be named, and what every file says first.

mod strip;

use super::{Problems, Source};
use strip::Code;

/// A word that may stand in some places only.
struct Word {
    /// Found as a whole word: `rmcp` is not in `rmcp_like`. It may contain `::` and `!`.
    word: &'static str,
    /// Paths from the root that may name it: a folder (with `/`) or a file.
    allowed: &'static [&'static str],
    /// Whether tests may name it anywhere.
    in_tests: bool,
    why: &'static str,
}

/// Programs, not libraries: they may print, read the environment and start processes.
const PROGRAMS: &[&str] =
    &["crates/massgen-cli/", "crates/massgen-testkit/", "crates/mcp-client/examples/", "examples/", "xtask/"];

const WORDS: &[Word] = &[
    Word {
        word: "rmcp",
        allowed: &["crates/mcp-transport/", "examples/race/bare/"],
        in_tests: false,
        why: "foreign protocol types stay in mcp-transport",
    },
    Word {
        word: "serde_saphyr",
        allowed: &["crates/massgen-config/src/parse.rs"],
        in_tests: false,
        why: "YAML is read in one file",
    },
    Word { word: "unsafe", allowed: &[], in_tests: false, why: "the workspace forbids it" },
    Word { word: "println!", allowed: PROGRAMS, in_tests: true, why: "libraries emit `tracing`" },
    Word { word: "eprintln!", allowed: PROGRAMS, in_tests: true, why: "libraries emit `tracing`" },
    Word { word: "print!", allowed: PROGRAMS, in_tests: true, why: "libraries emit `tracing`" },
    Word { word: "eprint!", allowed: PROGRAMS, in_tests: true, why: "libraries emit `tracing`" },
    Word { word: "dbg!", allowed: &[], in_tests: false, why: "left over from debugging" },
    Word { word: "todo!", allowed: &[], in_tests: false, why: "unfinished" },
    Word { word: "unimplemented!", allowed: &[], in_tests: false, why: "unfinished" },
    Word {
        word: "env::var",
        allowed: PROGRAMS,
        in_tests: true,
        why: "only massgen-cli reads the environment",
    },
    Word {
        word: "env::vars",
        allowed: PROGRAMS,
        in_tests: true,
        why: "only massgen-cli reads the environment",
    },
    Word {
        word: "env::var_os",
        allowed: PROGRAMS,
        in_tests: true,
        why: "only massgen-cli reads the environment",
    },
    Word {
        word: "env::vars_os",
        allowed: PROGRAMS,
        in_tests: true,
        why: "only massgen-cli reads the environment",
    },
    Word {
        word: "env::home_dir",
        allowed: PROGRAMS,
        in_tests: true,
        why: "only massgen-cli knows the home folder",
    },
    Word {
        word: "is_terminal",
        allowed: PROGRAMS,
        in_tests: true,
        why: "only massgen-cli knows the terminal",
    },
    Word {
        word: "Command::new",
        allowed: &[
            "crates/mcp-transport/src/process.rs",
            "crates/mcp-transport/examples/",
            "examples/race/bare/",
            "crates/massgen-cli/",
            "crates/massgen-testkit/",
            "xtask/",
        ],
        in_tests: true,
        why: "children start in one function, behind a Guard",
    },
    Word {
        word: "Servers::start",
        allowed: &["crates/massgen/", "crates/massgen-cli/src/consent.rs"],
        in_tests: true,
        why: "no command starts servers past consent::settle",
    },
    Word {
        word: "massgen::assemble",
        allowed: &["crates/massgen/", "crates/massgen-cli/src/consent.rs"],
        in_tests: true,
        why: "no command starts servers past consent::settle",
    },
];

/// The files of a middleware's folder; what they are for is said once, in the module above them.
const OF_A_MIDDLEWARE: [&str; 3] = ["/layer.rs", "/future.rs", "/error.rs"];

/// Above it a file is named in a note; the aim is 500.
const LONG: usize = 800;

pub(super) fn check(sources: &[Source]) -> Problems {
    sources.iter().flat_map(file).collect()
}

fn file(source: &Source) -> Problems {
    let path = &source.path;
    let code = Code::of(&source.text);
    let all_test = is_test(path);
    let mut problems = Vec::new();

    let first = source.text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let explained_elsewhere = (all_test && !path.ends_with("main.rs"))
        || (path.starts_with("crates/mcp-resilience/")
            && OF_A_MIDDLEWARE.iter().any(|name| path.ends_with(name)));
    if !first.starts_with("//!") && !explained_elsewhere && !is_named_after_its_item(source) {
        problems.push(format!("{path}:1: say in `//!` what this file is for"));
    }
    for word in WORDS {
        if word.allowed.iter().any(|allowed| path.starts_with(allowed)) {
            continue;
        }
        for (line, in_test) in code.uses(word.word) {
            if !(word.in_tests && (in_test || all_test)) {
                problems.push(format!("{path}:{line}: `{}` is not for here: {}", word.word, word.why));
            }
        }
    }
    for line in code.uses("ignore").filter(|(line, _)| code.line(*line).trim_start().starts_with("#[ignore"))
    {
        problems.push(format!("{path}:{}: an ignored test proves nothing", line.0));
    }
    if path.starts_with("crates/mcp-resilience/") && !path.ends_with("src/backoff.rs") {
        problems.extend(backoff(path, &code));
    }
    if path.starts_with("crates/mcp-transport/src/") && !path.ends_with("/convert.rs") {
        problems.extend(both_sides(path, &code));
    }
    problems
}

/// Whether the file holds a documented item of its own name: `pulse.rs` with `struct Pulse`. Its docs say it all.
fn is_named_after_its_item(source: &Source) -> bool {
    let stem = source.path.rsplit('/').next().and_then(|name| name.strip_suffix(".rs")).unwrap_or_default();
    let mut documented = false;
    for line in source.text.lines() {
        let words: Vec<&str> = line.split([' ', '(', '<', ';']).collect();
        if let ["pub", "fn" | "struct" | "enum" | "trait", name, ..] = words.as_slice() {
            return documented && name.to_lowercase().starts_with(stem);
        }
        documented = line.starts_with("///") || (documented && line.starts_with("#["));
    }
    false
}

/// The third-party crate has the name of our module, so only an absolute path tells them apart.
fn backoff(path: &str, code: &Code) -> Problems {
    let named = |(line, _): &(usize, bool)| {
        let text = code.line(*line);
        text.contains("::backoff::")
            && !["crate::backoff::", "super::backoff::", "self::backoff::"]
                .iter()
                .any(|own| text.contains(own))
            || text.trim_start().starts_with("use backoff::")
            || text.trim_start().starts_with("extern crate backoff")
    };
    let lines = code.uses("backoff").filter(named);
    lines
        .map(|(line, _)| format!("{path}:{line}: the backoff crate is named in src/backoff.rs only"))
        .collect()
}

/// A line that names the SDK's types and ours converts between them, and conversions have one file.
fn both_sides(path: &str, code: &Code) -> Problems {
    let mut problems = Vec::new();
    for (line, in_test) in code.uses("From") {
        let text = code.line(line);
        if !in_test && text.contains("impl") && text.contains("rmcp") {
            problems.push(format!("{path}:{line}: conversions to and from rmcp live in convert.rs"));
        }
    }
    problems
}

/// A file of tests, as a whole.
fn is_test(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    parts.iter().any(|part| matches!(*part, "tests" | "benches")) || path.ends_with("/tests.rs")
}

/// Files over [`LONG`] lines, tests apart: a note, not a rule.
pub(super) fn long_files(sources: &[Source]) -> Vec<String> {
    let mut long: Vec<(usize, &str)> = sources
        .iter()
        .filter(|source| !is_test(&source.path))
        .map(|source| (Code::of(&source.text).lines_without_tests(), source.path.as_str()))
        .filter(|(lines, _)| *lines > LONG)
        .collect();
    long.sort_unstable_by(|a, b| b.cmp(a));
    long.into_iter()
        .map(|(lines, path)| format!("{path} has {lines} lines without its tests: is it two modules?"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, text: &str, complaints: &[&str]) {
        let source = Source { path: path.to_owned(), text: format!("//! About.\n{text}") };
        let problems = file(&source);
        assert_eq!(problems.len(), complaints.len(), "{path} {text:?}: {problems:#?}");
        for (problem, complaint) in problems.iter().zip(complaints) {
            assert!(problem.contains(complaint), "{problem:?} lacks {complaint:?}");
        }
    }

    #[test]
    fn a_word_in_the_wrong_place_is_found_with_its_line() {
        check("crates/mcp-client/src/client.rs", "use rmcp::model;", &["client.rs:2: `rmcp`"]);
        check("crates/mcp-transport/src/session.rs", "use rmcp::model;", &[]);
        check("crates/mcp-core/src/lib.rs", "let x = 1;\nprintln!(\"x\");", &["lib.rs:3: `println!`"]);
        check("crates/massgen-cli/src/main.rs", "println!(\"x\");", &[]);
        check("crates/mcp-core/src/lib.rs", "std::env::var(\"HOME\");", &["`env::var`"]);
        check("crates/mcp-client/src/a.rs", "Command::new(\"x\")", &["behind a Guard"]);
        check("crates/massgen-cli/src/doctor.rs", "Servers::start(&config)", &["past consent::settle"]);
        check("crates/massgen-cli/src/consent.rs", "Servers::start(&config)", &[]);
    }

    #[test]
    fn comments_strings_and_longer_names_are_not_uses() {
        let text = "// rmcp\n/* unsafe */ const A: &str = \"println!\";\nfn rmcp_like() {}\n/// ```\n/// println!(\"x\");\n/// ```\n";
        check("crates/mcp-core/src/lib.rs", text, &[]);
        check(
            "crates/mcp-core/src/lib.rs",
            "const B: &str = r#\"unsafe \"todo!\" \"#; const C: char = '\"'; // dbg!()",
            &[],
        );
    }

    #[test]
    fn tests_may_print_but_not_be_unsafe() {
        let text =
            "#[cfg(test)]\nmod tests {\n    fn f() { println!(\"{}\", 1); }\n    unsafe fn g() {}\n}\n";
        check("crates/mcp-core/src/lib.rs", text, &["lib.rs:5: `unsafe`"]);
        check("crates/mcp-core/tests/it/names.rs", "println!(\"x\");", &[]);
    }

    #[test]
    fn a_file_without_an_introduction_is_found() {
        let check = |path: &str, found: usize| {
            let source = Source { path: path.to_owned(), text: "fn f() {}\n".to_owned() };
            assert_eq!(file(&source).len(), found, "{path}");
        };
        check("crates/mcp-core/src/lib.rs", 1);
        check("crates/mcp-core/tests/it/main.rs", 1);
        check("crates/mcp-core/tests/it/names.rs", 0);
        let pulse = |text: &str| {
            file(&Source {
                path: "crates/mcp-resilience/src/timeout/pulse.rs".to_owned(),
                text: text.to_owned(),
            })
        };
        assert_eq!(
            pulse("use a::B;\n\n/// Signs of life.\n#[derive(Debug)]\npub struct Pulse(u32);\n").len(),
            0
        );
        assert_eq!(pulse("pub struct Pulse(u32);\n").len(), 1);
        assert_eq!(pulse("/// Another.\npub struct Beat;\n").len(), 1);
    }

    #[test]
    fn an_ignored_test_is_found() {
        check(
            "crates/mcp-core/src/lib.rs",
            "#[test]\n#[ignore = \"slow\"]\nfn f() {}",
            &["lib.rs:3: an ignored"],
        );
    }

    #[test]
    fn the_backoff_crate_is_told_from_our_module() {
        let path = "crates/mcp-resilience/src/retry.rs";
        check(path, "use crate::backoff::Schedule;", &[]);
        check(path, "use backoff::ExponentialBackoff;", &["retry.rs:2"]);
        check(path, "let b = ::backoff::ExponentialBackoff::default();", &["retry.rs:2"]);
        check("crates/mcp-resilience/src/backoff.rs", "use backoff::ExponentialBackoff;", &[]);
    }

    #[test]
    fn conversions_outside_their_file_are_found() {
        let text = "impl From<rmcp::model::Tool> for ToolSpec {}";
        check("crates/mcp-transport/src/session.rs", text, &["live in convert.rs"]);
        check("crates/mcp-transport/src/convert.rs", text, &[]);
    }

    #[test]
    fn tests_do_not_make_a_file_long() {
        let code = "fn f() {}\n".repeat(LONG);
        let source = |text: String| Source { path: "crates/a/src/lib.rs".to_owned(), text };
        let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", "    fn g() {}\n".repeat(100));
        assert_eq!(long_files(&[source(format!("{code}{tests}"))]).len(), 0);
        assert_eq!(long_files(&[source(format!("{code}fn f() {{}}\n{tests}"))]).len(), 1);
    }
}
