//! Between the protocol library's words and ours: the only file that knows both.
//!
//! Items are decoded one by one and leniently: what is wrong with one item costs that item.

use std::borrow::Cow;
use std::error::Error;
use std::sync::Arc;
#[cfg(unix)]
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use mcp_core::{
    Annotations, CallId, CatalogueEntry, Content, JsonObject, Phase, Refusal, Schema, ServerName, ToolCall,
    ToolError, ToolName, ToolOutput, ToolService, ToolSpec, caught,
};
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ErrorData, Implementation,
    ListToolsResult, PaginatedRequestParams, ServerCapabilities, ServerConfig, Tool, ToolAnnotations,
};
use rmcp::service::{ClientInitializeError, RequestContext, ServerInitializeError, ServiceError};
use rmcp::transport::streamable_http_client::{
    AuthRequiredError, HttpStatusError, InsufficientScopeError, StreamableHttpError,
};
use rmcp::{RoleServer, ServerHandler, ServiceExt};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
#[cfg(unix)]
use tokio::time::Instant;

use crate::decoder::{TOO_LARGE, UNREADABLE};
use crate::http::{Broken, NotMcp, RefusedCertificate, Undialled, Unresolved};
use crate::link::{self, Reply};
use crate::options::DroppedTool;
use crate::raw::{ListPage, ListedTool, NeverSent, TooLarge, Unwritten};
use crate::serve::ServeError;

/// What an error may need besides itself.
pub(crate) struct Scene<'a> {
    pub(crate) server: &'a ServerName,
    pub(crate) phase: Phase,
    /// Why the session is over, where that is known.
    pub(crate) reason: Option<String>,
    pub(crate) stderr: Vec<String>,
}

impl Scene<'_> {
    fn connection(self, reason: String, source: Option<Box<dyn Error + Send + Sync>>) -> ToolError {
        ToolError::Connection {
            server: self.server.clone(),
            phase: self.phase,
            reason: self.reason.unwrap_or(reason),
            stderr: self.stderr,
            source,
        }
    }

    fn malformed(self, reason: impl Into<String>) -> ToolError {
        ToolError::Malformed { server: self.server.clone(), reason: reason.into() }
    }

    fn too_large(self, limit: usize, what: impl Into<String>) -> ToolError {
        ToolError::TooLarge { server: self.server.clone(), limit, what: what.into() }
    }

    fn server(self, error: &ErrorData) -> ToolError {
        if error.code == UNREADABLE {
            return self.malformed(error.message.clone());
        }
        if error.code == TOO_LARGE {
            let limit = error.data.as_ref().and_then(Value::as_u64).unwrap_or_default();
            return self.too_large(usize::try_from(limit).unwrap_or(usize::MAX), error.message.clone());
        }
        let message = match error.code {
            link::REQUIRED => link::unvisited(error),
            _ => error.message.to_string(),
        };
        ToolError::Server { server: self.server.clone(), code: error.code.0.into(), message }
    }
}

/// Whether this error says that the session is over or about to be.
pub(crate) fn is_lost(error: &ServiceError) -> bool {
    match error {
        ServiceError::TransportClosed => true,
        ServiceError::TransportSend(error) => {
            error.error.is::<std::io::Error>() || error.error.is::<NeverSent>()
        }
        _ => false,
    }
}

/// The error of a request.
pub(crate) fn request_error(error: ServiceError, scene: Scene<'_>) -> ToolError {
    match error {
        ServiceError::McpError(error) => scene.server(&error),
        ServiceError::TransportSend(error) => transport_error(error.error, scene),
        ServiceError::TransportClosed => scene.connection("the connection was lost".to_owned(), None),
        ServiceError::UnexpectedResponse => scene.malformed("an answer of another kind than was asked for"),
        ServiceError::Cancelled { .. } => ToolError::Cancelled,
        ServiceError::Timeout { timeout } => {
            ToolError::Timeout { server: scene.server.clone(), phase: scene.phase, limit: timeout }
        }
        ServiceError::InputRequiredRoundsExceeded { max_rounds } => {
            scene.malformed(format!("it asked for input {max_rounds} times and gave no result"))
        }
        other => scene.connection(other.to_string(), None),
    }
}

