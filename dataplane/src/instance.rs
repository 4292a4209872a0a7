//! The run directory: one dataplane at a time, and its listening socket.
//!
//! A lock file decides who is alone; who holds the lock may replace a socket that a dead process left behind.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

const SOCKET: &str = "dataplane.sock";
const LOCK: &str = "dataplane.lock";
/// Owner and group; the group is how an operator admits control under another user.
const SOCKET_MODE: u32 = 0o660;

#[derive(Debug, thiserror::Error)]
pub(crate) enum InstanceError {
    #[error("the run directory {0} cannot be made: {1}; create it, or choose another with --run-dir")]
    Directory(PathBuf, io::Error),
    #[error(
        "the run directory is not writable: {0}: {1}; run as its owner, or choose another with --run-dir"
    )]
    NotWritable(PathBuf, io::Error),
    #[error(
        "another millrace-dataplane (process {pid}) serves {directory}; stop it, or use another --run-dir"
    )]
    Busy { directory: PathBuf, pid: String },
    #[error("cannot listen on {0}: {1}")]
    Listen(PathBuf, io::Error),
}

/// This process's hold on the run directory. Removes the socket when dropped; the lock goes with the process.
#[derive(Debug)]
pub(crate) struct Instance {
    listener: UnixListener,
    socket: PathBuf,
    _lock: File,
}

impl Instance {
    pub(crate) fn claim(directory: &Path) -> Result<Self, InstanceError> {
        std::fs::create_dir_all(directory)
            .map_err(|error| InstanceError::Directory(directory.into(), error))?;
        let lock = lock(directory)?;
        let socket = directory.join(SOCKET);
        let listener = listen(&socket).map_err(|error| InstanceError::Listen(socket.clone(), error))?;
        Ok(Self { listener, socket, _lock: lock })
    }

    /// Non-blocking.
    pub(crate) fn listener(&self) -> &UnixListener {
        &self.listener
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.socket);
    }
}

fn lock(directory: &Path) -> Result<File, InstanceError> {
    let path = directory.join(LOCK);
    let not_writable = |error| InstanceError::NotWritable(path.clone(), error);
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(not_writable)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => {
            let mut pid = String::new();
            let _ = file.read_to_string(&mut pid);
            return Err(InstanceError::Busy { directory: directory.into(), pid: pid.trim().into() });
        }
        Err(errno) => return Err(not_writable(errno.into())),
    }
    let write = |file: &mut File| {
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "{}", std::process::id())
    };
    write(&mut file).map_err(not_writable)?;
    Ok(file)
}

/// The socket appears under its name with its mode already set: it is bound beside it and renamed.
fn listen(socket: &Path) -> io::Result<UnixListener> {
    let unnamed = socket.with_extension("sock.new");
    match std::fs::remove_file(&unnamed) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&unnamed)?;
    std::fs::set_permissions(&unnamed, Permissions::from_mode(SOCKET_MODE))?;
    listener.set_nonblocking(true)?;
    std::fs::rename(&unnamed, socket)?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    #[test]
    fn one_at_a_time_and_a_stale_socket_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let run = directory.path().join("run");
        let socket = run.join(SOCKET);
        std::fs::create_dir(&run).unwrap();
        drop(UnixListener::bind(&socket).unwrap());

        let first = Instance::claim(&run).unwrap();
        assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777, SOCKET_MODE);
        UnixStream::connect(&socket).unwrap();

        let error = Instance::claim(&run).unwrap_err();
        assert!(
            matches!(&error, InstanceError::Busy { pid, .. } if *pid == std::process::id().to_string()),
            "{error}"
        );
        UnixStream::connect(&socket).unwrap();

        drop(first);
        assert!(!socket.exists());
        Instance::claim(&run).unwrap();
    }

    #[test]
    fn a_directory_that_cannot_be_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        std::fs::write(&file, "").unwrap();
        let error = Instance::claim(&file.join("run")).unwrap_err();
        assert!(error.to_string().contains("--run-dir"), "{error}");
    }
}
