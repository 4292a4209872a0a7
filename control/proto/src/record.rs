//! Recorded inputs and their replay: the same steps give the same outputs, so a recording is a regression test.
//!
//! A recording holds whatever the inputs hold, keys of the configuration too: its file is for the operator's eyes only.

use millrace_net::Instant;
use serde::{Deserialize, Serialize};

use crate::Machine;

/// One call into a machine.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Step<I> {
    pub at: Instant,
    /// None: a deadline was reached, [`Machine::handle_timeout`] was called.
    pub input: Option<I>,
}

impl<I> Step<I> {
    pub const fn input(at: Instant, input: I) -> Self {
        Self { at, input: Some(input) }
    }

    pub const fn timeout(at: Instant) -> Self {
        Self { at, input: None }
    }

    /// Carries the step out and returns what the machine answered.
    pub fn apply<M: Machine<Input = I>>(self, machine: &mut M) -> Vec<M::Output> {
        match self.input {
            Some(input) => machine.handle_input(self.at, input),
            None => machine.handle_timeout(self.at),
        }
        std::iter::from_fn(|| machine.poll_output()).collect()
    }
}

/// Runs `steps` through `machine`; the outputs come with the time of the step that caused them.
pub fn replay<M: Machine>(
    machine: &mut M,
    steps: impl IntoIterator<Item = Step<M::Input>>,
) -> Vec<(Instant, M::Output)> {
    let mut outputs = Vec::new();
    for step in steps {
        let at = step.at;
        outputs.extend(step.apply(machine).into_iter().map(|output| (at, output)));
    }
    outputs
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Echoes each number twice, the second time on the next timeout.
    #[derive(Default)]
    struct Echo {
        owed: Vec<u32>,
        out: Vec<u32>,
    }

    impl Machine for Echo {
        type Input = u32;
        type Output = u32;

        fn handle_input(&mut self, _: Instant, input: u32) {
            self.out.push(input);
            self.owed.push(input);
        }

        fn handle_timeout(&mut self, _: Instant) {
            self.out.append(&mut self.owed);
        }

        fn poll_output(&mut self) -> Option<u32> {
            (!self.out.is_empty()).then(|| self.out.remove(0))
        }

        fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
            (!self.owed.is_empty()).then_some((Instant::ZERO, "echo"))
        }
    }

    #[test]
    fn a_recording_survives_its_file_and_replays() {
        let steps = vec![
            Step::input(Instant::from_secs(1), 7),
            Step::input(Instant::from_secs(2), 8),
            Step::timeout(Instant::from_secs(3)),
        ];
        let file = serde_json::to_string(&steps).unwrap();
        let read: Vec<Step<u32>> = serde_json::from_str(&file).unwrap();
        assert_eq!(read, steps);
        let secs = |(at, n): (Instant, u32)| (at.as_secs(), n);
        let outputs: Vec<_> = replay(&mut Echo::default(), read).into_iter().map(secs).collect();
        assert_eq!(outputs, [(1, 7), (2, 8), (3, 7), (3, 8)]);
    }
}
