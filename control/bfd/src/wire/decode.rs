//! Octets to [`Packet`], in the order of RFC 5880 §6.8.6.

use millrace_proto::Cursor;

use super::{
    AUTHENTICATED, DEMAND, DecodeError, FINAL, INDEPENDENT, LEN, MULTIPOINT, Micros, POLL, Packet, VERSION,
};
use crate::{Diagnostic, State};

impl Packet {
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut cursor = Cursor::new(bytes);
        let short = |_| DecodeError::Length;
        let [first, flags, detect_mult, length] = cursor.array().map_err(short)?;
        if first >> 5 != VERSION {
            return Err(DecodeError::Version);
        }
        let authenticated = flags & AUTHENTICATED != 0;
        let shortest = if authenticated { LEN + 2 } else { LEN };
        if length < shortest || bytes.len() < usize::from(length) {
            return Err(DecodeError::Length);
        }
        if detect_mult == 0 {
            return Err(DecodeError::DetectMult);
        }
        if flags & MULTIPOINT != 0 {
            return Err(DecodeError::Multipoint);
        }
        let mut word = || cursor.u32().map_err(short);
        let packet = Self {
            diagnostic: Diagnostic::from_code(first),
            state: State::from_bits(flags >> 6),
            poll: flags & POLL != 0,
            finale: flags & FINAL != 0,
            control_plane_independent: flags & INDEPENDENT != 0,
            demand: flags & DEMAND != 0,
            detect_mult,
            my_discriminator: word()?,
            your_discriminator: word()?,
            desired_min_tx: Micros(word()?),
            required_min_rx: Micros(word()?),
            required_min_echo_rx: Micros(word()?),
        };
        if packet.my_discriminator == 0 {
            return Err(DecodeError::MyDiscriminator);
        }
        if authenticated {
            return Err(DecodeError::Authenticated);
        }
        // RFC 5880 §6.5: never both.
        if packet.poll && packet.finale {
            return Err(DecodeError::PollAndFinal);
        }
        Ok(packet)
    }
}
