//! The lab itself, proven with the kernel as the router.

use std::net::Ipv4Addr;
use std::process::Command;

use millrace_lab::topology::{Chain, Diamond, Line};
use millrace_lab::{Capture, Iperf, Lab, Ping, Traceroute, sweep, test};

fn namespaces(prefix: &str) -> Vec<String> {
    let names = std::fs::read_dir("/run/netns").into_iter().flatten().flatten();
    names.filter_map(|e| e.file_name().into_string().ok()).filter(|n| n.starts_with(prefix)).collect()
}

fn id(lab: &Lab) -> String {
    lab.dir().file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[test]
fn two_labs_live_side_by_side_and_each_removes_what_it_made() {
    test(|one| {
        let two = Lab::new()?;
        let (a, b) = (Line::new(one)?, Line::new(&two)?);
        a.router.forwards()?;
        assert_eq!(Ping::new(&a.client, Line::SERVER).count(1).run()?.received, 1);
        assert_eq!(Ping::new(&b.client, Line::SERVER).count(1).run()?.received, 0, "b does not forward");
        // A process that would outlive the lab is ended with it.
        let sleeper = std::mem::ManuallyDrop::new(b.client.spawn("sleep", ["1000"])?);
        let (name, dir) = (id(&two), two.dir().to_owned());
        assert_eq!(namespaces(&name).len(), 3);
        drop(two);
        assert_eq!(namespaces(&name), Vec::<String>::new());
        assert!(!dir.exists());
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", sleeper.pid())).unwrap_or_default();
        assert!(stat.is_empty() || stat.contains(") Z "), "{stat}");
        assert_eq!(namespaces(&id(one)).len(), 3, "the other lab is whole");
        Ok(())
    });
}

#[test]
fn what_a_killed_process_left_behind_is_swept() {
    test(|_| {
        // A process id that was in use and is no more.
        let mut child = Command::new("true").spawn()?;
        let dead = child.id();
        child.wait()?;
        let namespace = format!("mr-lab-{dead}-0-left");
        let dir = std::env::temp_dir().join(format!("mr-lab-{dead}-0"));
        std::fs::create_dir(&dir)?;
        assert!(Command::new("ip").args(["netns", "add", &namespace]).status()?.success());
        // Another test's lab may be the one that sweeps it.
        sweep();
        assert_eq!(namespaces(&namespace), Vec::<String>::new());
        assert!(!dir.exists());
        Ok(())
    });
}

#[test]
fn a_signal_removes_the_lab() {
    test(|_| {
        let lab = env!("CARGO_BIN_EXE_lab");
        for signal in ["INT", "TERM", "HUP"] {
            let mut up = Command::new(lab)
                .args(["up", "--router", "kernel"])
                .stdout(std::process::Stdio::piped())
                .spawn()?;
            let mut said = std::io::BufReader::new(up.stdout.take().unwrap());
            let mut line = String::new();
            while !line.contains("Ctrl-C") {
                line.clear();
                assert_ne!(std::io::BufRead::read_line(&mut said, &mut line)?, 0, "`lab up` ended early");
            }
            let name = format!("mr-lab-{}-", up.id());
            assert_eq!(namespaces(&name).len(), 3);
            assert!(Command::new("kill").args(["-s", signal, &up.id().to_string()]).status()?.success());
            assert!(!up.wait()?.success(), "a signal is no success");
            assert_eq!(namespaces(&name), Vec::<String>::new(), "after SIG{signal}");
        }
        Ok(())
    });
}

#[test]
fn ping_and_iperf3_are_understood() {
    test(|lab| {
        let line = Line::new(lab)?;
        line.router.forwards()?;
        let ping = Ping::new(&line.client, Line::SERVER).run()?;
        assert_eq!((ping.sent, ping.received, ping.errors.len()), (3, 3, 0));
        let expired = Ping::new(&line.client, Line::SERVER).ttl(1).count(1).run()?;
        let from: Ipv4Addr = Line::LAN.parse()?;
        assert_eq!(expired.errors, [(from, "Time to live exceeded".to_owned())]);

        let tcp = Iperf::new(&line.client, &line.server, Line::SERVER).seconds(1).run()?;
        assert!(1_000_000 < tcp.received_bytes, "{tcp:?}");
        let back = Iperf::new(&line.client, &line.server, Line::SERVER).seconds(1).reverse().run()?;
        assert!(1_000_000 < back.received_bytes, "{back:?}");
        let udp = Iperf::new(&line.client, &line.server, Line::SERVER).seconds(1).udp("4M", 500).run()?;
        assert!((900..1100).contains(&udp.datagrams), "{udp:?}");
        Ok(())
    });
}

#[test]
fn traceroute_is_understood() {
    test(|lab| {
        let chain = Chain::new(lab)?;
        for (router, routes) in chain.routers.iter().zip(Chain::ROUTES) {
            router.forwards()?;
            for (prefix, via) in routes {
                router.ip(&format!("route add {prefix} via {via}"))?;
            }
        }
        let expected = Chain::HOPS
            .iter()
            .chain([&Chain::SERVER])
            .map(|a| a.parse().ok())
            .collect::<Vec<Option<Ipv4Addr>>>();
        let trace = Traceroute::run(&chain.client, Chain::SERVER, &[])?;
        assert_eq!(trace.hops, expected, "{}", trace.text);
        Ok(())
    });
}

#[test]
fn the_diamond_carries_over_both_ways() {
    test(|lab| {
        let net = Diamond::new(lab)?;
        net.router.forwards()?;
        net.router.sysctl(&[("net.ipv4.fib_multipath_hash_policy", "1")])?;
        net.router.ip(&format!(
            "route add {} nexthop via {} nexthop via {}",
            Diamond::SERVER,
            Diamond::UPPER,
            Diamond::LOWER
        ))?;
        let run = Iperf::new(&net.client, &net.server, Diamond::SERVER)
            .seconds(1)
            .udp("1M", 200)
            .streams(16)
            .run()?;
        assert_eq!(run.lost, 0, "{run:?}");
        for way in ["upper", "lower"] {
            let (_, sent) = net.router.packets(way)?;
            assert!(10 < sent, "{sent} packets by the {way} way");
        }
        Ok(())
    });
}

#[test]
fn a_capture_has_every_packet_and_tells_sound_from_broken() {
    test(|lab| {
        let line = Line::new(lab)?;
        line.router.forwards()?;
        let seen = Capture::start(&line.server, "eth0", "icmp")?;
        Ping::new(&line.client, Line::SERVER).count(5).run()?;
        let seen = seen.stop(10)?;
        assert_eq!(seen.matching("icmp.type == 8")?, 5);
        let replies = seen.fields("icmp.type == 0", &["ip.src", "ip.ttl"])?;
        assert_eq!(replies.len(), 5);
        assert_eq!((replies[0]["ip.src"].as_str(), replies[0]["ip.ttl"].as_str()), (Line::SERVER, "64"));
        assert_eq!(seen.assert_sound("")?, 10);

        // A local TCP stack leaves the checksum to the device: on the sender's own interface it is not there yet.
        let partial = Capture::start(&line.client, "eth0", "tcp and src host 10.0.1.2")?;
        Iperf::new(&line.client, &line.server, Line::SERVER).seconds(1).arg("-b5M").run()?;
        let partial = partial.stop(10)?;
        let error = partial.assert_sound("").unwrap_err().to_string();
        assert!(error.contains("not sound"), "{error}");
        Ok(())
    });
}

#[test]
fn a_failure_shows_the_logs() {
    test(|lab| {
        let line = Line::new(lab)?;
        line.client.run("sh", ["-c", "echo the reason >&2"])?;
        assert!(lab.logs().contains("── client/00-sh.err\nthe reason\n"), "{}", lab.logs());
        assert!(line.client.run("sh", ["-c", "echo so >&2; exit 3"]).unwrap_err().to_string().contains("so"));
        Ok(())
    });
}
