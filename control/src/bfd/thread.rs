//! The thread: the machine, its sockets, its clock.
//!
//! One round: orders, then every datagram that waits, then what has fallen due, then sleep until a datagram, an order or
//! the next deadline. Datagrams come before deadlines, so that a thread that was kept from running does not take a live
//! neighbour for a dead one.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddrV4;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::{self as orders, TryRecvError};
use std::time::Duration;

use millrace_bfd as bfd;
use millrace_bfd::{Change, Client, Input, Output, SessionKey, State};
use millrace_proto::{IfIndex, Instant, Interface, InterfaceEvent, Machine, Step, Transmit};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use thread_priority::{
    RealtimeThreadSchedulePolicy, ThreadPriority, ThreadPriorityValue, ThreadSchedulePolicy,
    set_thread_priority_and_policy, thread_native_id,
};
use tokio::sync::mpsc;

use super::socket::{Ear, Mouth};
use crate::record::Recorder;

use super::{Order, Subscription, View};

/// Datagrams of one round at most: a flood does not keep the others waiting for ever.
const ROUND: usize = 4096;
/// The longest sleep; what failed is tried again after it.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);
/// Before workers of the dataplane, which run at 1: a packet takes microseconds, and must not wait for a burst.
const REALTIME: u8 = 2;
/// Where real time is not to be had.
const NICE: i32 = -20;

/// Starts the thread; gives the way to it.
pub(super) fn start() -> io::Result<(orders::Sender<Order>, Arc<OwnedFd>)> {
    let (sender, receiver) = orders::channel();
    let bell = super::bell()?;
    let seed = super::seed();
    let thread = Thread {
        machine: bfd::Bfd::new(seed),
        started: clock(),
        orders: receiver,
        bell: Arc::clone(&bell),
        ear: None,
        deaf: None,
        mouths: BTreeMap::new(),
        interfaces: BTreeMap::new(),
        clients: BTreeMap::new(),
        stopping: false,
        recorder: Recorder::open("bfd", seed),
    };
    std::thread::Builder::new().name("bfd".to_owned()).spawn(move || thread.run())?;
    Ok((sender, bell))
}

/// As urgent as the process may ask for. Needs CAP_SYS_NICE.
fn claim_priority() {
    let Err(error) = realtime() else { return };
    // Without a process id Linux understands the calling thread.
    match rustix::process::setpriority_process(None, NICE) {
        Ok(()) => tracing::info!(error, "BFD runs at high, not at real-time priority"),
        Err(_) => tracing::warn!(error, "BFD is as urgent as any other thread; grant CAP_SYS_NICE"),
    }
}

fn realtime() -> Result<(), String> {
    let policy = ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::Fifo);
    let priority = ThreadPriority::Crossplatform(ThreadPriorityValue::try_from(REALTIME)?);
    set_thread_priority_and_policy(thread_native_id(), priority, policy).map_err(|error| error.to_string())
}

#[expect(clippy::disallowed_methods, reason = "the shell owns the clock")]
fn clock() -> std::time::Instant {
    std::time::Instant::now()
}

struct Thread {
    machine: bfd::Bfd,
    started: std::time::Instant,
    orders: orders::Receiver<Order>,
    bell: Arc<OwnedFd>,
    /// Open while there is a session.
    ear: Option<Ear>,
    /// Why it could not be opened.
    deaf: Option<String>,
    mouths: BTreeMap<SessionKey, Speaker>,
    interfaces: BTreeMap<IfIndex, Interface>,
    clients: BTreeMap<Client, (Subscription, mpsc::UnboundedSender<Change>)>,
    stopping: bool,
    recorder: Recorder,
}

/// How a session sends.
struct Speaker {
    source: SocketAddrV4,
    /// None: could not be opened; tried again with the next packet.
    mouth: Option<Mouth>,
    /// What was last said about it in the log.
    trouble: Option<String>,
}

impl Thread {
    fn run(mut self) {
        claim_priority();
        while self.obey() {
            if self.ear.is_none() && !self.mouths.is_empty() {
                self.open_ear();
            }
            self.hear();
            self.step(None);
            if self.stopping && self.mouths.is_empty() {
                return;
            }
            self.sleep();
        }
    }

