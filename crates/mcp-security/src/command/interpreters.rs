//! Shells and interpreters: a script is a server, code in the command line is not.

use mcp_core::Refusal;

use super::grammar::{Case, from_stdin, inline, python_module, runner_option};
use crate::refusal;

/// The programs that are judged here, without version numbers.
pub(super) const NAMES: &[&str] = &[
    "sh",
    "bash",
    "zsh",
    "dash",
    "ash",
    "ksh",
    "mksh",
    "fish",
    "busybox",
    "csh",
    "tcsh",
    "nu",
    "xonsh",
    "elvish",
    "rbash",
    "toybox",
    "pwsh",
    "powershell",
    "python",
    "py",
    "pypy",
    "pythonw",
    "ipython",
    "node",
    "nodejs",
    "tsx",
    "ts-node",
    "zx",
    "nodemon",
    "concurrently",
    "deno",
    "bun",
    "ruby",
    "jruby",
    "irb",
    "perl",
    "php",
    "lua",
    "luajit",
    "osascript",
    "rscript",
    "r",
    "julia",
    "tclsh",
    "wish",
    "guile",
    "elixir",
    "erl",
    "ghc",
    "runghc",
    "scala",
    "groovy",
    "kotlin",
    "ocaml",
    "racket",
    "clojure",
    "clj",
    "bb",
    "sbcl",
    "jshell",
    "swift",
    "java",
    "javaw",
    "ssh",
    "socat",
];

pub(super) fn judge(
    name: &str,
    versionless: &str,
    args: &[&str],
    case: &mut Case<'_>,
) -> Result<(), Refusal> {
    match versionless {
        "sh" | "bash" | "zsh" | "dash" | "ash" | "ksh" | "mksh" | "fish" | "busybox" | "csh" | "tcsh"
        | "nu" | "xonsh" | "elvish" | "rbash" | "toybox" => shell(name, args, case),
        "pwsh" | "powershell" => powershell(name, args, case),
        "python" | "py" | "pypy" | "pythonw" | "ipython" => python(name, args, case),
        "node" | "nodejs" | "tsx" | "ts-node" => node(name, args, case),
        "deno" => deno(name, args, case),
        "bun" => bun(name, args, case),
        "nodemon" | "concurrently" => starter(name, args),
        "zx" => options(name, args, &["-e", "--eval", "-", "--repl"], &[], case),
        "ruby" | "jruby" => options(name, args, &["-e", "-", "-r"], &["-I", "-C", "-E", "-W"], case),
        "irb" | "jshell" | "erl" | "guile" | "ghc" => Err(inline(name, "")),
        "perl" => options(name, args, &["-e", "-E", "-", "-M", "-m", "-d"], &["-I", "-C"], case),
        "php" => php(name, args, case),
        "lua" | "luajit" => options(name, args, &["-e", "-", "-i"], &["-l"], case),
        "osascript" => options(name, args, &["-e", "-", "-i"], &["-l"], case),
        "ocaml" | "racket" | "clojure" | "clj" | "bb" | "sbcl" | "kotlin" | "rscript" | "r" | "julia"
        | "elixir" | "groovy" | "scala" | "swift" | "runghc" => {
            options(name, args, &["-e", "-E", "--eval", "-"], &[], case)
        }
        "java" | "javaw" => java(name, args, case),
        "ssh" => ssh(name, args, case),
        "socat" => socat(name, args),
        _ => options(name, args, &["-e", "-c", "-"], &[], case),
    }
}

fn shell(name: &str, args: &[&str], case: &mut Case<'_>) -> Result<(), Refusal> {
    let mut at = 0;
    if matches!(name, "busybox" | "toybox") {
        return match args.split_first() {
            Some((applet, rest)) => super::grammar::judge(applet, rest, case),
            None => Err(from_stdin(name)),
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
                if letters.is_empty() || letters.contains(['c', 's', 'C', 'i']) {
                    return Err(inline(name, arg));
                }
                at += if letters.ends_with(['o', 'O']) { 2 } else { 1 };
            }
            _ if arg.starts_with("--command") || arg.starts_with("--init-command") => {
                return Err(inline(name, arg.split('=').next().unwrap_or(arg)));
            }
            _ if arg.starts_with("--rcfile") || arg.starts_with("--init-file") => {
                return Err(runner_option(name, arg));
            }
            _ if arg.starts_with("--") => at += 1,
            _ => break,
        }
    }
    script(name, args.get(at), case)
}

