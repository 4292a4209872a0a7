//! What would become of a packet: the stages themselves, run over it by an engine that is thrown away afterwards.

use millrace_fib::{AdjacencyId, Group};
use millrace_net::{Instant, PortId};

use super::{Cx, Engine};
use crate::filter::Judgement;
use crate::frame::{Frame, Shell};
use crate::outcome::Verdict;
use crate::ports::Ports;
use crate::stage::fib_lookup::Hop;

/// The decisions on one packet's way. What it is sent as, and to whom, is for the shell to see.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Explanation {
    pub verdict: Verdict,
    /// Whether it came as far as its route.
    pub routed: bool,
    /// Which bucket of how many the flow falls in, where the route has next hops.
    pub bucket: Option<(u32, u32)>,
    /// The next hop's adjacency, where there is one.
    pub adjacency: Option<AdjacencyId>,
    /// What the filter of the port it came by says.
    pub inward: Option<Judgement>,
    /// What the filter of the port it leaves by says.
    pub outward: Option<Judgement>,
}

impl<F: Frame> Engine<'_, F> {
    /// Takes one packet to its verdict, as [`Engine::process`] does, and says what was decided on the way. Address
    /// translation is left out. Counts, and sends by the shell: only for an engine that is no worker's, with its own
    /// counters and a [`worker`](super::EngineConfig::worker) that there is not.
    pub fn explain<S: Shell<Frame = F>>(
        &mut self,
        now: Instant,
        ports: &Ports,
        (port, frame): (PortId, F),
        shell: &mut S,
    ) -> Explanation {
        let Self { path, burst } = self;
        (burst.judged, path.judged) = (None, None);
        let rx = [(port, frame)];
        burst.parse(now, path, ports, &rx, false);
        burst.look_up(path, &rx);
        let [(_, frame)] = rx;
        let (packet, hop) = (&mut burst.packets[0], burst.hops[0]);
        let routed = burst.decided[0].is_none();
        let bucket = match path.fib.group(burst.groups[0]) {
            Group::Forward(buckets) if routed => {
                let hash = if buckets.only().is_some() { 0 } else { path.flow_hash(packet, frame.data()) };
                Some((buckets.index(hash), buckets.len()))
            }
            Group::Forward(_)
            | Group::Glean(_)
            | Group::Local
            | Group::None
            | Group::Blackhole
            | Group::Unreachable
            | Group::Prohibit => None,
        };
        let adjacency = match hop {
            Hop::Adjacency(id) => Some(id),
            Hop::Glean(port) => path.fib.neighbor(port, packet.dst_addr()),
            Hop::Local | Hop::Refused(_) | Hop::Fault(_) | Hop::Elsewhere(_) | Hop::Wait(_) => None,
        };
        let mut cx = Cx::new(now, ports, shell);
        let verdict = path.settle(&mut cx, frame, packet, hop);
        path.finish(&mut cx);
        Explanation { verdict, routed, bucket, adjacency, inward: burst.judged, outward: path.judged }
    }
}
