//! Which key goes to which host. A provider's key is never sent to another host.
//!
//! ```
//! use massgen_config::{BackendConfig, BackendKind, keys};
//! use mcp_core::Environment;
//!
//! let environment = Environment::from_iter([("OPENAI_API_KEY", "sk-1"), ("GROQ_API_KEY", "gsk-1")]);
//! let mut backend = BackendConfig::new(BackendKind::ChatCompletion);
//! backend.base_url = Some("https://api.groq.com/openai/v1".to_owned());
//! let key = keys::api_key(&backend, &environment)?;
//! assert_eq!(key.source.as_deref(), Some("GROQ_API_KEY"));
//! # Ok::<(), keys::MissingKey>(())
//! ```

use std::net::IpAddr;

use mcp_core::Environment;
use url::{Host, Url};

use crate::{BackendConfig, BackendKind, Diagnostic, Secret, Severity};

/// Azure's version where neither file nor environment names one.
pub const DEFAULT_AZURE_API_VERSION: &str = "2024-12-01-preview";

/// The key for a backend, and where it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyChoice {
    /// The key; `None` where none is needed, or none is known and the host may not need one.
    pub value: Option<Secret>,
    /// The variable it came from, or `api_key` for the file; `None` where there is no key.
    pub source: Option<String>,
    /// What to tell a user whose server then refuses: set where a key may be missing.
    pub hint: Option<String>,
}

impl KeyChoice {
    fn none(hint: Option<String>) -> Self {
        Self { value: None, source: None, hint }
    }

    fn of(value: &str, source: &str) -> Self {
        Self { value: Some(Secret::new(value.trim())), source: Some(source.to_owned()), hint: None }
    }
}

/// A provider's key is missing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}no API key for {label}: {reason}", agent.as_ref().map(|agent| format!("agent {agent:?}: ")).unwrap_or_default())]
pub struct MissingKey {
    /// The agent, where one is known: see [`MissingKey::of_agent`].
    pub agent: Option<String>,
    /// The provider's name for people.
    pub label: String,
    /// The variables that were looked at, in order.
    pub variables: Vec<String>,
    /// Why there is none.
    pub reason: String,
    /// What to do about it.
    pub help: String,
}

impl MissingKey {
    /// The same error, naming the agent.
    #[must_use]
    pub fn of_agent(mut self, agent: &str) -> Self {
        self.agent = Some(agent.to_owned());
        self
    }

    /// As one problem among others.
    pub fn to_diagnostic(&self) -> Diagnostic {
        Diagnostic::new(Severity::Error, self.to_string()).with_help(self.help.clone())
    }
}

/// What several agents lack, told once: which providers have no key and why, for which agents, and the remedy. Empty
/// strings where `missing` is empty.
///
/// ```
/// use massgen_config::{BackendConfig, BackendKind, keys};
///
/// let none = mcp_core::Environment::default();
/// let backend = BackendConfig::new(BackendKind::OpenAi);
/// let missing = ["scout", "sceptic"].map(|agent| keys::api_key(&backend, &none).unwrap_err().of_agent(agent));
/// let (message, remedy) = keys::together(&missing);
/// assert_eq!(message, "no API key for OpenAI: OPENAI_API_KEY is not set (agents scout, sceptic)");
/// assert!(remedy.starts_with("set OPENAI_API_KEY in the environment or in .env"));
/// ```
pub fn together(missing: &[MissingKey]) -> (String, String) {
    let mut groups: Vec<(&MissingKey, Vec<&str>)> = Vec::new();
    for key in missing {
        let same = |(first, _): &&mut (&MissingKey, Vec<&str>)| {
            (&first.label, &first.reason, &first.help) == (&key.label, &key.reason, &key.help)
        };
        let agent = key.agent.as_deref();
        match groups.iter_mut().find(same) {
            Some((_, agents)) => agents.extend(agent),
            None => groups.push((key, agent.into_iter().collect())),
        }
    }
    let line = |(key, agents): &(&MissingKey, Vec<&str>)| {
        let whose = match agents.as_slice() {
            [] => String::new(),
            [agent] => format!(" (agent {agent})"),
            agents => format!(" (agents {})", agents.join(", ")),
        };
        format!("{}: {}{whose}", key.label, key.reason)
    };
    let message = match groups.as_slice() {
        [] => String::new(),
        [group] => format!("no API key for {}", line(group)),
        groups => {
            let lines: Vec<_> = groups.iter().map(|group| format!("\n  {}", line(group))).collect();
            format!("API keys are missing:{}", lines.concat())
        }
    };
    // What is simply not set is one remedy, whatever its name.
    let (unset, other): (Vec<_>, Vec<_>) =
        groups.iter().partition(|(key, _)| key.help == unset(&key.variables));
    let mut remedies = Vec::new();
    if !unset.is_empty() {
        let names: Vec<_> = unset.iter().map(|(key, _)| key.variables.join(" or ")).collect();
        remedies.push(remedy(&distinct(names).join(" and ")));
    }
    remedies.extend(distinct(other.iter().map(|(key, _)| key.help.clone()).collect()));
    (message, remedies.join("; "))
}

