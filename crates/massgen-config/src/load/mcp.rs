//! Servers: `mcp_servers` in both forms.

use std::collections::BTreeMap;
use std::path::PathBuf;

use mcp_core::{ServerName, ToolFilter};

use super::Loader;
use crate::diagnostic::Place;
use crate::node::{Node, Value};
use crate::read::{KeyPath, Reader, Section, short};
use crate::schema::{EFFECTS, MCP_SERVER, SECURITY, SECURITY_ENV};
use crate::{
    Effects, Isolation, McpServerConfig, McpTransport, Secret, SecurityConfig, SecurityEnvConfig,
    SecurityEnvMode, SecurityLevel, ToolEffects,
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
            for server in self.server_file(&file, place, &path, reader) {
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
        let idle: &[&str] =
            if stdio { &["url", "headers", "http_read_timeout"] } else { &["command", "args", "env", "cwd"] };
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
        for key in ["allowed_tools", "exclude_tools"] {
            patterns(&section, key, reader);
        }
        Some(McpServerConfig {
            description: section.text("description"),
            timeout: section.duration("timeout"),
            startup_timeout: section.duration("startup_timeout"),
            http_read_timeout: section.duration("http_read_timeout"),
            allowed_tools: section.list("allowed_tools"),
            exclude_tools: section.list("exclude_tools").unwrap_or_default(),
            required: section.bool("required").unwrap_or(false),
            isolation: match section.choice("isolation", &["shared", "per_agent"]) {
                Some("per_agent") => Isolation::PerAgent,
                _ => Isolation::Shared,
            },
            effects: effects(&section, reader),
            security: security(&section, reader),
            max_retries: section.small("max_retries"),
            circuit_breaker: section.bool("circuit_breaker").or_else(|| {
                let enabled = section.node("circuit_breaker")?.find("enabled")?;
                enabled.as_text().map(|text| text.eq_ignore_ascii_case("true"))
            }),
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

    fn secrets_of(&mut self, section: &Section<'_>, key: &str) -> BTreeMap<String, Secret> {
        let map = section.map(key);
        for (name, value) in &map {
            self.note_secret(name, value);
        }
        map.into_iter().map(|(name, value)| (name, Secret::new(value))).collect()
    }
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
        entries.retain(|entry| entry.key != "disabled" || entry.node.as_text() == Some("true"));
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
