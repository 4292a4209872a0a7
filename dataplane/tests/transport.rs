//! TCP and UDP end to end, with the offloads as the kernel sets them, and what leaves the router as tshark sees it.

use millrace_lab::topology::Line;
use millrace_lab::{Capture, Iperf, Ping, Router, config, test};

#[test]
fn tcp_both_ways_with_no_ethtool_line() {
    test(|lab| {
        let line = Line::new(lab)?;
        let router = Router::start(&line.router, &config(&["lan", "wan"], ""))?;
        let there = Iperf::new(&line.client, &line.server, Line::SERVER);
        for (way, run) in [("there", there.clone()), ("back", there.reverse())] {
            let result = run.run()?;
            assert!(50.0 < result.mbits(), "{way}: {result:?}");
        }
        assert_eq!(router.count("frames", "lost")?, 0);
        Ok(())
    });
}

#[test]
fn udp_arrives_whole() {
    test(|lab| {
        let line = Line::new(lab)?;
        let _router = Router::start(&line.router, &config(&["lan", "wan"], ""))?;
        // Some 1000 datagrams a second each, into a receive buffer that outlasts a busy processor.
        for (payload, rate) in [(16, "128k"), (512, "4M"), (1472, "12M")] {
            let run = Iperf::new(&line.client, &line.server, Line::SERVER)
                .seconds(1)
                .udp(rate, payload)
                .arg("-w2M");
            for (way, run) in [("there", run.clone()), ("back", run.reverse())] {
                let result = run.run()?;
                assert!(300 < result.datagrams, "{way}, {payload} bytes: {result:?}");
                assert_eq!(result.lost, 0, "{way}, {payload} bytes: {result:?}");
            }
        }
        Ok(())
    });
}

#[test]
fn what_leaves_has_good_checksums_and_lengths() {
    test(|lab| {
        let line = Line::new(lab)?;
        let _router = Router::start(&line.router, &config(&["lan", "wan"], ""))?;
        // What a station sends itself has partial checksums: only what the router sent to it is looked at.
        let at_server = Capture::start(&line.server, "eth0", "ip and src net 10.0.1.0/24")?;
        let at_client = Capture::start(&line.client, "eth0", "ip and dst host 10.0.1.2")?;
        let tcp = Iperf::new(&line.client, &line.server, Line::SERVER).seconds(1).arg("-b20M");
        tcp.run()?;
        tcp.clone().reverse().run()?;
        for payload in [16, 17, 1472, 4000] {
            Iperf::new(&line.client, &line.server, Line::SERVER).seconds(1).udp("1M", payload).run()?;
        }
        for size in [0, 1, 18, 1472, 3000] {
            assert_eq!(Ping::new(&line.client, Line::SERVER).size(size).run()?.received, 3, "{size} bytes");
        }
        // Errors of the router's own: TTL, and no route.
        Ping::new(&line.client, Line::SERVER).ttl(1).run()?;
        Ping::new(&line.client, "198.51.100.1").run()?;

        let at_server = at_server.stop(1000)?;
        assert!(1000 < at_server.assert_sound("")?);
        for kind in
            ["tcp.len > 1000", "udp.length > 1000", "udp.length < 30", "icmp.type == 8", "ip.frag_offset > 0"]
        {
            assert!(at_server.matching(kind)? != 0, "no packet with {kind} at the server");
        }
        let at_client = at_client.stop(1000)?;
        assert!(1000 < at_client.assert_sound("")?);
        for kind in
            ["tcp.len > 1000", "icmp.type == 0", "icmp.type == 11", "icmp.type == 3 and icmp.code == 0"]
        {
            assert!(at_client.matching(kind)? != 0, "no packet with {kind} at the client");
        }
        Ok(())
    });
}
