//! The port table: which configured interface has which number, and which device bears its name. Pure.
//!
//! A port is a name in the configuration and keeps its number for as long as it is configured, whatever becomes of the
//! device: when a device is removed and made anew, groups and neighbours that name the port mean the new one.

use std::collections::BTreeMap;

use millrace_net::PortId;

use crate::control_link::InterfaceConfig;
use crate::netlink::Link;

/// One configured interface. `S` is what it takes to serve it: attachment and sockets.
#[derive(Debug)]
pub(crate) struct Port<S> {
    pub(crate) config: InterfaceConfig,
    /// The device that bears the name.
    pub(crate) device: Option<Link>,
    /// Whether the device hands over packets with checksums that are not complete.
    pub(crate) partial_checksums: bool,
    /// In service, if some.
    pub(crate) service: Option<S>,
    /// Why it is not in service, in a sentence with what to do.
    pub(crate) problem: Option<String>,
}

/// More interfaces than a dataplane has ports.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0} interfaces are configured; at most {max} are possible", max = PortId::MAX)]
pub(crate) struct TooManyPorts(usize);

/// Refuses more interfaces than there are ports.
pub(crate) fn check_number(interfaces: &[InterfaceConfig]) -> Result<(), TooManyPorts> {
    if interfaces.len() <= PortId::MAX { Ok(()) } else { Err(TooManyPorts(interfaces.len())) }
}

/// What a new configuration means for the ports.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct ConfigDiff {
    pub(crate) added: Vec<PortId>,
    pub(crate) changed: Vec<PortId>,
}

#[derive(Debug)]
pub(crate) struct PortTable<S> {
    slots: Vec<Option<Port<S>>>,
    by_ifindex: BTreeMap<u32, PortId>,
    /// Where the search for a free number begins, so that one that was given back is not at once another interface's.
    next: usize,
}

impl<S> Default for PortTable<S> {
    fn default() -> Self {
        Self { slots: Vec::new(), by_ifindex: BTreeMap::new(), next: 0 }
    }
}

impl<S> PortTable<S> {
    pub(crate) fn get(&self, id: PortId) -> Option<&Port<S>> {
        self.slots.get(id.index())?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, id: PortId) -> Option<&mut Port<S>> {
        self.slots.get_mut(id.index())?.as_mut()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (PortId, &Port<S>)> {
        self.slots.iter().zip(0..).filter_map(|(slot, id)| slot.as_ref().map(|port| (PortId(id), port)))
    }

    pub(crate) fn ids(&self) -> Vec<PortId> {
        self.iter().map(|(id, _)| id).collect()
    }

    /// Every number that is or was a port's.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = PortId> + use<S> {
        (0..).take(self.slots.len()).map(PortId)
    }

    /// The port whose device has this number at present.
    pub(crate) fn by_ifindex(&self, ifindex: u32) -> Option<PortId> {
        self.by_ifindex.get(&ifindex).copied()
    }

    pub(crate) fn ifindex(&self, id: PortId) -> Option<u32> {
        Some(self.get(id)?.device.as_ref()?.ifindex)
    }

    pub(crate) fn name(&self, id: PortId) -> &str {
        self.get(id).map_or("", |port| &port.config.name)
    }

    fn by_name(&self, name: &str) -> Option<PortId> {
        self.iter().find(|(_, port)| port.config.name == name).map(|(id, _)| id)
    }

    /// Ports that `interfaces` no longer names. They are to be taken out of service and then removed.
    pub(crate) fn not_in(&self, interfaces: &[InterfaceConfig]) -> Vec<PortId> {
        let named = |name: &str| interfaces.iter().any(|interface| interface.name == name);
        self.iter().filter(|(_, port)| !named(&port.config.name)).map(|(id, _)| id).collect()
    }

    pub(crate) fn remove(&mut self, id: PortId) {
        self.by_ifindex.retain(|_, of| *of != id);
        if let Some(slot) = self.slots.get_mut(id.index()) {
            *slot = None;
        }
    }

    /// Makes ports of what is new in `interfaces` and takes over what changed.
    pub(crate) fn configure(&mut self, interfaces: &[InterfaceConfig]) -> Result<ConfigDiff, TooManyPorts> {
        check_number(interfaces)?;
        let mut diff = ConfigDiff::default();
        for interface in interfaces {
            if let Some(id) = self.by_name(&interface.name) {
                if let Some(port) = self.get_mut(id).filter(|port| port.config != *interface) {
                    port.config = interface.clone();
                    diff.changed.push(id);
                }
                continue;
            }
            let id = self.free_id().ok_or(TooManyPorts(interfaces.len()))?;
            if self.slots.len() <= id.index() {
                self.slots.resize_with(id.index() + 1, || None);
            }
            self.slots[id.index()] = Some(Port {
                config: interface.clone(),
                device: None,
                partial_checksums: false,
                service: None,
                problem: None,
            });
            diff.added.push(id);
        }
        Ok(diff)
    }

    fn free_id(&mut self) -> Option<PortId> {
        let candidates = (self.next..PortId::MAX).chain(0..self.next);
        let index =
            candidates.into_iter().find(|index| self.slots.get(*index).is_none_or(Option::is_none))?;
        self.next = (index + 1) % PortId::MAX;
        u16::try_from(index).ok().map(PortId)
    }

