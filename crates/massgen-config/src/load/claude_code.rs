//! The options of a `claude_code` backend.

use std::path::PathBuf;

use crate::node::Node;
use crate::read::{Reader, Section, short};
use crate::{ClaudeCodeOptions, PermissionMode, SettingSource};

pub(super) fn claude_code(
    section: &Section<'_>,
    system_message: Option<&str>,
    reader: &mut Reader<'_>,
) -> ClaudeCodeOptions {
    let path = &section.path;
    let mut append = section.text("append_system_prompt");
    if append.is_some() && system_message.is_some() {
        let at = path.key("append_system_prompt");
        reader.warn(
            section.place_of("append_system_prompt"),
            &at,
            format!("{at} is ignored: system_message is used in its place"),
            "remove one",
        );
        append = None;
    }
    let sources = section.list("setting_sources").map(|names| {
        let mut sources = Vec::new();
        for name in names {
            match name.as_str() {
                "user" => sources.push(SettingSource::User),
                "project" => sources.push(SettingSource::Project),
                "local" => sources.push(SettingSource::Local),
                _ => {
                    let at = path.key("setting_sources");
                    reader.error(
                        section.place_of("setting_sources"),
                        &at,
                        format!("{at} cannot hold {}", short(&name)),
                        "it holds user, project and local",
                    );
                }
            }
        }
        sources
    });
    ClaudeCodeOptions {
        permission_mode: section
            .choice(
                "permission_mode",
                &["default", "acceptEdits", "plan", "bypassPermissions", "dontAsk", "auto"],
            )
            .map(|mode| match mode {
                "acceptEdits" => PermissionMode::AcceptEdits,
                "plan" => PermissionMode::Plan,
                "bypassPermissions" => PermissionMode::BypassPermissions,
                "dontAsk" => PermissionMode::DontAsk,
                "auto" => PermissionMode::Auto,
                _ => PermissionMode::Default,
            }),
        disallowed_tools: section.list("disallowed_tools"),
        max_turns: section.small("max_turns"),
        max_thinking_tokens: section.small("max_thinking_tokens"),
        system_prompt: section.text("system_prompt"),
        append_system_prompt: append,
        continue_conversation: section.bool("continue_conversation").unwrap_or(false),
        resume: section.text("resume"),
        settings: section.node("settings").map(|node| match node.as_text() {
            Some(text) => text.to_owned(),
            None => node.to_json().to_string(),
        }),
        add_dirs: section.list("add_dirs").unwrap_or_default().into_iter().map(PathBuf::from).collect(),
        permission_prompt_tool_name: section.text("permission_prompt_tool_name"),
        extra_args: (section.node("extra_args").map(Node::entries).unwrap_or_default().iter())
            .map(|entry| (entry.key.clone(), entry.node.as_text().map(str::to_owned)))
            .collect(),
        setting_sources: sources,
        fallback_model: section.text("fallback_model"),
    }
}
