//! What each program does with its options. Options before the script or package belong to the program and are judged;
//! what follows belongs to the server and is free.

use std::collections::BTreeSet;

use mcp_core::Refusal;

use super::packages::{self, not_a_server};
use super::{base_name, container, interpreters, others_may_write};
use crate::{Finding, Level, env, limits, refusal};

/// One command line on the bench: what is known of where it comes from, and what was found so far.
pub(super) struct Case<'a> {
    /// It comes with a project that somebody else may have written.
    pub(super) project: bool,
    pub(super) level: Level,
    pub(super) windows: bool,
    /// Folders of the user's own below one of everybody's.
    pub(super) private: &'a BTreeSet<String>,
    pub(super) findings: &'a mut Vec<Finding>,
}

impl Case<'_> {
    pub(super) fn tell(&mut self, rule: &'static str, reason: String, hint: &str) {
        // One program may be looked at twice, as a runner's package and as what it runs.
        if !self.findings.iter().any(|known| known.rule == rule && known.reason == reason) {
            self.findings.push(Finding::new(rule, reason, hint));
        }
    }

    /// A script that others can change.
    pub(super) fn script(&mut self, path: &str) {
        if others_may_write(path, self.private) {
            self.tell(
                "world-writable",
                format!("{path} lies where every user of this computer may put files"),
                "move it to a folder of your own",
            );
        }
    }
}

/// Judges a command, looking through wrappers to what they start.
pub(super) fn judge(program: &str, args: &[&str], case: &mut Case<'_>) -> Result<(), Refusal> {
    let mut program = program;
    let mut args = args;
    for _ in 0..=limits::WRAPPERS {
        match unwrap(program, args, case)? {
            Some((inner, rest)) => (program, args) = (inner, rest),
            None => return judge_program(program, args, case),
        }
        super::judge_place(program, case.private)?;
    }
    Err(refusal(
        "runner-option",
        format!("the command is wrapped more than {} times", limits::WRAPPERS),
        "name the program itself in command:",
    ))
}

