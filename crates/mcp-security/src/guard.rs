//! The policy: which rules hold for which server.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::str::FromStr;

use mcp_core::{Admitted, Guard, LaunchSpec, Refusal, RemoteSpec, ServerName};

use crate::{Finding, address, command, env, header, url};

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

/// Who wrote a configuration.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Trust {
    /// The user.
    #[default]
    User,
    /// It came with a project that somebody else may have written.
    Project,
}

/// Whose conventions hold for programs, paths and variables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Platform {
    /// Linux, macOS and their kind.
    Unix,
    /// Windows.
    Windows,
}

impl Default for Platform {
    /// The one this program was built for.
    fn default() -> Self {
        if cfg!(windows) { Self::Windows } else { Self::Unix }
    }
}

/// The rules for one server. The default fits a configuration that its user typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// How much is taken on trust.
    pub level: Level,
    /// Programs, by base name or by path as typed, beside which none may be started; `None`: as the level says.
    pub allowed_programs: Option<BTreeSet<String>>,
    /// Addresses of private networks may be dialled, and names that lead there; this computer only by
    /// [`Rules::allow_loopback`], and metadata addresses never.
    pub allow_private_ips: bool,
    /// This computer may be dialled, where the URL says so (`localhost`, `127.0.0.1`, `[::1]`).
    pub allow_loopback: bool,
    /// `http:` may be used for hosts other than this computer.
    pub allow_cleartext: bool,
    /// Host names beside which none may be dialled; `None`: any.
    pub allowed_hosts: Option<BTreeSet<String>>,
    /// Folders that lie where everybody may put files and yet belong to the user alone, such as `/tmp/build`, as
    /// [`crate::command::shared_folder`] names them. Whoever fills this in has looked at the folder's owner and mode.
    pub private_folders: BTreeSet<String>,
    /// Variables that the program has from the user's own environment, by name: whoever wrote the configuration did not
    /// choose their values.
    pub inherited: BTreeSet<String>,
    /// Who wrote the server's configuration.
    pub trust: Trust,
    /// Whose conventions hold.
    pub platform: Platform,
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
            private_folders: BTreeSet::new(),
            inherited: BTreeSet::new(),
            trust: Trust::default(),
            platform: Platform::default(),
        }
    }
}

impl Rules {
    /// The default rules at another level.
    pub fn at(level: Level) -> Self {
        Self { level, ..Self::default() }
    }

    /// What the environment's rules need to know.
    pub fn place(&self) -> env::Place {
        env::Place {
            level: self.level,
            project: self.trust == Trust::Project,
            windows: self.platform == Platform::Windows,
        }
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

fn judge_launch(spec: &LaunchSpec, rules: &Rules) -> Result<Vec<Finding>, Refusal> {
    let mut findings = command::judge(&spec.program, &spec.args, rules)?;
    let (inherited, declared): (BTreeMap<_, _>, BTreeMap<_, _>) =
        spec.env.clone().into_iter().partition(|(name, _)| rules.inherited.contains(name));
    findings.extend(env::judge(&inherited, env::Place { project: false, ..rules.place() })?);
    findings.extend(env::judge(&declared, rules.place())?);
    Ok(findings)
}

impl Guard for Policy {
    fn admit_command(&self, server: &ServerName, spec: LaunchSpec) -> Result<Admitted<LaunchSpec>, Refusal> {
        let rules = self.rules(server);
        let findings = judge_launch(&spec, rules)?;
        for finding in findings {
            tracing::info!(server = %server, rule = finding.rule, "{finding}");
        }
        Ok(Admitted::by_guard(spec))
    }

    fn admit_url(&self, server: &ServerName, spec: RemoteSpec) -> Result<Admitted<RemoteSpec>, Refusal> {
        let rules = self.rules(server);
        url::judge(&spec.url, rules)?;
        header::judge(&spec.headers)?;
        Ok(Admitted::by_guard(spec))
    }

    fn admit_login_url(
        &self,
        server: &ServerName,
        url: &::url::Url,
        resource: &::url::Url,
    ) -> Result<(), Refusal> {
        let rules = self.rules(server);
        if rules.allow_private_ips {
            // Where the server may be in a private network, so may its authorization server.
            return url::judge(url, rules);
        }
        let (context, base) = (url::Context::OAuthMetadata, Some(resource));
        url::admit(url::Question { text: url.as_str(), context, base, hops: 0 }, rules).map(drop)
    }

    fn concerns(&self, server: &ServerName, spec: &LaunchSpec) -> Vec<String> {
        let findings = judge_launch(spec, self.rules(server)).unwrap_or_default();
        findings.into_iter().map(|finding| format!("{}; {}", finding.reason, finding.hint)).collect()
    }

    fn admit_address(&self, server: &ServerName, host: &str, address: IpAddr) -> Result<(), Refusal> {
        address::judge(host, address, self.rules(server))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_answers_for_the_variables_it_sets_and_for_no_others() {
        let name = "CURL_CA_BUNDLE";
        let spec = LaunchSpec {
            program: "uvx".to_owned(),
            args: vec!["mcp-server-time@2026.10.19".to_owned()],
            env: BTreeMap::from([(name.to_owned(), "/etc/ssl/own-ca.pem".to_owned())]),
            ..LaunchSpec::default()
        };
        let mut rules = Rules { trust: Trust::Project, ..Rules::default() };
        let refusal = judge_launch(&spec, &rules).unwrap_err();
        assert_eq!(refusal.rule, "loader-variable");
        rules.inherited.insert(name.to_owned());
        judge_launch(&spec, &rules).unwrap();
    }
}
