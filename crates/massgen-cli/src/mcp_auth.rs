//! `massgen mcp auth SERVER`: a login at a remote server, through the user's browser.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use massgen::Servers;
use massgen::core::{BoxFuture, Environment, ServerName};
use massgen::transport::oauth::{AuthorizeError, Authorizer, FileTokens, LoginKey, OAuthOptions, TokenStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use url::Url;

use crate::args::AuthArgs;
use crate::console::{Console, Pause, is_attended, quoted};
use crate::failure::{Failure, Kind};
use crate::login_store::{self, Logins};
use crate::prompt::{Line, Prompt};
use crate::secret_store::{Kept, SecretStore};
use crate::secrets_command::unavailable;
use crate::session::Session;
use crate::style::safe;
use crate::{environment, mcp_command, output};

/// How long the user may take on the login page.
const PATIENCE: Duration = Duration::from_secs(300);
/// The path of the address that the user is sent back to.
const PATH: &str = "/callback";
/// The largest request that comes back.
const REQUEST: usize = 16 * 1024;

/// The logins that were made by `mcp auth`, for every session of this program: used and renewed, not made. With a
/// console, a server that wants more rights than its login has can be given them by the person there.
pub(crate) fn kept(session: &Session, console: Option<Arc<Console>>) -> Option<OAuthOptions> {
    let folder = folder(&session.environment)?;
    let mut options = OAuthOptions::new(Arc::new(Logins::new(session.secrets.clone(), &folder)));
    options.authorizer = console.filter(|_| is_attended()).map(|console| {
        let browser = Browser { makes_logins: false, ..Browser::new(console) };
        Arc::new(browser) as Arc<dyn Authorizer>
    });
    Some(options)
}

/// Where an earlier version kept logins, in the clear.
fn folder(environment: &Environment) -> Option<PathBuf> {
    Some(environment::state_folder(environment)?.join("logins"))
}

pub(crate) async fn run(args: AuthArgs, session: &Session) -> Result<(), Failure> {
    let server = name(&args.server)?;
    let resource = resource(&args, session)?;
    let folder = folder(&session.environment).ok_or_else(|| {
        Failure::config("there is no folder for logins").with_hint("set HOME or XDG_STATE_HOME")
    })?;
    // What was there before is forgotten: whoever asks for a login has a reason.
    forget(&session.secrets, &folder, &resource).await?;
    if args.forget {
        output::line(format!("The login at {server} is forgotten."));
        return Ok(());
    }
    let store = session.secrets.clone();
    // Before the browser opens, and not after: a login that cannot be kept is made for nothing.
    let ready = tokio::task::spawn_blocking(move || store.make_ready());
    ready
        .await
        .map_err(|error| Failure::config(error.to_string()))?
        .map_err(|missing| unavailable(&missing))?;
    let mut options = OAuthOptions::new(Arc::new(Logins::new(session.secrets.clone(), &folder)));
    let browser = Browser { by_hand: args.no_browser, ..Browser::new(Console::new(Pause::default())) };
    options.authorizer = Some(Arc::new(browser));
    let servers = mcp_command::start_for(&args.servers, &args.server, options, PATIENCE).await?;
    let kept = kept_in(&session.secrets, &resource).await;
    if let Some(reason) = session.secrets.fell_back() {
        output::note(reason);
    }
    let outcome = conclude(&servers, kept, &args.server);
    servers.close().await;
    outcome
}

/// The address of the server, by the configuration.
fn resource(args: &AuthArgs, session: &Session) -> Result<Url, Failure> {
    let config = mcp_command::load(&args.servers, session)?;
    let own = config.agents.iter().flat_map(|agent| &agent.backend.mcp_servers);
    let mut servers = config.mcp_servers.iter().chain(own);
    let Some(server) = servers.find(|server| server.name.as_str() == args.server) else {
        return Err(mcp_command::no_servers(&config, Some(&args.server)));
    };
    login_store::resource(&server.transport).ok_or_else(|| {
        Failure::config(format!(
            "{} is a program on this computer: there is nothing to log in at",
            args.server
        ))
    })
}

/// Removes every login for an address, of an earlier version too.
async fn forget(store: &SecretStore, folder: &Path, resource: &Url) -> Result<(), Failure> {
    let plain = FileTokens::new(folder);
    let key = LoginKey { issuer: None, resource: resource.clone() };
    plain.save(&key, None).await.map_err(|error| Failure::config(error.to_string()))?;
    let (store, resource) = (store.clone(), resource.clone());
    let forgotten = tokio::task::spawn_blocking(move || {
        for (key, _) in login_store::keys(&store, &resource)? {
            store.remove(&key)?;
        }
        Ok(())
    });
    let forgotten = forgotten.await.map_err(|error| Failure::config(error.to_string()))?;
    forgotten.map_err(|missing| unavailable(&missing))
}

/// Where the login for an address is kept.
async fn kept_in(store: &SecretStore, resource: &Url) -> Option<Kept> {
    let (store, resource) = (store.clone(), resource.clone());
    let keys = tokio::task::spawn_blocking(move || login_store::keys(&store, &resource)).await.ok()?.ok()?;
    keys.into_iter().next().map(|(_, kept)| kept)
}

fn name(server: &str) -> Result<ServerName, Failure> {
    ServerName::new(server).map_err(|error| Failure::config(error.to_string()))
}

fn conclude(servers: &Servers, kept: Option<Kept>, server: &str) -> Result<(), Failure> {
    if let Some(error) = servers.reports().into_iter().find_map(|report| report.error) {
        output::line(format!("{server}: {}", safe(&error)));
        return Err(Failure::silent(Kind::NoAnswer));
    }
    match kept {
        Some(kept) => output::line(format!("Logged in at {server}. The login is kept in {kept}")),
        None => output::line(format!("{server} asked for no login.")),
    }
    Ok(())
}

/// Opens the page in the user's browser, and waits on a port of this machine for the user to be sent back.
struct Browser {
    console: Arc<Console>,
    /// Opened when it is needed.
    listener: OnceLock<Option<TcpListener>>,
    by_hand: bool,
    makes_logins: bool,
}

impl Browser {
    fn new(console: Arc<Console>) -> Self {
        Self { console, listener: OnceLock::new(), by_hand: false, makes_logins: true }
    }

    fn listener(&self) -> Option<&TcpListener> {
        let open = || {
            let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
            listener.set_nonblocking(true)?;
            TcpListener::from_std(listener)
        };
        let opened = self.listener.get_or_init(|| {
            open().inspect_err(|error| tracing::warn!(%error, "no port can be opened for the way back")).ok()
        });
        opened.as_ref()
    }

    fn redirect(&self) -> String {
        let address = self.listener().and_then(|listener| listener.local_addr().ok());
        let port = address.map(|address| address.port()).unwrap_or_default();
        format!("http://127.0.0.1:{port}{PATH}")
    }

    async fn wait(&self) -> Result<Url, AuthorizeError> {
        let Some(listener) = self.listener() else { return std::future::pending().await };
        loop {
            let Ok((stream, _)) = listener.accept().await else { continue };
            // Whoever says nothing must not keep the others waiting.
            let read = tokio::time::timeout(Duration::from_secs(5), answer(stream)).await;
            if let Ok(Some(target)) = read
                && target.starts_with(PATH)
            {
                let base = Url::parse(&self.redirect()).map_err(|error| AuthorizeError(error.to_string()))?;
                return base.join(&target).map_err(|error| AuthorizeError(error.to_string()));
            }
        }
    }

    async fn pasted(&self) -> Result<Url, AuthorizeError> {
        let prompt = Prompt::new(output::is_interactive(), None);
        let redirect = self.redirect();
        loop {
            match prompt.line("The address you were sent to: ").await {
                Line::Text(text) => match Url::parse(text.trim()) {
                    Ok(url) if url.as_str().starts_with(&redirect) => return Ok(url),
                    _ => output::note(format!("It begins with {redirect}")),
                },
                // The browser may be on this machine after all.
                Line::End => std::future::pending().await,
            }
        }
    }
}

impl Authorizer for Browser {
    fn makes_logins(&self) -> bool {
        self.makes_logins
    }

    fn consent<'a>(&'a self, server: &'a ServerName, scopes: &'a [String]) -> BoxFuture<'a, bool> {
        Box::pin(async move {
            if !is_attended() {
                return false;
            }
            let mut talk = self.console.talk().await;
            let wanted: Vec<_> = scopes.iter().map(|scope| format!("\n  {}", quoted(scope))).collect();
            talk.say(&format!(
                "\nserver {server} wants more rights than its login has:{}\nThey are granted on a page of its authorization server.",
                wanted.concat()
            ));
            loop {
                let Some(line) = talk.line("go there? [y] yes  [n] no: ").await else { return false };
                match line.trim().to_ascii_lowercase().as_str() {
                    "y" | "yes" => return true,
                    "n" | "no" | "" => return false,
                    _ => {}
                }
            }
        })
    }

    fn redirect_uri(&self) -> String {
        self.redirect()
    }

    fn authorize<'a>(
        &'a self,
        server: &'a ServerName,
        page: &'a Url,
    ) -> BoxFuture<'a, Result<Url, AuthorizeError>> {
        Box::pin(async move {
            output::note(format!("To log in at {server}, open this page:\n\n  {page}\n"));
            let pasted = async {
                if self.by_hand {
                    output::note(
                        "A browser elsewhere ends on a page that cannot be shown; its address is what counts.",
                    );
                    return self.pasted().await;
                }
                if !crate::page::open(page) {
                    output::note("No browser could be started.");
                }
                std::future::pending().await
            };
            let back = async {
                tokio::select! {
                    back = self.wait() => back,
                    back = pasted => back,
                }
            };
            match tokio::time::timeout(PATIENCE, back).await {
                Ok(back) => back,
                Err(_) => Err(AuthorizeError(format!("nobody came back within {} s", PATIENCE.as_secs()))),
            }
        })
    }
}

