//! pcapng, as much of it as a capture needs (draft-ietf-opsawg-pcapng): one section, one interface description for each
//! interface and direction, enhanced packet blocks with nanoseconds, direction, drop count and a comment.
//!
//! ```text
//!   block   ┌ type u32 ┬ length u32 ┬ body, padded to 4 bytes ┬ length u32 ┐
//!   option  ┌ code u16 ┬ length u16 ┬ value, padded to 4 bytes ┐ …, ended by code 0
//! ```

use millrace_api::report::CapturedPacket;

const SECTION: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const PACKET: u32 = 6;
const BYTE_ORDER: u32 = 0x1a2b_3c4d;
const ETHERNET: u16 = 1;

const COMMENT: u16 = 1;
const HARDWARE: u16 = 2;
const NAME: u16 = 2;
const APPLICATION: u16 = 4;
const RESOLUTION: u16 = 9;
const FLAGS: u16 = 2;
const DROPPED: u16 = 4;

/// Writes blocks; what it has written is a file at any time.
#[derive(Debug, Default)]
pub(super) struct Writer {
    /// In the order of their numbers.
    interfaces: Vec<String>,
    /// Packets missed since the last one that was written.
    missed: u64,
}

impl Writer {
    /// What a file begins with.
    pub(super) fn begin() -> Vec<u8> {
        let mut body = Vec::new();
        body.extend(BYTE_ORDER.to_le_bytes());
        body.extend(1_u16.to_le_bytes());
        body.extend(0_u16.to_le_bytes());
        body.extend((-1_i64).to_le_bytes());
        option(&mut body, APPLICATION, concat!("millrace ", env!("CARGO_PKG_VERSION")).as_bytes());
        option(&mut body, HARDWARE + 1, b"Linux");
        option(&mut body, 0, &[]);
        block(SECTION, &body)
    }

    /// Notes packets that could not be captured: the next block says so.
    pub(super) fn missed(&mut self, packets: u64) {
        self.missed += packets;
    }

    /// The blocks of one packet; none for what is no packet.
    pub(super) fn packet(&mut self, packet: &CapturedPacket) -> Vec<u8> {
        if packet.point == "verdict" {
            return Vec::new();
        }
        let mut out = Vec::new();
        let name = packet.interface.as_deref().unwrap_or("unknown");
        let number = match self.interfaces.iter().position(|known| known == name) {
            Some(number) => number,
            None => {
                out.extend(interface(name));
                self.interfaces.push(name.to_owned());
                self.interfaces.len() - 1
            }
        };
        let mut body = Vec::with_capacity(64 + packet.bytes.len());
        body.extend(u32::try_from(number).unwrap_or(0).to_le_bytes());
        let [t0, t1, t2, t3, t4, t5, t6, t7] = packet.time.to_le_bytes();
        body.extend([t4, t5, t6, t7, t0, t1, t2, t3]);
        body.extend(u32::try_from(packet.bytes.len()).unwrap_or(u32::MAX).to_le_bytes());
        body.extend(packet.len.to_le_bytes());
        body.extend(&packet.bytes);
        pad(&mut body);
        // Bits 0-1 of the flags: 1 inbound, 2 outbound.
        let direction = if packet.point == "tx" { 2_u32 } else { 1 };
        option(&mut body, FLAGS, &direction.to_le_bytes());
        if self.missed != 0 {
            option(&mut body, DROPPED, &std::mem::take(&mut self.missed).to_le_bytes());
        }
        option(&mut body, COMMENT, comment(packet).as_bytes());
        option(&mut body, 0, &[]);
        out.extend(block(PACKET, &body));
        out
    }
}

/// What is known of a packet beside its bytes: `drop: ttl-exceeded`.
fn comment(packet: &CapturedPacket) -> String {
    let mut comment = packet.point.clone();
    if let Some(reason) = &packet.reason {
        comment += &format!(": {reason}");
    }
    if packet.trace != 0 {
        comment += &format!(", packet {}", packet.trace);
    }
    comment
}

