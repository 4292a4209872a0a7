//! The dataplane process by itself: a test takes control's place on the api socket.
#![expect(clippy::wildcard_enum_match_arm, reason = "any other answer fails the test, and is printed")]

use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use millrace_api::report::{Counters, Interface, Worker};
use millrace_api::{
    DataplaneConfig, Express, InterfaceConfig, Member, Mode, NexthopId, NexthopKind, OnFailure, Op, Query,
    Queues, RefusalReason, Reply, ReplyBody, Request, RequestBody, Scheduling, Urpf, VERSION, Via,
    read_frame, write_frame,
};
use millrace_lab::topology::Line;
use millrace_lab::{Iperf, Node, Ping, Process, test, wait_for, wait_until};
use rustix::process::Signal;

const SOON: Duration = Duration::from_secs(20);

/// `millrace-dataplane` in a node.
struct Dataplane {
    process: Process,
    node: Node,
    run_dir: PathBuf,
}

impl Dataplane {
    fn start(node: &Node) -> Result<Self> {
        let run_dir = node.dir().join("run");
        let process = spawn(node, &run_dir, "dataplane")?;
        Ok(Self { process, node: node.clone(), run_dir })
    }

    /// A greeted connection.
    fn connect(&self) -> Result<Client> {
        let mut client = self.connect_silently()?;
        match client.ask(RequestBody::Hello { version: VERSION })? {
            ReplyBody::Hello { pid, .. } => ensure!(pid == self.process.pid(), "answered by {pid}"),
            other => bail!("{other:?}"),
        }
        Ok(client)
    }

    fn connect_silently(&self) -> Result<Client> {
        let socket = self.run_dir.join("dataplane.sock");
        let stream = wait_for("the api socket", SOON, || Ok(UnixStream::connect(&socket).ok()))?;
        stream.set_read_timeout(Some(SOON))?;
        Ok(Client { stream, seq: 0, generation: 0 })
    }

    fn ifindex(&self, interface: &str) -> Result<u32> {
        let link = self.node.ip_json(&format!("link show dev {interface}"))?;
        let ifindex = link[0]["ifindex"].as_u64().context("no ifindex")?;
        Ok(u32::try_from(ifindex)?)
    }
}

fn spawn(node: &Node, run_dir: &std::path::Path, name: &str) -> Result<Process> {
    let program = env!("CARGO_BIN_EXE_millrace-dataplane");
    let args = ["--run-dir".as_ref(), run_dir.as_os_str(), "--log".as_ref(), "debug".as_ref()];
    Process::spawn(node.dir(), name, node.command(program, args))
}

/// Control's side of the socket.
struct Client {
    stream: UnixStream,
    seq: u32,
    generation: u64,
}

impl Client {
    fn ask(&mut self, body: RequestBody) -> Result<ReplyBody> {
        self.seq += 1;
        write_frame(&mut self.stream, &Request { seq: self.seq, body })?;
        let reply: Reply = read_frame(&mut self.stream)?;
        ensure!(reply.seq == self.seq, "reply {} to request {}", reply.seq, self.seq);
        Ok(reply.body)
    }

    fn configure(&mut self, config: DataplaneConfig) -> Result<Vec<String>> {
        match self.ask(RequestBody::Configure(Box::new(config)))? {
            ReplyBody::Configured { restart } => Ok(restart),
            other => bail!("{other:?}"),
        }
    }

    /// Operations that are refused, by index and reason.
    fn batch(&mut self, ops: Vec<Op>) -> Result<Vec<(u32, RefusalReason)>> {
        self.generation += 1;
        match self.ask(RequestBody::Batch { generation: self.generation, ops })? {
            ReplyBody::Ack { generation, refused, .. } if generation == self.generation => {
                Ok(refused.into_iter().map(|refusal| (refusal.op, refusal.reason)).collect())
            }
            other => bail!("{other:?}"),
        }
    }

    fn counters(&mut self) -> Result<Counters> {
        match self.ask(RequestBody::Query(Query::Counters))? {
            ReplyBody::Counters(counters) => Ok(counters),
            other => bail!("{other:?}"),
        }
    }

    fn interfaces(&mut self) -> Result<Vec<Interface>> {
        match self.ask(RequestBody::Query(Query::Interfaces))? {
            ReplyBody::Interfaces(interfaces) => Ok(interfaces),
            other => bail!("{other:?}"),
        }
    }

    fn workers(&mut self) -> Result<Vec<Worker>> {
        match self.ask(RequestBody::Query(Query::Workers))? {
            ReplyBody::Workers(workers) => Ok(workers),
            other => bail!("{other:?}"),
        }
    }