fn php(name: &str, args: &[&str], case: &mut Case<'_>) -> Result<(), Refusal> {
    // Settings that make PHP run a file before the script, load a library or read code from elsewhere.
    const LOADS: &[&str] = &[
        "auto_prepend_file",
        "auto_append_file",
        "extension",
        "zend_extension",
        "allow_url_include",
        "ffi.",
    ];
    for (at, arg) in args.iter().enumerate().take_while(|(_, arg)| arg.starts_with('-') || arg.contains('='))
    {
        let Some(attached) = arg.strip_prefix("-d") else { continue };
        let setting =
            if attached.is_empty() { args.get(at + 1).copied().unwrap_or_default() } else { attached };
        let setting = setting.trim_start_matches(['=', ' ']).to_ascii_lowercase();
        if LOADS.iter().any(|load| setting.starts_with(load)) {
            return Err(runner_option(name, arg));
        }
    }
    options(name, args, &["-r", "-B", "-R", "-E", "--run", "-a", "-z", "-S", "--server"], &["-c", "-d"], case)
}

fn powershell(name: &str, args: &[&str], case: &mut Case<'_>) -> Result<(), Refusal> {
    let mut at = 0;
    while let Some(&arg) = args.get(at) {
        let arg = arg.split(':').next().unwrap_or(arg);
        let Some(option) = arg.strip_prefix(['-', '/']).map(str::to_ascii_lowercase) else {
            // Windows PowerShell takes a bare first argument for code, PowerShell 7 for a file: a file says so itself.
            return if args[at].to_ascii_lowercase().ends_with(".ps1") {
                case.script(args[at]);
                Ok(())
            } else {
                Err(inline(name, ""))
            };
        };
        let option = option.trim_start_matches('-');
        // Any prefix of an option's name is that option.
        let is = |full: &str| !option.is_empty() && full.starts_with(option);
        if is("file") && option != "fi" {
            return script(name, args.get(at + 1), case);
        }
        if option.is_empty()
            || is("command")
            || is("encodedcommand")
            || matches!(option, "ec" | "cwa" | "enc")
        {
            return Err(inline(name, arg));
        }
        let with_value =
            is("executionpolicy") || option == "ep" || is("windowstyle") || is("configurationname");
        at += if with_value || is("version") || is("workingdirectory") { 2 } else { 1 };
    }
    Err(from_stdin(name))
}

fn python(name: &str, args: &[&str], case: &mut Case<'_>) -> Result<(), Refusal> {
    let mut at = 0;
    while let Some(&arg) = args.get(at) {
        if arg == "-" {
            return Err(inline(name, arg));
        }
        if arg.starts_with("--") {
            match arg.split('=').next().unwrap_or(arg) {
                "--check-hash-based-pycs" => at += if arg.contains('=') { 1 } else { 2 },
                "--" => return script(name, args.get(at + 1), case),
                _ => return Err(runner_option(name, arg)),
            }
            continue;
        }
        let Some(letters) = arg.strip_prefix('-') else { return script(name, Some(&arg), case) };
        // The Windows launcher's version, "-3.12".
        if letters.starts_with(|c: char| c.is_ascii_digit()) {
            at += 1;
            continue;
        }
        // Letters are bundled until one takes a value: "-Ic CODE", "-um MODULE", "-Xutf8".
        match letters.find(['c', 'm', 'W', 'X', 'i', 'C', 'M']).map(|found| letters.split_at(found)) {
            Some((_, rest)) if rest.starts_with(['c', 'i', 'C']) => return Err(inline(name, arg)),
            Some((_, rest)) if rest.starts_with(['m', 'M']) => {
                let attached = &rest[1..];
                let module = if attached.is_empty() { args.get(at + 1).copied() } else { Some(attached) };
                return match module {
                    Some(module) => python_module(name, module),
                    None => Err(from_stdin(name)),
                };
            }
            Some((_, rest)) => at += if rest.len() == 1 { 2 } else { 1 },
            None => at += 1,
        }
    }
    Err(from_stdin(name))
}

