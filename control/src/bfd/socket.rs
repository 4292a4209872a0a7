//! The sockets: one that hears, and one a session that speaks. RFC 5881 §4, §5.

use std::io::{self, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use millrace_bfd::wire;
use millrace_proto::{Datagram, IfIndex, Transmit};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrIn, recvmsg, setsockopt, sockopt};
use socket2::{Domain, Protocol, Socket, Type};

/// Control packets have 24 octets, with authentication up to 52; what is longer is cut, and refused for its length.
const LONGEST: usize = 128;
/// A second of thousands of sessions.
const RECEIVE_BUFFER: usize = 1 << 20;
/// Network control (RFC 4594): the last to be dropped.
const TOS: u32 = 0xc0;

/// Hears UDP port 3784 on all interfaces, with interface and TTL of each datagram.
#[derive(Debug)]
pub(super) struct Ear {
    socket: Socket,
}

impl Ear {
    pub(super) fn open() -> io::Result<Self> {
        let socket = udp()?;
        setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
        setsockopt(&socket, sockopt::Ipv4RecvTtl, &true)?;
        socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
        socket.bind(&SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, wire::PORT).into())?;
        Ok(Self { socket })
    }

    /// The next datagram, if one waits. One that lacks something of its addresses is passed over.
    pub(super) fn hear(&self) -> io::Result<Option<Datagram>> {
        let mut octets = [0; LONGEST];
        let mut control = nix::cmsg_space!(nix::libc::in_pktinfo, i32);
        loop {
            let mut parts = [IoSliceMut::new(&mut octets)];
            let received = match recvmsg::<SockaddrIn>(
                self.socket.as_raw_fd(),
                &mut parts,
                Some(&mut control),
                MsgFlags::MSG_DONTWAIT,
            ) {
                Ok(received) => received,
                Err(nix::Error::EAGAIN) => return Ok(None),
                // An ICMP error to something that was sent, or a signal.
                Err(nix::Error::EINTR | nix::Error::ECONNREFUSED) => continue,
                Err(error) => return Err(error.into()),
            };
            let (mut interface, mut destination, mut ttl) = (None, Ipv4Addr::UNSPECIFIED, None);
            for message in received.cmsgs()? {
                if let ControlMessageOwned::Ipv4PacketInfo(info) = message {
                    interface = u32::try_from(info.ipi_ifindex).ok().map(IfIndex);
                    destination = Ipv4Addr::from(u32::from_be(info.ipi_addr.s_addr));
                } else if let ControlMessageOwned::Ipv4Ttl(received) = message {
                    ttl = u8::try_from(received).ok();
                }
            }
            let (len, source) = (received.bytes, received.address);
            let (Some(source), Some(interface)) = (source, interface) else { continue };
            return Ok(Some(Datagram {
                interface,
                source: SocketAddrV4::new(source.ip(), source.port()),
                destination: SocketAddrV4::new(destination, wire::PORT),
                ttl,
                payload: octets.get(..len).unwrap_or_default().to_vec(),
            }));
        }
    }
}

impl AsFd for Ear {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Sends the packets of one session from its own port, on its own interface.
#[derive(Debug)]
pub(super) struct Mouth {
    socket: Socket,
}

impl Mouth {
    /// `interface` by its name.
    pub(super) fn open(interface: &str, source: SocketAddrV4) -> io::Result<Self> {
        let socket = udp()?;
        socket.bind_device(Some(interface.as_bytes()))?;
        socket.set_ttl_v4(255)?;
        socket.set_tos_v4(TOS)?;
        socket.bind(&source.into())?;
        Ok(Self { socket })
    }

    pub(super) fn speak(&self, packet: &Transmit) -> io::Result<()> {
        self.socket.send_to(&packet.payload, &SocketAddr::V4(packet.destination).into()).map(drop)
    }
}

fn udp() -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM.nonblocking().cloexec(), Some(Protocol::UDP))?;
    Ok(socket)
}
