//! What a protocol brings so that the [driver](super) can run its machine.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use millrace_bfd as bfd;
use millrace_net::Prefix;
use millrace_policy as policy;
use millrace_proto::{IfIndex, Instant, Interface, InterfaceEvent, Machine, RouteChange, WallClock};
use millrace_rib::Protocol;
use serde::Serialize;
use tokio::sync::mpsc;

use crate::bfd::Watcher;
use crate::config::Config;

/// A machine's inputs.
pub type Input<H> = <<H as Hosted>::Machine as Machine>::Input;
/// A machine's outputs.
pub type Output<H> = <<H as Hosted>::Machine as Machine>::Output;

/// One protocol's dealings with the world. Nothing here waits: sockets are read by tasks that put inputs into
/// [`Cx::inbox`], and written at once or not at all.
pub trait Hosted: Send + Sized + 'static {
    type Machine: Machine<Input: Serialize + Send + 'static, Output: Send + 'static> + Send + 'static;

    /// Of its section in the file.
    const NAME: &'static str;

    fn machine(seed: u64) -> Self::Machine;

    fn clock(clock: WallClock) -> Input<Self>;

    fn interface(event: InterfaceEvent) -> Input<Self>;

    /// What brings the machine in line with a configuration that has its section. Whole states: the machine compares.
    fn configure(&mut self, config: &Config) -> Vec<Input<Self>>;

    /// A route of another protocol that policy lets pass, with the changes policy made. Whole states.
    fn announce(&mut self, route: Announcement) -> Option<Input<Self>>;

    /// What was announced, or was not, is not to be announced.
    fn withdraw(&mut self, prefix: Prefix) -> Option<Input<Self>>;

    /// How far a next hop is that it follows; None: nothing leads there.
    fn next_hop(_address: Ipv4Addr, _metric: Option<u32>) -> Option<Input<Self>> {
        None
    }

    /// The dataplane has all routes up to this mark.
    fn installed(_mark: u64) -> Option<Input<Self>> {
        None
    }

    /// Carries out what the machine asks for.
    fn carry_out(&mut self, output: Output<Self>, cx: &mut Cx<'_, Input<Self>>);

    /// As whom it watches neighbours by BFD ([`Cx::watcher`]), if it does.
    const BFD: Option<bfd::Client> = None;

    /// What a change of a session it watches means for the machine.
    fn session(_change: &bfd::Change) -> Option<Input<Self>> {
        None
    }

    /// From time to time, for what has to be tried again.
    fn look_after(&mut self, _cx: &mut Cx<'_, Input<Self>>) {}

    /// The state for `show` and the API; `query.what` is empty or one of the row's views.
    fn show(
        &self,
        machine: &Self::Machine,
        query: &Query,
        seen: &Seen<'_>,
    ) -> Result<serde_json::Value, Refusal>;

    /// An order of the operator, such as `clear`: the inputs that carry it out, and the answer.
    fn act(
        &mut self,
        _machine: &Self::Machine,
        query: &Query,
    ) -> Result<(Vec<Input<Self>>, serde_json::Value), Refusal> {
        Err(Refusal::NotFound(query.what.clone()))
    }

    fn metrics(&self, machine: &Self::Machine, seen: &Seen<'_>) -> Vec<Sample>;

    /// The last input, before the process or the protocol ends.
    fn farewell() -> Option<Input<Self>>;
}

/// A route of another protocol on its way into this one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Announcement {
    /// As policy left it. `route.next_hop` is where this router sends packets for it, if that is one router.
    pub route: policy::Route,
    /// Whether `route.metric` was set on the way (by the redistribution or its policy); otherwise it is the metric of the
    /// protocol the route comes from, which means nothing in another.
    pub metric_set: bool,
    /// As the redistribution has it, for OSPF.
    pub external: Option<millrace_ospf::config::ExternalKind>,
}

/// What is known around a view.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    pub now: Instant,
    pub interfaces: &'a BTreeMap<IfIndex, Interface>,
}

impl Seen<'_> {
    /// `if7` where the interface is gone.
    pub fn name(&self, index: IfIndex) -> String {
        self.interfaces.get(&index).map_or_else(|| format!("if{index}"), |interface| interface.name.clone())
    }
}

/// What a host may do while it carries something out.
#[derive(Debug)]
pub struct Cx<'a, I> {
    /// Where socket tasks put what they receive. Bounded: what does not fit waits in the kernel.
    pub inbox: &'a mpsc::Sender<I>,
    pub interfaces: &'a BTreeMap<IfIndex, Interface>,
    pub now: Instant,
    /// Watches neighbours by BFD; none unless [`Hosted::BFD`] says as whom.
    pub watcher: Option<&'a Watcher>,
    pub(super) changes: &'a mut Vec<Change>,
    pub(super) mark: &'a mut Option<u64>,
    pub(super) tracks: &'a mut Vec<(Ipv4Addr, bool)>,
}

impl<I> Cx<'_, I> {
    /// Tells the routing table. The candidates of the row's other protocols for that prefix go.
    pub fn route(&mut self, protocol: Protocol, change: RouteChange) {
        self.changes.push(Change { protocol, change });
    }

    /// Asks to be told, by [`Hosted::installed`], when the dataplane has all routes so far.
    pub fn mark(&mut self, mark: u64) {
        *self.mark = Some(mark);
    }

    /// Asks to be told, by [`Hosted::next_hop`], how far a gateway is; or not any longer.
    pub fn track(&mut self, gateway: Ipv4Addr, wanted: bool) {
        self.tracks.push((gateway, wanted));
    }
}

/// A change of the routing table, and whose it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    pub protocol: Protocol,
    pub change: RouteChange,
}

/// What `show` or an order is about.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Query {
    pub what: String,
    /// Of the request's query string.
    pub parameters: BTreeMap<String, String>,
}

impl Query {
    /// A parameter that is an address; None where it is not given.
    pub fn address(&self, name: &str) -> Result<Option<Ipv4Addr>, Refusal> {
        self.parsed(name, "an IPv4 address")
    }

    /// A parameter of any type that is read from text.
    pub fn parsed<T: std::str::FromStr>(&self, name: &str, expected: &str) -> Result<Option<T>, Refusal> {
        let Some(text) = self.parameters.get(name) else { return Ok(None) };
        let bad = |_| Refusal::BadRequest(format!("{name} cannot be {text:?}: expected {expected}"));
        text.parse().map(Some).map_err(bad)
    }
}

/// Why there is no answer.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    #[error("there is no {0:?} here")]
    NotFound(String),
    #[error("{0}")]
    BadRequest(String),
    #[error("the protocol is ending")]
    Ending,
}

/// A view as JSON.
pub fn json(view: impl Serialize) -> Result<serde_json::Value, Refusal> {
    serde_json::to_value(view).map_err(|error| Refusal::BadRequest(error.to_string()))
}

/// One value of a metric of the table in [`crate::metrics`].
#[derive(Clone, PartialEq, Debug)]
pub struct Sample {
    pub metric: &'static str,
    /// In the order of the table.
    pub labels: Vec<String>,
    pub value: f64,
}

impl Sample {
    #[expect(clippy::cast_precision_loss, reason = "Prometheus values are doubles")]
    pub fn count(metric: &'static str, labels: &[&str], value: u64) -> Self {
        Self { metric, labels: labels.iter().map(|&label| label.to_owned()).collect(), value: value as f64 }
    }
}
