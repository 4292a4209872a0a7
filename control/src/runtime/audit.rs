//! The comparison of this table with the dataplane's, page by page in the background, and its repair.
//!
//! A page counts only if nothing was sent between the question and the answer; otherwise it is asked for again.

use std::time::Duration;

use millrace_api::{Op, report};
use millrace_net::{Instant, Prefix};
use millrace_rib::Rib;

use super::handle::AuditStatus;
use super::session::{Subject, op_for};
use crate::fib_client::Numbers;

/// Routes in a page.
pub(super) const PAGE: usize = 4096;
/// Between the end of one walk and the start of the next.
const PAUSE: Duration = Duration::from_secs(30);

#[derive(Debug, Default)]
pub(super) struct Audit {
    /// The page that is asked for: behind this prefix, in this generation.
    asked: Option<(Option<Prefix>, u64)>,
    after: Option<Prefix>,
    walking: bool,
    ended: Option<Instant>,
    rounds: u64,
    mismatches: u64,
}

impl Audit {
    /// Behind which prefix to ask for a page, if one is due.
    pub(super) fn next_page(&mut self, now: Instant, generation: u64) -> Option<Option<Prefix>> {
        if self.asked.is_some() {
            return None;
        }
        if !self.walking {
            if self.ended.is_some_and(|ended| now < ended + PAUSE) {
                return None;
            }
            self.walking = true;
            self.after = None;
        }
        self.asked = Some((self.after, generation));
        Some(self.after)
    }

    /// The connection is gone, and the walk with it.
    pub(super) fn abandon(&mut self) {
        self.asked = None;
        self.walking = false;
    }

    /// What brings the dataplane in step, after it has told what it has behind the prefix that was asked about.
    pub(super) fn compare(
        &mut self,
        rib: &Rib,
        numbers: Numbers,
        now: Instant,
        generation: u64,
        page: &[report::FibRoute],
    ) -> Vec<Op> {
        let Some((after, asked_in)) = self.asked.take() else { return Vec::new() };
        if asked_in != generation {
            return Vec::new();
        }
        let is_last = page.len() < PAGE;
        let end = page.last().map(|route| route.prefix);
        let within = |prefix: &Prefix| is_last || end.is_some_and(|end| *prefix <= end);
        let mut repairs = Vec::new();
        let mut theirs = page.iter().map(|route| (route.prefix, route.nexthop)).peekable();
        for (prefix, group) in rib.told_routes_after(after).take_while(|(prefix, _)| within(prefix)) {
            while let Some((left, _)) = theirs.next_if(|(theirs, _)| *theirs < prefix) {
                repairs.push(op_for(rib, numbers, Subject::Route(left)));
            }
            let same = theirs.next_if(|(theirs, _)| *theirs == prefix);
            if same.map(|(_, nexthop)| nexthop) != Some(numbers.id(group).0) {
                repairs.push(op_for(rib, numbers, Subject::Group(group)));
                repairs.push(op_for(rib, numbers, Subject::Route(prefix)));
            }
        }
        repairs.extend(theirs.map(|(left, _)| op_for(rib, numbers, Subject::Route(left))));
        let routes =
            repairs.iter().filter(|op| matches!(op, Op::RouteUpsert { .. } | Op::RouteRemove { .. }));
        let mismatches = routes.count() as u64;
        if mismatches != 0 {
            self.mismatches += mismatches;
            tracing::warn!(mismatches, "the dataplane's table differed and is repaired");
        }
        if is_last {
            self.walking = false;
            self.ended = Some(now);
            self.rounds += 1;
        } else {
            self.after = end;
        }
        repairs
    }

