//! What is between this process and one dataplane: who is to speak, what is unanswered, what was refused.
//!
//! ```text
//!   Away ──connected──▶ Greeting ──Hello──▶ Configuring ──▶ Numbering ──▶ Resync: begin, groups, routes, end ──▶ Live
//!    ▲                                          │ refused: waits for another configuration             │
//!    └──────────────────────────── connection lost, from anywhere ─────────────────────────────────────┘
//! ```
//! While a resync runs the table is not drained, so that what is told stands still. At most [`WINDOW`] batches are
//! unanswered at a time.

use std::collections::{BTreeMap, HashSet, VecDeque};

use millrace_api::{self as api, Op, Query, ReplyBody, RequestBody};
use millrace_net::Prefix;
use millrace_rib::{Delta, GroupId, Rib};
use tokio::sync::oneshot;

use super::audit::{self, Audit};
use super::handle::{DataplaneAway, DataplaneStatus, FibStatus, RefusalView, SyncState};
use crate::fib_client::{Connection, Numbers};

/// Operations in a batch.
pub(super) const BATCH: usize = 4096;
/// Batches without an answer.
const WINDOW: usize = 8;
/// Refusals that are shown.
const SHOWN: usize = 16;

type Answer = oneshot::Sender<Result<ReplyBody, DataplaneAway>>;

#[derive(Debug)]
pub(super) struct Session {
    state: State,
    config: api::DataplaneConfig,
    numbers: Numbers,
    generation: u64,
    acked: u64,
    /// What the dataplane does not have because it would not take it.
    refused: BTreeMap<Subject, api::RefusalReason>,
    refused_total: u64,
    resyncs: u64,
    swept: u64,
    connects: u64,
    restart: Vec<String>,
    /// Whether what a dataplane holds from before, and is not mentioned in a resync, may go.
    sweeps: bool,
    /// Whether the dataplane held anything when it was connected.
    held: bool,
    pub(super) audit: Audit,
}

#[derive(Debug)]
enum State {
    Away { problem: String },
    Up(Box<Up>),
}

#[derive(Debug)]
struct Up {
    connection: Connection,
    instance: u64,
    pid: u32,
    build: String,
    phase: Phase,
    /// What has not been answered, in the order it was asked.
    unanswered: VecDeque<(u32, Asked)>,
    /// Why it is connected and yet not in use.
    problem: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Greeting,
    Configuring,
    /// Finding group numbers that mean nothing yet.
    Numbering,
    /// Sending all groups behind the first and then all routes behind the second.
    Resync {
        generation: u64,
        cursor: Cursor,
    },
    Live,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Cursor {
    Groups(Option<GroupId>),
    Routes(Option<Prefix>),
    /// Everything is sent; what was not mentioned is kept until protocols have had their time. Changes are told as always.
    Kept,
    /// Everything is sent; the end is not answered yet.
    End,
}

#[derive(Debug)]
enum Asked {
    Hello,
    Configure(Option<oneshot::Sender<Result<Vec<String>, String>>>),
    /// Which group numbers it holds from before.
    Numbers,
    Begin,
    Batch(Vec<Op>),
    End,
    Query(Answer),
    Audit,
}

/// What an operation is about.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) enum Subject {
    Group(GroupId),
    Route(Prefix),
}

impl Session {
    pub(super) fn new(config: api::DataplaneConfig) -> Self {
        Self {
            state: State::Away { problem: "not connected yet".to_owned() },
            config,
            numbers: Numbers::default(),
            generation: 0,
            acked: 0,
            refused: BTreeMap::new(),
            refused_total: 0,
            resyncs: 0,
            swept: 0,
            connects: 0,
            restart: Vec::new(),
            sweeps: false,
            held: false,
            audit: Audit::default(),
        }
    }

    pub(super) fn connected(&mut self, mut connection: Connection) {
        let hello = connection.send(RequestBody::Hello { version: api::VERSION });
        let mut up = Up {
            connection,
            instance: 0,
            pid: 0,
            build: String::new(),
            phase: Phase::Greeting,
            unanswered: VecDeque::new(),
            problem: None,
        };
        match hello {
            Ok(seq) => up.unanswered.push_back((seq, Asked::Hello)),
            Err(error) => up.problem = Some(error.to_string()),
        }
        self.connects += 1;
        self.state = State::Up(Box::new(up));
    }

