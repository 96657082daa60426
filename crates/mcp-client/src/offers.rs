//! What a server has besides tools. These requests change nothing, so no pipeline stands before them: each is bounded by
//! the server's `call_timeout`, and secrets are taken out of its errors.

use std::collections::BTreeMap;

use mcp_core::{EmbeddedResource, Phase, ToolError};
use mcp_transport::{
    Completion, CompletionTarget, Listing, Prompt, PromptText, Resource, ResourceTemplate, Session,
};
use tokio::time::timeout;

use crate::{McpClient, redact};

impl McpClient {
    /// Lists the server's resources, all pages.
    ///
    /// # Errors
    ///
    /// [`ToolError::Unavailable`] while the server is away, [`ToolError::Timeout`], and those of
    /// [`Session::list_resources`].
    pub async fn list_resources(&self) -> Result<Listing<Resource>, ToolError> {
        self.ask((Phase::List, "resources/list"), async |session| session.list_resources().await).await
    }

    /// Lists the patterns of the server's resources, all pages.
    ///
    /// # Errors
    ///
    /// Those of [`McpClient::list_resources`].
    pub async fn list_resource_templates(&self) -> Result<Listing<ResourceTemplate>, ToolError> {
        self.ask((Phase::List, "resources/templates/list"), async |session| {
            session.list_resource_templates().await
        })
        .await
    }

    /// Reads a resource. What it holds is the server's text, and not to be trusted more than that.
    ///
    /// # Errors
    ///
    /// Those of [`McpClient::list_resources`] and [`Session::read_resource`].
    pub async fn read_resource(&self, uri: &str) -> Result<Vec<EmbeddedResource>, ToolError> {
        self.ask((Phase::Call, "resources/read"), async |session| session.read_resource(uri).await).await
    }

    /// Lists the server's prompts, all pages.
    ///
    /// # Errors
    ///
    /// Those of [`McpClient::list_resources`].
    pub async fn list_prompts(&self) -> Result<Listing<Prompt>, ToolError> {
        self.ask((Phase::List, "prompts/list"), async |session| session.list_prompts().await).await
    }

    /// Fills in a prompt.
    ///
    /// # Errors
    ///
    /// Those of [`McpClient::list_resources`] and [`Session::prompt`].
    pub async fn prompt(
        &self,
        name: &str,
        arguments: BTreeMap<String, String>,
    ) -> Result<PromptText, ToolError> {
        self.ask((Phase::Call, "prompts/get"), async |session| session.prompt(name, arguments).await).await
    }

    /// Asks for proposals for an argument that is being typed.
    ///
    /// # Errors
    ///
    /// Those of [`McpClient::list_resources`] and [`Session::complete`].
    pub async fn complete(
        &self,
        target: &CompletionTarget,
        argument: (&str, &str),
        others: BTreeMap<String, String>,
    ) -> Result<Completion, ToolError> {
        self.ask((Phase::Call, "completion/complete"), async |session| {
            session.complete(target, argument, others).await
        })
        .await
    }

    /// Tells the server that what the host says about its roots has changed.
    ///
    /// # Errors
    ///
    /// Those of [`McpClient::list_resources`].
    pub async fn roots_changed(&self) -> Result<(), ToolError> {
        self.ask((Phase::Call, "notifications/roots/list_changed"), async |session| {
            session.roots_changed().await
        })
        .await
    }

    async fn ask<T>(
        &self,
        (phase, method): (Phase, &'static str),
        request: impl AsyncFnOnce(Session) -> Result<T, ToolError>,
    ) -> Result<T, ToolError> {
        let shared = self.shared();
        let _wanted = shared.rest.wanted().await;
        let session = shared.session().ok_or_else(|| self.unavailable())?;
        let limit = shared.config.call_timeout;
        let bounded = async {
            let late = |_| ToolError::Timeout { server: shared.config.name.clone(), phase, limit };
            timeout(limit, request(session)).await.map_err(late)?
        };
        let answer = shared.measured(method, bounded).await;
        answer.map_err(|error| redact::error(&shared.options, error))
    }
}
