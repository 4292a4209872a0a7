//! The dataplane's own number for an interface.

/// Index of an interface in the dataplane's port table; dense from 0, stable while the interface is configured.
///
/// It is not a kernel ifindex: that changes when a device is re-created, and is too sparse to index arrays with.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct PortId(pub u16);

impl PortId {
    /// Ports a dataplane can have. Per-port arrays have this length.
    pub const MAX: usize = 256;

    #[inline]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}
