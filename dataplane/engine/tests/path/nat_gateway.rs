//! FTP and TFTP through NAT: what the text says, whom it lets in, and that the numbers of the control connection stay right
//! when segments are repeated or cut. RFC 959, RFC 2428, RFC 1350; RFC 5382 REQ-6, RFC 4787 REQ-10.

use millrace_nat::{Filtering, Forward, PerProtocol};
use millrace_net::PortId;

use crate::nat::{POOL, REMOTE, TCP, UDP, config, datagram, dropped, install, pass};
use crate::rig::{CLIENT, Datagram, LAN, Router, WAN, addr, checksum, memory};

const SYN: u8 = 2;
const SYN_ACK: u8 = 0x12;
const ACK: u8 = 0x10;

/// One host of a connection through the router.
#[derive(Clone, Copy)]
struct End {
    port: PortId,
    own: (&'static str, u16),
    peer: (&'static str, u16),
}

fn segment(end: End, flags: u8, seq: u32, ack: u32, options: &[u8], text: &[u8]) -> Datagram {
    let mut datagram = datagram(TCP, end.own, end.peer);
    datagram.payload[4..8].copy_from_slice(&seq.to_be_bytes());
    datagram.payload[8..12].copy_from_slice(&ack.to_be_bytes());
    datagram.payload[12] = u8::try_from((20 + options.len()) / 4).unwrap() << 4;
    datagram.payload[13] = flags;
    datagram.payload.extend(options);
    datagram.payload.extend(text);
    datagram.payload[16..18].fill(0);
    let mut covered = [datagram.src.octets(), datagram.dst.octets()].concat();
    covered.extend([0, TCP]);
    covered.extend(u16::try_from(datagram.payload.len()).unwrap().to_be_bytes());
    covered.extend(&datagram.payload);
    datagram.payload[16..18].copy_from_slice(&checksum(&covered).to_be_bytes());
    datagram
}

/// Sequence number, acknowledgment and text of what leaves, checksums verified; `None` where nothing does.
fn exchange(router: &mut Router<'_>, end: End, seq: u32, ack: u32, text: &str) -> Option<(u32, u32, String)> {
    let sent = pass(router, end.port, &segment(end, ACK, seq, ack, &[], text.as_bytes()))?;
    let tcp = &router.bench.tx[0].1[34..];
    let word = |at: usize| u32::from_be_bytes(tcp[at..at + 4].try_into().unwrap());
    Some((word(4), word(8), String::from_utf8(sent.data).unwrap()))
}

/// A control connection of the client to the server; gives both ends as they see it.
fn connect(router: &mut Router<'_>) -> (End, End) {
    let client = End { port: LAN, own: (CLIENT, 4000), peer: (REMOTE, 21) };
    let syn = segment(client, SYN, 999, 0, &[4, 2, 1, 1], &[]);
    let sent = pass(router, LAN, &syn).expect("leaves");
    assert_eq!(router.bench.tx[0].1[54..58], [1; 4], "no offer of SACK");
    let server = End { port: WAN, own: (REMOTE, 21), peer: (POOL, sent.src.1) };
    pass(router, WAN, &segment(server, SYN_ACK, 4999, 1000, &[], &[])).expect("comes home");
    (client, server)
}

fn filtered(router: &mut Router<'_>, ftp: bool) {
    let mut config = config(POOL);
    config.pools[0].filtering = PerProtocol::same(Filtering::AddressAndPortDependent);
    config.gateways.ftp = ftp;
    install(router, config);
}

/// `h1,h2,h3,h4,p1,p2` or `|1|address|port|` as an address and a port.
fn named(text: &str) -> (String, u16) {
    if let Some(extended) = text.strip_prefix("EPRT |1|") {
        let mut parts = extended.split('|');
        return (parts.next().unwrap().to_owned(), parts.next().unwrap().parse().unwrap());
    }
    let digits = text.find(|c: char| c.is_ascii_digit() && text.contains(',')).unwrap();
    let start = if text.starts_with("227") { text.find('(').unwrap() + 1 } else { digits };
    let numbers: Vec<u16> =
        text[start..].split(|c: char| !c.is_ascii_digit()).take(6).map(|n| n.parse().unwrap()).collect();
    let address: Vec<String> = numbers[..4].iter().map(u16::to_string).collect();
    (address.join("."), numbers[4] << 8 | numbers[5])
}

#[test]
fn active_ftp_names_the_outside_and_the_server_gets_in() {
    for command in ["PORT 192,0,2,10,15,160\r\n", "EPRT |1|192.0.2.10|4000|\r\n"] {
        let memory = memory();
        let mut router = Router::new(&memory);
        filtered(&mut router, true);
        let (client, server) = connect(&mut router);
        assert_eq!(
            exchange(&mut router, client, 1000, 5000, "USER x\r\n").unwrap(),
            (1000, 5000, "USER x\r\n".into())
        );
        let (seq, _, text) = exchange(&mut router, client, 1008, 5000, command).unwrap();
        assert_eq!(seq, 1008);
        let (address, port) = named(&text);
        assert_eq!(address, POOL, "{text}");
        let delta = i64::try_from(text.len()).unwrap() - i64::try_from(command.len()).unwrap();
        let moved = |n: u32| u32::try_from(i64::from(n) + delta).unwrap();

        let end = 1008 + u32::try_from(command.len()).unwrap();
        let (seq, ack, _) = exchange(&mut router, server, 5000, moved(end), "200 ok\r\n").unwrap();
        assert_eq!((seq, ack), (5000, end), "the client's own number comes home");
        assert_eq!(exchange(&mut router, client, end, 5008, "LIST\r\n").unwrap().0, moved(end));
        // The same command again, as after a lost acknowledgment, and one that is older.
        assert_eq!(exchange(&mut router, client, 1008, 5000, command).unwrap(), (1008, 5000, text));
        assert_eq!(exchange(&mut router, client, 1000, 5000, "USER x\r\n").unwrap().0, 1000);
        assert_eq!(exchange(&mut router, client, end, 5008, "LIST\r\n").unwrap().0, moved(end));

        // The data connection, from another port, through the strictest filter.
        let data = End { port: WAN, own: (REMOTE, 20), peer: (POOL, port) };
        let home = pass(&mut router, WAN, &segment(data, SYN, 1, 0, &[], &[])).expect("is let in");
        assert_eq!(home.dst, (addr(CLIENT), 4000));
        assert_eq!(dropped(&router), []);
    }
}

#[test]
fn a_command_cut_into_segments_leaves_whole() {
    let command = "PORT 192,0,2,10,15,160\r\n";
    for cut in 1..command.len() {
        let memory = memory();
        let mut router = Router::new(&memory);
        filtered(&mut router, true);
        let (client, server) = connect(&mut router);
        let (head, tail) = command.split_at(cut);
        let at = 1000 + u32::try_from(cut).unwrap();
        assert_eq!(exchange(&mut router, client, 1000, 5000, head), None, "{head:?} waits");
        assert_eq!(exchange(&mut router, client, 1000, 5000, head), None, "repeated");
        let (seq, _, text) = exchange(&mut router, client, at, 5000, tail).expect("whole");
        assert_eq!((seq, named(&text).0.as_str()), (1000, POOL), "{text}");
        // Repeated in pieces: the same again.
        assert_eq!(exchange(&mut router, client, 1000, 5000, head), None);
        assert_eq!(exchange(&mut router, client, at, 5000, tail).expect("whole").2, text);
        // Repeated whole, as a sender that collapses its queue does.
        assert_eq!(exchange(&mut router, client, 1000, 5000, command).expect("whole").2, text);
        let end = 1000 + u32::try_from(command.len()).unwrap();
        let seen = 1000 + u32::try_from(text.len()).unwrap();
        assert_eq!(exchange(&mut router, server, 5000, seen, "200\r\n").unwrap().1, end);
        assert_eq!(exchange(&mut router, client, end, 5005, "LIST\r\n").unwrap().0, seen);
    }
}

#[test]
fn a_server_inside_announces_its_data_port() {
    let memory = memory();
    let mut router = Router::new(&memory);
    let mut config = config(POOL);
    config.pools[0].filtering = PerProtocol::same(Filtering::AddressAndPortDependent);
    config.forwards.push(Forward {
        protocol: TCP,
        outside: addr(POOL),
        outside_ports: 21..=21,
        inside: addr(CLIENT),
        inside_port: 21,
    });
    install(&mut router, config);
    let client = End { port: WAN, own: (REMOTE, 5000), peer: (POOL, 21) };
    let server = End { port: LAN, own: (CLIENT, 21), peer: (REMOTE, 5000) };
    pass(&mut router, WAN, &segment(client, SYN, 99, 0, &[], &[])).expect("is let in");
    pass(&mut router, LAN, &segment(server, SYN_ACK, 299, 100, &[], &[])).expect("leaves");
    let passive = "227 Entering Passive Mode (192,0,2,10,15,160).\r\n";
    let (_, _, text) = exchange(&mut router, server, 300, 100, passive).unwrap();
    let (address, port) = named(&text);
    assert_eq!(address, POOL);
    let data = End { port: WAN, own: (REMOTE, 5001), peer: (POOL, port) };
    let home = pass(&mut router, WAN, &segment(data, SYN, 1, 0, &[], &[])).expect("is let in");
    assert_eq!(home.dst, (addr(CLIENT), 4000));

    let next = 300 + u32::try_from(passive.len()).unwrap();
    let extended = "229 Entering Extended Passive Mode (|||4001|)\r\n";
    let (_, _, text) = exchange(&mut router, server, next, 100, extended).unwrap();
    let port: u16 = text.split('|').nth(3).unwrap().parse().unwrap();
    let data = End { port: WAN, own: (REMOTE, 5002), peer: (POOL, port) };
    let home = pass(&mut router, WAN, &segment(data, SYN, 1, 0, &[], &[])).expect("is let in");
    assert_eq!(home.dst, (addr(CLIENT), 4001));
}

#[test]
fn gateways_can_be_switched_off() {
    let memory = memory();
    let mut router = Router::new(&memory);
    filtered(&mut router, false);
    let client = End { port: LAN, own: (CLIENT, 4000), peer: (REMOTE, 21) };
    pass(&mut router, LAN, &segment(client, SYN, 999, 0, &[], &[])).expect("leaves");
    let command = "PORT 192,0,2,10,15,160\r\n";
    assert_eq!(exchange(&mut router, client, 1000, 5000, command).unwrap().2, command);
}

/// The server answers from a port of its own (RFC 1350 §4).
#[test]
fn a_tftp_server_answers_from_another_port() {
    for tftp in [true, false] {
        let memory = memory();
        let mut router = Router::new(&memory);
        let mut config = config(POOL);
        config.pools[0].filtering = PerProtocol::same(Filtering::AddressAndPortDependent);
        config.gateways.tftp = tftp;
        install(&mut router, config);
        let sent = pass(&mut router, LAN, &datagram(UDP, (CLIENT, 4000), (REMOTE, 69))).expect("leaves");
        let home = pass(&mut router, WAN, &datagram(UDP, (REMOTE, 50_000), (POOL, sent.src.1)));
        assert_eq!(home.map(|home| home.dst), tftp.then_some((addr(CLIENT), 4000)));
        let stranger = pass(&mut router, WAN, &datagram(UDP, ("10.1.9.9", 50_000), (POOL, sent.src.1)));
        assert_eq!(stranger, None);
    }
}
