//! TCP connections of protocols that talk to neighbours one by one: who calls, who is called, octets both ways.
//!
//! Each connection has two tasks. The reader puts what comes into the inbox, which is bounded: what the protocol has no
//! time for waits in the kernel, and then at the neighbour. The writer says how much the kernel has taken, so that the
//! protocol knows who is slow.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

/// Connections that wait to be taken.
const BACKLOG: i32 = 128;
/// Octets read at a time.
const CHUNK: usize = 32 << 10;
/// For the kernel's buffers: a neighbour's whole table comes at once.
const BUFFER: usize = 1 << 20;
/// Internetwork control (RFC 4271 appendix E).
const PRECEDENCE: u32 = 0xc0;
/// Who does not answer by then will not.
const PATIENCE: Duration = Duration::from_secs(30);

/// What happens on connections; the protocol makes inputs of it.
pub trait Events: Send + 'static {
    type Input: Send + 'static;

    fn data(&self, bytes: Vec<u8>) -> Self::Input;
    fn written(&self, octets: usize) -> Self::Input;
    fn closed(&self, reason: String) -> Self::Input;
}

/// One connection. Dropping it lets what was sent go out, and closes.
#[derive(Debug)]
pub struct Connection {
    outbox: mpsc::UnboundedSender<Vec<u8>>,
    reader: AbortHandle,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl Connection {
    /// Takes over a stream. Call within a tokio runtime.
    pub fn start<E: Events + Clone>(stream: TcpStream, events: E, inbox: mpsc::Sender<E::Input>) -> Self {
        let (read, write) = stream.into_split();
        let (outbox, queued) = mpsc::unbounded_channel();
        tokio::spawn(write_all(write, queued, events.clone(), inbox.clone()));
        let reader = tokio::spawn(read_all(read, events, inbox)).abort_handle();
        Self { outbox, reader }
    }

    /// In order; a connection that is gone takes nothing, which the reader has said already.
    pub fn send(&self, bytes: Vec<u8>) {
        let _ = self.outbox.send(bytes);
    }
}

async fn read_all<E: Events>(mut read: OwnedReadHalf, events: E, inbox: mpsc::Sender<E::Input>) {
    let reason = loop {
        let mut bytes = Vec::with_capacity(CHUNK);
        match read.read_buf(&mut bytes).await {
            Ok(0) => break "the peer closed the connection".to_owned(),
            Ok(_) => {
                if inbox.send(events.data(bytes)).await.is_err() {
                    return;
                }
            }
            Err(error) => break error.to_string(),
        }
    };
    // The protocol may have ended.
    let _ = inbox.send(events.closed(reason)).await;
}

async fn write_all<E: Events>(
    mut write: OwnedWriteHalf,
    mut queued: mpsc::UnboundedReceiver<Vec<u8>>,
    events: E,
    inbox: mpsc::Sender<E::Input>,
) {
    while let Some(bytes) = queued.recv().await {
        // A reset is the reader's to tell.
        if write.write_all(&bytes).await.is_err() {
            return;
        }
        // Where the protocol has ended meanwhile, the rest is to go out all the same.
        let _ = inbox.send(events.written(bytes.len())).await;
    }
    let _ = write.shutdown().await;
}

/// Takes calls to a port, on all addresses. Needs CAP_NET_BIND_SERVICE for ports below 1024.
pub fn listen(port: u16) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)).into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Calls a neighbour.
pub async fn connect(peer: SocketAddrV4, local: Option<Ipv4Addr>, ttl: u8) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    let options = SockRef::from(&socket);
    options.set_ttl_v4(ttl.into())?;
    options.set_tos_v4(PRECEDENCE)?;
    if let Some(local) = local {
        socket.bind(SocketAddr::from((local, 0)))?;
    }
    let connecting = tokio::time::timeout(PATIENCE, socket.connect(peer.into()));
    let stream = connecting.await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    prepare(&stream, None)?;
    Ok(stream)
}

/// Sets up a stream, whoever called.
pub fn prepare(stream: &TcpStream, ttl: Option<u8>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let options = SockRef::from(stream);
    options.set_recv_buffer_size(BUFFER)?;
    options.set_tos_v4(PRECEDENCE)?;
    if let Some(ttl) = ttl {
        options.set_ttl_v4(ttl.into())?;
    }
    Ok(())
}

/// The addresses of both ends.
pub fn ends(stream: &TcpStream) -> io::Result<(Ipv4Addr, Ipv4Addr)> {
    let v4 = |address: SocketAddr| match address {
        SocketAddr::V4(address) => Ok(*address.ip()),
        SocketAddr::V6(_) => Err(io::Error::from(io::ErrorKind::Unsupported)),
    };
    Ok((v4(stream.local_addr()?)?, v4(stream.peer_addr()?)?))
}
