//! `massgen mcp auth SERVER`: a login at a remote server, through the user's browser.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use massgen::Servers;
use massgen::core::{BoxFuture, Environment, ServerName};
use massgen::transport::oauth::{AuthorizeError, Authorizer, FileTokens, OAuthOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use url::Url;

use crate::args::AuthArgs;
use crate::environment;
use crate::failure::{Failure, Kind};
use crate::mcp_command;
use crate::output;
use crate::prompt::{Line, Prompt};
use crate::session::Session;
use crate::style::safe;

/// How long the user may take on the login page.
const PATIENCE: Duration = Duration::from_secs(300);
/// The path of the address that the user is sent back to.
const PATH: &str = "/callback";
/// The largest request that comes back.
const REQUEST: usize = 16 * 1024;

/// The logins that were made by `mcp auth`, for every session of this program: used and renewed, never made.
pub(crate) fn kept(environment: &Environment) -> Option<OAuthOptions> {
    Some(OAuthOptions::new(Arc::new(FileTokens::new(folder(environment)?))))
}

fn folder(environment: &Environment) -> Option<PathBuf> {
    Some(environment::state_folder(environment)?.join("logins"))
}

pub(crate) async fn run(args: AuthArgs, session: &Session) -> Result<(), Failure> {
    let environment = &session.environment;
    let folder = folder(environment).ok_or_else(|| {
        Failure::config("there is no folder for logins").with_hint("set HOME or XDG_STATE_HOME")
    })?;
    // What was there before is forgotten: whoever asks for a login has a reason.
    let file = folder.join(format!("{}.json", name(&args.server)?));
    match std::fs::remove_file(&file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(Failure::config(format!("{} cannot be removed: {error}", file.display())));
        }
        _ => {}
    }
    if args.forget {
        output::line(format!("The login at {} is forgotten.", args.server));
        return Ok(());
    }
    let listener = TcpListener::bind("127.0.0.1:0").await;
    let listener = listener.map_err(|error| Failure::config(format!("no port can be opened: {error}")))?;
    let mut options = OAuthOptions::new(Arc::new(FileTokens::new(folder)));
    options.authorizer = Some(Arc::new(Browser::new(listener, args.no_browser)?));
    let servers = mcp_command::start_for(&args.servers, &args.server, options, PATIENCE).await?;
    let outcome = conclude(&servers, &file, &args.server);
    servers.close().await;
    outcome
}

fn name(server: &str) -> Result<ServerName, Failure> {
    ServerName::new(server).map_err(|error| Failure::config(error.to_string()))
}

fn conclude(servers: &Servers, file: &std::path::Path, server: &str) -> Result<(), Failure> {
    if let Some(error) = servers.reports().into_iter().find_map(|report| report.error) {
        output::line(format!("{server}: {}", safe(&error)));
        return Err(Failure::silent(Kind::NoAnswer));
    }
    if file.is_file() {
        output::line(format!("Logged in at {server}. The login is kept in {}", file.display()));
    } else {
        output::line(format!("{server} asked for no login."));
    }
    Ok(())
}

/// Opens the page in the user's browser, and waits on a port of this machine for the user to be sent back.
struct Browser {
    listener: TcpListener,
    redirect: String,
    by_hand: bool,
}

impl Browser {
    fn new(listener: TcpListener, by_hand: bool) -> Result<Self, Failure> {
        let address = listener.local_addr().map_err(|error| Failure::config(error.to_string()))?;
        Ok(Self { listener, redirect: format!("http://{address}{PATH}"), by_hand })
    }

    async fn wait(&self) -> Result<Url, AuthorizeError> {
        loop {
            let Ok((stream, _)) = self.listener.accept().await else { continue };
            // Whoever says nothing must not keep the others waiting.
            let read = tokio::time::timeout(Duration::from_secs(5), answer(stream)).await;
            if let Ok(Some(target)) = read
                && target.starts_with(PATH)
            {
                let base = Url::parse(&self.redirect).map_err(|error| AuthorizeError(error.to_string()))?;
                return base.join(&target).map_err(|error| AuthorizeError(error.to_string()));
            }
        }
    }

    async fn pasted(&self) -> Result<Url, AuthorizeError> {
        let prompt = Prompt::new(output::is_interactive(), None);
        loop {
            match prompt.line("The address you were sent to: ").await {
                Line::Text(text) => match Url::parse(text.trim()) {
                    Ok(url) if url.as_str().starts_with(&self.redirect) => return Ok(url),
                    _ => output::note(format!("It begins with {}", self.redirect)),
                },
                // The browser may be on this machine after all.
                Line::End => std::future::pending().await,
            }
        }
    }
}

impl Authorizer for Browser {
    fn redirect_uri(&self) -> String {
        self.redirect.clone()
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
                if !open(page) {
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

/// Starts the user's browser, without a shell. The address was judged by the transport: https, or this machine.
fn open(page: &Url) -> bool {
    let program = match std::env::consts::OS {
        "macos" => "open",
        "windows" => "explorer",
        _ => "xdg-open",
    };
    #[expect(
        clippy::disallowed_methods,
        reason = "the user's own browser, with one argument that is an address"
    )]
    let mut command = std::process::Command::new(program);
    let quiet = std::process::Stdio::null;
    let child = command.arg(page.as_str()).stdin(quiet()).stdout(quiet()).stderr(quiet()).spawn();
    match child {
        Ok(mut child) => {
            // It ends when it has handed the page over; nobody needs to know when.
            std::thread::spawn(move || child.wait());
            true
        }
        Err(_) => false,
    }
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
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let browser = Browser::new(listener, false).unwrap();
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
