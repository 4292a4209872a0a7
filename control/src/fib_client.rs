//! The connection to the dataplane, and the translation of the table's words into its messages.
//!
//! This is the only file of control that knows both: [`millrace_rib`] on one side, [`millrace_api`] on the other.
//!
//! ```text
//!   runtime ─ Request ─▶ [ writer ] ─▶ DIR/dataplane.sock ─▶ [ reader ] ─ Event ─▶ runtime
//!                             └──── connector: tries until there is a connection, then hands it over ────┘
//! ```

use std::path::{Path, PathBuf};
use std::time::Duration;

use millrace_api::{self as api, NexthopId, NexthopKind, Op, Reply, Request};
use millrace_rib::{Delta, GroupId, IfIndex, Kind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;

/// The dataplane's socket in the run directory.
pub const DATAPLANE_SOCKET: &str = "dataplane.sock";

/// Waits between attempts to connect: short at first, so that a dataplane that is just starting is not waited for long.
const FIRST_WAIT: Duration = Duration::from_millis(20);
pub const LONGEST_WAIT: Duration = Duration::from_secs(1);
/// What is read at once.
const READ_LEN: usize = 64 << 10;

/// What happens on the way to the dataplane.
#[derive(Debug)]
pub enum Event {
    /// A connection stands; nothing has been said on it.
    Connected(Connection),
    /// An attempt failed; another follows.
    Unreachable(String),
    Reply(Reply),
    /// The connection is gone.
    Lost(String),
}

/// The sending side of a connection. Dropping it closes the connection.
#[derive(Debug)]
pub struct Connection {
    requests: mpsc::UnboundedSender<Vec<u8>>,
    next_seq: u32,
}

impl Connection {
    /// Queues a request; gives its sequence number. How many may be unanswered is the caller's affair.
    pub fn send(&mut self, body: api::RequestBody) -> Result<u32, api::FrameError> {
        let seq = self.next_seq;
        self.next_seq = seq.wrapping_add(1);
        let bytes = api::encode(&Request { seq, body })?;
        // A writer that is gone has told of it, or is about to.
        let _ = self.requests.send(bytes);
        Ok(seq)
    }
}

/// Connects to the dataplane of `run_dir` after a pause, trying until it is there. One connection; call again when it is
/// lost.
pub fn connect(run_dir: &Path, pause: Duration, events: mpsc::UnboundedSender<Event>) {
    let socket = run_dir.join(DATAPLANE_SOCKET);
    tokio::spawn(async move {
        tokio::time::sleep(pause).await;
        let Some(stream) = attempt(&socket, &events).await else { return };
        let (reader, writer) = stream.into_split();
        let (requests, queue) = mpsc::unbounded_channel();
        if events.send(Event::Connected(Connection { requests, next_seq: 1 })).is_err() {
            return;
        }
        // Whichever side ends first tells why; the other ends with it.
        let reason = tokio::select! {
            reason = read(reader, &events) => reason,
            reason = write(writer, queue) => reason,
        };
        // The runtime is gone: nobody to tell.
        let _ = events.send(Event::Lost(reason));
    });
}

/// Tries until it connects; `None` when nobody waits for it any more.
async fn attempt(socket: &PathBuf, events: &mpsc::UnboundedSender<Event>) -> Option<UnixStream> {
    let mut wait = FIRST_WAIT;
    let mut told = String::new();
    loop {
        match UnixStream::connect(socket).await {
            Ok(stream) => return Some(stream),
            Err(error) => {
                let reason = format!("{}: {error}", socket.display());
                if reason != told {
                    events.send(Event::Unreachable(reason.clone())).ok()?;
                    told = reason;
                }
            }
        }
        tokio::select! {
            () = tokio::time::sleep(wait) => wait = (wait * 2).min(LONGEST_WAIT),
            () = events.closed() => return None,
        }
    }
}

/// Passes replies on until the stream ends; gives the reason.
async fn read(mut stream: OwnedReadHalf, events: &mpsc::UnboundedSender<Event>) -> String {
    let mut buffer = Vec::with_capacity(READ_LEN);
    loop {
        match stream.read_buf(&mut buffer).await {
            Ok(0) => return "the dataplane closed the connection".to_owned(),
            Ok(_) => {}
            Err(error) => return error.to_string(),
        }
        let mut taken = 0;
        loop {
            match api::decode::<Reply>(&buffer[taken..]) {
                Ok(Some((reply, len))) => {
                    taken += len;
                    if events.send(Event::Reply(reply)).is_err() {
                        return "stopping".to_owned();
                    }
                }
                Ok(None) => break,
                Err(error) => return format!("the dataplane's answer is not understood: {error}"),
            }
        }
        buffer.drain(..taken);
    }
}

/// Writes requests until there will be no more; gives the reason.
async fn write(mut stream: OwnedWriteHalf, mut queue: mpsc::UnboundedReceiver<Vec<u8>>) -> String {
    while let Some(bytes) = queue.recv().await {
        if let Err(error) = stream.write_all(&bytes).await {
            return error.to_string();
        }
    }
    "closed".to_owned()
}

/// Numbers for groups on one connection.
///
/// The table's own numbers begin again in every process, and are given out again while the dataplane is away. So that a
/// number never means another group before the routes of the old one have moved, each connection has numbers that the
/// dataplane does not hold at its beginning.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Numbers {
    epoch: u32,
}