fn distinct(mut texts: Vec<String>) -> Vec<String> {
    let mut seen = std::collections::BTreeSet::new();
    texts.retain(|text| seen.insert(text.clone()));
    texts
}

/// What helps where none of these variables is set.
fn unset(names: &[String]) -> String {
    remedy(&names.join(" or "))
}

fn remedy(names: &str) -> String {
    format!("set {names} in the environment or in .env, or api_key: ${{VARIABLE}} in the backend")
}

/// Where requests go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The base URL, as its owner wrote it.
    pub url: String,
    /// Who chose it.
    pub source: EndpointSource,
}

/// Who chose an [`Endpoint`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndpointSource {
    /// The configuration.
    Config,
    /// This environment variable.
    Environment(&'static str),
    /// The provider's own address.
    Default,
}

/// The keys a host takes, by the host's name or the end of it.
struct HostKeys {
    domains: &'static [&'static str],
    variables: &'static [&'static str],
}

const HOSTS: [HostKeys; 14] = [
    HostKeys { domains: &["api.openai.com"], variables: &["OPENAI_API_KEY"] },
    HostKeys { domains: &["cerebras.ai"], variables: &["CEREBRAS_API_KEY"] },
    HostKeys { domains: &["z.ai"], variables: &["ZAI_API_KEY"] },
    HostKeys { domains: &["together.ai", "together.xyz"], variables: &["TOGETHER_API_KEY"] },
    HostKeys { domains: &["fireworks.ai"], variables: &["FIREWORKS_API_KEY"] },
    HostKeys { domains: &["groq.com"], variables: &["GROQ_API_KEY"] },
    HostKeys { domains: &["studio.nebius.ai", "studio.nebius.com"], variables: &["NEBIUS_API_KEY"] },
    HostKeys { domains: &["openrouter.ai"], variables: &["OPENROUTER_API_KEY"] },
    HostKeys { domains: &["moonshot.cn", "moonshot.ai"], variables: &["MOONSHOT_API_KEY", "KIMI_API_KEY"] },
    HostKeys {
        domains: &["dashscope.aliyuncs.com", "dashscope-intl.aliyuncs.com"],
        variables: &["QWEN_API_KEY"],
    },
    HostKeys { domains: &["api.poe.com"], variables: &["POE_API_KEY"] },
    HostKeys { domains: &["x.ai"], variables: &["XAI_API_KEY"] },
    HostKeys { domains: &["anthropic.com"], variables: &["ANTHROPIC_API_KEY"] },
    HostKeys {
        domains: &["generativelanguage.googleapis.com"],
        variables: &["GOOGLE_API_KEY", "GEMINI_API_KEY"],
    },
];

/// The variable that moves a provider to another address, if it has one.
const fn base_url_variable(kind: BackendKind) -> Option<&'static str> {
    match kind {
        BackendKind::OpenAi => Some("OPENAI_BASE_URL"),
        BackendKind::Claude => Some("ANTHROPIC_BASE_URL"),
        BackendKind::Gemini => Some("GOOGLE_GEMINI_BASE_URL"),
        BackendKind::AzureOpenAi => Some("AZURE_OPENAI_ENDPOINT"),
        _ => None,
    }
}

/// The variables that hold a provider's own key, in order.
pub const fn variables(kind: BackendKind) -> &'static [&'static str] {
    match kind {
        BackendKind::OpenAi => &["OPENAI_API_KEY"],
        BackendKind::Claude | BackendKind::ClaudeCode => &["ANTHROPIC_API_KEY"],
        BackendKind::Gemini => &["GOOGLE_API_KEY", "GEMINI_API_KEY"],
        BackendKind::Grok => &["XAI_API_KEY"],
        BackendKind::Zai => &["ZAI_API_KEY"],
        BackendKind::AzureOpenAi => &["AZURE_OPENAI_API_KEY"],
        BackendKind::ChatCompletion | BackendKind::LmStudio | BackendKind::Scripted => &[],
    }
}

