//! The sandbox of a server, enforced by the kernel: Landlock for places and ports, seccomp for the rest. All of a plan
//! or an error: a server never runs in less than what was asked for.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, NetPort, PathBeneath, PathFd,
    Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr, Scope,
};
use massgen::security::sandbox::{Level, Sandbox};
use seccompiler::{
    SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};

/// What the kernel must be able to do for a level: the truncation of files is under control since the third version of
/// its interface, and ports since the fourth.
fn needed(level: Level) -> (ABI, &'static str) {
    match level {
        Level::Restrict => (ABI::V3, "Linux 6.2"),
        Level::Strict => (ABI::V4, "Linux 6.7"),
    }
}

/// What the administrator could do to get around a sandbox, such as reading the memory of other programs. Where massgen
/// runs as somebody else there is nothing to give up; what is given up cannot be had back.
fn give_up_powers() -> Result<(), String> {
    use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
    let given_up = CapabilitySet::SYS_ADMIN
        | CapabilitySet::SYS_PTRACE
        | CapabilitySet::SYS_MODULE
        | CapabilitySet::SYS_RAWIO
        | CapabilitySet::SYS_BOOT
        | CapabilitySet::PERFMON
        | CapabilitySet::BPF
        | CapabilitySet::MKNOD
        | CapabilitySet::DAC_READ_SEARCH;
    let set = || {
        let mut sets = capabilities(None)?;
        sets.effective.remove(given_up);
        sets.permitted.remove(given_up);
        sets.inheritable.remove(given_up);
        set_capabilities(None, sets)
    };
    set().map_err(|error| format!("the server's privileges cannot be given up: {error}"))
}

/// Confines this thread and what it starts from now on. `own`: a folder that is the server's alone.
pub(super) fn enter(sandbox: &Sandbox, own: &Path) -> Result<(), String> {
    give_up_powers()?;
    landlock(sandbox, own).map_err(|error| {
        let (_, kernel) = needed(sandbox.level);
        format!(
            "this system cannot give what sandbox: {} promises (it takes {kernel} or newer, with Landlock among the \
             active security modules): {error}. Set sandbox: off to run the server without",
            sandbox.level
        )
    })?;
    if sandbox.level == Level::Strict {
        seccomp(!sandbox.ports.is_empty()).map_err(|error| {
            format!("this system cannot give what sandbox: strict promises: seccomp: {error}. Set sandbox: restrict")
        })?;
    }
    Ok(())
}

fn landlock(sandbox: &Sandbox, own: &Path) -> Result<(), landlock::RulesetError> {
    let (abi, _) = needed(sandbox.level);
    let (read, all) = (AccessFs::from_read(abi), AccessFs::from_all(abi));
    let mut ruleset =
        Ruleset::default().set_compatibility(CompatLevel::HardRequirement).handle_access(all)?;
    if sandbox.level == Level::Strict {
        ruleset = ruleset.handle_access(AccessNet::ConnectTcp | AccessNet::BindTcp)?;
    }
    // Newer kernels can do more than was promised: signals and nameless sockets end at the sandbox, too.
    let mut ruleset =
        ruleset.set_compatibility(CompatLevel::BestEffort).scope(Scope::from_all(ABI::V6))?.create()?;
    let hidden: Vec<PathBuf> = sandbox.hidden.iter().flat_map(|path| spellings(path)).collect();
    for path in visible(Path::new("/"), &hidden) {
        ruleset = allow(ruleset, &path, read)?;
    }
    for path in sandbox.write.iter().map(PathBuf::as_path).chain([own]) {
        ruleset = allow(ruleset, path, all)?;
    }
    if sandbox.level == Level::Strict {
        for port in &sandbox.ports {
            ruleset = ruleset.add_rule(NetPort::new(*port, AccessNet::ConnectTcp))?;
        }
    }
    ruleset.restrict_self()?;
    Ok(())
}

