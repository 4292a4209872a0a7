//! The XDP program in the kernel: loads it once, attaches it to interfaces, keeps its maps.
//!
//! An [`Attachment`] is a bpf_link: when it is dropped, or the process dies, the program is off the interface. The
//! FIB's memory belongs to the program's maps, so that it can read what the workers read.

use std::cell::RefCell;
use std::error::Error;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::rc::Rc;
use std::sync::atomic::AtomicU64;

use aya::maps::{HashMap, Map, MapData, MapError, PerCpuArray, XskMap};
use aya::programs::links::FdLink;
use aya::programs::{ProgramError, Xdp as Program, XdpMode, loaded_programs};
use aya::{Ebpf, EbpfError, EbpfLoader};
use millrace_ebpf_abi::{
    Interface, LOCAL, LocalKey, MAX_QUEUES, NAT_PORT_WORDS, XdpOutcome, name, outcome_slot,
};
use millrace_fib::{Geometry, Slices, Words};
use millrace_net::PortId;
use millrace_xsk::MappedWords;
use netlink_packet_core::{NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkMessage, LinkXdp};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use rustix::io::Errno;

/// What `build.rs` compiled from `ebpf/`; none without a BPF toolchain.
const OBJECT: Option<&[u8]> = include!(concat!(env!("OUT_DIR"), "/bpf_object.rs"));

/// The XDP program cannot do its work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum XdpError {
    #[error(
        "this millrace-dataplane was built without its XDP program, because no BPF toolchain was there; \
         run `make setup`, then build again"
    )]
    NotBuilt,
    #[error(
        "not permitted to load an XDP program; run as root, or with CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON \
         (systemd: AmbientCapabilities, a container: --cap-add)"
    )]
    NoRights,
    #[error("the kernel has no memory for the maps of the XDP program: {0}")]
    NoMemory(#[source] EbpfError),
    #[error("the kernel does not take the XDP program (Linux 5.11 or newer is needed): {0}")]
    Refused(#[source] EbpfError),
    #[error("the built XDP program lacks {0}; clean and build again")]
    Incomplete(&'static str),
    #[error("the memory of the forwarding table: {0}")]
    Memory(#[from] millrace_xsk::MapError),
    #[error("{map}: {source}")]
    Map { map: &'static str, source: MapError },
    #[error(
        "queue {queue}: at most {MAX_QUEUES} queues of an interface can be served; `ethtool -L IF combined {MAX_QUEUES}`"
    )]
    TooManyQueues { queue: u32 },
    #[error("XDP on {interface}: {reason}")]
    Attach { interface: String, reason: AttachFailure },
}

/// Why the program cannot be attached to an interface.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AttachFailure {
    #[error("another millrace serves this interface; only one can, stop it first")]
    OtherMillrace,
    #[error(
        "another XDP program is attached ({0}); stop the process that owns it, \
         or take it off with `ip link set dev IF xdp off`"
    )]
    Occupied(Occupant),
    #[error(
        "the driver has no native XDP; set mode = \"generic\" in [dataplane] (slower, works on every interface)"
    )]
    NoNativeMode,
    #[error(
        "its MTU, or its peer's if it is a veth, is too large for native XDP (veth: 3506); \
         `ip link set dev IF mtu 1500` on both ends, or set mode = \"generic\" in [dataplane]"
    )]
    MtuTooLarge,
    #[error("the driver has too few free queues for XDP; use fewer with `ethtool -L IF combined N`")]
    NoQueues,
    #[error("not permitted; the process needs CAP_NET_ADMIN")]
    NoRights,
    #[error("there is no such interface")]
    NoDevice,
    #[error("the kernel has no bpf_link for XDP; Linux 5.9 or newer is needed")]
    NoLink,
    #[error(
        "the driver refuses ({0}); `ethtool -i IF` names it, and the kernel log may say why (MTU, LRO, channels)"
    )]
    Driver(#[source] ProgramError),
}

/// The XDP program on an interface that is not ours.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Occupant {
    id: u32,
    name: Option<String>,
}

impl std::fmt::Display for Occupant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{name}, id {}", self.id),
            None => write!(f, "id {}", self.id),
        }
    }
}

/// The loaded program and its maps.
pub(crate) struct Xdp {
    program: Ebpf,
    maps: Rc<RefCell<Maps>>,
    outcomes: PerCpuArray<MapData, u64>,
    fib: Slices<'static>,
    nat_ports: &'static [AtomicU64],
}

