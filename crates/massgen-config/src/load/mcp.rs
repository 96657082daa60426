//! Servers: `mcp_servers` in both forms.

use std::collections::BTreeMap;
use std::path::PathBuf;

use mcp_core::{MissingCredential, ServerName, ToolFilter};

use super::Loader;
use crate::diagnostic::Place;
use crate::interpolate::expand_home;
use crate::node::{Node, Value};
use crate::read::{KeyPath, Reader, Section, short};
use crate::schema::{EFFECTS, MCP_SERVER, SAMPLING, SECURITY, SECURITY_ENV};
use crate::{
    Duplicates, Effects, Isolation, McpServerConfig, McpTransport, Origin, SamplingApproval, SamplingConfig,
    Sandbox, Secret, SecurityConfig, SecurityEnvConfig, SecurityEnvMode, SecurityLevel, Start, ToolEffects,
};

const LEVELS: &[&str] = &["strict", "moderate", "permissive"];

impl Loader<'_> {
    /// `mcp_servers` and `mcp_config` of the top or of a backend; names are unique.
    pub(super) fn servers(&mut self, section: &Section<'_>, reader: &mut Reader<'_>) -> Vec<McpServerConfig> {
        let mut servers = match section.node("mcp_servers") {
            Some(node) => self.server_map(node, &section.path.key("mcp_servers"), reader),
            None => Vec::new(),
        };
        let path = section.path.key("mcp_config");
        for file in section.list("mcp_config").unwrap_or_default() {
            let place = section.place_of("mcp_config");
            // Places are those of one file: what this one waits for is not forgotten meanwhile.
            let missing = std::mem::take(&mut self.missing);
            let servers_of_file = self.server_file(&file, place, &path, reader);
            self.missing = missing;
            for server in servers_of_file {
                if servers.iter().any(|known| known.name == server.name) {
                    let message = format!(
                        "the server {} of {file} is left out: there is one of that name already",
                        server.name
                    );
                    reader.warn(place, &path, message, "rename one of them");
                } else {
                    servers.push(server);
                }
            }
        }
        servers
    }

    pub(super) fn server_map(
        &mut self,
        node: &Node,
        path: &KeyPath,
        reader: &mut Reader<'_>,
    ) -> Vec<McpServerConfig> {
        // (name, where the name stands, key, the server)
        let mut found: Vec<(String, Place, KeyPath, &Node)> = Vec::new();
        match &node.value {
            Value::Map(entries) => {
                for entry in entries {
                    let at = path.key(&entry.key);
                    if let Some(name) = entry.node.find("name").and_then(Node::as_text)
                        && name != entry.key
                    {
                        let message =
                            format!("the server is called {}, not {}", short(&entry.key), short(name));
                        reader.warn(
                            entry.node.place,
                            &at.key("name"),
                            message,
                            "remove name: the key is the name",
                        );
                    }
                    found.push((entry.key.clone(), entry.key_place, at, &entry.node));
                }
            }
            Value::List(items) => {
                for (i, item) in items.iter().enumerate() {
                    let at = path.index(i);
                    match item.find("name").and_then(|name| Some((name.as_text()?, name.place))) {
                        Some((name, place)) => found.push((name.to_owned(), place, at, item)),
                        None => reader.error(
                            item.place,
                            &at,
                            format!("{at} has no name"),
                            "in the list form every server needs name",
                        ),
                    }
                }
            }
            _ => {
                let message = format!(
                    "{path} must be a mapping of names to servers, or a list of servers, not {}",
                    node.describe()
                );
                reader.error(node.place, path, message, "");
            }
        }
        let mut servers: Vec<(McpServerConfig, Place)> = Vec::new();
        for (name, place, at, node) in found {
            let name = match ServerName::new(&name) {
                Ok(name) => name,
                Err(error) => {
                    reader.error(
                        place,
                        &at,
                        error.to_string(),
                        "a server's name is 1 to 100 letters, digits, \"_\" and \"-\"",
                    );
                    continue;
                }
            };
            if let Some((_, first)) = servers.iter().find(|(known, _)| known.name == name) {
                let message = format!("there are two servers called {name}");
                reader.error(place, &at, message, format!("rename one; the other is in line {}", first.line));
                continue;
            }
            if let Some(server) = self.server(name, node, &at, place, reader) {
                servers.push((server, place));
            }
        }
        servers.into_iter().map(|(server, _)| server).collect()
    }

    pub(super) fn server(
        &mut self,
        name: ServerName,
        node: &Node,
        path: &KeyPath,
        place: Place,
        reader: &mut Reader<'_>,
    ) -> Option<McpServerConfig> {
        let node = respelt(node);
        let section = reader.section(&node, path, &MCP_SERVER)?;
        let transport = self.transport(&name, &section, place, reader)?;
        let stdio = matches!(transport, McpTransport::Stdio { .. });
        let idle: &[&str] = if stdio {
            &["url", "headers", "http_read_timeout", "ca_file"]
        } else {
            &[
                "command",
                "args",
                "env",
                "cwd",
                "start",
                "idle_timeout",
                "sandbox",
                "sandbox_ports",
                "max_processes",
            ]
        };
        // Where both ways are given without a type, that has been said.
        let said = |key: &str| key == "url" && !section.has("type");
        for key in idle.iter().filter(|key| section.has(key) && !said(key)) {
            let way = if stdio { "a child process (stdio)" } else { "HTTP" };
            reader.warn(
                section.place_of(key),
                &path.key(key),
                format!("{key} has no effect: the server {name} is reached by {way}"),
                "",
            );
        }
        for key in ["allowed_tools", "exclude_tools", "retry_safe"] {
            patterns(&section, key, reader);
        }
        Some(McpServerConfig {
            description: section.text("description"),
            timeout: section.duration("timeout"),
            startup_timeout: section.duration("startup_timeout"),
            http_read_timeout: section.duration("http_read_timeout"),
            ca_file: section.text("ca_file").filter(|path| !path.is_empty()).map(|path| self.beside(&path)),
            allowed_tools: section.list("allowed_tools"),
            exclude_tools: section.list("exclude_tools").unwrap_or_default(),
            required: section.bool("required").unwrap_or(false),
            start: match section.choice("start", &["eager", "lazy"]) {
                Some("lazy") => Start::Lazy,
                _ => Start::Eager,
            },
            idle_timeout: section.duration("idle_timeout"),
            sandbox: match section.choice("sandbox", &["off", "restrict", "strict"]) {
                Some("restrict") => Some(Sandbox::Restrict),
                Some("strict") => Some(Sandbox::Strict),
                _ => None,
            },
            sandbox_ports: ports(&section, reader),
            max_processes: section.small("max_processes"),
            isolation: match section.choice("isolation", &["shared", "per_agent"]) {
                Some("per_agent") => Isolation::PerAgent,
                _ => Isolation::Shared,
            },
            missing_credential: self.waits_for(&node),
            origin: Some(origin(&node, path, place, reader)),
            effects: effects(&section, reader),
            security: security(&section, reader),
            sampling: sampling(&section, reader),
            roots: self.roots(&section),
            max_retries: section.small("max_retries"),
            retry_safe: section.list("retry_safe").unwrap_or_default(),
            trusted: section.choice("trust", &["untrusted", "trusted"]) == Some("trusted"),
            duplicates: match section.choice("duplicates", &["allow", "suppress"]) {
                Some("suppress") => Duplicates::Suppress,
                _ => Duplicates::Allow,
            },
            circuit_breaker: section
                .bool("circuit_breaker")
                .or_else(|| section.node("circuit_breaker")?.find("enabled")?.as_bool()),
            ..McpServerConfig::new(name, transport)
        })
    }

    fn transport(
        &mut self,
        name: &ServerName,
        section: &Section<'_>,
        place: Place,
        reader: &mut Reader<'_>,
    ) -> Option<McpTransport> {
        let path = section.path.clone();
        let given = section.choice("type", &["stdio", "streamable-http", "http", "sse"]);
        let kind = match given {
            Some(kind) => kind,
            None if section.has("command") => "stdio",
            None if section.has("url") => "http",
            None if section.has("args") => "stdio",
            None => {
                let message = format!("the server {name} has neither command nor url");
                reader.error(place, &path, message, "add command: (a program) or url: (a remote server)");
                return None;
            }
        };
        if given.is_none() && section.has("command") && section.has("url") {
            let message = format!("the server {name} has both command and url; it is started by command");
            reader.warn(section.place_of("url"), &path.key("url"), message, "remove one, or set type");
        }
        if kind == "stdio" {
            return self.stdio(name, section, place, reader);
        }
        let Some(url) = section.text("url").filter(|url| !url.is_empty()) else {
            reader.error(
                place,
                &path,
                format!("the server {name} has no url"),
                format!("type {kind} needs url"),
            );
            return None;
        };
        let at = path.key("url");
        match url::Url::parse(&url) {
            Ok(parsed) if matches!(parsed.scheme(), "http" | "https") => {
                if parsed.password().is_some() || !parsed.username().is_empty() {
                    reader.error(
                        section.place_of("url"),
                        &at,
                        "the url holds a user or a password",
                        "send it in headers: { Authorization: \"...\" }",
                    );
                    return None;
                }
            }
            Ok(parsed) => {
                let message = format!("the url's scheme is {}, not http or https", parsed.scheme());
                reader.error(
                    section.place_of("url"),
                    &at,
                    message,
                    "a remote server is reached over http or https",
                );
                return None;
            }
            Err(error) => {
                reader.error(
                    section.place_of("url"),
                    &at,
                    format!("this is not a url: {error}"),
                    "write it as https://host/path",
                );
                return None;
            }
        }
        let headers = self.secrets_of(section, "headers");
        if kind == "sse" {
            reader.warn(
                section.place_of("type"),
                &path.key("type"),
                "the sse transport is deprecated",
                "use streamable-http if the server offers it",
            );
            return Some(McpTransport::Sse { url, headers });
        }
        Some(McpTransport::StreamableHttp { url, headers })
    }

    fn stdio(
        &mut self,
        name: &ServerName,
        section: &Section<'_>,
        place: Place,
        reader: &mut Reader<'_>,
    ) -> Option<McpTransport> {
        let mut line: Vec<String> = match section.node("command").map(|node| &node.value) {
            // One text may be a whole command line; a path with spaces stays whole where `args` are given beside it.
            Some(Value::Text(text)) if !section.has("args") => split(text),
            _ => section.list("command").unwrap_or_default(),
        };
        line.extend(section.list("args").unwrap_or_default());
        if line.first().is_none_or(|program| program.trim().is_empty()) {
            let message = format!("the server {name} has no command");
            reader.error(
                place,
                &section.path,
                message,
                "type stdio needs command: the program that is the server",
            );
            return None;
        }
        let command = line.remove(0);
        let env = self.secrets_of(section, "env");
        for variable in env.keys().filter(|name| name.is_empty() || name.contains(['=', '\0'])) {
            let at = section.path.key("env");
            reader.error(
                section.place_of("env"),
                &at,
                format!("{} cannot be the name of a variable", short(variable)),
                "",
            );
        }
        let cwd = section.text("cwd").filter(|cwd| !cwd.is_empty()).map(PathBuf::from);
        Some(McpTransport::Stdio { command, args: line, env, cwd })
    }

    /// Folders, from the folder of the file.
    fn roots(&self, section: &Section<'_>) -> Vec<PathBuf> {
        section.list("roots").unwrap_or_default().iter().map(|path| self.beside(path)).collect()
    }

    /// A path that the file names: below the home folder, or beside the file.
    fn beside(&self, path: &str) -> PathBuf {
        expand_home(path, &self.options.environment)
            .unwrap_or_else(|| self.options.cwd.join(&self.dir).join(path))
    }

    /// The credential that a server's values wait for.
    fn waits_for(&self, node: &Node) -> Option<MissingCredential> {
        if self.missing.is_empty() {
            return None;
        }
        match &node.value {
            Value::Text(_) => {
                let found = self.missing.iter().find(|(place, _)| *place == node.place);
                found.map(|(_, missing)| missing.clone())
            }
            Value::List(items) => items.iter().find_map(|item| self.waits_for(item)),
            Value::Map(entries) => entries.iter().find_map(|entry| self.waits_for(&entry.node)),
            Value::Null | Value::Bool(..) | Value::Number(..) => None,
        }
    }

    fn secrets_of(&mut self, section: &Section<'_>, key: &str) -> BTreeMap<String, Secret> {
        let map = section.map(key);
        for (name, value) in &map {
            self.note_secret(name, value);
        }
        map.into_iter().map(|(name, value)| (name, Secret::new(value))).collect()
    }
}

