//! rtnetlink as the clerk sees it: links, IPv4 addresses and IPv4 neighbours, as events and as whole dumps.
//!
//! Two sockets. `events` is subscribed to the three groups and never blocks; when the kernel had to drop
//! messages (ENOBUFS) the view is incomplete and [`Poll::Lost`] asks for a new dump. `requests` carries dumps, one at
//! a time, and the neighbour probes, which are not acknowledged.
//!
//! A message that does not parse is skipped with a log line: one device with an odd attribute hides nothing else.

use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use millrace_net::Mac;
use netlink_packet_core::{
    NLM_F_CREATE, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkInfo, LinkLayerType, LinkMessage};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::neighbors::{Nud, Validity};

/// RTNLGRP_LINK, RTNLGRP_NEIGH, RTNLGRP_IPV4_IFADDR.
const GROUPS: [u32; 3] = [1, 3, 5];
/// The kernel's messages are at most this long; a dump's are filled up to the reader's buffer.
const BUFFER_LEN: usize = 64 << 10;
/// Asked for; the kernel grants up to net.core.rmem_max. What does not fit costs a dump.
const RECEIVE_BUFFER_LEN: u32 = 4 << 20;
/// How long the kernel may take over one message of a dump before the dump is given up.
const DUMP_PATIENCE: Duration = Duration::from_secs(5);
/// Dumps that were interrupted by a change are repeated this often, then taken as they are: events follow.
const DUMP_ATTEMPTS: u32 = 5;

/// A network device of this namespace.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Link {
    pub(crate) ifindex: u32,
    pub(crate) name: String,
    /// None on devices without a six-octet hardware address.
    pub(crate) mac: Option<Mac>,
    /// Bytes of IP packet.
    pub(crate) mtu: u32,
    pub(crate) admin_up: bool,
    pub(crate) carrier: bool,
    pub(crate) ethernet: bool,
    /// IFLA_INFO_KIND: "veth", "tun", "bridge", …; none on hardware.
    pub(crate) kind: Option<String>,
    /// Receive queues the device was made with; it may use fewer.
    pub(crate) rx_queues: u32,
}

/// An IPv4 address of an interface.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Address {
    pub(crate) ifindex: u32,
    pub(crate) local: Ipv4Addr,
    pub(crate) prefix_len: u8,
    pub(crate) broadcast: Option<Ipv4Addr>,
    pub(crate) secondary: bool,
}

/// What the kernel says of a neighbour.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Neighbor {
    pub(crate) ifindex: u32,
    pub(crate) address: Ipv4Addr,
    pub(crate) nud: Nud,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Event {
    Link(Link),
    LinkGone { ifindex: u32 },
    Address(Address),
    AddressGone(Address),
    Neighbor(Neighbor),
}

/// The whole of the three tables at one time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Dump {
    pub(crate) links: Vec<Link>,
    pub(crate) addresses: Vec<Address>,
    pub(crate) neighbors: Vec<Neighbor>,
}

/// What a look at the event socket gave.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Poll {
    /// All that was there has been read.
    Drained,
    /// The kernel dropped messages: dump again.
    Lost,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum NetlinkError {
    #[error("cannot open an rtnetlink socket: {0}")]
    Open(std::io::Error),
    #[error("cannot read from rtnetlink: {0}")]
    Read(std::io::Error),
    #[error("the kernel refuses an rtnetlink dump: {0}")]
    Refused(std::io::Error),
    #[error("the kernel does not answer an rtnetlink dump")]
    Silent,
}

#[derive(Debug)]
pub(crate) struct Netlink {
    events: Socket,
    requests: Socket,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Netlink {
    pub(crate) fn open() -> Result<Self, NetlinkError> {
        let open = || {
            let mut events = Socket::new(NETLINK_ROUTE)?;
            events.bind_auto()?;
            // The default of 208 KiB is too little for a neighbour table that changes as a whole.
            let _ = events.set_rx_buf_sz(RECEIVE_BUFFER_LEN);
            for group in GROUPS {
                events.add_membership(group)?;
            }
            events.set_non_blocking(true)?;
            let mut requests = Socket::new(NETLINK_ROUTE)?;
            requests.bind_auto()?;
            requests.connect(&SocketAddr::new(0, 0))?;
            requests.set_non_blocking(true)?;
            Ok((events, requests))
        };
        let (events, requests) = open().map_err(NetlinkError::Open)?;
        Ok(Self { events, requests, sequence: 0, buffer: Vec::with_capacity(BUFFER_LEN) })
    }

    /// To be polled for reading; [`Netlink::read_events`] then does not block.
    pub(crate) fn event_fd(&self) -> BorrowedFd<'_> {
        self.events.as_fd()
    }