/// Reads one request, answers it for people, and says what was asked for.
async fn answer(mut stream: TcpStream) -> Option<String> {
    let mut request = Vec::new();
    let mut part = [0; 2048];
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        let read = stream.read(&mut part).await.ok()?;
        if read == 0 || request.len() + read > REQUEST {
            return None;
        }
        request.extend_from_slice(&part[..read]);
    }
    let target = target(&request);
    let (status, text) = match &target {
        Some(target) if target.starts_with(PATH) => {
            ("200 OK", "massgen has got its answer. You can close this page.")
        }
        _ => ("404 Not Found", "There is nothing here."),
    };
    let answer = format!(
        "HTTP/1.1 {status}\r\ncontent-type: text/plain\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{text}",
        text.len()
    );
    // The answer is a courtesy; what counts was in the request.
    let _ = stream.write_all(answer.as_bytes()).await;
    let _ = stream.shutdown().await;
    target
}

fn target(request: &[u8]) -> Option<String> {
    let line = std::str::from_utf8(request.split(|byte| *byte == b'\r').next()?).ok()?;
    let mut words = line.split(' ');
    (words.next()? == "GET").then_some(())?;
    words.next().filter(|target| target.starts_with('/') && !target.starts_with("//")).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_get_of_a_path_is_taken() {
        for (request, expected) in [
            (
                &b"GET /callback?code=1&state=2 HTTP/1.1\r\nhost: x\r\n\r\n"[..],
                Some("/callback?code=1&state=2"),
            ),
            (b"POST /callback HTTP/1.1\r\n\r\n", None),
            (b"GET http://evil.example/callback HTTP/1.1\r\n\r\n", None),
            (b"GET //evil.example/callback HTTP/1.1\r\n\r\n", None),
            (b"\xff\xfe\r\n\r\n", None),
            (b"", None),
        ] {
            assert_eq!(target(request).as_deref(), expected);
        }
    }

    #[tokio::test]
    async fn the_user_comes_back_through_the_port_and_strays_do_not() {
        let browser = Browser::new(Console::new(Pause::default()));
        let address = browser.listener().unwrap().local_addr().unwrap();
        let visits = async {
            for path in ["/favicon.ico", "/callback?code=c&state=s&iss=i"] {
                let mut stream = TcpStream::connect(address).await.unwrap();
                let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\n\r\n");
                stream.write_all(request.as_bytes()).await.unwrap();
                let mut answer = String::new();
                stream.read_to_string(&mut answer).await.unwrap();
                assert_eq!(answer.starts_with("HTTP/1.1 200"), path.starts_with(PATH), "{answer}");
            }
        };
        let (back, ()) = tokio::join!(browser.wait(), visits);
        assert_eq!(back.unwrap().as_str(), format!("http://{address}/callback?code=c&state=s&iss=i"));
    }
}
