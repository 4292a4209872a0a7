//! The maximum segment size of SYNs across a port that clamps it.

use millrace_engine::{Event, MssClamp};

use crate::nat::{POOL, REMOTE, TCP, config, datagram, install, pass};
use crate::rig::{CLIENT, Datagram, LAN, Router, WAN, checksum, memory};

/// A SYN with these options, its checksum right.
fn syn(flags: u8, options: &[u8]) -> Datagram {
    let mut datagram = datagram(TCP, (CLIENT, 4000), (REMOTE, 80));
    datagram.payload[12] = u8::try_from((20 + options.len()) / 4).unwrap() << 4;
    datagram.payload[13] = flags;
    datagram.payload.extend(options);
    datagram.payload[16..18].fill(0);
    let mut covered = [datagram.src.octets(), datagram.dst.octets()].concat();
    covered.extend([0, TCP, 0, u8::try_from(datagram.payload.len()).unwrap()]);
    covered.extend(&datagram.payload);
    datagram.payload[16..18].copy_from_slice(&checksum(&covered).to_be_bytes());
    datagram
}

#[test]
fn offers_are_kept_to_what_fits_the_ports() {
    const SYN: u8 = 2;
    const SYN_ACK: u8 = 0x12;
    const ACK: u8 = 0x10;
    let mss = |value: u16| [vec![2, 4], value.to_be_bytes().to_vec()].concat();
    let odd = |value: u16| [vec![1, 2, 4], value.to_be_bytes().to_vec(), vec![3, 3, 7]].concat();
    let (off, mtu) = (MssClamp::Off, MssClamp::Mtu);
    for (name, clamps, flags, options, expected) in [
        ("off", [off, off], SYN, mss(9000), mss(9000)),
        ("the MTU", [off, mtu], SYN, mss(9000), mss(1460)),
        ("the MTU of the port it came by", [mtu, off], SYN_ACK, mss(9000), mss(1460)),
        ("a number", [mtu, MssClamp::To(1300)], SYN, mss(1460), mss(1300)),
        ("the lower of two", [MssClamp::To(1200), MssClamp::To(1300)], SYN, mss(1460), mss(1200)),
        ("smaller already", [mtu, mtu], SYN, mss(536), mss(536)),
        ("at an odd place", [off, mtu], SYN, odd(9000), odd(1460)),
        ("no SYN", [off, mtu], ACK, mss(9000), mss(9000)),
        ("no option", [off, mtu], SYN, vec![1, 1, 1, 0], vec![1, 1, 1, 0]),
        ("a broken option", [off, mtu], SYN, vec![2, 40, 1, 1], vec![2, 40, 1, 1]),
        ("an option of length zero", [off, mtu], SYN, vec![9, 0, 2, 4], vec![9, 0, 2, 4]),
    ] {
        for translated in [false, true] {
            let memory = memory();
            let mut router = Router::new(&memory);
            if translated && flags == SYN {
                install(&mut router, config(POOL));
            }
            for (port, clamp) in [LAN, WAN].into_iter().zip(clamps) {
                router.set_port(port, |port| port.mss_clamp = clamp);
            }
            // `pass` verifies the checksum.
            pass(&mut router, LAN, &syn(flags, &options)).expect("leaves");
            let sent = &router.bench.tx[0].1;
            assert_eq!(sent[14 + 20 + 20..], expected, "{name}");
            let clamped = u64::from(options != expected);
            assert_eq!(router.page.events(Event::MssClamped), clamped, "{name}");
        }
    }
}
