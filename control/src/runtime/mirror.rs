//! Which of the table's routes the kernel gets, and when. See [`crate::kernel_mirror`] for how.

use std::collections::BTreeSet;
use std::sync::Arc;

use millrace_net::Prefix;
use millrace_rib::{Delta, GroupId, Kind, PrefixMap, Protocol, Rib};

use super::handle::MirrorStatus;
use crate::config::Mirror as Mode;
use crate::kernel_mirror::{Hop, KernelMirror, Target};

#[derive(Debug)]
pub(super) struct Mirror {
    kernel: Option<KernelMirror>,
    mode: Mode,
    /// Prefixes the kernel was told a route for.
    told: PrefixMap<()>,
    /// The last target that was made, which most neighbours in a table share.
    last: Option<(GroupId, Arc<Target>)>,
    swept: bool,
}

impl Mirror {
    /// Without a kernel to tell (it cannot be reached, or a test has none) nothing is mirrored.
    pub(super) fn new(kernel: Option<KernelMirror>, mode: Mode) -> Self {
        Self { kernel, mode, told: PrefixMap::default(), last: None, swept: false }
    }

    pub(super) fn set_mode(&mut self, rib: &Rib, mode: Mode) {
        if self.mode == mode {
            return;
        }
        self.mode = mode;
        let all: Vec<Prefix> = rib.told_routes_after(None).map(|(prefix, _)| prefix).collect();
        for prefix in all {
            self.update(rib, prefix);
        }
    }

    /// Follows what the dataplane is told.
    pub(super) fn follow(&mut self, rib: &Rib, deltas: &[Delta]) {
        if self.kernel.is_none() {
            return;
        }
        self.last = None;
        let mut changed: BTreeSet<GroupId> = BTreeSet::new();
        for delta in deltas {
            match delta {
                Delta::GroupUpsert { group, .. } => {
                    changed.insert(*group);
                }
                Delta::GroupRemove { .. } => {}
                Delta::RouteUpsert { prefix, .. } | Delta::RouteRemove { prefix } => {
                    self.update(rib, *prefix)
                }
            }
        }
        // A group that changed in place: the kernel has no groups of ours, so each of its routes is written anew.
        let is_used = |view: &millrace_rib::GroupView<'_>| view.routes != 0 && changed.contains(&view.group);
        if !changed.is_empty() && rib.group_views().any(|view| is_used(&view)) {
            let affected: Vec<Prefix> = rib
                .told_routes_after(None)
                .filter(|(_, group)| changed.contains(group))
                .map(|(prefix, _)| prefix)
                .collect();
            for prefix in affected {
                self.update(rib, prefix);
            }
        }
    }

    /// The table stands for the first time: what an earlier process left beside it goes.
    pub(super) fn settled(&mut self) {
        if let Some(kernel) = self.kernel.as_ref().filter(|_| !self.swept) {
            kernel.sweep();
            self.swept = true;
        }
    }

    pub(super) fn status(&self) -> MirrorStatus {
        let progress = self.kernel.as_ref().map(KernelMirror::progress).unwrap_or_default();
        MirrorStatus {
            mode: match self.mode {
                Mode::All => "all",
                Mode::Igp => "igp",
                Mode::None => "none",
            }
            .to_owned(),
            routes: self.told.len() as u64,
            pending: progress.pending as u64,
            foreign: progress.foreign as u64,
            errors_total: progress.errors,
            last_error: progress.last_error,
        }
    }

    fn update(&mut self, rib: &Rib, prefix: Prefix) {
        let target = self.wanted(rib, prefix);
        let Some(kernel) = &self.kernel else { return };
        match target {
            Some(target) => {
                let ours = self.told.insert(prefix, ()).is_some();
                kernel.set(prefix, Some(target), ours);
            }
            None => {
                if self.told.remove(prefix).is_some() {
                    kernel.set(prefix, None, true);
                }
            }
        }
    }

    fn wanted(&mut self, rib: &Rib, prefix: Prefix) -> Option<Arc<Target>> {
        let entry = rib.entry(prefix)?;
        let group = entry.group()?;
        let protocol = entry.candidates().find(|candidate| candidate.selected)?.protocol;
        let mirrored = match (self.mode, protocol) {
            // The kernel has these by itself.
            (_, Protocol::Local | Protocol::Connected) | (Mode::None, _) => false,
            (Mode::Igp, Protocol::Ebgp | Protocol::Ibgp) => false,
            (Mode::Igp, Protocol::Static | Protocol::Ospf | Protocol::Rip) | (Mode::All, _) => true,
        };
        if !mirrored {
            return None;
        }
        if let Some((last, target)) = &self.last
            && *last == group
        {
            return Some(Arc::clone(target));
        }
        let target = Arc::new(kernel_target(entry.kind()?)?);
        self.last = Some((group, Arc::clone(&target)));
        Some(target)
    }
}

fn kernel_target(kind: &Kind) -> Option<Target> {
    Some(match kind {
        Kind::Forward(paths) => Target::Via(
            paths
                .iter()
                .map(|path| Hop { ifindex: path.interface.0, gateway: path.gateway, weight: path.weight })
                .collect(),
        ),
        Kind::Glean(interface) => Target::Link(interface.0),
        Kind::Local => return None,
        Kind::Blackhole => Target::Blackhole,
        Kind::Unreachable => Target::Unreachable,
        Kind::Prohibit => Target::Prohibit,
    })
}
