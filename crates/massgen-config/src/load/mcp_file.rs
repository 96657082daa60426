//! Other programs' files with `mcpServers`.

use std::path::{Path, PathBuf};

use mcp_core::ServerName;

use super::{Disk, FileReader, LoadOptions, Loader, reason};
use crate::McpServerConfig;
use crate::diagnostic::{Diagnostics, Place, Source};
use crate::interpolate::expand_home;
use crate::node::Value;
use crate::parse::{Format, parse};
use crate::read::{KeyPath, Reader, short};
use crate::schema::FOREIGN;

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
        let source = Source::new(&full.display().to_string(), &text);
        let format = if full.extension().is_some_and(|e| e == "yaml" || e == "yml") {
            Format::Yaml
        } else {
            Format::Json
        };
        let mut root = match parse(&source, format) {
            Ok(root) => root,
            Err(diagnostic) => {
                reader.diagnostics.push(*diagnostic);
                return Vec::new();
            }
        };
        let mut reader = Reader { tolerated: &FOREIGN, ..Reader::new(&source, reader.diagnostics) };
        self.interpolate(&mut root, &mut reader);
        let keys = ["mcpServers", "mcp_servers", "servers"];
        let Some((key, node)) = keys.into_iter().find_map(|key| Some((key, root.find(key)?))) else {
            reader.error(
                root.place,
                &KeyPath::default(),
                "there is no mcpServers in this file",
                "expected { \"mcpServers\": { NAME: { \"command\": ... } } }",
            );
            return Vec::new();
        };
        let path = KeyPath::default().key(key);
        let Value::Map(entries) = &node.value else { return self.server_map(node, &path, &mut reader) };
        let mut servers: Vec<McpServerConfig> = Vec::new();
        for entry in entries {
            let at = path.key(&entry.key);
            // Switched off there, so it is off here.
            if entry.node.find("disabled").is_some_and(|node| node.as_text() == Some("true")) {
                continue;
            }
            // Those programs take any name.
            let legal: String = (entry.key.chars().take(100))
                .map(|c| if c.is_ascii_alphanumeric() || c == '_' || c == '-' { c } else { '-' })
                .collect();
            if legal != entry.key {
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
                Ok(name) => servers.extend(self.server(name, &entry.node, &at, entry.key_place, &mut reader)),
                Err(error) => reader.error(entry.key_place, &at, error.to_string(), ""),
            }
        }
        servers
    }
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
    struct Given<'t>(&'t Path, &'t str);
    impl FileReader for Given<'_> {
        fn read(&self, path: &Path) -> std::io::Result<String> {
            if path == self.0 { Ok(self.1.to_owned()) } else { Disk.read(path) }
        }
    }
    let files = Given(path, text);
    let mut loader = Loader { options, files: &files, dir: PathBuf::new(), secrets: Vec::new() };
    let mut diagnostics = Diagnostics::default();
    let source = Source::new(&path.display().to_string(), text);
    let mut reader = Reader::new(&source, &mut diagnostics);
    let name = path.display().to_string();
    let servers = loader.server_file(&name, Place::default(), &KeyPath::default(), &mut reader);
    diagnostics.redact(&loader.secrets);
    if diagnostics.has_errors() { Err(diagnostics) } else { Ok((servers, diagnostics)) }
}