impl std::fmt::Debug for Xdp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Xdp").finish_non_exhaustive()
    }
}

/// The maps that attachments change.
struct Maps {
    interfaces: HashMap<MapData, u32, u64>,
    locals: HashMap<MapData, LocalKey, u8>,
    sockets: XskMap<MapData>,
}

impl Xdp {
    /// Loads the program and makes its maps, those of the FIB as large as `geometry` says. Nothing is attached yet.
    pub(crate) fn load(geometry: Geometry) -> Result<Self, XdpError> {
        let object = OBJECT.ok_or(XdpError::NotBuilt)?;
        let lengths = fib_lengths(&geometry.words());
        let mut loader = EbpfLoader::new();
        for (map, words) in name::FIB.iter().zip(lengths) {
            // A number of words beyond u32 is beyond any memory, and the kernel says so.
            loader.map_max_entries(map, u32::try_from(words).unwrap_or(u32::MAX));
        }
        let mut program = loader.load(object).map_err(load_error)?;
        program_of(&mut program)?.load().map_err(|error| load_error(error.into()))?;

        let [tbl24, tbl8, groups, buckets, adjacencies, neighbors] = name::FIB;
        let mut words = |map, words| -> Result<_, XdpError> {
            match program.take_map(map) {
                Some(Map::Array(data)) => Ok(MappedWords::map(data.fd().as_fd(), words)?.words()),
                Some(_) | None => Err(XdpError::Incomplete(map)),
            }
        };
        let [tbl24_len, tbl8_len, groups_len, buckets_len, adjacencies_len, neighbors_len] = lengths;
        let fib = Slices {
            tbl24: words(tbl24, tbl24_len)?,
            tbl8: words(tbl8, tbl8_len)?,
            groups: words(groups, groups_len)?,
            buckets: words(buckets, buckets_len)?,
            adjacencies: words(adjacencies, adjacencies_len)?,
            neighbors: words(neighbors, neighbors_len)?,
        };
        let nat_ports = words(name::NAT_PORTS, NAT_PORT_WORDS as usize)?;
        let maps = Maps {
            interfaces: take(&mut program, name::INTERFACES)?,
            locals: take(&mut program, name::LOCALS)?,
            sockets: take(&mut program, name::XSKS)?,
        };
        let outcomes = take(&mut program, name::OUTCOMES)?;
        Ok(Self { program, maps: Rc::new(RefCell::new(maps)), outcomes, fib, nat_ports })
    }

    /// The memory of the FIB, zeroed; it stays for the life of the process.
    pub(crate) fn fib_slices(&self) -> Slices<'static> {
        self.fib
    }

    /// Attaches the program to an interface, by its driver or, if `generic`, by the stack. Until sockets are set,
    /// and for queues without one, `fail_open` says whether frames in transit go to the kernel or are dropped.
    pub(crate) fn attach(
        &mut self,
        port: PortId,
        ifindex: u32,
        generic: bool,
        fail_open: bool,
    ) -> Result<Attachment, XdpError> {
        let xsk_base = u32::from(port.0) * MAX_QUEUES;
        let row = Interface { xsk_base, port: port.0, fail_open };
        let mut attachment =
            Attachment { link: None, maps: Rc::clone(&self.maps), ifindex, row, queues: Vec::new(), generic };
        // The row first: without it the program takes the interface for unknown.
        attachment.set_fail_open(fail_open)?;
        let mode = if generic { XdpMode::Skb } else { XdpMode::Driver };
        let program = program_of(&mut self.program)?;
        attachment.link = match link(program, ifindex, mode) {
            Ok(link) => Some(link),
            Err(error) => return Err(attach_error(ifindex, generic, error)),
        };
        Ok(attachment)
    }

    /// Has packets for `address` go to the kernel; with a slot only those whose port NAT does not hold in that slot of
    /// [`Self::nat_ports`].
    pub(crate) fn local_insert(&mut self, address: Ipv4Addr, shared: Option<u8>) -> Result<(), XdpError> {
        let mut maps = self.maps.borrow_mut();
        let whose = shared.map_or(LOCAL, |slot| slot + 1);
        maps.locals.insert(address.octets(), whose, 0).map_err(map_error(name::LOCALS))
    }

    /// Bits of ports that NAT holds on shared addresses, by [`millrace_ebpf_abi::port_word`].
    pub(crate) fn nat_ports(&self) -> &'static [AtomicU64] {
        self.nat_ports
    }

    /// Undoes [`Self::local_insert`]; an address that is not there is fine.
    pub(crate) fn local_remove(&mut self, address: Ipv4Addr) -> Result<(), XdpError> {
        let mut maps = self.maps.borrow_mut();
        absent_is_fine(maps.locals.remove(&address.octets())).map_err(map_error(name::LOCALS))
    }

    /// What the program decided about the frames of a port since it was loaded, summed over CPUs.
    pub(crate) fn outcomes(&self, port: PortId) -> Vec<(XdpOutcome, u64)> {
        XdpOutcome::ALL.iter().map(|outcome| (*outcome, self.count(port.0, *outcome))).collect()
    }

    fn count(&self, row: u16, outcome: XdpOutcome) -> u64 {
        // The only failure is a row beyond the map, which has counted nothing.
        self.outcomes.get(&outcome_slot(row, outcome), 0).map_or(0, |cpus| cpus.iter().sum())
    }
}

