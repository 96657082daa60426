//! Logins, against a server and an authorization server in one.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use futures_util::future::join_all;
use massgen_testkit::http::{HttpReply, HttpRequest, HttpServer};
use mcp_core::*;
use mcp_transport::oauth::{
    AuthorizeError, Authorizer, FileTokens, LoginKey, MemoryTokens, OAuthOptions, TokenStore,
};
use mcp_transport::{EraPolicy, Session, SessionOptions};
use serde_json::{Value, json};
use url::Url;

use crate::support::*;

/// How the realm behaves, and what it has seen.
#[derive(Default)]
struct Realm {
    /// Taken out of the authorization server's metadata.
    lacks: Option<&'static str>,
    /// Seconds for which a token lives.
    lifetime: Option<u64>,
    /// The issuer that the login page sends back.
    forged: bool,
    tokens: Mutex<Vec<String>>,
    issued: AtomicUsize,
    seen: Mutex<Vec<(String, HashMap<String, String>)>>,
}

impl Realm {
    fn start(self) -> (HttpServer, Arc<Self>) {
        let realm = Arc::new(self);
        let shared = realm.clone();
        (HttpServer::start(Arc::new(move |request| shared.answer(request))), realm)
    }

    /// What was sent to a path.
    fn sent(&self, path: &str) -> Vec<HashMap<String, String>> {
        let seen = self.seen.lock().unwrap();
        seen.iter().filter(|(at, _)| at == path).map(|(_, form)| form.clone()).collect()
    }

    fn answer(&self, request: &HttpRequest) -> HttpReply {
        let base = format!("http://{}", request.header("host").unwrap());
        let form = |text: &str| -> HashMap<String, String> {
            let url = Url::parse(&format!("http://x/?{text}")).unwrap();
            url.query_pairs().map(|(key, value)| (key.into_owned(), value.into_owned())).collect()
        };
        let fields = match request.method.as_str() {
            "GET" => form(&request.query),
            _ => form(&String::from_utf8_lossy(&request.body)),
        };
        self.seen.lock().unwrap().push((request.path.clone(), fields.clone()));
        match request.path.as_str() {
            "/mcp" => self.serve(request, &base),
            "/.well-known/oauth-protected-resource/mcp" => HttpReply::json(
                200,
                &json!({"resource": format!("{base}/mcp"), "authorization_servers": [base],
                        "scopes_supported": ["read"]}),
            ),
            "/.well-known/oauth-authorization-server" => {
                let mut metadata = json!({
                    "issuer": base,
                    "authorization_endpoint": format!("{base}/authorize"),
                    "token_endpoint": format!("{base}/token"),
                    "registration_endpoint": format!("{base}/register"),
                    "response_types_supported": ["code"],
                    "code_challenge_methods_supported": ["S256"],
                    "authorization_response_iss_parameter_supported": true,
                });
                if let (Some(key), Some(object)) = (self.lacks, metadata.as_object_mut()) {
                    object.remove(key);
                }
                HttpReply::json(200, &metadata)
            }
            "/register" => HttpReply::json(
                201,
                &json!({"client_id": "registered", "client_secret": "hush",
                "redirect_uris": ["http://localhost:1/callback"]}),
            ),
            "/authorize" => {
                let issuer = if self.forged { "https://evil.example" } else { &base };
                let mut back = Url::parse(&fields["redirect_uri"]).unwrap();
                back.query_pairs_mut()
                    .append_pair("code", "a-code")
                    .append_pair("state", &fields["state"])
                    .append_pair("iss", issuer);
                HttpReply::empty(302).header("location", back.as_str())
            }
            "/token" => {
                let token = format!("token-{}", self.issued.fetch_add(1, Ordering::Relaxed) + 1);
                *self.tokens.lock().unwrap() = vec![token.clone()];
                let mut issued =
                    json!({"access_token": token, "token_type": "Bearer", "refresh_token": "again"});
                if let Some(lifetime) = self.lifetime {
                    issued["expires_in"] = json!(lifetime);
                }
                HttpReply::json(200, &issued)
            }
            _ => HttpReply::empty(404),
        }
    }

    fn serve(&self, request: &HttpRequest, base: &str) -> HttpReply {
        let bearer = request.header("authorization").and_then(|header| header.strip_prefix("Bearer "));
        let tokens = self.tokens.lock().unwrap();
        if !bearer.is_some_and(|bearer| tokens.iter().any(|token| token == bearer)) {
            let place = format!("{base}/.well-known/oauth-protected-resource/mcp");
            return HttpReply::empty(401)
                .header("www-authenticate", format!("Bearer resource_metadata=\"{place}\""));
        }
        drop(tokens);
        if request.method != "POST" {
            return HttpReply::empty(405);
        }
        let message = request.json();
        let result = match message["method"].as_str() {
            Some("initialize") => json!({"protocolVersion": "2025-11-25", "capabilities": {"tools": {}},
                "serverInfo": {"name": "realm", "version": "1"}}),
            Some("ping") => json!({}),
            _ => return HttpReply::empty(202),
        };
        HttpReply::json(200, &json!({"jsonrpc": "2.0", "id": message["id"], "result": result}))
    }
}

