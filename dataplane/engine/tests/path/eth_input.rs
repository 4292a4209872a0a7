//! Reception of frames. RFC 894, RFC 1812 §3.3, §5.3.4.

use millrace_engine::VerdictKind::{Drop, Tx};
use millrace_net::{Mac, PortId};

use crate::rig::{Case, Datagram, LAN, Out, WAN, ethernet, mac_of, router_mac, run};

fn frame_to(mac: Mac) -> Vec<u8> {
    ethernet(mac, mac_of("192.0.2.10"), &Datagram::default().bytes())
}

#[test]
fn frames_are_accepted_only_for_the_router() {
    let plain = Datagram::default().on(LAN);
    let mut ipv6 = plain.clone();
    ipv6[12..14].copy_from_slice(&[0x86, 0xdd]);
    let mut tagged = plain.clone();
    tagged.splice(12..12, [0x81, 0, 0, 100]);
    let mut length = plain.clone();
    length[12..14].copy_from_slice(&[0x05, 0xdc]);
    let dropped =
        |name, frame: Vec<u8>, moved| Case { name, rx: vec![(LAN, frame)], verdict: Drop, tx: vec![], moved };
    run(vec![
        Case {
            name: "ours",
            rx: vec![(LAN, plain.clone())],
            verdict: Tx,
            tx: vec![Out::Forwarded(WAN, "198.51.100.2")],
            moved: &[],
        },
        dropped("empty", vec![], &[("drop eth-truncated", 1)]),
        dropped("13 bytes", plain[..13].to_vec(), &[("drop eth-truncated", 1)]),
        dropped("another port's address", frame_to(router_mac(WAN)), &[("drop eth-not-for-us", 1)]),
        dropped("broadcast", frame_to(Mac::BROADCAST), &[("drop eth-group", 1)]),
        dropped("multicast", frame_to(Mac([1, 0, 0x5e, 1, 2, 3])), &[("drop eth-group", 1)]),
        dropped("IPv6", ipv6, &[("drop eth-type-unknown", 1)]),
        dropped("tagged", tagged, &[("drop eth-type-unknown", 1)]),
        dropped("802.3 length", length, &[("drop eth-type-unknown", 1)]),
    ]);
}

#[test]
fn a_port_out_of_service_receives_nothing() {
    run(vec![Case {
        name: "unknown port",
        rx: vec![(PortId(77), Datagram::default().on(LAN))],
        verdict: Drop,
        tx: vec![],
        moved: &[("drop ingress-unknown", 1)],
    }]);
}

/// RFC 894: frames are padded to 46 bytes of data; the padding is not part of the packet and does not leave with it.
#[test]
fn ethernet_padding_is_trimmed() {
    let mut padded = Datagram { payload: vec![1, 2, 3], ..Datagram::default() }.on(LAN);
    padded.resize(60, 0xee);
    run(vec![Case {
        name: "padded to 60",
        rx: vec![(LAN, padded)],
        verdict: Tx,
        tx: vec![Out::Forwarded(WAN, "198.51.100.2")],
        moved: &[],
    }]);
}
