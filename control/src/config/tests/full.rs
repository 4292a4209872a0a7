//! A file with everything, and the form it takes when it is in force.

use super::*;

/// Everything this version has, none of it at its default.
pub(super) const FULL: &str = r#"
[router]
name = "edge1"
router-id = "10.255.0.1"
asn = 65001

[dataplane]
workers = [1, 0x2]
mode = "copy"
express = "off"
busy-poll = true
scheduling = "nice"
stage-times = true
frames = 4_096

[[interface]]
name = "eth0"
addresses = ["192.0.2.2/30", "10.1.0.0/31"]
urpf = "strict"
on-failure = "drop"
queues = [3, 1]
mss-clamp = 1360
acl-in = "wan"
police-in = { bits = 8_000_000, burst = 100_000 }
redirects = true

[[interface]]
name = "eth1"
acl-out = "none"
police-out = { packets = 1000 }
directed-broadcast = true
proxy-arp = true

[forwarding]
ecmp-hash = "l3"
icmp-source = "incoming"
source-routes = true

[[acl]]
name = "wan"
default = "reject"
[[acl.rule]]
name = "web"
action = "accept"
source = ["10.0.0.0/8", "192.0.2.7"]
destination = "198.51.100.0/24"
protocol = "tcp"
source-port = "1024-65535"
destination-port = [80, "443"]
tcp-flags = ["syn", "!ack"]
fragments = "no"
dscp = ["ef", 0, "af21", "cs1"]
police = { packets = 100, burst = 7 }
[[acl.rule]]
action = "drop"
protocol = "icmp"
icmp-type = 8
icmp-code = "0-1"
[[acl.rule]]
action = "accept"
protocol = 99

[[acl]]
name = "none"

[[static]]
prefix = "0.0.0.0/0"
via = ["192.0.2.1", { via = "10.1.0.1", weight = 256 }]
bfd = true

[[static]]
prefix = "0.0.0.0/0"
via = "10.1.0.1"
distance = 250

[[static]]
prefix = "198.51.100.0/24"
interface = "eth1"

[[static]]
prefix = "10.9.0.0/16"
kind = "blackhole"

[[static]]
prefix = "10.10.0.0/16"
kind = "unreachable"

[[static]]
prefix = "10.11.0.0/16"
kind = "prohibit"

[bfd]
min-tx = 50
min-rx = 60
multiplier = 5

[[bfd.interface]]
name = "eth1"
min-rx = 1000
shutdown = true

[[bfd.neighbor]]
address = "10.1.0.1"
multiplier = 2
passive = true

[http]
listen = "[::1]:9179"

[kernel]
mirror = "igp"
"#;

