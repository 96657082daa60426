//! The strict score. A scenario passes if it ran, the client ended as it should, no check failed or warned, and each
//! check that is expected of it succeeded: nothing checked is nothing passed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

/// Scenarios in which the server or the authorization server misbehaves: the client must end with an error.
const MUST_FAIL: &[&str] = &[
    "auth/iss-normalized",
    "auth/iss-supported-missing",
    "auth/iss-unexpected",
    "auth/iss-wrong-issuer",
    "auth/metadata-issuer-mismatch",
    "auth/resource-mismatch",
    "auth/scope-retry-limit",
];

/// A set of scenarios and one of them.
type Key = (String, String);

/// One scenario as it went.
#[derive(Default)]
struct Outcome {
    succeeded: BTreeSet<String>,
    /// Checks that failed or warned.
    failed: BTreeSet<String>,
    /// The client's last words, where it ended with an error.
    error: Option<String>,
    /// Whether the client said that it ended well.
    ended: bool,
}

/// What is expected, and what came of it.
pub(super) struct Report {
    expected: BTreeMap<Key, BTreeSet<String>>,
    outcomes: BTreeMap<Key, Outcome>,
}

impl Report {
    /// Reads the results of all runs.
    pub(super) fn read(results: &Path, expected: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(expected)
            .with_context(|| format!("cannot read {}", expected.display()))?;
        let mut outcomes = BTreeMap::new();
        for set in super::RUNS.iter().map(|(set, _)| set).collect::<BTreeSet<_>>() {
            for (scenario, folder) in super::scenarios(&results.join(set))? {
                let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap_or_default();
                let outcome = outcome(&read("checks.json"), &read("stdout.txt"), &read("stderr.txt"));
                outcomes.insert((set.to_string(), scenario), outcome);
            }
        }
        Ok(Self { expected: parse(&text)?, outcomes })
    }

    /// What is wrong with one expected scenario.
    fn problem(&self, key: &Key) -> Option<String> {
        let Some(outcome) = self.outcomes.get(key) else { return Some("it did not run".to_owned()) };
        if !outcome.failed.is_empty() {
            return Some(format!("failed: {}", join(&outcome.failed)));
        }
        let missing: BTreeSet<String> = self.expected[key].difference(&outcome.succeeded).cloned().collect();
        if !missing.is_empty() {
            return Some(format!("not checked: {}", join(&missing)));
        }
        if outcome.succeeded.is_empty() {
            return Some("nothing was checked".to_owned());
        }
        match (MUST_FAIL.contains(&key.1.as_str()), &outcome.error, outcome.ended) {
            (false, Some(error), _) => Some(format!("the client ended with: {error}")),
            (false, None, false) => Some("the client did not end by itself".to_owned()),
            (true, None, _) => Some("the client should have ended with an error".to_owned()),
            _ => None,
        }
    }

    /// Passed and all scenarios, for each set.
    fn counts(&self) -> BTreeMap<&str, (usize, usize)> {
        let mut counts: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
        for key in self.expected.keys() {
            let count = counts.entry(&key.0).or_default();
            count.0 += usize::from(self.problem(key).is_none());
            count.1 += 1;
        }
        counts
    }

    /// The score for people.
    pub(super) fn text(&self) -> String {
        let mut text = String::from("\n");
        for key in self.expected.keys() {
            if let Some(problem) = self.problem(key) {
                text.push_str(&format!("FAILED {} {}: {problem}\n", key.0, key.1));
            }
        }
        for (set, (passed, all)) in self.counts() {
            text.push_str(&format!("{set:<20}{passed}/{all}\n"));
        }
        text
    }

    /// The score for programs.
    pub(super) fn json(&self) -> Value {
        let sets: serde_json::Map<String, Value> = self
            .counts()
            .into_iter()
            .map(|(set, (passed, all))| (set.to_owned(), json!({"passed": passed, "all": all})))
            .collect();
        let failures: Vec<Value> = self
            .expected
            .keys()
            .filter_map(|key| {
                let problem = self.problem(key)?;
                Some(json!({"set": key.0, "scenario": key.1, "problem": problem}))
            })
            .collect();
        json!({"sets": sets, "failures": failures})
    }

    /// An error unless everything passed.
    pub(super) fn verdict(&self) -> Result<()> {
        let failed = self.expected.keys().filter(|key| self.problem(key).is_some()).count();
        if self.expected.is_empty() {
            bail!("nothing is expected, so nothing was shown");
        }
        if failed > 0 {
            bail!("{failed} of {} scenarios failed", self.expected.len());
        }
        Ok(())
    }

