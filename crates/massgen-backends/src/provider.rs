//! From a configuration to a backend.

use std::sync::Arc;

use futures_util::{StreamExt, future, stream};
use mcp_core::JsonObject;
use reqwest::header::HeaderName;
use secrecy::SecretString;
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::http::{Exchange, HttpClient, HttpOptions, Key, is_loopback};
use crate::prices::{self, Price};
use crate::profile::{self, ProviderKind};
use crate::wire::chat::ToolMode;
use crate::{Backend, BackendError, Capabilities, Event, EventStream, ModelInfo, Request};

/// One model of one provider, as the user wants it. Its Debug output holds no key.
#[derive(Debug, Clone)]
pub struct ProviderConfig {
    /// The kind of provider.
    pub kind: ProviderKind,
    /// Where its interface is, such as `https://api.openai.com/v1`. Azure: the resource's address
    /// (`https://NAME.openai.azure.com`) or, for the newer interface, that with `/openai/v1`.
    pub base_url: Url,
    /// The model (Azure: the deployment).
    pub model: String,
    /// The key; sent to `base_url`'s host only, in a header.
    pub api_key: Option<SecretString>,
    /// What to do about a missing or refused key, such as `set OPENAI_API_KEY`.
    pub key_hint: String,
    /// Sampling temperature.
    pub temperature: Option<f64>,
    /// Nucleus sampling.
    pub top_p: Option<f64>,
    /// The most tokens to write.
    pub max_tokens: Option<u64>,
    /// Reasoning settings: `{effort, summary}`, or the provider's own.
    pub reasoning: Option<Value>,
    /// Text settings: `{verbosity, format}`.
    pub text: Option<Value>,
    /// More parameters for the request's body, merged last: `tools` is appended to, `null` removes a key.
    pub extra: JsonObject,
    /// How tools are offered (Chat Completions only).
    pub tool_mode: ToolMode,
    /// Azure's interface version.
    pub api_version: Option<String>,
    /// Other limits than the client's; its `connect_timeout` is the client's all the same.
    pub limits: Option<HttpOptions>,
    /// Another label for people than the provider's own.
    pub label: Option<String>,
}

impl ProviderConfig {
    /// A model at an address ([`ProviderKind::default_base_url`] has the usual ones), without a key; LM Studio's is
    /// always the same.
    pub fn new(kind: ProviderKind, base_url: Url, model: impl Into<String>) -> Self {
        Self {
            kind,
            base_url,
            model: model.into(),
            api_key: kind.default_key().map(Into::into),
            key_hint: "set api_key in the configuration".to_owned(),
            temperature: None,
            top_p: None,
            max_tokens: None,
            reasoning: None,
            text: None,
            extra: JsonObject::new(),
            tool_mode: ToolMode::default(),
            api_version: None,
            limits: None,
            label: None,
        }
    }
}

/// A backend for a configuration. Connects nowhere before it is asked.
///
/// What the user should know about the configuration is in [`crate::profile::notes`].
pub fn connect(config: ProviderConfig, client: &HttpClient) -> Arc<dyn Backend> {
    let info = ModelInfo { provider: profile::label(&config).to_string(), model: config.model.clone() };
    let unable = |info, error| -> Arc<dyn Backend> { Arc::new(Unable { info, error }) };
    let Some((origin, codec, capabilities)) = profile::codec(&config) else {
        let text = "running claude_code is not supported yet; use type: claude with ANTHROPIC_API_KEY for the same models";
        return unable(info, BackendError::Unsupported(text.to_owned()));
    };
    if profile::lacks_key(&config) {
        let error = BackendError::Auth {
            provider: info.provider.clone(),
            message: "there is no key".to_owned(),
            hint: config.key_hint,
        };
        return unable(info, error);
    }
    let price =
        if is_loopback(&config.base_url) { Some(Price::FREE) } else { prices::price_of(&config.model) };
    let options = profile::model_options(&config);
    let (header, prefix) = profile::key_header(config.kind);
    let key = config.api_key.map(|secret| Key { header: HeaderName::from_static(header), prefix, secret });
    let client = match config.limits {
        Some(limits) => client.clone().with_options(limits),
        None => client.clone(),
    };
    let exchange = Arc::new(Exchange { client, codec, origin, options, key });
    Arc::new(HttpBackend { info, capabilities, price, exchange })
}

/// A model behind HTTP.
struct HttpBackend {
    info: ModelInfo,
    capabilities: Capabilities,
    price: Option<Price>,
    exchange: Arc<Exchange>,
}

impl Backend for HttpBackend {
    fn model(&self) -> &ModelInfo {
        &self.info
    }

    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    fn stream(&self, request: Request, cancel: CancellationToken) -> EventStream {
        let price = self.price;
        let priced = move |event| match event {
            // What the provider itself says of the cost is better than a table.
            Ok(Event::Usage(mut usage)) => {
                usage.cost_usd = usage.cost_usd.or_else(|| price.map(|price| price.cost(&usage)));
                Ok(Event::Usage(usage))
            }
            other => other,
        };
        Box::pin(self.exchange.clone().ask(request, cancel).map(priced))
    }
}

/// A model that cannot be asked, and why.
struct Unable {
    info: ModelInfo,
    error: BackendError,
}

impl Backend for Unable {
    fn model(&self) -> &ModelInfo {
        &self.info
    }

    fn stream(&self, _request: Request, _cancel: CancellationToken) -> EventStream {
        Box::pin(stream::once(future::ready(Err(self.error.clone()))))
    }
}