/// The error of opening a session. `None`: the stream ended, and whoever holds its other end knows more.
pub(crate) fn open_error(error: ClientInitializeError, scene: Scene<'_>) -> Option<ToolError> {
    Some(match error {
        ClientInitializeError::ConnectionClosed(_) => return None,
        ClientInitializeError::TransportError { error, .. } => {
            if error.error.is::<std::io::Error>() {
                return None;
            }
            transport_error(error.error, scene)
        }
        ClientInitializeError::JsonRpcError(error) => scene.server(&error),
        ClientInitializeError::LegacyFallbackFailed { fallback, .. } => return open_error(*fallback, scene),
        ClientInitializeError::ExpectedInitResult(_) | ClientInitializeError::ExpectedInitResponse(_) => {
            scene.malformed("its answer to the handshake lacks what the protocol requires")
        }
        ClientInitializeError::Cancelled => ToolError::Cancelled,
        other => scene.malformed(other.to_string()),
    })
}

/// The error of a request at which HTTP itself failed.
pub(crate) fn http_error(error: StreamableHttpError<reqwest::Error>, scene: Scene<'_>) -> ToolError {
    transport_error(Box::new(error), scene)
}

fn transport_error(error: Box<dyn Error + Send + Sync>, scene: Scene<'_>) -> ToolError {
    let server = scene.server.clone();
    let mut cause: Option<&(dyn Error + 'static)> = Some(error.as_ref());
    let mut login = None;
    while let Some(current) = cause {
        if let Some(refusal) = current.downcast_ref::<Refusal>() {
            return ToolError::Refused { server, refusal: refusal.clone() };
        }
        if let Some(error) = current.downcast_ref::<std::io::Error>()
            && let Some(error) = out_of_descriptors(&server, error)
        {
            return error;
        }
        let held = current.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        if let Some(Broken { status, retry_after, body }) = held.and_then(|held| held.downcast_ref()) {
            return http(server, *status, retry_after.as_deref(), body);
        }
        if let Some(NotMcp { content_type, title }) = held.and_then(|held| held.downcast_ref()) {
            let (content_type, title) = (content_type.clone(), title.clone());
            return ToolError::NotMcp { server, content_type, title };
        }
        if let Some(TooLarge { limit, what }) = held.and_then(|held| held.downcast_ref::<TooLarge>()) {
            return scene.too_large(*limit, what.clone());
        }
        if let Some(Unwritten { begun, limit }) = current.downcast_ref::<Unwritten>() {
            let phase = if *begun { Phase::Write } else { Phase::Queue };
            return ToolError::Timeout { server, phase, limit: *limit };
        }
        if current.is::<AuthRequiredError>() {
            return ToolError::AuthRequired { server };
        }
        if let Some(scope) = current.downcast_ref::<InsufficientScopeError>() {
            return ToolError::Forbidden { server, scope: scope.required_scope.clone() };
        }
        if let Some(status) = current.downcast_ref::<HttpStatusError>() {
            return http(server, status.status, status.retry_after.as_deref(), "");
        }
        match current.downcast_ref::<StreamableHttpError<reqwest::Error>>() {
            // `transparent` and `Display`-only variants hide what they hold from `source`.
            Some(StreamableHttpError::HttpStatus(status)) => {
                return http(server, status.status, status.retry_after.as_deref(), "");
            }
            Some(StreamableHttpError::Client(client)) => {
                if let Some(status) = client.status() {
                    return http(server, status.as_u16(), None, "");
                }
                cause = Some(client);
                continue;
            }
            Some(StreamableHttpError::UnexpectedServerResponse(text)) => {
                if let Some(status) = stated_status(text) {
                    return http(server, status, None, "");
                }
                return scene.malformed(text.chars().take(300).collect::<String>());
            }
            Some(StreamableHttpError::ResponseBodyTooLarge { max_size }) => {
                return scene.too_large(*max_size, "a response");
            }
            Some(StreamableHttpError::UnexpectedContentType(kind)) => {
                let NotMcp { content_type, title } = NotMcp::of(kind.as_deref().unwrap_or_default());
                return ToolError::NotMcp { server, content_type, title };
            }
            Some(
                unusable @ (StreamableHttpError::Deserialize(_)
                | StreamableHttpError::MissingSessionIdInResponse),
            ) => return scene.malformed(unusable.to_string()),
            Some(StreamableHttpError::ReinitializationFailed(error)) => return scene.server(error),
            Some(StreamableHttpError::Auth(failure)) => {
                login = Some(failure.to_string());
                cause = Some(failure);
                continue;
            }
            _ => {}
        }
        cause = current.source();
    }
    if let Some(reason) = login {
        let reason = format!("the login failed: {reason}");
        return ToolError::Start { server, reason, stderr: Vec::new() };
    }
    let reason = root(error.as_ref());
    let phase = unsent(error.as_ref()).unwrap_or(scene.phase);
    // The error as a whole is not kept: reqwest's names the URL, and that may hold a secret.
    Scene { phase, ..scene }.connection(reason, None)
}

/// Whether looking a name up once more could help. The resolver of the system tells it in words only.
fn lookup(error: &(dyn Error + 'static)) -> Phase {
    const NOBODY: [&str; 4] = [
        "Name or service not known",
        "No address associated with hostname",
        "nodename nor servname provided",
        "No such host is known",
    ];
    let words = root(error);
    if NOBODY.iter().any(|nobody| words.contains(nobody)) { Phase::NoHost } else { Phase::Resolve }
}

/// The error of something that could not be opened because this process has used up its file descriptors. That says
/// nothing about the server.
pub(crate) fn out_of_descriptors(server: &ServerName, error: &std::io::Error) -> Option<ToolError> {
    #[cfg(unix)]
    {
        use rustix::io::Errno;
        let used_up = [Errno::MFILE, Errno::NFILE].map(|errno| errno.raw_os_error());
        if error.raw_os_error().is_some_and(|code| used_up.contains(&code)) {
            tell_of_descriptors(error);
            return Some(ToolError::Unavailable {
                server: server.clone(),
                reason: "this process has no file descriptors left (see: ulimit -n)".to_owned(),
                retry_at: None,
            });
        }
    }
    let _ = (server, error);
    None
}

/// The same, where this process can open nothing now.
pub(crate) fn without_descriptors(server: &ServerName) -> Option<ToolError> {
    let error = std::fs::File::open(if cfg!(unix) { "/" } else { "." }).err()?;
    out_of_descriptors(server, &error)
}

/// Says that this process has used up its file descriptors: once a minute, however many servers are tried meanwhile.
#[cfg(unix)]
fn tell_of_descriptors(error: &std::io::Error) {
    const EACH: Duration = Duration::from_secs(60);
    static TOLD: Mutex<Option<Instant>> = Mutex::new(None);
    let mut told = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
    if told.is_none_or(|at| at.elapsed() >= EACH) {
        *told = Some(Instant::now());
        drop(told);
        tracing::error!(%error, "no file descriptors left: nothing new can be opened (see: ulimit -n)");
    }
}

/// How far a request had come that was certainly not sent; `None`: it may have been.
fn unsent(error: &(dyn Error + 'static)) -> Option<Phase> {
    let mut current = Some(match error.downcast_ref::<StreamableHttpError<reqwest::Error>>() {
        Some(StreamableHttpError::Client(client)) => client,
        _ => error,
    });
    let mut phase = None;
    while let Some(error) = current {
        match error.downcast_ref::<reqwest::Error>() {
            Some(error) if error.is_dns() => return Some(lookup(error)),
            Some(error) if error.is_connect() => phase = Some(Phase::Connect),
            _ if error.is::<Unresolved>() => return Some(lookup(error)),
            _ if error.is::<Undialled>() => phase = Some(Phase::Connect),
            _ => {}
        }
        // What TLS does not like comes as invalid data.
        let io = error.downcast_ref::<std::io::Error>();
        if error.is::<NeverSent>() {
            return Some(Phase::Connect);
        }
        if phase.is_some() && io.is_some_and(|io| io.kind() == std::io::ErrorKind::InvalidData) {
            return Some(Phase::Secure);
        }
        // An error of I/O passes over the error it holds when it is asked for its source.
        current = match io.and_then(std::io::Error::get_ref) {
            Some(held) => Some(held),
            None => error.source(),
        };
    }
    phase
}

/// The innermost error's words: the layers above say where, and reqwest's name the URL.
fn root(error: &(dyn Error + 'static)) -> String {
    let mut current = match error.downcast_ref::<StreamableHttpError<reqwest::Error>>() {
        Some(StreamableHttpError::Client(client)) => client,
        _ => error,
    };
    while let Some(source) = current.source() {
        current = source;
    }
    if let Some(refused) = RefusedCertificate::behind(current) {
        return refused.to_string();
    }
    match current.downcast_ref::<reqwest::Error>() {
        Some(error) if error.is_timeout() => "no connection in time".to_owned(),
        Some(_) => "the HTTP request failed".to_owned(),
        None => current.to_string(),
    }
}

fn http(server: ServerName, status: u16, retry_after: Option<&str>, body: &str) -> ToolError {
    let asked = retry_after.and_then(|value| wait(value, SystemTime::now()));
    match status {
        401 => ToolError::AuthRequired { server },
        403 => ToolError::Forbidden { server, scope: None },
        // It asks for something: where that cannot be understood, for the least there is.
        429 => {
            let retry_after = asked.or(retry_after.map(|_| Duration::ZERO));
            ToolError::Throttled { server, status, retry_after }
        }
        503 if asked.is_some() => ToolError::Throttled { server, status, retry_after: asked },
        _ => ToolError::Http { server, status, body: body.to_owned() },
    }
}

/// The longest wait that a server is believed to ask for in earnest.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// How long `Retry-After` asks to wait, in seconds or as a date. A time that is over is no time.
fn wait(retry_after: &str, now: SystemTime) -> Option<Duration> {
    let value = retry_after.trim();
    let wait = match value.parse().map(Duration::from_secs) {
        Ok(wait) => wait,
        // More than can be counted.
        Err(_) if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) => LONGEST_WAIT,
        Err(_) => httpdate::parse_http_date(value).ok()?.duration_since(now).unwrap_or_default(),
    };
    Some(wait.min(LONGEST_WAIT))
}

/// The status in "HTTP 404 Not Found: ...", which is all that rmcp keeps of some answers.
fn stated_status(text: &str) -> Option<u16> {
    text.strip_prefix("HTTP ")?.get(..3)?.parse().ok()
}

/// One page of a tool list.
pub(crate) struct Page {
    pub(crate) tools: Vec<ToolSpec>,
    pub(crate) dropped: Vec<DroppedTool>,
    pub(crate) next: Option<String>,
    /// How long it was as JSON.
    pub(crate) bytes: usize,
}

/// Reads a page of `tools/list`; `offset` is the number of items on the pages before.
pub(crate) fn page(server: &ServerName, reply: Reply<ListPage>, offset: usize) -> Result<Page, ToolError> {
    let result = match reply {
        Reply::Decoded(page) => return Ok(decoded(server, page)),
        Reply::Raw(result) => result,
    };
    let malformed = |reason: &str| ToolError::Malformed { server: server.clone(), reason: reason.to_owned() };
    let bytes = result.to_string().len();
    let Value::Object(mut result) = result else {
        return Err(malformed("its tool list is not an object"));
    };
    let items = match result.remove("tools") {
        Some(Value::Array(items)) => items,
        _ => return Err(malformed("its tool list has no array \"tools\"")),
    };
    let next = match result.remove("nextCursor") {
        Some(Value::String(cursor)) => Some(cursor),
        _ => None,
    };
    let mut page = Page { tools: Vec::with_capacity(items.len()), dropped: Vec::new(), next, bytes };
    for (at, item) in items.into_iter().enumerate() {
        let name = match item.get("name") {
            Some(Value::String(name)) => name.chars().take(128).collect(),
            _ => format!("#{}", offset + at + 1),
        };
        match tool(server, item) {
            Ok(tool) => page.tools.push(tool),
            Err(reason) => page.dropped.push(DroppedTool { name, reason }),
        }
    }
    Ok(page)
}

/// A page of which all but the names is known to be good.
fn decoded(server: &ServerName, list: ListPage) -> Page {
    let (tools, dropped) = (Vec::with_capacity(list.tools.len()), Vec::new());
    let mut page = Page { tools, dropped, next: list.next_cursor, bytes: list.bytes };
    for item in list.tools {
        let ListedTool { name, title, description, input_schema, output_schema, annotations } = item;
        match ToolName::new(&name) {
            Ok(valid) => {
                let mut spec = ToolSpec::new(server.clone(), valid);
                (spec.input_schema, spec.output_schema) = (input_schema, output_schema);
                (spec.title, spec.description) = (title, description);
                spec.annotations = annotations.unwrap_or_default();
                page.tools.push(spec);
            }
            Err(error) => page
                .dropped
                .push(DroppedTool { name: name.chars().take(128).collect(), reason: error.to_string() }),
        }
    }
    page
}

fn tool(server: &ServerName, item: Value) -> Result<ToolSpec, String> {
    let Value::Object(mut item) = item else {
        return Err("it is not an object".to_owned());
    };
    let name = match item.get("name") {
        Some(Value::String(name)) => ToolName::new(name).map_err(|error| error.to_string())?,
        Some(_) => return Err("its name is not text".to_owned()),
        None => return Err("it has no name".to_owned()),
    };
    let mut spec = ToolSpec::new(server.clone(), name);
    spec.input_schema = match item.remove("inputSchema") {
        Some(schema @ Value::Object(_)) => schema.into(),
        Some(_) => return Err("its inputSchema is not an object".to_owned()),
        None => return Err("it has no inputSchema".to_owned()),
    };
    spec.output_schema = item.remove("outputSchema").filter(Value::is_object).map(Schema::from);
    spec.title = text(&mut item, "title");
    spec.description = text(&mut item, "description");
    if let Some(Value::Object(mut hints)) = item.remove("annotations") {
        spec.annotations = Annotations {
            title: text(&mut hints, "title"),
            read_only_hint: hints.get("readOnlyHint").and_then(Value::as_bool),
            destructive_hint: hints.get("destructiveHint").and_then(Value::as_bool),
            idempotent_hint: hints.get("idempotentHint").and_then(Value::as_bool),
            open_world_hint: hints.get("openWorldHint").and_then(Value::as_bool),
        };
    }
    Ok(spec)
}

fn text(object: &mut JsonObject, key: &str) -> Option<String> {
    match object.remove(key) {
        Some(Value::String(text)) => Some(text),
        _ => None,
    }
}

/// Reads the result of `tools/call`.
pub(crate) fn output(server: &ServerName, reply: Reply<ToolOutput>) -> Result<ToolOutput, ToolError> {
    let result = match reply {
        Reply::Decoded(output) => return Ok(output),
        Reply::Raw(result) => result,
    };
    let malformed = |reason: String| ToolError::Malformed { server: server.clone(), reason };
    let Value::Object(mut result) = result else {
        return Err(malformed("the result of its tool is not an object".to_owned()));
    };
    match result.get("resultType").and_then(Value::as_str) {
        None | Some("complete") => {}
        Some("input_required") => {
            return Err(malformed("its tool asks for input, which was not offered".to_owned()));
        }
        Some(other) => {
            return Err(malformed(format!("its tool gave a result of the unknown kind {other:?}")));
        }
    }
    let blocks = match result.remove("content") {
        Some(Value::Array(blocks)) => blocks,
        None | Some(Value::Null) => Vec::new(),
        Some(_) => return Err(malformed("the content of its tool's result is not an array".to_owned())),
    };
    // Some servers put the flag inside a block; it means the same there.
    let is_error = result.get("isError").and_then(Value::as_bool).unwrap_or(false)
        || blocks.iter().any(|block| block.get("isError").and_then(Value::as_bool) == Some(true));
    // One block that cannot be read costs itself; where it is all there is, nothing was answered.
    let is_no_text = |block: &Value| block["type"] == "text" && !block["text"].is_string();
    if !blocks.is_empty() && blocks.iter().all(is_no_text) && !result.contains_key("structuredContent") {
        return Err(malformed("the texts of its tool's result are no texts".to_owned()));
    }
    let content = blocks.into_iter().map(Content::from_value).collect();
    Ok(ToolOutput::new(content, result.remove("structuredContent"), is_error))
}

/// Offers a service's tools by the names their servers gave them.
pub(crate) struct Offer {
    service: Arc<dyn ToolService>,
    config: ServerConfig,
}

impl Offer {
    pub(crate) fn new(
        service: Arc<dyn ToolService>,
        name: &str,
        version: &str,
        instructions: Option<String>,
    ) -> Self {
        let mut config = ServerConfig::new(ServerCapabilities::builder().enable_tools().build());
        config.server_info = Implementation::new(name, version);
        config.instructions = instructions;
        Self { service, config }
    }

    /// Serves until the input ends. A client that goes away before it said anything is no error.
    pub(crate) async fn serve_over<R, W>(self, read: R, write: W) -> Result<(), ServeError>
    where
        R: AsyncRead + Send + Unpin + 'static,
        W: AsyncWrite + Send + Unpin + 'static,
    {
        let running = match self.serve((read, write)).await {
            Ok(running) => running,
            Err(ServerInitializeError::ConnectionClosed(_)) => return Ok(()),
            Err(error) => return Err(ServeError::Handshake(error.to_string())),
        };
        match running.waiting().await {
            Ok(_) => Ok(()),
            Err(error) => Err(ServeError::Internal(error.to_string())),
        }
    }
}

impl ServerHandler for Offer {
    fn get_info(&self) -> ServerConfig {
        self.config.clone()
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let tools = self.service.catalogue().iter().map(offered).collect();
        Ok(ListToolsResult::with_all_items(tools))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let catalogue = self.service.catalogue();
        let entry = catalogue.iter().find(|entry| entry.spec.name.as_str() == request.name);
        let Some(entry) = entry else {
            return Err(ErrorData::invalid_params(format!("Unknown tool: {}", request.name), None));
        };
        let call = ToolCall::new(
            CallId::new(context.id.to_string()),
            entry.exposed.as_str(),
            request.arguments.unwrap_or_default(),
        );
        let answer = tokio::select! {
            answer = caught(async { self.service.call(call).await }) => answer,
            // Dropping the call is how it is cancelled. Nobody reads what is said here.
            () = context.ct.cancelled() => Err(ToolError::Cancelled),
        };
        let output = match answer {
            Err(ToolError::Internal(reason)) => return Err(ErrorData::internal_error(reason, None)),
            // Whoever asked is to read why it failed, and only a result is read: a protocol error is for programs.
            answer => answer.unwrap_or_else(|error| ToolOutput::error(error.to_string())),
        };
        Ok(CallToolResponse::Complete(result(output)))
    }
}

fn offered(entry: &CatalogueEntry) -> Tool {
    let spec = &entry.spec;
    let description = spec.description.clone().map(Cow::Owned);
    let mut tool =
        Tool::new_with_raw(spec.name.as_str().to_owned(), description, Arc::new(object(&spec.input_schema)));
    tool.title = spec.title.clone();
    tool.output_schema = spec.output_schema.as_ref().map(|schema| Arc::new(object(schema)));
    let hints = &spec.annotations;
    if *hints != Annotations::default() {
        tool.annotations = Some(ToolAnnotations::from_raw(
            hints.title.clone(),
            hints.read_only_hint,
            hints.destructive_hint,
            hints.idempotent_hint,
            hints.open_world_hint,
        ));
    }
    tool
}

/// One that is no object accepts anything.
fn object(schema: &Schema) -> JsonObject {
    match schema.to_value() {
        Ok(Value::Object(schema)) => schema,
        _ => JsonObject::new(),
    }
}

fn result(output: ToolOutput) -> CallToolResult {
    let content: Vec<ContentBlock> = output.content.iter().map(block).collect();
    let mut result =
        if output.is_error { CallToolResult::error(content) } else { CallToolResult::success(content) };
    result.structured_content = output.structured;
    result
}

fn block(content: &Content) -> ContentBlock {
    // A block that the protocol does not know goes out as its own text.
    serde_json::from_value(content.to_value()).unwrap_or_else(|_| ContentBlock::text(content.to_text()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn server() -> ServerName {
        ServerName::new("s").unwrap()
    }

    #[test]
    fn a_bad_tool_costs_itself_only() {
        let schema = json!({"type": "object"});
        let items = json!({"tools": [
            {"name": "good", "inputSchema": schema, "description": 7, "annotations": {"readOnlyHint": true, "title": 1}},
            {"name": "no schema"},
            {"name": "bad schema", "inputSchema": true},
            {"name": "", "inputSchema": schema},
            {"name": 7, "inputSchema": schema},
            {"inputSchema": schema},
            "text",
            {"name": "search/items.v2", "inputSchema": schema, "outputSchema": {"type": "object"}, "extra": 1},
        ], "nextCursor": "", "ttlMs": 1.5, "cacheScope": "shared"});
        let page = page(&server(), Reply::Raw(items), 10).unwrap();
        let names: Vec<_> = page.tools.iter().map(|tool| tool.name.as_str()).collect();
        assert_eq!(names, ["good", "search/items.v2"]);
        assert!(page.tools[0].annotations.is_read_only() && page.tools[0].description.is_none());
        let dropped: Vec<_> = page.dropped.iter().map(|d| format!("{}: {}", d.name, d.reason)).collect();
        assert_eq!(
            dropped,
            [
                "no schema: it has no inputSchema",
                "bad schema: its inputSchema is not an object",
                ": tool name is empty",
                "#15: its name is not text",
                "#16: it has no name",
                "#17: it is not an object",
            ]
        );
        assert_eq!(page.next.as_deref(), Some(""), "an empty cursor is a cursor");
    }

    #[test]
    fn results_are_read_leniently() {
        let read = |value| output(&server(), Reply::Raw(value));
        assert_eq!(read(json!({})).unwrap(), ToolOutput::default());
        let odd = read(
            json!({"content": [{"type": "hologram", "x": 1}, {"type": "text", "text": "t", "isError": true}]}),
        );
        let odd = odd.unwrap();
        assert!(odd.is_error && odd.content.len() == 2);
        assert_eq!(odd.content[1], Content::text("t"));
        let structured = read(json!({"content": [], "structuredContent": [1], "isError": false})).unwrap();
        assert_eq!(structured.structured, Some(json!([1])));
        for bad in [
            json!(7),
            json!({"content": "text"}),
            json!({"resultType": "input_required"}),
            json!({"resultType": "?"}),
        ] {
            assert!(matches!(read(bad), Err(ToolError::Malformed { .. })));
        }
    }

    #[test]
    fn a_status_is_found_where_it_is_only_told() {
        assert_eq!(stated_status("HTTP 404 Not Found: no such page"), Some(404));
        assert_eq!(stated_status("nothing"), None);
    }

    #[test]
    fn the_wait_that_is_asked_for_is_bounded_and_never_negative() {
        let date = "Fri, 31 Dec 1999 23:59:59 GMT";
        let then = SystemTime::UNIX_EPOCH + Duration::from_secs(946_684_799);
        let (minute, zero) = (Duration::from_secs(60), Duration::ZERO);
        for (value, now, expected) in [
            (" 7 ", then, Some(Duration::from_secs(7))),
            ("99999999999", then, Some(LONGEST_WAIT)),
            (date, then - minute, Some(minute)),
            (date, then + minute, Some(zero)),
            (date, then - LONGEST_WAIT * 9, Some(LONGEST_WAIT)),
            ("-5", then, None),
            ("99999999999999999999999", then, Some(LONGEST_WAIT)),
            ("soon", then, None),
            ("", then, None),
        ] {
            assert_eq!(wait(value, now), expected, "{value:?}");
        }
        // To be asked for what nobody understands is to be asked for the least; 503 without a time promises nothing.
        let asked = |status, value| match http(server(), status, value, "") {
            ToolError::Throttled { retry_after, .. } => Some(retry_after),
            _ => None,
        };
        assert_eq!(asked(429, Some("-5")), Some(Some(zero)));
        assert_eq!(asked(429, None), Some(None));
        assert_eq!(asked(503, Some("7")), Some(Some(Duration::from_secs(7))));
        assert_eq!(asked(503, Some("soon")), None);
    }
}