    fn redirected(&mut self) -> Result<u64> {
        let counters = self.counters()?;
        counters.xdp.iter().find(|(name, _)| name == "redirected").map(|(_, n)| *n).context("no redirected")
    }
}

fn config(interfaces: &[&str]) -> DataplaneConfig {
    let interface = |name: &&str| InterfaceConfig {
        name: (*name).into(),
        nat: None,
        urpf: Urpf::Off,
        on_failure: OnFailure::Drop,
        queues: Queues::All,
        mss_clamp: None,
        vlan: None,
        guard: Default::default(),
        switches: Default::default(),
    };
    DataplaneConfig {
        workers: vec![],
        mode: Mode::Auto,
        express: Express::Off,
        busy_poll: false,
        scheduling: Scheduling::Realtime,
        stage_times: false,
        frames: 4096,
        interfaces: interfaces.iter().map(interface).collect(),
        nat: None,
        forwarding: Default::default(),
        acls: vec![],
    }
}

fn glean(id: u32, ifindex: u32, prefix: &str) -> Result<[Op; 2]> {
    let prefix = prefix.parse().ok().context("a prefix")?;
    Ok([
        Op::NexthopUpsert { id: NexthopId(id), kind: NexthopKind::Glean { ifindex } },
        Op::RouteUpsert { prefix, nexthop: NexthopId(id) },
    ])
}

/// A dataplane in the middle of the line with its two connected routes.
fn forwarding(line: &Line) -> Result<(Dataplane, Client)> {
    let dataplane = Dataplane::start(&line.router)?;
    let mut client = dataplane.connect()?;
    let restart = client.configure(config(&["lan", "wan"]))?;
    ensure!(restart.is_empty(), "{restart:?}");
    for interface in client.interfaces()? {
        ensure!(interface.problem.is_none() && interface.xdp == "native", "{interface:?}");
    }
    let lan = glean(1, dataplane.ifindex("lan")?, "10.0.1.0/24")?;
    let wan = glean(2, dataplane.ifindex("wan")?, "10.0.2.0/24")?;
    let refused = client.batch([lan, wan].concat())?;
    ensure!(refused.is_empty(), "{refused:?}");
    Ok((dataplane, client))
}

#[test]
fn packets_pass_and_every_frame_is_accounted_for() {
    test(|lab| {
        let line = Line::new(lab)?;
        let (_dataplane, mut client) = forwarding(&line)?;
        let ping = Ping::new(&line.client, Line::SERVER).count(5).run()?;
        assert_eq!(ping.received, 5, "{ping:?}");
        assert!(10 <= client.redirected()?);

        let tcp = Iperf::new(&line.client, &line.server, Line::SERVER).seconds(3).run()?;
        assert!(tcp.mbits() > 50.0, "{} Mbit/s", tcp.mbits());
        let tcp = Iperf::new(&line.client, &line.server, Line::SERVER).seconds(2).reverse().run()?;
        assert!(tcp.mbits() > 50.0, "{} Mbit/s", tcp.mbits());

        let frames = client.counters()?.frames;
        assert_eq!((frames.total, frames.lost), (4096, 0), "{frames:?}");
        Ok(())
    });
}

#[test]
fn an_idle_worker_sleeps() {
    test(|lab| {
        let line = Line::new(lab)?;
        let (_dataplane, mut client) = forwarding(&line)?;
        assert_eq!(Ping::new(&line.client, Line::SERVER).run()?.received, 3);
        let before = client.workers()?;
        // A ping that takes its time: 20 round trips in two seconds.
        let ping =
            Ping::new(&line.client, Line::SERVER).count(20).interval(Duration::from_millis(100)).run()?;
        assert_eq!(ping.received, 20);
        let after = client.workers()?;
        let busy = after[0].busy_seconds - before[0].busy_seconds;
        let idle = after[0].idle_seconds - before[0].idle_seconds;
        assert!(busy < 0.02 * idle, "busy {busy:.4} s, idle {idle:.4} s");
        assert!(
            after[0].wakeups - before[0].wakeups < 1000,
            "{} wakeups",
            after[0].wakeups - before[0].wakeups
        );
        Ok(())
    });
}

