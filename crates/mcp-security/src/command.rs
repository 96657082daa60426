//! Commands of servers: how a line of text becomes a program and its arguments, and which of them may be started.
//!
//! No shell is ever involved, so a metacharacter in an argument is only a character. What is refused instead is code
//! inside a command line, which is how a configuration that looks harmless runs anything (`bash -c`, `node -e`,
//! `npx -c`), and only where it stands before the script or package: after it, arguments belong to the server.

use std::borrow::Cow;
use std::collections::BTreeSet;

use mcp_core::Refusal;

use crate::{Finding, Level, Platform, Rules, Trust, limits, refusal, secret, text};

mod catalog;
mod container;
mod grammar;
mod interpreters;
mod packages;
mod split;

pub(crate) use packages::leads_here;

pub use split::split;

/// Whether a program, by its name, runs code that its options hold.
pub(crate) fn runs_code(program: &str) -> bool {
    let name = base_name(program);
    interpreters::NAMES.contains(&name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.'))
}

/// The programs that level strict starts without being told: launchers and interpreters, no shells.
const LAUNCHERS: &[&str] = &[
    "bun", "bunx", "cargo", "deno", "docker", "dotnet", "go", "java", "node", "npm", "npx", "pip", "pip3",
    "pipx", "pnpm", "pnpx", "podman", "py", "python", "python3", "ruby", "rust", "uv", "uvx", "yarn",
];

/// May this program be started with these arguments? Answers with what is worth telling about it.
///
/// # Errors
///
/// A [`Refusal`] by one of the rules `empty-program`, `hidden-character`, `control-character`, `argv-limit`,
/// `batch-arguments`, `path-traversal`, `world-writable`, `lookalike`, `program-list`, `privilege`, `not-a-server`,
/// `inline-program`, `remote-code`, `runner-option`, `container-option`, `package-source`, `known-bad-package`,
/// `loader-variable`.
pub fn judge(program: &str, args: &[String], rules: &Rules) -> Result<Vec<Finding>, Refusal> {
    if program.trim().is_empty() {
        return Err(refusal("empty-program", "the command is empty", "set command: to a program"));
    }
    judge_size(program, args)?;
    let mut findings = Vec::new();
    if let Some(found) = program.chars().find(|c| c.is_control()) {
        return Err(refusal(
            "control-character",
            format!("the command contains {found:?}"),
            "remove the character: what is shown to people would not be what runs",
        ));
    }
    for (at, item) in std::iter::once(program).chain(args.iter().map(String::as_str)).enumerate() {
        judge_characters(at, item, &mut findings)?;
    }
    judge_batch(program, args)?;
    judge_climbing(program)?;
    judge_list(program, rules)?;
    if rules.level == Level::Permissive {
        return Ok(findings);
    }
    judge_place(program, &rules.private_folders)?;
    let project = rules.trust == Trust::Project;
    if project && has_folder(program) && !is_absolute(program) {
        findings.push(Finding::new(
            "project-program",
            format!("the command {program:?} is a file of the project"),
            "look at what it does before you let it start",
        ));
    }
    let folded: Vec<Cow<'_, str>> = args.iter().map(|arg| fold(arg)).collect();
    let argv: Vec<&str> = folded.iter().map(AsRef::as_ref).collect();
    let windows = rules.platform == Platform::Windows;
    let private = &rules.private_folders;
    let mut case = grammar::Case { project, level: rules.level, windows, private, findings: &mut findings };
    grammar::judge(program, &argv, &mut case)?;
    Ok(findings)
}

/// Full-width letters are read as the ones they show.
fn fold(arg: &str) -> Cow<'_, str> {
    if arg.is_ascii() || !arg.contains(|c| matches!(c, '\u{ff01}'..='\u{ff5e}')) {
        return Cow::Borrowed(arg);
    }
    let plain = |c: char| match c {
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(c) - 0xfee0).unwrap_or(c),
        c => c,
    };
    Cow::Owned(arg.chars().map(plain).collect())
}

