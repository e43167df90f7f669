//! net/rpc frames: a header and a body, each one value, one frame after the other and no lengths.

use bytes::{Bytes, BytesMut};

use super::fields::shapes;
use super::msgpack::Scanner;
use super::{Malformed, Pack, Packer, from_bytes};

/// Longest header accepted, in bytes.
const HEADER_LIMIT: usize = 64 * 1024;

shapes! {
    /// What stands before the body of a request.
    RequestHeader {
        /// Number of the call, chosen by the caller.
        seq: u64 = "Seq",
        /// `Service.Method`.
        service_method: String = "ServiceMethod",
    }

    /// What stands before the body of a response.
    ResponseHeader {
        /// What went wrong; empty for success.
        error: String = "Error",
        /// The request's.
        seq: u64 = "Seq",
        /// The request's.
        service_method: String = "ServiceMethod",
    }
}

/// Writes a frame.
pub fn pack(header: &impl Pack, body: &impl Pack) -> Vec<u8> {
    let mut out = Packer::default();
    header.pack(&mut out);
    body.pack(&mut out);
    out.buffer
}

/// Takes frames out of a growing buffer.
#[derive(Debug)]
pub struct Frames {
    /// Longest body accepted, in bytes.
    limit: usize,
    header: Scanner,
    header_length: Option<usize>,
    body: Scanner,
}

impl Frames {
    /// For bodies up to `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self { limit, header: Scanner::default(), header_length: None, body: Scanner::default() }
    }

    /// The next header and body, cut out of the buffer, if both are here.
    ///
    /// # Errors
    /// [`Malformed`] for what is no msgpack or too long; the stream cannot be read any further.
    pub fn next(&mut self, buffer: &mut BytesMut) -> Result<Option<(Bytes, Bytes)>, Malformed> {
        let header = match self.header_length {
            Some(length) => length,
            None => match self.header.advance(buffer, HEADER_LIMIT)? {
                Some(length) => *self.header_length.insert(length),
                None => return Ok(None),
            },
        };
        let rest = buffer.get(header..).unwrap_or_default();
        let Some(body) = self.body.advance(rest, self.limit)? else { return Ok(None) };
        *self = Self::new(self.limit);
        let header = buffer.split_to(header).freeze();
        let body = buffer.split_to(body).freeze();
        Ok(Some((header, body)))
    }

    /// Whether a frame has begun to arrive.
    pub fn is_idle(&self, buffer: &BytesMut) -> bool {
        buffer.is_empty() && self.header_length.is_none()
    }
}

/// Reads a request's header.
///
/// # Errors
/// [`Malformed`].
pub fn request_header(bytes: &[u8]) -> Result<RequestHeader, Malformed> {
    from_bytes(bytes)
}
