//! One process of a kind for each run directory: a locked file that goes with its owner.

use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Held until dropped; the kernel lets go of it if the process dies.
#[derive(Debug)]
pub struct RunDirLock {
    path: PathBuf,
    _file: File,
}

impl RunDirLock {
    /// None: another process holds it.
    pub fn take(run_dir: &Path, name: &str) -> io::Result<Option<Self>> {
        let path = run_dir.join(name);
        loop {
            let file = File::options().create(true).truncate(false).write(true).open(&path)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) => return Err(error),
            }
            // The owner before may have removed the file between the two calls: the lock is worth nothing then.
            let (ours, there) = (file.metadata()?, std::fs::metadata(&path));
            if there.is_ok_and(|there| (there.dev(), there.ino()) == (ours.dev(), ours.ino())) {
                return Ok(Some(Self { path, _file: file }));
            }
        }
    }
}

impl Drop for RunDirLock {
    fn drop(&mut self) {
        // While it is still locked, so that nobody else's is removed. If it stays, it is in nobody's way.
        let _ = std::fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time_and_nothing_left() {
        let dir = tempfile::tempdir().unwrap();
        let first = RunDirLock::take(dir.path(), "x.lock").unwrap();
        assert!(first.is_some());
        assert!(RunDirLock::take(dir.path(), "x.lock").unwrap().is_none());
        assert!(RunDirLock::take(dir.path(), "y.lock").unwrap().is_some());
        drop(first);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        assert!(RunDirLock::take(dir.path(), "x.lock").unwrap().is_some());
    }
}
