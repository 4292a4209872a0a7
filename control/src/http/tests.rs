//! The API through real sockets, with a runtime that the test plays.

mod configurations;
mod described;
mod played;
mod sockets;
mod tables;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use millrace_api as api;
use millrace_api::{ReplyBody, report};
use millrace_net::Prefix;
use millrace_proto::{IfIndex, Instant, Machine as _};
use serde_json::{Value, json};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{mpsc, oneshot, watch};

use self::played::{perform, route};
use super::*;
use crate::config::{self, Config};
use crate::protocols;
use crate::runtime::Handle;
use crate::runtime::handle::{
    ApplyError, ApplyReport, Command, DataplaneAway, GroupView, InterfaceStatus, NexthopView, PathView,
    RouteKind, RoutePage, RouteSelect, RouteView, Status,
};

const CONFIG: &str = "[[interface]]\nname = \"eth0\"\n[[interface]]\nname = \"eth1\"\nacl-in = \"wan\"\n[[acl]]\nname = \"wan\"\n[[acl.rule]]\naction = \"drop\"\n";

/// The runtime as these tests play it.
#[derive(Clone, Copy, Debug)]
struct Play {
    dataplane: bool,
    routes: u32,
    /// What the dataplane says to a configuration.
    refuses: bool,
}

const PLAY: Play = Play { dataplane: true, routes: 3, refuses: false };

struct Rig {
    dir: tempfile::TempDir,
    handle: Handle,
    stop: Option<oneshot::Sender<()>>,
    server: tokio::task::JoinHandle<()>,
}

impl Rig {
    async fn new(play: Play) -> Self {
        Self::with(play, CONFIG).await
    }

    async fn with(play: Play, text: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("millrace.toml");
        std::fs::write(&file, text).unwrap();
        let config = config::load(&file).unwrap().config;
        let (handle, commands, publish) = Handle::scripted(config);
        tokio::spawn(perform(play, commands, publish));
        let server = Server::bind(dir.path()).unwrap();
        let commits = Commits::new(handle.clone(), dir.path());
        let (stop, stopped) = oneshot::channel();
        let server = server.run(handle.clone(), commits, file, async { _ = stopped.await });
        Self { dir, handle, stop: Some(stop), server: tokio::spawn(server) }
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join(CONTROL_SOCKET)
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        let (status, body) = self.raw("GET", path, None).await;
        (status, parsed(&body))
    }

    async fn post(&self, path: &str, kind: &str, body: &str) -> (u16, Value) {
        let (status, body) = self.raw("POST", path, Some((kind, body))).await;
        (status, parsed(&body))
    }

    async fn raw(&self, method: &str, path: &str, body: Option<(&str, &str)>) -> (u16, Bytes) {
        request(UnixStream::connect(self.socket()).await.unwrap(), method, path, body).await
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        json!({ "file": path }).to_string()
    }
}

fn parsed(body: &[u8]) -> Value {
    serde_json::from_slice(body).unwrap_or_else(|_| Value::String(String::from_utf8_lossy(body).into_owned()))
}

async fn request<S>(stream: S, method: &str, path: &str, body: Option<(&str, &str)>) -> (u16, Bytes)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let (kind, text) = body.unwrap_or_default();
    let request = hyper::Request::builder().method(method).uri(path).header("content-type", kind);
    let request = request.body(Full::new(Bytes::from(text.to_owned()))).unwrap();
    let response = sender.send_request(request).await.unwrap();
    let status = response.status().as_u16();
    (status, response.into_body().collect().await.unwrap().to_bytes())
}
