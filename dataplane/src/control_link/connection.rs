//! One peer on the api socket: bounded buffers over a stream that never blocks.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use millrace_api::{FrameError, Reply, Request, decode, encode};

/// What one peer may have read from it before others get their turn.
const READ_TURN: usize = 256 << 10;
/// While this much waits to be written, nothing more is read from the peer: its answers would only pile up.
const OUTPUT_LIMIT: usize = 4 << 20;

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    #[error("the peer closed it")]
    Closed,
    #[error("it cannot be read or written: {0}")]
    Io(#[from] io::Error),
    #[error("what it sent is no request: {0}")]
    Garbled(FrameError),
    #[error("an answer cannot be sent: {0}")]
    Unanswerable(FrameError),
}

#[derive(Debug)]
pub(super) struct Connection {
    stream: UnixStream,
    input: Vec<u8>,
    /// Bytes at the front of `input` that have been decoded.
    taken: usize,
    output: Vec<u8>,
    /// Bytes at the front of `output` that have been written.
    sent: usize,
    /// Nothing more is read; the connection ends when its output is written.
    closing: bool,
    /// Has said `Hello` with our version.
    pub(super) greeted: bool,
}

impl Connection {
    pub(super) fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream,
            input: Vec::new(),
            taken: 0,
            output: Vec::new(),
            sent: 0,
            closing: false,
            greeted: false,
        })
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }

    pub(super) fn wants_read(&self) -> bool {
        !self.closing && self.output.len() - self.sent < OUTPUT_LIMIT
    }

    pub(super) fn wants_write(&self) -> bool {
        self.sent < self.output.len()
    }

    /// Reads what is there, up to one turn's worth.
    pub(super) fn fill(&mut self) -> Result<(), Ended> {
        if !self.wants_read() {
            return Ok(());
        }
        self.input.drain(..self.taken);
        self.taken = 0;
        let mut chunk = [0; 64 << 10];
        let mut read = 0;
        while read < READ_TURN {
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err(Ended::Closed),
                Ok(n) => {
                    self.input.extend_from_slice(&chunk[..n]);
                    read += n;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// The next whole request, if there is one and its answer has room.
    pub(super) fn request(&mut self) -> Result<Option<Request>, Ended> {
        if !self.wants_read() {
            return Ok(None);
        }
        let decoded = decode(&self.input[self.taken..]).map_err(Ended::Garbled)?;
        Ok(decoded.map(|(request, len)| {
            self.taken += len;
            request
        }))
    }

    pub(super) fn reply(&mut self, reply: &Reply) -> Result<(), Ended> {
        self.output.extend(encode(reply).map_err(Ended::Unanswerable)?);
        Ok(())
    }

    /// Takes no more requests; ends once the answers are out.
    pub(super) fn close(&mut self) {
        self.closing = true;
    }

    /// Writes what the peer takes.
    pub(super) fn flush(&mut self) -> Result<(), Ended> {
        while self.sent < self.output.len() {
            match self.stream.write(&self.output[self.sent..]) {
                Ok(0) => return Err(Ended::Closed),
                Ok(n) => self.sent += n,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.output.clear();
        self.sent = 0;
        if self.closing { Err(Ended::Closed) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use millrace_api::{Query, ReplyBody, RequestBody, read_frame, write_frame};

    fn pair() -> (Connection, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        (Connection::new(ours).unwrap(), theirs)
    }

    fn request(seq: u32) -> Request {
        Request { seq, body: RequestBody::Query(Query::Workers) }
    }

    #[test]
    fn requests_arrive_whole_and_in_order_however_they_are_cut() {
        let (mut connection, mut peer) = pair();
        let mut bytes = encode(&request(1)).unwrap();
        bytes.extend(encode(&request(2)).unwrap());
        let mut got = Vec::new();
        for byte in bytes {
            peer.write_all(&[byte]).unwrap();
            connection.fill().unwrap();
            got.extend(connection.request().unwrap());
        }
        assert_eq!(got, [request(1), request(2)]);
    }

    #[test]
    fn a_peer_that_does_not_read_its_answers_is_not_read_from() {
        let (mut connection, mut peer) = pair();
        let long = Reply { seq: 1, body: ReplyBody::Error { reason: "x".repeat(OUTPUT_LIMIT + (1 << 20)) } };
        connection.reply(&long).unwrap();
        connection.flush().unwrap();
        assert!(connection.wants_write() && !connection.wants_read());
        write_frame(&mut peer, &request(2)).unwrap();
        connection.fill().unwrap();
        assert!(connection.request().unwrap().is_none());

        let reader = std::thread::spawn(move || (read_frame::<Reply>(&mut peer).unwrap(), peer));
        while connection.wants_write() {
            connection.flush().unwrap();
        }
        let (reply, _peer) = reader.join().unwrap();
        assert_eq!(reply, long);
        connection.fill().unwrap();
        assert_eq!(connection.request().unwrap(), Some(request(2)));
    }

    #[test]
    fn garbage_and_excess_end_the_connection() {
        for bytes in [&[4, 0, 0, 0, 0xff, 0xff, 0xff, 0xff][..], &[0xff; 4]] {
            let (mut connection, mut peer) = pair();
            peer.write_all(bytes).unwrap();
            connection.fill().unwrap();
            assert!(matches!(connection.request(), Err(Ended::Garbled(_))), "{bytes:x?}");
        }
        let (mut connection, peer) = pair();
        drop(peer);
        assert!(matches!(connection.fill(), Err(Ended::Closed)));
    }
}