    pub(super) fn unreachable(&mut self, problem: String) {
        if let State::Away { problem: known } = &mut self.state {
            *known = problem;
        }
    }

    /// Whether there is a connection on which the dataplane has said nothing yet.
    pub(super) fn is_greeting(&self) -> bool {
        matches!(&self.state, State::Up(up) if up.phase == Phase::Greeting)
    }

    /// The connection is gone. Whoever waits for an answer is told.
    pub(super) fn lost(&mut self, reason: String) {
        self.audit.abandon();
        self.refused.clear();
        let before = std::mem::replace(&mut self.state, State::Away { problem: reason });
        if let State::Up(up) = before {
            for (_, asked) in up.unanswered {
                if let Asked::Query(answer) = asked {
                    // Nobody may be waiting any more.
                    let _ = answer.send(Err(DataplaneAway::Lost));
                }
            }
        }
    }

    /// The configuration to be in force, and where to say what the dataplane makes of it. Without a dataplane it is taken
    /// without asking.
    pub(super) fn configure(
        &mut self,
        config: api::DataplaneConfig,
        answer: oneshot::Sender<Result<Vec<String>, String>>,
    ) {
        match &mut self.state {
            State::Up(up) if up.phase != Phase::Greeting => {
                self.config = config.clone();
                if let Some(error) =
                    up.ask(RequestBody::Configure(Box::new(config)), Asked::Configure(Some(answer)))
                {
                    up.problem = Some(error);
                }
            }
            State::Up(_) | State::Away { .. } => {
                self.config = config;
                let _ = answer.send(Ok(Vec::new()));
            }
        }
    }

    /// Back to the configuration before, after the dataplane refused one.
    pub(super) fn restore(&mut self, config: api::DataplaneConfig) {
        self.config = config;
    }

    pub(super) fn query(&mut self, query: Query, answer: Answer) {
        match &mut self.state {
            State::Up(up) if up.phase != Phase::Greeting => {
                up.ask(RequestBody::Query(query), Asked::Query(answer));
            }
            State::Up(_) => {
                let _ = answer.send(Err(DataplaneAway::NotConnected("it has not answered yet".to_owned())));
            }
            State::Away { problem } => {
                let _ = answer.send(Err(DataplaneAway::NotConnected(problem.clone())));
            }
        }
    }

    pub(super) fn is_up(&self) -> bool {
        matches!(self.state, State::Up(_))
    }

    /// Whether changes of the table may be drained: there is nobody to tell, or the dataplane can take more.
    pub(super) fn takes_deltas(&self) -> bool {
        match &self.state {
            State::Away { .. } => true,
            State::Up(up) => match up.phase {
                Phase::Live | Phase::Resync { cursor: Cursor::Kept, .. } => up.has_room(),
                // The table the dataplane will be told has not begun to be told.
                Phase::Greeting | Phase::Configuring | Phase::Numbering => true,
                Phase::Resync { cursor: Cursor::Groups(_) | Cursor::Routes(_) | Cursor::End, .. } => false,
            },
        }
    }

    /// From here on what was not mentioned goes. The table is to be complete and drained.
    pub(super) fn sweep(&mut self) {
        self.sweeps = true;
        if let State::Up(up) = &mut self.state
            && let Phase::Resync { generation, cursor: Cursor::Kept } = up.phase
        {
            up.phase = Phase::Resync { generation, cursor: Cursor::End };
            up.ask(RequestBody::ResyncEnd { generation }, Asked::End);
        }
    }

    /// Whether [`Session::resync`] has something to send at once.
    pub(super) fn wants_resync(&self) -> bool {
        match &self.state {
            State::Up(up) => match up.phase {
                Phase::Resync { cursor: Cursor::Groups(_) | Cursor::Routes(_), .. } => up.has_room(),
                Phase::Resync { cursor: Cursor::Kept | Cursor::End, .. }
                | Phase::Greeting
                | Phase::Configuring
                | Phase::Numbering
                | Phase::Live => false,
            },
            State::Away { .. } => false,
        }
    }

    pub(super) fn is_live(&self) -> bool {
        matches!(&self.state, State::Up(up) if up.phase == Phase::Live)
    }

