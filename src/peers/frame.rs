//! Frames: a length, a kind and a body.
//!
//! ```text
//!  length u32 BE (of what follows) | kind u8 | body
//! ```
//!
//! The bodies of requests and answers begin with the request's number, u64 BE.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::raft::peer_codec::MAX_MESSAGE;

/// Version of this wire; servers of another one are not spoken to.
pub const VERSION: u8 = 1;
/// Largest frame read: a raft message and some.
pub const MAX_FRAME: usize = MAX_MESSAGE + 1024;
/// Bytes of a frame before its body.
const HEAD: usize = 5;

/// What a frame holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// [`Hello`], the first frame of a connection.
    Hello = 1,
    /// A raft message.
    Raft = 2,
    /// A request.
    Request = 3,
    /// The answer to a request.
    Answer = 4,
    /// A raft message that announces a snapshot; its data follows.
    Snapshot = 5,
    /// A piece of a snapshot's data.
    Data = 6,
    /// The end of a snapshot's data; from the receiver: it is there and whole.
    End = 7,
}

impl Kind {
    fn of(byte: u8) -> Option<Self> {
        use Kind::{Answer, Data, End, Hello, Raft, Request, Snapshot};
        [Hello, Raft, Request, Answer, Snapshot, Data, End].into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// Why a connection cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// It was closed, or reading or writing failed.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// More than [`MAX_FRAME`] bytes.
    #[error("frame of {0} bytes, at most {MAX_FRAME} are read")]
    TooLarge(usize),
    /// A kind that is not known or does not belong here.
    #[error("frame of kind {0}, which does not belong here")]
    Kind(u8),
    /// A body that cannot be read.
    #[error("frame cannot be read: {0}")]
    Malformed(String),
    /// The other side speaks another version.
    #[error("the other side speaks version {0} of the servers' wire, this build version {VERSION}")]
    Version(u8),
    /// The other side is not who was expected.
    #[error("{0}")]
    Stranger(String),
}

/// Who dials.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Hello {
    /// Datacenter of the dialler.
    pub datacenter: String,
    /// Its node UUID.
    pub node_id: String,
    /// Its node name.
    pub name: String,
    /// Node UUID of the server it means to reach; an address may have passed to another one.
    pub to: String,
}

impl Hello {
    /// As the body of a frame.
    pub(super) fn encode(&self) -> Result<Bytes, FrameError> {
        let mut out = vec![VERSION];
        let mut serializer = rmp_serde::Serializer::new(&mut out).with_struct_map();
        self.serialize(&mut serializer).map_err(|error| FrameError::Malformed(error.to_string()))?;
        Ok(out.into())
    }

    /// From the body of a frame.
    ///
    /// # Errors
    /// [`FrameError::Version`] or [`FrameError::Malformed`].
    pub(super) fn decode(body: &[u8]) -> Result<Self, FrameError> {
        match body.split_first() {
            Some((&VERSION, rest)) => {
                rmp_serde::from_slice(rest).map_err(|error| FrameError::Malformed(error.to_string()))
            }
            Some((version, _)) => Err(FrameError::Version(*version)),
            None => Err(FrameError::Malformed("nothing there".into())),
        }
    }
}

/// Appends a frame to a buffer.
pub(super) fn put(out: &mut BytesMut, kind: Kind, body: &[u8]) {
    head(out, kind, body.len());
    out.put_slice(body);
}

/// Appends a numbered frame to a buffer.
pub(super) fn put_numbered(out: &mut BytesMut, kind: Kind, number: u64, body: &[u8]) {
    head(out, kind, body.len() + 8);
    out.put_u64(number);
    out.put_slice(body);
}

fn head(out: &mut BytesMut, kind: Kind, length: usize) {
    out.reserve(HEAD + length);
    // Bodies are bounded far below by whoever makes them.
    out.put_u32(u32::try_from(length + 1).unwrap_or(u32::MAX));
    out.put_u8(kind as u8);
}

