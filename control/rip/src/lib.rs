//! RIP
pub mod wire;
