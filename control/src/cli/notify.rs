//! sd_notify(3): one datagram with a state, if a service manager asked for it.

use std::ffi::OsString;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The service manager, if there is one.
#[derive(Debug)]
pub(super) struct Notify {
    socket: Option<OsString>,
}

impl Notify {
    pub(super) fn from_env() -> Self {
        Self { socket: std::env::var_os("NOTIFY_SOCKET").filter(|socket| !socket.is_empty()) }
    }

    /// Sends a state such as `READY=1`. Without a service manager nothing is sent.
    pub(super) fn send(&self, state: &str) {
        if let Err(error) = self.try_send(state) {
            tracing::warn!(%error, "the service manager cannot be told {state}");
        }
    }

    fn try_send(&self, state: &str) -> io::Result<()> {
        let Some(socket) = &self.socket else { return Ok(()) };
        let address = match socket.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
            _ => SocketAddr::from_pathname(socket)?,
        };
        UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_arrive_by_path_and_by_abstract_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let name = format!("millrace-test-{}", std::process::id());
        let by_path = UnixDatagram::bind(&path).unwrap();
        let by_name = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        for (receiver, socket) in [(by_path, path.into_os_string()), (by_name, format!("@{name}").into())] {
            Notify { socket: Some(socket) }.send("READY=1");
            let mut buffer = [0; 64];
            let len = receiver.recv(&mut buffer).unwrap();
            assert_eq!(&buffer[..len], b"READY=1");
        }
    }

    #[test]
    fn nobody_to_tell_is_fine() {
        Notify { socket: None }.send("READY=1");
        Notify { socket: Some("/nowhere/at/all".into()) }.send("READY=1");
    }
}
