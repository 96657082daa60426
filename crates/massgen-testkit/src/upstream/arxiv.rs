//! arXiv's search: an Atom feed of papers that repeat what was asked for.

use url::form_urlencoded;

use super::{Answer, Call, World};

pub(super) fn answer(_: &World, call: Call<'_>) -> Answer {
    if call.path != "/api/query" {
        return Answer::json(404, &serde_json::json!({"message": "no such page"}));
    }
    let parameter = |name: &str| {
        form_urlencoded::parse(call.http.query.as_bytes())
            .find(|(key, _)| key == name)
            .map(|(_, value)| value)
    };
    let wanted = parameter("search_query").unwrap_or_default();
    let wanted = wanted.replace('&', "&amp;").replace('<', "&lt;");
    let count = parameter("max_results").and_then(|count| count.parse().ok()).unwrap_or(1).min(3);
    let entries: String = (1..=count).map(|number| entry(number, &wanted)).collect();
    let feed = format!(
        "<?xml version='1.0' encoding='UTF-8'?>\
         <feed xmlns='http://www.w3.org/2005/Atom'><title>query</title>{entries}</feed>"
    );
    Answer {
        status: 200,
        content_type: "application/atom+xml; charset=utf-8",
        headers: Vec::new(),
        body: feed.into_bytes(),
    }
}

fn entry(number: usize, wanted: &str) -> String {
    let id = format!("2601.0000{number}v1");
    format!(
        "<entry><id>http://arxiv.org/abs/{id}</id>\
         <updated>2026-01-02T00:00:00Z</updated><published>2026-01-01T00:00:00Z</published>\
         <title>Paper {number} on {wanted}</title><summary>What the paper says.</summary>\
         <author><name>A. Author</name></author>\
         <link href='http://arxiv.org/abs/{id}' rel='alternate' type='text/html'/>\
         <link title='pdf' href='http://arxiv.org/pdf/{id}' rel='related' type='application/pdf'/>\
         <category term='cs.AI' scheme='http://arxiv.org/schemas/atom'/></entry>"
    )
}
