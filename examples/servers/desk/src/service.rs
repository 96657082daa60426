//! The desk as a tool service.

use std::sync::Arc;

use jiff::Timestamp;
use mcp_core::{BoxFuture, Catalogue, Content, JsonObject, ToolCall, ToolError, ToolOutput, ToolService};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::clock::{Clock, Now};
use crate::{Notes, calculate, number, tools, units};

/// The desk: a clock, a calculator, a table of units, and notes.
#[derive(Debug)]
pub struct Desk {
    catalogue: Arc<Catalogue>,
    clock: Clock,
    notes: Notes,
}

impl Desk {
    /// A desk with these notes on it.
    ///
    /// # Errors
    ///
    /// A name of a tool is not legal; that would be a fault of this program.
    pub fn new(notes: Notes) -> Result<Self, mcp_core::NameError> {
        Self::with_clock(notes, Timestamp::now)
    }

    /// A desk whose clock reads the present from `now`.
    ///
    /// # Errors
    ///
    /// As [`Desk::new`].
    pub fn with_clock(notes: Notes, now: Now) -> Result<Self, mcp_core::NameError> {
        Ok(Self { catalogue: Arc::new(tools::catalogue()?), clock: Clock::new(now), notes })
    }

    async fn run(&self, tool: &str, arguments: JsonObject) -> Result<Value, String> {
        match tool {
            "now" => {
                let Zone { zone } = read(arguments)?;
                self.clock.now(zone.as_deref())
            }
            "convert_time" => {
                let ConvertTime { time, from, to, add } = read(arguments)?;
                self.clock.convert(&time, &from, &to, add.as_deref())
            }
            "calculate" => {
                let Calculate { expression, digits } = read(arguments)?;
                let exact = number::tidy(calculate::evaluate(&expression)?);
                let value = digits.map_or(exact, |digits| number::round(exact, digits));
                let text = format!("{expression} = {}", number::text(value));
                Ok(json!({"value": number::json(value), "text": text}))
            }
            "convert" => {
                let Convert { value, from, to, digits } = read(arguments)?;
                let converted = units::convert(value, &from, &to, digits)?;
                Ok(json!({
                    "value": number::json(converted.value),
                    "unit": converted.unit,
                    "text": converted.text,
                }))
            }
            "note_write" => {
                let NoteWrite { name, text } = read(arguments)?;
                let replaced = self.notes.write(&name, &text).await?;
                Ok(json!({"name": name.trim(), "replaced": replaced}))
            }
            "note_list" => {
                let Nothing {} = read(arguments)?;
                let notes = self.notes.list().await;
                let notes: Vec<Value> = notes
                    .into_iter()
                    .map(|(name, characters)| json!({"name": name, "characters": characters}))
                    .collect();
                Ok(json!({"notes": notes}))
            }
            "note_read" => {
                let NoteRead { name } = read(arguments)?;
                let text = self.notes.read(&name).await?;
                Ok(json!({"name": name.trim(), "text": text}))
            }
            other => Err(format!("there is no tool {other:?}")),
        }
    }
}

impl ToolService for Desk {
    fn catalogue(&self) -> Arc<Catalogue> {
        self.catalogue.clone()
    }

    fn call(&self, call: ToolCall) -> BoxFuture<'_, Result<ToolOutput, ToolError>> {
        Box::pin(async move {
            let tool = match self
                .catalogue
                .find(&call.tool)
                .or_else(|| self.catalogue.find_on(tools::SERVER, &call.tool))
            {
                Some(entry) => entry.spec.name.clone(),
                None => return Err(ToolError::unknown_tool(call.tool, &self.catalogue)),
            };
            // Wrong input is the tool's answer, not a protocol error: the model reads it and tries again.
            Ok(match self.run(tool.as_str(), call.arguments).await {
                // The text is the same as JSON, for clients that know no structured results.
                Ok(value) => ToolOutput::new(vec![Content::text(value.to_string())], Some(value), false),
                Err(problem) => ToolOutput::error(problem),
            })
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Zone {
    zone: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ConvertTime {
    time: String,
    from: String,
    to: String,
    add: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Calculate {
    expression: String,
    digits: Option<i32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Convert {
    value: f64,
    from: String,
    to: String,
    digits: Option<i32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NoteWrite {
    name: String,
    text: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NoteRead {
    name: String,
}

fn read<T: DeserializeOwned>(arguments: JsonObject) -> Result<T, String> {
    serde_json::from_value(Value::Object(arguments))
        .map_err(|error| format!("the arguments do not fit: {error}"))
}
