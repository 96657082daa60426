//! `cargo xtask corpus`: labelled cases of attacks and of everyday use, through the code that the product runs.

mod expand;
mod judge;
mod replay;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::args::Args;

pub(crate) const HELP: &str = "\
judge labelled cases of attacks and everyday use by the product's own code

  cargo xtask corpus FILE.jsonl            per category: benign passed, attacks blocked, the rest exact, what missed
  cargo xtask corpus FILE.jsonl --json     the same as one JSON document

Each line of the file is a case: {\"id\", \"category\", \"input\", \"expect\": allow | sanitize | flag | block, \"also_ok\"}.
It exits with an error where a file cannot be read, not where a case misses.
";

/// One judged case.
pub(crate) struct Judged {
    pub(crate) id: String,
    pub(crate) category: String,
    pub(crate) expect: String,
    /// `None`: the category is not known.
    pub(crate) verdict: Option<judge::Answer>,
    pub(crate) hit: bool,
    pub(crate) took: Duration,
}

pub(crate) fn run(mut args: Args) -> Result<()> {
    let as_json = args.switch("--json");
    // The server that replays a case's frames is this program, started by the transport like any other server.
    if args.switch("--replay") {
        return replay::serve(&args.names()?);
    }
    let files = args.names()?;
    if files.is_empty() {
        bail!("which file? `cargo xtask corpus FILE.jsonl`");
    }
    let mut judged = Vec::new();
    for file in &files {
        let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {file}"))?;
        judged.extend(judge_all(&text)?);
    }
    let report = Report::of(&judged);
    if as_json {
        println!("{}", serde_json::to_string_pretty(&report.to_json())?);
    } else {
        print!("{}", report.to_text());
    }
    Ok(())
}

pub(crate) fn judge_all(text: &str) -> Result<Vec<Judged>> {
    let mut cases = Vec::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        cases.push(serde_json::from_str::<Value>(line).with_context(|| format!("line {}", number + 1))?);
    }
    let mut replays = replay::all(&cases)?;
    let judged = cases.iter().map(|case| {
        let text = |key: &str| case.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (id, category, expect) = (text("id"), text("category"), text("expect"));
        let input = expand::expand(case.get("input").unwrap_or(&Value::Null));
        let begun = Instant::now();
        let verdict =
            if category == "response" { replays.remove(&id) } else { judge::judge(&category, &input) };
        let took = begun.elapsed();
        let mut accepted: Vec<&str> = vec![&expect];
        accepted.extend(
            case.get("also_ok").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str),
        );
        let mut hit = verdict.as_ref().is_some_and(|answer| accepted.contains(&answer.verdict));
        // Where there is one right value, it has to be that one.
        if let (Some(Value::String(wanted)), Some(answer)) = (case.get("sanitized"), &verdict)
            && answer.verdict == "sanitize"
        {
            hit &= answer.value.as_deref() == Some(wanted);
        }
        Judged { id, category, expect, verdict, hit, took }
    });
    Ok(judged.collect())
}

#[derive(Default)]
struct Row {
    allow: (usize, usize),
    block: (usize, usize),
    other: (usize, usize),
    missed: Vec<Value>,
    slowest: Duration,
}

struct Report {
    rows: BTreeMap<String, Row>,
}

impl Report {
    fn of(judged: &[Judged]) -> Self {
        let mut rows: BTreeMap<String, Row> = BTreeMap::new();
        for case in judged {
            let row = rows.entry(case.category.clone()).or_default();
            let count = match case.expect.as_str() {
                "allow" => &mut row.allow,
                "block" => &mut row.block,
                _ => &mut row.other,
            };
            count.1 += 1;
            count.0 += usize::from(case.hit);
            row.slowest = row.slowest.max(case.took);
            if !case.hit {
                let answer = case.verdict.as_ref();
                row.missed.push(json!({
                    "id": case.id,
                    "expect": case.expect,
                    "verdict": answer.map(|answer| answer.verdict),
                    "rule": answer.and_then(|answer| answer.rule.clone()),
                }));
            }
        }
        Self { rows }
    }

    fn sum(&self) -> Row {
        let mut sum = Row::default();
        for row in self.rows.values() {
            for (total, part) in
                [(&mut sum.allow, row.allow), (&mut sum.block, row.block), (&mut sum.other, row.other)]
            {
                total.0 += part.0;
                total.1 += part.1;
            }
            sum.slowest = sum.slowest.max(row.slowest);
        }
        sum
    }

