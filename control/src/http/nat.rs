//! What the paths under `/api/v1/nat` answer: all of it comes from the dataplane.

use std::net::Ipv4Addr;
use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::response::Response;
use axum::routing::{get, post};
use millrace_api as api;
use millrace_api::nat::{self, NatCursor, NatFilter};
use millrace_api::{NatQuestion, Query, ReplyBody};
use millrace_net::Prefix;
use serde::Deserialize;

use super::api::{Answer, App, Parameters, Shared, ask, parameters};
use super::error::ApiError;
use super::stream::{self, Pages};
use super::view;
use crate::runtime::Handle;

/// For everybody.
pub(super) fn reading() -> Router<Arc<App>> {
    Router::new()
        .route("/api/v1/nat/stats", get(stats))
        .route("/api/v1/nat/pools", get(pools))
        .route("/api/v1/nat/sessions", get(sessions))
        .route("/api/v1/nat/mappings", get(mappings))
        .route("/api/v1/nat/subscribers", get(subscribers))
        .route("/api/v1/nat/deterministic", get(deterministic))
}

/// For the control socket.
pub(super) fn changing() -> Router<Arc<App>> {
    Router::new().route("/api/v1/nat/clear", post(clear))
}

pub(super) async fn ask_stats(handle: &Handle) -> Result<nat::NatStats, ApiError> {
    ask(
        handle,
        Query::NatStats,
        |body| {
            if let ReplyBody::NatStats(stats) = body { Some(stats) } else { None }
        },
    )
    .await
}

pub(super) async fn ask_pools(handle: &Handle) -> Result<Vec<nat::NatPoolReport>, ApiError> {
    ask(
        handle,
        Query::NatPools,
        |body| {
            if let ReplyBody::NatPools(pools) = body { Some(pools) } else { None }
        },
    )
    .await
}

async fn stats(axum::extract::State(app): Shared) -> Answer<view::NatStats> {
    Ok(Json(ask_stats(app.handle()).await?.into()))
}

async fn pools(axum::extract::State(app): Shared) -> Answer<Vec<nat::NatPoolReport>> {
    Ok(Json(ask_pools(app.handle()).await?))
}

/// Which sessions or mappings.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Selection {
    protocol: Option<String>,
    inside: Option<Within>,
    inside_port: Option<u16>,
    outside: Option<Within>,
    outside_port: Option<u16>,
    remote: Option<Within>,
    remote_port: Option<u16>,
    limit: Option<usize>,
}

/// A prefix, or a single address without its length.
#[derive(Clone, Copy)]
struct Within(Prefix);

impl<'de> Deserialize<'de> for Within {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if let Ok(addr) = text.parse::<Ipv4Addr>() {
            return Ok(Self(Prefix::truncated(addr, 32)));
        }
        text.parse().map(Self).map_err(|error| serde::de::Error::custom(format!("{text:?}: {error}")))
    }
}

impl Selection {
    fn filter(&self) -> Result<NatFilter, ApiError> {
        let protocol = self.protocol.as_deref().map(|text| {
            protocol_number(text).ok_or_else(|| {
                ApiError::BadRequest(format!("protocol is tcp, udp, icmp or a number, not {text:?}"))
            })
        });
        Ok(NatFilter {
            protocol: protocol.transpose()?,
            inside: self.inside.map(|within| within.0),
            inside_port: self.inside_port,
            outside: self.outside.map(|within| within.0),
            outside_port: self.outside_port,
            remote: self.remote.map(|within| within.0),
            remote_port: self.remote_port,
        })
    }
}

fn protocol_number(text: &str) -> Option<u8> {
    match text {
        "icmp" => Some(1),
        "tcp" => Some(6),
        "udp" => Some(17),
        number => number.parse().ok(),
    }
}

/// Where the next page begins; none after the last.
struct Cursor(Option<NatCursor>);

impl Cursor {
    fn start() -> Self {
        Self(Some(NatCursor::default()))
    }
}

struct SessionPages {
    handle: Handle,
    filter: NatFilter,
    cursor: Cursor,
    /// Elements that are still wanted; a page of the dataplane's may be larger.
    left: usize,
}

impl Pages for SessionPages {
    type Item = nat::NatSession;

