//! `docker run` and its kind: which options hand this computer to the container.

use mcp_core::Refusal;

use super::grammar::skip_options;
use crate::refusal;

/// Options that hand the host to the container.
pub(super) fn judge(name: &str, args: &[&str]) -> Result<(), Refusal> {
    let refused = |what: &str| {
        Err(refusal(
            "container-option",
            format!("{name} {what} gives the container the run of this computer"),
            "grant only the folders and rights the server needs, or set security.level: permissive for this server",
        ))
    };
    if let Some(option) = args
        .iter()
        .take_while(|arg| arg.starts_with('-'))
        .find(|arg| matches!(arg.split('=').next(), Some("-H" | "--host")) || arg.starts_with("-Htcp"))
    {
        return refused(option);
    }
    let mut at = skip_options(args, &["--context", "--config", "-c", "-l", "--log-level"]);
    if !args.get(at).is_some_and(|arg| matches!(*arg, "run" | "create" | "exec" | "container")) {
        return Ok(());
    }
    at += 1;
    while let Some(&arg) = args.get(at) {
        if matches!(arg, "run" | "create" | "exec") {
            at += 1;
            continue;
        }
        if !arg.starts_with('-') {
            break;
        }
        let (option, attached) = match arg.split_once('=') {
            Some((option, value)) => (option, Some(value)),
            None => (arg, None),
        };
        let takes_value = attached.is_none() && takes_a_value(option);
        let value = attached.or(if takes_value { args.get(at + 1).copied() } else { None }).unwrap_or("");
        let bad = match option {
            "--privileged" => attached != Some("false"),
            "--pid" | "--ipc" | "--uts" | "--userns" | "--cgroupns" => value == "host",
            "--cap-add" => {
                let value = value.to_ascii_uppercase();
                ["ALL", "SYS_ADMIN", "SYS_PTRACE", "SYS_MODULE", "DAC_READ_SEARCH"]
                    .iter()
                    .any(|cap| value.strip_prefix("CAP_").unwrap_or(&value) == *cap)
            }
            "--security-opt" => value.contains("unconfined") || value.contains("disable"),
            "--device" => !value.is_empty(),
            "-v" | "--volume" => host_path_is_everything(value.split(':').next().unwrap_or_default()),
            "--mount" => value
                .split(',')
                .filter_map(|part| part.split_once('='))
                .any(|(key, path)| matches!(key, "source" | "src") && host_path_is_everything(path)),
            _ => false,
        };
        if bad {
            return refused(&if value.is_empty() { option.to_owned() } else { format!("{option} {value}") });
        }
        at += if takes_value { 2 } else { 1 };
    }
    Ok(())
}

fn takes_a_value(option: &str) -> bool {
    // Of the options that servers are started with, these are the switches; all others take a value.
    !matches!(
        option,
        "-i" | "-t"
            | "-it"
            | "-ti"
            | "-d"
            | "--rm"
            | "--interactive"
            | "--tty"
            | "--init"
            | "--read-only"
            | "--privileged"
            | "--detach"
            | "--no-healthcheck"
            | "-P"
            | "--publish-all"
            | "--quiet"
            | "-q"
            | "--sig-proxy"
            | "--oom-kill-disable"
            | "-dit"
            | "-itd"
    )
}

fn host_path_is_everything(path: &str) -> bool {
    let path = path.trim_end_matches('/');
    matches!(path, "" | "/etc" | "/root" | "/proc" | "/sys" | "/dev" | "/var" | "/boot" | "/home" | "/usr")
        || path.ends_with("docker.sock")
        || path.ends_with("podman.sock")
        || path.ends_with("containerd.sock")
        || [".ssh", ".aws", ".gnupg", ".kube"].iter().any(|folder| path.ends_with(&format!("/{folder}")))
}
