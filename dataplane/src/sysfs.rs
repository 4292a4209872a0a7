//! What only /sys and /proc/sys know of a device: its driver, its receive queues, its switches.
//!
//! /sys shows the network namespace in which it was mounted (`ip netns exec` mounts it anew, `nsenter` does not), so
//! what it says is believed only where the device's number agrees with rtnetlink's.

use std::io;
use std::path::{Path, PathBuf};

use crate::netlink::Link;

/// The device's directory, if /sys shows our namespace.
fn directory(link: &Link) -> Option<PathBuf> {
    let directory = Path::new("/sys/class/net").join(&link.name);
    let ifindex = std::fs::read_to_string(directory.join("ifindex")).ok()?;
    (ifindex.trim().parse() == Ok(link.ifindex)).then_some(directory)
}

/// Name of the driver; none for devices without hardware.
pub(crate) fn driver(link: &Link) -> Option<String> {
    let target = std::fs::read_link(directory(link)?.join("device/driver")).ok()?;
    target.file_name().map(|name| name.to_string_lossy().into_owned())
}

/// Receive queues in use; none where /sys does not say.
pub(crate) fn rx_queues(link: &Link) -> Option<u32> {
    let entries = std::fs::read_dir(directory(link)?.join("queues")).ok()?;
    let queues =
        entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with("rx-")).count();
    u32::try_from(queues).ok().filter(|queues| 0 < *queues)
}

/// One of the device's counters; none where /sys does not say.
pub(crate) fn statistic(link: &Link, name: &str) -> Option<u64> {
    let file = directory(link)?.join("statistics").join(name);
    std::fs::read_to_string(file).ok()?.trim().parse().ok()
}

/// A switch of the kernel's IPv4 for one device. /proc/sys/net shows the caller's namespace.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Switch {
    /// It forwards what arrives on the device.
    Forwarding,
    /// It answers ARP requests for what is behind the router, where it forwards.
    ProxyArp,
}

impl Switch {
    fn file(self, device: &str) -> PathBuf {
        let name = match self {
            Self::Forwarding => "forwarding",
            Self::ProxyArp => "proxy_arp",
        };
        ["/proc/sys/net/ipv4/conf", device, name].iter().collect()
    }

    pub(crate) fn get(self, device: &str) -> io::Result<bool> {
        Ok(std::fs::read_to_string(self.file(device))?.trim() != "0")
    }

    pub(crate) fn set(self, device: &str, on: bool) -> io::Result<()> {
        std::fs::write(self.file(device), if on { "1" } else { "0" })
    }
}
