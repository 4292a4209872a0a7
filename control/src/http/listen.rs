//! Sockets: who may connect, how many at once, and for how long.

use std::future::Future;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Semaphore, watch};

use super::api::{self, App};
use super::commit::Commits;
use super::lock::RunDirLock;
use super::view;
use crate::runtime::Handle;

/// Name of the socket in the run directory.
pub const CONTROL_SOCKET: &str = "control.sock";
const LOCK: &str = "control.lock";

/// Connections at once; those beyond wait in the kernel's queue.
const LOCAL_CONNECTIONS: usize = 256;
const REMOTE_CONNECTIONS: usize = 16;
/// The head of a request arrives within this, or the connection is closed; so are idle ones.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error("another millrace-control uses the run directory {0}: choose another one with --run-dir")]
    Taken(PathBuf),
    #[error("{path}: {error}")]
    Io { path: PathBuf, error: io::Error },
}

/// The bound control socket.
#[derive(Debug)]
pub struct Server {
    listener: UnixListener,
    socket: PathBuf,
    /// Held as long as the socket is ours.
    _lock: RunDirLock,
}

impl Server {
    /// Takes the run directory for this process and opens the control socket in it. A socket that a dead process
    /// left there is replaced.
    pub fn bind(run_dir: &Path) -> Result<Self, BindError> {
        let at = |path: &Path| {
            let path = path.to_owned();
            move |error| BindError::Io { path, error }
        };
        let lock = RunDirLock::take(run_dir, LOCK).map_err(at(&run_dir.join(LOCK)))?;
        let Some(lock) = lock else { return Err(BindError::Taken(run_dir.to_owned())) };
        // Under another name until its mode is right, so that nobody ever meets it open to all.
        let (socket, unready) = (run_dir.join(CONTROL_SOCKET), run_dir.join(".control.sock.new"));
        if let Err(error) = std::fs::remove_file(&unready)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(at(&unready)(error));
        }
        let listener = UnixListener::bind(&unready).map_err(at(&unready))?;
        std::fs::set_permissions(&unready, std::fs::Permissions::from_mode(0o660)).map_err(at(&unready))?;
        std::fs::rename(&unready, &socket).map_err(at(&socket))?;
        Ok(Self { listener, socket, _lock: lock })
    }

    /// Answers until `stop` is there. `config_file` is the file that is read at start and on SIGHUP.
    pub async fn run(
        self,
        handle: Handle,
        commits: Commits,
        config_file: PathBuf,
        stop: impl Future<Output = ()>,
    ) {
        let (publish, listener) = watch::channel(view::Listener::default());
        let app = Arc::new(App::new(handle.clone(), commits, config_file, listener));
        tokio::select! {
            () = local(self.listener, api::local(app.clone())) => {}
            () = remote(handle, api::remote(app), publish) => {}
            () = stop => {}
        }
        if let Err(error) = std::fs::remove_file(&self.socket) {
            tracing::debug!(%error, "cannot remove the control socket");
        }
    }
}

async fn local(listener: UnixListener, router: Router) {
    let permits = Arc::new(Semaphore::new(LOCAL_CONNECTIONS));
    loop {
        let Ok(permit) = permits.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => serve(stream, router.clone(), permit),
            Err(error) => pause(&error).await,
        }
    }
}

/// Follows the configuration: opens, moves and closes the TCP listener.
async fn remote(handle: Handle, router: Router, publish: watch::Sender<view::Listener>) {
    let mut changes = handle.config_changes();
    let permits = Arc::new(Semaphore::new(REMOTE_CONNECTIONS));
    let mut open: Option<TcpListener> = None;
    loop {
        let wanted = changes.borrow_and_update().http.as_ref().map(|http| http.listen);
        let current = open.as_ref().and_then(|listener| listener.local_addr().ok());
        if wanted != current {
            // The old one goes first: it may be what is in the way.
            open = None;
            let mut state = view::Listener::default();
            if let Some(wanted) = wanted {
                match bind(wanted) {
                    Ok(listener) => {
                        tracing::info!(listen = %wanted, "API and metrics over TCP");
                        state.address = Some(wanted.to_string());
                        open = Some(listener);
                    }
                    Err(error) => {
                        tracing::error!(listen = %wanted, %error, "[http]: cannot listen");
                        state.problem = Some(format!("cannot listen on {wanted}: {error}"));
                    }
                }
            }
            publish.send_replace(state);
        }
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            // An address that is not there yet may come: on an interface the router is about to configure.
            () = tokio::time::sleep(Duration::from_secs(5)), if wanted.is_some() && open.is_none() => {}
            () = accept(open.as_ref(), &router, &permits) => {}
        }
    }
}

fn bind(address: std::net::SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        std::net::SocketAddr::V4(_) => tokio::net::TcpSocket::new_v4()?,
        std::net::SocketAddr::V6(_) => tokio::net::TcpSocket::new_v6()?,
    };
    // A restart does not wait for connections of the last run to be forgotten.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(128)
}

/// Takes one connection; never without a listener.
async fn accept(listener: Option<&TcpListener>, router: &Router, permits: &Arc<Semaphore>) {
    let Some(listener) = listener else { return std::future::pending().await };
    let Ok(permit) = permits.clone().acquire_owned().await else { return };
    match listener.accept().await {
        Ok((stream, _)) => serve(stream, router.clone(), permit),
        Err(error) => pause(&error).await,
    }
}

/// Out of file descriptors, most likely: others must be closed first.
async fn pause(error: &io::Error) {
    tracing::warn!(%error, "cannot accept a connection");
    tokio::time::sleep(Duration::from_millis(100)).await;
}

fn serve<S>(stream: S, router: Router, permit: tokio::sync::OwnedSemaphorePermit)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    tokio::spawn(async move {
        let service = TowerToHyperService::new(router);
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(64 << 10)
            .serve_connection(TokioIo::new(stream), service);
        if let Err(error) = connection.await {
            tracing::debug!(%error, "an API connection ended");
        }
        drop(permit);
    });
}