    /// Writes down what succeeded in this run as what is expected from now on of the scenarios that are expected at all.
    pub(super) fn record(&self, path: &Path) -> Result<()> {
        let mut text = String::from(HEAD);
        for key in self.expected.keys() {
            let outcome = self.outcomes.get(key).filter(|outcome| outcome.failed.is_empty());
            let Some(outcome) = outcome.filter(|outcome| !outcome.succeeded.is_empty()) else {
                bail!("{} {} did not pass: nothing is recorded", key.0, key.1);
            };
            text.push_str(&format!("{} {}: {}\n", key.0, key.1, join(&outcome.succeeded)));
        }
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
    }
}

const HEAD: &str = "\
# The checks that must succeed, for each set and scenario. Written by `cargo xtask conformance --record`.
";

fn join(words: &BTreeSet<String>) -> String {
    words.iter().map(String::as_str).collect::<Vec<_>>().join(" ")
}

fn parse(text: &str) -> Result<BTreeMap<Key, BTreeSet<String>>> {
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let entry = line.split_once(": ").and_then(|(key, checks)| Some((key.split_once(' ')?, checks)));
            let ((set, scenario), checks) = entry.with_context(|| format!("cannot understand {line:?}"))?;
            let checks = checks.split(' ').map(str::to_owned).collect();
            Ok(((set.to_owned(), scenario.to_owned()), checks))
        })
        .collect()
}

fn outcome(checks: &str, stdout: &str, stderr: &str) -> Outcome {
    let checks: Vec<Value> = serde_json::from_str(checks).unwrap_or_default();
    let with = |statuses: &[&str]| -> BTreeSet<String> {
        checks
            .iter()
            .filter(|check| statuses.contains(&check["status"].as_str().unwrap_or_default()))
            .filter_map(|check| check["id"].as_str().map(str::to_owned))
            .collect()
    };
    Outcome {
        succeeded: with(&["SUCCESS"]),
        failed: with(&["FAILURE", "WARNING"]),
        error: stderr.lines().find_map(|line| line.strip_prefix("error: ")).map(str::to_owned),
        ended: stdout.lines().last() == Some("ended well"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(expected: &str, outcomes: Vec<(&str, Outcome)>) -> Report {
        let outcomes = outcomes
            .into_iter()
            .map(|(name, outcome)| (("set".to_owned(), name.to_owned()), outcome))
            .collect();
        Report { expected: parse(expected).unwrap(), outcomes }
    }

    fn checks(list: &[(&str, &str)]) -> String {
        let list: Vec<Value> = list.iter().map(|(id, status)| json!({"id": id, "status": status})).collect();
        Value::from(list).to_string()
    }

    #[test]
    fn only_a_scenario_that_ran_and_ended_well_passes() {
        let good = checks(&[("one", "SUCCESS"), ("two", "SUCCESS"), ("three", "INFO")]);
        let warned = checks(&[("one", "SUCCESS"), ("two", "SUCCESS"), ("three", "WARNING")]);
        let cases = [
            (good.as_str(), "ended well\n", "", None),
            (&good, "", "error: no\n", Some("ended with: no")),
            (&good, "", "", Some("did not end by itself")),
            (&warned, "ended well\n", "", Some("failed: three")),
            ("[]", "ended well\n", "", Some("not checked: one two")),
            ("", "ended well\n", "", Some("not checked: one two")),
        ];
        for (checks, stdout, stderr, expected) in cases {
            let report = report("set name: one two\n", vec![("name", outcome(checks, stdout, stderr))]);
            let problem = report.problem(&("set".to_owned(), "name".to_owned()));
            match expected {
                None => assert_eq!(problem, None),
                Some(part) => assert!(problem.as_ref().unwrap().contains(part), "{problem:?}"),
            }
            assert_eq!(report.verdict().is_ok(), expected.is_none());
        }
    }

    #[test]
    fn what_did_not_run_failed_and_nothing_expected_is_an_error() {
        let missing = report("set name: one\n", Vec::new());
        assert!(missing.text().contains("FAILED set name: it did not run"), "{}", missing.text());
        assert_eq!(missing.json()["sets"]["set"], json!({"passed": 0, "all": 1}));
        assert!(report("# nothing\n", Vec::new()).verdict().is_err());
    }

    #[test]
    fn a_client_that_is_content_with_a_forged_issuer_fails() {
        let good = checks(&[("one", "SUCCESS")]);
        let expected = "set auth/iss-wrong-issuer: one\n";
        let content = report(expected, vec![("auth/iss-wrong-issuer", outcome(&good, "ended well\n", ""))]);
        assert!(content.verdict().is_err());
        let wary = report(expected, vec![("auth/iss-wrong-issuer", outcome(&good, "", "error: no\n"))]);
        assert!(wary.verdict().is_ok());
    }

    #[test]
    fn the_list_of_expectations_is_complete() {
        let expected = parse(include_str!("expected.txt")).unwrap();
        let count = |set: &str| expected.keys().filter(|key| key.0 == set).count();
        assert_eq!(
            [count("2025-11-25"), count("2026-07-28"), count("backcompat"), count("extensions")],
            [18, 32, 2, 3]
        );
    }
}
