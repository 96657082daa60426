//! Starting the scripted server, and seeing processes end without waiting for time to pass.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use mcp_core::*;
use mcp_transport::{Session, SessionOptions};
use serde_json::Value;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};

/// A guard that admits everything but addresses that it is told not to.
#[derive(Default)]
pub(crate) struct Gatekeeper {
    pub(crate) refused: Option<IpAddr>,
}

impl Guard for Gatekeeper {
    fn admit_command(&self, _: &ServerName, spec: LaunchSpec) -> Result<Admitted<LaunchSpec>, Refusal> {
        Ok(Admitted::by_guard(spec))
    }

    fn admit_url(&self, _: &ServerName, spec: RemoteSpec) -> Result<Admitted<RemoteSpec>, Refusal> {
        Ok(Admitted::by_guard(spec))
    }

    fn admit_address(&self, _: &ServerName, host: &str, address: IpAddr) -> Result<(), Refusal> {
        if self.refused == Some(address) {
            return Err(Refusal {
                rule: "private-address",
                reason: format!("{host} is the private address {address}"),
                hint: "allow it".into(),
            });
        }
        Ok(())
    }
}

pub(crate) fn name() -> ServerName {
    ServerName::new("scripted").unwrap()
}

pub(crate) fn tool(name: &str) -> ToolName {
    ToolName::new(name).unwrap()
}

pub(crate) fn object(value: Value) -> JsonObject {
    value.as_object().cloned().unwrap_or_default()
}

/// The launch of `scripted.py`; `None`, said loudly, where there is no python3 outside CI.
pub(crate) fn scripted(quirks: &[&str]) -> Option<LaunchSpec> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let python =
        std::env::split_paths(&path).map(|folder| folder.join("python3")).find(|file| file.is_file());
    let Some(python) = python else {
        assert!(std::env::var_os("CI").is_none(), "python3 is needed");
        eprintln!("SKIPPED: there is no python3 on PATH");
        return None;
    };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/servers/scripted.py");
    let mut args = vec!["-u".to_owned(), script.display().to_string()];
    args.extend(quirks.iter().map(|quirk| (*quirk).to_owned()));
    Some(LaunchSpec {
        program: python.display().to_string(),
        args,
        env: BTreeMap::from([("PATH".to_owned(), path.to_string_lossy().into_owned())]),
        cwd: None,
    })
}

pub(crate) async fn start(spec: LaunchSpec, options: SessionOptions) -> Result<Session, ToolError> {
    Session::stdio(name(), Admitted::by_guard(spec), options).await
}

/// A connection from each process of a server: it breaks when that process ends.
pub(crate) struct Tethers(TcpListener);

impl Tethers {
    pub(crate) async fn new() -> (Self, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let quirk = format!("tether={}", listener.local_addr().unwrap().port());
        (Self(listener), quirk)
    }

    pub(crate) async fn accept(&self, count: usize) -> Vec<TcpStream> {
        let mut tethers = Vec::new();
        for _ in 0..count {
            tethers.push(soon(self.0.accept()).await.unwrap().0);
        }
        tethers
    }
}

/// Waits until all these processes are gone.
pub(crate) async fn gone(tethers: Vec<TcpStream>) {
    for mut tether in tethers {
        // A killed process may reset the connection instead of ending it.
        let _ = soon(tether.read(&mut [0])).await;
    }
}

/// A test that hangs says nothing: it fails instead. The limit is far above what a loaded machine needs.
pub(crate) async fn soon<F: IntoFuture>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(60), future.into_future()).await.expect("it hangs")
}