/// How many connections' groups the dataplane can hold at once, those of connections that broke in a resync included.
const EPOCHS: u32 = 64;

impl Numbers {
    /// Numbers of which the dataplane holds none, if there are any.
    pub fn beside(held: &[api::report::Nexthop]) -> Self {
        let free = (0..EPOCHS).find(|epoch| held.iter().all(|nexthop| nexthop.id % EPOCHS != *epoch));
        Self { epoch: free.unwrap_or_default() }
    }

    pub const fn id(self, group: GroupId) -> NexthopId {
        NexthopId(group.0.wrapping_mul(EPOCHS).wrapping_add(self.epoch))
    }

    /// The group of a number of ours.
    pub const fn group(self, id: NexthopId) -> GroupId {
        GroupId(id.0 / EPOCHS)
    }

    /// What the dataplane is to do for a change of the table.
    pub fn op(self, delta: &Delta) -> Op {
        match delta {
            Delta::GroupUpsert { group, kind } => self.group_upsert(*group, kind),
            Delta::GroupRemove { group } => Op::NexthopRemove { id: self.id(*group) },
            Delta::RouteUpsert { prefix, group } => {
                Op::RouteUpsert { prefix: *prefix, nexthop: self.id(*group) }
            }
            Delta::RouteRemove { prefix } => Op::RouteRemove { prefix: *prefix },
        }
    }

    pub fn group_upsert(self, group: GroupId, kind: &Kind) -> Op {
        Op::NexthopUpsert { id: self.id(group), kind: nexthop_kind(kind) }
    }
}

fn nexthop_kind(kind: &Kind) -> NexthopKind {
    match kind {
        Kind::Forward(paths) => NexthopKind::Forward(
            paths
                .iter()
                .map(|path| api::Member {
                    via: api::Via { ifindex: path.interface.0, gateway: path.gateway },
                    weight: path.weight,
                })
                .collect(),
        ),
        Kind::Glean(IfIndex(ifindex)) => NexthopKind::Glean { ifindex: *ifindex },
        Kind::Local => NexthopKind::Local,
        Kind::Blackhole => NexthopKind::Blackhole,
        Kind::Unreachable => NexthopKind::Unreachable,
        Kind::Prohibit => NexthopKind::Prohibit,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(ids: &[u32]) -> Vec<api::report::Nexthop> {
        let nexthop =
            |&id: &u32| api::report::Nexthop { id, kind: "local".into(), members: Vec::new(), routes: 0 };
        ids.iter().map(nexthop).collect()
    }

    #[test]
    fn a_connection_takes_numbers_the_dataplane_does_not_hold() {
        let first = Numbers::beside(&[]);
        let ids: Vec<u32> = (0..5).map(|group| first.id(GroupId(group)).0).collect();
        let second = Numbers::beside(&held(&ids));
        for group in 0..5 {
            assert!(!ids.contains(&second.id(GroupId(group)).0));
            assert_eq!(second.group(second.id(GroupId(group))), GroupId(group));
        }
        assert_eq!(Numbers::beside(&held(&[second.id(GroupId(9)).0])), first, "what was swept is free again");
    }
}
