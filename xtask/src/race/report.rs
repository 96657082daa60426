//! The table, and its place in docs/performance.md.

use anyhow::{Context, Result};

use super::Suite;
use super::runner::Measured;
use crate::project;

const BEGIN: &str = "<!-- race: begin -->\n";
const END: &str = "<!-- race: end -->";

/// One line of the table.
pub(super) fn row(suite: &Suite, rounds: &[[Measured; 2]]) -> String {
    let over = |value: fn(&[Measured; 2]) -> f64| median(rounds.iter().map(value).collect());
    let figure = |value: f64| match value {
        value if value >= 100.0 => format!("{value:.0} {}", suite.unit),
        value => format!("{value:.3} {}", suite.unit),
    };
    let (ratio, cpu) =
        (over(|[ours, bare]| ours.figure / bare.figure), over(|[ours, bare]| ours.cpu / bare.cpu));
    let (wanted, wanted_cpu) = suite.targets;
    let sign = if suite.more_is_better { ">" } else { "<" };
    format!(
        "| {} | {} | {} | {} | {ratio:.2} ({sign} 1 is better) | {wanted} | {cpu:.2} | {wanted_cpu} |",
        suite.name,
        suite.what,
        figure(over(|[ours, _]| ours.figure)),
        figure(over(|[_, bare]| bare.figure)),
    )
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
        "| suite | what | ours | bare rmcp | ratio | target | processor time, ratio | target |\n|---|---|---:|---:|---:|---:|---:|---:|\n{}\n",
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
        let measured = |figure, cpu| Measured { figure, cpu };
        let rounds = [
            [measured(50.0, 1.0), measured(100.0, 4.0)],
            [measured(500.0, 1.0), measured(1000.0, 2.0)],
            [measured(90.0, 3.0), measured(100.0, 3.0)],
        ];
        let row = row(&SUITES[0], &rounds);
        assert!(row.contains("| 90.000 µs | 100 µs | 0.50 "), "{row}");
        assert!(row.contains("| 0.50 | ≤ 0.5 |"), "{row}");
    }

    #[test]
    fn only_the_text_between_the_marks_changes() {
        let page = format!("# P\n{BEGIN}old{END}\nrest\n");
        assert_eq!(replaced(&page, "new").unwrap(), format!("# P\n{BEGIN}\nnew\n{END}\nrest\n"));
        assert!(replaced("# P\n", "new").is_err());
    }
}
