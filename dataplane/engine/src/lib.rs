//! The packet path, pure: a burst of frames and a time in, verdicts out.