    /// Reads what has arrived into `events`, in order.
    ///
    /// When messages were dropped, it reads and forgets the others too: until its queue has been empty once, the kernel
    /// drops what is new without another word, and a dump made before that would miss it.
    pub(crate) fn read_events(&mut self, events: &mut Vec<Event>) -> Result<Poll, NetlinkError> {
        let mut poll = Poll::Drained;
        loop {
            self.buffer.clear();
            match self.events.recv(&mut self.buffer, 0) {
                Ok(0) => break,
                Ok(_) if poll == Poll::Lost => {}
                Ok(_) => {
                    for message in Messages(&self.buffer) {
                        if let NetlinkPayload::InnerMessage(message) = message.payload {
                            events.extend(event(message));
                        }
                    }
                }
                Err(error) if error.raw_os_error() == Some(Errno::NOBUFS.raw_os_error()) => poll = Poll::Lost,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(NetlinkError::Read(error)),
            }
        }
        Ok(poll)
    }

    /// Reads all three tables. Takes a few milliseconds for thousands of neighbours.
    pub(crate) fn dump(&mut self) -> Result<Dump, NetlinkError> {
        let mut dump = Dump::default();
        let mut inet_addresses = AddressMessage::default();
        inet_addresses.header.family = AddressFamily::Inet;
        let mut inet_neighbors = NeighbourMessage::default();
        inet_neighbors.header.family = AddressFamily::Inet;
        for request in [
            RouteNetlinkMessage::GetLink(LinkMessage::default()),
            RouteNetlinkMessage::GetAddress(inet_addresses),
            RouteNetlinkMessage::GetNeighbour(inet_neighbors),
        ] {
            for event in self.dump_one(&request)? {
                match event {
                    Event::Link(link) => dump.links.push(link),
                    Event::Address(address) => dump.addresses.push(address),
                    Event::Neighbor(neighbor) => dump.neighbors.push(neighbor),
                    Event::LinkGone { .. } | Event::AddressGone(_) => {}
                }
            }
        }
        Ok(dump)
    }

    fn dump_one(&mut self, request: &RouteNetlinkMessage) -> Result<Vec<Event>, NetlinkError> {
        let mut events = Vec::new();
        for _ in 0..DUMP_ATTEMPTS {
            events.clear();
            let sequence =
                self.send(request.clone(), NLM_F_REQUEST | NLM_F_DUMP).map_err(NetlinkError::Refused)?;
            if self.read_dump(sequence, &mut events)? == DumpEnd::Consistent {
                break;
            }
        }
        Ok(events)
    }

