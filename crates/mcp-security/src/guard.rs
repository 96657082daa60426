//! The policy: which rules hold for which server.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::str::FromStr;

use mcp_core::{Admitted, Guard, LaunchSpec, Refusal, RemoteSpec, ServerName};

use crate::{address, command, env, header, url};

/// How much is taken on trust. The names are those of v0.0.15.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Programs must be known launchers or listed in [`Rules::allowed_programs`].
    Strict,
    /// Any program the user typed, but no code inside a command line.
    #[default]
    Moderate,
    /// Code inside a command line and cleartext HTTP as well.
    Permissive,
}

impl FromStr for Level {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "strict" => Ok(Self::Strict),
            "moderate" => Ok(Self::Moderate),
            "permissive" => Ok(Self::Permissive),
            other => Err(format!("{other:?} is not a level; use strict, moderate or permissive")),
        }
    }
}

/// The rules for one server. The default fits a configuration that its user typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// How much is taken on trust.
    pub level: Level,
    /// Programs, by base name or by path as typed, beside which none may be started; `None`: as the level says.
    pub allowed_programs: Option<BTreeSet<String>>,
    /// Addresses of private networks may be dialled.
    pub allow_private_ips: bool,
    /// This computer may be dialled, where the URL says so (`localhost`, `127.0.0.1`, `[::1]`).
    pub allow_loopback: bool,
    /// `http:` may be used for hosts other than this computer.
    pub allow_cleartext: bool,
    /// Host names beside which none may be dialled; `None`: any.
    pub allowed_hosts: Option<BTreeSet<String>>,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            level: Level::default(),
            allowed_programs: None,
            allow_private_ips: false,
            allow_loopback: true,
            allow_cleartext: false,
            allowed_hosts: None,
        }
    }
}

impl Rules {
    /// The default rules at another level.
    pub fn at(level: Level) -> Self {
        Self { level, ..Self::default() }
    }
}

/// Judges how servers are reached: one set of rules for all of them, and others for some.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    rules: Rules,
    servers: BTreeMap<ServerName, Rules>,
}

impl Policy {
    /// A policy with these rules for every server.
    pub fn new(rules: Rules) -> Self {
        Self { rules, servers: BTreeMap::new() }
    }

    /// The same policy with rules of its own for one server.
    #[must_use]
    pub fn with_server(mut self, server: ServerName, rules: Rules) -> Self {
        self.servers.insert(server, rules);
        self
    }

    /// The rules that hold for a server.
    pub fn rules(&self, server: &ServerName) -> &Rules {
        self.servers.get(server).unwrap_or(&self.rules)
    }
}

impl Guard for Policy {
    fn admit_command(&self, server: &ServerName, spec: LaunchSpec) -> Result<Admitted<LaunchSpec>, Refusal> {
        let rules = self.rules(server);
        command::judge(&spec.program, &spec.args, rules)?;
        env::judge(&spec.env, rules.level)?;
        Ok(Admitted::by_guard(spec))
    }

    fn admit_url(&self, server: &ServerName, spec: RemoteSpec) -> Result<Admitted<RemoteSpec>, Refusal> {
        let rules = self.rules(server);
        url::judge(&spec.url, rules)?;
        header::judge(&spec.headers)?;
        Ok(Admitted::by_guard(spec))
    }

    fn admit_address(&self, server: &ServerName, host: &str, address: IpAddr) -> Result<(), Refusal> {
        address::judge(host, address, self.rules(server))
    }
}
