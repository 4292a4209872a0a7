//! Why octets are not a RIP message. One variant, one counter.

/// The message as a whole is dropped; nothing of it is used.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DecodeError {
    #[error("shorter than a header")]
    Truncated,
    #[error("not a whole number of entries")]
    Length,
    #[error("command {0} is neither request nor response")]
    Command(u8),
    #[error("version 0")]
    Version,
    /// RFC 2453 §4.6: only version 1 insists.
    #[error("a field that must be zero is not")]
    MustBeZero,
    #[error("authentication type {0}")]
    AuthType(u16),
    /// The lengths in the authentication entry do not fit the message.
    #[error("the authentication trailer is not where the message says it is")]
    AuthLength,
}