    fn read_dump(&mut self, sequence: u32, events: &mut Vec<Event>) -> Result<DumpEnd, NetlinkError> {
        let mut end = DumpEnd::Consistent;
        loop {
            self.buffer.clear();
            match self.requests.recv(&mut self.buffer, 0) {
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    if wait_readable(&self.requests, DUMP_PATIENCE) {
                        continue;
                    }
                    return Err(NetlinkError::Silent);
                }
                Err(error) => return Err(NetlinkError::Read(error)),
            }
            for message in Messages(&self.buffer) {
                if message.header.sequence_number != sequence {
                    continue;
                }
                if message.header.flags & NLM_F_DUMP_INTR != 0 {
                    end = DumpEnd::Interrupted;
                }
                match message.payload {
                    NetlinkPayload::Done(_) => return Ok(end),
                    NetlinkPayload::Error(error) => return Err(NetlinkError::Refused(error.to_io())),
                    NetlinkPayload::InnerMessage(message) => events.extend(event(message)),
                    NetlinkPayload::Noop | NetlinkPayload::Overrun(_) | _ => {}
                }
            }
        }
    }

    /// Has the kernel find or confirm a neighbour, as if it had a packet for it (NTF_USE).
    ///
    /// The kernel answers by events only. It creates the entry if there is none. It strips NUD_PERMANENT from an
    /// entry that is "used" so (`__neigh_update` with NEIGH_UPDATE_F_USE): never to be called for a permanent one.
    pub(crate) fn probe(&mut self, ifindex: u32, address: Ipv4Addr) {
        let mut message = NeighbourMessage::default();
        message.header.family = AddressFamily::Inet;
        message.header.ifindex = ifindex;
        message.header.state = NeighbourState::None;
        message.header.flags = NeighbourFlags::Use;
        message.attributes.push(NeighbourAttribute::Destination(NeighbourAddress::Inet(address)));
        if let Err(error) =
            self.send(RouteNetlinkMessage::NewNeighbour(message), NLM_F_REQUEST | NLM_F_CREATE)
        {
            tracing::debug!(%address, ifindex, %error, "the kernel does not take a neighbour probe");
        }
        self.discard_replies();
    }

    /// Errors of unacknowledged requests; they are told by the events that do not come.
    fn discard_replies(&mut self) {
        loop {
            self.buffer.clear();
            if self.requests.recv(&mut self.buffer, 0).is_err() {
                return;
            }
            for message in Messages(&self.buffer) {
                if let NetlinkPayload::Error(error) = message.payload {
                    tracing::debug!(error = %error.to_io(), "rtnetlink request refused");
                }
            }
        }
    }

    fn send(&mut self, message: RouteNetlinkMessage, flags: u16) -> std::io::Result<u32> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut message = NetlinkMessage::from(message);
        message.header.flags = flags;
        message.header.sequence_number = self.sequence;
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.requests.send(&bytes, 0)?;
        Ok(self.sequence)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum DumpEnd {
    Consistent,
    /// The table changed while it was read.
    Interrupted,
}

fn wait_readable(socket: &Socket, patience: Duration) -> bool {
    let timeout = Timespec::try_from(patience).ok();
    matches!(poll(&mut [PollFd::new(socket, PollFlags::IN)], timeout.as_ref()), Ok(1))
}

/// The messages of one datagram.
struct Messages<'a>(&'a [u8]);

impl Iterator for Messages<'_> {
    type Item = NetlinkMessage<RouteNetlinkMessage>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let len = self.0.first_chunk::<4>().map(|len| u32::from_ne_bytes(*len) as usize)?;
            // 16: the header of every message (struct nlmsghdr).
            if len < 16 || self.0.len() < len {
                return None;
            }
            let (message, rest) = (&self.0[..len], self.0.get(len.next_multiple_of(4)..).unwrap_or_default());
            self.0 = rest;
            match NetlinkMessage::deserialize(message) {
                Ok(message) => return Some(message),
                Err(error) => tracing::debug!(%error, "an rtnetlink message is not understood"),
            }
        }
    }
}

/// What a message means for the three tables; none if nothing.
fn event(message: RouteNetlinkMessage) -> Option<Event> {
    // Whether the message announces (New…) or withdraws (Del…) is the variant's first word.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the codec knows many message types; three tables are mirrored"
    )]
    match message {
        RouteNetlinkMessage::NewLink(message) => link(message).map(Event::Link),
        RouteNetlinkMessage::DelLink(message) if is_device(&message) => {
            Some(Event::LinkGone { ifindex: message.header.index })
        }
        RouteNetlinkMessage::NewAddress(message) => address(&message).map(Event::Address),
        RouteNetlinkMessage::DelAddress(message) => address(&message).map(Event::AddressGone),
        RouteNetlinkMessage::NewNeighbour(message) => neighbor(&message, false).map(Event::Neighbor),
        RouteNetlinkMessage::DelNeighbour(message) => neighbor(&message, true).map(Event::Neighbor),
        _ => None,
    }
}

/// Link messages of the bridge family tell of bridge ports: a DelLink there is a port that left, not a device.
fn is_device(message: &LinkMessage) -> bool {
    message.header.interface_family == AddressFamily::Unspec
}

