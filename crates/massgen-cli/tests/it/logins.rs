//! Logins made by hand, and one that several programs share.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use massgen_testkit::http::{HttpReply, HttpRequest, HttpServer};
use serde_json::{Value, json};
use url::Url;

use crate::seat::Seat;
use crate::support::Place;

/// A remote server with one tool and its authorization server in one. `tokens` gives tokens out; `calls` answers a call with
/// a text, or wants another token: it gets the token and what a challenge says of where one is to be had.
fn realm(
    tool: &'static str,
    tokens: impl Fn(&HttpRequest) -> HttpReply + Send + Sync + 'static,
    calls: impl Fn(&str, String) -> Result<String, HttpReply> + Send + Sync + 'static,
) -> HttpServer {
    HttpServer::start(Arc::new(move |request: &HttpRequest| {
        let base = format!("http://{}", request.header("host").unwrap());
        match request.path.as_str() {
            "/mcp" => serve(request, &base, tool, &calls),
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
            "/token" => tokens(request),
            _ => HttpReply::empty(404),
        }
    }))
}

fn serve(
    request: &HttpRequest,
    base: &str,
    tool: &str,
    calls: impl Fn(&str, String) -> Result<String, HttpReply>,
) -> HttpReply {
    let challenge = format!("Bearer resource_metadata=\"{base}/.well-known/oauth-protected-resource/mcp\"");
    let Some(token) = request.header("authorization").and_then(|header| header.strip_prefix("Bearer "))
    else {
        return HttpReply::empty(401).header("www-authenticate", challenge);
    };
    if request.method != "POST" {
        return HttpReply::empty(405);
    }
    let message = request.json();
    let result = match message["method"].as_str() {
        Some("initialize") => json!({"protocolVersion": "2025-11-25", "capabilities": {"tools": {}},
            "serverInfo": {"name": "realm", "version": "1"}}),
        Some("tools/list") => json!({"tools": [{"name": tool, "inputSchema": {"type": "object"}}]}),
        Some("tools/call") => match calls(token, challenge) {
            Ok(text) => json!({"content": [{"type": "text", "text": text}], "isError": false}),
            Err(reply) => return reply,
        },
        Some("server/discover") => {
            let error = json!({"code": -32601, "message": "Method not found"});
            return HttpReply::json(200, &json!({"jsonrpc": "2.0", "id": message["id"], "error": error}));
        }
        _ => return HttpReply::empty(202),
    };
    HttpReply::json(200, &json!({"jsonrpc": "2.0", "id": message["id"], "result": result}))
}

/// Where this server is configured as `s`, and logins are kept in a file.
fn place(realm: &HttpServer) -> Place {
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
    place
}

/// The page that is on the screen, and the address that it sends the user back to.
fn page(seat: &mut Seat) -> (String, String) {
    seat.see("open this page:");
    let shown = seat.see("\r\n\r\n  ") + &seat.see("\r\n");
    let page = shown.trim().to_owned();
    let url = url(&page);
    let query: HashMap<_, _> = url.query_pairs().into_owned().collect();
    let back = format!("{}?code=a-code&state={}", query["redirect_uri"], query["state"]);
    (query["scope"].clone(), back)
}

fn url(text: &str) -> Url {
    Url::parse(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_is_made_by_hand_and_more_rights_are_asked_for() {
    let logins = AtomicUsize::new(0);
    let tokens = move |_: &HttpRequest| {
        let token = format!("token-{}", logins.fetch_add(1, Ordering::Relaxed) + 1);
        HttpReply::json(200, &json!({"access_token": token, "token_type": "Bearer"}))
    };
    // The first login is not enough.
    let calls = |token: &str, challenge: String| match token {
        "token-1" => {
            let more = format!("{challenge}, error=\"insufficient_scope\", scope=\"write\"");
            Err(HttpReply::empty(403).header("www-authenticate", more))
        }
        _ => Ok("written".to_owned()),
    };
    let realm = realm("write", tokens, calls);
    let place = place(&realm);

    let mut seat = Seat::take(&place, &["mcp", "auth", "s", "--no-browser", "--config", "team.yaml"]);
    let (scope, back) = page(&mut seat);
    assert_eq!(scope, "read");
    seat.answer("The address you were sent to:", "https://elsewhere.example/");
    seat.see("It begins with");
    seat.answer("The address you were sent to:", &back);
    let (code, screen) = seat.end();
    assert!(code == Some(0) && screen.contains("The login is kept in the encrypted file"), "{screen}");
    let kept = std::fs::read_to_string(place.path().join(".local/state/massgen/secrets.json")).unwrap();
    let login = format!("login:{0} {0}/mcp", realm.url(""));
    assert!(kept.contains(&login) && !kept.contains("token-1"), "{kept}");

    let call = ["mcp", "call", "s", "write", "--config", "team.yaml"];
    let mut seat = Seat::take(&place, &call);
    let shown = seat.see("go there?");
    assert!(
        shown.contains("server s wants more rights than its login has") && shown.contains("write"),
        "{shown}"
    );
    seat.type_line("n");
    let (code, screen) = seat.end();
    assert!(code != Some(0) && screen.contains("forbids this"), "{screen}");
    // Nobody is there: nothing is granted.
    assert_ne!(place.run(&call).code, Some(0));

    let mut seat = Seat::take(&place, &call);
    seat.answer("go there?", "y");
    let (scope, back) = page(&mut seat);
    assert!(scope.contains("read") && scope.contains("write"), "{scope}");
    visit(&back);
    let (code, screen) = seat.end();
    assert!(code == Some(0) && screen.contains("written"), "{screen}");
    // The new login is kept.
    assert!(place.run(&call).expect_code(0).stdout.contains("written"));
}

/// What a browser does when it is sent back.
fn visit(address: &str) {
    let url = url(address);
    let mut stream = TcpStream::connect((url.host_str().unwrap(), url.port().unwrap())).unwrap();
    let request = format!("GET {}?{} HTTP/1.1\r\nhost: x\r\n\r\n", url.path(), url.query().unwrap());
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("You can close this page"), "{answer}");
}

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

#[tokio::test(flavor = "multi_thread")]
async fn two_programs_at_once_renew_an_expired_login_once() {
    let issuer = Arc::new(Issuer::default());
    let tokens = issuer.clone();
    // The first token is over at the first call.
    let calls = |token: &str, challenge: String| match token {
        "token-0" => Err(HttpReply::empty(401).header("www-authenticate", challenge)),
        _ => Ok(token.to_owned()),
    };
    let realm = realm("look", move |request| tokens.token(request), calls);
    let place = place(&realm);
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
