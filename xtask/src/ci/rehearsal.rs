//! The README's first command, as a newcomer without any account would run it, and what it must leave behind.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::demo;
use crate::process;
use crate::project;

/// With one of these set, a provider would play the models.
const KEYS: [&str; 14] = [
    "OPENAI_API_KEY",
    "ANTHROPIC_API_KEY",
    "GOOGLE_API_KEY",
    "GEMINI_API_KEY",
    "XAI_API_KEY",
    "ZAI_API_KEY",
    "AZURE_OPENAI_API_KEY",
    "AZURE_OPENAI_ENDPOINT",
    "CEREBRAS_API_KEY",
    "TOGETHER_API_KEY",
    "FIREWORKS_API_KEY",
    "GROQ_API_KEY",
    "NEBIUS_API_KEY",
    "OPENROUTER_API_KEY",
];

pub(super) fn check() -> Result<()> {
    let before = logs()?;
    let mut command = demo::demo()?;
    process::run(without_keys(&mut command))?;
    let new: Vec<PathBuf> = logs()?.difference(&before).cloned().collect();
    let [log] = new.as_slice() else { bail!("the run left {} log directories, expected one", new.len()) };
    let calls = successful_calls(&log.join("events.jsonl"))?;
    println!("\n{calls} tool calls answered, in {}", log.display());
    Ok(())
}

/// Takes the keys away, so that the models are played from the script.
pub(crate) fn without_keys(command: &mut Command) -> &mut Command {
    for key in KEYS {
        command.env_remove(key);
    }
    command
}

fn logs() -> Result<BTreeSet<PathBuf>> {
    let folder = project::root().join("massgen_logs");
    if !folder.is_dir() {
        return Ok(BTreeSet::new());
    }
    let entries = std::fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
    // `latest` and its like are links into the same folder.
    let own = entries
        .filter_map(|entry| entry.ok())
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    Ok(own.map(|entry| entry.path()).collect())
}

/// How many tool calls the run's record shows as answered. A run that is not whole is an error.
fn successful_calls(file: &Path) -> Result<usize> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    judge(&text).with_context(|| format!("{}", file.display()))
}

fn judge(events: &str) -> Result<usize> {
    let events: Vec<Value> = events
        .lines()
        .enumerate()
        .map(|(index, line)| serde_json::from_str(line).with_context(|| format!("line {}", index + 1)))
        .collect::<Result<_>>()?;
    let last = events.last().context("no events")?;
    if last["type"] != "run_finished" || last["outcome"] != "answered" {
        bail!("the run ended with {last}");
    }
    let ok = |event: &&Value| event["type"] == "tool_finished" && event["status"] == "ok";
    match events.iter().filter(ok).count() {
        0 => bail!("no tool call was answered"),
        calls => Ok(calls),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_counts_only_when_whole_and_with_tools() {
        let tool = r#"{"type":"tool_finished","status":"ok"}"#;
        let failed = r#"{"type":"tool_finished","status":"failed"}"#;
        let end = r#"{"type":"run_finished","outcome":"answered"}"#;
        let check = |lines: &[&str]| judge(&lines.join("\n")).ok();
        assert_eq!(check(&[tool, failed, tool, end]), Some(2));
        assert_eq!(check(&[failed, end]), None);
        assert_eq!(check(&[tool]), None);
        assert_eq!(check(&[tool, r#"{"type":"run_finished","outcome":"no_answer"}"#]), None);
        assert_eq!(check(&[]), None);
        assert_eq!(check(&[tool, "{", end]), None);
    }
}
