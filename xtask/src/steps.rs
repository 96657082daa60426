//! A command made of steps: each is timed, a failure does not hide the later ones, and a table sums up.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// What became of a step.
enum Outcome {
    Passed,
    Failed(String),
    Skipped(String),
}

/// The steps so far.
#[derive(Default)]
pub(crate) struct Steps {
    rows: Vec<(String, Outcome, Duration)>,
}

impl Steps {
    /// Runs a step and says whether it passed.
    pub(crate) fn run(&mut self, name: &str, step: impl FnOnce() -> Result<()>) -> bool {
        println!("\n=== {name} ===");
        let start = Instant::now();
        let outcome = match step() {
            Ok(()) => Outcome::Passed,
            Err(error) => {
                println!("{name} FAILED: {error:#}");
                Outcome::Failed(format!("{error:#}"))
            }
        };
        let passed = matches!(outcome, Outcome::Passed);
        self.rows.push((name.to_owned(), outcome, start.elapsed()));
        passed
    }

    /// Notes a step that cannot run here, and why.
    pub(crate) fn skip(&mut self, name: &str, why: &str) {
        println!("\n=== {name} ===\n{name} SKIPPED: {why}");
        self.rows.push((name.to_owned(), Outcome::Skipped(why.to_owned()), Duration::ZERO));
    }

    /// Prints the table; fails if a step failed.
    pub(crate) fn finish(self) -> Result<()> {
        print!("{}", self.table());
        let failed = self.count(|outcome| matches!(outcome, Outcome::Failed(_)));
        if failed > 0 {
            bail!("{failed} of {} steps failed", self.rows.len());
        }
        Ok(())
    }

    fn count(&self, is: impl Fn(&Outcome) -> bool) -> usize {
        self.rows.iter().filter(|(_, outcome, _)| is(outcome)).count()
    }

    fn table(&self) -> String {
        let mut text = String::from("\n");
        let width = self.rows.iter().map(|(name, ..)| name.len()).max().unwrap_or_default();
        for (name, outcome, duration) in &self.rows {
            let (word, why) = match outcome {
                Outcome::Passed => ("passed", ""),
                Outcome::Failed(why) => ("FAILED", why.lines().next().unwrap_or_default()),
                Outcome::Skipped(why) => ("skipped", why.as_str()),
            };
            let line = format!("{name:<width$}  {word:<7} {:>7.1} s  {why}", duration.as_secs_f64());
            text.push_str(line.trim_end());
            text.push('\n');
        }
        let total: Duration = self.rows.iter().map(|(.., duration)| *duration).sum();
        text.push_str(&format!("{:<width$}  {:<7} {:>7.1} s\n\n", "total", "", total.as_secs_f64()));
        let passed = self.count(|outcome| matches!(outcome, Outcome::Passed));
        let failed = self.count(|outcome| matches!(outcome, Outcome::Failed(_)));
        let skipped = self.count(|outcome| matches!(outcome, Outcome::Skipped(_)));
        text.push_str(&format!("{passed} passed, {failed} failed"));
        if skipped > 0 {
            text.push_str(&format!(", {skipped} skipped"));
        }
        text.push('\n');
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_step_does_not_hide_the_next() {
        let mut steps = Steps::default();
        assert!(steps.run("one", || Ok(())));
        assert!(!steps.run("two", || bail!("no\nmore lines")));
        assert!(steps.run("three", || Ok(())));
        steps.skip("four", "not here");
        let table = steps.table();
        assert!(table.ends_with("\n2 passed, 1 failed, 1 skipped\n"), "{table}");
        assert!(table.contains("two    FAILED"), "{table}");
        assert!(steps.finish().is_err());
    }
}
