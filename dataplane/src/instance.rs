//! The run directory: one dataplane at a time, and its listening socket.
//!
//! A lock on the directory itself decides who is alone; who holds it may replace a socket that a dead process left
//! behind. The lock goes with the process, so nothing is left to clean up.

use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use rustix::net::sockopt::socket_peercred;

const SOCKET: &str = "dataplane.sock";
/// Owner and group; the group is how an operator admits control under another user.
const SOCKET_MODE: u32 = 0o660;

#[derive(Debug, thiserror::Error)]
pub(crate) enum InstanceError {
    #[error("the run directory {0} cannot be made: {1}; create it, or choose another with --run-dir")]
    Directory(PathBuf, io::Error),
    #[error("the run directory {0} cannot be locked: {1}; choose another with --run-dir")]
    Lock(PathBuf, io::Error),
    #[error("another millrace-dataplane{holder} serves {directory}; stop it, or use another --run-dir", holder = holder(*pid))]
    Busy { directory: PathBuf, pid: Option<i32> },
    #[error("cannot listen on {0}: {1}; is the directory writable? Another is chosen with --run-dir")]
    Listen(PathBuf, io::Error),
}

fn holder(pid: Option<i32>) -> String {
    pid.map_or_else(String::new, |pid| format!(" (process {pid})"))
}

/// This process's hold on the run directory. Removes the socket when dropped.
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
    let refused = |error| InstanceError::Lock(directory.into(), error);
    let file = File::open(directory).map_err(refused)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(Errno::WOULDBLOCK) => {
            let pid = listener_pid(&directory.join(SOCKET));
            Err(InstanceError::Busy { directory: directory.into(), pid })
        }
        Err(errno) => Err(refused(errno.into())),
    }
}

/// The process that listens on a socket.
fn listener_pid(socket: &Path) -> Option<i32> {
    let stream = UnixStream::connect(socket).ok()?;
    socket_peercred(&stream).ok().map(|peer| peer.pid.as_raw_nonzero().get())
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
        let ours = i32::try_from(std::process::id()).unwrap();
        assert!(matches!(&error, InstanceError::Busy { pid: Some(pid), .. } if *pid == ours), "{error}");
        UnixStream::connect(&socket).unwrap();

        drop(first);
        assert_eq!(std::fs::read_dir(&run).unwrap().count(), 0, "nothing is left");
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
