//! A server's program and its two pipes, for who speaks the protocol on them himself, such as a proxy.

use std::path::PathBuf;
use std::time::SystemTime;

use mcp_core::{Admitted, LaunchSpec, ServerName, ToolError};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::options::SessionOptions;
use crate::process::{self, Child};

/// A running program. Dropping it kills its whole process tree at once.
pub struct Program {
    child: Child,
}

/// The file that a launch would run, as it is now; two of them are equal where nothing has changed. It tells when a program
/// that could not be run is worth another try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgramFile {
    /// Path, length and time of the last change; `None`: there is none that may be run.
    file: Option<(PathBuf, u64, Option<SystemTime>)>,
    has_folder: bool,
}

impl ProgramFile {
    /// Looks for it where a start would. Nothing is started.
    pub async fn look(launch: &LaunchSpec) -> Self {
        let file = match process::find(launch).await {
            Ok(path) => tokio::fs::metadata(&path)
                .await
                .ok()
                .map(|metadata| (path, metadata.len(), metadata.modified().ok())),
            Err(_) => None,
        };
        let has_folder = match &launch.cwd {
            Some(folder) => process::is_folder(folder).await,
            None => true,
        };
        Self { file, has_folder }
    }
}

/// The two ends of a [`Program`] that the protocol uses. Dropping `stdin` is the polite way to end it.
pub struct ProgramPipes {
    /// What it reads.
    pub stdin: Box<dyn AsyncWrite + Send + Unpin>,
    /// What it writes.
    pub stdout: Box<dyn AsyncRead + Send + Unpin>,
}

impl Program {
    /// Starts a server's program without a session. Its standard error goes to the sink of the options.
    ///
    /// # Errors
    ///
    /// [`ToolError::Spawn`] where it cannot be run.
    pub async fn start(
        server: &ServerName,
        launch: &Admitted<LaunchSpec>,
        options: &SessionOptions,
    ) -> Result<(Self, ProgramPipes), ToolError> {
        let (child, pipes) = process::start(server, launch, options).await?;
        let pipes = ProgramPipes { stdin: Box::new(pipes.stdin), stdout: Box::new(pipes.stdout) };
        Ok((Self { child }, pipes))
    }

    /// Ends it as a session does: waits for it, asks by signal, kills. Bounded. The input is closed first.
    pub async fn close(&self) {
        self.child.close().await;
    }
}

impl std::fmt::Debug for Program {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Program").field("pid", &self.child.pid()).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for ProgramPipes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProgramPipes").finish_non_exhaustive()
    }
}