/// The number a body begins with, and the rest.
pub(super) fn numbered(mut body: Bytes) -> Result<(u64, Bytes), FrameError> {
    if body.len() < 8 {
        return Err(FrameError::Malformed("no number".into()));
    }
    let number = body.get_u64();
    Ok((number, body))
}

/// Reads frames; what comes together is read together.
#[derive(Debug)]
pub(super) struct Reader<R> {
    from: R,
    buffer: BytesMut,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    pub(super) fn new(from: R) -> Self {
        Self { from, buffer: BytesMut::with_capacity(16 << 10) }
    }

    /// The next frame. Cancel-safe: what was read stays.
    ///
    /// # Errors
    /// [`FrameError`]; `UnexpectedEof` at the end.
    pub(super) async fn next(&mut self) -> Result<(Kind, Bytes), FrameError> {
        loop {
            if let Some(frame) = self.take()? {
                return Ok(frame);
            }
            if self.from.read_buf(&mut self.buffer).await? == 0 {
                return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
            }
        }
    }

    fn take(&mut self) -> Result<Option<(Kind, Bytes)>, FrameError> {
        let Some(head) = self.buffer.first_chunk::<4>() else { return Ok(None) };
        let length = u32::from_be_bytes(*head) as usize;
        if length > MAX_FRAME || length == 0 {
            return Err(FrameError::TooLarge(length));
        }
        if self.buffer.len() < 4 + length {
            self.buffer.reserve(4 + length - self.buffer.len());
            return Ok(None);
        }
        self.buffer.advance(4);
        let mut frame = self.buffer.split_to(length).freeze();
        let byte = frame.get_u8();
        let kind = Kind::of(byte).ok_or(FrameError::Kind(byte))?;
        Ok(Some((kind, frame)))
    }
}

/// Writes one frame, now.
///
/// # Errors
/// [`FrameError::Io`].
pub(super) async fn write<W: AsyncWrite + Unpin>(
    to: &mut W,
    kind: Kind,
    body: &[u8],
) -> Result<(), FrameError> {
    let mut out = BytesMut::new();
    put(&mut out, kind, body);
    Ok(to.write_all(&out).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<(Kind, Bytes), FrameError> {
        futures::executor::block_on(Reader::new(bytes).next())
    }

    #[test]
    fn frames_come_back() {
        let mut out = BytesMut::new();
        put(&mut out, Kind::Raft, b"abc");
        put_numbered(&mut out, Kind::Request, 7, b"de");
        let (mut reader, kinds) = (Reader::new(&out[..]), [Kind::Raft, Kind::Request]);
        let frames: Vec<_> =
            kinds.iter().map(|_| futures::executor::block_on(reader.next()).unwrap()).collect();
        assert_eq!(frames[0], (Kind::Raft, Bytes::from_static(b"abc")));
        assert_eq!(frames[1].0, Kind::Request);
        assert_eq!(numbered(frames[1].1.clone()).unwrap(), (7, Bytes::from_static(b"de")));
        assert!(matches!(futures::executor::block_on(reader.next()), Err(FrameError::Io(_))));
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(matches!(read(&[0xff, 0, 0, 0, 1]), Err(FrameError::TooLarge(_))));
        assert!(matches!(read(&[0, 0, 0, 0, 1]), Err(FrameError::TooLarge(0))));
        assert!(matches!(read(&[0, 0, 0, 1, 99]), Err(FrameError::Kind(99))));
        assert!(matches!(read(&[0, 0, 0, 9, 2, 1]), Err(FrameError::Io(_))));
        assert!(numbered(Bytes::from_static(b"short")).is_err());
        assert!(matches!(Hello::decode(&[9]), Err(FrameError::Version(9))));
        assert!(Hello::decode(&[VERSION, 0xc1]).is_err());
        assert!(Hello::decode(&[]).is_err());
    }

    #[test]
    fn a_hello_comes_back() {
        let hello = Hello { datacenter: "dc1".into(), node_id: "a".into(), name: "n".into(), to: "b".into() };
        assert_eq!(Hello::decode(&hello.encode().unwrap()).unwrap(), hello);
    }
}
