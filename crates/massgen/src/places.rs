//! What only the disk can tell about the places where servers lie.

use std::collections::BTreeSet;

use massgen_config::McpTransport;
use mcp_security::command::shared_folder;
use mcp_security::{Policy, Rules};

/// The policy's default rules for a command that the user typed, with what the disk tells about its place.
pub fn launch_policy(program: &str, args: &[String]) -> Policy {
    Policy::new(Rules { private_folders: private_folders(program, args), ..Rules::default() })
}

/// Those folders below one of everybody's (`/tmp`) that a command names and that belong to this user alone: a program
/// there is as safe as one below the user's home.
fn private_folders(program: &str, args: &[String]) -> BTreeSet<String> {
    let words = program.split_whitespace().chain([program]).chain(args.iter().map(String::as_str));
    words.filter_map(shared_folder).filter(|folder| is_own(folder)).collect()
}

/// As [`private_folders`], for a server of a configuration.
pub(crate) fn private_folders_of(transport: &McpTransport) -> BTreeSet<String> {
    match transport {
        McpTransport::Stdio { command, args, .. } => private_folders(command, args),
        _ => BTreeSet::new(),
    }
}

/// Nobody else may write there, and nobody else may put another folder in its place.
#[cfg(unix)]
fn is_own(folder: &str) -> bool {
    use std::os::unix::fs::MetadataExt;
    use std::path::Path;
    const WRITABLE_BY_OTHERS: u32 = 0o022;
    const STICKY: u32 = 0o1000;
    let folder = Path::new(folder);
    let (Ok(own), Some(Ok(parent))) =
        (std::fs::symlink_metadata(folder), folder.parent().map(std::fs::symlink_metadata))
    else {
        return false;
    };
    let guarded = parent.mode() & WRITABLE_BY_OTHERS == 0 || parent.mode() & STICKY != 0;
    let me = rustix::process::geteuid().as_raw();
    own.is_dir() && own.uid() == me && own.mode() & WRITABLE_BY_OTHERS == 0 && guarded
}

#[cfg(not(unix))]
fn is_own(_: &str) -> bool {
    false
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn found(program: &std::path::Path) -> usize {
        private_folders(&program.display().to_string(), &[]).len()
    }

    #[test]
    fn a_folder_of_ones_own_in_a_place_of_everybodys() {
        let folder = tempfile::tempdir_in("/tmp").unwrap();
        let program = folder.path().join("server");
        assert_eq!(found(&program), 1);
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
        assert_eq!(found(&program), 0, "others may write there");
        assert_eq!(found(std::path::Path::new("/tmp/server")), 0, "not a folder of anybody's");
        assert_eq!(found(std::path::Path::new("/usr/bin/server")), 0, "nothing to look at");
    }
}
