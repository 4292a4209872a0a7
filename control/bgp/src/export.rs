//! What a route looks like where it is announced: who may be told, the export policy, and the attributes as sent.
//! RFC 4271 §5 and §9.1.3, RFC 1997, RFC 4456 §8, RFC 5065 §4, RFC 7947, RFC 8326, RFC 9234 §5.

use std::net::Ipv4Addr;

use millrace_net::Prefix;
use millrace_policy::BgpAttributes;

use crate::as_path::{SegmentKind, prepend, rewrite};
use crate::attrs::{AttrId, Attrs, Draft};
use crate::groups::Key;
use crate::import::{GRACEFUL_SHUTDOWN, accepts, changed, policy_route};
use crate::machine::Bgp;
use crate::peer::PeerKind;
use crate::table::PeerIx;
use crate::wire::{Code, Role};

/// RFC 1997
const NO_EXPORT: u32 = 0xffff_ff01;
const NO_ADVERTISE: u32 = 0xffff_ff02;
const NO_EXPORT_SUBCONFED: u32 = 0xffff_ff03;

/// What policies see of the set looked at last. Only for as long as the table stands still.
pub(crate) type Seen = Option<(AttrId, BgpAttributes)>;

impl Bgp {
    /// What a group is told of a prefix, and who it comes from. None: nothing.
    pub(crate) fn export(&self, key: &Key, prefix: Prefix, seen: &mut Seen) -> Option<(Draft, PeerIx)> {
        let path = self.table.paths(prefix).first().filter(|path| path.selected);
        let told = path.and_then(|path| {
            let draft = self.export_path(key, prefix, (path.used, path.peer), seen)?;
            Some((draft, path.peer))
        });
        told.or_else(|| {
            let originates = prefix == Prefix::DEFAULT && key.default_originate;
            originates.then(|| {
                let mut draft = Draft::default();
                dress(key, self, &mut draft, PeerIx::LOCAL, false);
                (draft, PeerIx::LOCAL)
            })
        })
    }

    /// A path as a group is told it; None where it is not for them.
    fn export_path(
        &self,
        key: &Key,
        prefix: Prefix,
        (used, source): (AttrId, PeerIx),
        seen: &mut Seen,
    ) -> Option<Draft> {
        let attrs = self.attrs.get(used)?;
        let from = self.peer(source);
        let internal = from.is_some_and(|peer| peer.kind == PeerKind::Internal);
        let from_client = from.is_some_and(|peer| peer.config.reflector_client);
        // RFC 4271 §9.2.1, RFC 4456 §6
        if internal && key.kind == PeerKind::Internal && !from_client && !key.client {
            return None;
        }
        if is_forbidden(attrs, key) || self.is_suppressed(prefix) {
            return None;
        }
        let neighbor = from.map(|peer| peer.address);
        let reflected = internal && key.kind == PeerKind::Internal;
        let mut draft = match &key.export {
            // RFC 8212
            None if key.kind == PeerKind::External && key.needs_policy => return None,
            None => {
                let mut draft = attrs.draft();
                forget_med(&mut draft, key, source);
                draft
            }
            Some(list) => {
                let bgp = match seen {
                    Some((known, bgp)) if *known == used => bgp.clone(),
                    Some(_) | None => seen.insert((used, attrs.to_policy())).1.clone(),
                };
                let mut route = policy_route(prefix, attrs, neighbor, bgp.clone());
                if !accepts(list, &mut route, key.local_as) {
                    return None;
                }
                let med = attrs.med;
                let mut draft = changed(attrs, &bgp, &route).unwrap_or_else(|| attrs.draft());
                if draft.med == med {
                    forget_med(&mut draft, key, source);
                }
                draft
            }
        };
        dress(key, self, &mut draft, source, reflected);
        Some(draft)
    }
}

