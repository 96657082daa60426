//! Responses that are no MCP: what is kept of them to say what it is that answers.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::header::CONTENT_TYPE;

use super::posts::Limits;
use super::response::Response;

/// How much of the body of an error is kept, bytes.
pub(super) const EXCERPT: usize = 2048;
/// How much of a page is searched for its title, bytes.
const PAGE: usize = 16 * 1024;
/// How long such a body is waited for: it only explains.
const WAIT: Duration = Duration::from_secs(1);
/// The most characters of a media type, and of a title.
const WORDS: usize = 100;

/// The error of a response with a status from 500 on that is no error of JSON-RPC.
#[derive(Debug, thiserror::Error)]
#[error("HTTP status {status}")]
pub(crate) struct Broken {
    pub(crate) status: u16,
    /// The header of this name.
    pub(crate) retry_after: Option<String>,
    /// The beginning of its body.
    pub(crate) body: String,
}

/// The error of a response of a type that carries no messages.
#[derive(Debug, thiserror::Error)]
#[error("a response of the type {content_type:?}")]
pub(crate) struct NotMcp {
    pub(crate) content_type: String,
    pub(crate) title: String,
}

impl NotMcp {
    /// One of this type, where a page has no title that could be read.
    pub(crate) fn of(content_type: &str) -> Self {
        Self { content_type: content_type.chars().take(WORDS).collect(), title: String::new() }
    }

    /// Reads what there is to say about such a response.
    pub(super) async fn read(response: Response, limits: Limits) -> Self {
        let content_type = response.headers().get(CONTENT_TYPE).map(|kind| kind.as_bytes().to_vec());
        let mut error = Self::of(&String::from_utf8_lossy(&content_type.unwrap_or_default()));
        if error.content_type.to_ascii_lowercase().contains("html") {
            error.title = title(&beginning(response, PAGE, limits).await);
        } else {
            response.done();
        }
        error
    }
}

/// The beginning of a body, so many bytes at most. Whatever keeps more of it from being read is no further trouble.
pub(super) async fn beginning(response: Response, most: usize, limits: Limits) -> Bytes {
    let mut read = BytesMut::new();
    let reading = async {
        let Ok(mut response) = response.unpacked() else { return };
        while read.len() < most {
            match limits.chunk(&mut response).await {
                Ok(Some(piece)) => read.extend_from_slice(&piece[..piece.len().min(most - read.len())]),
                Ok(None) => return response.done(),
                Err(_) => return,
            }
        }
    };
    let _ = tokio::time::timeout(WAIT, reading).await;
    read.freeze()
}

/// The title of a page of HTML, in one line; empty where there is none.
fn title(page: &[u8]) -> String {
    let page = String::from_utf8_lossy(page);
    // Byte for byte as long as the page itself.
    let lower = page.to_ascii_lowercase();
    let found = lower.find("<title").and_then(|tag| {
        let start = tag + lower[tag..].find('>')? + 1;
        let end = start + lower[start..].find("</title").unwrap_or(lower.len() - start);
        page.get(start..end)
    });
    let words = found.unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ");
    words.chars().take(WORDS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_known_by_its_title() {
        let long = format!("<title>{}", "é".repeat(PAGE));
        for (page, expected) in [
            ("<html><head><TITLE lang=\"en\">Sign\n  in </Title>", "Sign in"),
            ("<title>unfinished", "unfinished"),
            ("<title", ""),
            ("no page", ""),
            ("", ""),
            ("\u{130}<title>\u{212a}</title>", "\u{212a}"),
            (&long, &"é".repeat(WORDS)),
        ] {
            assert_eq!(title(page.as_bytes()), expected, "{:.60}", page);
        }
        assert_eq!(title(b"\xff<title>\xff</title>"), "\u{fffd}");
    }
}
