//! A login that several programs share.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use massgen_testkit::http::{HttpReply, HttpRequest, HttpServer};
use serde_json::{Value, json};

use crate::seat::Seat;
use crate::support::Place;
use crate::terminal::page;

/// What an authorization server gives out: a token that is over at once, then, for each refresh token once, one that lasts.
#[derive(Default)]
struct Issuer {
    /// The refresh token that is good.
    refresh: Mutex<String>,
    renewals: AtomicUsize,
    refusals: AtomicUsize,
}

impl Issuer {
    fn token(&self, request: &HttpRequest) -> HttpReply {
        let form: std::collections::HashMap<_, _> =
            url::form_urlencoded::parse(&request.body).into_owned().collect();
        let mut refresh = self.refresh.lock().unwrap();
        let renews = form["grant_type"] == "refresh_token";
        if renews && form["refresh_token"] != *refresh {
            self.refusals.fetch_add(1, Ordering::SeqCst);
            return HttpReply::json(400, &json!({"error": "invalid_grant"}));
        }
        let (number, lifetime) = match renews {
            true => (self.renewals.fetch_add(1, Ordering::SeqCst) + 1, 3600),
            false => (0, 1),
        };
        *refresh = format!("refresh-{number}");
        let mut reply = HttpReply::json(
            200,
            &json!({"access_token": format!("token-{number}"), "token_type": "Bearer", "expires_in": lifetime,
                "refresh_token": *refresh}),
        );
        // So long that whoever else wants to renew it comes in the middle of it.
        reply.delay = Duration::from_millis(if renews { 500 } else { 0 });
        reply
    }
}

fn realm(issuer: Arc<Issuer>) -> HttpServer {
    HttpServer::start(Arc::new(move |request: &HttpRequest| {
        let base = format!("http://{}", request.header("host").unwrap());
        match request.path.as_str() {
            "/mcp" => serve(request, &base),
            "/.well-known/oauth-protected-resource/mcp" => HttpReply::json(
                200,
                &json!({"resource": format!("{base}/mcp"), "authorization_servers": [base], "scopes_supported": ["read"]}),
            ),
            "/.well-known/oauth-authorization-server" => HttpReply::json(
                200,
                &json!({
                    "issuer": base, "authorization_endpoint": format!("{base}/authorize"),
                    "token_endpoint": format!("{base}/token"), "registration_endpoint": format!("{base}/register"),
                    "response_types_supported": ["code"], "code_challenge_methods_supported": ["S256"],
                    "grant_types_supported": ["authorization_code", "refresh_token"],
                }),
            ),
            "/register" => HttpReply::json(
                201,
                &json!({"client_id": "registered", "redirect_uris": request.json()["redirect_uris"]}),
            ),
            "/token" => issuer.token(request),
            _ => HttpReply::empty(404),
        }
    }))
}

fn serve(request: &HttpRequest, base: &str) -> HttpReply {
    let place = format!("Bearer resource_metadata=\"{base}/.well-known/oauth-protected-resource/mcp\"");
    let Some(token) = request.header("authorization").and_then(|header| header.strip_prefix("Bearer "))
    else {
        return HttpReply::empty(401).header("www-authenticate", place);
    };
    if request.method != "POST" {
        return HttpReply::empty(405);
    }
    let message = request.json();
    let method = message["method"].as_str();
    if method == Some("tools/call") && token == "token-0" {
        return HttpReply::empty(401).header("www-authenticate", place);
    }
    let result = match method {
        Some("initialize") => json!({"protocolVersion": "2025-11-25", "capabilities": {"tools": {}},
            "serverInfo": {"name": "realm", "version": "1"}}),
        Some("tools/list") => json!({"tools": [{"name": "look", "inputSchema": {"type": "object"}}]}),
        Some("tools/call") => json!({"content": [{"type": "text", "text": token}], "isError": false}),
        Some("server/discover") => {
            let error = json!({"code": -32601, "message": "Method not found"});
            return HttpReply::json(200, &json!({"jsonrpc": "2.0", "id": message["id"], "error": error}));
        }
        _ => return HttpReply::empty(202),
    };
    HttpReply::json(200, &json!({"jsonrpc": "2.0", "id": message["id"], "result": result}))
}

#[tokio::test(flavor = "multi_thread")]
async fn two_programs_at_once_renew_an_expired_login_once() {
    let issuer = Arc::new(Issuer::default());
    let realm = realm(issuer.clone());
    let mut place = Place::new();
    place.write("play.yaml", "turns: [{ answer: x }]");
    place.config(&json!({
        "mcp_servers": {"s": {"url": realm.url("/mcp"), "security": {"allow_localhost": true}}},
        "agent": {"id": "a", "backend": {"type": "scripted", "script": "play.yaml"}},
    }));
    place.set("MASSGEN_SECRETS", "file");
    place.set("MASSGEN_SECRETS_PASSPHRASE", "correct horse");
    // No browser of this machine may start.
    place.set("PATH", place.path().display().to_string());
    let mut seat = Seat::take(&place, &["mcp", "auth", "s", "--no-browser", "--config", "team.yaml"]);
    let (_, back) = page(&mut seat);
    seat.answer("The address you were sent to:", &back);
    let (code, screen) = seat.end();
    assert_eq!(code, Some(0), "{screen}");
    let renewals = || (issuer.renewals.load(Ordering::SeqCst), issuer.refusals.load(Ordering::SeqCst));
    assert_eq!(renewals(), (0, 0));

    let call = ["mcp", "call", "s", "look", "--config", "team.yaml"];
    let both = [place.spawn(&call), place.spawn(&call)];
    for running in both {
        let ended = running.wait().expect_code(0);
        assert!(ended.stdout.starts_with("token-"), "{}", ended.stdout);
    }
    assert_eq!(renewals(), (1, 0), "once, whichever comes first");

    // The store is whole, and holds the login that lasts.
    let file = place.path().join(".local/state/massgen/secrets.json");
    let kept: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    assert!(kept.is_object(), "{kept}");
    place.run(&call).expect_code(0);
    assert_eq!(renewals(), (1, 0));
}
