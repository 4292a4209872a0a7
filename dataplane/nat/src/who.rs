//! Who is translated on the way where: the rules of [`Config::sources`](crate::Config::sources).

use crate::config::{Source, SourceAction};
use crate::nat::Nat;

impl Nat {
    /// What [`Config::sources`](crate::Config::sources) says of an inside address on its way to where no rule of its own leads.
    pub(crate) fn source_action(&self, inside: u32) -> Option<SourceAction> {
        let of_any = |action: SourceAction| !matches!(action, SourceAction::ExemptTo(_));
        self.config.sources.iter().find(|s| s.holds(inside) && of_any(s.action)).map(|s| s.action)
    }

    /// Whether an inside address is not translated on its way to this destination (RFC 6888 REQ-6).
    pub fn exempts_destination(&self, inside: u32, destination: u32) -> bool {
        let decides = |s: &&Source| {
            s.holds(inside)
                && match s.action {
                    SourceAction::ExemptTo(to) => destination & to.mask() == to.bits(),
                    SourceAction::Pool(_) | SourceAction::Exempt => true,
                }
        };
        let rule = self.config.sources.iter().find(decides);
        matches!(rule.map(|s| s.action), Some(SourceAction::ExemptTo(_)))
    }

    /// Whether packets of this inside address leave as they are on their way to this destination.
    pub fn exempts(&self, inside: u32, destination: u32) -> bool {
        let of_any = !self.statics.contains_key(&inside)
            && matches!(self.source_action(inside), Some(SourceAction::Exempt));
        of_any || self.exempts_destination(inside, destination)
    }
}
