//! A packet socket on one interface and one EtherType: frames beside the kernel's own stack, for the few that a
//! router's shell speaks itself. packet(7).

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with};

/// Non-blocking; receives what arrives on the interface with the EtherType, and sends whole frames there.
#[derive(Debug)]
pub struct LinkSocket {
    fd: OwnedFd,
}

impl LinkSocket {
    /// Needs CAP_NET_RAW.
    pub fn open(ifindex: u32, ethertype: u16) -> io::Result<Self> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        // Protocol 0 receives nothing: frames of other interfaces never get in before it is bound.
        let fd = socket_with(AddressFamily::PACKET, SocketType::RAW, flags, None)?;
        let out_of_range = |_| io::Error::from(io::ErrorKind::InvalidInput);
        let address = libc::sockaddr_ll {
            sll_family: u16::try_from(libc::AF_PACKET).map_err(out_of_range)?,
            sll_protocol: ethertype.to_be(),
            sll_ifindex: i32::try_from(ifindex).map_err(out_of_range)?,
            sll_hatype: 0,
            sll_pkttype: 0,
            sll_halen: 0,
            sll_addr: [0; 8],
        };
        let len = libc::socklen_t::try_from(size_of::<libc::sockaddr_ll>())
            .map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        // JUSTIFICATION: no crate in use has a safe address of the packet family.
        // SAFETY: the pointer is to a live sockaddr_ll and `len` is its size; the kernel only reads it.
        let bound = unsafe { libc::bind(fd.as_raw_fd(), (&raw const address).cast(), len) };
        if bound == 0 { Ok(Self { fd }) } else { Err(io::Error::last_os_error()) }
    }

    /// The next frame, from its Ethernet header on; the rest of a frame longer than `frame` is cut off.
    pub fn receive(&self, frame: &mut [u8]) -> io::Result<usize> {
        let (len, _) = recv(&self.fd, frame, RecvFlags::empty())?;
        Ok(len)
    }

    /// Sends a frame with its Ethernet header.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        send(&self.fd, frame, SendFlags::empty())?;
        Ok(())
    }
}

impl AsFd for LinkSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
