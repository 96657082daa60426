//! The library as a tool service.

use std::sync::Arc;

use mcp_core::{
    Annotations, BoxFuture, Catalogue, Content, JsonObject, NameError, ServerName, ToolCall, ToolError,
    ToolFilter, ToolName, ToolOutput, ToolService, ToolSpec,
};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::{Collection, Index};

/// The library's name, in the exposed names of its tools.
const SERVER: &str = "library";
const MOST_HITS: usize = 20;
const MOST_LINES: usize = 500;

/// A library: a collection and its index.
#[derive(Debug)]
pub struct Library {
    catalogue: Arc<Catalogue>,
    collection: Collection,
    index: Index,
}

impl Library {
    /// Opens a library of this collection.
    ///
    /// # Errors
    ///
    /// A name of a tool is not legal; that would be a fault of this program.
    pub fn new(collection: Collection) -> Result<Self, NameError> {
        let index = Index::new(&collection);
        Ok(Self { catalogue: Arc::new(catalogue()?), collection, index })
    }

    fn run(&self, tool: &str, arguments: JsonObject) -> Result<Value, String> {
        match tool {
            "search" => self.search(&read(arguments)?),
            "read" => self.read(&read(arguments)?),
            "list" => {
                let Nothing {} = read(arguments)?;
                let texts = self.collection.texts().iter();
                let texts: Vec<Value> = texts
                    .map(|text| json!({"id": text.id, "title": text.title, "lines": text.lines.len()}))
                    .collect();
                Ok(json!({"texts": texts}))
            }
            other => Err(format!("there is no tool {other:?}")),
        }
    }

    fn search(&self, Search { query, limit }: &Search) -> Result<Value, String> {
        if query.trim().is_empty() {
            return Err("the query is empty; give a few words to look for".to_owned());
        }
        let limit = limit.unwrap_or(5).clamp(1, MOST_HITS);
        let hits = self.index.search(&self.collection, query, limit);
        let hits: Vec<Value> = hits
            .into_iter()
            .map(|hit| {
                json!({
                    "id": hit.text.id,
                    "title": hit.text.title,
                    "line": hit.line,
                    "passage": hit.passage,
                    "score": (hit.score * 1000.0).round() / 1000.0,
                })
            })
            .collect();
        Ok(json!({"hits": hits}))
    }

    fn read(&self, Read { id, from, lines }: &Read) -> Result<Value, String> {
        let text = self.collection.find(id.trim()).ok_or_else(|| {
            let ids: Vec<&str> =
                self.collection.texts().iter().map(|text| text.id.as_str()).take(50).collect();
            format!("there is no text {id:?}; there are: {}", ids.join(", "))
        })?;
        let total = text.lines.len();
        let from = from.unwrap_or(1).max(1);
        if from > total {
            return Err(format!("{:?} has {total} lines; there is no line {from}", text.id));
        }
        let count = lines.unwrap_or(MOST_LINES).clamp(1, MOST_LINES);
        let wanted: Vec<&str> = text.lines.iter().skip(from - 1).take(count).map(String::as_str).collect();
        Ok(json!({
            "id": text.id,
            "title": text.title,
            "from": from,
            "lines": wanted.len(),
            "total_lines": total,
            "text": wanted.join("\n"),
        }))
    }
}

impl ToolService for Library {
    fn catalogue(&self) -> Arc<Catalogue> {
        self.catalogue.clone()
    }

    fn call(&self, call: ToolCall) -> BoxFuture<'_, Result<ToolOutput, ToolError>> {
        Box::pin(async move {
            let tool = match self
                .catalogue
                .find(&call.tool)
                .or_else(|| self.catalogue.find_on(SERVER, &call.tool))
            {
                Some(entry) => entry.spec.name.clone(),
                None => return Err(ToolError::unknown_tool(call.tool, &self.catalogue)),
            };
            // Wrong input is the tool's answer, not a protocol error: the model reads it and tries again.
            Ok(match self.run(tool.as_str(), call.arguments) {
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
struct Search {
    query: String,
    limit: Option<usize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Read {
    id: String,
    from: Option<usize>,
    lines: Option<usize>,
}

fn read<T: DeserializeOwned>(arguments: JsonObject) -> Result<T, String> {
    serde_json::from_value(Value::Object(arguments))
        .map_err(|error| format!("the arguments do not fit: {error}"))
}

fn catalogue() -> Result<Catalogue, NameError> {
    let server = ServerName::new(SERVER)?;
    // The collection is read once at start, so the same question has the same answer for as long as the server lives.
    let annotations = Annotations {
        read_only_hint: Some(true),
        idempotent_hint: Some(true),
        open_world_hint: Some(false),
        ..Annotations::default()
    };
    let text = json!({"type": "string"});
    let number = json!({"type": "integer", "minimum": 1});
    let tool = |name: &str, description: &str, input: Value, output: Value| -> Result<ToolSpec, NameError> {
        Ok(ToolSpec::new(server.clone(), ToolName::new(name)?)
            .with_description(description)
            .with_input_schema(input)
            .with_output_schema(output)
            .with_annotations(annotations.clone()))
    };
    let tools = vec![
        tool(
            "search",
            "Searches the library's texts. Gives the best texts, each with the line that fits best.",
            schema(
                json!({
                    "query": {"type": "string", "description": "A few words, or a question"},
                    "limit": {"type": "integer", "minimum": 1, "maximum": MOST_HITS, "description": "How many texts; 5 unless given"},
                }),
                &["query"],
            ),
            schema(
                json!({"hits": {"type": "array", "items": schema(
                    json!({"id": text, "title": text, "line": number, "passage": text, "score": {"type": "number"}}),
                    &["id", "title", "line", "passage", "score"],
                )}}),
                &["hits"],
            ),
        )?,
        tool(
            "read",
            "Reads a text of the library, whole or some lines of it.",
            schema(
                json!({
                    "id": {"type": "string", "description": "The text's id, from search or list"},
                    "from": {"type": "integer", "minimum": 1, "description": "The first line; 1 unless given"},
                    "lines": {"type": "integer", "minimum": 1, "maximum": MOST_LINES, "description": "How many lines; all unless given"},
                }),
                &["id"],
            ),
            schema(
                json!({"id": text, "title": text, "from": number, "lines": number, "total_lines": number, "text": text}),
                &["id", "title", "from", "lines", "total_lines", "text"],
            ),
        )?,
        tool(
            "list",
            "Lists all texts of the library with their titles.",
            schema(json!({}), &[]),
            schema(
                json!({"texts": {"type": "array", "items": schema(
                    json!({"id": text, "title": text, "lines": number}),
                    &["id", "title", "lines"],
                )}}),
                &["texts"],
            ),
        )?,
    ];
    Ok(Catalogue::build([(server, tools, ToolFilter::default())]).catalogue)
}

fn schema(properties: Value, required: &[&str]) -> Value {
    json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
}
