//! Package runners: npx and its kind, uvx, uv, pipx. Options before the package are the runner's and refused unless
//! known; what follows the package belongs to the server.

use mcp_core::Refusal;

use super::grammar::{Case, from_stdin, inline, runner_option};
use super::{catalog, grammar};
use crate::refusal;

/// What an option means to a runner.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Means {
    /// Harmless, no value.
    Switch,
    /// Harmless, with a value.
    Value,
    /// The value is a package: the first one that is named counts as the server's.
    Package,
    /// The value is a further package, put beside the server's.
    Further,
    /// The value is where packages come from.
    Source,
    /// Worth telling, no value.
    TellSwitch,
    /// Worth telling, with a value.
    Tell,
    /// The value is code or a command line.
    Code,
    /// The next item is a module or script, which begins the server's own arguments.
    Script,
}

use Means::*;

const NPX: &[(&str, Means)] = &[
    ("-y", Switch),
    ("--yes", Switch),
    ("-q", Switch),
    ("--quiet", Switch),
    ("--silent", Switch),
    ("-s", Switch),
    ("--prefer-offline", Switch),
    ("--prefer-online", Switch),
    ("--offline", Switch),
    ("--no", Switch),
    ("--no-install", Switch),
    ("--no-progress", Switch),
    ("--no-update-notifier", Switch),
    ("--ignore-existing", Switch),
    ("--ignore-scripts", Switch),
    ("--no-audit", Switch),
    ("--no-fund", Switch),
    ("--bun", Switch),
    ("-b", Switch),
    ("--verbose", Switch),
    ("--loglevel", Value),
    ("-p", Package),
    ("--package", Package),
    ("--registry", Source),
    ("--prefix", Tell),
    ("--cache", Tell),
    ("-w", Tell),
    ("--workspace", Tell),
    ("--dir", Tell),
    ("-C", Tell),
    ("--allow-build", Tell),
    ("-c", Code),
    ("--call", Code),
    ("--shell-mode", Code),
];

const UV: &[(&str, Means)] = &[
    ("-q", Switch),
    ("--quiet", Switch),
    ("-v", Switch),
    ("--verbose", Switch),
    ("--offline", Switch),
    ("--no-cache", Switch),
    ("-n", Switch),
    ("--isolated", Switch),
    ("--refresh", Switch),
    ("--no-progress", Switch),
    ("--frozen", Switch),
    ("--locked", Switch),
    ("--no-sync", Switch),
    ("--no-project", Switch),
    ("--no-dev", Switch),
    ("--all-extras", Switch),
    ("--active", Switch),
    ("--exact", Switch),
    ("--no-config", Switch),
    ("--no-env-file", Switch),
    ("--native-tls", Switch),
    ("--system-certs", Switch),
    ("--managed-python", Switch),
    ("--no-build", Switch),
    ("-U", Switch),
    ("--upgrade", Switch),
    ("--python", Value),
    ("-p", Value),
    ("--directory", Value),
    ("--project", Value),
    ("--extra", Value),
    ("--group", Value),
    ("--only-group", Value),
    ("--package", Value),
    ("--color", Value),
    ("--prerelease", Value),
    ("--resolution", Value),
    ("--python-preference", Value),
    ("--exclude-newer", Value),
    ("--refresh-package", Value),
    ("--env-file", Tell),
    ("--cache-dir", Tell),
    ("--config-file", Tell),
    ("--from", Package),
    ("--with", Further),
    ("-w", Further),
    ("--with-editable", Further),
    ("--with-requirements", Further),
    ("--index", Source),
    ("--default-index", Source),
    ("--index-url", Source),
    ("-i", Source),
    ("--extra-index-url", Source),
    ("--find-links", Source),
    ("-f", Source),
    ("--allow-insecure-host", Source),
    ("-m", Script),
    ("--module", Script),
    ("-s", Script),
    ("--script", Script),
    ("--gui-script", Script),
];

const PIPX: &[(&str, Means)] = &[
    ("-q", Switch),
    ("--quiet", Switch),
    ("-v", Switch),
    ("--verbose", Switch),
    ("--no-cache", Switch),
    ("--python", Value),
    ("--spec", Package),
    ("--with", Further),
    ("--index-url", Source),
    ("-i", Source),
    ("--pip-args", Tell),
    ("--system-site-packages", TellSwitch),
    ("--path", TellSwitch),
];

/// What stands before the server's own arguments.
struct Head<'a> {
    /// The package that was named by an option.
    package: Option<&'a str>,
    /// Where the first plain item stands.
    at: usize,
    /// `-m` or `--script` came: the plain item is a module or file.
    script: bool,
}