fn link(message: LinkMessage) -> Option<Link> {
    if !is_device(&message) {
        return None;
    }
    let header = &message.header;
    let mut link = Link {
        ifindex: header.index,
        name: String::new(),
        mac: None,
        mtu: 0,
        admin_up: header.flags.contains(LinkFlags::Up),
        carrier: header.flags.contains(LinkFlags::LowerUp),
        ethernet: header.link_layer_type == LinkLayerType::Ether,
        kind: None,
        rx_queues: 1,
    };
    for attribute in message.attributes {
        #[expect(clippy::wildcard_enum_match_arm, reason = "links carry some seventy attributes")]
        match attribute {
            LinkAttribute::IfName(name) => link.name = name,
            LinkAttribute::Address(octets) => link.mac = octets.try_into().ok().map(Mac),
            LinkAttribute::Mtu(mtu) => link.mtu = mtu,
            LinkAttribute::NumRxQueues(queues) => link.rx_queues = queues,
            LinkAttribute::LinkInfo(infos) => {
                link.kind = infos.into_iter().find_map(|info| match info {
                    LinkInfo::Kind(kind) => Some(kind.to_string()),
                    _ => None,
                });
            }
            _ => {}
        }
    }
    (!link.name.is_empty()).then_some(link)
}

fn address(message: &AddressMessage) -> Option<Address> {
    if message.header.family != AddressFamily::Inet {
        return None;
    }
    let (mut local, mut subnet, mut broadcast) = (None, None, None);
    for attribute in &message.attributes {
        #[expect(clippy::wildcard_enum_match_arm, reason = "lifetimes, labels and the like are not mirrored")]
        match attribute {
            AddressAttribute::Local(IpAddr::V4(address)) => local = Some(*address),
            AddressAttribute::Address(IpAddr::V4(address)) => subnet = Some(*address),
            AddressAttribute::Broadcast(address) => broadcast = Some(*address),
            _ => {}
        }
    }
    Some(Address {
        ifindex: message.header.index,
        // IFA_ADDRESS is the peer's on a point-to-point link, and the same as IFA_LOCAL elsewhere.
        local: local.or(subnet)?,
        prefix_len: message.header.prefix_len,
        broadcast,
        secondary: message.header.flags.contains(AddressHeaderFlags::Secondary),
    })
}

fn neighbor(message: &NeighbourMessage, gone: bool) -> Option<Neighbor> {
    let header = &message.header;
    if header.family != AddressFamily::Inet || header.flags.contains(NeighbourFlags::Proxy) {
        return None;
    }
    let (mut address, mut mac) = (None, None);
    for attribute in &message.attributes {
        #[expect(clippy::wildcard_enum_match_arm, reason = "cache ages and the like are not mirrored")]
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(destination)) => {
                address = Some(*destination)
            }
            NeighbourAttribute::LinkLayerAddress(octets) => {
                mac = <[u8; 6]>::try_from(octets.as_slice()).ok().map(Mac)
            }
            _ => {}
        }
    }
    let nud = if gone { Nud::Gone } else { nud(header.state, mac)? };
    Some(Neighbor { ifindex: header.ifindex, address: address?, nud })
}