/// The program on one interface; dropping it takes the program off.
pub(crate) struct Attachment {
    /// None only while attaching.
    link: Option<FdLink>,
    maps: Rc<RefCell<Maps>>,
    ifindex: u32,
    row: Interface,
    /// Queues that were given a socket.
    queues: Vec<u32>,
    generic: bool,
}

impl Attachment {
    /// Gives the frames of a receive queue to the socket bound to it, in place of an earlier one.
    pub(crate) fn set_socket(&mut self, queue: u32, socket: BorrowedFd<'_>) -> Result<(), XdpError> {
        if queue >= MAX_QUEUES {
            return Err(XdpError::TooManyQueues { queue });
        }
        let mut maps = self.maps.borrow_mut();
        let index = self.row.xsk_base + queue;
        maps.sockets.set(index, socket.as_raw_fd(), 0).map_err(map_error(name::XSKS))?;
        self.queues.push(queue);
        Ok(())
    }

    /// Says what happens to frames of a queue without a live socket.
    pub(crate) fn set_fail_open(&self, fail_open: bool) -> Result<(), XdpError> {
        let row = Interface { fail_open, ..self.row };
        let mut maps = self.maps.borrow_mut();
        maps.interfaces.insert(self.ifindex, row.to_bits(), 0).map_err(map_error(name::INTERFACES))
    }

    /// Where the program runs: "native" is the driver, "generic" the stack.
    pub(crate) fn mode_name(&self) -> &'static str {
        if self.generic { "generic" } else { "native" }
    }
}

impl std::fmt::Debug for Attachment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Attachment")
            .field("ifindex", &self.ifindex)
            .field("row", &self.row)
            .finish_non_exhaustive()
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        // The program first, so that it never meets an interface without a row.
        drop(self.link.take());
        let mut maps = self.maps.borrow_mut();
        let sockets = self.queues.iter().map(|queue| self.row.xsk_base + queue);
        // A socket that is closed left the map by itself.
        let unset: Vec<_> = sockets.map(|index| absent_is_fine(maps.sockets.unset(index))).collect();
        let removed = absent_is_fine(maps.interfaces.remove(&self.ifindex));
        for error in unset.into_iter().chain([removed]).filter_map(Result::err) {
            tracing::warn!(ifindex = self.ifindex, %error, "a row of the XDP program's maps stays behind");
        }
    }
}

fn fib_lengths(words: &Words) -> [usize; 6] {
    let Words { tbl24, tbl8, groups, buckets, adjacencies, neighbors } = *words;
    [tbl24, tbl8, groups, buckets, adjacencies, neighbors]
}

fn program_of(object: &mut Ebpf) -> Result<&mut Program, XdpError> {
    let program = object.program_mut(name::PROGRAM).ok_or(XdpError::Incomplete(name::PROGRAM))?;
    program.try_into().map_err(|_: ProgramError| XdpError::Incomplete(name::PROGRAM))
}

fn take<M: TryFrom<Map, Error = MapError>>(object: &mut Ebpf, map: &'static str) -> Result<M, XdpError> {
    let taken = object.take_map(map).ok_or(XdpError::Incomplete(map))?;
    taken.try_into().map_err(map_error(map))
}

