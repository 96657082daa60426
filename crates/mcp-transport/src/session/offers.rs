//! A session's requests for what a server has besides tools.

use std::collections::{BTreeMap, HashSet};

use mcp_core::{EmbeddedResource, JsonObject, Phase, ToolError};
use serde_json::{Value, json};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;
use tokio::time::timeout;

use super::{Inner, Lost, PAGES, Session};
use crate::convert;
use crate::link::Watching;
use crate::offers::{
    self, Completion, CompletionTarget, Item, Listing, Prompt, PromptText, Resource, ResourceTemplate,
};
use crate::options::DroppedTool;

/// A resource that is watched until this is dropped.
pub struct ResourceWatch {
    session: Session,
    uri: String,
    watching: Watching,
}

impl std::fmt::Debug for ResourceWatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ResourceWatch").field("uri", &self.uri).finish_non_exhaustive()
    }
}

impl ResourceWatch {
    /// Waits until the resource may have changed; false: the session is over.
    pub async fn changed(&mut self) -> bool {
        let over = self.session.closed();
        tokio::pin!(over);
        loop {
            tokio::select! {
                update = self.watching.feed.recv() => match update {
                    Ok(uri) if uri != self.uri => {}
                    // What was missed may have been about this one.
                    Ok(_) | Err(RecvError::Lagged(_)) => return true,
                    Err(RecvError::Closed) => return false,
                },
                _ = &mut over => return false,
            }
        }
    }
}

impl Session {
    /// Lists the server's resources, all pages. Invalid items are left out and named.
    ///
    /// # Errors
    ///
    /// Those of [`Session::list_tools`].
    pub async fn list_resources(&self) -> Result<Listing<Resource>, ToolError> {
        self.listing("resources/list", "resources").await
    }

    /// Lists the patterns of the server's resources, all pages. Invalid items are left out and named.
    ///
    /// # Errors
    ///
    /// Those of [`Session::list_tools`].
    pub async fn list_resource_templates(&self) -> Result<Listing<ResourceTemplate>, ToolError> {
        self.listing("resources/templates/list", "resourceTemplates").await
    }

    /// Lists the server's prompts, all pages. Invalid items are left out and named.
    ///
    /// # Errors
    ///
    /// Those of [`Session::list_tools`].
    pub async fn list_prompts(&self) -> Result<Listing<Prompt>, ToolError> {
        self.listing("prompts/list", "prompts").await
    }

    /// Reads a resource, without a limit of time of its own. One address may lead to several contents.
    ///
    /// # Errors
    ///
    /// Those of [`Session::call_tool`]; [`ToolError::Server`] with the code -32002 (2025-11-25) or -32602 (2026-07-28)
    /// where there is no such resource.
    pub async fn read_resource(&self, uri: &str) -> Result<Vec<EmbeddedResource>, ToolError> {
        let params = JsonObject::from_iter([("uri".to_owned(), json!(uri))]);
        let mut result = self.ask("resources/read", params).await?;
        offers::contents(&mut result).ok_or_else(|| self.lacks(&result, "contents"))
    }

    /// Fills in a prompt, without a limit of time of its own.
    ///
    /// # Errors
    ///
    /// Those of [`Session::call_tool`].
    pub async fn prompt(
        &self,
        name: &str,
        arguments: BTreeMap<String, String>,
    ) -> Result<PromptText, ToolError> {
        let mut params = JsonObject::from_iter([("name".to_owned(), json!(name))]);
        if !arguments.is_empty() {
            params.insert("arguments".to_owned(), json!(arguments));
        }
        let mut result = self.ask("prompts/get", params).await?;
        offers::prompt_text(&mut result).ok_or_else(|| self.lacks(&result, "messages"))
    }

    /// Asks for proposals for an argument that is being typed, given the values of others that are there already.
    ///
    /// # Errors
    ///
    /// Those of [`Session::call_tool`].
    pub async fn complete(
        &self,
        target: &CompletionTarget,
        (argument, typed): (&str, &str),
        others: BTreeMap<String, String>,
    ) -> Result<Completion, ToolError> {
        let reference = match target {
            CompletionTarget::Prompt(name) => json!({"type": "ref/prompt", "name": name}),
            CompletionTarget::ResourceTemplate(uri) => json!({"type": "ref/resource", "uri": uri}),
        };
        let mut params = JsonObject::from_iter([
            ("ref".to_owned(), reference),
            ("argument".to_owned(), json!({"name": argument, "value": typed})),
        ]);
        if !others.is_empty() {
            params.insert("context".to_owned(), json!({"arguments": others}));
        }
        let result = self.ask("completion/complete", params).await?;
        offers::completion(&result).ok_or_else(|| self.lacks(&result, "completion"))
    }