    pub(super) fn status(&self, now: Instant) -> AuditStatus {
        AuditStatus {
            rounds_total: self.rounds,
            mismatches_total: self.mismatches,
            last_round_seconds_ago: self.ended.map(|ended| now.since(ended).as_secs()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use millrace_api::NexthopId;
    use millrace_rib::{Delta, Protocol, Route, Settings, Target};

    fn prefix(text: &str) -> Prefix {
        text.parse().unwrap()
    }

    /// A table of blackholes, told.
    fn table(prefixes: &[&str]) -> (Rib, u32) {
        let mut rib = Rib::new(Settings::default());
        for text in prefixes {
            let route = Route {
                protocol: Protocol::Static,
                instance: 1,
                distance: 1,
                metric: 0,
                tag: 0,
                target: Target::Blackhole,
            };
            rib.insert(prefix(text), &route, Instant::ZERO);
        }
        let mut deltas = Vec::new();
        while !rib.is_idle() {
            rib.drain(100, &mut deltas);
        }
        let group = deltas.iter().find_map(|delta| match delta {
            Delta::RouteUpsert { group, .. } => Some(Numbers::default().id(*group).0),
            Delta::GroupUpsert { .. } | Delta::GroupRemove { .. } | Delta::RouteRemove { .. } => None,
        });
        (rib, group.unwrap_or(0))
    }

    #[test]
    fn missing_left_over_and_different_routes_are_repaired() {
        let (rib, group) = table(&["10.0.0.0/8", "10.1.0.0/16", "10.2.0.0/16", "10.3.0.0/16"]);
        let mut audit = Audit::default();
        assert_eq!(audit.next_page(Instant::ZERO, 7), Some(None));
        assert_eq!(audit.next_page(Instant::ZERO, 7), None, "one page at a time");
        let theirs = [
            ("9.0.0.0/8", group),
            ("10.0.0.0/8", group),
            ("10.2.0.0/16", group + 64),
            ("10.3.0.0/16", group),
        ];
        let page: Vec<_> =
            theirs.iter().map(|(p, n)| report::FibRoute { prefix: prefix(p), nexthop: *n }).collect();
        let repairs = audit.compare(&rib, Numbers::default(), Instant::ZERO, 7, &page);
        let about_routes: Vec<Op> =
            repairs.into_iter().filter(|op| !matches!(op, Op::NexthopUpsert { .. })).collect();
        let upsert = |text| Op::RouteUpsert { prefix: prefix(text), nexthop: NexthopId(group) };
        assert_eq!(
            about_routes,
            [Op::RouteRemove { prefix: prefix("9.0.0.0/8") }, upsert("10.1.0.0/16"), upsert("10.2.0.0/16")]
        );
        assert_eq!(audit.status(Instant::ZERO).mismatches_total, 3);
        assert_eq!(audit.next_page(Instant::from_secs(29), 8), None);
        assert_eq!(audit.next_page(Instant::from_secs(30), 8), Some(None));
    }

    #[test]
    fn a_page_that_was_overtaken_is_asked_for_again() {
        let (rib, _) = table(&["10.0.0.0/8"]);
        let mut audit = Audit::default();
        assert_eq!(audit.next_page(Instant::ZERO, 7), Some(None));
        assert_eq!(audit.compare(&rib, Numbers::default(), Instant::ZERO, 8, &[]), []);
        assert_eq!(audit.next_page(Instant::ZERO, 8), Some(None));
        assert_eq!(
            audit.compare(&rib, Numbers::default(), Instant::ZERO, 8, &[]).len(),
            2,
            "the group and the route"
        );
    }

    #[test]
    fn pages_follow_each_other() {
        let texts: Vec<String> = (0..PAGE + 1).map(|n| format!("10.{}.{}.0/24", n / 256, n % 256)).collect();
        let (rib, group) = table(&texts.iter().map(String::as_str).collect::<Vec<_>>());
        let mut audit = Audit::default();
        let page = |texts: &[String]| -> Vec<_> {
            texts.iter().map(|p| report::FibRoute { prefix: prefix(p), nexthop: group }).collect()
        };
        let now = Instant::ZERO;
        assert_eq!(audit.next_page(now, 1), Some(None));
        assert_eq!(audit.compare(&rib, Numbers::default(), now, 1, &page(&texts[..PAGE])), []);
        assert_eq!(audit.next_page(now, 1), Some(Some(prefix(&texts[PAGE - 1]))));
        assert_eq!(audit.compare(&rib, Numbers::default(), now, 1, &page(&texts[PAGE..])), []);
        assert_eq!(audit.status(now).rounds_total, 1);
    }
}