#[test]
fn a_full_file_and_its_effective_form() {
    let config = read(FULL).unwrap().config;
    assert_eq!(
        config.statics[0].target,
        StaticTarget::Via(vec![
            StaticVia { addr: "192.0.2.1".parse().unwrap(), weight: 1 },
            StaticVia { addr: "10.1.0.1".parse().unwrap(), weight: 256 },
        ])
    );
    insta::assert_snapshot!(config, @r#"
    [router]
    name = "edge1"
    router-id = "10.255.0.1"
    asn = 65001

    [dataplane]
    workers = [1, 2]
    mode = "copy"
    express = "off"
    busy-poll = true
    scheduling = "nice"
    stage-times = true
    frames = 4096

    [[interface]]
    name = "eth0"
    addresses = ["192.0.2.2/30", "10.1.0.0/31"]
    # nat: none: plain routing
    urpf = "strict"
    on-failure = "drop"
    queues = [3, 1]
    mss-clamp = 1360
    acl-in = "wan"
    # acl-out: none
    police-in = { bits = 8000000, burst = 100000 }
    # police-out: none
    directed-broadcast = false
    redirects = true
    proxy-arp = false

    [[interface]]
    name = "eth1"
    # addresses: those the kernel has
    # nat: none: plain routing
    urpf = "off"
    on-failure = "kernel"
    queues = "all"
    # mss-clamp: none
    # acl-in: none
    acl-out = "none"
    # police-in: none
    police-out = { packets = 1000, burst = 100 }
    directed-broadcast = true
    redirects = false
    proxy-arp = true

    [forwarding]
    ecmp-hash = "l3"
    icmp-source = "incoming"
    source-routes = true

    [[acl]]
    name = "wan"
    default = "reject"
    [[acl.rule]]
    action = "accept"
    name = "web"
    source = ["10.0.0.0/8", "192.0.2.7/32"]
    destination = ["198.51.100.0/24"]
    protocol = "tcp"
    source-port = ["1024-65535"]
    destination-port = [80, 443]
    tcp-flags = ["syn", "!ack"]
    fragments = "no"
    dscp = [46, 0, 18, 8]
    police = { packets = 100, burst = 7 }
    [[acl.rule]]
    action = "drop"
    protocol = "icmp"
    icmp-type = [8]
    icmp-code = ["0-1"]
    [[acl.rule]]
    action = "accept"
    protocol = 99

    [[acl]]
    name = "none"
    default = "drop"

    [[static]]
    prefix = "0.0.0.0/0"
    via = ["192.0.2.1", { via = "10.1.0.1", weight = 256 }]
    distance = 1
    bfd = true

    [[static]]
    prefix = "0.0.0.0/0"
    via = ["10.1.0.1"]
    distance = 250

    [[static]]
    prefix = "198.51.100.0/24"
    interface = "eth1"
    distance = 1

    [[static]]
    prefix = "10.9.0.0/16"
    kind = "blackhole"
    distance = 1

    [[static]]
    prefix = "10.10.0.0/16"
    kind = "unreachable"
    distance = 1

    [[static]]
    prefix = "10.11.0.0/16"
    kind = "prohibit"
    distance = 1

    [bfd]
    min-tx = 50
    min-rx = 60
    multiplier = 5
    passive = false
    shutdown = false

    [[bfd.interface]]
    name = "eth1"
    min-tx = 50
    min-rx = 1000
    multiplier = 5
    passive = false
    shutdown = true

    [[bfd.neighbor]]
    address = "10.1.0.1"
    min-tx = 50
    min-rx = 60
    multiplier = 2
    passive = true
    shutdown = false

    [http]
    listen = "[::1]:9179"

    [kernel]
    mirror = "igp"
    "#);
    assert_eq!(read(&config.to_string()).unwrap().config, config);
    assert_eq!(
        config.dataplane_config(),
        api::DataplaneConfig {
            workers: vec![1, 2],
            mode: api::Mode::Copy,
            express: api::Express::Off,
            busy_poll: true,
            scheduling: api::Scheduling::Nice,
            stage_times: true,
            frames: 4096,
            interfaces: vec![
                api::InterfaceConfig {
                    name: "eth0".to_owned(),
                    nat: None,
                    urpf: api::Urpf::Strict,
                    on_failure: api::OnFailure::Drop,
                    queues: api::Queues::Only(vec![3, 1]),
                    mss_clamp: Some(api::MssClamp::Bytes(1360)),
                    vlan: None,
                    guard: api::Guard {
                        acl_in: Some("wan".to_owned()),
                        police_in: Some(api::Police::Bytes(Rate { per_second: 1_000_000, burst: 100_000 })),
                        ..api::Guard::default()
                    },
                    switches: api::Switches { redirects: true, ..api::Switches::default() },
                },
                api::InterfaceConfig {
                    name: "eth1".to_owned(),
                    nat: None,
                    urpf: api::Urpf::Off,
                    on_failure: api::OnFailure::Kernel,
                    queues: api::Queues::All,
                    mss_clamp: None,
                    vlan: None,
                    guard: api::Guard {
                        acl_out: Some("none".to_owned()),
                        police_out: Some(api::Police::Packets(Rate { per_second: 1000, burst: 100 })),
                        ..api::Guard::default()
                    },
                    switches: api::Switches {
                        directed_broadcast: true,
                        proxy_arp: true,
                        ..api::Switches::default()
                    },
                },
            ],
            forwarding: api::Forwarding {
                flow_hash: api::FlowHash::L3,
                icmp_source: api::IcmpSource::Incoming,
                router_id: config.router.router_id,
                source_routes: true,
            },
            acls: vec![
                api::Acl {
                    name: "wan".to_owned(),
                    default: api::AclAction::Reject,
                    rules: vec![
                        api::AclRule {
                            name: "web".to_owned(),
                            source: vec!["10.0.0.0/8".parse().unwrap(), "192.0.2.7/32".parse().unwrap()],
                            destination: vec!["198.51.100.0/24".parse().unwrap()],
                            protocol: Some(6),
                            source_ports: vec![(1024, 65535)],
                            destination_ports: vec![(80, 80), (443, 443)],
                            tcp_flags: Some(api::TcpFlags { mask: 0x12, value: 0x02 }),
                            fragments: api::Fragments::No,
                            dscp: vec![46, 0, 18, 8],
                            police: Some(api::Police::Packets(Rate { per_second: 100, burst: 7 })),
                            ..rule(api::AclAction::Accept)
                        },
                        api::AclRule {
                            protocol: Some(1),
                            source_ports: vec![(8, 8)],
                            destination_ports: vec![(0, 1)],
                            ..rule(api::AclAction::Drop)
                        },
                        api::AclRule { protocol: Some(99), ..rule(api::AclAction::Accept) },
                    ],
                },
                api::Acl { name: "none".to_owned(), default: api::AclAction::Drop, rules: vec![] },
            ],
            nat: None,
        }
    );
}

/// A rule that every packet meets.
fn rule(action: api::AclAction) -> api::AclRule {
    api::AclRule {
        name: String::new(),
        action,
        source: vec![],
        destination: vec![],
        protocol: None,
        source_ports: vec![],
        destination_ports: vec![],
        tcp_flags: None,
        fragments: api::Fragments::Any,
        dscp: vec![],
        police: None,
    }
}

#[test]
fn http_listens_on_loopback_unless_told_and_not_without_its_section() {
    assert_eq!(read("").unwrap().config.http, None);
    let listen = |text| read(text).unwrap().config.http.unwrap().listen.to_string();
    assert_eq!(listen("[http]\n"), "127.0.0.1:9179");
    assert_eq!(listen("[http]\nlisten = \"0.0.0.0:80\"\n"), "0.0.0.0:80");
}