fn node(name: &str, args: &[&str], case: &mut Case<'_>) -> Result<(), Refusal> {
    let mut at = 0;
    while let Some(&arg) = args.get(at) {
        if arg == "--" {
            at += 1;
            break;
        }
        if !arg.starts_with('-') {
            break;
        }
        let lower = arg.split('=').next().unwrap_or(arg).to_ascii_lowercase().replace('_', "-");
        let mut takes_value = false;
        match lower.as_str() {
            "-e" | "--eval" | "-p" | "--print" | "-pe" | "-" | "-i" | "--interactive" => {
                return Err(inline(name, &lower));
            }
            "-r"
            | "--require"
            | "--import"
            | "--loader"
            | "--experimental-loader"
            | "--security-revert"
            | "--openssl-config"
            | "--snapshot-blob"
            | "--build-snapshot"
            | "--run"
            | "--diagnostic-dir" => {
                return Err(runner_option(name, &lower));
            }
            _ if lower.starts_with("--inspect") || lower.starts_with("--debug") => {
                return Err(runner_option(name, &lower));
            }
            // One letter with its value attached: "-eCODE", "-r/tmp/x.js".
            _ if !lower.starts_with("--") && lower.len() > 2 => {
                return Err(if lower[1..].starts_with(['e', 'p']) {
                    inline(name, &lower)
                } else {
                    runner_option(name, &lower)
                });
            }
            "--env-file" | "--env-file-if-exists" => {
                case.tell(
                    "environment-file",
                    format!("{name} {arg} sets variables from a file that is not judged"),
                    "put the variables into env: of this server",
                );
            }
            "-c" | "--conditions" | "--title" | "--tsconfig" => takes_value = !arg.contains('='),
            "watch" => {}
            _ if lower.starts_with("--max-")
                || lower.starts_with("--no-")
                || lower.starts_with("--trace-")
                || lower.starts_with("--experimental-")
                || lower.starts_with("--enable-")
                || lower.starts_with("--dns-")
                || lower.starts_with("--unhandled-")
                || lower.starts_with("--stack-")
                || lower.starts_with("--use-")
                || lower.starts_with("--tls-m")
                || matches!(
                    lower.as_str(),
                    "--expose-gc"
                        | "--harmony"
                        | "--pending-deprecation"
                        | "--preserve-symlinks"
                        | "--permission"
                        | "--throw-deprecation"
                        | "--watch"
                        | "--icu-data-dir"
                        | "--allow-fs-read"
                        | "--allow-fs-write"
                        | "--transpile-only"
                        | "--esm"
                        | "--files"
                        | "--disable-warning"
                        | "--interpreted-frames-native-stack"
                        | "--optimize-for-size"
                        | "--test"
                        | "--jitless"
                ) => {}
            _ => return Err(runner_option(name, arg)),
        }
        at += if takes_value { 2 } else { 1 };
    }
    if name == "tsx" && args.get(at) == Some(&"watch") {
        at += 1;
    }
    script(name, args.get(at), case)
}

/// Programs that start the commands they are given.
fn starter(name: &str, args: &[&str]) -> Result<(), Refusal> {
    let runs = args.iter().any(|arg| {
        matches!(arg.split('=').next(), Some("-x" | "--exec" | "-c" | "--call")) || arg.contains(' ')
    });
    if runs || name == "concurrently" { Err(inline(name, "")) } else { Ok(()) }
}

fn is_remote(item: &str) -> bool {
    let lower = item.to_ascii_lowercase();
    ["http:", "https:", "data:", "blob:"].iter().any(|scheme| lower.starts_with(scheme))
}

