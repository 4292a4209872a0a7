//! The main thread's loop: waits for the kernel, for control, for workers and for signals, and lets each be heard.

use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::control_link::ControlLink;
use crate::dataplane::Dataplane;
use crate::instance::Instance;
use crate::worker::Requests;

/// Signals as a readable stream: one byte for each that ends the process.
struct Signals {
    end: UnixStream,
}

impl Signals {
    fn register() -> Result<Self> {
        let (end, raise) = UnixStream::pair().context("a socket pair for signals")?;
        end.set_nonblocking(true)?;
        for signal in [SIGTERM, SIGINT] {
            signal_hook::low_level::pipe::register(signal, raise.try_clone()?)
                .context("waiting for signals")?;
        }
        // Nothing is read from files here: a SIGHUP that was meant for control must not end us.
        signal_hook::flag::register(SIGHUP, Arc::default()).context("ignoring SIGHUP")?;
        Ok(Self { end })
    }

    fn raised(&mut self) -> bool {
        matches!(self.end.read(&mut [0; 8]), Ok(1..))
    }
}

/// Runs until a signal ends it. XDP programs are detached and sockets closed when this returns.
pub(crate) fn run(instance: Instance, run_dir: &Path, number: u64, seed: u64) -> Result<()> {
    let mut signals = Signals::register()?;
    let requests = Arc::new(Requests::new().context("an eventfd for workers")?);
    let mut dataplane = Dataplane::new(Arc::clone(&requests), run_dir, seed)?;
    let mut control = ControlLink::new(number);
    tracing::info!(instance = number, "waiting for control");

    loop {
        requests.bell.lie_down();
        if requests.is_empty() {
            let timeout = dataplane.patience().and_then(|patience| Timespec::try_from(patience).ok());
            let mut fds = vec![
                PollFd::from_borrowed_fd(dataplane.kernel_fd(), PollFlags::IN),
                PollFd::new(instance.listener(), PollFlags::IN),
                PollFd::from_borrowed_fd(requests.bell.as_fd(), PollFlags::IN),
                PollFd::new(&signals.end, PollFlags::IN),
            ];
            fds.extend(dataplane.arp_fds().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
            fds.extend(control.poll_fds());
            match poll(&mut fds, timeout.as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(errno).context("waiting for events"),
            }
        }
        requests.bell.get_up();

        if signals.raised() {
            break;
        }
        dataplane.hear_kernel().context("following the kernel's interfaces")?;
        dataplane.hear_workers();
        dataplane.hear_arp();
        control.serve(instance.listener(), &mut dataplane);
        dataplane.tick();
    }
    control.farewell();
    tracing::info!("stopping");
    dataplane.save_sessions();
    drop(dataplane);
    tracing::info!("stopped: XDP programs are detached");
    Ok(())
}
