//! ARCHITECTURE.md against the code: its table is the table of layers, and the tests it names exist.

use super::layers::LAYERS;
use super::{Problems, Source};

const BEGIN: &str = "<!-- layers: begin -->\n";
const END: &str = "<!-- layers: end -->";

pub(super) fn check(document: &str, sources: &[Source]) -> Problems {
    let mut problems = Vec::new();
    let table =
        document.split_once(BEGIN).and_then(|(_, rest)| rest.split_once(END)).map(|(table, _)| table.trim());
    if table != Some(table_of_layers().trim()) {
        problems.push(format!(
            "ARCHITECTURE.md: the table between `{}` and `{END}` is not the one in xtask/src/tidy/layers.rs:\n{}",
            BEGIN.trim(),
            table_of_layers()
        ));
    }
    let named = tests_named(document);
    if named.is_empty() {
        problems.push("ARCHITECTURE.md: no invariant names its test".to_owned());
    }
    for (krate, test) in named {
        if !sources.iter().any(|source| is_of(source, krate) && has_test(&source.text, test)) {
            problems.push(format!("ARCHITECTURE.md: there is no test `{test}` in {krate}"));
        }
    }
    problems
}

fn table_of_layers() -> String {
    let mut text = String::from("| crate | layer | may depend on, inside the workspace |\n|---|---|---|\n");
    for layer in LAYERS {
        let level = layer.level.map_or("-".to_owned(), |level| level.to_string());
        let uses = if layer.may_use.is_empty() { "nothing".to_owned() } else { layer.may_use.join(", ") };
        text.push_str(&format!("| {} | {level} | {uses} |\n", layer.name));
    }
    text
}

/// Code such as `` `mcp-core: names_are_reversible` ``: a crate of the table, and a test of it.
fn tests_named(document: &str) -> Vec<(&str, &str)> {
    let code = document.lines().flat_map(|line| line.split('`').skip(1).step_by(2));
    let named = code.filter_map(|code| code.split_once(": "));
    named.filter(|(krate, _)| LAYERS.iter().any(|layer| layer.name == *krate)).collect()
}

fn is_of(source: &Source, krate: &str) -> bool {
    let folder = source.path.strip_prefix("crates/").unwrap_or(&source.path);
    folder.strip_prefix(krate).is_some_and(|rest| rest.starts_with('/'))
}

fn has_test(text: &str, test: &str) -> bool {
    let start = format!("fn {test}(");
    text.match_indices(&start).any(|(at, _)| {
        let before: Vec<&str> = text[..at].lines().rev().take(8).collect();
        before
            .iter()
            .any(|line| line.contains("#[test]") || line.contains("::test") || line.contains("proptest!"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Vec<Source> {
        vec![Source { path: "crates/mcp-core/src/names.rs".to_owned(), text: text.to_owned() }]
    }

    #[test]
    fn a_table_that_differs_is_found() {
        let document = |table: &str| format!("# A\n{BEGIN}{table}{END}\nTest: `mcp-core: works`\n");
        let sources = source("#[test]\nfn works() {}");
        assert_eq!(check(&document(&table_of_layers()), &sources), Problems::new());
        assert_eq!(check(&document("| a |\n"), &sources).len(), 1);
    }

    #[test]
    fn a_test_that_does_not_exist_is_found() {
        let document =
            format!("{BEGIN}{}{END}\n   Tests: `mcp-core: works`, `mcp-core: gone`\n", table_of_layers());
        let problems = check(&document, &source("#[tokio::test]\nasync fn works() {}\nfn gone() {}\n"));
        assert_eq!(problems.len(), 0, "a test is near: {problems:?}");
        let problems = check(&document, &source("#[test]\nfn works() {}\n"));
        assert_eq!(problems, ["ARCHITECTURE.md: there is no test `gone` in mcp-core"]);
    }
}