    /// Notes which device bears the port's name. True if it is another device than before, or none.
    pub(crate) fn set_device(&mut self, id: PortId, device: Option<Link>) -> bool {
        let Some(port) = self.get_mut(id) else { return false };
        let before = port.device.as_ref().map(|link| link.ifindex);
        let after = device.as_ref().map(|link| link.ifindex);
        port.device = device;
        if before == after {
            return false;
        }
        self.by_ifindex.retain(|_, of| *of != id);
        if let Some(ifindex) = after {
            self.by_ifindex.insert(ifindex, id);
        }
        true
    }
}

/// Drivers whose frames from a local stack carry only the pseudo-header sum as their checksum: the packet was never
/// on a wire. By IFLA_INFO_KIND for devices made by rtnetlink, by the driver's name for the rest.
pub(crate) fn has_partial_checksums(kind: Option<&str>, driver: Option<&str>) -> bool {
    match kind {
        Some(kind) => matches!(
            kind,
            "veth"
                | "tun"
                | "bridge"
                | "macvlan"
                | "macvtap"
                | "ipvlan"
                | "vlan"
                | "netkit"
                | "bond"
                | "team"
                | "dummy"
        ),
        None => matches!(
            driver,
            Some("virtio_net" | "xen_netfront" | "vif" | "veth" | "tun" | "hv_netvsc" | "vmxnet3")
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control_link::{OnFailure, Queues, Urpf};
    use millrace_net::Mac;

    fn interface(name: &str) -> InterfaceConfig {
        InterfaceConfig {
            name: name.into(),
            nat: None,
            urpf: Urpf::Off,
            on_failure: OnFailure::Drop,
            queues: Queues::All,
            mss_clamp: None,
            vlan: None,
            guard: Default::default(),
            switches: Default::default(),
        }
    }

    fn link(ifindex: u32, name: &str) -> Link {
        Link {
            ifindex,
            name: name.into(),
            mac: Some(Mac([2, 0, 0, 0, 0, 1])),
            mtu: 1500,
            admin_up: true,
            carrier: true,
            ethernet: true,
            kind: None,
            rx_queues: 1,
        }
    }

    #[test]
    fn a_configuration_is_taken_over_by_its_difference() {
        let mut table = PortTable::<()>::default();
        let diff = table.configure(&[interface("a"), interface("b")]).unwrap();
        assert_eq!(diff, ConfigDiff { added: vec![PortId(0), PortId(1)], changed: vec![] });

        let strict = InterfaceConfig { urpf: Urpf::Strict, ..interface("b") };
        let next = [strict.clone(), interface("c")];
        assert_eq!(table.not_in(&next), [PortId(0)]);
        table.remove(PortId(0));
        let diff = table.configure(&next).unwrap();
        assert_eq!(diff, ConfigDiff { added: vec![PortId(2)], changed: vec![PortId(1)] });
        assert_eq!(table.get(PortId(1)).unwrap().config, strict);
        assert_eq!(table.configure(&next).unwrap(), ConfigDiff::default(), "equal config changes nothing");
    }

    #[test]
    fn numbers_are_given_again_only_when_all_have_been() {
        let mut table = PortTable::<()>::default();
        let many: Vec<_> = (0..PortId::MAX).map(|n| interface(&format!("e{n}"))).collect();
        table.configure(&many[..PortId::MAX - 1]).unwrap();
        table.remove(PortId(0));
        assert_eq!(table.configure(&[interface("x")]).unwrap().added, [PortId(255)]);
        assert_eq!(table.configure(&[interface("y")]).unwrap().added, [PortId(0)]);
        assert!(table.configure(&[interface("z")]).is_err());
    }

    #[test]
    fn a_port_follows_its_device_through_removal_and_renaming() {
        let mut table = PortTable::<()>::default();
        table.configure(&[interface("a"), interface("b")]).unwrap();
        let (a, b) = (PortId(0), PortId(1));
        // (port, device, whether it is another one, what ifindex 5, 9 map to)
        for (port, device, other, five, nine) in [
            (a, Some(link(5, "a")), true, Some(a), None),
            (a, Some(Link { mtu: 1400, ..link(5, "a") }), false, Some(a), None),
            (a, None, true, None, None),
            (a, None, false, None, None),
            (a, Some(link(9, "a")), true, None, Some(a)),
            (b, Some(link(5, "b")), true, Some(b), Some(a)),
            (b, Some(link(6, "b")), true, None, Some(a)),
        ] {
            assert_eq!(table.set_device(port, device.clone()), other, "{device:?}");
            assert_eq!((table.by_ifindex(5), table.by_ifindex(9)), (five, nine), "{device:?}");
        }
        table.remove(a);
        assert_eq!(table.by_ifindex(9), None);
    }

    #[test]
    fn partial_checksums() {
        for (kind, driver, expected) in [
            (Some("veth"), None, true),
            (Some("tun"), Some("tun"), true),
            (Some("vxlan"), None, false),
            (None, Some("virtio_net"), true),
            (None, Some("ixgbe"), false),
            (None, None, false),
        ] {
            assert_eq!(has_partial_checksums(kind, driver), expected, "{kind:?} {driver:?}");
        }
    }
}
