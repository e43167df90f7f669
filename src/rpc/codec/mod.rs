//! The dialect of Consul's RPC: old msgpack, structs as maps with sorted Go names.
//!
//! [`Pack`] writes, [`Unpack`] reads leniently: nil is the zero of anything, unknown keys are passed over, missing
//! ones stay zero, text and bytes look alike, and a struct may come as an array of its fields in order. The tokens
//! are those of snapshot archives ([`msgpack`]), which speak the same dialect.

pub mod fields;
pub mod frame;
mod values;

pub use crate::state::archive::msgpack::{self, Cursor, Malformed, Packer, Token};
pub use fields::{Fields, Merged};

/// Something that can be written.
pub trait Pack {
    /// Appends it.
    fn pack(&self, out: &mut Packer);
}

/// Something that can be read.
pub trait Unpack: Sized {
    /// Reads one value.
    ///
    /// # Errors
    /// [`Malformed`], for what Go's decoder would refuse as well.
    fn unpack(cursor: &mut Cursor<'_>) -> Result<Self, Malformed>;
}

/// A value as bytes.
pub fn to_bytes(value: &impl Pack) -> Vec<u8> {
    let mut out = Packer::default();
    value.pack(&mut out);
    out.buffer
}

/// A value from bytes that hold it and nothing else.
///
/// # Errors
/// [`Malformed`].
pub fn from_bytes<T: Unpack>(bytes: &[u8]) -> Result<T, Malformed> {
    let mut cursor = Cursor::new(bytes);
    let value = T::unpack(&mut cursor)?;
    cursor.finish()?;
    Ok(value)
}