/// Where a server and its parts are written.
fn origin(node: &Node, path: &KeyPath, place: Place, reader: &Reader<'_>) -> Origin {
    let mut lines = BTreeMap::new();
    for entry in node.entries() {
        lines.insert(entry.key.clone(), entry.key_place.line);
        match &entry.node.value {
            Value::Map(entries) => {
                lines.extend(entries.iter().map(|e| (format!("{}.{}", entry.key, e.key), e.key_place.line)));
            }
            Value::List(items) => {
                let numbered = items.iter().enumerate();
                lines.extend(numbered.map(|(i, item)| (format!("{}[{i}]", entry.key), item.place.line)));
            }
            _ => {}
        }
    }
    Origin { file: reader.source.name.to_string(), key: path.to_string(), line: place.line, lines }
}

/// A command line into words: quotes group, a backslash before a quote or a blank keeps it. No shell is involved, so
/// nothing else is special.
fn split(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    let mut characters = line.chars().peekable();
    while let Some(c) = characters.next() {
        match (c, quote) {
            ('\\', _) if characters.peek().is_some_and(|next| matches!(next, '"' | '\'' | ' ')) => {
                word.get_or_insert_default().extend(characters.next());
            }
            (c, Some(open)) if c == open => quote = None,
            (c, Some(_)) => word.get_or_insert_default().push(c),
            ('"' | '\'', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (c, None) if c.is_whitespace() => words.extend(word.take()),
            (c, None) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

/// The node with other programs' spellings made ours.
fn respelt(node: &Node) -> Node {
    let mut node = node.clone();
    if let Value::Map(entries) = &mut node.value {
        for entry in entries.iter_mut() {
            match (entry.key.as_str(), &mut entry.node.value) {
                ("type" | "transport", Value::Text(text)) => {
                    let plain = text.to_ascii_lowercase().replace('_', "-");
                    if matches!(plain.as_str(), "streamablehttp" | "streamable-http") {
                        *text = "streamable-http".to_owned();
                    }
                    if entry.key == "transport" {
                        entry.key = "type".to_owned();
                    }
                }
                ("serverUrl", _) => entry.key = "url".to_owned(),
                _ => {}
            }
        }
        entries.retain(|entry| entry.key != "disabled" || entry.node.as_bool() != Some(false));
    }
    node
}

/// Bad patterns are reported here rather than when the filter is built.
pub(super) fn patterns(section: &Section<'_>, key: &str, reader: &mut Reader<'_>) {
    for (i, pattern) in section.list(key).unwrap_or_default().iter().enumerate() {
        if let Err(error) = ToolFilter::new(None, std::slice::from_ref(pattern)) {
            let place = match section.node(key).map(|node| &node.value) {
                Some(Value::List(items)) => items.get(i).map_or(section.place, |item| item.place),
                _ => section.place_of(key),
            };
            reader.error(place, &section.path.key(key).index(i), error, "close every [ and {");
        }
    }
}

fn ports(section: &Section<'_>, reader: &mut Reader<'_>) -> Vec<u16> {
    let key = "sandbox_ports";
    let mut ports = Vec::new();
    for (i, text) in section.list(key).unwrap_or_default().iter().enumerate() {
        match text.parse() {
            Ok(port) if port > 0 => ports.push(port),
            _ => reader.error(
                section.place_of(key),
                &section.path.key(key).index(i),
                format!("{} is not a TCP port", short(text)),
                "write numbers from 1 to 65535, such as [443]",
            ),
        }
    }
    if section.has(key) && section.choice("sandbox", &["off", "restrict", "strict"]) != Some("strict") {
        reader.warn(
            section.place_of(key),
            &section.path.key(key),
            "sandbox_ports has no effect: only a strict sandbox closes the others".to_owned(),
            "set sandbox: strict",
        );
    }
    ports
}

fn effects(section: &Section<'_>, reader: &mut Reader<'_>) -> Effects {
    let one = |text: &str| match text.trim().to_ascii_lowercase().as_str() {
        "planned" => Some(ToolEffects::Planned),
        "immediate" => Some(ToolEffects::Immediate),
        _ => None,
    };
    debug_assert!(EFFECTS.iter().all(|word| one(word).is_some()));
    let Some(node) = section.node("effects") else { return Effects::default() };
    let Value::Map(entries) = &node.value else {
        return Effects { default: node.as_text().and_then(one), tools: Vec::new() };
    };
    let path = section.path.key("effects");
    let mut tools = Vec::new();
    for entry in entries {
        if let Err(error) = ToolFilter::new(None, std::slice::from_ref(&entry.key)) {
            reader.error(entry.key_place, &path.key(&entry.key), error, "close every [ and {");
        }
        tools.extend(entry.node.as_text().and_then(one).map(|effects| (entry.key.clone(), effects)));
    }
    Effects { default: None, tools }
}

fn sampling(server: &Section<'_>, reader: &mut Reader<'_>) -> SamplingConfig {
    let defaults = SamplingConfig::default();
    let read = |node| reader.section(node, &server.path.key("sampling"), &SAMPLING);
    let Some(section) = server.node("sampling").and_then(read) else { return defaults };
    SamplingConfig {
        enabled: section.bool("enabled").unwrap_or(defaults.enabled),
        approval: match section.choice("approval", &["ask", "allow"]) {
            Some("allow") => SamplingApproval::Allow,
            _ => SamplingApproval::Ask,
        },
        max_calls: section.small("max_calls").unwrap_or(defaults.max_calls),
        max_tokens: section.integer("max_tokens").unwrap_or(defaults.max_tokens),
        agent: section.text("agent").filter(|agent| !agent.is_empty()),
    }
}

fn security(server: &Section<'_>, reader: &mut Reader<'_>) -> SecurityConfig {
    let read = |node| reader.section(node, &server.path.key("security"), &SECURITY);
    let Some(section) = server.node("security").and_then(read) else { return SecurityConfig::default() };
    let env =
        section.node("env").and_then(|node| reader.section(node, &section.path.key("env"), &SECURITY_ENV));
    SecurityConfig {
        level: section.choice("level", LEVELS).and_then(level),
        allow_localhost: section.bool("allow_localhost").unwrap_or(false),
        allow_private_ips: section.bool("allow_private_ips").unwrap_or(false),
        allowed_hostnames: section.list("allowed_hostnames"),
        resolve_dns: section.bool("resolve_dns"),
        allowed_executables: section.list("allowed_executables").unwrap_or_default(),
        env: env.map_or_else(SecurityEnvConfig::default, |env| SecurityEnvConfig {
            level: env.choice("level", LEVELS).and_then(level),
            mode: match env.choice("mode", &["denylist", "allowlist"]) {
                Some("denylist") => Some(SecurityEnvMode::Denylist),
                Some("allowlist") => Some(SecurityEnvMode::Allowlist),
                _ => None,
            },
            allowed_vars: env.list("allowed_vars").unwrap_or_default(),
            denied_vars: env.list("denied_vars").unwrap_or_default(),
        }),
    }
}

fn level(word: &str) -> Option<SecurityLevel> {
    match word {
        "strict" => Some(SecurityLevel::Strict),
        "moderate" => Some(SecurityLevel::Moderate),
        "permissive" => Some(SecurityLevel::Permissive),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn a_command_line_is_split_into_words() {
        for (line, words) in [
            ("npx -y server", vec!["npx", "-y", "server"]),
            ("  'a b'  \"c d\" e\\ f ''", vec!["a b", "c d", "e f", ""]),
            ("C:\\bin\\x.exe a", vec!["C:\\bin\\x.exe", "a"]),
            ("", vec![]),
        ] {
            assert_eq!(split(line), words, "{line}");
        }
    }
}
