//! Commands of servers: how a line of text becomes a program and its arguments, and which of them may be started.
//!
//! No shell is ever involved, so a metacharacter in an argument is only a character. What is refused instead is code
//! inside a command line, which is how a configuration that looks harmless runs anything (`bash -c`, `node -e`,
//! `npx -c`), and only where it stands before the script or package: after it, arguments belong to the server.

use mcp_core::Refusal;

use crate::{Level, Rules, limits, refusal};

mod container;
mod grammar;
mod split;

pub use split::split;

/// The programs that level strict starts without being told: launchers and interpreters, no shells.
const LAUNCHERS: &[&str] = &[
    "bun", "bunx", "cargo", "deno", "docker", "dotnet", "go", "java", "node", "npm", "npx", "pip", "pip3",
    "pipx", "pnpm", "pnpx", "podman", "py", "python", "python3", "ruby", "rust", "uv", "uvx", "yarn",
];

/// May this program be started with these arguments?
///
/// # Errors
///
/// A [`Refusal`] by one of the rules `empty-program`, `hidden-character`, `control-character`, `argv-limit`,
/// `batch-arguments`, `path-traversal`, `program-list`, `privilege`, `not-a-server`, `inline-program`, `runner-option`, `container-option`, `loader-variable`.
pub fn judge(program: &str, args: &[String], rules: &Rules) -> Result<(), Refusal> {
    if program.trim().is_empty() {
        return Err(refusal("empty-program", "the command is empty", "set command: to a program"));
    }
    judge_size(program, args)?;
    for (at, item) in std::iter::once(program).chain(args.iter().map(String::as_str)).enumerate() {
        let place = if at == 0 { "the command".to_owned() } else { format!("argument {at}") };
        if let Some(found) = item.chars().find(|c| is_hidden(*c)) {
            return Err(refusal(
                "hidden-character",
                format!("{place} contains the invisible character {}", found.escape_unicode()),
                "remove the character: what is shown to people would not be what runs",
            ));
        }
        // A newline is legal for the kernel, but no server needs one and every log line and dialogue is fooled by it.
        if let Some(found) = item.chars().find(|c| matches!(c, '\0' | '\n' | '\r')) {
            return Err(refusal(
                "control-character",
                format!("{place} contains {found:?}"),
                "remove the character; a longer text belongs into a file or an environment variable",
            ));
        }
    }
    judge_batch(program, args)?;
    if program.split(['/', '\\']).any(|part| part == "..") {
        return Err(refusal(
            "path-traversal",
            format!("the command {program:?} climbs with \"..\""),
            "write the program's full path, or its name if it is on PATH",
        ));
    }
    judge_list(program, rules)?;
    if rules.level == Level::Permissive {
        return Ok(());
    }
    let argv: Vec<&str> = args.iter().map(String::as_str).collect();
    grammar::judge(program, &argv)
}

/// Characters that show nothing, or turn round what follows.
fn is_hidden(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
        || matches!(c, '\u{e0000}'..='\u{e007f}')
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
    let name = name.to_ascii_lowercase();
    for ending in [".exe", ".cmd", ".bat", ".com", ".ps1"] {
        if let Some(stem) = name.strip_suffix(ending) {
            return stem.to_owned();
        }
    }
    name
}