/// What a wrapper starts; `None`: not a wrapper.
fn unwrap<'a>(
    program: &'a str,
    args: &'a [&'a str],
    case: &mut Case<'_>,
) -> Result<Option<(&'a str, &'a [&'a str])>, Refusal> {
    let name = base_name(program);
    let first = match name.as_str() {
        "sudo" | "doas" | "su" | "sg" | "newgrp" | "runcon" | "pkexec" | "runas" | "runuser" | "gosu"
        | "su-exec" | "chroot" | "nsenter" | "systemd-run" | "machinectl" | "setpriv" | "capsh" => {
            return Err(refusal(
                "privilege",
                format!("{name} would start the server with other rights than yours"),
                "start the server as yourself; give it only the rights it needs",
            ));
        }
        "env" => {
            let mut at = 0;
            while let Some(&arg) = args.get(at) {
                match arg {
                    _ if arg.starts_with("-S") || arg.starts_with("--split") => {
                        return Err(inline(&name, arg));
                    }
                    "-u" | "--unset" | "-C" | "--chdir" => at += 2,
                    "--" => {
                        at += 1;
                        break;
                    }
                    // "-vS…" and "-iS…" split too.
                    _ if arg.starts_with('-') && !arg.starts_with("--") && arg.contains('S') => {
                        return Err(inline(&name, arg));
                    }
                    _ if arg.starts_with('-') => at += 1,
                    _ => match arg.split_once('=') {
                        Some((variable, value)) => {
                            let place = env::Place::declared(case.level, case.project, case.windows);
                            case.findings.extend(env::judge_variable(variable, value, place)?);
                            at += 1;
                        }
                        None => break,
                    },
                }
            }
            at
        }
        "cross-env" | "cross-env-shell" if args.iter().all(|arg| !arg.contains('=')) => 0,
        "cross-env" => args.iter().position(|arg| !arg.contains('=')).unwrap_or(args.len()),
        "nohup" | "setsid" | "exec" | "command" | "caffeinate" | "unbuffer" | "catchsegv" => {
            skip_options(args, &[])
        }
        "nice" | "ionice" | "chrt" | "taskset" => {
            let at = skip_options(args, &["-n", "-c", "-p", "--adjustment", "--class", "--classdata"]);
            // taskset and chrt take a mask or a priority before the program.
            let mask =
                matches!(name.as_str(), "taskset" | "chrt") && !args[..at.min(args.len())].contains(&"-c");
            if mask { at + 1 } else { at }
        }
        "stdbuf" => skip_options(args, &["-i", "-o", "-e", "--input", "--output", "--error"]),
        // What follows runs on this computer's other system.
        "wsl" => {
            let at = skip_options(
                args,
                &["-d", "--distribution", "-u", "--user", "--cd", "--shell-type", "--distribution-id"],
            );
            let special = |arg: &&str| arg.contains(['&', '|', '<', '>', ';', '$', '`']);
            if args.iter().any(special) {
                return Err(inline(&name, "with what a shell would obey"));
            }
            at
        }
        "shx" => skip_options(args, &[]),
        "time" => skip_options(args, &["-f", "-o", "--format", "--output"]),
        "timeout" | "gtimeout" => skip_options(args, &["-s", "-k", "--signal", "--kill-after"]) + 1,
        // Windows starts npx and friends through its shell; what follows /c must be one plain command.
        "cmd" => {
            let is_switch = |arg: &str, switch: &str| arg.to_ascii_lowercase().starts_with(switch);
            let Some(at) = args.iter().position(|arg| is_switch(arg, "/c")) else {
                return Err(inline(&name, "without /c"));
            };
            let rest = &args[at + 1..];
            let special = |arg: &&&str| arg.contains(['&', '|', '<', '>', '^', '%', '"', '\'', '!']);
            if args[at].len() > 2
                || args[..at].iter().any(|arg| !arg.starts_with('/') || is_switch(arg, "/k"))
                || rest.iter().find(special).is_some()
                || rest.first().is_none_or(|inner| inner.contains(' '))
            {
                return Err(inline(&name, "/c"));
            }
            at + 1
        }
        _ => return Ok(None),
    };
    match args.get(first) {
        Some(inner) => Ok(Some((inner, &args[first + 1..]))),
        None => Err(refusal(
            "runner-option",
            format!("{name} is told to start nothing"),
            "name the server's program after it",
        )),
    }
}

/// The index of the first item that is neither an option nor an option's value.
pub(super) fn skip_options(args: &[&str], with_value: &[&str]) -> usize {
    let mut at = 0;
    while let Some(arg) = args.get(at) {
        if *arg == "--" {
            return at + 1;
        }
        if !arg.starts_with('-') || *arg == "-" {
            return at;
        }
        at += if with_value.contains(arg) { 2 } else { 1 };
    }
    at
}

/// Programs that fetch, install, change or start other things, and never speak the protocol themselves.
const NOT_SERVERS: &[&str] = &[
    "ansible",
    "ansible-playbook",
    "apt",
    "apt-get",
    "at",
    "awk",
    "bat",
    "bitsadmin",
    "brew",
    "busctl",
    "cat",
    "certutil",
    "chmod",
    "chown",
    "choco",
    "conhost",
    "control",
    "coreutils",
    "cp",
    "cpio",
    "crontab",
    "cscript",
    "curl",
    "dd",
    "dnf",
    "echo",
    "ed",
    "emacs",
    "entr",
    "eval",
    "ex",
    "expect",
    "explorer",
    "find",
    "flock",
    "forfiles",
    "ftp",
    "gawk",
    "gdb",
    "git",
    "hh",
    "installutil",
    "kill",
    "killall",
    "launchctl",
    "less",
    "ln",
    "lldb",
    "ltrace",
    "make",
    "man",
    "mawk",
    "mkfifo",
    "more",
    "mongosh",
    "mount",
    "msbuild",
    "mshta",
    "msiexec",
    "mv",
    "mysql",
    "nano",
    "nawk",
    "nc",
    "ncat",
    "netcat",
    "nvim",
    "odbcconf",
    "openssl",
    "pacman",
    "parallel",
    "pcalua",
    "pkill",
    "printf",
    "psql",
    "redis-cli",
    "reg",
    "regsvcs",
    "regsvr32",
    "rm",
    "rsync",
    "run-parts",
    "rundll32",
    "schtasks",
    "scoop",
    "screen",
    "script",
    "scp",
    "sed",
    "service",
    "sftp",
    "shutdown",
    "snap",
    "source",
    "split",
    "sqlite3",
    "ssh-add",
    "ssh-keygen",
    "start",
    "strace",
    "sysctl",
    "systemctl",
    "tar",
    "tee",
    "telnet",
    "tmux",
    "umount",
    "unshare",
    "unzip",
    "vi",
    "view",
    "vim",
    "vimdiff",
    "watch",
    "wget",
    "winget",
    "wmic",
    "wscript",
    "xargs",
    "xdg-open",
    "yum",
    "zip",
    "zypper",
];

/// Programs that are judged by their arguments, wherever they stand.
pub(super) fn is_interpreter(name: &str) -> bool {
    let name = base_name(name);
    let versionless = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    interpreters::NAMES.contains(&versionless)
        || NOT_SERVERS.contains(&name.as_str())
        || matches!(
            versionless,
            "env" | "cross-env" | "cmd" | "nohup" | "nice" | "timeout" | "sudo" | "npx" | "wsl"
        )
}

fn judge_program(program: &str, args: &[&str], case: &mut Case<'_>) -> Result<(), Refusal> {
    let name = base_name(program);
    if NOT_SERVERS.contains(&name.as_str()) {
        return Err(not_a_server(&name));
    }
    let versionless = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    match versionless {
        "npx" | "pnpx" | "bunx" => packages::npx(&name, args, case),
        "npm" | "pnpm" | "yarn" => packages::npm(&name, args, case),
        "uvx" => packages::uvx(&name, args, case),
        "uv" => packages::uv(args, case),
        "pipx" => packages::pipx(args, case),
        "pip" | "gem" | "conda" | "mamba" | "poetry" | "cargo" | "go" | "dotnet" | "dnx" => {
            tool(versionless, args, case)
        }
        "docker" | "podman" | "nerdctl" => container::judge(&name, args, case),
        _ if interpreters::NAMES.contains(&versionless) => {
            interpreters::judge(&name, versionless, args, case)
        }
        "doppler" | "infisical" | "flatpak" | "op" | "chamber" | "aws-vault" | "sops" => {
            launcher(&name, args, case)
        }
        "kubectl" | "oc" => cluster(&name, args, case),
        // The dynamic loader starts whatever it is given.
        _ if name.starts_with("ld-linux") || name.starts_with("ld-musl") || name == "ld.so" => {
            Err(inline(&name, "as a program"))
        }
        "nix" | "nix-shell" => {
            let mut own = args.iter().take_while(|arg| **arg != "--");
            match own.find(|arg| {
                matches!(arg.split('=').next(), Some("-c" | "--command" | "--run" | "--expr" | "-E"))
            }) {
                Some(option) => Err(inline(&name, option)),
                None => passed_on(args, case),
            }
        }
        _ => {
            case.script(program);
            passed_on(args, case)
        }
    }
}

/// Programs that hand secrets or a place of its own to a program, which one of their options may hold as a line for a
/// shell.
fn launcher(name: &str, args: &[&str], case: &mut Case<'_>) -> Result<(), Refusal> {
    let own = args.iter().take_while(|arg| **arg != "--");
    for (at, arg) in own.enumerate() {
        let (option, attached) =
            arg.split_once('=').map_or((*arg, None), |(option, value)| (option, Some(value)));
        if option != "--command" {
            continue;
        }
        let value = attached.or(args.get(at + 1).copied()).unwrap_or_default();
        // To flatpak it is a program's name.
        if name != "flatpak" || super::runs_code(value) {
            return Err(inline(name, option));
        }
    }
    passed_on(args, case)
}

/// What starts a server on a cluster.
fn cluster(name: &str, args: &[&str], case: &mut Case<'_>) -> Result<(), Refusal> {
    let at = skip_options(args, &["-n", "--namespace", "--context", "--kubeconfig"]);
    match args.get(at).copied() {
        Some("exec" | "run" | "attach" | "mcp") => {
            case.tell(
                "remote-program",
                format!("{name} starts the server on a cluster, where nothing is judged"),
                "reach a remote server by url: where it offers one",
            );
            passed_on(args, case)
        }
        word => Err(not_a_server(&format!("{name} {}", word.unwrap_or_default()))),
    }
}

/// A program nobody knows may start another one that its arguments name: an interpreter together with code for it is
/// code of this command line, whoever starts it.
fn passed_on(args: &[&str], case: &mut Case<'_>) -> Result<(), Refusal> {
    for (at, arg) in args.iter().enumerate() {
        let rest = &args[at + 1..];
        if rest.len() < 2 || !rest[0].starts_with('-') || !super::runs_code(arg) {
            continue;
        }
        // Only code counts here: what is wrong otherwise, such as a missing script, may be the program's own affair.
        let mut found = Vec::new();
        let mut inner = Case { findings: &mut found, ..*case };
        match judge_program(arg, rest, &mut inner) {
            Err(refusal) if refusal.rule == "inline-program" => return Err(refusal),
            _ => {}
        }
    }
    Ok(())
}

/// As [`passed_on`], for the arguments of a package, which are its own unless they begin with a whole command.
pub(super) fn command_of(args: &[&str], case: &mut Case<'_>) -> Result<(), Refusal> {
    let first = args.iter().position(|arg| *arg == "--").map_or(0, |at| at + 1);
    match args.get(first) {
        Some(program) if super::runs_code(program) => passed_on(&args[first..], case),
        _ => Ok(()),
    }
}

/// Package managers and build tools that can also start a program.
fn tool(name: &str, args: &[&str], case: &mut Case<'_>) -> Result<(), Refusal> {
    let at =
        skip_options(args, &["-C", "--project", "--directory", "-p", "-n", "--manifest-path", "--config"]);
    let word = args.get(at).copied();
    match (name, word) {
        ("pip" | "gem", _) => Err(not_a_server(&format!("{name} {}", word.unwrap_or_default()))),
        // `conda run -n env program …`
        ("conda" | "mamba" | "poetry", Some("run")) => {
            let rest = &args[at + 1..];
            let options = ["-n", "-p", "--name", "--prefix", "--cwd", "-C"];
            let first = skip_options(rest, &options);
            match rest.get(first) {
                Some(inner) => judge(inner, &rest[first + 1..], case),
                None => Err(from_stdin(name)),
            }
        }
        ("cargo" | "go", Some("run" | "r")) => {
            let own = |arg: &&str| {
                ["-toolexec", "-exec", "-overlay", "--config"].iter().any(|option| arg.starts_with(option))
            };
            if args.iter().take_while(|arg| **arg != "--").any(own) {
                return Err(runner_option(name, "-toolexec, -exec or --config"));
            }
            Ok(())
        }
        ("dnx", Some(_)) => Ok(()),
        ("dotnet", Some("run" | "exec" | "watch")) => Ok(()),
        ("dotnet", Some("tool")) if matches!(args.get(at + 1), Some(&("run" | "exec"))) => Ok(()),
        ("dotnet", Some(path)) if path.to_ascii_lowercase().ends_with(".dll") || path.ends_with(".cs") => {
            case.script(path);
            Ok(())
        }
        // Subcommands of extensions (`cargo shuttle mcp`) cannot be known; those that change something can.
        ("cargo", Some(word))
            if !matches!(word, "install" | "build" | "add" | "publish" | "login" | "fix") =>
        {
            Ok(())
        }
        _ => Err(not_a_server(&format!("{name} {}", word.unwrap_or_default()))),
    }
}

/// A module that `python -m` runs.
pub(super) fn python_module(name: &str, module: &str) -> Result<(), Refusal> {
    // Modules of the standard library that run code they are given, install, or serve the folder.
    const CODE: &[&str] = &[
        "asyncio",
        "code",
        "pdb",
        "timeit",
        "cprofile",
        "profile",
        "runpy",
        "idlelib",
        "trace",
        "pip",
        "ensurepip",
        "venv",
        "http",
        "http.server",
        "bdb",
        "doctest",
        "unittest",
        "compileall",
        "site",
        "ipython",
        "zipapp",
    ];
    let lower = module.to_ascii_lowercase();
    let top = lower.split('.').next().unwrap_or_default();
    if CODE.contains(&top) { Err(inline(name, &format!("-m {module}"))) } else { Ok(()) }
}

pub(super) fn inline(program: &str, option: &str) -> Refusal {
    refusal(
        "inline-program",
        format!("{program} {option} runs code that stands in the configuration itself"),
        "put the code into a file and start that, or set security.level: permissive for this server",
    )
}

/// A program without a script would take the protocol's messages for its program.
pub(super) fn from_stdin(program: &str) -> Refusal {
    refusal(
        "inline-program",
        format!("{program} without a script runs what it is sent as code"),
        "name the server's script in args:",
    )
}

pub(super) fn runner_option(name: &str, option: &str) -> Refusal {
    refusal(
        "runner-option",
        format!("the option {option} makes {name} run or trust something other than the named server"),
        "remove it, or set security.level: permissive for this server",
    )
}
