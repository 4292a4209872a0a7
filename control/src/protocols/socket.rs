//! Kernel sockets of protocols that talk on one link: UDP, or IP itself.
//!
//! One socket an interface, bound to the device: what comes in has come in there, and what is sent leaves there whatever the
//! routing table says. The TTL of what is received, and its destination, come as control messages (UDP) or stand in the
//! IP header that raw sockets receive.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::AsRawFd;
use std::sync::Arc;

use millrace_proto::{Datagram, IfIndex, Transmit};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn, recvmsg, sendmsg, setsockopt, sockopt,
};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, SockRef, Socket, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

/// For the receive buffer: a neighbour's whole table may come at once.
const RECEIVE_BUFFER: usize = 4 << 20;
/// Longest datagram.
const LONGEST: usize = 65_535;

/// What a socket receives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transport {
    /// Datagrams to this port.
    Udp(u16),
    /// Packets of this IP protocol; datagrams then have no ports.
    Ip(u8),
}

/// A socket on one interface, and the task that reads it. Dropping it ends both.
#[derive(Debug)]
pub struct LinkSocket {
    /// Whatever the transport is: of tokio's type only the readiness is used.
    socket: Arc<UdpSocket>,
    interface: IfIndex,
    transport: Transport,
    reader: AbortHandle,
}

impl Drop for LinkSocket {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl LinkSocket {
    /// Opens a socket on the interface of this index and name; what it receives goes to `inbox` as `wrap` makes it.
    /// Needs CAP_NET_RAW, and CAP_NET_BIND_SERVICE for ports below 1024. Call within a tokio runtime.
    pub fn open<I: Send + 'static>(
        transport: Transport,
        interface: IfIndex,
        name: &str,
        inbox: mpsc::Sender<I>,
        wrap: fn(Datagram) -> I,
    ) -> io::Result<Self> {
        let socket = match transport {
            Transport::Udp(_) => Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?,
            Transport::Ip(protocol) => {
                Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(i32::from(protocol))))?
            }
        };
        socket.set_nonblocking(true)?;
        socket.bind_device(Some(name.as_bytes()))?;
        socket.set_multicast_loop_v4(false)?;
        // Groups that others joined on this host are not ours.
        socket.set_multicast_all_v4(false)?;
        socket.set_broadcast(true)?;
        if setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER).is_err() {
            // Without CAP_NET_ADMIN: as much as the host lets everybody have.
            socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
        }
        // Network control (RFC 2474 §4.2.2.1, RFC 4594 §3.1): routing outlives congestion.
        socket.set_tos_v4(0xc0)?;
        if let Transport::Udp(port) = transport {
            socket.set_reuse_address(true)?;
            setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
            setsockopt(&socket, sockopt::Ipv4RecvTtl, &true)?;
            socket.bind(&SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port).into())?;
        }
        let socket = Arc::new(UdpSocket::from_std(socket.into())?);
        let reader = tokio::spawn(read(Arc::clone(&socket), transport, interface, inbox, wrap));
        Ok(Self { socket, interface, transport, reader: reader.abort_handle() })
    }

    /// Receives what is sent to a group.
    pub fn join(&self, group: Ipv4Addr) -> io::Result<()> {
        let on = InterfaceIndexOrAddress::Index(self.interface.0);
        match SockRef::from(&*self.socket).join_multicast_v4_n(&group, &on) {
            // Already.
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => Ok(()),
            other => other,
        }
    }

    pub fn leave(&self, group: Ipv4Addr) -> io::Result<()> {
        let on = InterfaceIndexOrAddress::Index(self.interface.0);
        SockRef::from(&*self.socket).leave_multicast_v4_n(&group, &on)
    }

    /// Sends at once, or fails: what the kernel has no room for is lost like on any link.
    pub fn send(&self, transmit: &Transmit) -> io::Result<()> {
        let from = nix::libc::in_pktinfo {
            ipi_ifindex: i32::try_from(self.interface.0).unwrap_or(0),
            ipi_spec_dst: nix::libc::in_addr { s_addr: u32::from(*transmit.source.ip()).to_be() },
            ipi_addr: nix::libc::in_addr { s_addr: 0 },
        };
        let ttl = i32::from(transmit.ttl);
        let port = match self.transport {
            Transport::Udp(_) => transmit.destination.port(),
            Transport::Ip(_) => 0,
        };
        let to = SockaddrIn::from(SocketAddrV4::new(*transmit.destination.ip(), port));
        sendmsg(
            self.socket.as_raw_fd(),
            &[IoSlice::new(&transmit.payload)],
            &[ControlMessage::Ipv4PacketInfo(&from), ControlMessage::Ipv4Ttl(&ttl)],
            MsgFlags::MSG_DONTWAIT,
            Some(&to),
        )?;
        Ok(())
    }
}