/// Packages of which two runners come (`-p a -p b` for npx) are all judged.
fn head<'a>(
    name: &str,
    args: &[&'a str],
    table: &[(&str, Means)],
    ecosystem: catalog::Ecosystem,
    case: &mut Case<'_>,
) -> Result<Head<'a>, Refusal> {
    let mut head = Head { package: None, at: 0, script: false };
    while let Some(&arg) = args.get(head.at) {
        if arg == "--" {
            head.at += 1;
            break;
        }
        if !arg.starts_with('-') || arg == "-" {
            break;
        }
        let (option, mut attached) = match arg.split_once('=') {
            Some((option, value)) => (option, Some(value)),
            None => (arg, None),
        };
        let mut means = table.iter().find(|(known, _)| *known == option).map(|(_, means)| *means);
        if means.is_none() && !arg.starts_with("--") && arg.len() > 2 && arg.is_char_boundary(2) {
            // "-pPACKAGE" is "-p PACKAGE"; "-yc" is "-y -c" to npm, where letters are bundled.
            let (first, rest) = arg.split_at(2);
            let letter = |letter: char| {
                table
                    .iter()
                    .find(|(known, _)| known.strip_prefix('-') == Some(letter.encode_utf8(&mut [0; 4])))
            };
            let all: Option<Vec<Means>> =
                arg[1..].chars().map(|c| letter(c).map(|(_, means)| *means)).collect();
            match all {
                Some(all) if all.contains(&Code) => means = Some(Code),
                Some(all) if all.iter().all(|means| *means == Switch) => means = Some(Switch),
                _ => {
                    means = table.iter().find(|(known, _)| *known == first).map(|(_, means)| *means);
                    attached = Some(rest.strip_prefix('=').unwrap_or(rest));
                }
            }
            if means == Some(Switch) && attached.is_some() {
                means = None;
            }
        }
        let Some(means) = means else { return Err(unknown(name, option)) };
        let takes_next = attached.is_none() && matches!(means, Value | Package | Further | Source | Tell);
        let value = attached.or(if takes_next { args.get(head.at + 1).copied() } else { None }).unwrap_or("");
        match means {
            Switch | Value => {}
            Code => return Err(inline(name, option)),
            Tell | TellSwitch => {
                case.tell(
                    "runner-option",
                    format!("{name} {option} {value} changes where {name} reads from or what it runs"),
                    "remove it unless the server needs it",
                );
            }
            Source => source(name, option, value, case)?,
            Package | Further => {
                package(value, ecosystem, case)?;
                // `uv run` has no other way to name what a script needs.
                if means == Further && name != "uv run" {
                    if !is_bound_of_sdk(value) {
                        case.tell(
                            "further-package",
                            format!("{name} {option} puts {value:?} beside the server's own packages"),
                            "remove it unless the server's documentation asks for it",
                        );
                    }
                } else {
                    head.package.get_or_insert(value);
                }
            }
            Script => {
                head.script = true;
                head.at += 1;
                break;
            }
        }
        head.at += if takes_next { 2 } else { 1 };
    }
    Ok(head)
}