    /// Asks the server to log from this level on (`debug` to `emergency`); its messages go to
    /// [`crate::Host::log`]. On revision 2026-07-28, which knows no such request, the level goes with each call of a tool from
    /// now on.
    ///
    /// # Errors
    ///
    /// Those of [`Session::call_tool`].
    pub async fn set_log_level(&self, level: &str) -> Result<(), ToolError> {
        if self.inner.link.is_modern() {
            self.inner.link.set_log_level(level);
            return Ok(());
        }
        let params = JsonObject::from_iter([("level".to_owned(), json!(level))]);
        self.ask("logging/setLevel", params).await.map(drop)
    }

    /// Tells the server that what [`crate::Host::roots`] says about it has changed. On revision 2026-07-28, which knows
    /// no such notice, nothing is sent.
    ///
    /// # Errors
    ///
    /// [`ToolError::Connection`] where the session is over.
    pub async fn roots_changed(&self) -> Result<(), ToolError> {
        match self.inner.link.roots_changed().await {
            Ok(()) => Ok(()),
            Err(error) => {
                let scene = self.scene(Phase::Call, Lost(convert::is_lost(&error))).await;
                Err(convert::request_error(error, scene))
            }
        }
    }

    /// Watches a resource for changes. The watch keeps the session open.
    ///
    /// # Errors
    ///
    /// Those of [`Session::call_tool`]; [`ToolError::Server`] where the server takes no subscriptions.
    pub async fn watch_resource(&self, uri: &str) -> Result<ResourceWatch, ToolError> {
        match self.inner.link.watch_resource(uri).await {
            Ok(watching) => Ok(ResourceWatch { session: self.clone(), uri: uri.to_owned(), watching }),
            Err(error) => {
                let scene = self.scene(Phase::Call, Lost(convert::is_lost(&error))).await;
                Err(convert::request_error(error, scene))
            }
        }
    }

    /// Counts the server's notices that its prompts changed.
    pub fn prompts_changed(&self) -> watch::Receiver<u64> {
        self.inner.link.prompts_changed()
    }

    /// Counts the server's notices that its list of resources changed.
    pub fn resources_changed(&self) -> watch::Receiver<u64> {
        self.inner.link.resources_changed()
    }

    async fn ask(&self, method: &'static str, params: JsonObject) -> Result<Value, ToolError> {
        match self.inner.link.follow(method, params, None).await {
            Ok(result) => Ok(result),
            Err(error) => {
                let scene = self.scene(Phase::Call, Lost(convert::is_lost(&error))).await;
                Err(convert::request_error(error, scene))
            }
        }
    }

    fn lacks(&self, result: &Value, key: &str) -> ToolError {
        let reason = match result.get("resultType").and_then(Value::as_str) {
            Some("input_required") => "it asks for input, which was not offered".to_owned(),
            _ => format!("its answer has no {key:?}"),
        };
        ToolError::Malformed { server: self.inner.server.clone(), reason }
    }

    async fn listing<T: Item>(&self, method: &'static str, key: &str) -> Result<Listing<T>, ToolError> {
        let Inner { server, options, .. } = &*self.inner;
        let mut list = Listing::default();
        let mut seen = HashSet::new();
        let mut params = JsonObject::new();
        for _ in 0..PAGES {
            let limit = options.list_timeout;
            let mut result = match timeout(limit, self.ask(method, params.clone())).await {
                Ok(result) => result?,
                Err(_) => {
                    return Err(ToolError::Timeout { server: server.clone(), phase: Phase::List, limit });
                }
            };
            let Some(Value::Array(items)) = result.get_mut(key).map(Value::take) else {
                return Err(self.lacks(&result, key));
            };
            for item in items {
                let place = list.items.len() + list.dropped.len() + 1;
                let read = match item {
                    Value::Object(mut item) => T::read(&mut item),
                    _ => Err("it is not an object"),
                };
                match read {
                    Ok(item) => list.items.push(item),
                    Err(reason) => {
                        let name = format!("#{place}");
                        tracing::warn!(%server, method, name, reason, "left out an item that is not valid");
                        list.dropped.push(DroppedTool { name, reason: reason.to_owned() });
                    }
                }
            }
            let Some(Value::String(next)) = result.get_mut("nextCursor").map(Value::take) else {
                return Ok(list);
            };
            if !seen.insert(next.clone()) {
                list.truncated = Some("the server's pages repeat".to_owned());
                return Ok(list);
            }
            params.insert("cursor".to_owned(), Value::String(next));
        }
        list.truncated = Some(format!("the server has more than {PAGES} pages"));
        Ok(list)
    }
}