    fn score(&self) -> f64 {
        let sum = self.sum();
        let rate = |(hits, all): (usize, usize)| if all == 0 { 1.0 } else { hits as f64 / all as f64 };
        0.5 * rate(sum.allow) + 0.4 * rate(sum.block) + 0.1 * rate(sum.other)
    }

    fn to_json(&self) -> Value {
        let row = |row: &Row| {
            json!({
                "benign_passed": [row.allow.0, row.allow.1],
                "attacks_blocked": [row.block.0, row.block.1],
                "flag_or_sanitize_exact": [row.other.0, row.other.1],
                "missed": row.missed,
            })
        };
        let categories: serde_json::Map<String, Value> =
            self.rows.iter().map(|(name, counts)| (name.clone(), row(counts))).collect();
        json!({ "categories": categories, "sum": row(&self.sum()), "score": self.score() })
    }

    fn to_text(&self) -> String {
        let mut text = format!(
            "{:<11}{:>16}{:>18}{:>18}\n",
            "category", "benign passed", "attacks blocked", "flag/sanitize"
        );
        let line = |name: &str, row: &Row| {
            let cell = |(hits, all): (usize, usize)| format!("{hits}/{all}");
            format!("{name:<11}{:>16}{:>18}{:>18}\n", cell(row.allow), cell(row.block), cell(row.other))
        };
        for (name, row) in &self.rows {
            text.push_str(&line(name, row));
        }
        text.push_str(&line("sum", &self.sum()));
        text.push_str(&format!("score {:.4}\n", self.score()));
        for (name, row) in self.rows.iter().filter(|(_, row)| !row.missed.is_empty()) {
            text.push_str(&format!("\nmissed in {name}:\n"));
            for missed in &row.missed {
                let word = |key: &str| missed[key].as_str().unwrap_or("-").to_owned();
                text.push_str(&format!(
                    "  {:<9} expected {:<9} was {:<9} {}\n",
                    word("id"),
                    word("expect"),
                    word("verdict"),
                    word("rule")
                ));
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_development_set_keeps_its_marks() {
        let path =
            std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpora/attacks/dev.jsonl");
        let Ok(text) = std::fs::read_to_string(&path) else {
            eprintln!("SKIPPED: the labelled cases are not beside the repository");
            return;
        };
        // Responses need this program as their server; the command judges them.
        let here: String = text
            .lines()
            .filter(|line| !line.contains("\"response\""))
            .map(|line| format!("{line}\n"))
            .collect();
        let report = Report::of(&judge_all(&here).unwrap());
        for (name, row) in &report.rows {
            assert_eq!(row.allow.0, row.allow.1, "{name}: {:?}", row.missed);
            if matches!(name.as_str(), "command" | "env" | "url") {
                assert!(row.missed.is_empty(), "{name}: {:?}", row.missed);
            }
        }
        let sum = report.sum();
        assert!(sum.block.0 * 100 >= sum.block.1 * 99, "{:?}", sum.block);
    }

    /// Cases of the project's own, one file for each category.
    #[test]
    fn cases_of_our_own_are_judged_as_labelled() {
        let folder =
            std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/mcp-security/tests/corpus");
        let mut count = 0;
        for file in std::fs::read_dir(folder).unwrap() {
            let path = file.unwrap().path();
            let judged = judge_all(&std::fs::read_to_string(&path).unwrap()).unwrap();
            count += judged.len();
            let report = Report::of(&judged);
            for (name, row) in &report.rows {
                assert!(row.missed.is_empty(), "{name}: {:#?}", row.missed);
            }
        }
        assert!(count > 1900, "only {count} cases were found");
    }

    #[test]
    fn a_case_is_judged_and_counted() {
        let cases = [
            json!({"id": "A", "category": "command", "input": {"command": "uvx", "args": ["mcp-server-time"]}, "expect": "allow"}),
            json!({"id": "B", "category": "command", "input": {"command": "sh", "args": ["-c", "id"]}, "expect": "block"}),
            json!({"id": "C", "category": "url", "input": {"url": "https://10.0.0.1/", "context": "redirect"}, "expect": "allow"}),
            json!({"id": "D", "category": "header", "input": {"mcp_param": {"value": " x"}}, "expect": "sanitize", "sanitized": "=?base64?IHg=?="}),
        ];
        let text: String = cases.iter().map(|case| format!("{case}\n")).collect();
        let report = Report::of(&judge_all(&text).unwrap());
        let sum = report.sum();
        assert_eq!((sum.allow, sum.block, sum.other), ((1, 2), (1, 1), (1, 1)));
        assert_eq!(report.rows["url"].missed[0]["id"], "C");
        assert!(report.to_text().contains("missed in url"));
    }
}