/// Attaches by bpf_link.
fn link(program: &mut Program, ifindex: u32, mode: XdpMode) -> Result<FdLink, ProgramError> {
    let id = program.attach_to_if_index(ifindex, mode)?;
    let link = program.take_link(id)?;
    // aya may have attached by netlink, which would outlive the process. The conversion then fails and detaches.
    FdLink::try_from(link).map_err(|_| ProgramError::NotAttached)
}

fn map_error(map: &'static str) -> impl Fn(MapError) -> XdpError {
    move |source| XdpError::Map { map, source }
}

fn absent_is_fine(result: Result<(), MapError>) -> Result<(), MapError> {
    match result {
        Err(error) if matches!(error, MapError::KeyNotFound) || errno_of(&error) == Some(Errno::NOENT) => {
            Ok(())
        }
        other => other,
    }
}

/// The errno at the bottom of an error.
fn errno_of(error: &(dyn Error + 'static)) -> Option<Errno> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return Errno::from_io_error(error);
        }
        cause = error.source();
    }
    None
}

fn load_error(error: EbpfError) -> XdpError {
    match errno_of(&error) {
        Some(Errno::PERM | Errno::ACCESS) => XdpError::NoRights,
        Some(Errno::NOMEM) => XdpError::NoMemory(error),
        _ => XdpError::Refused(error),
    }
}

fn attach_error(ifindex: u32, generic: bool, error: ProgramError) -> XdpError {
    let found = link_facts(ifindex);
    let occupant = found.as_ref().and_then(|link| link.occupant.clone());
    let reason = match errno_of(&error) {
        // Taken by a program in this mode, or in the other.
        Some(Errno::BUSY | Errno::EXIST) => match occupant {
            Some(Occupant { name: Some(name), .. }) if name == name::PROGRAM => AttachFailure::OtherMillrace,
            Some(occupant) => AttachFailure::Occupied(occupant),
            None => AttachFailure::Driver(error),
        },
        Some(Errno::OPNOTSUPP) if !generic => AttachFailure::NoNativeMode,
        Some(Errno::RANGE) => AttachFailure::MtuTooLarge,
        Some(Errno::NOMEM | Errno::NOSPC) => AttachFailure::NoQueues,
        Some(Errno::PERM | Errno::ACCESS) => AttachFailure::NoRights,
        Some(Errno::NODEV | Errno::NXIO) => AttachFailure::NoDevice,
        None if matches!(error, ProgramError::NotAttached) => AttachFailure::NoLink,
        _ => AttachFailure::Driver(error),
    };
    let interface = found.map_or_else(|| format!("interface {ifindex}"), |link| link.name);
    XdpError::Attach { interface, reason }
}

/// What an error about an interface says of it.
struct LinkFacts {
    name: String,
    occupant: Option<Occupant>,
}

/// Asks rtnetlink.
fn link_facts(ifindex: u32) -> Option<LinkFacts> {
    let mut link = LinkMessage::default();
    link.header.index = ifindex;
    let mut request = NetlinkMessage::from(RouteNetlinkMessage::GetLink(link));
    request.header.flags = NLM_F_REQUEST;
    request.finalize();
    let mut bytes = vec![0; request.buffer_len()];
    request.serialize(&mut bytes);

    let mut socket = Socket::new(NETLINK_ROUTE).ok()?;
    socket.bind_auto().ok()?;
    socket.connect(&SocketAddr::new(0, 0)).ok()?;
    socket.send(&bytes, 0).ok()?;
    // One link is one message, which the kernel answers before `send` returns.
    let (answer, _) = socket.recv_from_full().ok()?;
    let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&answer).ok()?;
    let NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link)) = answer.payload else {
        return None;
    };
    let mut name = None;
    let mut program = None;
    for attribute in link.attributes {
        if let LinkAttribute::IfName(found) = attribute {
            name = Some(found);
        } else if let LinkAttribute::Xdp(facts) = attribute {
            program =
                facts.iter().find_map(|fact| if let LinkXdp::ProgId(id) = fact { Some(*id) } else { None });
        }
    }
    let occupant = program.map(|id| Occupant { id, name: program_name(id) });
    Some(LinkFacts { name: name?, occupant })
}

fn program_name(id: u32) -> Option<String> {
    let program = loaded_programs().filter_map(Result::ok).find(|program| program.id() == id)?;
    program.name_as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests;
