//! What only the kernel can prove. Needs root; each test has a network namespace of its own.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(unsafe_code, reason = "namespaces and bpf(2) have no safe wrapper")]
mod ground;
mod mapped;
mod veth;
