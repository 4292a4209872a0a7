//! BFD in the living process: a thread of its own, and the way to it.
//!
//! ```text
//!   static routes ─┐                                   ┌──────────── thread "bfd" ────────────┐
//!   RIP, OSPF, BGP ┼─ Watcher: watch, unwatch ──order──▶  Machine (millrace-bfd)              │
//!   configuration ─┤                                   │    ▲ drained before every time-out   │
//!   links ─────────┘                                   │  UDP 3784 in, a socket a session out │
//!        ▲                                             └───────────────┬──────────────────────┘
//!        └──────────────── Change, to each client that watches ────────┘
//! ```
//! The thread sleeps in `poll` on its own sockets and on nothing of the async runtime: a routing process that is busy
//! with a million routes still sends its packets every 50 ms, and takes a late look at the clock for no failure.
//!
//! A client subscribes once and then watches neighbours; one session serves all who watch the same neighbour on the same
//! interface (RFC 5882 §5). Of a session that exists already the state is told at once.

mod socket;
mod thread;

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc as orders;
use std::time::Duration;

use millrace_bfd::show::SessionView;
use millrace_bfd::{BadPackets, Change, Client, Config, SessionKey};
use millrace_proto::Interface;
use rustix::event::EventfdFlags;
use rustix::fd::OwnedFd;
use tokio::sync::{mpsc, oneshot};

/// The way to the BFD thread, which lives until [`Bfd::stop`] or until nobody holds one of these.
#[derive(Clone, Debug)]
pub struct Bfd {
    /// None: the thread could not be started.
    line: Option<Line>,
}

/// Orders, and the bell that wakes the thread for them.
#[derive(Clone, Debug)]
struct Line {
    orders: orders::Sender<Order>,
    bell: Arc<OwnedFd>,
}

/// One client's way to watch neighbours. When it is dropped, it watches none.
#[derive(Debug)]
pub struct Watcher {
    bfd: Bfd,
    client: Client,
    subscription: Subscription,
}

/// Tells a client from an earlier one of its kind, which may end later than this one begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Subscription(u64);

static SUBSCRIPTIONS: AtomicU64 = AtomicU64::new(0);

/// Everything there is to show.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// With the name of the interface.
    pub sessions: Vec<(String, SessionView)>,
    pub bad_packets: BadPackets,
    /// Why nothing is received.
    pub problem: Option<String>,
}

#[derive(Debug)]
enum Order {
    Configure(Config),
    /// Every interface there is.
    Links(Vec<Interface>),
    Subscribe {
        client: Client,
        subscription: Subscription,
        changes: mpsc::UnboundedSender<Change>,
    },
    /// Counts only where no later client of its kind has come.
    Leave {
        client: Client,
        subscription: Subscription,
    },
    Watch {
        client: Client,
        session: SessionKey,
        local: Ipv4Addr,
    },
    Unwatch {
        client: Client,
        session: SessionKey,
    },
    Show {
        reply: oneshot::Sender<View>,
    },
    Stop {
        done: oneshot::Sender<()>,
    },
}

impl Bfd {
    /// Starts the thread. Where that fails, it is logged and shown, and no session comes up.
    pub fn start() -> Self {
        match thread::start() {
            Ok((orders, bell)) => Self { line: Some(Line { orders, bell }) },
            Err(error) => {
                tracing::error!(%error, "BFD cannot be started: no neighbour is watched");
                Self { line: None }
            }
        }
    }

    /// An equal configuration changes nothing.
    pub fn configure(&self, config: Config) {
        self.send(Order::Configure(config));
    }

    /// Every interface there is; those that are not named are gone.
    pub fn links(&self, interfaces: Vec<Interface>) {
        self.send(Order::Links(interfaces));
    }

    /// Makes a client known; what an earlier one of this kind watched is not watched any more.
    pub fn subscribe(&self, client: Client) -> (Watcher, mpsc::UnboundedReceiver<Change>) {
        let (changes, receiver) = mpsc::unbounded_channel();
        let subscription = Subscription(SUBSCRIPTIONS.fetch_add(1, Ordering::Relaxed));
        self.send(Order::Subscribe { client, subscription, changes });
        (Watcher { bfd: self.clone(), client, subscription }, receiver)
    }

    /// Answers with all sessions.
    pub fn show(&self, reply: oneshot::Sender<View>) {
        if self.line.is_none() {
            let problem = Some("the BFD thread could not be started; the log says why".to_owned());
            let _ = reply.send(View { problem, ..View::default() });
            return;
        }
        self.send(Order::Show { reply });
    }

    /// Tells the neighbours that the silence to come is meant, and ends the thread soon after. Waits for a second at most.
    pub async fn stop(&self) {
        let (done, told) = oneshot::channel();
        self.send(Order::Stop { done });
        // A thread that is not there has told nobody.
        let _ = tokio::time::timeout(Duration::from_secs(1), told).await;
    }

    fn send(&self, order: Order) {
        let Some(line) = &self.line else { return };
        // The thread ends by an order only, so that what cannot be sent is not wanted any more; a bell that is too full
        // to ring has been rung.
        if line.orders.send(order).is_ok() {
            let _ = rustix::io::write(&line.bell, &1u64.to_ne_bytes());
        }
    }
}

impl Watcher {
    /// Watches a neighbour; packets are sent from `local`. Twice is fine.
    pub fn watch(&self, session: SessionKey, local: Ipv4Addr) {
        self.bfd.send(Order::Watch { client: self.client, session, local });
    }

    /// Absent is fine.
    pub fn unwatch(&self, session: SessionKey) {
        self.bfd.send(Order::Unwatch { client: self.client, session });
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.bfd.send(Order::Leave { client: self.client, subscription: self.subscription });
    }
}

/// For discriminators and jitter; not for secrets.
fn seed() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::hash::RandomState::new().build_hasher().finish()
}

/// Wakes the thread.
fn bell() -> std::io::Result<Arc<OwnedFd>> {
    Ok(Arc::new(rustix::event::eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?))
}