/// Where a backend's requests go: `base_url`, else the provider's variable in the environment (`OPENAI_BASE_URL`,
/// `ANTHROPIC_BASE_URL`, `GOOGLE_GEMINI_BASE_URL`, `AZURE_OPENAI_ENDPOINT`), else the provider's own address. `None`
/// where nothing is dialled, and for Azure without an endpoint.
pub fn endpoint(backend: &BackendConfig, environment: &Environment) -> Option<Endpoint> {
    let kind = backend.kind;
    if matches!(kind, BackendKind::ClaudeCode | BackendKind::Scripted) {
        return None;
    }
    if let Some(url) = backend.azure_endpoint.as_ref().or(backend.base_url.as_ref()) {
        let injected = kind.default_base_url() == Some(url.as_str());
        let source = if injected { EndpointSource::Default } else { EndpointSource::Config };
        return Some(Endpoint { url: url.clone(), source });
    }
    if let Some(variable) = base_url_variable(kind)
        && let Some(url) = environment.non_empty(variable)
    {
        let url = url.trim().trim_end_matches('/').to_owned();
        return Some(Endpoint { url, source: EndpointSource::Environment(variable) });
    }
    kind.default_base_url().map(|url| Endpoint { url: url.to_owned(), source: EndpointSource::Default })
}

/// Azure's `api_version`: the file's, else `AZURE_OPENAI_API_VERSION`, else `OPENAI_API_VERSION`, else
/// [`DEFAULT_AZURE_API_VERSION`].
pub fn azure_api_version(backend: &BackendConfig, environment: &Environment) -> String {
    let from_environment = ["AZURE_OPENAI_API_VERSION", "OPENAI_API_VERSION"]
        .iter()
        .find_map(|name| environment.non_empty(name));
    (backend.api_version.as_deref().or(from_environment))
        .unwrap_or(DEFAULT_AZURE_API_VERSION)
        .trim()
        .to_owned()
}

/// The key for a backend: `api_key` of the file, else the variable that belongs to the host its requests go to.
///
/// A variable's key goes only to hosts of its own provider (the exact name or a subdomain) - or, where the provider's
/// own base URL variable moved it, to the address the same environment names. Servers on this machine need none.
///
/// # Errors
///
/// [`MissingKey`], with the variables to set, where the provider is known to need one; for Azure also where there is
/// no endpoint.
pub fn api_key(backend: &BackendConfig, environment: &Environment) -> Result<KeyChoice, MissingKey> {
    let kind = backend.kind;
    let missing = |variables: &[&str], reason: String, help: String| MissingKey {
        agent: None,
        label: backend.label().to_owned(),
        variables: variables.iter().map(|&name| name.to_owned()).collect(),
        reason,
        help,
    };
    let endpoint = endpoint(backend, environment);
    if kind == BackendKind::AzureOpenAi && endpoint.is_none() {
        return Err(missing(
            &["AZURE_OPENAI_ENDPOINT"],
            "there is no endpoint to send one to".to_owned(),
            "set AZURE_OPENAI_ENDPOINT, or azure_endpoint in the backend: https://RESOURCE.openai.azure.com"
                .to_owned(),
        ));
    }
    if let Some(key) = backend.api_key.as_ref().filter(|key| !key.expose().trim().is_empty()) {
        return Ok(KeyChoice::of(key.expose(), "api_key"));
    }
    let first_set = |names: &'static [&'static str]| {
        names.iter().find_map(|name| environment.non_empty(name).map(|value| KeyChoice::of(value, name)))
    };
    match kind {
        BackendKind::Scripted => return Ok(KeyChoice::none(None)),
        // Without a key it uses its own login.
        BackendKind::ClaudeCode => {
            return Ok(first_set(variables(kind)).unwrap_or_else(|| KeyChoice::none(None)));
        }
        BackendKind::LmStudio => return Ok(KeyChoice::of("lm-studio", "lm-studio")),
        _ => {}
    }
    let Some(endpoint) = endpoint else { return Ok(KeyChoice::none(None)) };
    let url = Url::parse(&endpoint.url).ok();
    let host = url.as_ref().and_then(Url::host);
    let moved_by_environment = matches!(endpoint.source, EndpointSource::Environment(_));
    let names: &'static [&'static str] = match &host {
        // The same environment names both the address and the key.
        _ if moved_by_environment => variables(kind),
        Some(Host::Domain(domain)) => host_variables(kind, domain),
        _ => &[],
    };
    if let Some(choice) = first_set(names) {
        return Ok(choice);
    }
    let local = host.as_ref().is_some_and(is_local);
    let shown = host.as_ref().map_or_else(|| endpoint.url.clone(), Host::to_string);
    if !names.is_empty() && !local {
        let reason = match names {
            [name] => format!("{name} is not set"),
            names => format!("none of {} is set", names.join(", ")),
        };
        let help = remedy(&names.join(" or "));
        return Err(missing(names, reason, help));
    }
    if local || moved_by_environment {
        return Ok(KeyChoice::none(None));
    }
    let hint =
        format!("no key is known for {shown}; if it needs one, write api_key: ${{VARIABLE}} in the backend");
    if variables(kind).iter().any(|name| environment.non_empty(name).is_some()) {
        let name = variables(kind).join(" or ");
        let reason = format!("{name} is for {}, and base_url names {shown}", kind.label());
        return Err(missing(
            variables(kind),
            reason,
            format!("write api_key: ${{VARIABLE}} in the backend if {shown} is to have a key"),
        ));
    }
    Ok(KeyChoice::none(Some(hint)))
}