/// Goes to the page and comes back, without a browser.
#[derive(Default)]
struct Walker(AtomicUsize);

impl Authorizer for Walker {
    fn redirect_uri(&self) -> String {
        "http://localhost:1/callback".to_owned()
    }

    fn authorize<'a>(
        &'a self,
        _: &'a ServerName,
        page: &'a Url,
    ) -> BoxFuture<'a, Result<Url, AuthorizeError>> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move {
            let client =
                reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
            let answer = client.get(page.clone()).send().await.unwrap();
            Ok(Url::parse(answer.headers()["location"].to_str().unwrap()).unwrap())
        })
    }
}

async fn open(
    server: &HttpServer,
    store: Arc<dyn TokenStore>,
    walker: Option<Arc<Walker>>,
) -> Result<Session, ToolError> {
    let mut oauth = OAuthOptions::new(store);
    oauth.authorizer = walker.map(|walker| walker as Arc<dyn Authorizer>);
    open_with(server, "scripted", oauth).await
}

async fn open_with(server: &HttpServer, called: &str, oauth: OAuthOptions) -> Result<Session, ToolError> {
    let mut options = SessionOptions::default();
    options.era = EraPolicy::Legacy;
    options.oauth = Some(oauth);
    let spec = RemoteSpec { url: server.url("/mcp").parse().unwrap(), headers: BTreeMap::new() };
    let called = ServerName::new(called).unwrap();
    soon(Session::http(called, Admitted::by_guard(spec), Arc::new(Gatekeeper::default()), options)).await
}

#[tokio::test]
async fn a_login_is_made_once_and_kept_with_its_issuer() {
    let (server, realm) = Realm::default().start();
    let (store, walker) = (Arc::new(MemoryTokens::default()), Arc::new(Walker::default()));
    let session = open(&server, store.clone(), Some(walker.clone())).await.unwrap();
    soon(session.ping()).await.unwrap();
    soon(session.close()).await;

    let asked = &realm.sent("/authorize")[0];
    assert_eq!(asked["resource"], server.url("/mcp"));
    assert_eq!((asked["code_challenge_method"].as_str(), asked["scope"].as_str()), ("S256", "read"));
    let exchanged = &realm.sent("/token")[0];
    assert_eq!(exchanged["resource"], server.url("/mcp"));
    assert!(exchanged.contains_key("code_verifier"));

    let kept = store.load(&server.url("/mcp").parse().unwrap()).await.unwrap().unwrap();
    let kept: Value = serde_json::from_str(&kept).unwrap();
    assert_eq!(kept["issuer"], json!(server.url("").trim_end_matches('/')));
    assert_eq!(kept["access_token"], json!("token-1"));

    // Another session has it without a page, and without anybody who could open one.
    let session = open(&server, store, None).await.unwrap();
    soon(session.ping()).await.unwrap();
    soon(session.close()).await;
    assert_eq!((walker.0.load(Ordering::Relaxed), realm.sent("/token").len()), (1, 1));
}

#[tokio::test]
async fn many_requests_renew_a_login_once() {
    let (server, realm) = Realm::default().start();
    let (store, walker) = (Arc::new(MemoryTokens::default()), Arc::new(Walker::default()));
    let session = open(&server, store, Some(walker.clone())).await.unwrap();
    // The server forgets the token; it is renewed with the refresh token, once, and nobody sees a page.
    realm.tokens.lock().unwrap().clear();
    let pings = (0..16).map(|_| {
        let session = session.clone();
        tokio::spawn(async move { session.ping().await })
    });
    for ping in pings.collect::<Vec<_>>() {
        soon(ping).await.unwrap().unwrap();
    }
    let grants: Vec<_> = realm.sent("/token").iter().map(|form| form["grant_type"].clone()).collect();
    assert_eq!(grants, ["authorization_code", "refresh_token"]);
    assert_eq!(realm.sent("/token")[1]["resource"], server.url("/mcp"));
    assert_eq!(walker.0.load(Ordering::Relaxed), 1);
    soon(session.close()).await;
}

#[tokio::test]
async fn servers_at_one_address_share_a_login_and_renew_it_once() {
    let (server, realm) = Realm::default().start();
    let (store, walker) = (Arc::new(MemoryTokens::default()), Arc::new(Walker::default()));
    let mut with_walker = OAuthOptions::new(store.clone());
    with_walker.authorizer = Some(walker.clone());
    let first = open_with(&server, "first", with_walker).await.unwrap();
    let second = open_with(&server, "second", OAuthOptions::new(store.clone())).await.unwrap();
    soon(second.ping()).await.unwrap();
    // One renews it; the other takes what it finds, for the refresh token may be good for one use only.
    realm.tokens.lock().unwrap().clear();
    soon(first.ping()).await.unwrap();
    soon(second.ping()).await.unwrap();
    assert_eq!((walker.0.load(Ordering::Relaxed), realm.sent("/token").len()), (1, 2));

    // Whoever logs in as somebody else has no part in it.
    let mut other = OAuthOptions::new(store);
    other.identity.client_id = Some("another program".into());
    let opened = open_with(&server, "third", other).await;
    assert!(matches!(opened, Err(ToolError::AuthRequired { .. })), "{opened:?}");
}

