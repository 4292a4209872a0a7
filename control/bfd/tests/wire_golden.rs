//! Control packets captured from FRR bfdd 8.4.4 and BIRD 2.0.12 (`golden/capture.sh`): what they say, and that ours are the
//! same octets. Then, what holds for all octets.

use millrace_bfd::wire::{DecodeError, Micros, Packet};
use millrace_bfd::{Diagnostic, State};
use proptest::prelude::*;

fn captures() -> Vec<(&'static str, Vec<u8>)> {
    let text = include_str!("golden/frr-bird.txt");
    let parse = |line: &'static str| {
        let words: Vec<&str> = line.split(' ').collect();
        let [source, port, _, "3784", "255", hex] = words[..] else { panic!("{line}") };
        assert!(port.parse::<u16>().expect("a port") >= 49152);
        let octet = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal");
        (source, (0..hex.len()).step_by(2).map(octet).collect())
    };
    text.lines().filter(|line| !line.starts_with('#')).map(parse).collect()
}

#[test]
fn captured_packets_decode_and_encode_to_the_same_octets() {
    let captures = captures();
    assert!(15 <= captures.len());
    for (source, octets) in captures {
        let packet = Packet::decode(&octets).unwrap_or_else(|error| panic!("{source}: {error}"));
        assert_eq!(packet.encode(), octets, "{source}");
    }
}

/// The handshake, the Poll Sequences and the shutdown that the capture went through.
#[test]
fn captured_packets_mean_what_was_done() {
    let text: Vec<String> = captures()
        .iter()
        .map(|(source, octets)| {
            let p = Packet::decode(octets).unwrap();
            let who = if *source == "10.78.0.1" { "bird" } else { "frr" };
            let flags = [(p.poll, " poll"), (p.finale, " final"), (p.your_discriminator != 0, " knows")];
            let flags: String = flags.iter().filter(|(set, _)| *set).map(|(_, name)| *name).collect();
            let (tx, rx, echo) =
                (p.desired_min_tx.0 / 1000, p.required_min_rx.0 / 1000, p.required_min_echo_rx.0 / 1000);
            let diagnostic = Some(p.diagnostic).filter(|d| *d != Diagnostic::None);
            let diagnostic = diagnostic.map(|d| format!(" ({})", d.name())).unwrap_or_default();
            format!(
                "{who} {}{diagnostic}{flags} x{} tx {tx} rx {rx} echo {echo}",
                p.state.name(),
                p.detect_mult
            )
        })
        .collect();
    assert_eq!(
        text,
        [
            "bird down x4 tx 1000 rx 200 echo 0",
            "frr init knows x3 tx 1000 rx 1000 echo 50",
            "bird up poll knows x4 tx 200 rx 200 echo 0",
            "frr up poll knows x3 tx 300 rx 150 echo 50",
            "frr up final knows x3 tx 300 rx 150 echo 50",
            "bird up final knows x4 tx 200 rx 200 echo 0",
            "bird up knows x4 tx 200 rx 200 echo 0",
            "frr up knows x3 tx 300 rx 150 echo 50",
            "frr up poll knows x3 tx 100 rx 150 echo 50",
            "frr up knows x3 tx 100 rx 150 echo 50",
            "frr admin-down knows x3 tx 100 rx 150 echo 50",
            "bird down (neighbour signaled session down) poll knows x4 tx 1000 rx 200 echo 0",
            "frr admin-down final knows x3 tx 100 rx 150 echo 50",
            "bird down (neighbour signaled session down) x4 tx 1000 rx 200 echo 0",
            "frr init knows x3 tx 100 rx 150 echo 50",
            "frr up final knows x3 tx 100 rx 150 echo 50",
            "frr down (control detection time expired) x3 tx 100 rx 150 echo 50",
            "frr down (control detection time expired) x3 tx 1000 rx 1000 echo 50",
        ]
    );
}

/// RFC 5880 §6.8.6: what is refused, in the RFC's order.
#[test]
fn malformed_packets() {
    let good = captures().remove(0).1;
    let change = |changes: &[(usize, u8)]| {
        let mut octets = good.clone();
        for (at, to) in changes {
            octets[*at] = *to;
        }
        octets
    };
    let mut with_authentication = change(&[(1, 0x44), (3, 26)]);
    with_authentication.extend([1, 2]);
    let mut longer = good.clone();
    longer.extend([0; 8]);
    for (octets, expected) in [
        (vec![], DecodeError::Length),
        (good[..23].to_vec(), DecodeError::Length),
        (change(&[(0, 0x40)]), DecodeError::Version),
        (change(&[(0, 0x00)]), DecodeError::Version),
        (change(&[(3, 23)]), DecodeError::Length),
        (change(&[(3, 25)]), DecodeError::Length),
        (change(&[(1, 0x44)]), DecodeError::Length),
        (change(&[(2, 0)]), DecodeError::DetectMult),
        (change(&[(1, 0x41)]), DecodeError::Multipoint),
        (change(&[(4, 0), (5, 0), (6, 0), (7, 0)]), DecodeError::MyDiscriminator),
        (with_authentication, DecodeError::Authenticated),
        (change(&[(1, 0x70)]), DecodeError::PollAndFinal),
    ] {
        assert_eq!(Packet::decode(&octets), Err(expected));
    }
    assert_eq!(Packet::decode(&longer), Packet::decode(&good), "the length field counts, not the datagram's");
}

proptest! {
    #[test]
    fn any_octets_are_answered(octets in proptest::collection::vec(any::<u8>(), 0..64)) {
        let _ = Packet::decode(&octets);
    }

    #[test]
    fn decode_inverts_encode(
        code in 0u8..32, state in 0usize..4, poll: bool, finale: bool, independent: bool, demand: bool, mult in 1u8..,
        mine in 1u32.., yours: u32, intervals: [u32; 3],
    ) {
        // Diagnostics come from octets, so that no two forms of one code exist.
        let diagnostic = Packet::decode(&{
            let mut octets = captures().remove(0).1;
            octets[0] = 0x20 | code;
            octets
        }).unwrap().diagnostic;
        let packet = Packet {
            diagnostic,
            state: State::ALL[state],
            poll,
            finale: finale && !poll,
            control_plane_independent: independent,
            demand,
            detect_mult: mult,
            my_discriminator: mine,
            your_discriminator: yours,
            desired_min_tx: Micros(intervals[0]),
            required_min_rx: Micros(intervals[1]),
            required_min_echo_rx: Micros(intervals[2]),
        };
        prop_assert_eq!(Packet::decode(&packet.encode()), Ok(packet));
    }
}
