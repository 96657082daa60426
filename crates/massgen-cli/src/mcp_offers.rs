//! `massgen mcp resources | read | prompts | prompt`: what servers have besides tools.

use std::collections::BTreeMap;
use std::io::Write;

use massgen::Servers;
use massgen::client::{CompletionTarget, McpClient};
use massgen::core::{Content, EmbeddedResource, ResourceBody, ServerName, ToolError};
use massgen::transport::Listing;
use serde_json::{Value, json};

use crate::args::ServersArgs;
use crate::failure::{Failure, Kind};
use crate::mcp_command::{Started, start, table, tool_failure};
use crate::output;
use crate::style::{one_line, safe};

/// The code for a method that a server does not have: it offers nothing of the kind.
const NO_SUCH_METHOD: i64 = -32601;

pub(crate) async fn resources(args: &ServersArgs, only: Option<&str>) -> Result<(), Failure> {
    let Started { servers, .. } = start(args, only).await?;
    let mut found = Found::of(&servers);
    for client in servers.clients() {
        let server = client.name();
        found.take(server, client.list_resources().await, |resource| {
            let row = [
                server.to_string(),
                resource.uri.clone(),
                resource.mime_type.clone().unwrap_or_default(),
                resource.size.map(|size| size.to_string()).unwrap_or_default(),
                one_line(resource.description.as_deref().unwrap_or(&resource.name), 60),
            ];
            let document = json!({"server": server, "uri": resource.uri, "name": resource.name, "title": resource.title,
                "description": resource.description, "mimeType": resource.mime_type, "size": resource.size});
            (row, document)
        });
        found.take(server, client.list_resource_templates().await, |template| {
            let row = [
                server.to_string(),
                template.uri_template.clone(),
                template.mime_type.clone().unwrap_or_default(),
                String::new(),
                one_line(template.description.as_deref().unwrap_or(&template.name), 60),
            ];
            let document = json!({"server": server, "uriTemplate": template.uri_template, "name": template.name,
                "title": template.title, "description": template.description, "mimeType": template.mime_type});
            (row, document)
        });
    }
    servers.close().await;
    found.show(args, ["SERVER", "ADDRESS", "TYPE", "BYTES", "ABOUT"])
}

pub(crate) async fn prompts(args: &ServersArgs, only: Option<&str>) -> Result<(), Failure> {
    let Started { servers, .. } = start(args, only).await?;
    let mut found = Found::of(&servers);
    for client in servers.clients() {
        let server = client.name();
        found.take(server, client.list_prompts().await, |prompt| {
            let named = prompt.arguments.iter().map(|argument| match argument.required {
                true => argument.name.clone(),
                false => format!("[{}]", argument.name),
            });
            let row = [
                server.to_string(),
                prompt.name.clone(),
                named.collect::<Vec<_>>().join(" "),
                one_line(prompt.description.as_deref().unwrap_or_default(), 60),
            ];
            let arguments = prompt.arguments.iter().map(|argument| {
                json!({"name": argument.name, "description": argument.description, "required": argument.required})
            });
            let document = json!({"server": server, "name": prompt.name, "title": prompt.title,
                "description": prompt.description, "arguments": arguments.collect::<Vec<_>>()});
            (row, document)
        });
    }
    servers.close().await;
    found.show(args, ["SERVER", "PROMPT", "ARGUMENTS", "ABOUT"])
}

/// What servers have of one kind, for people and for programs.
struct Found<const N: usize> {
    rows: Vec<[String; N]>,
    documents: Vec<Value>,
    /// Servers that could not be asked, and why: once for each, however much is asked of it.
    failed: BTreeMap<ServerName, String>,
}

impl<const N: usize> Found<N> {
    fn of(servers: &Servers) -> Self {
        let reports = servers.reports().into_iter();
        let failed = reports.filter_map(|report| Some((report.name, report.error?)));
        Self { rows: Vec::new(), documents: Vec::new(), failed: failed.collect() }
    }

    /// Takes the list of one server, each item `told` as a row and as a document.
    fn take<T>(
        &mut self,
        server: &ServerName,
        listed: Result<Listing<T>, ToolError>,
        told: impl Fn(&T) -> ([String; N], Value),
    ) {
        match listed {
            Ok(list) => {
                for (row, document) in list.items.iter().map(told) {
                    self.rows.push(row);
                    self.documents.push(document);
                }
            }
            // A server that does not know the question has nothing of the kind.
            Err(ToolError::Server { code: NO_SUCH_METHOD, .. }) => {}
            Err(error) => {
                self.failed.entry(server.clone()).or_insert_with(|| error.to_string());
            }
        }
    }

