//! The table, and its place in docs/performance.md.

use anyhow::{Context, Result};

use super::runner::Measured;
use super::{Rival, Suite};
use crate::project;

const BEGIN: &str = "<!-- race: begin -->\n";
const END: &str = "<!-- race: end -->";

/// One line of the table.
pub(super) fn row(suite: &Suite, rounds: &[[Measured; 2]]) -> String {
    let over = |value: &dyn Fn(&[Measured; 2]) -> f64| median(rounds.iter().map(value).collect());
    let figure = |value: f64| match value {
        value if value >= 100.0 => format!("{value:.0} {}", suite.figure.unit),
        value => format!("{value:.3} {}", suite.figure.unit),
    };
    let memory = |at: usize| over(&|pair| pair[at].memory.unwrap_or(f64::NAN));
    let memory = match suite.memory {
        Some(most) => {
            format!("{}, rival {:.1} MB", judged(memory(0), " MB", '≤', Some(most)), memory(1))
        }
        None => String::new(),
    };
    let (wanted, wanted_cpu) = suite.targets;
    let sign = if suite.figure.more_is_better { '≥' } else { '≤' };
    format!(
        "| {} | {} | {} | {} {} | {} | {} | {memory} |",
        suite.name,
        suite.what,
        figure(over(&|[ours, _]| ours.figure)),
        figure(over(&|[_, rival]| rival.figure)),
        match suite.rival {
            Rival::Bare => "(rmcp)",
            Rival::Floor => "(floor)",
        },
        judged(over(&|[ours, rival]| ours.figure / rival.figure), "", sign, wanted),
        judged(over(&|[ours, rival]| ours.cpu / rival.cpu), "", '≤', wanted_cpu),
    )
}

/// A value beside its target.
fn judged(value: f64, unit: &str, sign: char, target: Option<f64>) -> String {
    if value.is_nan() {
        return String::new();
    }
    let value_text = if unit.is_empty() { format!("{value:.2}") } else { format!("{value:.1}{unit}") };
    let Some(target) = target else { return value_text };
    let met = if sign == '≥' { value >= target } else { value <= target };
    if met {
        format!("{value_text} ({sign} {target})")
    } else {
        format!("**{value_text}** ({sign} {target}, missed)")
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[n / 2],
        n => f64::midpoint(values[n / 2 - 1], values[n / 2]),
    }
}

pub(super) fn table(rows: &[String]) -> String {
    format!(
        "| suite | what | ours | rival | ratio | processor time, ratio | memory |\n|---|---|---:|---:|---:|---:|---:|\n{}\n",
        rows.join("\n")
    )
}

/// Replaces the table in docs/performance.md.
pub(super) fn write(table: &str) -> Result<()> {
    let path = project::root().join("docs/performance.md");
    let page = std::fs::read_to_string(&path)?;
    std::fs::write(&path, replaced(&page, table)?)?;
    println!("written to {}", path.display());
    Ok(())
}

fn replaced(page: &str, table: &str) -> Result<String> {
    let (before, rest) = page.split_once(BEGIN).with_context(|| format!("no line `{}`", BEGIN.trim()))?;
    let (_, after) = rest.split_once(END).with_context(|| format!("no line `{END}`"))?;
    Ok(format!("{before}{BEGIN}\n{table}\n{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::race::SUITES;

    #[test]
    fn ratios_are_taken_within_a_round() {
        let measured = |figure, cpu| Measured { figure, cpu, memory: None };
        let rounds = [
            [measured(50.0, 1.0), measured(100.0, 4.0)],
            [measured(500.0, 1.0), measured(1000.0, 2.0)],
            [measured(90.0, 3.0), measured(100.0, 3.0)],
        ];
        let row = row(&SUITES[0], &rounds);
        assert!(row.contains("| 90.000 µs | 100 µs (rmcp) | 0.50 (≤ 0.75) | 0.50 (≤ 0.5) |"), "{row}");
    }

    #[test]
    fn a_target_that_is_missed_says_so() {
        assert_eq!(judged(0.5, "", '≤', Some(0.4)), "**0.50** (≤ 0.4, missed)");
        assert_eq!(judged(1.5, "", '≥', Some(1.1)), "1.50 (≥ 1.1)");
        assert_eq!(judged(9.0, " MB", '≤', Some(12.0)), "9.0 MB (≤ 12)");
        assert_eq!(judged(f64::NAN, "", '≤', Some(1.0)), "");
    }

    #[test]
    fn only_the_text_between_the_marks_changes() {
        let page = format!("# P\n{BEGIN}old{END}\nrest\n");
        assert_eq!(replaced(&page, "new").unwrap(), format!("# P\n{BEGIN}\nnew\n{END}\nrest\n"));
        assert!(replaced("# P\n", "new").is_err());
    }
}
