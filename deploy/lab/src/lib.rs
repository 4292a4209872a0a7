//! Network namespaces with routers in them: the demo, and the ground the end-to-end tests stand on.
//!
//! ```text
//! Lab ── removes all it made, on every way out
//!  ├── Node      a namespace: run a command in it, give it routes, look at its links
//!  │    └── link a veth pair between two nodes, offloads as the kernel sets them
//!  ├── Process   something in the background with its output in files; ends when dropped
//!  ├── Router    `millrace run` inside a node
//!  ├── peers     FRR, BIRD, GoBGP and ExaBGP inside a node
//!  └── Capture   what passes an interface, decoded by tshark
//! ```
//!
//! Everything is done by the tools an operator would use (`ip`, `ping`, `traceroute`, `iperf3`, `tshark`), so a
//! passing test says that those work. All names carry the process id: several labs run side by side, and what a
//! killed process left behind is swept by the next one.

mod capture;
mod lab;
mod node;
mod process;
mod rights;
mod router;
mod traffic;
mod wait;

pub mod full_table;
pub mod nat_bench;
pub mod peers;
pub mod soak;
pub mod topology;

pub use capture::{Capture, Fields, Packets};
pub use lab::{Lab, sweep};
pub use node::{End, Node};
pub use process::Process;
pub use rights::{missing, test};
pub use router::{Child, Router, config, millrace};
pub use traffic::{Iperf, IperfResult, Ping, PingResult, Traceroute};
pub use wait::{wait_for, wait_until};
