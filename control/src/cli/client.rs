//! HTTP over the control socket.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::exit::Error;
use super::out::Out;
use crate::http::CONTROL_SOCKET;
use crate::http::view::Failure;

/// Talks to the routing process of one run directory.
#[derive(Debug)]
pub(super) struct Client {
    run_dir: PathBuf,
}

/// Until the answer begins: a table of a million routes is put in force within this.
const PATIENCE: Duration = Duration::from_secs(300);

impl Client {
    pub(super) fn new(run_dir: PathBuf) -> Self {
        Self { run_dir }
    }

    /// The value that a path answers.
    pub(super) fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        block_on(async {
            let response = self.request(Method::GET, path, None).await?;
            parse(&collect(response).await?)
        })
    }

    /// Copies what a path answers, as it comes.
    pub(super) fn copy(&self, path: &str, out: &mut Out) -> Result<(), Error> {
        self.each(path, |bytes| out.bytes(bytes))
    }

    /// Gives `take` what a path answers, piece by piece as it comes.
    pub(super) fn each(
        &self,
        path: &str,
        mut take: impl FnMut(&[u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        block_on(async {
            let mut body = self.request(Method::GET, path, None).await?.into_body();
            while let Some(frame) = body.frame().await {
                let frame = frame.map_err(|error| Error::Broken(error.to_string()))?;
                if let Some(data) = frame.data_ref() {
                    take(data)?;
                }
            }
            Ok(())
        })
    }

    /// Posts JSON, and gives the answer's text.
    pub(super) fn post(&self, path: &str, json: &serde_json::Value) -> Result<Vec<u8>, Error> {
        block_on(async {
            let response = self.request(Method::POST, path, Some(json.to_string())).await?;
            collect(response).await
        })
    }

    /// A request whose answer is a success.
    pub(super) async fn request(
        &self,
        method: Method,
        path: &str,
        json: Option<String>,
    ) -> Result<Response<Incoming>, Error> {
        let socket = self.run_dir.join(CONTROL_SOCKET);
        let stream = UnixStream::connect(&socket).await.map_err(|error| {
            let socket = socket.display().to_string();
            match error.kind() == io::ErrorKind::PermissionDenied {
                true => Error::Denied { socket },
                false => Error::NotRunning { socket, error },
            }
        })?;
        let broken = |error: hyper::Error| Error::Broken(error.to_string());
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        tokio::spawn(connection);
        let mut request = Request::builder().method(method).uri(path).header("host", "millrace");
        if json.is_some() {
            request = request.header("content-type", "application/json");
        }
        let request = request
            .body(Full::new(Bytes::from(json.unwrap_or_default())))
            .map_err(|error| Error::Broken(error.to_string()))?;
        let response = timeout(PATIENCE, sender.send_request(request)).await;
        let response =
            response.map_err(|_| Error::Broken("it takes too long".to_owned()))?.map_err(broken)?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let body = collect(response).await?;
        Err(match serde_json::from_slice::<Failure>(&body) {
            Ok(failure) if !failure.problems.is_empty() => Error::Problems { problems: failure.problems },
            Ok(failure) => Error::Refused(failure.error),
            Err(_) => Error::Broken(format!("{status}: {}", String::from_utf8_lossy(&body))),
        })
    }
}

/// The answer's value.
pub(super) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(body).map_err(|error| Error::Broken(format!("not what was expected: {error}")))
}

async fn collect(response: Response<Incoming>) -> Result<Vec<u8>, Error> {
    let body = response.into_body().collect().await.map_err(|error| Error::Broken(error.to_string()))?;
    Ok(body.to_bytes().to_vec())
}

/// One request is all the runtime is for.
fn block_on<T>(future: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Error::Failed(format!("no runtime: {error}")))?.block_on(future)
}