#[test]
fn an_interface_that_is_made_anew_goes_back_into_service() {
    test(|lab| {
        let line = Line::new(lab)?;
        let (dataplane, mut client) = forwarding(&line)?;
        assert_eq!(Ping::new(&line.client, Line::SERVER).run()?.received, 3);
        let old = dataplane.ifindex("wan")?;
        for _ in 0..3 {
            line.router.ip("link delete wan")?;
            wait_until("the interface to go", SOON, || Ok(client.interfaces()?[1].xdp == "absent"))?;
            lab.link(line.router.end("wan", "10.0.2.1/24"), line.server.end("eth0", "10.0.2.2/24"))?;
            line.server.ip("route add default via 10.0.2.1")?;
            wait_until("the interface to come back", SOON, || {
                let wan = &client.interfaces()?[1];
                Ok(wan.xdp == "native" && wan.up)
            })?;
            // The route's group means the interface, whatever its number is.
            wait_until("a reply", SOON, || {
                Ok(Ping::new(&line.client, Line::SERVER).count(1).run()?.received == 1)
            })?;
        }
        let new = dataplane.ifindex("wan")?;
        assert_ne!(old, new);
        let refused = client.batch(glean(9, old, "10.9.0.0/16")?.into())?;
        assert_eq!(refused, [(0, RefusalReason::UnknownInterface), (1, RefusalReason::UnknownNexthop)]);
        assert_eq!(client.batch(glean(9, new, "10.9.0.0/16")?.into())?, []);
        assert_eq!(client.counters()?.frames.lost, 0);
        Ok(())
    });
}

#[test]
fn interfaces_are_configured_in_and_out_under_traffic() {
    test(|lab| {
        let line = Line::new(lab)?;
        let (dataplane, mut client) = forwarding(&line)?;
        let run = Iperf::new(&line.client, &line.server, Line::SERVER).seconds(4).start()?;
        wait_until("traffic", SOON, || Ok(1000 < client.redirected()?))?;
        for _ in 0..5 {
            client.configure(config(&["lan"]))?;
            assert_eq!(client.interfaces()?.len(), 1);
            client.configure(config(&["lan", "wan"]))?;
            assert_eq!(client.interfaces()?[1].problem, None);
            // Its groups went on without the interface; it is for control to put it back.
            client.batch(glean(2, dataplane.ifindex("wan")?, "10.0.2.0/24")?.into())?;
            let before = client.redirected()?;
            wait_until("traffic again", SOON, || Ok(before + 1000 < client.redirected()?))?;
        }
        run.finish()?;
        assert_eq!(Ping::new(&line.client, Line::SERVER).run()?.received, 3);
        assert_eq!(client.counters()?.frames.lost, 0);
        let mut other = config(&["lan", "wan"]);
        other.frames = 8192;
        other.workers = vec![0];
        assert_eq!(client.configure(other)?, ["workers", "frames"]);
        Ok(())
    });
}

/// Queue 1 of `lan` is another worker's than the only queue of `wan`: its packets change hands.
#[test]
fn workers_hand_frames_to_the_one_that_has_the_queue() {
    test(|lab| {
        let line = Line::new(lab)?;
        line.router.ip("link delete lan")?;
        line.client.ip(&format!(
            "link add eth0 numtxqueues 2 numrxqueues 2 type veth peer name lan netns {} numtxqueues 2 numrxqueues 2",
            line.router.namespace()
        ))?;
        for (node, interface, address) in
            [(&line.client, "eth0", "10.0.1.2/24"), (&line.router, "lan", "10.0.1.1/24")]
        {
            node.ip(&format!("address add {address} dev {interface}"))?;
            node.ip(&format!("link set {interface} up"))?;
        }
        line.client.ip("route add default via 10.0.1.1")?;

        let dataplane = Dataplane::start(&line.router)?;
        let mut client = dataplane.connect()?;
        client.configure(DataplaneConfig { workers: vec![0, 1], ..config(&["lan", "wan"]) })?;
        let queues: Vec<_> = client.interfaces()?.iter().map(|interface| interface.queues.len()).collect();
        assert_eq!(queues, [2, 1]);
        let lan = glean(1, dataplane.ifindex("lan")?, "10.0.1.0/24")?;
        let wan = glean(2, dataplane.ifindex("wan")?, "10.0.2.0/24")?;
        assert_eq!(client.batch([lan, wan].concat())?, []);

        let tcp = Iperf::new(&line.client, &line.server, Line::SERVER).streams(8).run()?;
        assert!(tcp.mbits() > 50.0, "{} Mbit/s", tcp.mbits());
        let workers = client.workers()?;
        assert!(workers.iter().all(|worker| 100 < worker.packets), "{workers:?}");
        assert_eq!(client.counters()?.frames.lost, 0);
        Ok(())
    });
}