    fn show(self, args: &ServersArgs, head: [&str; N]) -> Result<(), Failure> {
        if args.json {
            output::json(&self.documents);
        } else if !self.rows.is_empty() {
            table(head, self.rows);
        } else if self.failed.is_empty() {
            output::note("none of the servers offers any");
        }
        for (server, problem) in &self.failed {
            output::note(safe(&format!("warning: {server}: {problem}")));
        }
        if self.failed.is_empty() { Ok(()) } else { Err(Failure::silent(Kind::NoAnswer)) }
    }
}

pub(crate) async fn read(args: &ServersArgs, server: &str, uri: &str) -> Result<(), Failure> {
    let Started { servers, .. } = start(args, Some(server)).await?;
    let contents = match client(&servers, server) {
        Ok(client) => client.read_resource(uri).await.map_err(|error| refused(error, "resources")),
        Err(failure) => Err(failure),
    };
    servers.close().await;
    let contents = contents?;
    if args.json {
        output::json(&contents.iter().map(content).collect::<Vec<_>>());
        return Ok(());
    }
    for part in &contents {
        match &part.body {
            ResourceBody::Text(text) => output::line(safe(text)),
            ResourceBody::Blob(blob) => {
                let kind = part.mime_type.as_deref().unwrap_or("unknown type");
                output::note(format!(
                    "{} is not text ({}, {} characters of base64); --json shows it",
                    safe(&part.uri),
                    safe(kind),
                    blob.len()
                ));
            }
        }
    }
    // What was shown must be out before whatever follows on standard error.
    let _ = std::io::stdout().flush();
    Ok(())
}

pub(crate) async fn prompt(
    args: &ServersArgs,
    server: &str,
    prompt: &str,
    pairs: &[String],
    complete: Option<&str>,
) -> Result<(), Failure> {
    let mut arguments = pairs_of(pairs)?;
    let Started { servers, .. } = start(args, Some(server)).await?;
    let outcome = async {
        let client = client(&servers, server)?;
        let Some(argument) = complete else {
            let filled = client.prompt(prompt, arguments).await;
            return filled.map_err(|error| refused(error, "prompts")).map(Filled::Text);
        };
        let typed = arguments.remove(argument).unwrap_or_default();
        let target = CompletionTarget::Prompt(prompt.to_owned());
        client
            .complete(&target, (argument, &typed), arguments)
            .await
            .map_err(tool_failure)
            .map(Filled::Proposals)
    };
    let outcome = outcome.await;
    servers.close().await;
    match outcome? {
        Filled::Text(text) if args.json => {
            let messages = text.messages.iter();
            let messages =
                messages.map(|message| json!({"role": message.role, "content": message.content.to_value()}));
            output::json(&json!({"description": text.description, "messages": messages.collect::<Vec<_>>()}));
        }
        Filled::Text(text) => {
            for message in &text.messages {
                let said = match &message.content {
                    Content::Text(text) => text.clone(),
                    other => other.to_value().to_string(),
                };
                output::line(format!("{}:\n{}\n", safe(&message.role), safe(&said)));
            }
        }
        Filled::Proposals(proposals) if args.json => {
            output::json(
                &json!({"values": proposals.values, "total": proposals.total, "hasMore": proposals.has_more}),
            );
        }
        Filled::Proposals(proposals) => {
            proposals.values.iter().for_each(|value| output::line(safe(value)));
            if proposals.has_more {
                output::note("there are more");
            }
        }
    }
    Ok(())
}

enum Filled {
    Text(massgen::client::PromptText),
    Proposals(massgen::client::Completion),
}

fn client<'a>(servers: &'a Servers, server: &str) -> Result<&'a McpClient, Failure> {
    if let Some(error) = servers.reports().into_iter().find_map(|report| report.error) {
        return Err(Failure::new(Kind::NoAnswer, error));
    }
    let found = servers.clients().find(|client| client.name().as_str() == server);
    found.ok_or_else(|| Failure::config(format!("there is no server {server:?}")))
}

/// Why a server did not give what was asked for by name.
fn refused(error: ToolError, what: &str) -> Failure {
    match &error {
        ToolError::Server { server, code: NO_SUCH_METHOD, .. } => {
            Failure::config(format!("server {server} offers no {what}"))
                .with_hint(format!("massgen mcp {what} shows which server has any"))
        }
        _ => tool_failure(error),
    }
}

fn content(part: &EmbeddedResource) -> Value {
    let mut value = json!({"uri": part.uri, "mimeType": part.mime_type});
    match &part.body {
        ResourceBody::Text(text) => value["text"] = text.as_str().into(),
        ResourceBody::Blob(blob) => value["blob"] = blob.as_str().into(),
    }
    value
}

fn pairs_of(pairs: &[String]) -> Result<BTreeMap<String, String>, Failure> {
    let pair = |pair: &String| match pair.split_once('=') {
        Some((key, value)) => Ok((key.to_owned(), value.to_owned())),
        None => Err(Failure::new(Kind::Usage, format!("{pair:?} is not KEY=VALUE"))),
    };
    pairs.iter().map(pair).collect()
}
