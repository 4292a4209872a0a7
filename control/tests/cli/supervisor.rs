//! `millrace run` with stand-ins for the two programs it supervises.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::fake;

const SOON: Duration = Duration::from_secs(30);

/// Runs until it is told to end, and reports what it is told.
const STEADY: &str = r#"
trap 'echo "NAME hangup" > "$EVENTS"' HUP
trap 'echo "NAME end" > "$EVENTS"; kill $waiting; exit 0' TERM
echo "NAME start $$ $*" > "$EVENTS"
while :; do sleep 60 > /dev/null 2>&1 & waiting=$!; wait $waiting; kill $waiting 2> /dev/null; done
"#;

struct Rig {
    dir: tempfile::TempDir,
    events: Receiver<String>,
    child: Option<Child>,
}

impl Rig {
    /// `millrace` beside these two scripts.
    fn new(dataplane: &str, control: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let bin = dir.path().join("bin");
        std::fs::create_dir(&bin).unwrap();
        std::fs::copy(env!("CARGO_BIN_EXE_millrace"), bin.join("millrace")).unwrap();
        for (name, script) in [("dataplane", dataplane), ("control", control)] {
            let path = bin.join(format!("millrace-{name}"));
            std::fs::write(&path, format!("#!/bin/sh\n{}", script.replace("NAME", name))).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        std::fs::write(dir.path().join("m.toml"), "[[interface]]\nname = \"eth0\"\n").unwrap();
        let fifo = dir.path().join("events");
        assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        // Also open for writing, so that it never ends.
        let reader = File::options().read(true).write(true).open(&fifo).unwrap();
        let (sender, events) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(reader).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { dir, events, child: None }
    }

    fn steady() -> Self {
        Self::new(STEADY, STEADY)
    }

    fn run_dir(&self) -> PathBuf {
        self.dir.path().join("run")
    }

    fn command(&self) -> Command {
        let mut command = Command::new(self.dir.path().join("bin/millrace"));
        command.arg("run").arg("-c").arg(self.dir.path().join("m.toml")).arg("--run-dir").arg(self.run_dir());
        command.env("EVENTS", self.dir.path().join("events")).stdin(Stdio::null()).stderr(Stdio::piped());
        command
    }

    fn start(&mut self) {
        self.child = Some(self.command().spawn().unwrap());
    }

    /// The next event; all are expected, in their order.
    fn event(&self) -> String {
        self.events.recv_timeout(SOON).unwrap()
    }

    /// Both programs have started; their process ids.
    fn started(&self) -> (i32, i32) {
        let mut lines = [self.event(), self.event()];
        lines.sort();
        let [control, dataplane] = lines;
        let (config, run_dir) = (self.dir.path().join("m.toml"), self.run_dir());
        let (pid, args) = start(&control, "control");
        assert_eq!(args, format!("-c {} --run-dir {}", config.display(), run_dir.display()));
        let (dataplane_pid, args) = start(&dataplane, "dataplane");
        assert_eq!(args, format!("--run-dir {}", run_dir.display()));
        (dataplane_pid, pid)
    }

    fn signal(&self, signal: Signal) {
        kill(i32::try_from(self.child.as_ref().unwrap().id()).unwrap(), signal);
    }

    /// Its exit code and what it said.
    fn ended(&mut self) -> (Option<i32>, String) {
        let output = self.child.take().unwrap().wait_with_output().unwrap();
        (output.status.code(), fake::text(&output.stderr))
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            self.child = None;
            kill(i32::try_from(child.id()).unwrap(), Signal::TERM);
            let _ = child.wait();
        }
    }
}

fn kill(pid: i32, signal: Signal) {
    kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
}

fn start(event: &str, name: &str) -> (i32, String) {
    let rest = event.strip_prefix(&format!("{name} start ")).unwrap_or_else(|| panic!("{event}"));
    let (pid, args) = rest.split_once(' ').unwrap();
    (pid.parse().unwrap(), args.to_owned())
}

#[test]
fn both_start_and_stop_in_order() {
    let mut rig = Rig::steady();
    rig.start();
    rig.started();
    rig.signal(Signal::TERM);
    assert_eq!(rig.event(), "control end");
    assert_eq!(rig.event(), "dataplane end");
    let (code, said) = rig.ended();
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(std::fs::read_dir(rig.run_dir()).unwrap().count(), 0, "nothing is left");
}

