//! Long tables as JSON arrays that are made while they are sent: a page in memory, never the table.

use std::future::Future;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use http_body_util::channel::{Channel, Sender};
use serde::Serialize;

use super::error::ApiError;

/// Elements that are asked for at once.
pub(super) const PAGE: usize = 4096;
/// A reader that takes nothing for this long is gone.
const STALLED: Duration = Duration::from_secs(30);

/// Where the pages come from.
pub(super) trait Pages: Send + 'static {
    type Item: Serialize + Send;

    /// The next page, of about `limit` elements; empty at the end.
    fn next(&mut self, limit: usize) -> impl Future<Output = Result<Vec<Self::Item>, ApiError>> + Send;
}

/// The whole of it, or the first `limit` elements and what belongs to the last of them.
pub(super) async fn array<P: Pages>(mut pages: P, limit: Option<usize>) -> Result<Response, ApiError> {
    let mut left = limit.unwrap_or(usize::MAX);
    // What goes wrong at once is an answer of its own; what goes wrong later breaks the array off.
    let first = if left == 0 { Vec::new() } else { pages.next(left.min(PAGE)).await? };
    let (mut sender, body) = Channel::<Bytes, std::io::Error>::new(2);
    tokio::spawn(async move {
        let mut separator = "[";
        let mut page = first;
        loop {
            let end = page.is_empty();
            left = left.saturating_sub(page.len());
            let mut text = Vec::with_capacity(page.len() * 256);
            for item in &page {
                text.extend_from_slice(separator.as_bytes());
                separator = ",\n";
                if let Err(error) = serde_json::to_writer(&mut text, item) {
                    return sender.abort(std::io::Error::other(error));
                }
            }
            let last = end || left == 0;
            if last {
                text.extend_from_slice(if separator == "[" { b"[]\n" } else { b"]\n" });
            }
            if !send(&mut sender, text).await || last {
                return;
            }
            page = match pages.next(left.min(PAGE)).await {
                Ok(page) => page,
                Err(error) => return sender.abort(std::io::Error::other(error.to_string())),
            };
        }
    });
    Ok(([(header::CONTENT_TYPE, "application/json")], Body::new(body)).into_response())
}

/// False: the reader is gone.
async fn send(sender: &mut Sender<Bytes, std::io::Error>, text: Vec<u8>) -> bool {
    matches!(tokio::time::timeout(STALLED, sender.send_data(Bytes::from(text))).await, Ok(Ok(())))
}
