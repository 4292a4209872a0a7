//! What the kernel tests stand on: a network namespace with a veth pair, and an XDP program that gives every frame to
//! the socket of its queue. The program is five instructions, so that no BPF toolchain is needed.

use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::process::Command;
use std::time::Instant;

use millrace_xsk::{Bind, RingSizes, Socket, SocketConfig, Umem};

pub(crate) mod bpf;

/// The two ends of the pair, `va` and `vb`.
pub(crate) struct Ground {
    pub(crate) a: u32,
    pub(crate) b: u32,
}

/// Runs `body` on a thread in a namespace of its own, which goes with the thread. Without root it says so, loudly.
pub(crate) fn stand(name: &str, body: impl FnOnce(&Ground) + Send) {
    if !rustix::process::geteuid().is_root() {
        let reason = "AF_XDP and network namespaces need root";
        assert!(std::env::var_os("CI").is_none(), "{name} has to run in CI, but {reason}");
        let line = format!("SKIPPED {name}: {reason}\n");
        // Not by a macro: the harness would swallow it.
        let _ = std::io::stderr().lock().write_all(line.as_bytes());
        if let Some(path) = std::env::var_os("MILLRACE_SKIPPED") {
            let file = std::fs::OpenOptions::new().append(true).create(true).open(path);
            let _ = file.and_then(|mut file| file.write_all(line.as_bytes()));
        }
        return;
    }
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let flags = rustix::thread::UnshareFlags::NEWNET;
            // JUSTIFICATION: rustix warns of unsharing what other threads rely on.
            // SAFETY: a network namespace of its own for this thread; no memory or descriptor table is unshared.
            unsafe { rustix::thread::unshare_unsafe(flags) }.unwrap();
            let ground = veth("va", "vb");
            body(&ground);
        });
        if let Err(panic) = thread.join() {
            std::panic::resume_unwind(panic);
        }
    });
}

/// Makes a veth pair with both ends up and nothing on them.
pub(crate) fn veth(a: &str, b: &str) -> Ground {
    ip(&["link", "add", "name", a, "type", "veth", "peer", "name", b]);
    for end in [a, b] {
        // Keeps the kernel's own chatter off the pair.
        ip(&["link", "set", "dev", end, "addrgenmode", "none", "arp", "off", "up"]);
    }
    Ground { a: ifindex(a), b: ifindex(b) }
}

pub(crate) fn ip(words: &[&str]) -> String {
    let output = Command::new("ip").args(words).output().unwrap();
    assert!(output.status.success(), "ip {words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn ifindex(name: &str) -> u32 {
    let line = ip(&["-o", "link", "show", "dev", name]);
    line.split(':').next().unwrap().parse().unwrap()
}

/// A socket in copy mode and the program that feeds it; the program goes first.
pub(crate) struct Port {
    pub(crate) socket: Socket,
    _program: OwnedFd,
}

impl Port {
    pub(crate) fn new(umem: &Umem, ifindex: u32, rings: RingSizes) -> Self {
        let config = SocketConfig { bind: Bind::Auto, rings, ..SocketConfig::new(ifindex, 0) };
        let socket = Socket::open(umem, config).unwrap();
        let _program = bpf::feed(ifindex, socket.as_raw_fd());
        Self { socket, _program }
    }
}

pub(crate) fn rings(entries: u32) -> RingSizes {
    RingSizes { rx: entries, tx: entries, fill: entries, completion: entries }
}

/// Lets the caller look at the clock.
#[expect(clippy::disallowed_methods, reason = "a test of rates and deadlines is its own shell")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Runs `step` until it says that it is done. Panics after ten seconds.
pub(crate) fn until(what: &str, mut step: impl FnMut() -> bool) {
    let start = now();
    while !step() {
        assert!(now().duration_since(start).as_secs() < 10, "no {what} within ten seconds");
        std::thread::yield_now();
    }
}

/// Waits for a socket to become readable, as an idle worker does. False after `millis`.
pub(crate) fn readable(socket: &Socket, millis: u32) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let timeout = Timespec { tv_sec: 0, tv_nsec: i64::from(millis) * 1_000_000 };
    poll(&mut [PollFd::from_borrowed_fd(socket.as_fd(), PollFlags::IN)], Some(&timeout)).unwrap() > 0
}

fn owned(fd: i64) -> OwnedFd {
    let fd = i32::try_from(fd).unwrap();
    // JUSTIFICATION: the descriptor comes from a raw system call.
    // SAFETY: the kernel has just made it, and nothing else knows its number.
    unsafe { OwnedFd::from_raw_fd(fd) }
}
