//! The workers as the clerk sees them: started once, told things, asked for sockets back.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::AtomicU64;
use std::thread::JoinHandle;
use std::time::Duration;

use core_affinity::CoreId;
use crossbeam::channel::{Sender, bounded, unbounded};
use crossbeam::utils::CachePadded;
use millrace_engine::{CounterPage, Engine, EngineConfig};
use millrace_fib::{Quiescence, Reader};
use millrace_nat::Nat;
use millrace_net::{Instant, PortId};
use millrace_xsk::{Cache, Socket, Umem};

use crate::control_link::Scheduling;
use crate::counters::WorkerPage;
use crate::handoff::Inbox;
use crate::scheduling;
use crate::worker::nat::Errand;
use crate::worker::{Command, Parts, Published, Requests, Snapshot, Worker};

/// A worker answers within a burst. One that takes longer is stuck, and no answer will mend that.
const PATIENCE: Duration = Duration::from_secs(2);
/// What a process that dies of a defect in a worker returns (EX_SOFTWARE).
const EXIT_DEFECT: i32 = 70;

#[derive(Debug, thiserror::Error)]
pub(crate) enum CrewError {
    #[error("workers names CPU {0}, which this process may not run on; it may run on {1}")]
    Cpu(u16, String),
    #[error("workers names CPU {0} twice; one worker a CPU")]
    Twice(u16),
    #[error("the CPUs this process may run on cannot be read")]
    NoCpus,
    #[error("a worker cannot be started: {0}")]
    Start(#[from] std::io::Error),
}

/// One worker from outside.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) cpu: u16,
    /// What the engine counts.
    pub(crate) counters: Arc<CounterPage>,
    /// What the worker counts.
    pub(crate) page: Arc<WorkerPage>,
    /// Free frames in its own stock.
    pub(crate) cached: Arc<CachePadded<AtomicU32>>,
    commands: Sender<Command>,
    thread: Option<JoinHandle<()>>,
}

/// How workers use their CPUs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Style {
    pub(crate) scheduling: Scheduling,
    /// Workers never sleep.
    pub(crate) busy_poll: bool,
}

impl Style {
    /// A worker that never sleeps would, in real time, leave others nothing but what the kernel saves for them in
    /// lumps of 50 ms.
    fn scheduling(self) -> Scheduling {
        match self.scheduling {
            Scheduling::Realtime if self.busy_poll => Scheduling::Nice,
            wanted @ (Scheduling::Realtime | Scheduling::Nice | Scheduling::Normal) => wanted,
        }
    }
}

/// The memory that workers read together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shared<'a> {
    pub(crate) umem: &'a Umem,
    pub(crate) fib: Reader<'static>,
    pub(crate) quiescence: &'a Quiescence,
    /// The ports that NAT holds of shared addresses, which the XDP program reads too.
    pub(crate) nat_ports: &'static [AtomicU64],
}

#[derive(Debug)]
pub(crate) struct Crew {
    pub(crate) members: Vec<Member>,
    published: Arc<Published>,
    inboxes: Arc<[Inbox]>,
    requests: Arc<Requests>,
}

/// The CPUs for `wanted` workers: those named, or the last one.
pub(crate) fn cpus(wanted: &[u16], available: &[u16]) -> Result<Vec<u16>, CrewError> {
    if wanted.is_empty() {
        return Ok(vec![*available.last().ok_or(CrewError::NoCpus)?]);
    }
    for (index, cpu) in wanted.iter().enumerate() {
        if !available.contains(cpu) {
            let list: Vec<String> = available.iter().map(u16::to_string).collect();
            return Err(CrewError::Cpu(*cpu, list.join(", ")));
        }
        if wanted[..index].contains(cpu) {
            return Err(CrewError::Twice(*cpu));
        }
    }
    Ok(wanted.to_vec())
}

/// CPUs this process may run on, ascending.
pub(crate) fn available_cpus() -> Vec<u16> {
    let mut cpus: Vec<u16> = core_affinity::get_core_ids()
        .unwrap_or_default()
        .into_iter()
        .filter_map(|core| u16::try_from(core.id).ok())
        .collect();
    cpus.sort_unstable();
    cpus
}

