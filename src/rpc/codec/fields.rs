//! Structs: fields by Go's names, in order, and two structs whose fields travel as one.

use super::{Cursor, Malformed, Pack, Packer, Token, Unpack};

/// A struct that travels as a map.
pub trait Fields: Default {
    /// Its keys, sorted.
    const KEYS: &'static [&'static str];

    /// Writes the value of the key at this place of [`Fields::KEYS`].
    fn pack_field(&self, at: usize, out: &mut Packer);

    /// Reads the value of a key; false (and nothing consumed) if it has no such key.
    ///
    /// # Errors
    /// [`Malformed`].
    fn unpack_field(&mut self, key: &[u8], cursor: &mut Cursor<'_>) -> Result<bool, Malformed>;
}

/// Writes a struct.
pub fn pack_one(fields: &impl Fields, out: &mut Packer) {
    pack_two(fields, &(), out);
}

/// Writes two structs as one map.
pub fn pack_two<A: Fields, B: Fields>(a: &A, b: &B, out: &mut Packer) {
    out.map(A::KEYS.len() + B::KEYS.len());
    for_each_key::<A, B>(|key, place| {
        out.str(key);
        match place {
            Place::A(at) => a.pack_field(at, out),
            Place::B(at) => b.pack_field(at, out),
        }
    });
}

enum Place {
    A(usize),
    B(usize),
}

fn for_each_key<A: Fields, B: Fields>(mut visit: impl FnMut(&'static str, Place)) {
    let (mut a, mut b) = (A::KEYS.iter().enumerate().peekable(), B::KEYS.iter().enumerate().peekable());
    loop {
        let a_first = match (a.peek(), b.peek()) {
            (Some((_, one)), Some((_, other))) => one < other,
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (None, None) => return,
        };
        if a_first {
            if let Some((at, key)) = a.next() {
                visit(key, Place::A(at));
            }
        } else if let Some((at, key)) = b.next() {
            visit(key, Place::B(at));
        }
    }
}

/// Reads two structs that travel as one map, or as an array of the values in order of the keys.
///
/// # Errors
/// [`Malformed`].
pub fn unpack_two<A: Fields, B: Fields>(cursor: &mut Cursor<'_>) -> Result<(A, B), Malformed> {
    let (mut a, mut b) = (A::default(), B::default());
    match cursor.token()? {
        Token::Nil => {}
        Token::Map(pairs) => {
            for _ in 0..pairs {
                let key = cursor.raw()?;
                if !a.unpack_field(key, cursor)? && !b.unpack_field(key, cursor)? {
                    cursor.skip()?;
                }
            }
        }
        Token::Array(items) => {
            let mut keys = Vec::with_capacity(A::KEYS.len() + B::KEYS.len());
            for_each_key::<A, B>(|key, _| keys.push(key));
            let mut keys = keys.into_iter();
            for _ in 0..items {
                let known = match keys.next().map(str::as_bytes) {
                    Some(key) => a.unpack_field(key, cursor)? || b.unpack_field(key, cursor)?,
                    None => false,
                };
                if !known {
                    cursor.skip()?;
                }
            }
        }
        other => return Err(Malformed::Type { wanted: "a map", found: other.name() }),
    }
    Ok((a, b))
}

/// Reads a struct.
///
/// # Errors
/// [`Malformed`].
pub fn unpack_one<A: Fields>(cursor: &mut Cursor<'_>) -> Result<A, Malformed> {
    unpack_two::<A, ()>(cursor).map(|(fields, ())| fields)
}

/// No fields at all.
impl Fields for () {
    const KEYS: &'static [&'static str] = &[];

    fn pack_field(&self, _: usize, out: &mut Packer) {
        out.nil();
    }

    fn unpack_field(&mut self, _: &[u8], _: &mut Cursor<'_>) -> Result<bool, Malformed> {
        Ok(false)
    }
}

/// Two structs whose fields travel as one map: what Go embeds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Merged<A, B> {
    /// What all messages of the kind have: query options, query metadata.
    pub common: A,
    /// The message's own.
    pub own: B,
}

impl<A: Fields, B: Fields> Pack for Merged<A, B> {
    fn pack(&self, out: &mut Packer) {
        pack_two(&self.common, &self.own, out);
    }
}

impl<A: Fields, B: Fields> Unpack for Merged<A, B> {
    fn unpack(cursor: &mut Cursor<'_>) -> Result<Self, Malformed> {
        unpack_two(cursor).map(|(common, own)| Self { common, own })
    }
}

/// Declares structs by their fields: `name: Type = "GoName"`, sorted by Go's names. Each is
/// [`Fields`], [`Pack`] and [`Unpack`].
macro_rules! shapes {
    ($($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $field:ident: $type:ty = $key:literal,)* })*) => {
        $(
            $(#[$about])*
            #[derive(Debug, Clone, Default, PartialEq)]
            pub struct $name {
                $($(#[$doc])* pub $field: $type,)*
            }

            impl $crate::rpc::codec::Fields for $name {
                const KEYS: &'static [&'static str] = &[$($key),*];

                fn pack_field(&self, at: usize, out: &mut $crate::rpc::codec::Packer) {
                    let mut place = 0..;
                    $(if place.next() == Some(at) {
                        return $crate::rpc::codec::Pack::pack(&self.$field, out);
                    })*
                    out.nil();
                }

                fn unpack_field(
                    &mut self,
                    key: &[u8],
                    cursor: &mut $crate::rpc::codec::Cursor<'_>,
                ) -> Result<bool, $crate::rpc::codec::Malformed> {
                    $(if key == $key.as_bytes() {
                        self.$field = $crate::rpc::codec::Unpack::unpack(cursor)?;
                        return Ok(true);
                    })*
                    Ok(false)
                }
            }

            impl $crate::rpc::codec::Pack for $name {
                fn pack(&self, out: &mut $crate::rpc::codec::Packer) {
                    $crate::rpc::codec::fields::pack_one(self, out);
                }
            }

            impl $crate::rpc::codec::Unpack for $name {
                fn unpack(
                    cursor: &mut $crate::rpc::codec::Cursor<'_>,
                ) -> Result<Self, $crate::rpc::codec::Malformed> {
                    $crate::rpc::codec::fields::unpack_one(cursor)
                }
            }
        )*
    };
}
pub(crate) use shapes;