/// What does not exist needs no rule.
fn allow(
    ruleset: RulesetCreated,
    path: &Path,
    access: BitFlags<AccessFs>,
) -> Result<RulesetCreated, landlock::RulesetError> {
    let Ok(opened) = PathFd::new(path) else { return Ok(ruleset) };
    let access = if path.is_dir() { access } else { access & AccessFs::from_file(ABI::V4) };
    ruleset.add_rule(PathBeneath::new(opened, access))
}

/// A path, and where it really leads.
fn spellings(path: &Path) -> Vec<PathBuf> {
    let mut spellings = vec![path.to_owned()];
    spellings.extend(path.canonicalize().ok().filter(|real| real != path));
    spellings
}

/// The highest places below `folder` that hold nothing hidden. Landlock only ever allows: what is to be hidden must not
/// lie below anything that is allowed.
fn visible(folder: &Path, hidden: &[PathBuf]) -> Vec<PathBuf> {
    if hidden.iter().any(|path| path == folder) {
        return Vec::new();
    }
    if !hidden.iter().any(|path| path.starts_with(folder)) {
        return vec![folder.to_owned()];
    }
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut found = Vec::new();
    for entry in entries.flatten() {
        // Where a link leads to is allowed or hidden at its own place.
        if entry.file_type().is_ok_and(|kind| !kind.is_symlink()) {
            found.extend(visible(&entry.path(), hidden));
        }
    }
    found
}

/// A folder that nobody else can enter, for the server's temporary files. It goes with this value.
#[derive(Debug)]
pub(super) struct OwnFolder(PathBuf);

impl OwnFolder {
    pub(super) fn new() -> io::Result<Self> {
        let base = std::env::temp_dir();
        let id = rustix::process::getpid().as_raw_nonzero();
        for attempt in 0..1000 {
            let path = base.join(format!("massgen-server-{id}-{attempt}"));
            match std::fs::DirBuilder::new().mode(0o700).create(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
                Ok(()) => return Ok(Self(path)),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for OwnFolder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What debuggers and administrators do, and what gets around the filter itself.
const REFUSED: &[i64] = &[
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_getfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_setns,
    libc::SYS_unshare,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_reboot,
    libc::SYS_kexec_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
];

/// Refuses what [`REFUSED`] names, and sockets of other families than those that are left: TCP and UDP where there is a
/// network, and the kernel's own table of interfaces.
fn seccomp(network: bool) -> Result<(), String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let mut families = vec![libc::AF_NETLINK];
    if network {
        families.extend([libc::AF_INET, libc::AF_INET6]);
    }
    let other = families
        .into_iter()
        .map(|family| {
            let family = u64::try_from(family).map_err(|error| text(&error))?;
            SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, family)
                .map_err(|error| text(&error))
        })
        .collect::<Result<Vec<_>, String>>()?;
    let sockets = SeccompRule::new(other).map_err(|error| text(&error))?;
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = REFUSED.iter().map(|call| (*call, Vec::new())).collect();
    rules.insert(libc::SYS_socket, vec![sockets]);
    let refuse = SeccompAction::Errno(u32::try_from(libc::EPERM).unwrap_or(1));
    let here = std::env::consts::ARCH.try_into().map_err(|error: seccompiler::BackendError| text(&error))?;
    let program: seccompiler::BpfProgram = SeccompFilter::new(rules, SeccompAction::Allow, refuse, here)
        .map_err(|error| text(&error))?
        .try_into()
        .map_err(|error: seccompiler::BackendError| text(&error))?;
    seccompiler::apply_filter(&program).map_err(|error| text(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_hidden_lies_below_nothing_that_is_visible() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for name in ["a/deep/er", "a/other", "b", "keys"] {
            std::fs::create_dir_all(path(name)).unwrap();
        }
        std::fs::write(path("a/deep/token"), "").unwrap();
        std::os::unix::fs::symlink(path("keys"), path("b-link")).unwrap();
        let mut found = visible(folder.path(), &[path("a/deep/token"), path("keys"), path("absent")]);
        found.sort();
        assert_eq!(found, [path("a/deep/er"), path("a/other"), path("b")]);
        assert_eq!(visible(folder.path(), &[]), [folder.path()]);
        assert!(visible(folder.path(), &[folder.path().to_owned()]).is_empty());
    }
}