/// Whether nothing is put beside the server, and only the version of what every server in Python is built on is bound:
/// `mcp<2`.
fn is_bound_of_sdk(value: &str) -> bool {
    let end =
        value.find(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_')).unwrap_or(value.len());
    let (name, bound) = value.split_at(end);
    let version = |c: char| c.is_ascii_alphanumeric() || "<>=!~.,* ".contains(c);
    ["mcp", "fastmcp"].contains(&name)
        && bound.starts_with(['<', '>', '=', '~'])
        && bound.chars().all(version)
}

fn unknown(name: &str, option: &str) -> Refusal {
    refusal(
        "runner-option",
        format!(
            "{name} {option} is not known to be harmless, and stands before the package, where it is {name}'s own"
        ),
        "move it behind the package if it is meant for the server, or set security.level: permissive for this server",
    )
}

fn source(name: &str, option: &str, value: &str, case: &mut Case<'_>) -> Result<(), Refusal> {
    let lower = value.to_ascii_lowercase();
    if (lower.starts_with("http:") && !leads_here(&lower)) || option == "--allow-insecure-host" {
        return Err(runner_option(name, &format!("{option}={value}")));
    }
    case.tell(
        "package-source",
        format!("{name} {option} takes packages from {value}"),
        "keep it only if that place is yours",
    );
    Ok(())
}

/// Whether an `http:` address is on this computer.
pub(crate) fn leads_here(address: &str) -> bool {
    url::Url::parse(address).is_ok_and(|url| match url.host() {
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        Some(url::Host::Domain(name)) => crate::url::is_loopback_name(name),
        None => false,
    })
}

/// Judges a package by its name and by where it comes from.
fn package(spec: &str, ecosystem: catalog::Ecosystem, case: &mut Case<'_>) -> Result<(), Refusal> {
    let refused = |rule, what: &str| {
        let hint = "name a package of a registry, at a version";
        Err(refusal(rule, format!("the package {spec:?} {what}"), hint))
    };
    let lower = spec.to_ascii_lowercase();
    let (place, from) = match lower.split_once(" @ ") {
        Some((_, from)) => (from.trim().to_owned(), true),
        None => (lower.clone(), false),
    };
    // `name@https://…` names a place too; `git+https://…@commit` does not.
    let place = match place.find("://") {
        Some(at) if !from => match place[..at].rfind('@') {
            Some(begin) if !place[..begin].is_empty() => place[begin + 1..].to_owned(),
            _ => place,
        },
        _ => place,
    };
    if place.starts_with("http:") || place.starts_with("git+http:") || place.starts_with("git:") {
        return refused("package-source", "comes over a connection that anybody can change");
    }
    if place.starts_with("https:") {
        return refused("package-source", "is a file on some web site");
    }
    if place.starts_with("data:") {
        return refused("package-source", "is written out in the configuration itself");
    }
    let hosted = ["github:", "gitlab:", "bitbucket:", "gist:", "git@", "ssh:"];
    // `owner/repository` is short for GitHub to npm; with a "." or "/" before it, it is a folder.
    let short_hosted = ecosystem == catalog::Ecosystem::Npm
        && !spec.starts_with(['@', '.', '/', '~'])
        && spec.split(['#', '@']).next().is_some_and(|name| name.contains('/'))
        && !spec.contains('\\');
    if place.starts_with("git+") || hosted.iter().any(|host| place.starts_with(host)) || short_hosted {
        let pinned = place
            .rsplit(['@', '#'])
            .next()
            .is_some_and(|commit| commit.len() == 40 && commit.bytes().all(|b| b.is_ascii_hexdigit()));
        if !pinned {
            case.tell(
                "package-unpinned",
                format!("the package {spec:?} is whatever its repository holds when the server starts"),
                "end it in @ and the commit's 40 digits",
            );
        }
        return Ok(());
    }
    catalog::judge(spec, ecosystem, case)
}

/// Where the last component of what names a program stands, without version: `@acme/tsx@4` is `tsx`.
fn program_of(spec: &str) -> &str {
    let name = spec.rsplit('/').next().unwrap_or(spec);
    let end =
        name.find(['@', '=', '[', '<', '>', '~', '!', ';', ' ']).filter(|at| *at > 0).unwrap_or(name.len());
    &name[..end]
}

/// Packages that are interpreters or wrappers themselves are judged like them.
fn inner(program: &str, rest: &[&str], case: &mut Case<'_>) -> Result<(), Refusal> {
    let name = program_of(program);
    let starts = matches!(name, "shx" | "npm" | "pnpm" | "pnpx" | "yarn" | "bunx" | "uv" | "uvx" | "pipx");
    if starts || grammar::is_interpreter(name) {
        grammar::judge(name, rest, case)
    } else {
        grammar::command_of(rest, case)
    }
}

/// npx, `npm exec`, `pnpm dlx`, bunx.
pub(super) fn npx(name: &str, args: &[&str], case: &mut Case<'_>) -> Result<(), Refusal> {
    let head = head(name, args, NPX, catalog::Ecosystem::Npm, case)?;
    let Some(&item) = args.get(head.at) else {
        return Err(refusal(
            "runner-option",
            format!("{name} is told to start nothing"),
            "name the server's package after it",
        ));
    };
    // `npm exec pkg -- args` and `npm exec -- pkg args` are both in use.
    let rest = &args[head.at + 1..];
    if head.package.is_none() {
        package(item, catalog::Ecosystem::Npm, case)?;
    }
    inner(item, rest, case)
}

/// npm, pnpm, yarn, whose first word says what they do.
pub(super) fn npm(name: &str, args: &[&str], case: &mut Case<'_>) -> Result<(), Refusal> {
    let at = args.iter().position(|arg| !arg.starts_with('-')).unwrap_or(args.len());
    // Options before the word may take it for their value: only those of the table are passed over.
    let mut at_value = 0;
    while let Some(&arg) = args.get(at_value) {
        let takes = ["--prefix", "-C", "--dir", "--filter", "-F", "--cwd", "-w", "--workspace", "--loglevel"];
        if takes.contains(&arg) {
            at_value += 2;
        } else if arg.starts_with('-') {
            at_value += 1;
        } else {
            break;
        }
    }
    let at = at.max(at_value);
    for &option in &args[..at.min(args.len())] {
        let option = option.split('=').next().unwrap_or(option);
        let code = [
            "-c",
            "--call",
            "--shell-mode",
            "--node-options",
            "--script-shell",
            "--userconfig",
            "--globalconfig",
        ];
        if code.contains(&option) {
            return Err(inline(name, option));
        }
    }
    match args.get(at).copied() {
        Some("exec" | "x" | "dlx") => npx(&format!("{name} {}", args[at]), &args[at + 1..], case),
        Some("run" | "run-script" | "start") => {
            if args[at + 1..].iter().take_while(|arg| **arg != "--").any(|arg| arg.contains("script-shell")) {
                return Err(runner_option(name, "--script-shell"));
            }
            if case.project {
                case.tell(
                    "project-script",
                    format!("{name} {} runs what a file of the project says, through a shell", args[at]),
                    "start the script itself",
                );
            }
            Ok(())
        }
        // yarn and pnpm take a script's name without "run".
        Some(word) if name != "npm" && !is_installing(word) => Ok(()),
        Some(word) => Err(not_a_server(&format!("{name} {word}"))),
        None => Err(not_a_server(name)),
    }
}

fn is_installing(word: &str) -> bool {
    matches!(
        word,
        "install"
            | "i"
            | "add"
            | "ci"
            | "publish"
            | "link"
            | "rebuild"
            | "update"
            | "upgrade"
            | "up"
            | "remove"
            | "config"
            | "set"
            | "create"
            | "init"
            | "global"
            | "patch"
            | "store"
            | "node"
            | "env"
    )
}

pub(super) fn not_a_server(what: &str) -> Refusal {
    refusal(
        "not-a-server",
        format!("{what} is not a server: it fetches, installs, changes or starts other things"),
        "name the server's own program, or set security.level: permissive for this server",
    )
}

/// uvx and `uv tool run`.
pub(super) fn uvx(name: &str, args: &[&str], case: &mut Case<'_>) -> Result<(), Refusal> {
    let head = head(name, args, UV, catalog::Ecosystem::PyPi, case)?;
    let Some(&item) = args.get(head.at) else { return Err(from_stdin(name)) };
    if head.package.is_none() {
        package(item, catalog::Ecosystem::PyPi, case)?;
    }
    inner(item, &args[head.at + 1..], case)
}

/// `uv run COMMAND` starts any program; `uv tool run PACKAGE` is uvx.
pub(super) fn uv(args: &[&str], case: &mut Case<'_>) -> Result<(), Refusal> {
    let before = head("uv", args, UV, catalog::Ecosystem::PyPi, case)?;
    let rest = args.get(before.at + 1..).unwrap_or_default();
    match args.get(before.at).copied() {
        Some("run") => {}
        Some("tool") if rest.first() == Some(&"run") => return uvx("uv tool run", &rest[1..], case),
        Some("x") => return uvx("uv x", rest, case),
        Some(word) => return Err(not_a_server(&format!("uv {word}"))),
        None => return Err(not_a_server("uv")),
    }
    let head = head("uv run", rest, UV, catalog::Ecosystem::PyPi, case)?;
    match rest.get(head.at).copied() {
        None | Some("-") => Err(from_stdin("uv run")),
        Some(module) if head.script => grammar::python_module("uv run", module),
        Some(item) if item.starts_with("https:") || item.starts_with("http:") => Err(refusal(
            "remote-code",
            format!("uv run would run {item} from the web"),
            "save it to a file, read it, and start that",
        )),
        Some(item) => grammar::judge(item, &rest[head.at + 1..], case),
    }
}

/// `pipx run PACKAGE`.
pub(super) fn pipx(args: &[&str], case: &mut Case<'_>) -> Result<(), Refusal> {
    match args.split_first() {
        Some((&"run", rest)) => {
            let head = head("pipx run", rest, PIPX, catalog::Ecosystem::PyPi, case)?;
            let Some(&item) = rest.get(head.at) else { return Err(from_stdin("pipx run")) };
            if head.package.is_none() {
                package(item, catalog::Ecosystem::PyPi, case)?;
            }
            inner(item, &rest[head.at + 1..], case)
        }
        Some((word, _)) => Err(not_a_server(&format!("pipx {word}"))),
        None => Err(not_a_server("pipx")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_on_the_sdk_puts_nothing_beside_the_server() {
        for value in ["mcp<2", "fastmcp<5", "mcp>=1.2,<2", "mcp==1.9.*"] {
            assert!(is_bound_of_sdk(value), "{value}");
        }
        for value in
            ["mcp", "mcp[cli]", "mcp-more<2", "mcp@https://h.example/x", "mcp<2 @ https://h", "<2", ""]
        {
            assert!(!is_bound_of_sdk(value), "{value}");
        }
    }
}
