//! A link of 1400 bytes between two routers: who may be cut is cut, who may not is told.

use anyhow::Result;
use millrace_lab::{Capture, Iperf, Lab, Node, Ping, Router, config, test};

const SERVER: &str = "10.0.3.2";

/// client ──1500── r1 ══1400══ r2 ──1500── server
struct Narrow {
    client: Node,
    server: Node,
    _routers: [Router; 2],
}

impl Narrow {
    fn new(lab: &Lab) -> Result<Self> {
        let (client, r1, r2, server) =
            (lab.node("client")?, lab.node("r1")?, lab.node("r2")?, lab.node("server")?);
        lab.link(client.end("eth0", "10.0.1.2/24"), r1.end("west", "10.0.1.1/24"))?;
        lab.link(r1.end("east", "10.0.12.1/24"), r2.end("west", "10.0.12.2/24"))?;
        lab.link(r2.end("east", "10.0.3.1/24"), server.end("eth0", "10.0.3.2/24"))?;
        client.ip("route add default via 10.0.1.1")?;
        server.ip("route add default via 10.0.3.1")?;
        r1.ip("link set east mtu 1400")?;
        r2.ip("link set west mtu 1400")?;
        let route = |prefix, via| format!("[[static]]\nprefix = \"{prefix}\"\nvia = [\"{via}\"]\n");
        let routers = [
            Router::start(&r1, &config(&["west", "east"], &route("10.0.3.0/24", "10.0.12.2")))?,
            Router::start(&r2, &config(&["west", "east"], &route("10.0.1.0/24", "10.0.12.1")))?,
        ];
        Ok(Self { client, server, _routers: routers })
    }
}

#[test]
fn too_big_with_df_is_told_the_mtu() {
    test(|lab| {
        let net = Narrow::new(lab)?;
        let told = Capture::start(&net.client, "eth0", "icmp and dst host 10.0.1.2")?;
        let fits = Ping::new(&net.client, SERVER).size(1372).dont_fragment(true).run()?;
        assert_eq!(fits.received, 3, "1400 bytes fit: {fits:?}");
        let over = Ping::new(&net.client, SERVER).size(1373).dont_fragment(true).count(1).run()?;
        assert_eq!(over.errors, [("10.0.1.1".parse()?, "Frag needed and DF set (mtu = 1400)".to_owned())]);
        let told = told.stop(4)?;
        let errors =
            told.fields("icmp.type == 3", &["icmp.code", "icmp.mtu", "ip.src", "ip.dst", "ip.len"])?;
        assert_eq!(errors.len(), 1);
        // First value: the error's own header; second: the packet it quotes.
        let of = |name: &str| errors[0][name].clone();
        assert_eq!((of("icmp.code").as_str(), of("icmp.mtu").as_str()), ("4,0", "1400"));
        assert_eq!(
            (of("ip.src").as_str(), of("ip.dst").as_str()),
            ("10.0.1.1,10.0.1.2", "10.0.1.2,10.0.3.2")
        );
        assert!(of("ip.len").ends_with(",1401"), "{errors:?}");
        told.assert_sound("")?;
        Ok(())
    });
}

#[test]
fn too_big_without_df_is_cut_and_put_together_again() {
    test(|lab| {
        let net = Narrow::new(lab)?;
        let cut = Capture::start(&net.server, "eth0", "icmp and src host 10.0.1.2")?;
        for size in [1372, 1373, 1380, 1381, 1472] {
            let ping = Ping::new(&net.client, SERVER).size(size).dont_fragment(false).run()?;
            assert_eq!(ping.received, 3, "{size} bytes: {ping:?}");
        }
        // What the client has cut already (3000 bytes into 1500 and less) is cut again.
        assert_eq!(Ping::new(&net.client, SERVER).size(3000).dont_fragment(false).run()?.received, 3);
        let cut = cut.stop(3 + 4 * 3 * 2 + 3 * 4)?;
        cut.assert_sound("")?;
        assert_eq!(cut.matching("ip.len > 1400")?, 0);
        for fragment in cut.fields("ip.flags.mf == 1", &["ip.len", "ip.hdr_len", "ip.frag_offset"])? {
            let payload: u32 = fragment["ip.len"].parse::<u32>()? - 20;
            assert_eq!(payload % 8, 0, "a fragment that is not the last: {fragment:?}");
        }
        // tshark has put each of the six times three together.
        assert_eq!(cut.matching("icmp.type == 8 and icmp.checksum.status == 1")?, 18);
        Ok(())
    });
}

#[test]
fn tcp_finds_the_mtu_and_goes_on() {
    test(|lab| {
        let net = Narrow::new(lab)?;
        let told =
            Capture::start(&net.client, "eth0", "icmp[icmptype] == icmp-unreach and dst host 10.0.1.2")?;
        let there = Iperf::new(&net.client, &net.server, SERVER).run()?;
        assert!(10.0 < there.mbits(), "{there:?}");
        let back = Iperf::new(&net.client, &net.server, SERVER).reverse().run()?;
        assert!(10.0 < back.mbits(), "{back:?}");
        let told = told.stop(1)?;
        assert!(told.matching("icmp.code == 4 and icmp.mtu == 1400")? != 0);
        Ok(())
    });
}