fn deno(name: &str, args: &[&str], case: &mut Case<'_>) -> Result<(), Refusal> {
    let at = args.iter().position(|arg| !arg.starts_with('-')).unwrap_or(args.len());
    let rest = match args.get(at).copied() {
        None => return Err(from_stdin(name)),
        Some("eval" | "repl" | "install" | "add" | "x" | "jupyter" | "upgrade" | "compile" | "bundle") => {
            return Err(inline(name, args[at]));
        }
        Some("run" | "serve" | "task") => &args[at + 1..],
        Some(_) => &args[at..],
    };
    let with_value = [
        "--config",
        "-c",
        "--import-map",
        "--lock",
        "--cert",
        "--location",
        "--seed",
        "--preload",
        "--env-file",
    ];
    let first = skip(rest, &with_value);
    let options = &rest[..first.min(rest.len())];
    for option in args[..at].iter().chain(options) {
        let bare = option.split('=').next().unwrap_or(option);
        if matches!(
            bare,
            "--preload" | "--import" | "--require" | "-r" | "--unsafely-ignore-certificate-errors"
        ) || bare.starts_with("--inspect")
        {
            return Err(runner_option(name, bare));
        }
    }
    let all = options.iter().any(|arg| {
        matches!(arg.split('=').next(), Some("--allow-all" | "--allow-run" | "--allow-ffi"))
            || (arg.starts_with('-') && !arg.starts_with("--") && arg.contains('A'))
    });
    match rest.get(first).copied() {
        Some(item) if is_remote(item) && (all || !item.to_ascii_lowercase().starts_with("https:")) => {
            Err(refusal(
                "remote-code",
                format!("{name} would run {item} with the run of this computer"),
                "save it to a file, read it, and grant what it needs",
            ))
        }
        Some(item) if is_remote(item) => {
            case.tell(
                "remote-code",
                format!("{name} runs {item} as it is when the server starts"),
                "save it to a file, or name a package at a version",
            );
            Ok(())
        }
        item => script(name, item.as_ref(), case),
    }
}

fn bun(name: &str, args: &[&str], case: &mut Case<'_>) -> Result<(), Refusal> {
    let mut at = 0;
    while let Some(&arg) = args.get(at).filter(|arg| arg.starts_with('-')) {
        let lower = arg.split('=').next().unwrap_or(arg).to_ascii_lowercase();
        match lower.as_str() {
            "-e" | "--eval" | "-p" | "--print" | "-" => return Err(inline(name, &lower)),
            "-r" | "--preload" | "--require" | "--import" => return Err(runner_option(name, &lower)),
            _ if lower.starts_with("--inspect") => return Err(runner_option(name, &lower)),
            _ if !lower.starts_with("--") && lower.len() > 2 => return Err(runner_option(name, &lower)),
            "--cwd" | "--config" | "-c" | "--env-file" if !arg.contains('=') => at += 2,
            _ => at += 1,
        }
    }
    match args.get(at).copied() {
        None => Err(from_stdin(name)),
        Some("x") => super::packages::npx("bun x", &args[at + 1..], case),
        Some("repl" | "exec" | "install" | "i" | "add" | "update" | "link" | "create" | "upgrade") => {
            Err(inline(name, args[at]))
        }
        Some("run") => bun_run(name, &args[at + 1..], case),
        Some(item) => script(name, Some(&item), case),
    }
}

fn bun_run(name: &str, rest: &[&str], case: &mut Case<'_>) -> Result<(), Refusal> {
    match rest.first().copied() {
        Some(option) if option.starts_with('-') => bun(name, rest, case),
        item => script(name, item.as_ref(), case),
    }
}

fn skip(args: &[&str], with_value: &[&str]) -> usize {
    super::grammar::skip_options(args, with_value)
}