/// The state in the words of `neighbors`; none for entries that are no stations (multicast and broadcast groups).
fn nud(state: NeighbourState, mac: Option<Mac>) -> Option<Nud> {
    let validity = match state {
        NeighbourState::Incomplete => return Some(Nud::Incomplete),
        NeighbourState::Failed => return Some(Nud::Failed),
        NeighbourState::Reachable => Validity::Reachable,
        NeighbourState::Stale => Validity::Stale,
        NeighbourState::Delay | NeighbourState::Probe => Validity::Probing,
        NeighbourState::Permanent | NeighbourState::Noarp => Validity::Permanent,
        NeighbourState::None | NeighbourState::Other(_) | _ => return None,
    };
    mac.filter(|mac| !mac.is_group()).map(|mac| Nud::Valid(mac, validity))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: Mac = Mac([2, 0, 0, 0, 0, 7]);

    /// `struct nlmsghdr`, `struct ndmsg`, NDA_DST and NDA_LLADDR, as the kernel sends them.
    fn raw_neighbor(kind: u16, state: u16, flags: u8) -> Vec<u8> {
        let mut body = vec![2, 0, 0, 0];
        body.extend(5u32.to_ne_bytes());
        body.extend(state.to_ne_bytes());
        body.extend([flags, 1]);
        body.extend([8, 0, 1, 0, 192, 0, 2, 7]);
        body.extend([10, 0, 2, 0, 2, 0, 0, 0, 0, 7, 0, 0]);
        let mut message = u32::try_from(16 + body.len()).unwrap().to_ne_bytes().to_vec();
        message.extend(kind.to_ne_bytes());
        message.extend([0; 10]);
        message.extend(body);
        message
    }

    fn events(bytes: &[u8]) -> Vec<Event> {
        Messages(bytes)
            .filter_map(|message| {
                let NetlinkPayload::InnerMessage(message) = message.payload else { return None };
                event(message)
            })
            .collect()
    }

    #[test]
    fn neighbour_messages() {
        let address = Ipv4Addr::new(192, 0, 2, 7);
        for (kind, state, flags, nud) in [
            (28, 0x02, 0, Some(Nud::Valid(MAC, Validity::Reachable))),
            (28, 0x04, 0, Some(Nud::Valid(MAC, Validity::Stale))),
            (28, 0x08, 0, Some(Nud::Valid(MAC, Validity::Probing))),
            (28, 0x10, 0, Some(Nud::Valid(MAC, Validity::Probing))),
            (28, 0x80, 0, Some(Nud::Valid(MAC, Validity::Permanent))),
            (28, 0x01, 0, Some(Nud::Incomplete)),
            (28, 0x20, 0, Some(Nud::Failed)),
            (28, 0x00, 0, None),
            (28, 0x02, 0x08, None),
            (29, 0x02, 0, Some(Nud::Gone)),
        ] {
            let expected: Vec<_> =
                nud.map(|nud| Event::Neighbor(Neighbor { ifindex: 5, address, nud })).into_iter().collect();
            assert_eq!(events(&raw_neighbor(kind, state, flags)), expected, "type {kind} state {state:#x}");
        }
    }

    #[test]
    fn a_message_that_is_cut_short_hides_only_itself() {
        let whole = raw_neighbor(28, 0x20, 0);
        for cut in 0..whole.len() {
            assert_eq!(events(&whole[..cut]), [], "cut at {cut}");
        }
        // A body too short for `struct ndmsg`, in front of a good one.
        let mut bytes = 20u32.to_ne_bytes().to_vec();
        bytes.extend(28u16.to_ne_bytes());
        bytes.extend([0; 14]);
        bytes.extend(&whole);
        assert_eq!(events(&bytes).len(), 1);
    }

    #[test]
    fn group_addresses_are_no_stations() {
        assert_eq!(nud(NeighbourState::Noarp, Some(Mac([1, 0, 0x5e, 0, 0, 9]))), None);
        assert_eq!(nud(NeighbourState::Noarp, Some(MAC)), Some(Nud::Valid(MAC, Validity::Permanent)));
        assert_eq!(nud(NeighbourState::Reachable, None), None);
    }

    /// More changes than the kernel keeps for a reader that is away: it tells of the loss, and what happens after that
    /// must arrive, although the reader has not yet read what is left of the flood.
    #[test]
    fn after_a_loss_nothing_more_is_lost() {
        use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
        millrace_lab::test(|lab| {
            let node = lab.node("r")?;
            node.ip("link add one type veth peer name two")?;
            node.ip("link set one up")?;
            let ifindex = node.ip_json("link show dev one")?[0]["ifindex"].as_u64();
            let namespace = std::fs::File::open(format!("/run/netns/{}", node.namespace()))?;
            let mut netlink = std::thread::scope(|scope| {
                let open = || {
                    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
                    Ok::<_, anyhow::Error>(Netlink::open()?)
                };
                scope.spawn(open).join().unwrap()
            })?;
            let line = |n: u32| {
                format!("neigh add 10.1.{}.{} dev one lladdr {MAC} nud permanent\n", n / 250, n % 250)
            };
            let flood = node.dir().join("flood");
            std::fs::write(&flood, (0..20_000).map(line).collect::<String>())?;
            node.ip(&format!("-batch {}", flood.display()))?;

            let mut events = Vec::new();
            assert_eq!(netlink.read_events(&mut events)?, Poll::Lost);
            node.ip("neigh delete 10.1.0.7 dev one")?;
            assert_eq!(netlink.read_events(&mut events)?, Poll::Drained);
            let address = Ipv4Addr::new(10, 1, 0, 7);
            let gone = Neighbor { ifindex: u32::try_from(ifindex.unwrap())?, address, nud: Nud::Gone };
            assert_eq!(events.last(), Some(&Event::Neighbor(gone)), "of {} events", events.len());
            assert_eq!(netlink.dump()?.neighbors.len(), 19_999);
            Ok(())
        });
    }
}