#[test]
fn a_hangup_goes_to_control_alone() {
    let mut rig = Rig::steady();
    rig.start();
    rig.started();
    rig.signal(Signal::HUP);
    assert_eq!(rig.event(), "control hangup");
    rig.signal(Signal::INT);
    assert_eq!((rig.event().as_str(), rig.event().as_str()), ("control end", "dataplane end"));
    assert_eq!(rig.ended().0, Some(0));
}

#[test]
fn what_dies_is_started_again_and_the_other_is_left_alone() {
    let mut rig = Rig::steady();
    rig.start();
    let (dataplane, control) = rig.started();
    kill(control, Signal::KILL);
    let (again, _) = start(&rig.event(), "control");
    assert_ne!(again, control);
    kill(dataplane, Signal::KILL);
    let (again, _) = start(&rig.event(), "dataplane");
    assert_ne!(again, dataplane);
    rig.signal(Signal::TERM);
    assert_eq!((rig.event().as_str(), rig.event().as_str()), ("control end", "dataplane end"));
    let (code, said) = rig.ended();
    assert_eq!(code, Some(0));
    assert!(said.contains("millrace-control has ended (signal 9)"), "{said}");
}

#[test]
fn a_configuration_error_of_a_child_ends_everything() {
    let mut rig = Rig::new(STEADY, "read line < \"$GATE\"; exit 2");
    // Control says so when the dataplane has started.
    let gate = rig.dir.path().join("gate");
    assert!(Command::new("mkfifo").arg(&gate).status().unwrap().success());
    rig.child = Some(rig.command().env("GATE", &gate).spawn().unwrap());
    start(&rig.event(), "dataplane");
    std::fs::write(&gate, "go\n").unwrap();
    assert_eq!(rig.event(), "dataplane end");
    let (code, said) = rig.ended();
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("millrace-control says that the configuration is wrong"), "{said}");
}

#[test]
fn a_router_that_never_gets_ready_gives_up() {
    let mut rig = Rig::new("echo \"NAME start $$ x\" > \"$EVENTS\"; exit 1", STEADY);
    rig.start();
    let (code, said) = rig.ended();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("millrace-dataplane has ended 5 times in a row"), "{said}");
    let starts = rig.events.try_iter().filter(|event| event.starts_with("dataplane start")).count();
    assert_eq!(starts, 5);
}

#[test]
fn one_run_directory_has_one_router() {
    let mut rig = Rig::steady();
    rig.start();
    rig.started();
    let second = rig.command().output().unwrap();
    assert_eq!(second.status.code(), Some(1));
    let said = fake::text(&second.stderr);
    assert!(said.contains(&rig.run_dir().display().to_string()) && said.contains("--run-dir"), "{said}");
}

#[test]
fn missing_programs_are_named() {
    let mut rig = Rig::steady();
    std::fs::remove_file(rig.dir.path().join("bin/millrace-dataplane")).unwrap();
    rig.start();
    let (code, said) = rig.ended();
    assert_eq!(code, Some(1));
    assert!(said.contains("bin/millrace-dataplane is not there"), "{said}");
}

#[test]
fn the_service_manager_hears_when_the_router_is_ready_and_that_it_lives() {
    let mut rig = Rig::steady();
    let path = rig.dir.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    std::fs::create_dir(rig.run_dir()).unwrap();
    // Not ready at first: the dataplane takes a moment.
    let asked = std::sync::atomic::AtomicUsize::new(0);
    fake::serve(&rig.run_dir().join("control.sock"), move |_| {
        let state = match asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
            0 => "away",
            1 | 2 => "resync",
            _ => "synced",
        };
        (200, format!("{{\"fib\":{{\"state\":\"{state}\"}},\"rib\":{{\"loading\":false}}}}"))
    });
    let mut command = rig.command();
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "200000");
    rig.child = Some(command.spawn().unwrap());
    rig.started();
    let mut heard = Vec::new();
    while !heard.contains(&"READY=1".to_owned())
        || heard.iter().filter(|state| *state == "WATCHDOG=1").count() < 3
    {
        let mut buffer = [0; 64];
        let len = socket.recv(&mut buffer).unwrap();
        heard.push(fake::text(&buffer[..len]));
    }
    rig.signal(Signal::TERM);
    let mut buffer = [0; 64];
    while &buffer[..10] != b"STOPPING=1" {
        socket.recv(&mut buffer).unwrap();
    }
    assert_eq!(rig.ended().0, Some(0));
}
