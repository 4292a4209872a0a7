//! What each path answers. `openapi.json` describes them; tests hold the two together.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, Request, State};
use axum::http::{Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http_body_util::BodyExt;
use millrace_api as api;
use millrace_api::{ReplyBody, report};
use millrace_net::Prefix;
use millrace_rib::Protocol;
use serde::Deserialize;
use tokio::sync::watch;
use tokio::time::Instant;

use super::advice;
use super::capture;
use super::commit::{self, Commits};
use super::error::ApiError;
use super::explain::Parameters as ExplainParameters;
use super::nat;
use super::stream::{self, Pages};
use super::view;
use crate::config::{self, Loaded};
use crate::metrics;
use crate::protocols::host::Sample;
use crate::protocols::{self, Reach};
use crate::runtime::Handle;
use crate::runtime::handle::{DataplaneAway, RouteFilter, RouteSelect, RouteView};

/// What every answer is made from.
pub(super) struct App {
    handle: Handle,
    commits: Commits,
    config_file: PathBuf,
    started: Instant,
    listener: watch::Receiver<view::Listener>,
}

impl App {
    pub(super) fn new(
        handle: Handle,
        commits: Commits,
        config_file: PathBuf,
        listener: watch::Receiver<view::Listener>,
    ) -> Self {
        Self { handle, commits, config_file, started: Instant::now(), listener }
    }

    pub(super) fn handle(&self) -> &Handle {
        &self.handle
    }
}

pub(super) type Shared = State<Arc<App>>;
pub(super) type Answer<T> = Result<Json<T>, ApiError>;

/// A configuration of some million lines fits.
const MAX_BODY: usize = 256 << 20;
const BODY_TIMEOUT: Duration = Duration::from_secs(60);
/// A dataplane that takes longer is stuck.
const QUERY_TIMEOUT: Duration = Duration::from_secs(10);

/// Everything: for the control socket, whose file mode says who may.
pub(super) fn local(app: Arc<App>) -> Router {
    reading()
        .route("/api/v1/capture", get(capture::capture))
        .route("/api/v1/apply", post(apply))
        .route("/api/v1/diff", post(diff))
        .route("/api/v1/confirm", post(confirm))
        .route("/api/v1/rollback", post(rollback))
        .merge(nat::changing())
        .route("/api/v1/bgp/clear", post(act))
        .fallback(not_found)
        .method_not_allowed_fallback(wrong_method)
        .with_state(app)
}

/// What anybody may see who reaches the address.
pub(super) fn remote(app: Arc<App>) -> Router {
    reading()
        .fallback(not_found)
        .method_not_allowed_fallback(wrong_method)
        .layer(axum::middleware::from_fn(read_only))
        .with_state(app)
}

fn reading() -> Router<Arc<App>> {
    let mut protocols = Router::new();
    for row in protocols::ROWS {
        let views = std::iter::once(String::new()).chain(row.views.iter().map(|view| format!("/{view}")));
        for view in views {
            protocols = protocols.route(&format!("/api/v1/{}{view}", row.name), get(protocol));
        }
    }
    protocols
        .route("/", get(dashboard))
        .route("/metrics", get(prometheus))
        .route("/api/v1/version", get(version))
        .route("/api/v1/status", get(status))
        .route("/api/v1/config", get(configuration))
        .route("/api/v1/interfaces", get(interfaces))
        .route("/api/v1/routes", get(routes))
        .route("/api/v1/fib", get(fib))
        .route("/api/v1/fib/routes", get(fib_routes))
        .route("/api/v1/nexthops", get(nexthops))
        .route("/api/v1/neighbors", get(neighbors))
        .route("/api/v1/bfd", get(bfd))
        .route("/api/v1/acls", get(acls))
        .route("/api/v1/explain", get(explain))
        .route("/api/v1/counters", get(counters))
        .route("/api/v1/drops", get(drops))
        .route("/api/v1/workers", get(workers))
        .route("/api/v1/policy", get(policy))
        .route("/api/v1/openapi.json", get(openapi))
        .merge(nat::reading())
}

async fn read_only(request: Request, next: axum::middleware::Next) -> Response {
    if request.method().is_safe() { next.run(request).await } else { ApiError::ReadOnly.into_response() }
}

async fn not_found(uri: Uri) -> ApiError {
    ApiError::NotFound(uri.path().to_owned())
}

async fn wrong_method() -> ApiError {
    ApiError::WrongMethod
}

/// What comes of a future, unless it takes too long.
async fn within<T, E: Into<ApiError>>(future: impl Future<Output = Result<T, E>>) -> Result<T, ApiError> {
    let limit = ApiError::Timeout(QUERY_TIMEOUT.as_secs());
    tokio::time::timeout(QUERY_TIMEOUT, future).await.map_err(|_| limit)?.map_err(Into::into)
}

/// Asks the dataplane, and takes the one kind of answer that fits.
pub(super) async fn ask<T>(
    handle: &Handle,
    query: api::Query,
    take: fn(ReplyBody) -> Option<T>,
) -> Result<T, ApiError> {
    take(within(handle.query(query)).await?).ok_or(ApiError::Answer)
}

macro_rules! taking {
    ($($function:ident: $variant:ident -> $type:ty;)*) => {
        /// The content of one kind of reply.
        mod take {
            use super::*;
            $(
                pub(super) fn $function(body: ReplyBody) -> Option<$type> {
                    match body {
                        ReplyBody::$variant(content) => Some(content),
                        _ => None,
                    }
                }
            )*
        }
    };
}

taking! {
    interfaces: Interfaces -> Vec<report::Interface>;
    counters: Counters -> report::Counters;
    workers: Workers -> Vec<report::Worker>;
    neighbors: Neighbors -> Vec<report::Neighbor>;
    nexthops: Nexthops -> Vec<report::Nexthop>;
    acls: Acls -> Vec<report::AclHits>;
    explained: Explained -> Box<report::Explanation>;
    fib: Fib -> report::Fib;
    fib_routes: FibRoutes -> Vec<report::FibRoute>;
}

/// OpenAPI 3.1.
pub(super) const OPENAPI: &str = include_str!("openapi.json");

async fn openapi() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], OPENAPI).into_response()
}

