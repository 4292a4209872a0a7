//! The routing process, and the millrace command.
