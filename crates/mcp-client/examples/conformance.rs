//! The client under test of MCP's official conformance suite: `cargo xtask conformance` runs it once for each scenario.
//!
//! It is what a program on `mcp-client` looks like, with one difference: where a user would sit, everything is agreed to.
//! The suite starts it with the server's address as the last argument, and says in the environment which scenario, which
//! protocol revision and which credentials are meant.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program: it reads its environment and says what went wrong"
)]

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use mcp_client::host::{
    Abilities, Elicitation, ElicitationReply, Host, SamplingRefusal, SamplingReply, SamplingRequest,
};
use mcp_client::oauth::{
    AuthorizeError, Authorizer, ClientIdentity, Grant, IdentityProvider, MemoryTokens, OAuthOptions,
};
use mcp_client::{ClientOptions, EraPolicy, McpClient, ServerConfig, Target};
use mcp_core::{BoxFuture, Content, JsonObject, RemoteSpec, ServerName, ToolSpec};
use mcp_security::Policy;
use serde_json::{Value, json};
use url::Url;

/// The suite ends a client after 30 s; one that ends by itself says why.
const LIMIT: Duration = Duration::from_secs(25);
/// The document that the suite's authorization servers know.
const CLIENT_DOCUMENT: &str = "https://conformance-test.local/client-metadata.json";

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match tokio::time::timeout(LIMIT, run()).await {
        Ok(Ok(())) => {
            // The suite does not look at how a client ends; whoever scores its results does.
            println!("ended well");
            ExitCode::SUCCESS
        }
        Ok(Err(error)) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
        Err(_) => {
            eprintln!("error: no end after {} s", LIMIT.as_secs());
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Failure> {
    let url: Url = std::env::args().next_back().ok_or("the server's address is missing")?.parse()?;
    let scenario = std::env::var("MCP_CONFORMANCE_SCENARIO").unwrap_or_default();
    let revision = std::env::var("MCP_CONFORMANCE_PROTOCOL_VERSION").unwrap_or_default();
    let context: Value = match std::env::var("MCP_CONFORMANCE_CONTEXT") {
        Ok(text) => serde_json::from_str(&text)?,
        Err(_) => Value::Null,
    };

    let remote = RemoteSpec { url, headers: Default::default() };
    let mut server = ServerConfig::new(ServerName::new("suite")?, Target::Http(remote));
    server.era = if *revision < *"2026" { EraPolicy::Legacy } else { EraPolicy::Auto };
    let mut options = ClientOptions::default();
    options.session.host = Some(Arc::new(Agreeable));
    options.session.oauth = Some(oauth(&scenario, &context)?);
    let client = McpClient::connect(server, Arc::new(Policy::default()), Arc::new(()), options).await?;
    let outcome = exercise(&client, &scenario, &context).await;
    client.close().await;
    outcome
}

/// Calls what the scenario wants called: the calls it names, else each tool once.
async fn exercise(client: &McpClient, scenario: &str, context: &Value) -> Result<(), Failure> {
    let tools = client.tools();
    // This server lists a tool and has none: what counts is that nothing was fetched for its schema.
    if scenario == "json-schema-ref-no-deref" {
        return Ok(());
    }
    if scenario == "json-schema-2020-12-preservation" {
        let rich = tools.iter().find(|tool| tool.name.as_str() != "json_schema_echo").ok_or("no tool")?;
        let arguments = JsonObject::from_iter([("schema".to_owned(), rich.input_schema.to_value()?)]);
        client.call_tool("json_schema_echo", arguments).await?;
        return Ok(());
    }
    if let Some(calls) = context["toolCalls"].as_array() {
        for call in calls {
            let arguments = call["arguments"].as_object().cloned().unwrap_or_default();
            client.call_tool(call["name"].as_str().unwrap_or_default(), arguments).await?;
        }
        return Ok(());
    }
    for tool in &tools {
        client.call_tool(tool.name.as_str(), arguments(tool)).await?;
    }
    // The authorization server is exchanged after a call.
    if scenario == "auth/authorization-server-migration" {
        for tool in &tools {
            client.call_tool(tool.name.as_str(), arguments(tool)).await?;
        }
    }
    Ok(())
}

/// A value for each argument that a tool requires.
fn arguments(tool: &ToolSpec) -> JsonObject {
    filled(&tool.input_schema.to_value().unwrap_or_default())
}

fn filled(schema: &Value) -> JsonObject {
    let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    required
        .map(|name| {
            let value = match schema["properties"][name]["type"].as_str() {
                Some("number" | "integer") => json!(1),
                Some("boolean") => json!(true),
                Some("array") => json!([]),
                Some("object") => json!({}),
                _ => json!("test"),
            };
            (name.to_owned(), value)
        })
        .collect()
}

/// A user who takes every default, and a model that always says the same.
struct Agreeable;

impl Host for Agreeable {
    fn abilities(&self, _: &ServerName) -> Abilities {
        let mut abilities = Abilities::forms();
        abilities.sampling = true;
        abilities
    }

    fn elicit<'a>(&'a self, _: &'a ServerName, request: Elicitation) -> BoxFuture<'a, ElicitationReply> {
        let mut values = match &request {
            Elicitation::Form { schema, .. } => filled(schema),
            _ => JsonObject::new(),
        };
        values.extend(request.defaults());
        Box::pin(std::future::ready(ElicitationReply::Accept(values)))
    }

    fn sample<'a>(
        &'a self,
        _: &'a ServerName,
        _: SamplingRequest,
    ) -> BoxFuture<'a, Result<SamplingReply, SamplingRefusal>> {
        let reply = SamplingReply {
            content: Content::text("It is so."),
            model: "a-model".to_owned(),
            stop_reason: Some("endTurn".to_owned()),
        };
        Box::pin(std::future::ready(Ok(reply)))
    }
}