/// For a person with a browser. It may load nothing from elsewhere.
async fn dashboard() -> Response {
    const POLICY: &str = "default-src 'none'; connect-src 'self'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; frame-ancestors 'none'";
    let headers =
        [(header::CONTENT_TYPE, "text/html; charset=utf-8"), (header::CONTENT_SECURITY_POLICY, POLICY)];
    (headers, include_str!("dashboard.html")).into_response()
}

async fn prometheus(State(app): Shared) -> Result<Response, ApiError> {
    let handle = &app.handle;
    let scrape = metrics::Scrape {
        version: env!("CARGO_PKG_VERSION"),
        config: handle.config(),
        status: within(handle.status()).await?,
        interfaces: ask(handle, api::Query::Interfaces, take::interfaces).await.ok(),
        counters: ask(handle, api::Query::Counters, take::counters).await.ok(),
        acls: ask(handle, api::Query::Acls, take::acls).await.ok(),
        workers: ask(handle, api::Query::Workers, take::workers).await.ok(),
        fib: ask(handle, api::Query::Fib { address: None }, take::fib).await.ok(),
        nat: nat::ask_stats(handle).await.ok().filter(|stats| stats.configured),
        nat_pools: nat::ask_pools(handle).await.unwrap_or_default(),
        process: metrics::Process::own(),
        protocols: samples(handle).await?,
        bfd: within(handle.bfd()).await?.into(),
    };
    let content_type = "text/plain; version=0.0.4; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, content_type)], metrics::render(&scrape)).into_response())
}

/// What the routing protocols count.
async fn samples(handle: &Handle) -> Result<Vec<Sample>, ApiError> {
    let mut samples = Vec::new();
    for reach in within(handle.protocols()).await? {
        samples.extend(reach.metrics().await);
    }
    Ok(samples)
}

async fn version(State(app): Shared) -> Answer<view::Version> {
    let status = within(app.handle.status()).await?;
    Ok(Json(view::Version {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        name: app.handle.config().router.name.clone(),
        api: api::VERSION,
        control_pid: std::process::id(),
        uptime_seconds: app.started.elapsed().as_secs(),
        dataplane: view::Dataplane {
            connected: status.dataplane.connected,
            build: status.dataplane.build,
            pid: status.dataplane.pid,
            problem: status.dataplane.problem,
        },
        kernel: std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned(),
    }))
}

