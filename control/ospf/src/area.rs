//! One area: its database and the tree last calculated over it.

use std::collections::BTreeMap;

use crate::lsdb::Lsdb;
use crate::routes::{NetworkRoute, RouterRoute};
use crate::wire::RouterId;
use millrace_net::Prefix;

#[derive(Clone, Debug, Default)]
pub(crate) struct Area {
    pub(crate) db: Lsdb,
    /// Networks of the area, from the last tree.
    pub(crate) networks: BTreeMap<Prefix, NetworkRoute>,
    /// Every router of the area that can be reached.
    pub(crate) routers: BTreeMap<RouterId, RouterRoute>,
    /// A virtual link leads through it (RFC 2328 §16.1, TransitCapability).
    pub(crate) transit: bool,
}
