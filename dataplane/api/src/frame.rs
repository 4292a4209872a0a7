//! Messages on a byte stream: a little-endian `u32` length, then that many bytes of postcard.

use std::io::{self, Read, Write};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Longest message that is accepted. A batch of 4,096 ops is some 60 KiB; a page of routes less.
pub const MAX_LEN: usize = 16 << 20;

#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    #[error("a message of {0} bytes is over the limit of {MAX_LEN}")]
    TooLong(usize),
    #[error("the message does not decode: {0}")]
    Decode(postcard::Error),
    #[error("the message does not encode: {0}")]
    Encode(postcard::Error),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// The message with its length in front, ready to be written.
pub fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, FrameError> {
    let mut bytes = postcard::to_extend(message, vec![0; 4]).map_err(FrameError::Encode)?;
    let len = bytes.len() - 4;
    match u32::try_from(len) {
        Ok(n) if len <= MAX_LEN => bytes[..4].copy_from_slice(&n.to_le_bytes()),
        _ => return Err(FrameError::TooLong(len)),
    }
    Ok(bytes)
}

/// One message from the front of `bytes` and how many bytes it took; `None` while it is not whole.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<Option<(T, usize)>, FrameError> {
    let Some((len, rest)) = bytes.split_first_chunk::<4>() else { return Ok(None) };
    let len = u32::from_le_bytes(*len) as usize;
    if MAX_LEN < len {
        return Err(FrameError::TooLong(len));
    }
    let Some(body) = rest.get(..len) else { return Ok(None) };
    let message = postcard::from_bytes(body).map_err(FrameError::Decode)?;
    Ok(Some((message, 4 + len)))
}

/// Reads one message from a blocking stream.
pub fn read_frame<T: DeserializeOwned>(stream: &mut impl Read) -> Result<T, FrameError> {
    let mut len = [0; 4];
    stream.read_exact(&mut len)?;
    let len = u32::from_le_bytes(len) as usize;
    if MAX_LEN < len {
        return Err(FrameError::TooLong(len));
    }
    let mut body = vec![0; len];
    stream.read_exact(&mut body)?;
    postcard::from_bytes(&body).map_err(FrameError::Decode)
}

/// Writes one message to a blocking stream.
pub fn write_frame<T: Serialize>(stream: &mut impl Write, message: &T) -> Result<(), FrameError> {
    Ok(stream.write_all(&encode(message)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{NexthopId, Op, Request, RequestBody};
    use proptest::prelude::*;

    fn request() -> Request {
        let ops = vec![Op::RouteUpsert { prefix: "192.0.2.0/24".parse().unwrap(), nexthop: NexthopId(7) }];
        Request { seq: 9, body: RequestBody::Batch { generation: 3, ops } }
    }

    #[test]
    fn a_message_is_whole_or_not_there() {
        let bytes = encode(&request()).unwrap();
        for cut in 0..bytes.len() {
            assert!(decode::<Request>(&bytes[..cut]).unwrap().is_none(), "cut at {cut}");
        }
        let mut two = bytes.clone();
        two.extend(&bytes);
        assert_eq!(decode(&two).unwrap(), Some((request(), bytes.len())));
        assert_eq!(read_frame::<Request>(&mut two.as_slice()).unwrap(), request());
    }

    #[test]
    fn a_length_over_the_limit_is_refused_before_it_is_waited_for() {
        let len = u32::try_from(MAX_LEN + 1).unwrap().to_le_bytes();
        assert!(matches!(decode::<Request>(&len), Err(FrameError::TooLong(_))));
        assert!(matches!(read_frame::<Request>(&mut len.as_slice()), Err(FrameError::TooLong(_))));
    }

    proptest! {
        #[test]
        fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode::<Request>(&bytes);
            let mut framed = u32::try_from(bytes.len()).unwrap().to_le_bytes().to_vec();
            framed.extend(&bytes);
            let _ = decode::<Request>(&framed);
        }
    }
}