async fn status(State(app): Shared) -> Answer<view::Status> {
    let http = app.listener.borrow().clone();
    Ok(Json(view::Status {
        uptime_seconds: app.started.elapsed().as_secs(),
        config_file: app.config_file.display().to_string(),
        http,
        confirm: app.commits.pending().await,
        runtime: within(app.handle.status()).await?,
    }))
}

async fn bfd(State(app): Shared) -> Answer<view::Bfd> {
    Ok(Json(within(app.handle.bfd()).await?.into()))
}

async fn configuration(State(app): Shared) -> Answer<view::Config> {
    Ok(Json(view::Config {
        file: app.config_file.display().to_string(),
        toml: app.handle.config().without_secrets(),
        confirm: app.commits.pending().await,
    }))
}

async fn interfaces(State(app): Shared) -> Answer<Vec<view::Interface>> {
    let status = within(app.handle.status()).await?;
    let reports = ask(&app.handle, api::Query::Interfaces, take::interfaces).await;
    let away = reports.as_ref().err().map(ToString::to_string);
    let config = app.handle.config();
    let views = config.interfaces.iter().map(|configured| {
        let known = status.interfaces.iter().find(|known| known.name == configured.name);
        let report = match (&reports, &away) {
            (Ok(reports), _) => reports
                .iter()
                .find(|report| report.name == configured.name)
                .ok_or("the dataplane has not taken the interface into service yet"),
            (Err(_), away) => Err(away.as_deref().unwrap_or_default()),
        };
        view::Interface::new(configured, known, report)
    });
    Ok(Json(views.collect()))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RouteParameters {
    prefix: Option<Prefix>,
    within: Option<Prefix>,
    address: Option<Ipv4Addr>,
    protocol: Option<Protocol>,
    after: Option<Prefix>,
    limit: Option<usize>,
}

pub(super) type Parameters<T> = Result<Query<T>, QueryRejection>;

pub(super) fn parameters<T>(parameters: Parameters<T>) -> Result<T, ApiError> {
    parameters.map(|Query(parameters)| parameters).map_err(|error| ApiError::BadRequest(error.body_text()))
}

async fn routes(State(app): Shared, query: Parameters<RouteParameters>) -> Result<Response, ApiError> {
    let query = parameters(query)?;
    let select = match (query.prefix, query.within, query.address) {
        (None, None, None) => RouteSelect::All,
        (Some(prefix), None, None) => RouteSelect::Exact(prefix),
        (None, Some(prefix), None) => RouteSelect::Within(prefix),
        (None, None, Some(address)) => RouteSelect::Match(address),
        _ => return Err(ApiError::BadRequest("prefix, within and address exclude each other".to_owned())),
    };
    let filter = RouteFilter { select, protocol: query.protocol };
    let pages = RoutePages { handle: app.handle.clone(), filter, after: query.after, end: false };
    stream::array(pages, query.limit).await
}

struct RoutePages {
    handle: Handle,
    filter: RouteFilter,
    after: Option<Prefix>,
    end: bool,
}

impl Pages for RoutePages {
    type Item = RouteView;

    async fn next(&mut self, limit: usize) -> Result<Vec<RouteView>, ApiError> {
        // A page can be empty because of the filter although more follow.
        while !self.end {
            let page = within(self.handle.routes(self.filter, self.after, limit)).await?;
            self.end = page.next.is_none();
            self.after = page.next;
            if !page.routes.is_empty() {
                return Ok(page.routes);
            }
        }
        Ok(Vec::new())
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FibParameters {
    address: Option<Ipv4Addr>,
}

async fn fib(State(app): Shared, query: Parameters<FibParameters>) -> Answer<view::Fib> {
    let FibParameters { address } = parameters(query)?;
    let dataplane = ask(&app.handle, api::Query::Fib { address }, take::fib).await?;
    Ok(Json(view::Fib { dataplane, control: within(app.handle.status()).await?.fib }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PageParameters {
    after: Option<Prefix>,
    limit: Option<usize>,
}

async fn fib_routes(State(app): Shared, query: Parameters<PageParameters>) -> Result<Response, ApiError> {
    let query = parameters(query)?;
    stream::array(FibPages { handle: app.handle.clone(), after: query.after }, query.limit).await
}

struct FibPages {
    handle: Handle,
    after: Option<Prefix>,
}

impl Pages for FibPages {
    type Item = report::FibRoute;

    async fn next(&mut self, limit: usize) -> Result<Vec<report::FibRoute>, ApiError> {
        let limit = u32::try_from(limit).unwrap_or(u32::MAX);
        let page =
            ask(&self.handle, api::Query::FibRoutes { after: self.after, limit }, take::fib_routes).await?;
        self.after = page.last().map(|route| route.prefix).or(self.after);
        Ok(page)
    }
}

async fn nexthops(State(app): Shared) -> Answer<Vec<view::Nexthop>> {
    let groups = within(app.handle.nexthops()).await?;
    let mut reports = ask(&app.handle, api::Query::Nexthops, take::nexthops).await.unwrap_or_default();
    reports.sort_by_key(|report| report.id);
    let views = groups.into_iter().map(|group| {
        let at = reports.binary_search_by_key(&group.id, |report| report.id);
        view::Nexthop { dataplane: at.ok().map(|at| reports[at].clone()), group }
    });
    Ok(Json(views.collect()))
}

async fn neighbors(State(app): Shared) -> Answer<Vec<report::Neighbor>> {
    let mut neighbors = ask(&app.handle, api::Query::Neighbors, take::neighbors).await?;
    neighbors.sort_by(|a, b| (&a.interface, a.address).cmp(&(&b.interface, b.address)));
    Ok(Json(neighbors))
}

async fn explain(State(app): Shared, query: Parameters<ExplainParameters>) -> Answer<report::Explanation> {
    let question = parameters(query)?.question().map_err(ApiError::BadRequest)?;
    let answer = within(app.handle.query(api::Query::Explain(question))).await;
    // The dataplane is there, and has nothing to say to this question.
    if let Err(ApiError::Dataplane(DataplaneAway::Refused(why))) = answer {
        return Err(ApiError::BadRequest(why));
    }
    take::explained(answer?).map(|said| Json(*said)).ok_or(ApiError::Answer)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AclParameters {
    name: Option<String>,
}

async fn acls(State(app): Shared, query: Parameters<AclParameters>) -> Answer<Vec<view::Acl>> {
    let AclParameters { name } = parameters(query)?;
    let reports = ask(&app.handle, api::Query::Acls, take::acls).await?;
    let config = app.handle.config();
    let hits = |acl: &api::Acl| reports.iter().find(|report| report.name == acl.name);
    let wanted = config.acls.iter().filter(|acl| name.as_ref().is_none_or(|name| acl.name == *name));
    Ok(Json(wanted.map(|acl| view::Acl::new(&config, acl, hits(acl))).collect()))
}

async fn counters(State(app): Shared) -> Answer<view::Counters> {
    Ok(Json(ask(&app.handle, api::Query::Counters, take::counters).await?.into()))
}

async fn drops(State(app): Shared) -> Answer<Vec<view::Drop>> {
    let counters = ask(&app.handle, api::Query::Counters, take::counters).await?;
    Ok(Json(counters.drops.into_iter().map(|(reason, packets)| advice::drop(reason, packets)).collect()))
}

async fn workers(State(app): Shared) -> Answer<Vec<report::Worker>> {
    Ok(Json(ask(&app.handle, api::Query::Workers, take::workers).await?))
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct ApplyParameters {
    /// Seconds until it is taken back unless it is confirmed.
    confirm: Option<u64>,
}

async fn apply(
    State(app): Shared,
    query: Parameters<ApplyParameters>,
    request: Request,
) -> Answer<view::Applied> {
    let ApplyParameters { confirm } = parameters(query)?;
    let loaded = posted(&app, request).await?;
    let before = app.handle.config();
    let result = match confirm {
        Some(seconds) => app.commits.apply_on_probation(loaded.config.clone(), seconds).await?,
        None => app.commits.apply(loaded.config.clone()).await?,
    };
    let confirm = app.commits.pending().await;
    Ok(Json(commit::applied(&before, &loaded, Some(result), confirm, &app.config_file)))
}

async fn diff(State(app): Shared, request: Request) -> Answer<view::Applied> {
    let loaded = posted(&app, request).await?;
    let confirm = app.commits.pending().await;
    Ok(Json(commit::applied(&app.handle.config(), &loaded, None, confirm, &app.config_file)))
}

async fn confirm(State(app): Shared) -> Answer<view::Applied> {
    app.commits.confirm().await?;
    let config = app.handle.config();
    let loaded = Loaded { config: config::Config::clone(&config), warnings: Vec::new() };
    Ok(Json(commit::applied(&config, &loaded, None, None, &app.config_file)))
}

async fn rollback(State(app): Shared) -> Answer<view::Applied> {
    let (before, target, report) = app.commits.rollback().await?;
    let loaded = Loaded { config: config::Config::clone(&target), warnings: Vec::new() };
    Ok(Json(commit::applied(&before, &loaded, Some(report), None, &app.config_file)))
}

async fn policy(State(app): Shared) -> Json<view::Policy> {
    Json(view::Policy::new(&app.handle.config().policy))
}

/// A view of a routing protocol: `/api/v1/NAME` or `/api/v1/NAME/VIEW`; the protocol takes the parameters.
async fn protocol(
    State(app): Shared,
    uri: Uri,
    query: Parameters<BTreeMap<String, String>>,
) -> Answer<serde_json::Value> {
    let path = uri.path().strip_prefix("/api/v1/").unwrap_or_default();
    let (name, what) = path.split_once('/').unwrap_or((path, ""));
    let query = protocols::host::Query { what: what.to_owned(), parameters: parameters(query)? };
    Ok(Json(within(reach(&app.handle, name).await?.show(query)).await?))
}

/// An order to a routing protocol: `/api/v1/NAME/ORDER`.
async fn act(
    State(app): Shared,
    uri: Uri,
    query: Parameters<BTreeMap<String, String>>,
) -> Answer<serde_json::Value> {
    let path = uri.path().strip_prefix("/api/v1/").unwrap_or_default();
    let (name, what) = path.split_once('/').unwrap_or((path, ""));
    let query = protocols::host::Query { what: what.to_owned(), parameters: parameters(query)? };
    Ok(Json(within(reach(&app.handle, name).await?.act(query)).await?))
}

/// The running protocol of this name.
async fn reach(handle: &Handle, name: &str) -> Result<Reach, ApiError> {
    let row = protocols::ROWS.iter().find(|row| row.name == name);
    let row = row.ok_or_else(|| ApiError::NotFound(name.to_owned()))?;
    let running = within(handle.protocols()).await?.into_iter().find(|reach| reach.row.name == name);
    running.ok_or(ApiError::NotRunning(row.name))
}

/// `{"file": "/absolute/path"}`: the configuration is read from there.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    file: PathBuf,
}

/// The configuration a request brings: the text itself, or the name of a file.
async fn posted(app: &App, request: Request) -> Result<Loaded, ApiError> {
    let json =
        request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).is_some_and(
            |value| value.split(';').next().is_some_and(|kind| kind.trim() == "application/json"),
        );
    let body = body(request.into_body()).await?;
    let path = if json {
        let File { file } = serde_json::from_slice(&body)
            .map_err(|error| ApiError::BadRequest(format!("not {{\"file\": \"/path\"}}: {error}")))?;
        if !file.is_absolute() {
            return Err(ApiError::BadRequest(format!("{} is not an absolute path", file.display())));
        }
        Some(file)
    } else {
        None
    };
    // Relative names in a text that has no place of its own are looked up where the configuration is.
    let beside = app.config_file.parent().unwrap_or(Path::new("/")).join("request");
    let read = move || match path {
        Some(path) => config::load(&path),
        None => config::parse_bytes(body.into(), &beside),
    };
    // A million routes take a moment: not on a thread that others need.
    Ok(tokio::task::spawn_blocking(read)
        .await
        .map_err(|_| ApiError::Stopped(crate::runtime::handle::Stopped))??)
}

async fn body(mut body: Body) -> Result<Bytes, ApiError> {
    let collect = async {
        let mut collected = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| ApiError::BadRequest(error.to_string()))?;
            collected.extend_from_slice(frame.data_ref().map_or(&[], |data| &data[..]));
            if MAX_BODY < collected.len() {
                return Err(ApiError::TooLarge(MAX_BODY));
            }
        }
        Ok(Bytes::from(collected))
    };
    tokio::time::timeout(BODY_TIMEOUT, collect).await.map_err(|_| ApiError::TooSlow)?
}
