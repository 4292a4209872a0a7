//! State of the shards in a file of the run directory, from a process that was told to stop to the one after it.

use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Arc;

use millrace_nat::State;

/// Name of the file.
pub(crate) const FILE: &str = "nat.state";

#[derive(Debug)]
pub(crate) struct Saved {
    path: PathBuf,
    /// Whether it has been looked for.
    taken: bool,
    /// Sessions in it.
    pub(crate) sessions: Option<usize>,
    /// Why it is not used, in a sentence.
    pub(crate) problem: Option<String>,
}

impl Saved {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, taken: false, sessions: None, problem: None }
    }

    /// What the process before has left, once. A file that cannot be used is said and removed.
    pub(crate) fn take(&mut self) -> Option<Arc<State>> {
        if std::mem::replace(&mut self.taken, true) {
            return None;
        }
        let path = self.path.display().to_string();
        let bytes = match std::fs::read(&self.path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return None,
            Err(error) => {
                self.problem = Some(format!("{path} cannot be read: {error}; NAT starts empty"));
                tracing::error!(path, %error, "the sessions of before cannot be read");
                return None;
            }
        };
        // Its time is over, whatever is in it.
        let _ = std::fs::remove_file(&self.path);
        match State::read(&bytes) {
            Ok(state) => {
                tracing::info!(
                    sessions = state.sessions(),
                    mappings = state.mappings(),
                    "sessions of before are taken over"
                );
                self.sessions = Some(state.sessions());
                Some(Arc::new(state))
            }
            Err(bad) => {
                self.problem = Some(format!("{path}: {bad}"));
                tracing::error!(path, %bad, "the sessions of before are not taken over");
                None
            }
        }
    }

    /// The file appears whole under its name, readable by its owner only.
    pub(crate) fn write(&self, state: &[u8]) {
        let unnamed = self.path.with_extension("state.new");
        let write = || {
            let mut file = std::fs::OpenOptions::new()
                .create(true)
                .truncate(true)
                .write(true)
                .mode(0o600)
                .open(&unnamed)?;
            file.write_all(state)?;
            std::fs::rename(&unnamed, &self.path)
        };
        match write() {
            Ok(()) => {
                tracing::info!(path = %self.path.display(), bytes = state.len(), "sessions are left for the next start")
            }
            Err(error) => {
                tracing::error!(path = %self.path.display(), %error, "sessions are lost: the file cannot be written")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_taken_once_and_a_bad_one_is_refused_and_said() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(FILE);
        let mut saved = Saved::new(path.clone());
        assert!(saved.take().is_none() && saved.problem.is_none(), "there is none");

        saved.write(b"not state");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1, "nothing else is left");
        let mut next = Saved::new(path.clone());
        assert!(next.take().is_none());
        assert!(
            next.problem.as_ref().is_some_and(|problem| problem.contains("NAT starts empty")),
            "{next:?}"
        );
        assert!(!path.exists());

        saved.write(b"");
        assert!(Saved::new(path).take().is_some(), "no shard, no session");
    }
}