async fn read<I>(
    socket: Arc<UdpSocket>,
    transport: Transport,
    interface: IfIndex,
    inbox: mpsc::Sender<I>,
    wrap: fn(Datagram) -> I,
) {
    let mut buffer = vec![0; LONGEST];
    loop {
        if socket.readable().await.is_err() {
            return;
        }
        let received =
            socket.try_io(Interest::READABLE, || receive(&socket, transport, interface, &mut buffer));
        // Anything else was not ready after all, or an error queued on the socket (the link going down): read, and gone.
        if let Ok(Some(datagram)) = received
            && inbox.send(wrap(datagram)).await.is_err()
        {
            return;
        }
    }
}

/// None for what is no datagram of the transport.
fn receive(
    socket: &UdpSocket,
    transport: Transport,
    interface: IfIndex,
    buffer: &mut [u8],
) -> io::Result<Option<Datagram>> {
    let mut control = nix::cmsg_space!(nix::libc::in_pktinfo, i32);
    let mut parts = [IoSliceMut::new(buffer)];
    let message =
        recvmsg::<SockaddrIn>(socket.as_raw_fd(), &mut parts, Some(&mut control), MsgFlags::MSG_DONTWAIT)?;
    let Some(source) = message.address.map(SocketAddrV4::from) else { return Ok(None) };
    let (mut ttl, mut destination) = (None, Ipv4Addr::UNSPECIFIED);
    for control in message.cmsgs()? {
        // The kernel may add others.
        if let ControlMessageOwned::Ipv4Ttl(value) = control {
            ttl = u8::try_from(value).ok();
        } else if let ControlMessageOwned::Ipv4PacketInfo(info) = control {
            destination = Ipv4Addr::from(u32::from_be(info.ipi_addr.s_addr));
        }
    }
    let len = message.bytes;
    let bytes = buffer.get(..len).unwrap_or_default();
    Ok(match transport {
        Transport::Udp(port) => Some(Datagram {
            interface,
            source,
            destination: SocketAddrV4::new(destination, port),
            ttl,
            payload: bytes.to_vec(),
        }),
        Transport::Ip(_) => raw(interface, bytes),
    })
}

/// Raw IPv4 sockets receive the header too (raw(7)).
fn raw(interface: IfIndex, bytes: &[u8]) -> Option<Datagram> {
    let header_len = usize::from(bytes.first()? & 0x0f) * 4;
    let address = |at: usize| -> Option<Ipv4Addr> {
        let octets: [u8; 4] = bytes.get(at..at + 4)?.try_into().ok()?;
        Some(octets.into())
    };
    Some(Datagram {
        interface,
        source: SocketAddrV4::new(address(12)?, 0),
        destination: SocketAddrV4::new(address(16)?, 0),
        ttl: bytes.get(8).copied(),
        payload: bytes.get(header_len.max(20)..)?.to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_of_a_raw_packet_is_read_and_cut_off() {
        let mut packet = vec![0x46, 0xc0, 0, 28, 0, 1, 0, 0, 1, 89, 0, 0, 192, 0, 2, 1, 224, 0, 0, 5];
        packet.extend([0x94, 4, 0, 0, 7, 8, 9]);
        let datagram = raw(IfIndex(3), &packet).unwrap();
        assert_eq!(datagram.source, SocketAddrV4::new([192, 0, 2, 1].into(), 0));
        assert_eq!(datagram.destination, SocketAddrV4::new([224, 0, 0, 5].into(), 0));
        assert_eq!((datagram.ttl, datagram.payload), (Some(1), vec![7, 8, 9]));
        for len in 0..24 {
            assert_eq!(raw(IfIndex(3), &packet[..len]), None, "{len}");
        }
    }
}