/// As sessions of one program do, and as programs do that know of each other by a folder alone.
#[tokio::test]
async fn many_sessions_renew_one_login_once() {
    let folder = tempfile::tempdir().unwrap();
    let memory: Arc<dyn TokenStore> = Arc::new(MemoryTokens::default());
    let in_memory = || memory.clone();
    let in_a_folder = || Arc::new(FileTokens::new(folder.path().join("logins"))) as Arc<dyn TokenStore>;
    for store in [&in_memory as &dyn Fn() -> Arc<dyn TokenStore>, &in_a_folder] {
        let (server, realm) = Realm::default().start();
        let walker = Arc::new(Walker::default());
        // They begin at once, too: one of them shows the page.
        let opened = (0..6).map(|_| open(&server, store(), Some(walker.clone())));
        let sessions: Vec<_> = join_all(opened).await.into_iter().map(Result::unwrap).collect();
        assert_eq!((walker.0.load(Ordering::Relaxed), realm.sent("/token").len()), (1, 1));
        realm.tokens.lock().unwrap().clear();
        for ping in join_all(sessions.iter().map(|session| soon(session.ping()))).await {
            ping.unwrap();
        }
        let grants: Vec<_> = realm.sent("/token").iter().map(|form| form["grant_type"].clone()).collect();
        assert_eq!(grants, ["authorization_code", "refresh_token"]);
        assert_eq!(walker.0.load(Ordering::Relaxed), 1);
        join_all(sessions.iter().map(|session| soon(session.close()))).await;
    }
}

#[tokio::test]
async fn tokens_of_one_issuer_are_not_shown_to_another() {
    let (server, realm) = Realm::default().start();
    let store = Arc::new(MemoryTokens::default());
    let record = json!({"issuer": "https://before.example", "client_id": "c", "client_secret": "s",
        "redirect_uri": "http://localhost:1/callback", "scopes": [], "access_token": "old-token",
        "refresh_token": "old-refresh", "expires_at": null});
    let key = LoginKey {
        issuer: Some("https://before.example".into()),
        resource: server.url("/mcp").parse().unwrap(),
    };
    store.save(&key, Some(record.to_string())).await.unwrap();
    let session = open(&server, store.clone(), Some(Arc::default())).await.unwrap();
    soon(session.close()).await;
    let kept: Value = serde_json::from_str(&store.load(&key.resource).await.unwrap().unwrap()).unwrap();
    assert_eq!(kept["issuer"], json!(server.url("").trim_end_matches('/')), "the new one takes its place");
    let tokens = realm.sent("/token");
    assert_eq!(tokens.len(), 1);
    assert!(!format!("{tokens:?}").contains("old-refresh"), "{tokens:?}");
    assert_eq!(realm.sent("/register").len(), 1, "its id is not used elsewhere either");
}

#[tokio::test]
async fn a_server_that_hides_pkce_and_a_forged_issuer_are_refused() {
    let cases = [
        (Realm { lacks: Some("code_challenge_methods_supported"), ..Realm::default() }, "PKCE"),
        (Realm { forged: true, ..Realm::default() }, "issuer mismatch"),
    ];
    for (realm, part) in cases {
        let (server, realm) = realm.start();
        let error = open(&server, Arc::new(MemoryTokens::default()), Some(Arc::default())).await.unwrap_err();
        assert!(error.to_string().contains(part), "{error}");
        assert!(realm.sent("/token").is_empty());
    }
}

#[tokio::test]
async fn a_guarded_address_is_not_asked_for_a_login() {
    let (server, realm) = Realm::default().start();
    let url = server.url("/mcp").replace("127.0.0.1", "localhost");
    let mut oauth = OAuthOptions::new(Arc::new(MemoryTokens::default()));
    oauth.authorizer = Some(Arc::new(Walker::default()));
    let mut options = SessionOptions::default();
    options.oauth = Some(oauth);
    let spec = RemoteSpec { url: url.parse().unwrap(), headers: BTreeMap::new() };
    let guard = Gatekeeper { refused: Some("127.0.0.1".parse().unwrap()) };
    let opened = soon(Session::http(name(), Admitted::by_guard(spec), Arc::new(guard), options)).await;
    assert!(opened.is_err());
    assert!(realm.sent("/.well-known/oauth-protected-resource/mcp").is_empty());
}