fn interface(name: &str) -> Vec<u8> {
    let mut body = Vec::new();
    body.extend(ETHERNET.to_le_bytes());
    body.extend(0_u16.to_le_bytes());
    body.extend(0_u32.to_le_bytes());
    option(&mut body, NAME, name.as_bytes());
    // Nanoseconds: 10⁻⁹.
    option(&mut body, RESOLUTION, &[9]);
    option(&mut body, 0, &[]);
    block(INTERFACE, &body)
}

fn block(kind: u32, body: &[u8]) -> Vec<u8> {
    // A block holds one frame and a few words.
    let length = u32::try_from(12 + body.len()).unwrap_or(u32::MAX).to_le_bytes();
    [&kind.to_le_bytes()[..], &length, body, &length].concat()
}

fn option(body: &mut Vec<u8>, code: u16, value: &[u8]) {
    body.extend(code.to_le_bytes());
    body.extend(u16::try_from(value.len()).unwrap_or(u16::MAX).to_le_bytes());
    body.extend(value);
    pad(body);
}

fn pad(body: &mut Vec<u8>) {
    body.resize(body.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(point: &str, interface: &str) -> CapturedPacket {
        CapturedPacket {
            time: 0x0102_0304_0506_0708,
            interface: Some(interface.to_owned()),
            point: point.to_owned(),
            reason: (point == "drop").then(|| "no-route".to_owned()),
            verdict: None,
            trace: 0,
            len: 60,
            bytes: vec![0xaa; 5],
        }
    }

    /// Type and body of each block.
    fn blocks(mut bytes: &[u8]) -> Vec<(u32, Vec<u8>)> {
        let word = |bytes: &[u8]| u32::from_le_bytes(bytes[..4].try_into().unwrap());
        let mut blocks = Vec::new();
        while !bytes.is_empty() {
            let length = word(&bytes[4..]) as usize;
            assert_eq!((length % 4, word(&bytes[length - 4..]) as usize), (0, length));
            blocks.push((word(bytes), bytes[8..length - 4].to_vec()));
            bytes = &bytes[length..];
        }
        blocks
    }

    #[test]
    fn blocks_are_as_the_draft_draws_them() {
        let mut writer = Writer::default();
        let begin = blocks(&Writer::begin());
        assert_eq!(begin[0].0, SECTION);
        assert_eq!(&begin[0].1[..8], &[0x4d, 0x3c, 0x2b, 0x1a, 1, 0, 0, 0]);

        writer.missed(3);
        let first = blocks(&writer.packet(&packet("drop", "lan")));
        assert_eq!(first.iter().map(|(kind, _)| *kind).collect::<Vec<_>>(), [INTERFACE, PACKET]);
        let body = &first[1].1;
        assert_eq!(&body[..20], &[0, 0, 0, 0, 4, 3, 2, 1, 8, 7, 6, 5, 5, 0, 0, 0, 60, 0, 0, 0]);
        assert_eq!(&body[20..28], &[0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0, 0, 0]);
        assert_eq!(&body[28..36], &[2, 0, 4, 0, 1, 0, 0, 0], "inbound");
        assert_eq!(&body[36..48], &[4, 0, 8, 0, 3, 0, 0, 0, 0, 0, 0, 0], "missed");
        assert_eq!(&body[48..66], b"\x01\x00\x0e\x00drop: no-route");

        let again = blocks(&writer.packet(&packet("tx", "lan")));
        assert_eq!(again.iter().map(|(kind, _)| *kind).collect::<Vec<_>>(), [PACKET]);
        let other = blocks(&writer.packet(&packet("tx", "wan")));
        assert_eq!((other.len(), &other[1].1[..4]), (2, &[1, 0, 0, 0][..]));
        assert!(writer.packet(&packet("verdict", "lan")).is_empty());
    }
}
