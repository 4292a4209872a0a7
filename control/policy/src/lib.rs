//! Which routes pass, and what is changed on the way: prefix lists, AS-path and community sets, and lists of rules.
//!
//! ```text
//!   TOML ──serde──▶ raw::Policy ──check──▶ Policies        every problem by key, value and what was expected
//!                                             │
//!   Route ───────────────────────────▶ RuleList::apply ──▶ Verdict: accepted or not, and by which rule
//!                                             │
//!   text ── offline::parse_route ─────▶ offline::test ───▶ the same, with why each rule did or did not fire
//! ```
//!
//! A rule fires when all its conditions hold; then its changes are made, and it accepts, rejects or lets the next rule
//! look. What no rule decides, the list's default does, which is to reject.
//!
//! Everything checked is data: it serialises, so that a protocol's configuration can be recorded with the policies in it.

pub mod as_path;
pub mod check;
pub mod community;
pub mod offline;
pub mod prefix_list;
pub mod raw;
pub mod route;
pub mod rule;
pub mod show;

pub use as_path::{AsPath, AsPathSet, Segment};
pub use check::{Policies, Problem};
pub use community::{Community, CommunitySet};
pub use prefix_list::PrefixList;
pub use route::{BgpAttributes, NextHop, Origin, Protocol, Route};
pub use rule::{Context, Decision, Fired, RuleList, Verdict};
