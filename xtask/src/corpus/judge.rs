//! Each category's way into the product's code.

use std::collections::BTreeMap;

use mcp_core::{
    AgentId, Annotations, Guard, JsonObject, LaunchSpec, Refusal, ServerName, ToolName, ToolSpec,
};
use mcp_security::address;
use mcp_security::args::{self, Server};
use mcp_security::lock::{ServerPins, Standing, ToolPin};
use mcp_security::path::{self, Operation, Scene};
use mcp_security::permission::{Decision, Defaults, Permissions, Rule, Verdict as Permitted};
use mcp_security::scan::{self, Around};
use mcp_security::url::{self, Context, Question};
use mcp_security::{
    Finding, Platform, Policy, Rules, Scopes, Trust, Verdict, command, env, header, names, schema,
};
use serde_json::Value;

use super::expand;

/// What the product says about a case.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) verdict: &'static str,
    pub(crate) rule: Option<String>,
    /// What goes on instead, where that is a text.
    pub(crate) value: Option<String>,
}

impl Answer {
    pub(super) fn new(verdict: &'static str, rule: impl Into<String>) -> Self {
        Self { verdict, rule: Some(rule.into()), value: None }
    }
}

impl<T> From<Verdict<T>> for Answer {
    fn from(verdict: Verdict<T>) -> Self {
        Self { verdict: verdict.name(), rule: verdict.rule().map(str::to_owned), value: None }
    }
}

type Findings = Result<Vec<Finding>, Refusal>;

fn answer(judged: Findings) -> Answer {
    Verdict::<()>::from(judged).into()
}

/// `None`: a category that is not known here.
pub(super) fn judge(category: &str, input: &Value) -> Option<Answer> {
    Some(match category {
        "command" => answer(launch(input)),
        "env" => answer(environment(input)),
        "url" => answer(address_of(input)),
        "tool_name" => tool_name(input),
        "tool_desc" => tool(input),
        "schema" => of_schema(input),
        "args" => arguments(input),
        "header" => headers(input),
        "path" => answer(path_of(input)),
        _ => return None,
    })
}

fn text<'a>(input: &'a Value, key: &str) -> &'a str {
    input.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn list(input: &Value, key: &str) -> Vec<String> {
    let items = input.get(key).and_then(Value::as_array).into_iter().flatten();
    items.filter_map(Value::as_str).map(str::to_owned).collect()
}

#[expect(clippy::expect_used, reason = "a constant that is a legal name")]
fn server(name: &str) -> ServerName {
    ServerName::new(name).or_else(|_| ServerName::new("server")).expect("a constant is valid")
}

fn platform(input: &Value) -> Platform {
    if text(input, "platform") == "windows" { Platform::Windows } else { Platform::Unix }
}

fn rules(input: &Value) -> Rules {
    Rules {
        trust: if text(input, "trust") == "project" { Trust::Project } else { Trust::User },
        platform: platform(input),
        allow_private_ips: input.get("allow_private").and_then(Value::as_bool).unwrap_or(false),
        ..Rules::default()
    }
}

fn launch(input: &Value) -> Findings {
    let rules = rules(input);
    let (program, args) = match input.get("command_line").and_then(Value::as_str) {
        Some(line) => {
            let mut words = command::split(line)?.into_iter();
            (words.next().unwrap_or_default(), words.collect())
        }
        None => (text(input, "command").to_owned(), list(input, "args")),
    };
    let findings = command::judge(&program, &args, &rules)?;
    // The guard says the same, or something is wrong with one of the two.
    let spec = LaunchSpec { program, args, ..LaunchSpec::default() };
    Policy::new(rules).admit_command(&server("server"), spec)?;
    Ok(findings)
}

fn environment(input: &Value) -> Findings {
    let fields = input.get("env").and_then(Value::as_object);
    let env: BTreeMap<String, String> = fields
        .into_iter()
        .flatten()
        .map(|(name, value)| (name.clone(), value.as_str().map_or_else(|| value.to_string(), str::to_owned)))
        .collect();
    let scope = list(input, "scope");
    for value in env.values() {
        env::judge_references(value, |name| scope.iter().any(|known| known == name))?;
    }
    env::judge(&env, rules(input).place())
}

