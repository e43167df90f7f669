//! What Serf puts into memberlist's opaque fields: tags into a node's meta, a coordinate into an ack.

use std::collections::BTreeMap;

use crate::gossip::coordinate::{Coordinate, DIMENSIONS};
use crate::gossip::wire::WireError;
use crate::gossip::wire::msgpack::{Reader, Writer};

/// Most bytes of encoded tags.
pub const MAX_META: usize = 512;
/// First byte of encoded tags; without it the bytes are the value of one tag.
const TAGS: u8 = 0xff;
/// The tag of bytes that are no encoded tags.
const ROLE: &str = "role";
/// First byte of an ack's payload.
const PING_VERSION: u8 = 1;

/// Appends tags as a node's meta.
///
/// # Errors
/// [`WireError::TooLarge`] beyond [`MAX_META`]; `out` is then as it was.
pub fn encode_tags(tags: &BTreeMap<String, String>, out: &mut Vec<u8>) -> Result<(), WireError> {
    let start = out.len();
    out.push(TAGS);
    put_tags(&mut Writer::new(out), tags);
    let size = out.len() - start;
    if size > MAX_META {
        out.truncate(start);
        return Err(WireError::TooLarge { what: "encoded tags", size, limit: MAX_META });
    }
    Ok(())
}

/// Reads a node's meta. What is no UTF-8 is shown with replacement characters.
///
/// # Errors
/// [`WireError::Short`] or [`WireError::Malformed`].
pub fn decode_tags(meta: &[u8]) -> Result<BTreeMap<String, String>, WireError> {
    match meta.split_first() {
        Some((&TAGS, body)) => read_tags(&mut Reader::new(body)),
        _ => Ok(BTreeMap::from([(ROLE.to_owned(), String::from_utf8_lossy(meta).into_owned())])),
    }
}

pub(super) fn put_tags(writer: &mut Writer<'_>, tags: &BTreeMap<String, String>) {
    writer.map(tags.len());
    for (tag, value) in tags {
        writer.raw(tag.as_bytes()).raw(value.as_bytes());
    }
}

pub(super) fn read_tags(reader: &mut Reader<'_>) -> Result<BTreeMap<String, String>, WireError> {
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    let mut tags = BTreeMap::new();
    for _ in 0..reader.map()? {
        let (tag, value) = (reader.text()?, reader.text()?);
        tags.insert(text(tag), text(value));
    }
    Ok(tags)
}

/// Appends the payload of an ack: this member's coordinate.
pub fn encode_ack_payload(coordinate: &Coordinate, out: &mut Vec<u8>) {
    out.push(PING_VERSION);
    let mut writer = Writer::new(out);
    writer.map(4).raw(b"Adjustment").float(coordinate.adjustment).raw(b"Error").float(coordinate.error);
    writer.raw(b"Height").float(coordinate.height).raw(b"Vec").array(DIMENSIONS);
    for place in coordinate.vec {
        writer.float(place);
    }
}

/// Reads the payload of an ack; `None` if it is empty, of another version or of another space. Its figures
/// may be anything, not-a-number included.
///
/// # Errors
/// [`WireError::Short`] or [`WireError::Malformed`].
pub fn decode_ack_payload(payload: &[u8]) -> Result<Option<Coordinate>, WireError> {
    let Some((&PING_VERSION, body)) = payload.split_first() else { return Ok(None) };
    let mut coordinate = Coordinate { vec: [0.0; DIMENSIONS], error: 0.0, adjustment: 0.0, height: 0.0 };
    let mut dimensions = 0;
    Reader::new(body).structure(&[b"Vec", b"Error", b"Adjustment", b"Height"], |key, value| {
        match key {
            b"Vec" => {
                dimensions = value.array()?;
                for at in 0..dimensions {
                    let place = value.float()?;
                    if let Some(slot) = coordinate.vec.get_mut(at) {
                        *slot = place;
                    }
                }
            }
            b"Error" => coordinate.error = value.float()?,
            b"Adjustment" => coordinate.adjustment = value.float()?,
            b"Height" => coordinate.height = value.float()?,
            _ => value.skip()?,
        }
        Ok(())
    })?;
    Ok(Some(coordinate).filter(|_| dimensions == DIMENSIONS))
}
