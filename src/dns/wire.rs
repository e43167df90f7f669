//! Names in wire form: labels with their lengths in front, a zero at the end.

use std::net::IpAddr;

use smallvec::SmallVec;

/// A name in wire form; most fit without an allocation.
pub type WireName = SmallVec<[u8; 64]>;

/// Longest name in wire form (RFC 1035, 3.1).
const LONGEST: usize = 255;

/// Appends the labels of a dotted text, without the final zero. False, with nothing of use appended,
/// if a label is empty or too long.
fn push_labels(name: &mut WireName, text: &str) -> bool {
    let text = text.strip_suffix('.').unwrap_or(text);
    if text.is_empty() {
        return true;
    }
    text.split('.').all(|label| {
        let length = u8::try_from(label.len()).ok().filter(|length| (1..=63).contains(length));
        if let Some(length) = length {
            name.push(length);
            name.extend_from_slice(label.as_bytes());
        }
        length.is_some()
    })
}

/// A dotted text as a name, letter case kept. None if no name can look so: an empty label, one of more
/// than 63 bytes, or 255 bytes in all.
pub fn name(text: &str) -> Option<WireName> {
    join(&[text], &[0])
}

/// Dotted texts, one after the other, in front of a name in wire form.
pub fn join(texts: &[&str], tail: &[u8]) -> Option<WireName> {
    let mut name = WireName::new();
    if !texts.iter().all(|text| push_labels(&mut name, text)) {
        return None;
    }
    name.extend_from_slice(tail);
    (name.len() <= LONGEST).then_some(name)
}

/// `<hex>.addr.<tail>` of an address.
pub fn addr_name(ip: IpAddr, tail: &[u8]) -> WireName {
    let hex = match ip {
        IpAddr::V4(ip) => format!("{:08x}", u32::from(ip)),
        IpAddr::V6(ip) => format!("{:032x}", u128::from(ip)),
    };
    join(&[&hex, "addr"], tail).unwrap_or_default()
}

/// The labels of a name in wire form, as far as they are sound.
pub fn labels(name: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = name;
    std::iter::from_fn(move || {
        let (length, after) = rest.split_first()?;
        let (label, after) = after.split_at_checked(usize::from(*length))?;
        rest = after;
        (!label.is_empty()).then_some(label)
    })
}

/// Whether two names in wire form are one, without regard to letter case.
pub fn same(one: &[u8], other: &[u8]) -> bool {
    one.eq_ignore_ascii_case(other)
}

/// Whether a name in wire form lies below a zone (or is it), without regard to letter case.
pub fn below(name: &[u8], zone: &[u8]) -> bool {
    let mut rest = name;
    loop {
        if rest.len() == zone.len() {
            return same(rest, zone);
        }
        let Some((length, after)) = rest.split_first() else { return false };
        let Some(after) = after.get(usize::from(*length)..) else { return false };
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let long = format!("{0}.{0}.{0}.{0}", "a".repeat(63));
        let table: [(&str, Option<&[u8]>); 7] = [
            ("", Some(b"\0")),
            (".", Some(b"\0")),
            ("Ab.c", Some(b"\x02Ab\x01c\0")),
            ("Ab.c.", Some(b"\x02Ab\x01c\0")),
            ("a..b", None),
            (&"a".repeat(64), None),
            (&long, None),
        ];
        for (text, want) in table {
            assert_eq!(name(text).as_deref(), want, "{text}");
        }
        assert_eq!(
            &*addr_name("10.1.2.254".parse().unwrap(), b"\x03dc1\0"),
            b"\x080a0102fe\x04addr\x03dc1\0"
        );
    }

    #[test]
    fn below_a_zone() {
        let zone = name("corp.example").unwrap();
        for (text, want) in
            [("corp.example", true), ("a.Corp.EXAMPLE", true), ("xcorp.example", false), ("example", false)]
        {
            assert_eq!(below(&name(text).unwrap(), &zone), want, "{text}");
        }
    }
}
