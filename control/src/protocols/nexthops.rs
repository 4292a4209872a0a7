//! What the routing table tells a protocol about its own routes: how far their next hops are, and which of them the
//! dataplane has.

use std::collections::{BTreeMap, VecDeque};
use std::net::Ipv4Addr;

use millrace_rib::{Kind, Protocol, Rib};

/// Next hops a protocol follows, with what it was told of each.
#[derive(Debug, Default)]
pub(super) struct Tracked(BTreeMap<Ipv4Addr, Option<u32>>);

/// Marks a protocol has set behind its routes, in order.
#[derive(Debug, Default)]
pub(super) struct Marks(VecDeque<Mark>);

#[derive(Clone, Copy, Debug)]
struct Mark {
    mark: u64,
    /// What the dataplane has to acknowledge for it; None while the routing table has not been drained so far.
    generation: Option<u64>,
}

impl Tracked {
    /// Returns how far each is that is followed from here on.
    pub(super) fn change(
        &mut self,
        gateways: &[(Ipv4Addr, bool)],
        rib: &Rib,
    ) -> Vec<(Ipv4Addr, Option<u32>)> {
        let mut known = Vec::new();
        for &(gateway, wanted) in gateways {
            if wanted {
                let metric = metric(rib, gateway);
                self.0.insert(gateway, metric);
                known.push((gateway, metric));
            } else {
                self.0.remove(&gateway);
            }
        }
        known
    }

    /// Those that are not where they were.
    pub(super) fn look(&mut self, rib: &Rib) -> Vec<(Ipv4Addr, Option<u32>)> {
        let mut moved = Vec::new();
        for (gateway, told) in &mut self.0 {
            let metric = metric(rib, *gateway);
            if std::mem::replace(told, metric) != metric {
                moved.push((*gateway, metric));
            }
        }
        moved
    }
}

/// The metric of the route that leads to a gateway; None where none does, or only the default route.
fn metric(rib: &Rib, gateway: Ipv4Addr) -> Option<u32> {
    let entry = rib.longest_match(gateway)?;
    match entry.kind()? {
        Kind::Forward(_) | Kind::Glean(_) => {}
        Kind::Local | Kind::Blackhole | Kind::Unreachable | Kind::Prohibit => return None,
    }
    if entry.prefix().len() == 0 {
        return None;
    }
    let selected = entry.candidates().find(|candidate| candidate.selected)?;
    Some(if selected.protocol == Protocol::Connected { 0 } else { selected.metric })
}

impl Marks {
    pub(super) fn put(&mut self, mark: u64) {
        self.0.push_back(Mark { mark, generation: None });
    }

    /// The last mark that the dataplane has reached. `drained`: the table was told up to this generation.
    pub(super) fn take(&mut self, drained: Option<u64>, has: impl Fn(u64) -> bool) -> Option<u64> {
        if let Some(generation) = drained {
            // Those without stand behind those with one.
            for mark in self.0.iter_mut().rev().take_while(|mark| mark.generation.is_none()) {
                mark.generation = Some(generation);
            }
        }
        let mut reached = None;
        while let Some(mark) = self.0.pop_front_if(|mark| mark.generation.is_some_and(&has)) {
            reached = Some(mark.mark);
        }
        reached
    }
}