fn address_of(input: &Value) -> Findings {
    let context = match text(input, "context") {
        "oauth_metadata" => Context::OAuthMetadata,
        "www_authenticate_resource_metadata" => Context::ResourceMetadata,
        "authorization_url" => Context::AuthorizationUrl,
        "oauth_redirect_uri" => Context::RedirectUri,
        "redirect" => Context::Redirect,
        "elicitation" => Context::Elicitation,
        "resource_link" => Context::ResourceLink,
        _ => Context::ServerConfig,
    };
    let base = input.get("base").and_then(Value::as_str).and_then(|base| url::parse(base).ok());
    let hops = input.get("hops").and_then(Value::as_u64).unwrap_or(0) as usize;
    let rules = rules(input);
    let question = Question { text: text(input, "url"), context, base: base.as_ref(), hops };
    let (url, findings) = url::admit(question, &rules)?;
    let chain = input.get("chain").and_then(Value::as_array).into_iter().flatten();
    let dialled = chain.filter_map(|step| step.get("connect_ip").and_then(Value::as_str).map(str::to_owned));
    for ip in list(input, "resolves_to").into_iter().chain(dialled) {
        let Ok(ip) = ip.parse() else { continue };
        let host = url.host_str().unwrap_or_default();
        match context {
            Context::ServerConfig => address::judge(host, ip, &rules)?,
            _ => url::judge_supplied_address(host, ip)?,
        }
    }
    Ok(findings)
}

fn tool_name(input: &Value) -> Answer {
    let existing: Vec<(&str, &str)> = input
        .get("existing")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|pair| Some((pair.get(0)?.as_str()?, pair.get(1)?.as_str()?)))
        .collect();
    names::judge(text(input, "server"), text(input, "tool"), &existing).into()
}

/// A value that a case spells as JSON text, read the way answers of servers are read.
fn read(value: &Value) -> Result<Value, Refusal> {
    match value.get("$raw").and_then(Value::as_str) {
        None => Ok(value.clone()),
        Some(raw) => serde_json::from_str(raw).map_err(|error| Refusal {
            rule: "json",
            reason: error.to_string(),
            hint: "it cannot be read".into(),
        }),
    }
}

fn spec(owner: &ServerName, value: &Value) -> Option<ToolSpec> {
    let string = |key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
    let mut spec = ToolSpec::new(owner.clone(), ToolName::new(text(value, "name")).ok()?);
    spec.title = string("title");
    spec.description = string("description");
    if let Some(schema) = value.get("inputSchema") {
        spec.input_schema = schema.clone().into();
    }
    spec.output_schema =
        value.get("outputSchema").filter(|schema| schema.is_object()).cloned().map(Into::into);
    spec.annotations = value
        .get("annotations")
        .and_then(|hints| serde_json::from_value::<Annotations>(hints.clone()).ok())
        .unwrap_or_default();
    Some(spec)
}

fn tool(input: &Value) -> Answer {
    let owner = server(text(input, "server"));
    let raw = |key: &str| match input.get(format!("{key}_raw")).and_then(Value::as_str) {
        Some(raw) => serde_json::from_str(raw).ok(),
        None => input.get(if key == "tool" { "tool" } else { "pinned" }).cloned(),
    };
    let Some(value) = raw("tool") else { return Answer::new("block", "json") };
    let Some(spec) = spec(&owner, &value) else { return Answer::new("block", "tool-name") };
    let foreign = list(input, "other_tools");
    let around = Around {
        foreign: foreign.iter().map(|name| name.rsplit('/').next().unwrap_or(name).to_owned()).collect(),
        own: [spec.name.as_str().to_owned()].into(),
    };
    if let Some(pinned) = raw("pinned").and_then(|pinned| self::spec(&owner, &pinned)) {
        let pins = ServerPins::of(None, [&pinned]);
        if let Standing::Changed(_) = pins.judge(&spec) {
            return Answer::new("block", "changed");
        }
    }
    if input.get("pinned_set").is_some() {
        let pins = ServerPins {
            launch: None,
            instructions: None,
            tools: list(input, "pinned_set")
                .iter()
                .filter_map(|name| {
                    Some((
                        name.clone(),
                        ToolPin::of(&ToolSpec::new(owner.clone(), ToolName::new(name).ok()?)),
                    ))
                })
                .collect(),
        };
        if let Standing::New = pins.judge(&spec) {
            return Answer::new("flag", "new");
        }
    }
    let said = scan::text(text(input, "instructions"), &around);
    if let Some(found) = said.hard.first() {
        return Answer::new("block", found.rule);
    }
    let verdict: Answer = scan::tool(&spec, &around).into();
    let icons = value.get("icons").and_then(Value::as_array).into_iter().flatten();
    // The product keeps no icons; one that nobody may look at is a changed definition.
    if verdict.verdict == "allow"
        && icons.filter_map(|icon| icon.get("src")?.as_str()).any(|src| !scan::icon(src))
    {
        return Answer::new("sanitize", "icon");
    }
    if verdict.verdict == "allow" && !said.soft.is_empty() {
        return Answer::new("flag", said.soft[0].rule);
    }
    verdict
}

