//! The kernel's interfaces and their IPv4 addresses, followed live.
//!
//! ```text
//!   RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR ─▶ something changed ─▶ (a moment) ─▶ dump both ─▶ LinkTable, whole
//! ```
//! Events only say *that* something changed; what is, comes from a dump. So an event that was lost, came late or is not
//! understood does no harm, and a burst of them costs one dump.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt};
use millrace_net::Prefix;
use millrace_proto::LinkKind;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use rtnetlink::{AddressMessageBuilder, Handle, MulticastGroup};
use tokio::sync::watch;

/// How long events are gathered before the kernel is asked. Moving an address is two of them.
const GATHER: Duration = Duration::from_millis(5);
/// How long after a failure the kernel is asked again.
const RETRY: Duration = Duration::from_millis(500);

/// Every interface of the network namespace, by index.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LinkTable {
    links: BTreeMap<u32, Link>,
}

/// One interface.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Link {
    pub index: u32,
    pub name: String,
    pub kind: LinkKind,
    /// Administratively up and with carrier.
    pub up: bool,
    pub mtu: u32,
    /// In the kernel's order: the primary one of each subnet first.
    pub addresses: Vec<LinkAddress>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct LinkAddress {
    pub address: Ipv4Addr,
    pub prefix_len: u8,
    /// The far end's address, where it is not the subnet's (`ip address add A peer B`).
    pub peer: Option<Ipv4Addr>,
}

impl LinkTable {
    pub fn get(&self, index: u32) -> Option<&Link> {
        self.links.get(&index)
    }

    pub fn by_name(&self, name: &str) -> Option<&Link> {
        self.links.values().find(|link| link.name == name)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Link> {
        self.links.values()
    }
}

impl FromIterator<Link> for LinkTable {
    fn from_iter<I: IntoIterator<Item = Link>>(links: I) -> Self {
        Self { links: links.into_iter().map(|link| (link.index, link)).collect() }
    }
}

impl LinkAddress {
    /// What is on the link: the subnet, or the far end.
    pub fn network(&self) -> Prefix {
        Prefix::truncated(self.peer.unwrap_or(self.address), self.prefix_len)
    }
}

/// Follows the kernel's tables. The first table is there when this returns; the receiver then sees every later one.
/// Needs a tokio runtime; the work ends when all receivers are gone.
pub async fn follow() -> io::Result<watch::Receiver<Arc<LinkTable>>> {
    let (mut events, handle) = subscribe()?;
    let (sender, receiver) = watch::channel(Arc::new(dump(&handle).await?));
    tokio::spawn(async move {
        let mut handle = handle;
        loop {
            let alive = tokio::select! {
                event = events.next() => event.is_some(),
                () = sender.closed() => return,
            };
            tokio::time::sleep(GATHER).await;
            while let Some(Some(_)) = futures_util::FutureExt::now_or_never(events.next()) {}
            if !alive {
                tracing::warn!("the kernel's link events ended; subscribing again");
                match subscribe() {
                    Ok(fresh) => (events, handle) = fresh,
                    Err(error) => {
                        tracing::error!(%error, "link events cannot be had; trying again");
                        tokio::time::sleep(RETRY).await;
                        continue;
                    }
                }
            }
            match dump(&handle).await {
                Ok(table) => {
                    sender.send_if_modified(|known| {
                        let changed = **known != table;
                        if changed {
                            *known = Arc::new(table);
                        }
                        changed
                    });
                }
                Err(error) => tracing::error!(%error, "the kernel's links cannot be read"),
            }
        }
    });
    Ok(receiver)
}

/// Adds an address to an interface; one that is there already is fine.
pub async fn add_address(index: u32, address: Ipv4Addr, prefix_len: u8) -> io::Result<()> {
    let (connection, handle, _) = rtnetlink::new_connection()?;
    let connection = tokio::spawn(connection);
    let result = handle.address().add(index, IpAddr::V4(address), prefix_len).execute().await;
    connection.abort();
    match result.map_err(io_error) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

/// The kernel's error number where there is one, so that callers can tell one from another.
pub(crate) fn io_error(error: rtnetlink::Error) -> io::Error {
    match error {
        rtnetlink::Error::NetlinkError(message) => message.to_io(),
        other @ (rtnetlink::Error::UnexpectedMessage(_)
        | rtnetlink::Error::RequestFailed
        | rtnetlink::Error::NamespaceError(_)
        | rtnetlink::Error::InvalidHardwareAddress(_)
        | rtnetlink::Error::InvalidIp(_)
        | rtnetlink::Error::InvalidAddress(..)
        | rtnetlink::Error::InvalidNla(_)) => io::Error::other(other),
    }
}

type Events = futures_util::stream::BoxStream<'static, ()>;

fn subscribe() -> io::Result<(Events, Handle)> {
    let groups = [MulticastGroup::Link, MulticastGroup::Ipv4Ifaddr];
    let (connection, handle, messages) = rtnetlink::new_multicast_connection(&groups)?;
    tokio::spawn(connection);
    Ok((messages.map(|_| ()).boxed(), handle))
}

async fn dump(handle: &Handle) -> io::Result<LinkTable> {
    let mut links = BTreeMap::new();
    let mut messages = handle.link().get().execute();
    while let Some(message) = messages.try_next().await.map_err(io_error)? {
        let link = link(&message);
        links.insert(link.index, link);
    }
    let only_v4 = AddressMessageBuilder::<Ipv4Addr>::new().build();
    let mut request = handle.address().get();
    *request.message_mut() = only_v4;
    let mut messages = request.execute();
    while let Some(message) = messages.try_next().await.map_err(io_error)? {
        if message.header.family == AddressFamily::Inet
            && let Some(link) = links.get_mut(&message.header.index)
            && let Some(address) = address(&message)
        {
            link.addresses.push(address);
        }
    }
    Ok(LinkTable { links })
}

fn link(message: &LinkMessage) -> Link {
    let flags = message.header.flags;
    let mut link = Link {
        index: message.header.index,
        name: String::new(),
        kind: if flags.contains(LinkFlags::Loopback) {
            LinkKind::Loopback
        } else if flags.contains(LinkFlags::Pointopoint) {
            LinkKind::PointToPoint
        } else {
            LinkKind::Broadcast
        },
        up: flags.contains(LinkFlags::Up | LinkFlags::LowerUp),
        mtu: 0,
        addresses: Vec::new(),
    };
    for attribute in &message.attributes {
        if let LinkAttribute::IfName(name) = attribute {
            link.name.clone_from(name);
        } else if let LinkAttribute::Mtu(mtu) = attribute {
            link.mtu = *mtu;
        }
    }
    link
}

/// `IFA_LOCAL` is ours where it is there, and `IFA_ADDRESS` then the far end's; else `IFA_ADDRESS` is ours
/// (linux/if_addr.h).
fn address(message: &AddressMessage) -> Option<LinkAddress> {
    let (mut local, mut other) = (None, None);
    for attribute in &message.attributes {
        if let AddressAttribute::Local(IpAddr::V4(address)) = attribute {
            local = Some(*address);
        } else if let AddressAttribute::Address(IpAddr::V4(address)) = attribute {
            other = Some(*address);
        }
    }
    let address = local.or(other)?;
    Some(LinkAddress {
        address,
        prefix_len: message.header.prefix_len.min(32),
        peer: other.filter(|peer| *peer != address),
    })
}