#[test]
fn a_gateway_is_resolved_before_it_is_needed_and_3_1_comes_at_once_when_it_is_dead() {
    test(|lab| {
        let line = Line::new(lab)?;
        let (dataplane, mut client) = forwarding(&line)?;
        let via =
            |host| Via { ifindex: dataplane.ifindex("wan").unwrap_or(0), gateway: [10, 0, 2, host].into() };
        let group = |id, host| Op::NexthopUpsert {
            id: NexthopId(id),
            kind: NexthopKind::Forward(vec![Member { via: via(host), weight: 1 }]),
        };
        let route = |prefix: &str, id| {
            Ok::<_, anyhow::Error>(Op::RouteUpsert {
                prefix: prefix.parse().ok().context("a prefix")?,
                nexthop: NexthopId(id),
            })
        };
        client.batch(vec![
            group(10, 2),
            route("10.10.0.0/16", 10)?,
            group(11, 99),
            route("10.11.0.0/16", 11)?,
        ])?;
        let state = |client: &mut Client, id| match client.ask(RequestBody::Query(Query::Nexthops))? {
            ReplyBody::Nexthops(all) => {
                let group = all.into_iter().find(|group| group.id == id).context("no such group")?;
                Ok::<_, anyhow::Error>(group.members[0].state.clone())
            }
            other => bail!("{other:?}"),
        };
        wait_until("the live gateway", SOON, || Ok(state(&mut client, 10)? == "reachable"))?;
        wait_until("the dead gateway", SOON, || Ok(state(&mut client, 11)? == "failed"))?;
        let ping = Ping::new(&line.client, "10.11.0.1").count(2).run()?;
        let from = Line::LAN.parse()?;
        assert_eq!(ping.errors.first(), Some(&(from, "Destination Host Unreachable".to_owned())), "{ping:?}");
        Ok(())
    });
}

#[test]
fn what_is_no_request_ends_the_connection_and_harms_nothing() {
    test(|lab| {
        let line = Line::new(lab)?;
        let (dataplane, mut client) = forwarding(&line)?;
        for garbage in [&[0xff; 64][..], &[8, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], &[]] {
            let mut hostile = dataplane.connect_silently()?;
            std::io::Write::write_all(&mut hostile.stream, garbage)?;
            if !garbage.is_empty() {
                assert!(read_frame::<Reply>(&mut hostile.stream).is_err(), "{garbage:x?}");
            }
        }
        let mut newer = dataplane.connect_silently()?;
        match newer.ask(RequestBody::Hello { version: VERSION + 7 })? {
            ReplyBody::Error { reason } => {
                assert!(
                    reason.contains(&VERSION.to_string()) && reason.contains(&(VERSION + 7).to_string()),
                    "{reason}"
                );
            }
            other => bail!("{other:?}"),
        }
        let mut rude = dataplane.connect_silently()?;
        assert!(matches!(
            rude.ask(RequestBody::Query(Query::Fib { address: None }))?,
            ReplyBody::Error { .. }
        ));
        let mut second = dataplane.connect()?;
        assert_eq!(second.interfaces()?.len(), 2, "anyone may ask");
        assert!(matches!(
            second.ask(RequestBody::Configure(Box::new(config(&[]))))?,
            ReplyBody::Error { .. }
        ));
        assert_eq!(client.interfaces()?.len(), 2);
        drop(client);
        wait_until("the second connection to be let in", SOON, || {
            Ok(matches!(
                second.ask(RequestBody::ResyncBegin { generation: 1 })?,
                ReplyBody::ResyncBegun { .. }
            ))
        })?;
        assert_eq!(Ping::new(&line.client, Line::SERVER).run()?.received, 3);
        Ok(())
    });
}

#[test]
fn one_dataplane_a_run_directory_and_a_clean_end() {
    test(|lab| {
        let line = Line::new(lab)?;
        let (mut dataplane, client) = forwarding(&line)?;
        let mut second = spawn(&line.router, &dataplane.run_dir, "second")?;
        assert!(!second.wait(SOON)?.success());
        assert!(second.err().contains("another millrace-dataplane"), "{}", second.err());

        let xdp = |interface: &str| -> Result<bool> {
            Ok(line.router.ip_json(&format!("link show dev {interface}"))?[0].get("xdp").is_some())
        };
        assert!(xdp("lan")? && xdp("wan")?);
        drop(client);
        dataplane.process.signal(Signal::TERM)?;
        assert!(dataplane.process.wait(SOON)?.success(), "{}", dataplane.process.err());
        assert!(!xdp("lan")? && !xdp("wan")?);
        assert!(!dataplane.run_dir.join("dataplane.sock").exists());

        // on-failure = "drop" outlives the process.
        assert_eq!(Ping::new(&line.client, Line::SERVER).count(1).run()?.received, 0);
        Ok(())
    });
}
