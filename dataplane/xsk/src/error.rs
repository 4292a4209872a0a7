//! Errors as sentences that say what to do.

use std::fmt;

use rustix::io::Errno;

/// The UMEM could not be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum UmemError {
    /// Zero frames, or more than the crate handles.
    #[error("a UMEM of {frames} frames is not possible: choose 1 to {max}")]
    Size { frames: u32, max: u32 },
    /// mmap failed.
    #[error("no memory for a UMEM of {bytes} bytes ({errno}): lower the number of frames")]
    Memory { bytes: usize, errno: Errno },
}

/// A BPF array could not be mapped.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum MapError {
    /// The descriptor is something else.
    #[error("the descriptor is not a BPF map")]
    NotAMap,
    /// Length 0, or beyond the address space.
    #[error("a mapping of {words} words is not possible")]
    Size { words: usize },
    /// mmap failed.
    #[error(
        "mapping a BPF array of {words} words failed: {errno}; the map must have the BPF_F_MMAPABLE flag and at least that many u64 values"
    )]
    Mmap { words: usize, errno: Errno },
}

/// A socket could not be opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("AF_XDP on interface index {ifindex}, queue {queue}: {failure}")]
pub struct OpenError {
    pub ifindex: u32,
    pub queue: u32,
    pub failure: OpenFailure,
}

/// Why a socket could not be opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum OpenFailure {
    /// This process has a socket there.
    #[error("this process already has a socket there")]
    AlreadyOpen,
    /// EBUSY until the time was up.
    #[error(
        "another process has an AF_XDP socket on this queue; stop it (`ss --xdp -p` names it), then start again"
    )]
    Busy,
    /// No such interface in this network namespace.
    #[error("there is no such interface")]
    NoDevice,
    /// The interface is down, or was removed.
    #[error("the interface is down or was removed; `ip link set IF up`")]
    Down,
    /// The queue number is beyond the interface's channels.
    #[error(
        "the interface has no such queue (`ethtool -l IF` shows its channels), or a ring size is not a power of two"
    )]
    NoQueue,
    /// The driver has no zero-copy, or not in its present setting.
    #[error(
        "the driver refuses zero-copy ({0}); set mode = \"auto\" or \"copy\", or see the driver's requirements with `ethtool -i IF`"
    )]
    NoZeroCopy(Errno),
    /// The kernel bound it in another mode than asked.
    #[error("the kernel bound the socket in another mode than asked for")]
    OtherMode,
    /// EPERM or EACCES.
    #[error("not permitted; the process needs CAP_NET_RAW and CAP_NET_ADMIN")]
    NoRights,
    /// RLIMIT_MEMLOCK.
    #[error(
        "the UMEM is larger than the memory this process may lock; give it CAP_IPC_LOCK or raise RLIMIT_MEMLOCK (`ulimit -l`)"
    )]
    MemoryLock,
    /// Out of memory.
    #[error("the kernel has no memory for it; lower the number of frames or the ring sizes")]
    NoMemory,
    /// Out of descriptors.
    #[error("no file descriptor is left; raise `ulimit -n`")]
    NoDescriptor,
    /// Out of socket numbers.
    #[error("too many sockets on one UMEM")]
    TooManySockets,
    /// No AF_XDP in this kernel.
    #[error(
        "this kernel has no AF_XDP with shared UMEM ({0}); Linux 5.11 or newer with CONFIG_XDP_SOCKETS is needed"
    )]
    Unsupported(Errno),
    /// Anything else.
    #[error("{step} failed: {errno}")]
    Other { step: OpenStep, errno: Errno },
}

/// What was being done when opening failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OpenStep {
    Socket,
    Register,
    RingSize,
    RingMap,
    BusyPoll,
    Bind,
    Options,
}

impl fmt::Display for OpenStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Socket => "creating the socket",
            Self::Register => "registering the UMEM",
            Self::RingSize => "setting a ring size",
            Self::RingMap => "mapping a ring",
            Self::BusyPoll => "setting busy polling (Linux 5.11 or newer, CAP_NET_ADMIN)",
            Self::Bind => "binding",
            Self::Options => "asking for the bound mode",
        })
    }
}

impl OpenFailure {
    /// The sentence for an errno of one step.
    pub(crate) fn from_errno(step: OpenStep, errno: Errno) -> Self {
        match errno {
            Errno::PERM | Errno::ACCESS => Self::NoRights,
            Errno::NOBUFS => Self::MemoryLock,
            Errno::NOMEM => Self::NoMemory,
            Errno::MFILE | Errno::NFILE => Self::NoDescriptor,
            Errno::AFNOSUPPORT | Errno::PROTONOSUPPORT | Errno::NOPROTOOPT if step != OpenStep::BusyPoll => {
                Self::Unsupported(errno)
            }
            Errno::NODEV if step == OpenStep::Bind => Self::NoDevice,
            Errno::NETDOWN | Errno::NXIO if step == OpenStep::Bind => Self::Down,
            Errno::BUSY if step == OpenStep::Bind => Self::Busy,
            Errno::INVAL if step == OpenStep::Bind || step == OpenStep::RingSize => Self::NoQueue,
            _ => Self::Other { step, errno },
        }
    }

    /// Whether another mode on the same queue could succeed.
    pub(crate) fn is_about_mode(self) -> bool {
        matches!(self, Self::NoZeroCopy(_) | Self::OtherMode)
    }
}