fn judge_characters(at: usize, item: &str, findings: &mut Vec<Finding>) -> Result<(), Refusal> {
    let place = || if at == 0 { "the command".to_owned() } else { format!("argument {at}") };
    if item.contains('\0') {
        return Err(refusal("control-character", format!("{} contains a zero byte", place()), "remove it"));
    }
    let hidden = text::hidden(item);
    if hidden.controls {
        let hint = "remove it: it moves the cursor of whoever looks at the command";
        findings.push(Finding::new(
            "control-character",
            format!("{} contains a control character", place()),
            hint,
        ));
    } else if let Some(found) = hidden.first {
        return Err(refusal(
            "hidden-character",
            format!("{} contains the invisible character {}", place(), found.escape_unicode()),
            "remove the character: what is shown to people would not be what runs",
        ));
    }
    if at == 0 {
        return Ok(());
    }
    if expects_shell(item) {
        findings.push(Finding::new(
            "shell-syntax",
            format!("{} has a command in it that only a shell would run, and no shell is used", place()),
            "write out the value",
        ));
    }
    if let Some(kind) = secret::resembles(item) {
        findings.push(Finding::new(
            "secret-argument",
            format!("{} is {kind}, and everybody on this computer can read command lines", place()),
            "pass it through env: and a reference",
        ));
    }
    Ok(())
}

/// `$(command)`, or a command between back quotes.
fn expects_shell(arg: &str) -> bool {
    let closed = |open: &str, close: char| {
        arg.split_once(open).is_some_and(|(_, rest)| rest.find(close).is_some_and(|at| at > 0))
    };
    closed("$(", ')') || closed("`", '`')
}

fn is_absolute(program: &str) -> bool {
    let bytes = program.as_bytes();
    program.starts_with(['/', '\\', '~']) || (bytes.get(1) == Some(&b':') && bytes[0].is_ascii_alphabetic())
}

/// Folders where every user of a computer may put files.
pub(crate) fn is_world_writable(path: &str) -> bool {
    let lower = path.replace('\\', "/").to_ascii_lowercase();
    let mut parts: Vec<&str> = Vec::new();
    for part in lower.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    let lower = format!("/{}/", parts.join("/"));
    let drive = lower.len() > 3 && lower.as_bytes()[2] == b':';
    let below = if drive { &lower[3..] } else { &lower };
    (path.starts_with('/') || drive) && SHARED.iter().any(|folder| below.starts_with(folder))
}

/// Folders of everybody's, in small letters.
const SHARED: [&str; 7] = [
    "/tmp/",
    "/var/tmp/",
    "/dev/shm/",
    "/private/tmp/",
    "/private/var/tmp/",
    "/users/public/",
    "/windows/temp/",
];

/// Whether others may replace what lies there: it is below a folder of everybody's, and not below one of the user's own.
fn others_may_write(path: &str, private: &BTreeSet<String>) -> bool {
    is_world_writable(path) && !shared_folder(path).is_some_and(|folder| private.contains(&folder))
}

/// The first folder below one where everybody may put files: `/tmp/build` for `/tmp/build/bin/server`. `None` for a path
/// elsewhere, for one that climbs, and for a file that lies in such a folder itself.
///
/// Whether that folder is the user's own can only be seen on the disk, and nothing here looks there; who does tells it
/// by [`Rules::private_folders`].
pub fn shared_folder(path: &str) -> Option<String> {
    if !path.starts_with('/') || path.split('/').any(|part| part == "..") || !is_world_writable(path) {
        return None;
    }
    let below = SHARED.iter().find_map(|root| path.strip_prefix(root))?;
    let (first, _) = below.trim_start_matches('/').split_once('/')?;
    Some(format!("{}{first}", &path[..path.len() - below.len()]))
}

/// A program that is not where it seems to be.
fn judge_climbing(program: &str) -> Result<(), Refusal> {
    if program.split(['/', '\\']).any(|part| part == "..") {
        return Err(refusal(
            "path-traversal",
            format!("the command {program:?} climbs with \"..\""),
            "write the program's full path, or its name if it is on PATH",
        ));
    }
    Ok(())
}