    /// Whether the dataplane has been told the whole table, and is told its changes.
    fn tells(&self) -> bool {
        matches!(
            &self.state,
            State::Up(up) if matches!(up.phase, Phase::Live | Phase::Resync { cursor: Cursor::Kept, .. })
        )
    }

    /// The number of what was sent last.
    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// Whether the dataplane has everything up to this number.
    pub(super) fn has(&self, generation: u64) -> bool {
        self.tells() && generation <= self.acked
    }

    /// Sends the next part of the whole table.
    pub(super) fn resync(&mut self, rib: &Rib) {
        let numbers = self.numbers;
        let last = if self.sweeps || !self.held { Cursor::End } else { Cursor::Kept };
        let State::Up(up) = &mut self.state else { return };
        let Phase::Resync { generation, cursor } = up.phase else { return };
        let mut ops = Vec::new();
        let next = match cursor {
            Cursor::Groups(after) => {
                let groups = rib.told_groups().filter(|(group, _)| after.is_none_or(|after| after < *group));
                let mut behind = after;
                for (group, kind) in groups.take(BATCH) {
                    ops.push(numbers.group_upsert(group, kind));
                    behind = Some(group);
                }
                if ops.len() < BATCH { Cursor::Routes(None) } else { Cursor::Groups(behind) }
            }
            Cursor::Routes(after) => {
                let mut behind = after;
                for (prefix, group) in rib.told_routes_after(after).take(BATCH) {
                    ops.push(Op::RouteUpsert { prefix, nexthop: numbers.id(group) });
                    behind = Some(prefix);
                }
                if ops.len() < BATCH { last } else { Cursor::Routes(behind) }
            }
            Cursor::Kept | Cursor::End => return,
        };
        up.phase = Phase::Resync { generation, cursor: next };
        self.send_batch(ops);
        if next == Cursor::End
            && let State::Up(up) = &mut self.state
        {
            up.ask(RequestBody::ResyncEnd { generation }, Asked::End);
        }
    }

    /// Tells the dataplane of changes. Before it is live there is no need: a resync follows.
    pub(super) fn tell(&mut self, deltas: &[Delta]) {
        if self.tells() && !deltas.is_empty() {
            let numbers = self.numbers;
            self.send_batch(deltas.iter().map(|delta| numbers.op(delta)).collect());
        }
    }

    /// Sends operations out of turn: a repair, or another try.
    pub(super) fn send_batch(&mut self, ops: Vec<Op>) {
        let State::Up(up) = &mut self.state else { return };
        if ops.is_empty() {
            return;
        }
        self.generation += 1;
        let body = RequestBody::Batch { generation: self.generation, ops: ops.clone() };
        up.ask(body, Asked::Batch(ops));
    }

    /// Another try for what was refused, if nothing else is under way.
    pub(super) fn retry(&mut self, rib: &Rib) {
        if self.refused.is_empty() || !self.is_settled() {
            return;
        }
        let subjects: Vec<Subject> = self.refused.keys().copied().take(BATCH).collect();
        let ops: Vec<Op> = subjects.iter().map(|&subject| op_for(rib, self.numbers, subject)).collect();
        for subject in subjects {
            self.refused.remove(&subject);
        }
        self.send_batch(ops);
    }

    /// Asks for the next page of the dataplane's table if an audit is due and nothing is under way.
    pub(super) fn audit(&mut self, now: millrace_net::Instant) {
        if !self.is_settled() {
            return;
        }
        let Some(after) = self.audit.next_page(now, self.generation) else { return };
        let State::Up(up) = &mut self.state else { return };
        let limit = u32::try_from(audit::PAGE).unwrap_or(u32::MAX);
        up.ask(RequestBody::Query(Query::FibRoutes { after, limit }), Asked::Audit);
    }

    /// Live, and nothing but queries unanswered.
    fn is_settled(&self) -> bool {
        match &self.state {
            State::Up(up) => {
                up.phase == Phase::Live
                    && !up.unanswered.iter().any(|(_, asked)| matches!(asked, Asked::Batch(_)))
            }
            State::Away { .. } => false,
        }
    }

