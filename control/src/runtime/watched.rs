//! Neighbours that BFD watches for static routes, and those it watches for their own sake.
//!
//! A next hop is left out from the failure of its session until the session is up again. One whose session has never been
//! up is used: it may not speak BFD (RFC 5882 §4.1), and a routing process that has just come back does not take its
//! routes away until it has heard from everybody. A session that either side shuts down on purpose is no failure
//! (RFC 5882 §3.2).

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use millrace_bfd::{Change, Client, SessionKey, State};
use millrace_proto as proto;
use millrace_rib::{IfIndex, Rib};
use tokio::sync::{mpsc, oneshot};

use crate::bfd::{Bfd, View, Watcher};
use crate::config::{Config, StaticTarget};
use crate::links::{Link, LinkTable};
use crate::protocols::driver;

/// Sessions, and the address of ours that each is sent from.
type Sessions = BTreeMap<SessionKey, Ipv4Addr>;

#[derive(Debug)]
pub(super) struct Watched {
    bfd: Bfd,
    statics: Asked,
    configured: Asked,
    changes: mpsc::UnboundedReceiver<Change>,
    /// Next hops of static routes that are watched, and where they are.
    next_hops: BTreeMap<Ipv4Addr, IfIndex>,
}

/// What one client has asked for.
#[derive(Debug)]
struct Asked {
    watcher: Watcher,
    sessions: Sessions,
}

impl Watched {
    pub(super) fn start() -> Self {
        let bfd = Bfd::start();
        let (statics, changes) = bfd.subscribe(Client::Static);
        // Whom nobody waits for is shown, and that is all.
        let (configured, _) = bfd.subscribe(Client::Configured);
        let asked = |watcher| Asked { watcher, sessions: Sessions::new() };
        Self {
            bfd,
            statics: asked(statics),
            configured: asked(configured),
            changes,
            next_hops: BTreeMap::new(),
        }
    }

    /// For the protocols.
    pub(super) fn bfd(&self) -> &Bfd {
        &self.bfd
    }

    /// Watches whom configuration and interfaces say.
    pub(super) fn update(&mut self, rib: &mut Rib, config: &Config, links: &LinkTable) {
        self.bfd.links(links.iter().map(driver::interface).collect());
        self.bfd.configure(config.bfd.clone());
        let mut next_hops = BTreeMap::new();
        let mut sessions = Sessions::new();
        for route in config.statics.iter().filter(|route| route.bfd) {
            let StaticTarget::Via(vias) = &route.target else { continue };
            for via in vias {
                if let Some((session, local)) = neighbor(config, links, via.addr) {
                    next_hops.insert(via.addr, IfIndex(session.interface.0));
                    sessions.insert(session, local);
                }
            }
        }
        for gone in self.statics.ask(sessions) {
            rib.set_silent(IfIndex(gone.interface.0), gone.neighbor, false);
        }
        self.next_hops = next_hops;
        let named = config.bfd.neighbors.keys();
        self.configured.ask(named.filter_map(|&address| neighbor(config, links, address)).collect());
    }

    /// Next hops of static routes that are watched, and where they are.
    pub(super) fn next_hops(&self) -> &BTreeMap<Ipv4Addr, IfIndex> {
        &self.next_hops
    }

    /// The next change of a session that static routes depend on.
    pub(super) async fn changed(&mut self) -> Change {
        match self.changes.recv().await {
            Some(change) => change,
            None => std::future::pending().await,
        }
    }

    /// What a change means for the routes.
    pub(super) fn follow(&self, rib: &mut Rib, change: &Change) {
        let session = change.session;
        // One that is not watched any more has been forgotten already.
        if !self.statics.sessions.contains_key(&session) {
            return;
        }
        let silent = match change.to {
            State::Up | State::AdminDown => false,
            State::Down | State::Init if change.is_failure() => true,
            State::Down | State::Init => return,
        };
        rib.set_silent(IfIndex(session.interface.0), session.neighbor, silent);
    }

    pub(super) fn show(&self, reply: oneshot::Sender<View>) {
        self.bfd.show(reply);
    }
}

impl Asked {
    /// Asks for these and no others; gives those that are given up.
    fn ask(&mut self, sessions: Sessions) -> Vec<SessionKey> {
        let gone: Vec<_> = self.sessions.keys().filter(|key| !sessions.contains_key(key)).copied().collect();
        for &session in &gone {
            self.watcher.unwatch(session);
        }
        for (&session, &local) in &sessions {
            if self.sessions.get(&session) != Some(&local) {
                self.watcher.watch(session, local);
            }
        }
        self.sessions = sessions;
        gone
    }
}

/// Where a neighbour is directly connected, and our address there; the longest match of several. RFC 5881 §6: packets come
/// from the subnet they go to.
fn neighbor(config: &Config, links: &LinkTable, address: Ipv4Addr) -> Option<(SessionKey, Ipv4Addr)> {
    let configured = |link: &&Link| config.interfaces.iter().any(|interface| interface.name == link.name);
    let own =
        links.iter().filter(configured).flat_map(|link| link.addresses.iter().map(move |own| (link, own)));
    let reaching = own.filter(|(_, own)| own.network().contains(address) && own.address != address);
    let (link, own) = reaching.max_by_key(|(_, own)| own.network().len())?;
    Some((SessionKey { interface: proto::IfIndex(link.index), neighbor: address }, own.address))
}
