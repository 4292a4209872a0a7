//! Ethernet reception. RFC 894, RFC 1812 §3.3, §5.3.4.
//! Reads: the frame. Sets: the offset of the IPv4 header. Next: ip_input.
//! Drops: eth-truncated, eth-group, eth-not-for-us, eth-type-unknown.

use millrace_net::wire::ethernet::{self, EtherType, Ethernet};

use crate::outcome::DropReason;
use crate::ports::Port;

/// The offset of the IPv4 header in the frame.
#[inline(always)]
pub(crate) fn eth_input(frame: &[u8], port: &Port) -> Result<usize, DropReason> {
    let header = Ethernet::new_checked(frame).map_err(|_| DropReason::EthTruncated)?;
    let dst = header.dst();
    if dst != port.mac {
        // RFC 1812 §5.3.4: what came as a link-layer broadcast is not forwarded as a unicast.
        return Err(if dst.is_group() { DropReason::EthGroup } else { DropReason::EthNotForUs });
    }
    if header.ethertype() == EtherType::IPV4 { Ok(ethernet::LEN) } else { Err(DropReason::EthTypeUnknown) }
}
