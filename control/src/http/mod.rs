//! The HTTP side: the API on the control socket, the same for reading over `[http] listen`, `/metrics` on both.
//!
//! ```text
//!   control.sock (0660) ──▶ api::local    read and write
//!   [http] listen ────────▶ api::remote   read only: TCP has no access control
//!                              ├─ nat      sessions, mappings, pools
//!                              ├─ view     JSON, from the runtime's status and the dataplane's reports
//!                              ├─ capture  packets as they pass, as pcapng or JSON (control socket only)
//!                              ├─ stream   long tables, page by page
//!                              ├─ commit   apply, confirm, roll back
//!                              └─ metrics
//! ```

mod advice;
mod api;
mod capture;
pub mod commit;
mod error;
mod explain;
mod listen;
mod lock;
mod nat;
mod pcapng;
mod stream;
pub mod view;

pub use commit::{Commits, unconfirmed};
pub use listen::{BindError, CONTROL_SOCKET, Server};
pub use lock::RunDirLock;

#[cfg(test)]
mod tests;
