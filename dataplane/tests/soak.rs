//! The short soak; `make soak` runs the long one.

use millrace_lab::{soak, test};

#[test]
fn tcp_and_udp_at_once_lose_no_frame() {
    test(|lab| {
        let seen = soak::run(lab, 8)?;
        assert!(10_000 < seen.packets, "{seen:?}");
        assert!(10.0 < seen.tcp.mbits(), "{seen:?}");
        Ok(())
    });
}