/// RFC 4271 §5.1.4: what another AS said of its links is not passed on; and what this router says of its own is.
fn forget_med(draft: &mut Draft, key: &Key, source: PeerIx) {
    if key.kind == PeerKind::External && source != PeerIx::LOCAL && !key.route_server {
        draft.med = None;
    }
}

fn is_forbidden(attrs: &Attrs, key: &Key) -> bool {
    let external = key.kind == PeerKind::External;
    // RFC 9234 §5, egress
    let leak = matches!(key.role, Some(Role::Customer | Role::Peer | Role::RouteServerClient))
        && attrs.only_to_customer().is_some();
    leak || attrs.has_community(NO_ADVERTISE)
        || external && attrs.has_community(NO_EXPORT)
        || key.kind != PeerKind::Internal && attrs.has_community(NO_EXPORT_SUBCONFED)
}

/// Puts the attributes into the form for peers of this kind.
fn dress(key: &Key, bgp: &Bgp, draft: &mut Draft, source: PeerIx, reflected: bool) {
    let preference = draft.local_pref.unwrap_or(crate::wire::attribute::LOCAL_PREF_DEFAULT);
    if bgp.config.graceful_shutdown {
        let mut communities = draft.get(Code::Communities).unwrap_or_default().to_vec();
        communities.extend(GRACEFUL_SHUTDOWN.to_be_bytes());
        draft.set(Code::Communities, communities);
    }
    match key.kind {
        PeerKind::External => dress_external(key, draft),
        PeerKind::Confederation => {
            prepend(&mut draft.as_path, SegmentKind::ConfedSequence, bgp.config.asn, 1);
            draft.local_pref = Some(preference);
            if key.next_hop_self {
                draft.next_hop = Ipv4Addr::UNSPECIFIED;
            }
        }
        PeerKind::Internal => {
            draft.local_pref = Some(if bgp.config.graceful_shutdown { 0 } else { preference });
            if reflected {
                reflect(bgp, draft, source);
            } else if key.next_hop_self {
                draft.next_hop = Ipv4Addr::UNSPECIFIED;
            }
        }
    }
}

fn dress_external(key: &Key, draft: &mut Draft) {
    draft.local_pref = None;
    draft.remove(Code::OriginatorId);
    draft.remove(Code::ClusterList);
    if key.route_server {
        return;
    }
    // RFC 5065 §4.1: nobody outside is told what is inside.
    let path = rewrite(&draft.as_path, |kind, asn| {
        let gone = kind.is_confederation() || key.remove_private && is_private(asn);
        let asn = if key.override_as == Some(asn) { key.local_as } else { asn };
        (!gone).then_some(asn)
    });
    draft.as_path = path;
    prepend(&mut draft.as_path, SegmentKind::Sequence, key.local_as, 1);
    draft.next_hop = Ipv4Addr::UNSPECIFIED;
    let customer = matches!(key.role, Some(Role::Provider | Role::Peer | Role::RouteServer));
    if customer && draft.get(Code::OnlyToCustomer).is_none() {
        draft.set(Code::OnlyToCustomer, key.local_as.to_be_bytes().to_vec());
    }
}

/// RFC 4456 §8
fn reflect(bgp: &Bgp, draft: &mut Draft, source: PeerIx) {
    if draft.get(Code::OriginatorId).is_none() {
        let originator =
            bgp.peer(source).and_then(|peer| peer.agreed.as_ref()).map(|agreed| agreed.router_id);
        let originator = originator.unwrap_or(bgp.router_id);
        draft.set(Code::OriginatorId, originator.octets().to_vec());
    }
    let mut list = bgp.cluster_id().octets().to_vec();
    list.extend_from_slice(draft.get(Code::ClusterList).unwrap_or_default());
    draft.set(Code::ClusterList, list);
}

/// RFC 6996
const fn is_private(asn: u32) -> bool {
    matches!(asn, 64512..=65534 | 4_200_000_000..=4_294_967_294)
}
