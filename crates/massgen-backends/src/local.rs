//! Finding model servers on this machine.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::Value;
use url::Url;

use crate::http::HttpClient;

/// A model server that answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalServer {
    /// The program, for people.
    pub name: String,
    /// Where its OpenAI-compatible interface is.
    pub base_url: Url,
    /// The models it has, in its own order; may be empty.
    pub models: Vec<String>,
}

/// Where to look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The program, for people.
    pub name: &'static str,
    /// The port on 127.0.0.1.
    pub port: u16,
    /// The path that lists the models.
    pub list: &'static str,
}

/// The usual ports, in the order of preference.
pub const CANDIDATES: [Candidate; 4] = [
    Candidate { name: "Ollama", port: 11434, list: "/api/tags" },
    Candidate { name: "LM Studio", port: 1234, list: "/v1/models" },
    Candidate { name: "llama-server", port: 8080, list: "/v1/models" },
    Candidate { name: "vLLM", port: 8000, list: "/v1/models" },
];

/// How long to look.
pub const PATIENCE: Duration = Duration::from_millis(300);

/// The model servers on this machine's usual ports; all are asked at once, and none is waited for longer than
/// `patience`. What answers but lists no models in the usual form is something else.
pub async fn find_local(client: &HttpClient, patience: Duration) -> Vec<LocalServer> {
    find_among(client, &CANDIDATES, patience).await
}

/// As [`find_local`], on other ports.
pub async fn find_among(
    client: &HttpClient,
    candidates: &[Candidate],
    patience: Duration,
) -> Vec<LocalServer> {
    let ask = candidates.iter().map(|candidate| async move {
        tokio::time::timeout(patience, ask(client, candidate)).await.ok().flatten()
    });
    join_all(ask).await.into_iter().flatten().collect()
}

async fn ask(client: &HttpClient, candidate: &Candidate) -> Option<LocalServer> {
    let origin = format!("http://127.0.0.1:{}", candidate.port);
    let url = Url::parse(&format!("{origin}{}", candidate.list)).ok()?;
    let mut response = client.for_url(&url).await.ok()?.get(url.clone()).send().await.ok()?;
    if !response.status().is_success() {
        return None;
    }
    // Whatever listens there may send without end.
    const MOST: usize = 1 << 20;
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.ok()? {
        body.extend_from_slice(&chunk);
        if body.len() > MOST {
            return None;
        }
    }
    let models = models(&serde_json::from_slice(&body).ok()?)?;
    Some(LocalServer {
        name: candidate.name.to_owned(),
        base_url: Url::parse(&format!("{origin}/v1")).ok()?,
        models,
    })
}

/// Ollama's `{"models": [{"name"}]}`, everyone else's `{"data": [{"id"}]}`.
fn models(list: &Value) -> Option<Vec<String>> {
    let entries = list.get("data").or_else(|| list.get("models"))?.as_array()?;
    let name = |entry: &Value| {
        ["id", "name", "model"].iter().find_map(|key| entry.get(*key)?.as_str().map(str::to_owned))
    };
    Some(entries.iter().filter_map(name).filter(|name| !name.contains("embed")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn both_forms_of_a_list_are_read() {
        for (list, want) in [
            (json!({"models": [{"name": "qwen3:8b"}, {"name": "nomic-embed-text"}]}), Some(vec!["qwen3:8b"])),
            (json!({"object": "list", "data": [{"id": "a"}, {"id": "b"}]}), Some(vec!["a", "b"])),
            (json!({"data": []}), Some(vec![])),
            (json!({"data": {}}), None),
            (json!({"hello": "world"}), None),
            (json!([]), None),
        ] {
            let want: Option<Vec<String>> = want.map(|names| names.into_iter().map(str::to_owned).collect());
            assert_eq!(models(&list), want);
        }
    }
}
