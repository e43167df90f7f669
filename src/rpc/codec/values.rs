//! Single values, lists and maps.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::{Cursor, Malformed, Pack, Packer, Token, Unpack};
use crate::state::archive::wire;
use crate::state::record::{Check, Coordinate, KvEntry, NodeCoordinate, Service, Session};

/// Memory a list may take whatever it holds, in bytes.
const LIST_BASE: usize = 1 << 20;
/// Memory a list may take for each byte of what is left of the message: records are larger in memory than as bytes,
/// but not by more than this.
const LIST_FACTOR: usize = 32;

/// Forms that both directions have under the same name.
macro_rules! plain {
    ($($type:ty: $pack:ident, $unpack:ident;)*) => {
        $(
            impl Pack for $type {
                fn pack(&self, out: &mut Packer) {
                    out.$pack(self.clone());
                }
            }

            impl Unpack for $type {
                fn unpack(cursor: &mut Cursor<'_>) -> Result<Self, Malformed> {
                    cursor.$unpack()
                }
            }
        )*
    };
}

plain! {
    bool: bool, bool;
    u64: uint, uint;
    i64: int, int;
    f64: float, float;
}

impl Pack for u8 {
    fn pack(&self, out: &mut Packer) {
        out.uint(u64::from(*self));
    }
}

impl Unpack for u8 {
    fn unpack(cursor: &mut Cursor<'_>) -> Result<Self, Malformed> {
        Self::try_from(cursor.uint()?).map_err(|_| Malformed::Range)
    }
}

impl Pack for usize {
    fn pack(&self, out: &mut Packer) {
        out.uint(*self as u64);
    }
}

impl Unpack for usize {
    fn unpack(cursor: &mut Cursor<'_>) -> Result<Self, Malformed> {
        Self::try_from(cursor.uint()?).map_err(|_| Malformed::Range)
    }
}

/// No value that says anything: an empty map, as Go writes an empty struct.
impl Pack for () {
    fn pack(&self, out: &mut Packer) {
        out.map(0);
    }
}

/// Whatever it is, it is not looked at.
impl Unpack for () {
    fn unpack(cursor: &mut Cursor<'_>) -> Result<Self, Malformed> {
        cursor.skip()
    }
}

impl Pack for str {
    fn pack(&self, out: &mut Packer) {
        out.str(self);
    }
}

impl Pack for String {
    fn pack(&self, out: &mut Packer) {
        out.str(self);
    }
}

impl Unpack for String {
    fn unpack(cursor: &mut Cursor<'_>) -> Result<Self, Malformed> {
        cursor.string()
    }
}

impl Unpack for Arc<str> {
    fn unpack(cursor: &mut Cursor<'_>) -> Result<Self, Malformed> {
        Ok(String::from_utf8_lossy(cursor.raw()?).into())
    }
}

/// Bytes; none are nil, as Go writes a nil slice.
impl Pack for Bytes {
    fn pack(&self, out: &mut Packer) {
        if self.is_empty() { out.nil() } else { out.raw(self) }
    }
}

impl Unpack for Bytes {
    fn unpack(cursor: &mut Cursor<'_>) -> Result<Self, Malformed> {
        cursor.raw().map(Self::copy_from_slice)
    }
}

impl<T: Pack + ?Sized> Pack for &T {
    fn pack(&self, out: &mut Packer) {
        (**self).pack(out);
    }
}

impl<T: Pack + ?Sized> Pack for Arc<T> {
    fn pack(&self, out: &mut Packer) {
        (**self).pack(out);
    }
}

impl<T: Unpack> Unpack for Arc<T> {
    fn unpack(cursor: &mut Cursor<'_>) -> Result<Self, Malformed> {
        T::unpack(cursor).map(Self::new)
    }
}

impl<T: Pack> Pack for Box<T> {
    fn pack(&self, out: &mut Packer) {
        (**self).pack(out);
    }
}

impl<T: Unpack> Unpack for Box<T> {
    fn unpack(cursor: &mut Cursor<'_>) -> Result<Self, Malformed> {
        T::unpack(cursor).map(Self::new)
    }
}

impl<T: Pack> Pack for Option<T> {
    fn pack(&self, out: &mut Packer) {
        match self {
            Some(value) => value.pack(out),
            None => out.nil(),
        }
    }
}

impl<T: Unpack> Unpack for Option<T> {
    fn unpack(cursor: &mut Cursor<'_>) -> Result<Self, Malformed> {
        if cursor.at_nil() {
            cursor.skip()?;
            return Ok(None);
        }
        T::unpack(cursor).map(Some)
    }
}

/// A list; nil when empty, as Go writes a nil slice.
impl<T: Pack> Pack for Vec<T> {
    fn pack(&self, out: &mut Packer) {
        if self.is_empty() {
            return out.nil();
        }
        out.array(self.len());
        for item in self {
            item.pack(out);
        }
    }
}

impl<T: Unpack> Unpack for Vec<T> {
    fn unpack(cursor: &mut Cursor<'_>) -> Result<Self, Malformed> {
        let count = match cursor.token()? {
            Token::Nil => 0,
            Token::Array(count) => count,
            other => return Err(Malformed::Type { wanted: "an array", found: other.name() }),
        };
        let left = cursor.remaining();
        if count > left {
            return Err(Malformed::Eof);
        }
        let most = LIST_BASE.saturating_add(left.saturating_mul(LIST_FACTOR));
        if count.saturating_mul(size_of::<T>()) > most {
            return Err(Malformed::Size(most));
        }
        (0..count).map(|_| T::unpack(cursor)).collect()
    }
}

impl<T: Pack> Pack for BTreeMap<String, T> {
    fn pack(&self, out: &mut Packer) {
        out.map(self.len());
        for (key, value) in self {
            out.str(key);
            value.pack(out);
        }
    }
}

impl<T: Unpack> Unpack for BTreeMap<String, T> {
    fn unpack(cursor: &mut Cursor<'_>) -> Result<Self, Malformed> {
        let mut found = Self::new();
        cursor.map(|key, cursor| {
            found.insert(String::from_utf8_lossy(key).into_owned(), T::unpack(cursor)?);
            Ok(())
        })?;
        Ok(found)
    }
}

/// Records whose forms snapshot archives share.
macro_rules! records {
    ($($type:ty: $pack:path, $unpack:expr;)*) => {
        $(
            impl Pack for $type {
                fn pack(&self, out: &mut Packer) {
                    $pack(out, self);
                }
            }

            impl Unpack for $type {
                fn unpack(cursor: &mut Cursor<'_>) -> Result<Self, Malformed> {
                    $unpack(cursor)
                }
            }
        )*
    };
}

records! {
    Service: wire::service, |cursor| Ok(wire::read_service(cursor)?.unwrap_or_default());
    Check: wire::check, |cursor| Ok(wire::read_check(cursor)?.unwrap_or_default());
    Session: wire::session, wire::read_session;
    Coordinate: wire::coord, wire::read_coord;
    NodeCoordinate: wire::coordinate, wire::read_coordinate;
    KvEntry: wire::entry, wire::read_dir_entry;
}
