//! The API through real sockets, with a runtime that a test plays.