    /// Takes in an answer. An error is the dataplane's fault, and ends the connection.
    pub(super) fn reply(
        &mut self,
        rib: &Rib,
        now: millrace_net::Instant,
        reply: api::Reply,
    ) -> Result<(), String> {
        let State::Up(up) = &mut self.state else { return Ok(()) };
        let Some((seq, asked)) = up.unanswered.pop_front() else {
            return Err("an answer nobody asked for".to_owned());
        };
        if seq != reply.seq {
            return Err(format!("the answer to request {} where that to {seq} was due", reply.seq));
        }
        match (asked, reply.body) {
            (Asked::Query(answer), ReplyBody::Error { reason }) => {
                let _ = answer.send(Err(DataplaneAway::Refused(reason)));
            }
            (Asked::Query(answer), body) => {
                let _ = answer.send(Ok(body));
            }
            (_, ReplyBody::Error { reason }) => return Err(reason),
            (Asked::Hello, ReplyBody::Hello { version, instance, build, pid }) => {
                if version != api::VERSION {
                    return Err(format!(
                        "it speaks version {version} of the protocol and this process version {}; \
                         run both from one release",
                        api::VERSION
                    ));
                }
                (up.instance, up.build, up.pid) = (instance, build, pid);
                up.phase = Phase::Configuring;
                up.ask(RequestBody::Configure(Box::new(self.config.clone())), Asked::Configure(None));
            }
            (Asked::Configure(answer), ReplyBody::Configured { restart }) => {
                self.restart.clone_from(&restart);
                up.problem = None;
                if up.phase == Phase::Configuring {
                    up.phase = Phase::Numbering;
                    up.ask(RequestBody::Query(Query::Nexthops), Asked::Numbers);
                }
                if let Some(answer) = answer {
                    let _ = answer.send(Ok(restart));
                }
            }
            (Asked::Configure(answer), ReplyBody::ConfigRefused { reason }) => match answer {
                Some(answer) => {
                    let _ = answer.send(Err(reason));
                }
                None => {
                    tracing::error!(%reason, "the dataplane refuses the configuration");
                    up.problem = Some(format!("it refuses the configuration: {reason}"));
                }
            },
            (Asked::Numbers, ReplyBody::Nexthops(held)) => {
                self.numbers = Numbers::beside(&held);
                self.held = !held.is_empty();
                self.generation += 1;
                up.phase = Phase::Resync { generation: self.generation, cursor: Cursor::Groups(None) };
                up.ask(RequestBody::ResyncBegin { generation: self.generation }, Asked::Begin);
            }
            (Asked::Begin, ReplyBody::ResyncBegun { .. }) => {}
            (Asked::Batch(ops), ReplyBody::Ack { generation, refused, .. }) => {
                self.acked = generation;
                self.note_refusals(&ops, &refused);
            }
            (Asked::End, ReplyBody::ResyncEnded { swept, .. }) => {
                up.phase = Phase::Live;
                self.resyncs += 1;
                self.swept += u64::from(swept);
                tracing::info!(
                    routes = rib.routes(),
                    groups = rib.groups(),
                    swept,
                    "the dataplane is in step"
                );
            }
            (Asked::Audit, ReplyBody::FibRoutes(page)) => {
                let repairs = self.audit.compare(rib, self.numbers, now, self.generation, &page);
                self.send_batch(repairs);
            }
            (asked, body) => return Err(format!("{body:?} is no answer to {asked:?}")),
        }
        Ok(())
    }

    fn note_refusals(&mut self, ops: &[Op], refused: &[api::Refusal]) {
        for op in ops {
            self.refused.remove(&subject(self.numbers, op));
        }
        self.refused_total += refused.len() as u64;
        for refusal in refused {
            if let Some(op) = ops.get(refusal.op as usize) {
                self.refused.insert(subject(self.numbers, op), refusal.reason);
            }
        }
    }

    /// The dataplane's number of a group.
    pub(super) fn number(&self, group: GroupId) -> u32 {
        self.numbers.id(group).0
    }

    pub(super) fn refusals(&self) -> usize {
        self.refused.len()
    }

    /// Why the dataplane does not have something, if it does not.
    pub(super) fn missing(&self, subject: Subject, under_way: &HashSet<Subject>) -> Option<String> {
        let State::Up(up) = &self.state else { return Some("the dataplane is not connected".to_owned()) };
        if let Some(reason) = self.refused.get(&subject) {
            return Some(format!("the dataplane refuses it: {reason}"));
        }
        let told = match up.phase {
            Phase::Live | Phase::Resync { cursor: Cursor::Kept, .. } => !under_way.contains(&subject),
            Phase::Resync { .. } | Phase::Greeting | Phase::Configuring | Phase::Numbering => false,
        };
        (!told).then(|| up.problem.clone().unwrap_or_else(|| "on its way to the dataplane".to_owned()))
    }

