//! For tests in which it is not the question what is allowed.

use std::net::IpAddr;

use mcp_core::{Admitted, Guard, LaunchSpec, Refusal, RemoteSpec, ServerName};

/// A guard that lets everything pass.
pub(crate) struct LetsPass;

impl Guard for LetsPass {
    fn admit_command(&self, _: &ServerName, spec: LaunchSpec) -> Result<Admitted<LaunchSpec>, Refusal> {
        Ok(Admitted::by_guard(spec))
    }

    fn admit_url(&self, _: &ServerName, spec: RemoteSpec) -> Result<Admitted<RemoteSpec>, Refusal> {
        Ok(Admitted::by_guard(spec))
    }

    fn admit_address(&self, _: &ServerName, _: &str, _: IpAddr) -> Result<(), Refusal> {
        Ok(())
    }
}
