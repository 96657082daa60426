//! Other programs' files with `mcpServers`.

use std::path::{Path, PathBuf};

use mcp_core::ServerName;

use super::{Disk, FileReader, Folders, LoadOptions, Loaded, Loader, distinct, reason};
use crate::diagnostic::{Diagnostics, Place, Source};
use crate::interpolate::expand_home;
use crate::jsonc;
use crate::node::{Node, Value};
use crate::parse::{Format, parse};
use crate::read::{KeyPath, Reader, short};
use crate::schema::FOREIGN;
use crate::{Config, McpServerConfig, Secret};

impl Loader<'_> {
    /// A file with `mcpServers`, as Claude Desktop, Cursor and others keep it.
    pub(super) fn server_file(
        &mut self,
        file: &str,
        place: Place,
        path: &KeyPath,
        reader: &mut Reader<'_>,
    ) -> Vec<McpServerConfig> {
        let full = expand_home(file, &self.options.environment).unwrap_or_else(|| self.dir.join(file));
        let text = match self.files.read(&full) {
            Ok(text) => text,
            Err(error) => {
                let message = format!("{} cannot be read: {}", full.display(), reason(&error));
                reader.error(
                    place,
                    path,
                    message,
                    "the path starts from the folder of the configuration file",
                );
                return Vec::new();
            }
        };
        let format = if full.extension().is_some_and(|e| e == "yaml" || e == "yml") {
            Format::Yaml
        } else {
            Format::Json
        };
        // Editors take comments in these files.
        let text = if format == Format::Json { jsonc::plain(&text) } else { text };
        let source = Source::new(&full.display().to_string(), &text);
        let mut root = match parse(&source, format) {
            Ok(root) => root,
            Err(diagnostic) => {
                reader.diagnostics.push(*diagnostic);
                return Vec::new();
            }
        };
        let mut reader = Reader { tolerated: &FOREIGN, ..Reader::new(&source, reader.diagnostics) };
        self.interpolate(&mut root, &mut reader);
        let mut maps: Vec<(KeyPath, &Node)> = servers_of(&root).into_iter().collect();
        if self.options.folders == Folders::Include {
            maps.extend(servers_of_folders(&root));
        }
        if maps.is_empty() {
            reader.error(
                root.place,
                &KeyPath::default(),
                "there is no mcpServers in this file",
                "expected { \"mcpServers\": { NAME: { \"command\": ... } } }",
            );
            return Vec::new();
        }
        let mut servers: Vec<McpServerConfig> = Vec::new();
        for (path, node) in maps {
            self.foreign_map(&path, node, &mut servers, &mut reader);
        }
        servers
    }

    /// One map of servers.
    fn foreign_map(
        &mut self,
        path: &KeyPath,
        node: &Node,
        servers: &mut Vec<McpServerConfig>,
        reader: &mut Reader<'_>,
    ) {
        let Value::Map(entries) = &node.value else {
            servers.extend(self.server_map(node, path, reader));
            return;
        };
        for entry in entries {
            let at = path.key(&entry.key);
            // Switched off there, so it is off here.
            if entry.node.find("disabled").and_then(Node::as_bool).unwrap_or(false) {
                continue;
            }
            // Those programs take any name.
            let mut legal: String = (entry.key.chars().take(100))
                .map(|c| if c.is_ascii_alphanumeric() || c == '_' || c == '-' { c } else { '-' })
                .collect();
            let taken = |name: &str| servers.iter().any(|known| known.name.as_str() == name);
            if self.options.folders == Folders::Include && taken(&legal) {
                let short: String = legal.chars().take(90).collect();
                legal = (2..1000)
                    .map(|number| format!("{short}-{number}"))
                    .find(|name| !taken(name))
                    .unwrap_or(legal);
            } else if legal != entry.key {
                reader.warn(
                    entry.key_place,
                    &at,
                    format!("the server {} is called {legal} here", short(&entry.key)),
                    "",
                );
            }
            match ServerName::new(&legal) {
                Ok(name) if servers.iter().any(|known| known.name == name) => {
                    reader.error(
                        entry.key_place,
                        &at,
                        format!("there are two servers called {name}"),
                        "rename one",
                    );
                }
                Ok(name) => servers.extend(self.server(name, &entry.node, &at, entry.key_place, reader)),
                Err(error) => reader.error(entry.key_place, &at, error.to_string(), ""),
            }
        }
    }
}

