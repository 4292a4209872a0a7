use super::*;
use proptest::prelude::*;

/// A frame from 192.0.2.1 port 1024 to 198.51.100.7 port 53, with `tags` before the type and `fragment` in its word.
fn frame(protocol: u8, tags: &[u16], fragment: u16) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    for tag in tags {
        frame.extend([0x81, 0]);
        frame.extend(tag.to_be_bytes());
    }
    frame.extend([8, 0, 0x45, 0, 0, 28, 0, 0]);
    frame.extend(fragment.to_be_bytes());
    frame.extend([64, protocol, 0, 0, 192, 0, 2, 1, 198, 51, 100, 7, 4, 0, 0, 53, 0, 8, 0, 0]);
    frame
}

#[test]
fn what_passes_which_filter() {
    let arp = [&[0xff; 6][..], &[2, 0, 0, 0, 0, 2, 8, 6], &[0; 28]].concat();
    let frames = [
        ("udp", frame(17, &[], 0)),
        ("tcp", frame(6, &[], 0)),
        ("icmp", frame(1, &[], 0)),
        ("later", frame(17, &[], 100)),
        ("tagged", frame(17, &[100, 7], 0)),
        ("arp", arp),
        ("short", vec![2, 0, 0]),
    ];
    for (filter, expected) in [
        ("", "udp tcp icmp later tagged arp short"),
        ("ip", "udp tcp icmp later tagged"),
        ("arp", "arp"),
        ("icmp", "icmp"),
        ("ip proto 17", "udp later tagged"),
        ("proto 6", "tcp"),
        ("not ip", "arp short"),
        ("host 192.0.2.1", "udp tcp icmp later tagged"),
        ("192.0.2.1 and tcp", "tcp"),
        ("src host 198.51.100.7", ""),
        ("dst host 198.51.100.7 and udp", "udp later tagged"),
        ("src or dst host 198.51.100.7 and icmp", "icmp"),
        ("net 192.0.2.0/24 and icmp", "icmp"),
        ("dst net 192.0.2.0/24", ""),
        ("port 53", "udp tcp tagged"),
        ("udp port 53", "udp tagged"),
        ("tcp src port 1024", "tcp"),
        ("tcp dst port 1024", ""),
        ("portrange 50-60 and udp", "udp tagged"),
        ("vlan", "tagged"),
        ("vlan 100", "tagged"),
        ("vlan 101", ""),
        ("ether src host 02:00:00:00:00:02 and arp", "arp"),
        ("ether dst 02:00:00:00:00:01 and tcp", "tcp"),
        ("less 3", "short"),
        ("greater 43", "tagged"),
        // Both bind alike: (icmp or udp) and port 53.
        ("icmp or udp and port 53", "udp tagged"),
        ("icmp or (udp and port 53)", "udp icmp tagged"),
        ("!(tcp || udp) && ip", "icmp"),
        ("not not tcp", "tcp"),
    ] {
        let filter: Filter = filter.parse().unwrap_or_else(|error| panic!("{filter}: {error}"));
        let passed: Vec<_> =
            frames.iter().filter(|(_, f)| filter.matches(f)).map(|(name, _)| *name).collect();
        assert_eq!(passed.join(" "), expected, "{:?}", filter.text());
    }
}

#[test]
fn what_is_said_about_wrong_filters() {
    for (filter, expected) in [
        ("hots 192.0.2.1", "\"hots\" in the filter: expected host, net,"),
        ("host", "the filter ends where an IPv4 address such as 192.0.2.1 should follow"),
        ("host 192.0.2.256", "\"192.0.2.256\" in the filter: expected an IPv4 address"),
        ("net 192.0.2.1/24", "expected a prefix such as"),
        ("port http", "\"http\" in the filter: expected a port"),
        ("portrange 60-50", "expected a range of ports"),
        ("(tcp", "the filter ends where ) should follow"),
        ("tcp udp", "\"udp\" in the filter: expected and, or, or the end"),
        ("tcp and", "the filter ends where host"),
        ("vlan 4096", "\"4096\" in the filter: expected a VLAN id"),
        ("src", "the filter ends where host, net"),
    ] {
        let error = filter.parse::<Filter>().unwrap_err().to_string();
        assert!(error.contains(expected), "{filter}: {error}");
    }
    assert_eq!("(".repeat(100).parse::<Filter>(), Err(FilterError::TooLarge));
    assert_eq!("not ".repeat(100).parse::<Filter>(), Err(FilterError::TooLarge));
    assert_eq!("tcp or ".repeat(300).parse::<Filter>(), Err(FilterError::TooLarge));
}

proptest! {
    #[test]
    fn any_text_and_any_frame_are_answered(
        text in "(not |\\(|\\)|tcp|udp| and | or |host |net |port |1\\.2\\.3\\.4|/8|vlan |53|src |dst |[ -~]){0,20}",
        bytes in prop::collection::vec(any::<u8>(), 0..100),
    ) {
        if let Ok(filter) = text.parse::<Filter>() {
            filter.matches(&bytes);
        }
    }
}
