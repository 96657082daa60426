//! `docker run` and its kind: which options hand this computer to the container.

use mcp_core::Refusal;

use super::grammar::{Case, skip_options};
use super::packages::not_a_server;
use crate::refusal;

/// Options before the image are the runtime's; what follows belongs to the container.
pub(super) fn judge(name: &str, args: &[&str], case: &mut Case<'_>) -> Result<(), Refusal> {
    let refused = |what: &str| {
        Err(refusal(
            "container-option",
            format!("{name} {what} gives the container the run of this computer"),
            "grant only the folders and rights the server needs, or set security.level: permissive for this server",
        ))
    };
    let global =
        ["--context", "--config", "-c", "-l", "--log-level", "-H", "--host", "--connection", "--url"];
    let mut at = skip_options(args, &global);
    for (position, option) in args[..at.min(args.len())].iter().enumerate() {
        let attached =
            option.strip_prefix("-H").or(option.strip_prefix("--host")).or(option.strip_prefix("--url"));
        let Some(attached) = attached else {
            if matches!(option.split('=').next(), Some("--context" | "-c" | "--connection")) {
                case.tell(
                    "remote-program",
                    format!("{name} {option} may start the container on another computer"),
                    "leave it out for containers of this computer",
                );
            }
            continue;
        };
        let value = attached.trim_start_matches('=');
        let value =
            if value.is_empty() { args.get(position + 1).copied().unwrap_or_default() } else { value };
        if !value.to_ascii_lowercase().starts_with("unix:")
            && !value.to_ascii_lowercase().starts_with("npipe:")
        {
            return refused(option);
        }
    }
    let mut word = args.get(at).copied();
    if word == Some("container") {
        at += 1;
        word = args.get(at).copied();
    }
    match word {
        Some("run") => {}
        // Docker's own gateway of servers, and its AI tools.
        Some("mcp" | "ai" | "model" | "agent") => return Ok(()),
        Some("compose" | "start" | "attach") => {
            case.tell(
                "container-unseen",
                format!("{name} {} starts what a file or an earlier command says", word.unwrap_or_default()),
                "use docker run, whose options can be judged",
            );
            let rest = &args[at + 1..];
            return if word == Some("compose") && rest.contains(&"exec") {
                Err(not_a_server("docker compose exec"))
            } else {
                Ok(())
            };
        }
        word => return Err(not_a_server(&format!("{name} {}", word.unwrap_or_default()))),
    }
    at += 1;
    while let Some(&arg) = args.get(at) {
        if arg == "--" || !arg.starts_with('-') {
            break;
        }
        let (option, attached) = parts(arg);
        let takes_value = attached.is_none() && takes_a_value(option);
        let value = attached.or(if takes_value { args.get(at + 1).copied() } else { None }).unwrap_or("");
        let lower = value.to_ascii_lowercase();
        let bad = match option.to_ascii_lowercase().as_str() {
            "--privileged" => attached != Some("false"),
            "--pid" | "--ipc" | "--uts" | "--userns" | "--cgroupns" => {
                lower == "host" || lower.starts_with("container:")
            }
            "--cap-add" => {
                let cap = value.to_ascii_uppercase();
                let cap = cap.strip_prefix("CAP_").unwrap_or(&cap);
                !matches!(
                    cap,
                    "NET_BIND_SERVICE" | "CHOWN" | "SETUID" | "SETGID" | "FOWNER" | "KILL" | "AUDIT_WRITE"
                )
            }
            "--security-opt" => {
                lower.contains("unconfined") || lower.contains("disable") || lower.contains("=false")
            }
            "--device"
            | "--device-cgroup-rule"
            | "--volumes-from"
            | "--runtime"
            | "--cgroup-parent"
            | "--group-add"
            | "--sysctl"
            | "--annotation" => !value.is_empty(),
            "-v" | "--volume" => hands_over(host_part(value)),
            "--mount" => value
                .split(',')
                .filter_map(|part| part.split_once('='))
                .any(|(key, path)| matches!(key.trim(), "source" | "src") && hands_over(path)),
            "--entrypoint" => {
                super::grammar::is_interpreter(value)
                    && !matches!(super::base_name(value).as_str(), "node" | "python" | "python3")
            }
            _ => false,
        };
        if bad {
            return refused(&if value.is_empty() { option.to_owned() } else { format!("{option} {value}") });
        }
        tell(name, option, value, case);
        at += if takes_value { 2 } else { 1 };
    }
    Ok(())
}

