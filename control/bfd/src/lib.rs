//! Bidirectional Forwarding Detection (RFC 5880, RFC 5881), single hop and asynchronous, as a sans-IO machine.
