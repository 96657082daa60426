//! X's API v2: posts, for whoever signs as OAuth 1.0a wants it (RFC 5849), and searches, for whoever does so or bears the
//! app's token.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;
use url::form_urlencoded;

use super::{Answer, Call, World};

/// `TWITTER_API_KEY`.
pub const API_KEY: &str = "consumer-key-of-nobody";
/// `TWITTER_API_SECRET`.
pub const API_SECRET: &str = "consumer-secret-of-nobody";
/// `TWITTER_ACCESS_TOKEN`.
pub const ACCESS_TOKEN: &str = "access-token-of-nobody";
/// `TWITTER_ACCESS_TOKEN_SECRET`.
pub const ACCESS_TOKEN_SECRET: &str = "access-secret-of-nobody";
/// `TWITTER_BEARER_TOKEN`.
pub const BEARER_TOKEN: &str = "bearer-token-of-nobody";
/// The id of every post that is accepted.
pub const POST: &str = "1800000000000000001";

pub(super) fn answer(_: &World, call: Call<'_>) -> Answer {
    let authorization = call.http.header("authorization").unwrap_or_default();
    let url = format!("https://{}{}", call.host, call.path);
    let signed = is_signed(authorization, &call.http.method, &url, &call.http.query);
    // The token is the app's, and no user's: it reads what is public.
    let bears = authorization == format!("Bearer {BEARER_TOKEN}");
    if !signed && !bears {
        return problem(401, "Unauthorized", "Unauthorized");
    }
    match (call.http.method.as_str(), call.path) {
        ("POST", _) if !signed => {
            let detail = "Authenticating with OAuth 2.0 Application-Only is forbidden for this endpoint.";
            problem(403, "Unsupported Authentication", detail)
        }
        ("POST", "/2/tweets") => {
            let text = call.http.json()["text"].clone();
            if text.as_str().is_some_and(|text| text.contains("duplicate")) {
                let detail = "You are not allowed to create a Tweet with duplicate content.";
                return problem(403, "Forbidden", detail);
            }
            let post = json!({"id": POST, "text": text, "edit_history_tweet_ids": [POST]});
            limited(Answer::json(201, &json!({"data": post})))
        }
        ("GET", "/2/tweets/search/recent") => {
            let id = "1800000000000000002";
            let post = json!({
                "id": id, "text": "a post about MCP", "author_id": "42", "edit_history_tweet_ids": [id],
                "created_at": "2026-01-01T00:00:00.000Z",
                "public_metrics": {"like_count": 3, "retweet_count": 1, "reply_count": 0, "quote_count": 0},
            });
            let author = json!({"id": "42", "username": "somebody", "name": "Somebody", "verified": false});
            limited(Answer::json(
                200,
                &json!({
                    "data": [post], "includes": {"users": [author]},
                    "meta": {"newest_id": id, "oldest_id": id, "result_count": 1},
                }),
            ))
        }
        _ => problem(404, "Not Found", "no such page"),
    }
}

fn problem(status: u16, title: &str, detail: &str) -> Answer {
    limited(Answer::json(
        status,
        &json!({"title": title, "type": "about:blank", "status": status, "detail": detail}),
    ))
}

/// Clients read these; the far reset keeps them from waiting.
fn limited(mut answer: Answer) -> Answer {
    for (name, value) in [("limit", "100"), ("remaining", "99"), ("reset", "4102444800")] {
        let name = match name {
            "limit" => "x-rate-limit-limit",
            "remaining" => "x-rate-limit-remaining",
            _ => "x-rate-limit-reset",
        };
        answer.headers.push((name, value.to_owned()));
    }
    answer
}

/// Whether an `Authorization: OAuth …` carries the signature that key and token give. A JSON body is not signed.
fn is_signed(authorization: &str, method: &str, url: &str, query: &str) -> bool {
    let Some(fields) = authorization.strip_prefix("OAuth ") else { return false };
    let mut parameters: Vec<(String, String)> = Vec::new();
    let mut signature = String::new();
    for field in fields.split(',') {
        let Some((name, value)) = field.trim().split_once('=') else { return false };
        let value = decode(value.trim_matches('"'));
        match name {
            "oauth_signature" => signature = value,
            "realm" => {}
            _ => parameters.push((name.to_owned(), value)),
        }
    }
    let has = |name: &str, value: &str| parameters.iter().any(|(n, v)| n == name && v == value);
    if !has("oauth_consumer_key", API_KEY)
        || !has("oauth_token", ACCESS_TOKEN)
        || !has("oauth_signature_method", "HMAC-SHA1")
    {
        return false;
    }
    parameters.extend(form_urlencoded::parse(query.as_bytes()).into_owned());
    let Ok(signature) = BASE64_STANDARD.decode(signature) else { return false };
    let key = format!("{}&{}", encode(API_SECRET), encode(ACCESS_TOKEN_SECRET));
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key.as_bytes());
    hmac::verify(&key, base(method, url, parameters).as_bytes(), &signature).is_ok()
}