/// What is in use and gives up some of the separation.
fn tell(name: &str, option: &str, value: &str, case: &mut Case<'_>) {
    let (what, hint) = match option {
        "--network" | "--net" if value == "host" || value.starts_with("container:") => (
            "shares a network with what is outside the container",
            "name a network of its own if it needs none of this computer's ports",
        ),
        "--env-file" if case.project || !value.starts_with(['/', '~']) => (
            "sets variables from a file that came with a project",
            "put the variables into env: of this server",
        ),
        "--add-host" => ("changes what a name resolves to", "leave it out unless the server needs it"),
        "-v" | "--volume" if is_home(host_part(value)) => {
            ("gives the container a whole home folder", "give it the folder it needs")
        }
        _ => return,
    };
    case.tell("container-option", format!("{name} {option} {value} {what}"), hint);
}

/// An option and the value attached to it: `--pid=host`, `-v/:/host`, `-v=/:/host`.
fn parts(arg: &str) -> (&str, Option<&str>) {
    if let Some((option, value)) = arg.split_once('=')
        && (option.starts_with("--") || option.len() == 2)
    {
        return (option, Some(value));
    }
    // Switches may be bundled before the letter that takes a value: "-iv/:/host".
    const VALUED: [(char, &str); 9] = [
        ('v', "-v"),
        ('e', "-e"),
        ('p', "-p"),
        ('w', "-w"),
        ('u', "-u"),
        ('m', "-m"),
        ('l', "-l"),
        ('h', "-h"),
        ('c', "-c"),
    ];
    if !arg.starts_with("--") {
        let letters = &arg[1..];
        let switches = letters.len() - letters.trim_start_matches(['i', 't', 'd', 'P', 'q']).len();
        let rest = &letters[switches..];
        if let Some((letter, option)) = VALUED.iter().find(|(letter, _)| rest.starts_with(*letter)) {
            let value = rest[letter.len_utf8()..].trim_start_matches('=');
            return (option, (!value.is_empty()).then_some(value));
        }
    }
    (arg, None)
}

fn takes_a_value(option: &str) -> bool {
    // Bundled letters: only the last one can take a value, and -i, -t, -d do not.
    if !option.starts_with("--") {
        return !option[1..].chars().all(|c| matches!(c, 'i' | 't' | 'd' | 'P' | 'q'));
    }
    // Of the options that servers are started with, these are the switches; all others take a value.
    !matches!(
        option,
        "--rm"
            | "--interactive"
            | "--tty"
            | "--init"
            | "--read-only"
            | "--privileged"
            | "--detach"
            | "--no-healthcheck"
            | "--publish-all"
            | "--quiet"
            | "--sig-proxy"
            | "--oom-kill-disable"
            | "--replace"
            | "--tls-verify"
    )
}

/// The host's side of `HOST:CONTAINER[:OPTIONS]`; a drive letter is part of it.
fn host_part(value: &str) -> &str {
    let bytes = value.as_bytes();
    let from = if bytes.len() > 2
        && bytes[0].is_ascii_alphabetic()
        && bytes[1] == b':'
        && matches!(bytes[2], b'/' | b'\\')
    {
        2
    } else {
        0
    };
    match value[from..].find(':') {
        Some(at) => &value[..from + at],
        None => value,
    }
}

fn is_home(path: &str) -> bool {
    let path = path.trim_end_matches('/');
    let below =
        |parent: &str| path.strip_prefix(parent).is_some_and(|user| !user.is_empty() && !user.contains('/'));
    below("/home/") || below("/Users/") || matches!(path, "~" | "$HOME" | "${HOME}")
}

/// Folders that are the whole computer, or hold the keys to it.
fn hands_over(path: &str) -> bool {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.trim().split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    let absolute = path.trim().starts_with('/');
    let path = parts.join("/").to_ascii_lowercase();
    (absolute
        && matches!(
            path.as_str(),
            "" | "etc"
                | "root"
                | "proc"
                | "sys"
                | "dev"
                | "var"
                | "boot"
                | "home"
                | "usr"
                | "lib"
                | "bin"
                | "sbin"
                | "run"
                | "var/run"
                | "var/lib"
                | "users"
                | "opt"
                | "var/lib/docker"
        ))
        || (absolute
            && !is_harmless(&path)
            && ["etc/", "proc/", "sys/", "root/", "boot/"].iter().any(|folder| path.starts_with(folder)))
        // A whole drive.
        || (path.len() <= 3 && path.as_bytes().get(1) == Some(&b':'))
        || path.ends_with(".sock")
        || parts.iter().any(|part| {
            matches!(
                part.to_ascii_lowercase().as_str(),
                ".ssh"
                    | ".aws"
                    | ".gnupg"
                    | ".kube"
                    | ".docker"
                    | ".netrc"
                    | ".azure"
                    | "gcloud"
                    | ".npmrc"
                    | ".password-store"
            )
        })
}

/// What containers are commonly shown of `/etc`.
fn is_harmless(path: &str) -> bool {
    matches!(path, "etc/localtime" | "etc/timezone" | "etc/hosts" | "etc/resolv.conf" | "etc/machine-id")
        || path.starts_with("etc/ssl/certs")
        || path.starts_with("etc/pki/")
        || path.starts_with("etc/ca-certificates")
}
