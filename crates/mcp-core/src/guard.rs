//! The seam between reaching a server and judging whether that may happen.
//!
//! Starting a process or dialling an address is the transport's work, judging it is the security policy's; neither
//! knows the other. A transport takes only [`Admitted`] specs, and a [`Guard`] makes them.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use crate::ServerName;

/// How to start a server as a child process. No shell is ever involved.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct LaunchSpec {
    /// The program: a name looked up on the child's `PATH`, or a path.
    pub program: String,
    /// Its arguments, one each.
    pub args: Vec<String>,
    /// The child's whole environment: it inherits nothing else.
    pub env: BTreeMap<String, String>,
    /// Its working folder; `None`: ours.
    pub cwd: Option<PathBuf>,
}

/// Environment values may hold secrets: `Debug` shows their names only.
impl fmt::Debug for LaunchSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LaunchSpec")
            .field("program", &self.program)
            .field("args", &self.args)
            .field("env", &self.env.keys().collect::<Vec<_>>())
            .field("cwd", &self.cwd)
            .finish()
    }
}

/// How to reach a server over HTTP.
#[derive(Clone, PartialEq, Eq)]
pub struct RemoteSpec {
    /// The endpoint.
    pub url: url::Url,
    /// Extra headers, such as `Authorization`.
    pub headers: BTreeMap<String, String>,
}

/// Header values may hold secrets: `Debug` shows their names only, and the URL without user, password and query.
impl fmt::Debug for RemoteSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteSpec")
            .field("host", &self.url.host_str())
            .field("path", &self.url.path())
            .field("headers", &self.headers.keys().collect::<Vec<_>>())
            .finish()
    }
}

/// A spec that a guard has let pass, perhaps changed (a resolved program, a cleaned environment).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admitted<T>(T);

impl<T> Admitted<T> {
    /// For implementations of [`Guard`] only: says that `spec` may be used.
    pub fn by_guard(spec: T) -> Self {
        Self(spec)
    }

    /// The spec.
    pub fn spec(&self) -> &T {
        &self.0
    }
}

/// Why a guard said no.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Refusal {
    /// The rule, by its stable name, such as `inline-program`.
    pub rule: &'static str,
    /// What is wrong with this spec.
    pub reason: String,
    /// What the user can do about it.
    pub hint: String,
}

/// Judges how servers are reached. Pure decisions: no I/O.
pub trait Guard: Send + Sync {
    /// May this program be started?
    ///
    /// # Errors
    ///
    /// A [`Refusal`] that names the rule and the remedy.
    fn admit_command(&self, server: &ServerName, spec: LaunchSpec) -> Result<Admitted<LaunchSpec>, Refusal>;

    /// What is allowed about a launch and still worth telling its user, one line each. A guard that has nothing to
    /// tell need not answer.
    fn concerns(&self, server: &ServerName, spec: &LaunchSpec) -> Vec<String> {
        let _ = (server, spec);
        Vec::new()
    }

    /// May this URL be used?
    ///
    /// # Errors
    ///
    /// A [`Refusal`] that names the rule and the remedy.
    fn admit_url(&self, server: &ServerName, spec: RemoteSpec) -> Result<Admitted<RemoteSpec>, Refusal>;

    /// May this URL be asked about a login at `resource`? The server there, or an authorization server it trusts, named it: it
    /// must not send us to where only we can go. A guard that has no rules of its own for that judges it as
    /// [`Guard::admit_url`] does.
    ///
    /// # Errors
    ///
    /// A [`Refusal`] that names the rule and the remedy.
    fn admit_login_url(
        &self,
        server: &ServerName,
        url: &url::Url,
        resource: &url::Url,
    ) -> Result<(), Refusal> {
        let _ = resource;
        self.admit_url(server, RemoteSpec { url: url.clone(), headers: BTreeMap::new() }).map(drop)
    }

    /// May this address, to which `host` resolved just now, be dialled? Asked after DNS, so that a name which
    /// resolves to something else the second time is caught.
    ///
    /// # Errors
    ///
    /// A [`Refusal`] that names the rule and the remedy.
    fn admit_address(&self, server: &ServerName, host: &str, address: IpAddr) -> Result<(), Refusal>;
}