    fn now(&self) -> Instant {
        Instant::ZERO + self.started.elapsed()
    }

    /// Carries out what was ordered. False: nobody is left who could order anything.
    fn obey(&mut self) -> bool {
        loop {
            match self.orders.try_recv() {
                Ok(order) => self.carry(order),
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    fn carry(&mut self, order: Order) {
        match order {
            Order::Configure(config) => self.step(Some(Input::Configure(config))),
            Order::Links(interfaces) => self.follow(interfaces),
            Order::Subscribe { client, subscription, changes } => {
                self.clients.insert(client, (subscription, changes));
                self.forget(client);
            }
            Order::Leave { client, subscription } => {
                if self.clients.get(&client).is_some_and(|(current, _)| *current == subscription) {
                    self.clients.remove(&client);
                    self.forget(client);
                }
            }
            Order::Watch { client, session, local } => {
                let before = self.machine.state(session);
                self.step(Some(Input::Watch { client, session, local }));
                // A client that joins others learns how things stand.
                if let Some(state) = before.filter(|state| *state != State::Down) {
                    self.tell_state(client, session, state);
                }
            }
            Order::Unwatch { client, session } => self.step(Some(Input::Unwatch { client, session })),
            Order::Show { reply } => {
                // Whoever asked may have stopped waiting.
                let _ = reply.send(self.view());
            }
            Order::Stop { done } => {
                self.stopping = true;
                self.say_goodbye();
                let _ = done.send(());
            }
        }
    }

    /// A client watches nobody.
    fn forget(&mut self, client: Client) {
        let of_client = self.machine.sessions(self.now()).filter(|s| s.clients.contains(&client));
        let keys: Vec<_> = of_client
            .map(|session| SessionKey { interface: session.interface, neighbor: session.neighbor })
            .collect();
        for session in keys {
            self.step(Some(Input::Unwatch { client, session }));
        }
    }

    fn tell_state(&self, client: Client, session: SessionKey, state: State) {
        let Some((_, changes)) = self.clients.get(&client) else { return };
        let views = self.machine.sessions(self.now());
        for view in views.filter(|v| (v.interface, v.neighbor) == (session.interface, session.neighbor)) {
            let change = Change {
                session,
                from: state,
                to: state,
                diagnostic: view.diagnostic,
                remote: view.remote_state,
                clients: view.clients,
            };
            // A client that is gone wants nothing.
            let _ = changes.send(change);
        }
    }

    /// Nobody watches any more; the machine says so to the neighbours for a while.
    fn say_goodbye(&mut self) {
        let watched: Vec<_> = self
            .machine
            .sessions(self.now())
            .map(|s| (SessionKey { interface: s.interface, neighbor: s.neighbor }, s.clients))
            .collect();
        for (session, clients) in watched {
            for client in clients {
                self.step(Some(Input::Unwatch { client, session }));
            }
        }
    }

    fn follow(&mut self, interfaces: Vec<Interface>) {
        let new: BTreeMap<_, _> =
            interfaces.into_iter().map(|interface| (interface.index, interface)).collect();
        let old = std::mem::replace(&mut self.interfaces, new.clone());
        for index in old.keys().filter(|index| !new.contains_key(index)) {
            self.step(Some(Input::Interface(InterfaceEvent::Remove(*index))));
        }
        for (index, interface) in new {
            if old.get(&index) != Some(&interface) {
                self.step(Some(Input::Interface(InterfaceEvent::Upsert(interface))));
            }
        }
    }

    /// One call of the machine, and what follows from it. Without an input: what has fallen due.
    fn step(&mut self, input: Option<Input>) {
        let step = Step { at: self.now(), input };
        if step.input.is_none() && self.machine.poll_timeout().is_none_or(|(at, _)| step.at < at) {
            return;
        }
        self.recorder.step(step.at, step.input.as_ref());
        for output in step.apply(&mut self.machine) {
            match output {
                Output::Send(packet) => self.speak(&packet),
                Output::Open { session, source } => {
                    self.mouths.insert(session, Speaker { source, mouth: None, trouble: None });
                }
                Output::Close { session } => {
                    self.mouths.remove(&session);
                    if self.mouths.is_empty() {
                        self.ear = None;
                    }
                }
                Output::Changed(change) => self.tell(&change),
            }
        }
    }

    fn tell(&self, change: &Change) {
        tracing::info!(
            neighbor = %change.session.neighbor,
            interface = self.name(change.session.interface),
            from = change.from.name(),
            to = change.to.name(),
            diagnostic = change.diagnostic.name(),
            "BFD session"
        );
        for client in &change.clients {
            if let Some((_, changes)) = self.clients.get(client) {
                // A client that is gone wants nothing.
                let _ = changes.send(change.clone());
            }
        }
    }

    fn open_ear(&mut self) {
        match Ear::open() {
            Ok(ear) => (self.ear, self.deaf) = (Some(ear), None),
            Err(error) => {
                let problem = format!("UDP port {}: {error}", bfd::wire::PORT);
                if self.deaf.as_ref() != Some(&problem) {
                    tracing::error!(%problem, "BFD hears nothing; does another BFD run on this host?");
                    self.deaf = Some(problem);
                }
            }
        }
    }

    fn hear(&mut self) {
        for _ in 0..ROUND {
            match self.ear.as_ref().map(Ear::hear) {
                None | Some(Ok(None)) => return,
                Some(Ok(Some(datagram))) => self.step(Some(Input::Datagram(datagram))),
                Some(Err(error)) => {
                    // Opened again in the next round.
                    tracing::error!(%error, "BFD cannot receive");
                    self.ear = None;
                    return;
                }
            }
        }
    }

    fn speak(&mut self, packet: &Transmit) {
        let name = self.name(packet.interface).to_owned();
        let session = SessionKey { interface: packet.interface, neighbor: *packet.destination.ip() };
        let Some(speaker) = self.mouths.get_mut(&session) else { return };
        let sent = match &speaker.mouth {
            Some(mouth) => mouth.speak(packet),
            None => Mouth::open(&name, speaker.source).and_then(|mouth| {
                let sent = mouth.speak(packet);
                speaker.mouth = Some(mouth);
                sent
            }),
        };
        let trouble = sent.err().map(|error| error.to_string());
        if trouble != speaker.trouble {
            if let Some(trouble) = &trouble {
                tracing::warn!(neighbor = %session.neighbor, interface = name, %trouble, "BFD cannot send");
                // A socket on an interface that went and came back under its name is bound to the one that went.
                speaker.mouth = None;
            }
            speaker.trouble = trouble;
        }
    }

    fn name(&self, interface: IfIndex) -> &str {
        self.interfaces.get(&interface).map_or("", |interface| interface.name.as_str())
    }

    fn view(&self) -> View {
        let sessions = self.machine.sessions(self.now());
        View {
            sessions: sessions.map(|session| (self.name(session.interface).to_owned(), session)).collect(),
            bad_packets: *self.machine.bad_packets(),
            problem: self.deaf.clone(),
        }
    }

    /// Until something happens.
    fn sleep(&self) {
        let due = self.machine.poll_timeout().map(|(at, _)| at.since(self.now()));
        let longest = due.map_or(LONGEST_SLEEP, |due| due.min(LONGEST_SLEEP));
        let timeout = Timespec {
            tv_sec: i64::try_from(longest.as_secs()).unwrap_or(1),
            tv_nsec: longest.subsec_nanos().into(),
        };
        let mut wakers = vec![PollFd::new(&self.bell, PollFlags::IN)];
        if let Some(ear) = &self.ear {
            wakers.push(PollFd::from_borrowed_fd(ear.as_fd(), PollFlags::IN));
        }
        // A signal is a reason to look around as good as any other.
        if poll(&mut wakers, Some(&timeout)).is_ok_and(|ready| ready != 0) {
            let _ = rustix::io::read(&self.bell, &mut [0u8; 8]);
        }
    }
}