/// The signature's base string, RFC 5849 section 3.4.1.
fn base(method: &str, url: &str, parameters: Vec<(String, String)>) -> String {
    let mut pairs: Vec<_> = parameters.iter().map(|(name, value)| (encode(name), encode(value))).collect();
    pairs.sort();
    let pairs: Vec<_> = pairs.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    format!("{}&{}&{}", method.to_ascii_uppercase(), encode(url), encode(&pairs.join("&")))
}

/// Percent-encoding of RFC 5849 section 3.6: everything but letters, digits and `-._~`.
fn encode(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

fn decode(text: &str) -> String {
    // A plus is a plus here, where a form would read a space.
    let form = text.replace('+', "%2B");
    let pair = form_urlencoded::parse(form.as_bytes()).next();
    pair.map(|(name, _)| name.into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Section 3.4.1.1 of the RFC.
    #[test]
    fn the_base_string_is_the_standards_own() {
        let parameters = [
            ("b5", "=%3D"),
            ("a3", "a"),
            ("c@", ""),
            ("a2", "r b"),
            ("oauth_consumer_key", "9djdj82h48djs9d2"),
            ("oauth_token", "kkk9d7dh3k39sjv7"),
            ("oauth_signature_method", "HMAC-SHA1"),
            ("oauth_timestamp", "137131201"),
            ("oauth_nonce", "7d8f3e4a"),
            ("c2", ""),
            ("a3", "2 q"),
        ];
        let parameters = parameters.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        assert_eq!(
            base("post", "http://example.com/request", parameters),
            "POST&http%3A%2F%2Fexample.com%2Frequest&a2%3Dr%2520b%26a3%3D2%2520q%26a3%3Da%26b5%3D%253D%25253D%26c%2540%3D\
             %26c2%3D%26oauth_consumer_key%3D9djdj82h48djs9d2%26oauth_nonce%3D7d8f3e4a%26oauth_signature_method\
             %3DHMAC-SHA1%26oauth_timestamp%3D137131201%26oauth_token%3Dkkk9d7dh3k39sjv7"
        );
    }

    fn sign(secret: &str, url: &str, query: &[(&str, &str)]) -> String {
        let mut parameters: Vec<(String, String)> = [
            ("oauth_consumer_key", API_KEY),
            ("oauth_token", ACCESS_TOKEN),
            ("oauth_signature_method", "HMAC-SHA1"),
            ("oauth_nonce", "n+o/n=ce"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec();
        let fields = parameters.clone();
        parameters.extend(query.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())));
        let key = format!("{}&{}", encode(secret), encode(ACCESS_TOKEN_SECRET));
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key.as_bytes());
        let signature = hmac::sign(&key, base("GET", url, parameters).as_bytes());
        let signature = ("oauth_signature".to_owned(), BASE64_STANDARD.encode(signature));
        let fields: Vec<_> = fields
            .into_iter()
            .chain([signature])
            .map(|(name, value)| format!("{name}=\"{}\"", encode(&value)))
            .collect();
        format!("OAuth {}", fields.join(", "))
    }

    #[test]
    fn only_the_right_secret_and_the_signed_request_pass() {
        let url = "https://api.x.com/2/tweets";
        let good = sign(API_SECRET, url, &[("q", "a b&c")]);
        assert!(is_signed(&good, "GET", url, "q=a+b%26c"));
        for (authorization, method, url, query) in [
            (sign("another secret", url, &[("q", "a b&c")]), "GET", url, "q=a+b%26c"),
            (good.clone(), "POST", url, "q=a+b%26c"),
            (good.clone(), "GET", "https://api.x.com/2/users", "q=a+b%26c"),
            (good.clone(), "GET", url, "q=other"),
            (good.replace("HMAC-SHA1", "PLAINTEXT"), "GET", url, "q=a+b%26c"),
            (String::new(), "GET", url, ""),
            ("OAuth nonsense".to_owned(), "GET", url, ""),
        ] {
            assert!(!is_signed(&authorization, method, url, query), "{authorization} {method} {url} {query}");
        }
    }
}