impl Crew {
    /// Starts one worker for each CPU. They have no sockets yet, and the same seed: a flow takes one path whoever has it.
    pub(crate) fn start(
        cpus: &[u16],
        shared: Shared<'_>,
        requests: Arc<Requests>,
        seed: u64,
        style: Style,
    ) -> Result<Self, CrewError> {
        let Shared { umem, fib, quiescence, nat_ports } = shared;
        let published = Arc::new(Published::default());
        let inboxes: Arc<[Inbox]> = cpus.iter().map(|_| Inbox::new()).collect::<Result<Vec<_>, _>>()?.into();
        let mut crew = Self { members: Vec::new(), published, inboxes, requests };
        for (number, cpu) in cpus.iter().enumerate() {
            let (commands, receiver) = unbounded();
            let counters = Arc::new(CounterPage::new());
            let page = Arc::new(WorkerPage::default());
            let cache = Cache::new(umem);
            let cached = cache.gauge();
            let mut config = EngineConfig::new(seed);
            config.worker = number;
            let parts = Parts {
                number,
                engine: Engine::new(fib, Arc::clone(&counters), config),
                quiescent: quiescence
                    .worker(number)
                    .ok_or_else(|| std::io::Error::other("no quiescence slot"))?,
                commands: receiver,
                published: Arc::clone(&crew.published),
                inboxes: Arc::clone(&crew.inboxes),
                requests: Arc::clone(&crew.requests),
                page: Arc::clone(&page),
                counters: Arc::clone(&counters),
                cache,
                busy_poll: style.busy_poll,
                nat_ports,
            };
            let worker = Worker::new(parts)?;
            let thread = start(worker, number, *cpu, style.scheduling(), Arc::clone(&page))?;
            let thread = Some(thread);
            crew.members.push(Member { cpu: *cpu, counters, page, cached, commands, thread });
        }
        Ok(crew)
    }

    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    /// The worker for a queue: queue i of every interface goes to worker i modulo their number.
    pub(crate) fn worker_of(&self, queue: u32) -> usize {
        queue as usize % self.members.len().max(1)
    }

    pub(crate) fn serve(&self, worker: usize, port: PortId, socket: Socket) {
        self.tell(worker, Command::Serve { port, socket: Box::new(socket) });
    }

    /// Takes the sockets of a port from all workers. They are still open.
    pub(crate) fn release(&self, port: PortId) -> Vec<Socket> {
        let (to, sockets) = bounded(self.members.len());
        for worker in 0..self.members.len() {
            self.tell(worker, Command::Release { port, to: to.clone() });
        }
        drop(to);
        let mut released = Vec::new();
        for _ in 0..self.members.len() {
            match sockets.recv_timeout(PATIENCE) {
                Ok(of_worker) => released.extend(of_worker),
                Err(_) => {
                    tracing::error!(port = port.0, "a worker does not give its sockets back");
                    break;
                }
            }
        }
        released
    }

    fn tell(&self, worker: usize, command: Command) {
        if let Some(member) = self.members.get(worker) {
            // Fails only when the worker has ended, and then the process does.
            let _ = member.commands.send(command);
            self.inboxes[worker].bell.ring();
        }
    }

    /// What a worker says of its NAT shard, between two bursts; none where it does not answer.
    pub(crate) fn visit_nat<T: Send + 'static>(
        &self,
        worker: usize,
        visit: impl FnOnce(Instant, Option<&mut Nat>) -> T + Send + 'static,
    ) -> Option<T> {
        let (to, answer) = bounded(1);
        let errand = Errand(Box::new(move |now, nat| {
            // The clerk may have given up waiting.
            let _ = to.send(visit(now, nat));
        }));
        self.tell(worker, Command::Nat(errand));
        answer.recv_timeout(PATIENCE).ok()
    }

    /// All workers use these ports from their next burst on.
    pub(crate) fn publish(&self, snapshot: Snapshot) {
        self.published.publish(snapshot);
        self.ring_all();
    }

    /// Adjacencies became complete or failed.
    pub(crate) fn neighbors_changed(&self) {
        self.published.neighbors_changed();
        self.ring_all();
    }

    fn ring_all(&self) {
        for inbox in self.inboxes.iter() {
            inbox.bell.ring();
        }
    }

    /// Frames between workers at this moment.
    pub(crate) fn in_handoff(&self) -> usize {
        self.inboxes.iter().map(Inbox::len).sum()
    }

    /// Ends all workers and waits for them.
    pub(crate) fn stop(&mut self) {
        for worker in 0..self.members.len() {
            self.tell(worker, Command::Stop);
        }
        for member in &mut self.members {
            if let Some(thread) = member.thread.take() {
                let _ = thread.join();
            }
        }
    }
}

/// A worker that panics takes the process with it: half a router is worse than one that is started anew.
fn start(
    worker: Worker,
    number: usize,
    cpu: u16,
    wanted: Scheduling,
    page: Arc<WorkerPage>,
) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(format!("worker-{number}")).spawn(move || {
        if !core_affinity::set_for_current(CoreId { id: usize::from(cpu) }) {
            tracing::warn!(worker = number, cpu, "the worker is not pinned to its CPU");
        }
        page.scheduling.set(scheduling::claim(number, wanted));
        if catch_unwind(AssertUnwindSafe(|| worker.run())).is_err() {
            tracing::error!(
                worker = number,
                "a worker panicked; the process ends, so that it is started anew"
            );
            std::process::exit(EXIT_DEFECT);
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_worker_a_cpu() {
        for (wanted, available, expected) in [
            (&[][..], &[0, 1, 3][..], Ok(&[3][..])),
            (&[1, 0], &[0, 1], Ok(&[1, 0])),
            (
                &[2],
                &[0, 1],
                Err("workers names CPU 2, which this process may not run on; it may run on 0, 1"),
            ),
            (&[1, 1], &[0, 1], Err("workers names CPU 1 twice; one worker a CPU")),
            (&[], &[], Err("the CPUs this process may run on cannot be read")),
        ] {
            let got = cpus(wanted, available).map_err(|error| error.to_string());
            assert_eq!(got.as_deref().map_err(String::as_str), expected, "{wanted:?} of {available:?}");
        }
    }
}