/// The variables whose key this host may have.
fn host_variables(kind: BackendKind, domain: &str) -> &'static [&'static str] {
    let domain = domain.trim_end_matches('.').to_ascii_lowercase();
    let within =
        |suffix: &str| domain.strip_suffix(suffix).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    if kind == BackendKind::AzureOpenAi {
        let azure = [
            "openai.azure.com",
            "cognitiveservices.azure.com",
            "services.ai.azure.com",
            "azure-api.net",
            "openai.azure.us",
            "openai.azure.cn",
        ];
        return if azure.iter().any(|suffix| within(suffix)) { variables(kind) } else { &[] };
    }
    HOSTS
        .iter()
        .find(|host| host.domains.iter().any(|suffix| within(suffix)))
        .map_or(&[], |host| host.variables)
}

/// Whether the host is this machine.
fn is_local(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(domain) => {
            let domain = domain.trim_end_matches('.');
            domain.eq_ignore_ascii_case("localhost") || domain.to_ascii_lowercase().ends_with(".localhost")
        }
        Host::Ipv4(address) => IpAddr::from(*address).is_loopback() || address.is_unspecified(),
        Host::Ipv6(address) => IpAddr::from(*address).is_loopback() || address.is_unspecified(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backend(kind: BackendKind, base_url: &str) -> BackendConfig {
        let mut backend = BackendConfig::new(kind);
        if !base_url.is_empty() {
            backend.base_url = Some(base_url.to_owned());
        }
        backend
    }

    /// Every variable set to its own name, so that a key's value says where it came from.
    fn everything() -> Environment {
        let names = HOSTS.iter().flat_map(|host| host.variables).chain(&["AZURE_OPENAI_API_KEY"]);
        names.map(|name| (*name, *name)).collect()
    }

    fn chosen(kind: BackendKind, base_url: &str, environment: &Environment) -> String {
        match api_key(&backend(kind, base_url), environment) {
            Ok(KeyChoice { value: Some(value), .. }) => value.expose().to_owned(),
            Ok(KeyChoice { hint, .. }) => format!("none{}", hint.map(|_| ", hint").unwrap_or_default()),
            Err(missing) => format!("missing {}", missing.variables.join(" ")),
        }
    }

    #[test]
    fn each_host_gets_its_own_key_and_no_other() {
        use BackendKind::*;
        for (kind, base_url, expected) in [
            (OpenAi, "", "OPENAI_API_KEY"),
            (Claude, "", "ANTHROPIC_API_KEY"),
            (Gemini, "", "GOOGLE_API_KEY"),
            (Grok, "", "XAI_API_KEY"),
            (Zai, "", "ZAI_API_KEY"),
            (LmStudio, "", "lm-studio"),
            (ClaudeCode, "", "ANTHROPIC_API_KEY"),
            (Scripted, "", "none"),
            (AzureOpenAi, "https://mine.openai.azure.com", "AZURE_OPENAI_API_KEY"),
            (AzureOpenAi, "https://mine.openai.azure.com.evil.example", "missing AZURE_OPENAI_API_KEY"),
            (AzureOpenAi, "", "missing AZURE_OPENAI_ENDPOINT"),
            (ChatCompletion, "", "OPENAI_API_KEY"),
            (ChatCompletion, "https://api.cerebras.ai/v1", "CEREBRAS_API_KEY"),
            (ChatCompletion, "https://api.z.ai/api/paas/v4", "ZAI_API_KEY"),
            (ChatCompletion, "https://api.together.xyz/v1", "TOGETHER_API_KEY"),
            (ChatCompletion, "https://api.fireworks.ai/inference/v1", "FIREWORKS_API_KEY"),
            (ChatCompletion, "https://api.groq.com/openai/v1", "GROQ_API_KEY"),
            (ChatCompletion, "https://api.studio.nebius.ai/v1", "NEBIUS_API_KEY"),
            (ChatCompletion, "https://openrouter.ai/api/v1", "OPENROUTER_API_KEY"),
            (ChatCompletion, "https://OPENROUTER.ai./api/v1", "OPENROUTER_API_KEY"),
            (ChatCompletion, "https://api.moonshot.cn/v1", "MOONSHOT_API_KEY"),
            (ChatCompletion, "https://dashscope-intl.aliyuncs.com/compatible-mode/v1", "QWEN_API_KEY"),
            // Look-alikes.
            (ChatCompletion, "https://groq.com.evil.example/v1", "none, hint"),
            (ChatCompletion, "https://evilgroq.com/v1", "none, hint"),
            (ChatCompletion, "https://evil.example/api.groq.com/v1", "none, hint"),
            (ChatCompletion, "https://evil.example/?x=z.ai", "none, hint"),
            (ChatCompletion, "https://api.groq.com@evil.example/v1", "none, hint"),
            (ChatCompletion, "http://localhost:11434/v1", "none"),
            (ChatCompletion, "http://[::1]:8000/v1", "none"),
            (ChatCompletion, "http://192.168.1.5:8000/v1", "none, hint"),
            (OpenAi, "https://proxy.example/v1", "missing OPENAI_API_KEY"),
            (OpenAi, "http://127.0.0.1:4010/v1", "none"),
            (OpenAi, "https://api.openai.com.evil.example/v1", "missing OPENAI_API_KEY"),
            (Claude, "https://api.groq.com/v1", "GROQ_API_KEY"),
        ] {
            assert_eq!(chosen(kind, base_url, &everything()), expected, "{kind} {base_url}");
        }
    }

    #[test]
    fn a_missing_key_names_the_variables_and_the_agent() {
        let error = api_key(&backend(BackendKind::Gemini, ""), &Environment::default()).unwrap_err();
        let diagnostic = error.of_agent("scout").to_diagnostic();
        expect_test::expect![[r#"
            error: agent "scout": no API key for Gemini: none of GOOGLE_API_KEY, GEMINI_API_KEY is set
              help: set GOOGLE_API_KEY or GEMINI_API_KEY in the environment or in .env, or api_key: ${VARIABLE} in the backend"#]]
        .assert_eq(&diagnostic.to_string());
        let blank = Environment::from_iter([("GOOGLE_API_KEY", "  "), ("GEMINI_API_KEY", "g")]);
        assert_eq!(chosen(BackendKind::Gemini, "", &blank), "g");
    }

    #[test]
    fn the_files_key_goes_to_the_files_host() {
        let mut backend = backend(BackendKind::OpenAi, "https://proxy.example/v1");
        backend.api_key = Some(Secret::new("mine"));
        let choice = api_key(&backend, &everything()).unwrap();
        assert_eq!(choice.value.unwrap().expose(), "mine");
        assert_eq!(choice.source.as_deref(), Some("api_key"));
    }

    #[test]
    fn the_environment_may_move_a_provider() {
        let environment =
            Environment::from_iter([("OPENAI_BASE_URL", "https://gw.example/v1/"), ("OPENAI_API_KEY", "k")]);
        let backend = backend(BackendKind::OpenAi, "");
        let endpoint = endpoint(&backend, &environment).unwrap();
        assert_eq!(endpoint.url, "https://gw.example/v1");
        assert_eq!(endpoint.source, EndpointSource::Environment("OPENAI_BASE_URL"));
        assert_eq!(chosen(BackendKind::OpenAi, "", &environment), "k");
        // The variable does not move a backend whose file says where it is.
        assert_eq!(
            chosen(BackendKind::OpenAi, "https://other.example/v1", &environment),
            "missing OPENAI_API_KEY"
        );
    }
}
