//! The table, and its place in docs/performance.md.

use anyhow::{Context, Result};

use super::Figure;
use crate::process;
use crate::project;

const BEGIN: &str = "<!-- bench: begin -->\n";
const END: &str = "<!-- bench: end -->";

pub(super) fn table(figures: &[Figure]) -> String {
    let mut text = String::from("| what | measured | target |\n|---|---:|---:|\n");
    for figure in figures {
        text.push_str(&format!("| {} | {} | {} |\n", figure.what, figure.value, figure.target));
    }
    text
}

/// Replaces the table in docs/performance.md.
pub(super) fn write(table: &str) -> Result<()> {
    let path = project::root().join("docs/performance.md");
    let page = std::fs::read_to_string(&path)?;
    let block = format!("{}\n\n{table}", conditions()?);
    std::fs::write(&path, replaced(&page, &block)?)?;
    println!("written to {}", path.display());
    Ok(())
}

fn replaced(page: &str, block: &str) -> Result<String> {
    let (before, rest) = page.split_once(BEGIN).with_context(|| format!("no line `{}`", BEGIN.trim()))?;
    let (_, after) = rest.split_once(END).with_context(|| format!("no line `{END}`"))?;
    Ok(format!("{before}{BEGIN}\n{block}\n{END}{after}"))
}

/// The machine and the compiler, without which a figure means nothing.
fn conditions() -> Result<String> {
    let rustc = process::output(std::process::Command::new("rustc").arg("--version"))?;
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let model = std::fs::read_to_string("/proc/cpuinfo").ok().and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("model name"))?;
        Some(line.trim_start_matches([' ', '\t', ':']).to_owned())
    });
    let model = model.unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    Ok(format!("{model}, {cores} cores, {}, {}.", std::env::consts::OS, rustc.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_text_between_the_marks_changes() {
        let page = format!("# P\n{BEGIN}old{END}\nrest\n");
        assert_eq!(replaced(&page, "new").unwrap(), format!("# P\n{BEGIN}\nnew\n{END}\nrest\n"));
        assert!(replaced("# P\n", "new").is_err());
    }
}
