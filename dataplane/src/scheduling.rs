//! How a worker competes for its CPU: in real time, as a preferred process, or as any.
//!
//! A router whose worker waits for a time slice among other processes answers milliseconds late, and under ten compilers
//! a second. At SCHED_FIFO 1, the lowest real-time priority, a worker runs as soon as it has something to do, behind the
//! kernel's own real-time threads. It sleeps when it has nothing to do, so others get what it does not use; under a
//! flood the kernel keeps a twentieth of each second for ordinary processes (the fair server, or real-time throttling
//! before Linux 6.12).

use std::sync::atomic::{AtomicU8, Ordering};

use thread_priority::{
    RealtimeThreadSchedulePolicy, ThreadPriority, ThreadPriorityValue, ThreadSchedulePolicy,
    set_thread_priority_and_policy, thread_native_id,
};

use crate::control_link::Scheduling;

/// Of preferred workers, by which a busy one still leaves others a tenth of its CPU.
const NICE: i32 = -10;

/// Has the calling thread run as wanted, or as near to it as the kernel permits; returns what it got. Needs
/// CAP_SYS_NICE for anything but [`Scheduling::Normal`].
pub(crate) fn claim(worker: usize, wanted: Scheduling) -> Scheduling {
    if wanted == Scheduling::Realtime {
        match realtime() {
            Ok(()) => return Scheduling::Realtime,
            Err(error) => tracing::warn!(
                worker,
                error,
                "no real-time priority: packets wait their turn on a busy CPU; grant CAP_SYS_NICE, and a cpu.rt_runtime_us \
                 where the kernel schedules real time by groups"
            ),
        }
    }
    if wanted != Scheduling::Normal {
        let thread = rustix::thread::gettid();
        match rustix::process::setpriority_process(Some(thread), NICE) {
            Ok(()) => return Scheduling::Nice,
            Err(errno) => tracing::warn!(worker, %errno, "the worker has no priority over other processes"),
        }
    }
    Scheduling::Normal
}

fn realtime() -> Result<(), String> {
    let policy = ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::Fifo);
    let lowest = ThreadPriorityValue::try_from(1u8)?;
    set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Crossplatform(lowest), policy)
        .map_err(|error| error.to_string())
}

/// As users write it.
pub(crate) const fn name(scheduling: Scheduling) -> &'static str {
    match scheduling {
        Scheduling::Realtime => "realtime",
        Scheduling::Nice => "nice",
        Scheduling::Normal => "normal",
    }
}

/// What a worker got, for other threads to read.
#[derive(Debug, Default)]
pub(crate) struct Granted(AtomicU8);

impl Granted {
    pub(crate) fn set(&self, scheduling: Scheduling) {
        let code = match scheduling {
            Scheduling::Normal => 0,
            Scheduling::Nice => 1,
            Scheduling::Realtime => 2,
        };
        self.0.store(code, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> Scheduling {
        match self.0.load(Ordering::Relaxed) {
            0 => Scheduling::Normal,
            1 => Scheduling::Nice,
            _ => Scheduling::Realtime,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// On a thread of its own, which ends with what it claimed.
    #[test]
    fn what_is_claimed_is_what_the_kernel_says() {
        for wanted in [Scheduling::Normal, Scheduling::Nice, Scheduling::Realtime] {
            let granted = Granted::default();
            let (got, policy) = std::thread::spawn(move || {
                let got = claim(0, wanted);
                let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
                let policy = stat.rsplit_once(") ").unwrap().1.split(' ').nth(38).unwrap().to_owned();
                (got, policy)
            })
            .join()
            .unwrap();
            granted.set(got);
            assert_eq!(granted.get(), got);
            // SCHED_FIFO is 1; whoever lacks the right gets less, and is told so.
            assert_eq!(policy == "1", got == Scheduling::Realtime, "{wanted:?} gave {got:?}");
            assert!(wanted != Scheduling::Normal || got == Scheduling::Normal);
        }
    }
}