/// A program that others can replace, that is not where it seems to be, or that only looks like one: a letter of another
/// alphabet stands in for one of a program that everybody knows.
fn judge_place(program: &str, private: &BTreeSet<String>) -> Result<(), Refusal> {
    judge_climbing(program)?;
    if program.trim().is_empty() || program.contains(char::is_control) {
        return Err(refusal(
            "control-character",
            format!("the wrapped command {program:?} is no program's name"),
            "write the program's name",
        ));
    }
    // A folder in other letters is another folder.
    let name = program.rsplit(['/', '\\']).next().unwrap_or(program);
    if !name.is_ascii() && grammar::is_interpreter(&text::skeleton(name)) {
        return Err(refusal(
            "lookalike",
            format!("the command {program:?} only looks like another"),
            "write the program's name in plain letters",
        ));
    }
    if others_may_write(program, private) {
        return Err(refusal(
            "world-writable",
            format!("the command {program:?} lies where every user of this computer may put files"),
            "install the program into a folder of your own",
        ));
    }
    Ok(())
}

/// Windows hands a batch file's arguments to its shell, which reads them once more.
fn judge_batch(program: &str, args: &[String]) -> Result<(), Refusal> {
    let name = program.trim_end_matches(['.', ' ']).to_ascii_lowercase();
    let is_batch = name.ends_with(".bat") || name.ends_with(".cmd");
    if is_batch && args.iter().any(|arg| arg.contains(['&', '|', '<', '>', '^', '%', '"'])) {
        return Err(refusal(
            "batch-arguments",
            format!(
                "{program:?} is a batch file, and its arguments contain characters that its shell would obey"
            ),
            "start the program itself instead of the batch file",
        ));
    }
    Ok(())
}

fn judge_size(program: &str, args: &[String]) -> Result<(), Refusal> {
    let hint = "pass long texts through a file or an environment variable";
    if args.len() + 1 > limits::ARGV_ITEMS {
        let reason =
            format!("the command line has {} items; {} are allowed", args.len() + 1, limits::ARGV_ITEMS);
        return Err(refusal("argv-limit", reason, hint));
    }
    let mut total = program.len();
    for (at, arg) in args.iter().enumerate() {
        total += arg.len();
        if arg.len() > limits::ARGUMENT_BYTES {
            let reason = format!(
                "argument {} is {} bytes long; {} are allowed",
                at + 1,
                arg.len(),
                limits::ARGUMENT_BYTES
            );
            return Err(refusal("argv-limit", reason, hint));
        }
    }
    if program.len() > limits::ARGUMENT_BYTES || total > limits::ARGV_BYTES {
        let reason = format!("the command line is {total} bytes long; {} are allowed", limits::ARGV_BYTES);
        return Err(refusal("argv-limit", reason, hint));
    }
    Ok(())
}

fn judge_list(program: &str, rules: &Rules) -> Result<(), Refusal> {
    let name = base_name(program);
    let permitted = match &rules.allowed_programs {
        // A listed path means that path; a listed name means the program of that name on PATH.
        Some(list) => list.iter().any(|entry| entry == program || (!has_folder(program) && *entry == name)),
        None => {
            rules.level > Level::Strict || LAUNCHERS.contains(&name.as_str()) || is_versioned_python(&name)
        }
    };
    if permitted {
        return Ok(());
    }
    Err(refusal(
        "program-list",
        format!("the program {program:?} is not among those that may be started"),
        "add it to security.allowed_executables of this server, or set security.level: moderate",
    ))
}

fn has_folder(program: &str) -> bool {
    program.contains(['/', '\\'])
}

fn is_versioned_python(name: &str) -> bool {
    name.strip_prefix("python3.")
        .is_some_and(|minor| !minor.is_empty() && minor.bytes().all(|b| b.is_ascii_digit()))
}

/// The program's name without folder, ending and case, as every platform would understand it.
fn base_name(program: &str) -> String {
    // Windows ignores trailing dots and spaces, so "server.bat. " is a batch file too.
    let name = program.rsplit(['/', '\\']).next().unwrap_or(program).trim_end_matches(['.', ' ']);
    let name = if name.is_ascii() { name.to_ascii_lowercase() } else { text::skeleton(name) };
    for ending in [".exe", ".cmd", ".bat", ".com", ".ps1"] {
        if let Some(stem) = name.strip_suffix(ending) {
            return stem.to_owned();
        }
    }
    name
}
