//! `GET /api/v1/explain`: what would become of a packet. The dataplane answers; names of protocols are read here.

use std::net::Ipv4Addr;

use millrace_api::ExplainQuery;
use serde::Deserialize;

use crate::config;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Parameters {
    source: Ipv4Addr,
    destination: Ipv4Addr,
    /// A name or a number.
    protocol: Option<String>,
    source_port: Option<u16>,
    destination_port: Option<u16>,
    interface: Option<String>,
    length: Option<u16>,
    ttl: Option<u8>,
    #[serde(default)]
    dont_fragment: bool,
}

/// Where no port is given: one of those that are not assigned to anything.
const EPHEMERAL: u16 = 49_152;
const ICMP: u8 = 1;
const UDP: u8 = 17;
const ECHO_REQUEST: u16 = 8;
const MIN_LENGTH: u16 = 40;

impl Parameters {
    /// The question for the dataplane, or what is wrong with it.
    pub(super) fn question(self) -> Result<ExplainQuery, String> {
        let protocol = match &self.protocol {
            None => UDP,
            Some(text) => config::protocol_number(text).ok_or_else(|| {
                format!("protocol: {text:?} is neither a name of one nor a number from 0 to 255")
            })?,
        };
        let length = self.length.unwrap_or(100);
        if length < MIN_LENGTH {
            return Err(format!("length: {length} is below {MIN_LENGTH} bytes"));
        }
        let (source_port, destination_port) =
            if protocol == ICMP { (ECHO_REQUEST, 0) } else { (EPHEMERAL, EPHEMERAL) };
        Ok(ExplainQuery {
            source: self.source,
            destination: self.destination,
            protocol,
            source_port: self.source_port.unwrap_or(source_port),
            destination_port: self.destination_port.unwrap_or(destination_port),
            interface: self.interface,
            length,
            ttl: self.ttl.unwrap_or(64),
            dont_fragment: self.dont_fragment,
        })
    }
}