    async fn next(&mut self, limit: usize) -> Result<Vec<nat::NatSession>, ApiError> {
        // A page can be empty because of the filter although more follow.
        while let Some(from) = self.cursor.0 {
            let limit = u32::try_from(limit).unwrap_or(u32::MAX);
            let query = Query::NatSessions { filter: self.filter.clone(), from, limit };
            let page = ask(&self.handle, query, |body| {
                if let ReplyBody::NatSessions(page) = body { Some(page) } else { None }
            });
            let mut page = page.await?;
            self.cursor.0 = page.next;
            page.sessions.truncate(self.left);
            self.left -= page.sessions.len();
            if !page.sessions.is_empty() {
                return Ok(page.sessions);
            }
        }
        Ok(Vec::new())
    }
}

struct MappingPages {
    handle: Handle,
    filter: NatFilter,
    cursor: Cursor,
    /// Elements that are still wanted; a page of the dataplane's may be larger.
    left: usize,
}

impl Pages for MappingPages {
    type Item = nat::NatMapping;

    async fn next(&mut self, limit: usize) -> Result<Vec<nat::NatMapping>, ApiError> {
        while let Some(from) = self.cursor.0 {
            let limit = u32::try_from(limit).unwrap_or(u32::MAX);
            let query = Query::NatMappings { filter: self.filter.clone(), from, limit };
            let page = ask(&self.handle, query, |body| {
                if let ReplyBody::NatMappings(page) = body { Some(page) } else { None }
            });
            let mut page = page.await?;
            self.cursor.0 = page.next;
            page.mappings.truncate(self.left);
            self.left -= page.mappings.len();
            if !page.mappings.is_empty() {
                return Ok(page.mappings);
            }
        }
        Ok(Vec::new())
    }
}

async fn sessions(
    axum::extract::State(app): Shared,
    query: Parameters<Selection>,
) -> Result<Response, ApiError> {
    let selection = parameters(query)?;
    let pages = SessionPages {
        handle: app.handle().clone(),
        filter: selection.filter()?,
        cursor: Cursor::start(),
        left: selection.limit.unwrap_or(usize::MAX),
    };
    stream::array(pages, selection.limit).await
}

async fn mappings(
    axum::extract::State(app): Shared,
    query: Parameters<Selection>,
) -> Result<Response, ApiError> {
    let selection = parameters(query)?;
    let filter = selection.filter()?;
    if filter.remote.is_some() || filter.remote_port.is_some() {
        return Err(ApiError::BadRequest("a mapping has no remote endpoint; sessions do".to_owned()));
    }
    let pages = MappingPages {
        handle: app.handle().clone(),
        filter,
        cursor: Cursor::start(),
        left: selection.limit.unwrap_or(usize::MAX),
    };
    stream::array(pages, selection.limit).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Top {
    limit: Option<u32>,
}

/// Subscribers that are shown unless said otherwise.
const TOP: u32 = 10;

async fn subscribers(
    axum::extract::State(app): Shared,
    query: Parameters<Top>,
) -> Answer<Vec<nat::NatSubscriber>> {
    let limit = parameters(query)?.limit.unwrap_or(TOP);
    let subscribers = ask(app.handle(), Query::NatSubscribers { limit }, |body| {
        if let ReplyBody::NatSubscribers(subscribers) = body { Some(subscribers) } else { None }
    });
    Ok(Json(subscribers.await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Endpoint {
    inside: Option<Ipv4Addr>,
    outside: Option<Ipv4Addr>,
    port: Option<u16>,
}

async fn deterministic(
    axum::extract::State(app): Shared,
    query: Parameters<Endpoint>,
) -> Answer<Option<nat::NatDeterministic>> {
    let question = match parameters(query)? {
        Endpoint { inside: Some(inside), outside: None, port: None } => NatQuestion::Inside(inside),
        Endpoint { inside: None, outside: Some(outside), port: Some(port) } => {
            NatQuestion::Outside(outside, port)
        }
        Endpoint { .. } => {
            return Err(ApiError::BadRequest("either inside, or outside and port".to_owned()));
        }
    };
    let answer = ask(app.handle(), Query::NatDeterministic(question), |body| {
        if let ReplyBody::NatDeterministic(answer) = body { Some(answer) } else { None }
    });
    Ok(Json(answer.await?))
}

async fn clear(axum::extract::State(app): Shared, query: Parameters<Selection>) -> Answer<view::NatCleared> {
    let filter = parameters(query)?.filter()?;
    let cleared = ask(app.handle(), api::Query::NatClear { filter }, |body| {
        if let ReplyBody::NatCleared { sessions } = body { Some(sessions) } else { None }
    });
    Ok(Json(view::NatCleared { sessions: cleared.await? }))
}