    /// What has been sent and not acknowledged.
    pub(super) fn under_way(&self) -> HashSet<Subject> {
        let State::Up(up) = &self.state else { return HashSet::new() };
        let batches = up.unanswered.iter().filter_map(|(_, asked)| match asked {
            Asked::Batch(ops) => Some(ops),
            Asked::Hello
            | Asked::Configure(_)
            | Asked::Numbers
            | Asked::Begin
            | Asked::End
            | Asked::Query(_)
            | Asked::Audit => None,
        });
        batches.flatten().map(|op| subject(self.numbers, op)).collect()
    }

    pub(super) fn dataplane_status(&self) -> DataplaneStatus {
        let restart = self.restart.clone();
        match &self.state {
            State::Away { problem } => DataplaneStatus {
                problem: Some(problem.clone()),
                restart,
                connects: self.connects,
                ..DataplaneStatus::default()
            },
            State::Up(up) => {
                let known = up.phase != Phase::Greeting;
                DataplaneStatus {
                    connected: known,
                    instance: known.then_some(up.instance),
                    pid: known.then_some(up.pid),
                    build: known.then(|| up.build.clone()),
                    problem: up.problem.clone(),
                    restart,
                    connects: self.connects,
                }
            }
        }
    }

    pub(super) fn fib_status(&self, rib: &Rib) -> FibStatus {
        let state = match &self.state {
            State::Away { .. } => SyncState::Away,
            State::Up(up) if up.phase != Phase::Live => SyncState::Resync,
            State::Up(_) if rib.is_idle() && self.is_settled() => SyncState::Synced,
            State::Up(_) => SyncState::Sending,
        };
        let refusals = self.refused.iter().take(SHOWN).map(|(subject, reason)| RefusalView {
            subject: match subject {
                Subject::Group(group) => format!("nexthop {}", self.number(*group)),
                Subject::Route(prefix) => prefix.to_string(),
            },
            reason: reason.to_string(),
        });
        FibStatus {
            state,
            generation_sent: self.generation,
            generation_acked: self.acked,
            routes: rib.routes() as u64,
            groups: rib.groups() as u64,
            refused: self.refused.len() as u64,
            refused_total: self.refused_total,
            refusals: refusals.collect(),
            resyncs_total: self.resyncs,
            swept_total: self.swept,
        }
    }
}

impl Up {
    /// Sends a request and remembers what its answer is to. What cannot be encoded is told to nobody: the reason comes back.
    fn ask(&mut self, body: RequestBody, asked: Asked) -> Option<String> {
        match self.connection.send(body) {
            Ok(seq) => {
                self.unanswered.push_back((seq, asked));
                None
            }
            Err(error) => {
                tracing::error!(%error, "a request to the dataplane cannot be sent");
                Some(error.to_string())
            }
        }
    }

    fn has_room(&self) -> bool {
        self.unanswered.iter().filter(|(_, asked)| matches!(asked, Asked::Batch(_))).count() < WINDOW
    }
}

fn subject(numbers: Numbers, op: &Op) -> Subject {
    match op {
        Op::NexthopUpsert { id, .. } | Op::NexthopRemove { id } => Subject::Group(numbers.group(*id)),
        Op::RouteUpsert { prefix, .. } | Op::RouteRemove { prefix } => Subject::Route(*prefix),
    }
}

/// What brings the dataplane in step about a subject.
pub(super) fn op_for(rib: &Rib, numbers: Numbers, subject: Subject) -> Op {
    match subject {
        Subject::Group(group) => match rib.told_group(group) {
            Some(kind) => numbers.group_upsert(group, kind),
            None => Op::NexthopRemove { id: numbers.id(group) },
        },
        Subject::Route(prefix) => match rib.entry(prefix).and_then(|entry| entry.group()) {
            Some(group) => Op::RouteUpsert { prefix, nexthop: numbers.id(group) },
            None => Op::RouteRemove { prefix },
        },
    }
}
