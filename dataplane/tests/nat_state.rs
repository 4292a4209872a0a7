//! Sessions of address translation over time: shown, cleared, logged, and kept over `apply` and restarts.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use millrace_lab::topology::Home;
use millrace_lab::{Child, Lab, Router, test, wait_until};
use rustix::process::{Pid, Signal, kill_process};

const SHARED: &str = "interface = \"wan\"";
const ALONE: &str = "addresses = [\"192.0.2.8/29\"]";
const PATIENCE: Duration = Duration::from_secs(20);

/// A TCP connection from inside to a server that sends back what it gets.
struct Connection {
    stream: TcpStream,
}

impl Connection {
    fn open(home: &Home, port: u16) -> Result<Self> {
        let listener = home.server.within(|| Ok(TcpListener::bind(("0.0.0.0", port))?))?;
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                std::thread::spawn(move || {
                    let mut bytes = [0; 1024];
                    while let Ok(len @ 1..) = stream.read(&mut bytes) {
                        if stream.write_all(&bytes[..len]).is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Self::again(home, port)
    }

    fn again(home: &Home, port: u16) -> Result<Self> {
        let to = SocketAddr::new(Home::SERVER.parse()?, port);
        let stream = home.alice.within(|| Ok(TcpStream::connect_timeout(&to, PATIENCE)?))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { stream })
    }

    /// There and back.
    fn works(&mut self) -> Result<()> {
        self.stream.write_all(b"still there?")?;
        let mut bytes = [0; 12];
        self.stream.read_exact(&mut bytes)?;
        ensure!(&bytes == b"still there?", "{bytes:?}");
        Ok(())
    }
}

fn home(lab: &Lab, pool: &str, rest: &str) -> Result<(Home, Router)> {
    let home = Home::new(lab)?;
    let router = Router::start(&home.router, &Home::config(pool, rest))?;
    Ok((home, router))
}

fn outside(router: &Router) -> Result<String> {
    let mappings = router.show("nat mappings --protocol tcp --inside 10.0.1.2")?;
    Ok(mappings[0]["outside"].as_str().context("a mapping")?.to_owned())
}

fn apply(router: &Router, config: &str) -> Result<String> {
    router.write_config(config)?;
    let output = router.millrace(["apply"])?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn nat_sessions_are_shown_filtered_and_cleared() {
    test(|lab| {
        let (home, router) = home(lab, SHARED, "")?;
        let mut first = Connection::open(&home, 7001)?;
        let mut second = Connection::open(&home, 7002)?;
        first.works()?;
        second.works()?;
        let of = |filter: &str| -> Result<usize> {
            Ok(router.show(&format!("nat sessions {filter}"))?.as_array().map_or(0, Vec::len))
        };
        for (filter, count) in [
            ("--protocol tcp", 2),
            ("10.0.1.2 --protocol tcp", 2),
            ("--remote-port 7001", 1),
            ("--remote 192.0.2.0/24 --protocol tcp", 2),
            ("--inside 10.0.2.0/24", 0),
            ("--outside 192.0.2.1 --remote-port 7002", 1),
            ("--protocol tcp --limit 1", 1),
        ] {
            assert_eq!(of(filter)?, count, "{filter}");
        }
        let text = router.show_text("nat sessions --protocol tcp")?;
        assert!(text.contains("established") && text.contains("192.0.2.2:7001"), "{text}");
        assert!(router.show_text("nat stats")?.contains("10.0.1.2"), "top subscribers");
        assert!(router.show_text("nat pools")?.contains("192.0.2.1 (wan)"));
        assert!(router.show("nat mappings --remote 1.2.3.4").is_err(), "mappings have no remote");
        assert_eq!(router.metric("millrace_nat_sessions{pool=\"wan\"}")?, of("")? as f64);

        let cleared = router.millrace(["clear", "nat", "sessions", "--remote-port", "7001", "--json"])?;
        assert_eq!(String::from_utf8_lossy(&cleared.stdout).trim(), "{\"sessions\":1}");
        assert_eq!(of("--protocol tcp")?, 1);
        second.works()?;
        let cleared = router.millrace(["clear", "nat", "sessions"])?;
        assert!(cleared.status.success());
        assert_eq!(of("")?, 0);
        Ok(())
    });
}

#[test]
fn nat_sessions_outlive_apply_where_they_fit() {
    test(|lab| {
        let (home, router) = home(lab, ALONE, "")?;
        let mut connection = Connection::open(&home, 7001)?;
        connection.works()?;
        let before = outside(&router)?;
        // Policy only, then a pool with more addresses: the mapping fits both.
        let policy =
            Home::config(ALONE, "").replace("[nat]\n", "[nat]\nudp = 400\nsessions-per-subscriber = 100\n");
        apply(&router, &policy)?;
        connection.works()?;
        let more = "addresses = [\"192.0.2.8/29\", \"192.0.2.32/29\"]";
        apply(
            &router,
            &Home::config(more, "[[nat.static]]\noutside = \"192.0.2.99\"\ninside = \"10.0.2.2\"\n"),
        )?;
        connection.works()?;
        assert_eq!(outside(&router)?, before);
        // A wrong file changes nothing.
        router.write_config(&Home::config("addresses = [\"192.0.2.300\"]", ""))?;
        let refused = router.millrace(["apply"])?;
        assert_eq!(refused.status.code(), Some(2));
        connection.works()?;
        // Other addresses: it cannot go on, and others can begin.
        apply(&router, &Home::config("addresses = [\"192.0.2.64/29\"]", ""))?;
        let sessions = router.show("nat sessions --remote-port 7001")?;
        assert_eq!(sessions.as_array().map(Vec::len), Some(0));
        Connection::again(&home, 7001)?.works()?;
        assert!(outside(&router)?.starts_with("192.0.2.6"), "{}", outside(&router)?);
        Ok(())
    });
}

#[test]
fn nat_sessions_outlive_control() {
    test(|lab| {
        let (home, mut router) = home(lab, SHARED, "")?;
        let mut connection = Connection::open(&home, 7001)?;
        connection.works()?;
        let before = outside(&router)?;
        let dead = router.kill(Child::Control)?;
        connection.works()?;
        router.wait_successor(Child::Control, dead)?;
        router.wait_ready()?;
        connection.works()?;
        assert_eq!(outside(&router)?, before);
        Ok(())
    });
}

#[test]
fn nat_sessions_outlive_a_planned_restart_of_the_dataplane() {
    test(|lab| {
        let (home, mut router) = home(lab, ALONE, "")?;
        let mut connection = Connection::open(&home, 7001)?;
        connection.works()?;
        let before = outside(&router)?;
        restart(&mut router)?;
        assert_eq!(outside(&router)?, before);
        connection.works()?;
        let stats = router.show("nat stats")?;
        assert!(stats["restored"].as_str().is_some_and(|said| said.contains("1 of 1 sessions")), "{stats}");
        assert!(!router.run_dir().join("nat.state").exists(), "it is taken once");
        Ok(())
    });
}

#[test]
fn nat_state_that_is_damaged_is_refused_and_said() {
    test(|lab| {
        let home = Home::new(lab)?;
        let config = Home::config(SHARED, "");
        let mut router = Router::launch(&home.router, &config)?;
        router.wait_ready()?;
        let state = router.run_dir().join("nat.state");
        std::fs::write(&state, b"MRNS but not whole")?;
        router.kill(Child::Dataplane).and_then(|dead| router.wait_successor(Child::Dataplane, dead))?;
        router.wait_ready()?;
        let stats = router.show("nat stats")?;
        assert!(stats["restored"].as_str().is_some_and(|said| said.contains("NAT starts empty")), "{stats}");
        assert!(!state.exists());
        Connection::open(&home, 7001)?.works()
    });
}

/// SIGTERM to the dataplane, as systemd or a package's upgrade does, and its successor in service.
fn restart(router: &mut Router) -> Result<()> {
    let dead = router.pid(Child::Dataplane)?;
    let pid = Pid::from_raw(i32::try_from(dead)?).context("a process id")?;
    kill_process(pid, Signal::TERM)?;
    router.wait_successor(Child::Dataplane, dead)?;
    router.wait_ready()
}

#[test]
fn nat_log_says_who_had_which_endpoint_and_not_where_to() {
    test(|lab| {
        let file = lab.dir().join("nat.jsonl");
        let rest = format!("[nat.log]\nfile = \"{}\"\n", file.display());
        let (home, router) = home(lab, SHARED, &rest)?;
        Connection::open(&home, 7001)?.works()?;
        let mut text = String::new();
        wait_until("the line", PATIENCE, || {
            text = std::fs::read_to_string(&file).unwrap_or_default();
            Ok(text.contains("\"mapping-created\""))
        })?;
        let line = text.lines().find(|line| line.contains("\"tcp\"")).context("a line about TCP")?;
        let event: serde_json::Value = serde_json::from_str(line)?;
        assert_eq!(event["outside"], outside(&router)?.as_str());
        assert!(event["inside"].as_str().is_some_and(|inside| inside.starts_with("10.0.1.2:")), "{event}");
        assert!(!text.contains(Home::SERVER), "RFC 6888 REQ-12: {text}");
        assert!(1.0 <= router.metric("millrace_nat_log_lines_total{outcome=\"written\"}")?);
        Ok(())
    });
}

#[test]
fn nat_log_reaches_a_syslog_receiver_as_rfc5424_messages() {
    test(|lab| {
        let home = Home::new(lab)?;
        let receiver = home.server.within(|| Ok(UdpSocket::bind("0.0.0.0:514")?))?;
        receiver.set_read_timeout(Some(Duration::from_secs(1)))?;
        let log = format!("[nat.log]\nsyslog = \"{}:514\"\n", Home::SERVER);
        let router = Router::start(&home.router, &Home::config(SHARED, &log))?;
        Connection::open(&home, 7001)?.works()?;
        let mut message = String::new();
        wait_until("the message about TCP", PATIENCE, || {
            let mut bytes = [0; 2048];
            let Ok(len) = receiver.recv(&mut bytes) else { return Ok(false) };
            message = String::from_utf8(bytes[..len].to_vec())?;
            Ok(message.contains("\"tcp\""))
        })?;
        // <PRI>VERSION TIMESTAMP HOSTNAME APP-NAME PROCID MSGID STRUCTURED-DATA MSG; local0, informational.
        let parts: Vec<&str> = message.splitn(8, ' ').collect();
        let [head, time, host, app, pid, id, data, text] = parts[..] else { panic!("{message}") };
        assert_eq!([head, host, app, id, data], ["<134>1", "-", "millrace", "nat", "-"], "{message}");
        assert_eq!((time.len(), &time[10..11], &time[19..]), (20, "T", "Z"), "{message}");
        assert!(pid.parse::<u32>().is_ok(), "{message}");
        let event: serde_json::Value = serde_json::from_str(text)?;
        assert_eq!(event["event"], "mapping-created");
        assert_eq!(event["outside"], outside(&router)?.as_str());
        assert!(!text.contains(Home::SERVER), "RFC 6888 REQ-12: {text}");
        Ok(())
    });
}

#[test]
fn nat_deterministic_is_answered_both_ways() {
    test(|lab| {
        let pool = "addresses = [\"192.0.2.8/31\"]\ndeterministic = \"10.0.1.0/28\"";
        let (home, router) = home(lab, pool, "")?;
        Connection::open(&home, 7001)?.works()?;
        let forward = router.show("nat deterministic 10.0.1.2")?;
        let (outside, first) =
            (forward["outside"].as_str().context("outside")?, forward["first_port"].clone());
        let back = router.show(&format!("nat deterministic {outside}:{first}"))?;
        assert_eq!(back["inside"], "10.0.1.2");
        let mapped = self::outside(&router)?;
        let (address, port) = mapped.rsplit_once(':').context("an endpoint")?;
        let port: u64 = port.parse()?;
        assert_eq!(address, outside);
        assert!(
            (forward["first_port"].as_u64()..=forward["last_port"].as_u64()).contains(&Some(port)),
            "{mapped} {forward}"
        );
        assert_eq!(router.show("nat deterministic 10.9.9.9")?, serde_json::Value::Null);
        Ok(())
    });
}
