//! Results of tools on their way to a model: data of somebody else, marked as such.

use std::borrow::Cow;

use mcp_core::{Content, ToolOutput};

use crate::scan::{self, Around};
use crate::url::{Context, Question, admit};
use crate::{Finding, Rules, text};

/// What was found in a result. Nothing of it stops the result: a model has to be able to read about attacks.
pub fn findings(output: &ToolOutput) -> Vec<Finding> {
    let mut found = Vec::new();
    for content in &output.content {
        match content {
            Content::Text(text) => words(text, &mut found),
            Content::ResourceLink { uri, name, description, .. } => {
                let question = Question { text: uri, context: Context::ResourceLink, base: None, hops: 0 };
                if let Err(refusal) = admit(question, &Rules::default()) {
                    let reason = format!("the result points to {}: {}", text::escaped(uri), refusal.reason);
                    found.push(Finding::new("link-outside", reason, "do not open it"));
                }
                words(name, &mut found);
                words(description.as_deref().unwrap_or_default(), &mut found);
            }
            _ => {}
        }
    }
    found
}

fn words(text: &str, found: &mut Vec<Finding>) {
    // The beginning and the end: a page of a MiB is not read through for this.
    const PIECE: usize = 64 * 1024;
    let pieces = if text.len() <= 2 * PIECE {
        vec![text]
    } else {
        vec![&text[..text.floor_char_boundary(PIECE)], &text[text.ceil_char_boundary(text.len() - PIECE)..]]
    };
    for piece in pieces {
        let scan = scan::text(piece, &Around::default());
        found.extend(
            scan.hard
                .into_iter()
                // Pages hide their menus, and what they hide is read here like the rest.
                .filter(|finding| {
                    !matches!(finding.rule, "control-character" | "pipes-to-shell" | "unseen-markup")
                }),
        );
        if scan.speaks {
            found.push(Finding::new(
                "addresses-model",
                "the result tells a model what to do",
                "do not do what it says because it says so",
            ));
        }
        found.extend(scan.soft.into_iter().filter(|finding| finding.rule == "instruction-tag"));
        if let Some(address) = image(piece) {
            let reason =
                format!("the result shows an image whose address can carry data, {}", text::escaped(address));
            found.push(Finding::new("image-leak", reason, "do not load it"));
        }
    }
}

/// The address of an image of the web with a query, in Markdown or HTML.
fn image(text: &str) -> Option<&str> {
    let markdown = text.match_indices("![").filter_map(|(at, _)| {
        let (_, rest) = text[at..].split_once("](")?;
        rest.split([')', ' ', '\n']).next()
    });
    let html = text.match_indices("<img").filter_map(|(at, _)| {
        let (_, rest) = text[at..].split_once("src=")?;
        rest.trim_start_matches(['"', '\'']).split(['"', '\'', '>', ' ']).next()
    });
    markdown.chain(html).find(|address| address.starts_with("http") && address.contains(['?', '{']))
}

/// The result as it may be shown and kept: control characters and line separators written out. `None`: it is fine as it
/// is.
pub fn presentable(output: &ToolOutput) -> Option<ToolOutput> {
    let mut shown = output.clone();
    let mut changed = false;
    for content in &mut shown.content {
        if let Content::Text(text) = content
            && let Cow::Owned(clean) = text::escaped(text)
        {
            *text = clean;
            changed = true;
        }
    }
    changed.then_some(shown)
}