fn of_schema(input: &Value) -> Answer {
    match input.get("schema").map(read) {
        Some(Ok(schema)) => schema::judge(&schema).into(),
        Some(Err(refusal)) => Answer::new("block", refusal.rule),
        None => Answer::new("block", "json"),
    }
}

fn arguments(input: &Value) -> Answer {
    let tool = text(input, "tool");
    let owner = server(text(input, "server"));
    let arguments: JsonObject = match input.get("arguments").map(read) {
        Some(Ok(Value::Object(arguments))) => arguments,
        _ => return Answer::new("block", "argument-limit"),
    };
    let mut spec = ToolSpec::new(
        owner.clone(),
        match ToolName::new(tool) {
            Ok(name) => name,
            Err(_) => return Answer::new("block", "tool-name"),
        },
    );
    if let Some(hints) = input.get("annotations") {
        spec.annotations = serde_json::from_value(hints.clone()).unwrap_or_default();
    }
    if let Some(schema) = input.get("inputSchema") {
        spec.input_schema = schema.clone().into();
        if mcp_client::check_arguments(&spec, &arguments).is_err() {
            return Answer::new("block", "schema");
        }
    }
    if let Some(policy) = input.get("policy") {
        let agent = AgentId::new("agent").ok();
        // Nothing is granted but what the case grants.
        let mut permissions =
            Permissions::new(Defaults { reads: Decision::Deny, ..Defaults::all_changes(Decision::Deny) });
        for (key, decision) in [("deny", Decision::Deny), ("allow", Decision::Allow)] {
            for pattern in list(policy, key) {
                if let Ok(rule) = Rule::new(&pattern, decision) {
                    permissions.add(None, rule);
                }
            }
        }
        if !matches!(
            permissions.decide(agent.as_ref(), &spec, &arguments),
            Permitted { decision: Decision::Allow, .. }
        ) {
            return Answer::new("block", "permission");
        }
    }
    let scopes = Scopes::default();
    for (name, labels) in input.get("secrets").and_then(Value::as_object).into_iter().flatten() {
        if let (Some(secret), Some(label)) = (expand::secret(name), labels.get(0).and_then(Value::as_str)) {
            scopes.register(&server(name), label, &secret);
        }
    }
    if scopes.foreign(&owner, &Value::Object(arguments.clone())).is_some() {
        return Answer::new("block", "foreign-secret");
    }
    let server = Server { roots: list(input, "roots"), platform: platform(input) };
    args::judge(tool, &arguments, &server).into()
}

fn headers(input: &Value) -> Answer {
    if let Some(parameter) = input.get("mcp_param") {
        let verdict = header::parameter(parameter.get("value").unwrap_or(&Value::Null));
        let value = match &verdict {
            Verdict::Sanitize(value) => Some(value.clone()),
            _ => None,
        };
        return Answer { value, ..verdict.into() };
    }
    let fields = input.get("headers").and_then(Value::as_object).into_iter().flatten();
    let headers: BTreeMap<String, String> =
        fields.map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned())).collect();
    answer(header::judge(&headers).map(|()| header::written_out(&headers)))
}

fn path_of(input: &Value) -> Findings {
    let roots = list(input, "roots");
    let links = input.get("symlinks").and_then(Value::as_object).cloned().unwrap_or_default();
    let link = |path: &str| links.get(path).and_then(Value::as_str).map(str::to_owned);
    let scene = Scene {
        roots: &roots,
        platform: platform(input),
        case_insensitive: input.get("case_insensitive").and_then(Value::as_bool).unwrap_or(false),
        link: &link,
    };
    let operation = match text(input, "op") {
        "" | "read" | "list" | "stat" => Operation::Read,
        _ => Operation::Write,
    };
    path::judge(text(input, "path"), operation, &scene)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_unknown_category_is_told_apart() {
        assert!(judge("weather", &json!({})).is_none());
        assert_eq!("allow", judge("path", &json!({"path": "/r/a", "roots": ["/r"]})).unwrap().verdict);
    }
}