/// The servers for single folders, and their keys.
fn servers_of_folders(root: &Node) -> Vec<(KeyPath, &Node)> {
    let Some(Value::Map(folders)) = root.find("projects").map(|node| &node.value) else { return Vec::new() };
    let top = KeyPath::default().key("projects");
    folders
        .iter()
        .filter_map(|entry| Some((top.key(&entry.key).key("mcpServers"), entry.node.find("mcpServers")?)))
        .collect()
}

/// The servers of another program's file, and their key.
fn servers_of(root: &Node) -> Option<(KeyPath, &Node)> {
    let keys = ["mcpServers", "mcp_servers", "servers"];
    let top = KeyPath::default();
    let found = keys.into_iter().find_map(|key| Some((top.key(key), root.find(key)?)));
    // The settings of an editor.
    found.or_else(|| Some((top.key("mcp").key("servers"), root.find("mcp")?.find("servers")?)))
}

/// Whether a text is another program's file with servers (Claude Desktop, Cursor, VS Code), and no configuration of a team.
/// `path` says by its ending how the text is written.
pub fn is_server_file(text: &str, path: &Path) -> bool {
    if path.extension().is_none_or(|extension| !extension.eq_ignore_ascii_case("json")) {
        return false;
    }
    let source = Source::new("", &jsonc::plain(text));
    parse(&source, Format::Json).is_ok_and(|root| {
        let holds_servers = servers_of(&root).is_some() || !servers_of_folders(&root).is_empty();
        root.find("agent").is_none() && root.find("agents").is_none() && holds_servers
    })
}

/// Reads the text of a file with `mcpServers` into servers: the same type that `mcp_servers` gives. `path` is used in
/// messages and as the start of `${file:...}` paths.
///
/// # Errors
///
/// Everything that is wrong with it. Warnings are in the `Ok` value.
pub fn mcp_servers_from_json(
    text: &str,
    path: &Path,
    options: &LoadOptions,
) -> Result<(Vec<McpServerConfig>, Diagnostics), Diagnostics> {
    let loaded = load_server_file(text, path, options);
    match loaded.config {
        Some(config) => Ok((config.mcp_servers, loaded.diagnostics)),
        None => Err(loaded.diagnostics),
    }
}

/// As [`mcp_servers_from_json`], as a configuration that has servers and nothing else, and knows their secrets.
pub fn load_server_file(text: &str, path: &Path, options: &LoadOptions) -> Loaded {
    struct Given<'t>(&'t Path, &'t str);
    impl FileReader for Given<'_> {
        fn read(&self, path: &Path) -> std::io::Result<String> {
            if path == self.0 { Ok(self.1.to_owned()) } else { Disk.read(path) }
        }
    }
    let files = Given(path, text);
    let mut loader =
        Loader { options, files: &files, dir: PathBuf::new(), secrets: Vec::new(), missing: Vec::new() };
    let mut diagnostics = Diagnostics::default();
    let source = Source::new(&path.display().to_string(), text);
    let mut reader = Reader::new(&source, &mut diagnostics);
    let name = path.display().to_string();
    let mcp_servers = loader.server_file(&name, Place::default(), &KeyPath::default(), &mut reader);
    let secrets = distinct(loader.secrets);
    diagnostics.redact(&secrets);
    let config = (!diagnostics.has_errors()).then(|| Config {
        mcp_servers,
        file: Some(path.to_owned()),
        dir: path.parent().unwrap_or(Path::new("")).to_path_buf(),
        secrets: secrets.into_iter().map(Secret::new).collect(),
        ..Config::default()
    });
    Loaded { config, diagnostics }
}
