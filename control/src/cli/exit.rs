//! How the command ends: the exit code, and the sentence on standard error that goes with it.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::config::{ConfigError, Problem};

/// Codes are part of the outside interface.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Exit {
    Done = 0,
    Failed = 1,
    /// Wrong usage or configuration.
    Usage = 2,
    NotRunning = 3,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// Whoever read standard output has seen enough.
    #[error("standard output is closed")]
    Pipe,
    #[error("standard output: {0}")]
    Out(io::Error),
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// As the routing process found them.
    #[error("{}", problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Problems { problems: Vec<Problem> },
    #[error(
        "Millrace is not running: nothing answers at {socket} ({error})\n\
         Start it with `systemctl start millrace` or `millrace run`; if it uses another run directory, name it with --run-dir."
    )]
    NotRunning { socket: String, error: io::Error },
    #[error(
        "{socket}: permission denied\nRun this as root, or as a member of the group that owns the socket."
    )]
    Denied { socket: String },
    #[error("the routing process broke off its answer: {0}")]
    Broken(String),
    /// The routing process says no.
    #[error("{0}")]
    Refused(String),
    #[error("{path}: {error}")]
    File { path: PathBuf, error: io::Error },
    /// A program that `run` started says that it cannot work with the configuration.
    #[error("{0}")]
    Child(String),
    /// What the command was given makes no sense.
    #[error("{0}")]
    Usage(String),
    /// With what to do about it.
    #[error("{0}")]
    Failed(String),
}

impl Error {
    fn exit(&self) -> Exit {
        match self {
            Self::Pipe => Exit::Done,
            Self::Config(_) | Self::Problems { .. } | Self::Child(_) | Self::Usage(_) => Exit::Usage,
            Self::NotRunning { .. } => Exit::NotRunning,
            Self::Out(_)
            | Self::Denied { .. }
            | Self::Broken(_)
            | Self::Refused(_)
            | Self::File { .. }
            | Self::Failed(_) => Exit::Failed,
        }
    }

    /// Says what went wrong, unless nobody is there to read it.
    pub(super) fn report(&self) -> ExitCode {
        use io::Write;
        // Problems of a configuration begin with `error:` themselves, once for each.
        let name = if matches!(self, Self::Config(_) | Self::Problems { .. }) { "" } else { "millrace: " };
        if !matches!(self, Self::Pipe) {
            let text = self.to_string();
            let _ = writeln!(io::stderr(), "{name}{}", text.trim_end());
        }
        self.exit().into()
    }
}