fn java(name: &str, args: &[&str], case: &mut Case<'_>) -> Result<(), Refusal> {
    let mut at = 0;
    while let Some(&arg) = args.get(at) {
        let lower = arg.to_ascii_lowercase();
        if [
            "-javaagent",
            "-agentlib",
            "-agentpath",
            "-xx:onerror",
            "-xx:onoutofmemoryerror",
            "-xx:flags",
            "-xrun",
            "-xbootclasspath",
            "-xdebug",
            "-djava.rmi",
            "-dcom.sun.management",
        ]
        .iter()
        .any(|prefix| lower.starts_with(prefix))
            || lower.starts_with('@')
            || lower.starts_with("--patch-module")
            || lower.starts_with("-xx:vmoptionsfile")
        {
            return Err(runner_option(name, arg));
        }
        match lower.as_str() {
            "-jar" => return script(name, args.get(at + 1), case),
            "-cp" | "-classpath" | "--class-path" | "-p" | "--module-path" => {
                let places = args.get(at + 1).copied().unwrap_or_default();
                places.split([':', ';']).for_each(|place| case.script(place));
                at += 2;
            }
            "--add-opens" | "--add-exports" | "--add-modules" | "--source" => at += 2,
            "-m" | "--module" => return Ok(()),
            _ if arg.starts_with('-') => at += 1,
            _ => return script(name, Some(&arg), case),
        }
    }
    Err(from_stdin(name))
}

fn ssh(name: &str, args: &[&str], case: &mut Case<'_>) -> Result<(), Refusal> {
    let runs = |arg: &&str| {
        let lower = arg.to_ascii_lowercase();
        ["proxycommand", "localcommand", "knownhostscommand", "pkcs11provider", "proxyusefdpass"]
            .iter()
            .any(|key| lower.contains(key))
    };
    if args.iter().any(runs) {
        return Err(inline(name, "-o ProxyCommand"));
    }
    case.tell(
        "remote-program",
        format!("{name} starts the server on another computer, where nothing is judged"),
        "reach a remote server by url: where it offers one",
    );
    Ok(())
}

fn socat(name: &str, args: &[&str]) -> Result<(), Refusal> {
    let runs = |arg: &&str| {
        let lower = arg.to_ascii_lowercase();
        lower
            .split(['!', ','])
            .any(|part| ["exec:", "system:", "shell:"].iter().any(|scheme| part.starts_with(scheme)))
    };
    if args.iter().any(runs) { Err(inline(name, "EXEC:")) } else { Ok(()) }
}

fn script(name: &str, item: Option<&&str>, case: &mut Case<'_>) -> Result<(), Refusal> {
    match item {
        None => Err(from_stdin(name)),
        Some(&"-" | &"/dev/stdin") => Err(from_stdin(name)),
        Some(path)
            if path.starts_with("/dev/fd/")
                || path.starts_with("/proc/self/fd/")
                || path.starts_with("/dev/tcp/") =>
        {
            Err(from_stdin(name))
        }
        Some(path) if is_remote(path) => Err(refusal(
            "remote-code",
            format!("{name} would run {path}, which is not a file"),
            "save it to a file, read it, and start that",
        )),
        Some(path) => {
            case.script(path);
            Ok(())
        }
    }
}

/// Interpreters whose options are short and whose code options may carry the code attached (`-e'CODE'`).
fn options(
    name: &str,
    args: &[&str],
    code: &[&str],
    with_value: &[&str],
    case: &mut Case<'_>,
) -> Result<(), Refusal> {
    let mut at = 0;
    while let Some(&arg) = args.get(at) {
        if arg == "--" {
            return script(name, args.get(at + 1), case);
        }
        if !arg.starts_with('-') {
            return script(name, Some(&arg), case);
        }
        let long = arg.starts_with("--");
        let lower = arg.split('=').next().unwrap_or(arg).to_ascii_lowercase();
        let hit = code.iter().find(|option| {
            arg == **option
                || (long && lower == **option)
                || (!long && option.len() == 2 && arg[1..].contains(&option[1..]))
                // The same letter in upper case is another option to most, and never one that a server needs.
                || (!long && option.len() == 2 && lower == option.to_ascii_lowercase())
        });
        let has_value = with_value.iter().any(|option| arg.starts_with(option));
        if let (Some(option), false) = (hit, has_value) {
            return Err(inline(name, option));
        }
        // Switches may be bundled before the letter that takes a value: "-wI FOLDER".
        let takes = |c: char| with_value.iter().any(|option| option.len() == 2 && option.ends_with(c));
        let takes_next = match long {
            true => with_value.contains(&arg),
            false => arg[1..].find(takes).is_some_and(|letter| arg.len() == letter + 2),
        };
        at += if takes_next { 2 } else { 1 };
    }
    Err(from_stdin(name))
}
