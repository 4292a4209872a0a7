//! `GET /api/v1/capture`: packets as they pass the workers, as pcapng or as lines of JSON, for as long as they are read.
//!
//! On the control socket only: what is captured is other people's traffic.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::extract::rejection::QueryRejection;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use http_body_util::channel::{Channel, Sender};
use millrace_api::report::Captured;
use millrace_api::{CaptureOrder, Query, ReplyBody};
use serde::Deserialize;

use super::api::App;
use super::error::ApiError;
use super::pcapng;
use crate::runtime::Handle;

/// How often the dataplane is asked for what it has taken.
const PERIOD: Duration = Duration::from_millis(20);
/// Packets of one answer.
const PAGE: u32 = 256;
/// A reader that takes nothing for this long is gone.
const STALLED: Duration = Duration::from_secs(30);
/// Bytes of a frame: all there can be.
const SNAP: u32 = 4096;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Parameters {
    #[serde(default)]
    filter: String,
    interface: Option<String>,
    /// Some of rx, tx and drop, with commas; all where absent.
    points: Option<String>,
    snap: Option<u32>,
    #[serde(default)]
    trace: bool,
    /// Ends after so many packets.
    count: Option<u64>,
    #[serde(default)]
    format: Format,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Format {
    #[default]
    Pcapng,
    /// One `CapturedPacket` a line.
    Json,
}

fn order(parameters: &Parameters) -> Result<CaptureOrder, ApiError> {
    let mut order = CaptureOrder {
        filter: parameters.filter.clone(),
        interface: parameters.interface.clone(),
        rx: false,
        tx: false,
        drop: false,
        snap: parameters.snap.unwrap_or(SNAP),
        trace: parameters.trace,
    };
    for point in parameters.points.as_deref().unwrap_or("rx,tx,drop").split(',') {
        *match point {
            "rx" => &mut order.rx,
            "tx" => &mut order.tx,
            "drop" => &mut order.drop,
            other => {
                return Err(ApiError::BadRequest(format!(
                    "there is no point {other:?}; there are rx, tx and drop"
                )));
            }
        } = true;
    }
    Ok(order)
}

#[expect(clippy::wildcard_enum_match_arm, reason = "any other answer is that of another build")]
pub(super) async fn capture(
    State(app): State<Arc<App>>,
    parameters: Result<axum::extract::Query<Parameters>, QueryRejection>,
) -> Result<Response, ApiError> {
    let axum::extract::Query(parameters) =
        parameters.map_err(|rejection| ApiError::BadRequest(rejection.body_text()))?;
    let order = order(&parameters)?;
    let id = match app.handle().query(Query::CaptureStart(order)).await? {
        ReplyBody::CaptureStarted { id } => id,
        ReplyBody::Error { reason } => return Err(ApiError::BadRequest(reason)),
        _ => return Err(ApiError::Answer),
    };
    let (sender, body) = Channel::<Bytes, std::io::Error>::new(2);
    let left = parameters.count.unwrap_or(u64::MAX);
    let mut stream = Stream { format: parameters.format, left, writer: pcapng::Writer::default() };
    let handle = app.handle().clone();
    tokio::spawn(async move {
        stream.run(&handle, id, sender).await;
        // Without an answer the lease ends it.
        let _ = handle.query(Query::CaptureStop { id }).await;
    });
    let kind = match parameters.format {
        Format::Pcapng => "application/x-pcapng",
        Format::Json => "application/x-ndjson",
    };
    Ok(([(header::CONTENT_TYPE, kind)], Body::new(body)).into_response())
}

struct Stream {
    format: Format,
    /// Packets until the end.
    left: u64,
    writer: pcapng::Writer,
}

impl Stream {
    /// Until the count is reached, the reader is gone or the dataplane is.
    async fn run(&mut self, handle: &Handle, id: u64, mut sender: Sender<Bytes, std::io::Error>) {
        let begin = if self.format == Format::Pcapng { pcapng::Writer::begin() } else { Vec::new() };
        if !send(&mut sender, begin).await {
            return;
        }
        while 0 < self.left {
            let captured = match handle.query(Query::Captured { id, max: PAGE }).await {
                Ok(ReplyBody::Captured(captured)) => captured,
                Ok(ReplyBody::Error { reason }) => return sender.abort(std::io::Error::other(reason)),
                Ok(_) => return sender.abort(std::io::Error::other("another answer than was asked for")),
                Err(error) => return sender.abort(std::io::Error::other(error.to_string())),
            };
            let some = !captured.packets.is_empty();
            // An empty piece shows whether anybody still reads; without a reader the capture ends with its lease.
            if !send(&mut sender, self.encode(&captured)).await {
                return;
            }
            if !some {
                tokio::time::sleep(PERIOD).await;
            }
        }
    }

    fn encode(&mut self, captured: &Captured) -> Vec<u8> {
        let mut out = Vec::new();
        self.writer.missed(captured.missed);
        for packet in &captured.packets {
            if self.left == 0 {
                break;
            }
            match self.format {
                Format::Pcapng => out.extend(self.writer.packet(packet)),
                Format::Json => {
                    if serde_json::to_writer(&mut out, packet).is_ok() {
                        out.push(b'\n');
                    }
                }
            }
            self.left -= u64::from(packet.point != "verdict");
        }
        out
    }
}

/// False: the reader is gone.
async fn send(sender: &mut Sender<Bytes, std::io::Error>, bytes: Vec<u8>) -> bool {
    matches!(tokio::time::timeout(STALLED, sender.send_data(Bytes::from(bytes))).await, Ok(Ok(())))
}
