//! What each runner does with its options. Options before the script or package belong to the runner and are judged;
//! what follows belongs to the server and is free.

use mcp_core::Refusal;

use super::{base_name, container};
use crate::{env, limits, refusal};

/// Judges a command, looking through wrappers to what they start.
pub(super) fn judge(program: &str, args: &[&str]) -> Result<(), Refusal> {
    let mut program = program;
    let mut args = args;
    for _ in 0..=limits::WRAPPERS {
        match unwrap(program, args)? {
            Some((inner, rest)) => (program, args) = (inner, rest),
            None => return judge_program(program, args),
        }
    }
    Err(refusal(
        "runner-option",
        format!("the command is wrapped more than {} times", limits::WRAPPERS),
        "name the program itself in command:",
    ))
}

/// What a wrapper starts; `None`: not a wrapper.
fn unwrap<'a>(program: &'a str, args: &'a [&'a str]) -> Result<Option<(&'a str, &'a [&'a str])>, Refusal> {
    let name = base_name(program);
    let first = match name.as_str() {
        "sudo" | "doas" | "su" | "pkexec" | "runas" => {
            return Err(refusal(
                "privilege",
                format!("{name} would start the server with another user's rights"),
                "start the server as yourself; give it only the rights it needs",
            ));
        }
        "env" => {
            let mut at = 0;
            while let Some(&arg) = args.get(at) {
                match arg {
                    "-S" | "--split-string" => return Err(inline(&name, arg)),
                    _ if arg.starts_with("-S") || arg.starts_with("--split-string=") => {
                        return Err(inline(&name, arg));
                    }
                    "-u" | "--unset" | "-C" | "--chdir" => at += 2,
                    _ if arg.starts_with('-') => at += 1,
                    _ => match arg.split_once('=') {
                        Some((variable, value)) => {
                            env::judge_variable(variable, value)?;
                            at += 1;
                        }
                        None => break,
                    },
                }
            }
            at
        }
        "nohup" | "setsid" | "exec" | "command" => skip_options(args, &[]),
        "nice" | "ionice" => {
            skip_options(args, &["-n", "-c", "-p", "--adjustment", "--class", "--classdata"])
        }
        "stdbuf" => skip_options(args, &["-i", "-o", "-e", "--input", "--output", "--error"]),
        "time" => skip_options(args, &["-f", "-o", "--format", "--output"]),
        "timeout" => skip_options(args, &["-s", "-k", "--signal", "--kill-after"]) + 1,
        // Windows starts npx and friends through its shell; what follows /c must be one plain command.
        "cmd" => {
            let slash_c = args.iter().position(|arg| arg.eq_ignore_ascii_case("/c"));
            let Some(at) = slash_c else { return Err(inline(&name, "without /c")) };
            let rest = &args[at + 1..];
            let special = |arg: &&&str| arg.contains(['&', '|', '<', '>', '^', '%', '"', '\'']);
            if args[..at].iter().any(|arg| !arg.starts_with('/')) || rest.iter().find(special).is_some() {
                return Err(inline(&name, "/c"));
            }
            if rest.first().is_none_or(|inner| inner.contains(' ')) {
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

/// Programs that fetch, install or start other things, and never speak the protocol themselves.
const NOT_SERVERS: &[&str] = &[
    "awk",
    "gawk",
    "mawk",
    "nawk",
    "sed",
    "find",
    "xargs",
    "parallel",
    "tar",
    "curl",
    "wget",
    "nc",
    "ncat",
    "rundll32",
    "mshta",
    "regsvr32",
    "certutil",
    "wscript",
    "cscript",
    "ssh-keygen",
    "crontab",
    "at",
];

fn judge_program(program: &str, args: &[&str]) -> Result<(), Refusal> {
    let name = base_name(program);
    let installs = matches!(name.as_str(), "npm" | "pnpm" | "yarn" | "pip" | "pip3" | "pipx" | "gem")
        && args
            .iter()
            .find(|arg| !arg.starts_with('-'))
            .is_some_and(|arg| matches!(*arg, "install" | "i" | "add"));
    if installs || NOT_SERVERS.contains(&name.as_str()) {
        let what = if installs { format!("{name} install") } else { name };
        return Err(refusal(
            "not-a-server",
            format!("{what} is not a server: it fetches, installs or starts other things"),
            "name the server's own program, or set security.level: permissive for this server",
        ));
    }
    let versionless = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    match versionless {
        "sh" | "bash" | "zsh" | "dash" | "ash" | "ksh" | "fish" | "busybox" | "csh" | "tcsh" => {
            shell(&name, args)
        }
        "pwsh" | "powershell" => powershell(&name, args),
        "python" | "py" | "pypy" | "pythonw" => python(&name, args),
        "node" | "nodejs" => node(&name, args),
        "deno" => subcommand_or_stdin(&name, args, &["eval", "repl"]),
        "bun" => {
            options_before_script(&name, args, &["-e", "--eval", "-p", "--print", "-r", "--preload"], &[])?;
            subcommand_or_stdin(&name, args, &["repl", "exec"])
        }
        "ruby" => options_before_script(&name, args, &["-e", "-"], &["-I", "-r", "-C"]),
        "perl" => options_before_script(&name, args, &["-e", "-E", "-"], &["-I"]),
        "php" => options_before_script(&name, args, &["-r", "-B", "-R", "-E", "--run", "-a"], &["-c", "-d"]),
        "lua" | "luajit" => options_before_script(&name, args, &["-e", "-", "-i"], &["-l"]),
        "osascript" => options_before_script(&name, args, &["-e", "-", "-i"], &["-l"]),
        "rscript" | "r" | "julia" => options_before_script(&name, args, &["-e", "-E", "--eval"], &[]),
        "npx" | "pnpx" | "bunx" => package_runner(&name, args),
        "npm" | "pnpm" | "yarn" => match args.iter().position(|arg| matches!(*arg, "exec" | "x" | "dlx")) {
            Some(at) => {
                package_runner(&name, &args[..at])?;
                package_runner(&name, &args[at + 1..])
            }
            None => package_runner(&name, args),
        },
        "uv" => uv(args),
        "docker" | "podman" | "nerdctl" => container::judge(&name, args),
        _ => Ok(()),
    }
}

fn inline(program: &str, option: &str) -> Refusal {
    refusal(
        "inline-program",
        format!("{program} {option} runs code that stands in the configuration itself"),
        "put the code into a file and start that, or set security.level: permissive for this server",
    )
}

/// A program without a script would take the protocol's messages for its program.
fn from_stdin(program: &str) -> Refusal {
    refusal(
        "inline-program",
        format!("{program} without a script runs what it is sent as code"),
        "name the server's script in args:",
    )
}

fn shell(name: &str, args: &[&str]) -> Result<(), Refusal> {
    let mut at = 0;
    if name == "busybox" {
        return match args.split_first() {
            Some((applet, rest)) if applet.ends_with("sh") => shell(applet, rest),
            _ => Ok(()),
        };
    }
    while let Some(&arg) = args.get(at) {
        let bundle = arg.strip_prefix(['-', '+']).filter(|rest| !rest.starts_with('-'));
        match (arg, bundle) {
            ("--", _) => {
                at += 1;
                break;
            }
            (_, Some(letters)) => {
                // "-lc" is "-l -c"; "-s" reads the program from the protocol's stream, and so does a lone "-".
                if letters.is_empty() || letters.contains(['c', 's', 'C']) {
                    return Err(inline(name, arg));
                }
                at += if letters.ends_with(['o', 'O']) { 2 } else { 1 };
            }
            _ if arg.starts_with("--command") || arg.starts_with("--init-command") => {
                return Err(inline(name, arg.split('=').next().unwrap_or(arg)));
            }
            ("--rcfile" | "--init-file", _) => at += 2,
            _ if arg.starts_with("--") => at += 1,
            _ => break,
        }
    }
    script(name, args.get(at))
}

fn powershell(name: &str, args: &[&str]) -> Result<(), Refusal> {
    let mut at = 0;
    while let Some(&arg) = args.get(at) {
        let Some(option) = arg.strip_prefix(['-', '/']).map(str::to_ascii_lowercase) else {
            // Windows PowerShell takes a bare first argument for code, PowerShell 7 for a file: a file says so itself.
            return if arg.to_ascii_lowercase().ends_with(".ps1") { Ok(()) } else { Err(inline(name, "")) };
        };
        // Any prefix of an option's name is that option.
        let is = |full: &str| !option.is_empty() && full.starts_with(&option);
        if is("file") && option != "fi" {
            return script(name, args.get(at + 1));
        }
        if option.is_empty() || is("command") || is("encodedcommand") || option == "ec" || option == "cwa" {
            return Err(inline(name, arg));
        }
        let with_value =
            is("executionpolicy") || option == "ep" || is("windowstyle") || is("configurationname");
        at += if with_value || is("version") || is("workingdirectory") { 2 } else { 1 };
    }
    Err(from_stdin(name))
}

/// Modules of the standard library that run code they are given.
const CODE_MODULES: &[&str] = &["code", "pdb", "timeit", "cProfile", "profile", "runpy", "idlelib", "trace"];

fn python(name: &str, args: &[&str]) -> Result<(), Refusal> {
    let mut at = 0;
    while let Some(&arg) = args.get(at) {
        if arg == "-" || arg.starts_with("/dev/fd/") || arg == "/dev/stdin" {
            return Err(inline(name, arg));
        }
        if arg.starts_with("--") {
            at += if arg == "--check-hash-based-pycs" { 2 } else { 1 };
            continue;
        }
        let Some(letters) = arg.strip_prefix('-') else { return Ok(()) };
        // The Windows launcher's version, "-3.12".
        if letters.starts_with(|c: char| c.is_ascii_digit()) {
            at += 1;
            continue;
        }
        // Letters are bundled until one takes a value: "-Ic CODE", "-um MODULE", "-Xutf8".
        match letters.find(['c', 'm', 'W', 'X', 'i']).map(|found| letters.split_at(found)) {
            Some((_, rest)) if rest.starts_with(['c', 'i']) => return Err(inline(name, arg)),
            Some((_, rest)) if rest.starts_with('m') => {
                let attached = &rest[1..];
                let module = if attached.is_empty() { args.get(at + 1).copied() } else { Some(attached) };
                let Some(module) = module else { return Err(from_stdin(name)) };
                let top = module.split('.').next().unwrap_or(module);
                return if CODE_MODULES.contains(&top) {
                    Err(inline(name, &format!("-m {module}")))
                } else {
                    Ok(())
                };
            }
            Some((_, rest)) => at += if rest.len() == 1 { 2 } else { 1 },
            None => at += 1,
        }
    }
    Err(from_stdin(name))
}

fn node(name: &str, args: &[&str]) -> Result<(), Refusal> {
    const CODE: &[&str] = &["-e", "--eval", "-p", "--print", "-pe", "-", "-i", "--interactive"];
    const LOADERS: &[&str] =
        &["-r", "--require", "--import", "--loader", "--experimental-loader", "--security-revert"];
    let mut at = 0;
    while let Some(&arg) = args.get(at) {
        let option = arg.split('=').next().unwrap_or(arg);
        if CODE.contains(&option) {
            return Err(inline(name, option));
        }
        if LOADERS.contains(&option) || option.starts_with("--inspect") {
            return Err(runner_option(name, option));
        }
        if arg == "--" {
            at += 1;
            break;
        }
        if !arg.starts_with('-') {
            break;
        }
        at += if matches!(arg, "-C" | "--conditions" | "--env-file" | "--title") { 2 } else { 1 };
    }
    script(name, args.get(at))
}

fn script(name: &str, item: Option<&&str>) -> Result<(), Refusal> {
    match item {
        None => Err(from_stdin(name)),
        Some(&"-" | &"/dev/stdin") => Err(from_stdin(name)),
        Some(path) if path.starts_with("/dev/fd/") || path.starts_with("/proc/self/fd/") => {
            Err(from_stdin(name))
        }
        Some(_) => Ok(()),
    }
}

/// Interpreters whose options are short and whose code options may carry the code attached (`-e'CODE'`).
fn options_before_script(
    name: &str,
    args: &[&str],
    code: &[&str],
    with_value: &[&str],
) -> Result<(), Refusal> {
    let mut at = 0;
    while let Some(&arg) = args.get(at) {
        if arg == "--" || (!arg.starts_with('-') && arg != "-") {
            return Ok(());
        }
        let long = arg.starts_with("--");
        let hit = code.iter().find(|option| {
            arg == **option
                || (long && arg.split('=').next() == Some(option))
                || (!long && option.len() == 2 && **option != "-" && arg[1..].contains(&option[1..]))
        });
        let has_value = with_value.iter().any(|option| arg.starts_with(option));
        if let (Some(option), false) = (hit, has_value) {
            return Err(inline(name, option));
        }
        at += if with_value.contains(&arg) { 2 } else { 1 };
    }
    Ok(())
}

fn subcommand_or_stdin(name: &str, args: &[&str], code: &[&str]) -> Result<(), Refusal> {
    let first = args.iter().find(|arg| !arg.starts_with('-'));
    match first {
        Some(subcommand) if code.contains(subcommand) => Err(inline(name, subcommand)),
        None => Err(from_stdin(name)),
        Some(_) if args.contains(&"-") => Err(from_stdin(name)),
        Some(_) => Ok(()),
    }
}

fn runner_option(name: &str, option: &str) -> Refusal {
    refusal(
        "runner-option",
        format!("the option {option} makes {name} run or trust something other than the named server"),
        "remove it, or set security.level: permissive for this server",
    )
}

/// npx and its kind: options before the package are the runner's.
fn package_runner(name: &str, args: &[&str]) -> Result<(), Refusal> {
    const REFUSED: &[&str] = &[
        "-c",
        "--call",
        "--shell-mode",
        "--node-options",
        "--node-arg",
        "-n",
        "--script-shell",
        "--shell",
        "--userconfig",
        "--globalconfig",
    ];
    const WITH_VALUE: &[&str] = &[
        "-p",
        "--package",
        "--registry",
        "--prefix",
        "--cache",
        "-w",
        "--workspace",
        "--loglevel",
        "--filter",
    ];
    let mut at = 0;
    while let Some(&arg) = args.get(at) {
        if arg == "--" || !arg.starts_with('-') {
            return Ok(());
        }
        let (option, attached) = match arg.split_once('=') {
            Some((option, value)) => (option, Some(value)),
            None => (arg, None),
        };
        // "-yc" is "-y -c" to npm's option parser.
        let bundled = !arg.starts_with("--") && option.len() > 2 && option[1..].contains('c');
        if matches!(option, "-c" | "--call") || bundled {
            return Err(inline(name, option));
        }
        if REFUSED.contains(&option) {
            return Err(runner_option(name, option));
        }
        if option == "--registry" {
            let value = attached.or(args.get(at + 1).copied()).unwrap_or_default();
            if value.to_ascii_lowercase().starts_with("http:") {
                return Err(runner_option(name, "--registry=http:"));
            }
        }
        at += if attached.is_none() && WITH_VALUE.contains(&option) { 2 } else { 1 };
    }
    Ok(())
}

/// `uv run COMMAND` starts any program; `uv tool run PACKAGE` is uvx.
fn uv(args: &[&str]) -> Result<(), Refusal> {
    const WITH_VALUE: &[&str] = &[
        "--with",
        "--with-editable",
        "--with-requirements",
        "--from",
        "--python",
        "-p",
        "--directory",
        "--project",
        "--index",
        "--default-index",
        "--index-url",
        "-i",
        "--extra-index-url",
        "--find-links",
        "-f",
        "--env-file",
        "--extra",
        "--group",
        "--cache-dir",
        "--config-file",
        "--package",
        "--color",
    ];
    let at = skip_options(args, WITH_VALUE);
    if args.get(at) != Some(&"run") {
        return Ok(());
    }
    let rest = &args[at + 1..];
    if rest.first().is_some_and(|first| *first == "-") {
        return Err(from_stdin("uv run"));
    }
    let first = skip_options(rest, WITH_VALUE);
    // `uv run -m MODULE` and `uv run --script FILE` take the next item as a module or file, not as a program.
    if rest[..first.min(rest.len())].iter().any(|arg| matches!(*arg, "-m" | "--module" | "-s" | "--script")) {
        return Ok(());
    }
    match rest.get(first) {
        None => Err(from_stdin("uv run")),
        Some(&"-") => Err(from_stdin("uv run")),
        Some(inner) => judge(inner, &rest[first + 1..]),
    }
}