fn oauth(scenario: &str, context: &Value) -> Result<OAuthOptions, Failure> {
    let word = |key: &str| context[key].as_str().map(str::to_owned);
    let must = |key: &str| word(key).ok_or_else(|| format!("the context lacks {key}"));
    let mut options = OAuthOptions::new(Arc::new(MemoryTokens::default()));
    options.authorizer = Some(Arc::new(Headless));
    options.identity = ClientIdentity::default();
    options.identity.client_id = word("client_id");
    options.identity.client_secret = word("client_secret");
    options.identity.metadata_url = Some(CLIENT_DOCUMENT.to_owned());
    options.grant = match scenario {
        "auth/client-credentials-basic" => Grant::ClientSecret,
        "auth/client-credentials-jwt" => {
            Grant::PrivateKey { key_pem: must("private_key_pem")?, algorithm: must("signing_algorithm")? }
        }
        "auth/enterprise-managed-authorization" => Grant::Enterprise(IdentityProvider {
            issuer: must("idp_issuer")?,
            token_endpoint: must("idp_token_endpoint")?,
            client_id: must("idp_client_id")?,
            id_token: must("idp_id_token")?,
        }),
        _ => Grant::User,
    };
    Ok(options)
}

/// A user without a browser: the suite's login pages send everybody back at once.
struct Headless;

impl Authorizer for Headless {
    fn redirect_uri(&self) -> String {
        "http://localhost:3000/callback".to_owned()
    }

    fn authorize<'a>(
        &'a self,
        _: &'a ServerName,
        page: &'a Url,
    ) -> BoxFuture<'a, Result<Url, AuthorizeError>> {
        Box::pin(async move {
            let failed = |reason: &str| AuthorizeError(reason.to_owned());
            let browser = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build();
            let browser = browser.map_err(|_| failed("no HTTP client"))?;
            let answer = browser.get(page.clone()).send().await;
            let answer = answer.map_err(|_| failed("the login page does not answer"))?;
            let back = answer.headers().get("location").and_then(|to| to.to_str().ok());
            let back = back.ok_or_else(|| failed("the login page sends nobody back"))?;
            page.join(back).map_err(|_| failed("the login page sends to nowhere"))
        })
    }
}
