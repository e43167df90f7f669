//! Reading queries without copying them: header, one question, EDNS with the client's subnet.
//!
//! What is refused here, and how, follows Consul: a query it cannot make sense of gets FORMERR or
//! NOTIMP without its question, something that is no query gets nothing.

/// The 12 bytes every message begins with.
pub const HEADER: usize = 12;
/// Longest name in wire form (RFC 1035, 3.1).
const LONGEST_NAME: usize = 255;

/// Record types by number.
pub mod rtype {
    /// An IPv4 address.
    pub const A: u16 = 1;
    /// A name server.
    pub const NS: u16 = 2;
    /// The true name behind an alias.
    pub const CNAME: u16 = 5;
    /// Start of authority.
    pub const SOA: u16 = 6;
    /// The name of an address.
    pub const PTR: u16 = 12;
    /// Text.
    pub const TXT: u16 = 16;
    /// An IPv6 address.
    pub const AAAA: u16 = 28;
    /// A service's host and port.
    pub const SRV: u16 = 33;
    /// EDNS, not a record.
    pub const OPT: u16 = 41;
    /// A zone transfer.
    pub const AXFR: u16 = 252;
    /// Everything.
    pub const ANY: u16 = 255;
}

/// Response codes by number.
pub mod rcode {
    /// The query cannot be read.
    pub const FORMERR: u8 = 1;
    /// The answer cannot be had now.
    pub const SERVFAIL: u8 = 2;
    /// There is no such name.
    pub const NXDOMAIN: u8 = 3;
    /// Not built.
    pub const NOTIMP: u8 = 4;
    /// Not for this server.
    pub const REFUSED: u8 = 5;
}

/// Why a message is not answered as a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// No query at all: say nothing.
    Ignore,
    /// Say FORMERR.
    Format,
    /// An operation other than a query: say NOTIMP.
    NotImplemented,
}

/// EDNS of a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edns<'a> {
    /// Largest datagram the client takes, as it says.
    pub size: u16,
    /// Its client subnet option (RFC 7871): family, source length, scope, address.
    pub subnet: Option<&'a [u8]>,
}

/// A query.
#[derive(Debug, Clone, Copy)]
pub struct Query<'a> {
    /// Its first four bytes: id and flags.
    pub head: [u8; 4],
    /// Name asked for, in wire form with the final zero.
    pub name: &'a [u8],
    /// Type asked for.
    pub qtype: u16,
    /// Class asked for; only echoed.
    pub class: [u8; 2],
    /// EDNS, if it came with it.
    pub edns: Option<Edns<'a>>,
}

impl<'a> Query<'a> {
    /// Reads a message.
    ///
    /// # Errors
    /// How it is to be refused.
    pub fn read(message: &'a [u8]) -> Result<Self, Refusal> {
        let (head, rest) = message.split_first_chunk::<HEADER>().ok_or(Refusal::Ignore)?;
        if head[2] & 0x80 != 0 {
            return Err(Refusal::Ignore);
        }
        // A notification (4) is let through, as Consul does.
        if !matches!((head[2] >> 3) & 0xf, 0 | 4) {
            return Err(Refusal::NotImplemented);
        }
        let count = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
        let (answers, authorities, additional) = (count(6), count(8), count(10));
        if count(4) != 1 || answers > 1 || authorities > 1 || additional > 2 {
            return Err(Refusal::Format);
        }
        let (name, rest) = cut_name(rest).ok_or(Refusal::Format)?;
        let (qtype, rest) = cut_u16(rest).ok_or(Refusal::Format)?;
        // A question without its class is answered; so is one with less behind it than announced.
        let (class, mut rest) = rest.split_first_chunk::<2>().map_or(([0, 1], &[][..]), |(c, r)| (*c, r));
        let mut edns = None;
        for record in 0..answers + authorities + additional {
            if rest.is_empty() {
                break;
            }
            let (found, after) = cut_record(rest).ok_or(Refusal::Format)?;
            if record >= answers + authorities && found.is_some() {
                edns = found;
            }
            rest = after;
        }
        Ok(Self { head: [head[0], head[1], head[2], head[3]], name, qtype, class, edns })
    }

    /// Bytes the OPT record of the answer takes.
    pub fn opt_length(&self) -> usize {
        self.edns.map_or(0, |edns| 11 + edns.subnet.map_or(0, |subnet| 4 + subnet.len()))
    }
}

/// Cuts a name without pointers off: in a question there is nothing it could point back to.
fn cut_name(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut at = 0;
    loop {
        let length = usize::from(*bytes.get(at)?);
        if length == 0 {
            return bytes.split_at_checked(at + 1);
        }
        at += 1 + length;
        if length > 63 || at >= LONGEST_NAME {
            return None;
        }
    }
}

fn cut_u16(bytes: &[u8]) -> Option<(u16, &[u8])> {
    bytes.split_first_chunk::<2>().map(|(number, rest)| (u16::from_be_bytes(*number), rest))
}

/// Cuts a record off, whose name may end in a pointer, and reads it if it is an OPT.
fn cut_record(mut bytes: &[u8]) -> Option<(Option<Edns<'_>>, &[u8])> {
    loop {
        let (length, rest) = bytes.split_first()?;
        match *length {
            0 => {
                bytes = rest;
                break;
            }
            1..=63 => bytes = rest.get(usize::from(*length)..)?,
            0xc0.. => {
                bytes = rest.get(1..)?;
                break;
            }
            _ => return None,
        }
    }
    let (rtype, rest) = cut_u16(bytes)?;
    let (class, rest) = cut_u16(rest)?;
    let (length, rest) = cut_u16(rest.get(4..)?)?;
    let (data, rest) = rest.split_at_checked(usize::from(length))?;
    let edns = (rtype == rtype::OPT).then(|| Edns { size: class, subnet: subnet(data) });
    Some((edns, rest))
}

/// The client subnet among the options of an OPT record.
fn subnet(mut options: &[u8]) -> Option<&[u8]> {
    const CLIENT_SUBNET: u16 = 8;
    loop {
        let (code, rest) = cut_u16(options)?;
        let (length, rest) = cut_u16(rest)?;
        let (data, rest) = rest.split_at_checked(usize::from(length))?;
        // Family, source and scope length, and an address of either family.
        if code == CLIENT_SUBNET && (4..=20).contains(&data.len()) {
            return Some(data);
        }
        options = rest;
    }
}

/// Writes the answer to a message that is refused, if it gets one: a header and nothing else.
pub fn write_refusal(message: &[u8], refusal: Refusal, out: &mut Vec<u8>) {
    let (code, opcode) = match refusal {
        Refusal::Ignore => return,
        Refusal::Format => (rcode::FORMERR, 0),
        Refusal::NotImplemented => (rcode::NOTIMP, 0x78),
    };
    if let Some(head) = message.first_chunk::<4>() {
        let flags = 0x80 | (head[2] & (opcode | 0x01));
        out.extend_from_slice(&[head[0], head[1], flags, (head[3] & 0x10) | code, 0, 0, 0, 0, 0, 0, 0, 0]);
    }
}

/// An A question for a host name, as it is sent to recursors; the id is 0.
pub fn question_for(name: &[u8]) -> Vec<u8> {
    let mut packet = Vec::with_capacity(HEADER + name.len() + 4);
    packet.extend_from_slice(&[0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    packet.extend_from_slice(name);
    packet.extend_from_slice(&[0, 1, 0, 1]);
    packet
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
        digits
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    }

    /// `foo.node.consul. A IN` with this header.
    fn message(header: &str, tail: &str) -> Vec<u8> {
        bytes(&format!("{header} 03666f6f 046e6f6465 06636f6e73756c 00 0001 0001 {tail}"))
    }

    #[test]
    fn refusals() {
        let name = "03666f6f046e6f646506636f6e73756c00";
        let table = [
            ("empty", bytes(""), Refusal::Ignore),
            ("short", bytes("1234010000010000000000"), Refusal::Ignore),
            ("an answer", message("123481000001000000000000", ""), Refusal::Ignore),
            ("an inverse query", message("123409000001000000000000", ""), Refusal::NotImplemented),
            ("an update", message("123429000001000000000000", ""), Refusal::NotImplemented),
            ("two questions", message("123401000002000000000000", ""), Refusal::Format),
            ("no question", bytes("123401000000000000000000"), Refusal::Format),
            ("five answers", message("123401000001000500000000", ""), Refusal::Format),
            ("three additional", message("123401000001000000000003", ""), Refusal::Format),
            ("a label too long", bytes("12340100000100000000000040616161610000010001"), Refusal::Format),
            ("a pointer to itself", bytes("123401000001000000000000c00c00010001"), Refusal::Format),
            ("a pointer beyond", bytes("123401000001000000000000c0ff00010001"), Refusal::Format),
            ("a cut name", bytes("12340100000100000000000003666f"), Refusal::Format),
            ("a name alone", bytes(&format!("123401000001000000000000{name}")), Refusal::Format),
            (
                "a name too long",
                bytes(&format!("123401000001000000000000{}0000010001", "3f".repeat(64 * 4))),
                Refusal::Format,
            ),
            (
                "a cut additional record",
                message("123401000001000000000001", "000029100000000000 0004"),
                Refusal::Format,
            ),
        ];
        for (name, message, want) in table {
            assert_eq!(Query::read(&message).err(), Some(want), "{name}");
        }
    }

    #[test]
    fn queries() {
        let subnet = "000029 1000 00000000 0013 000a 0004 01020304 0008 0007 0001 1800 c00002";
        let table = [
            ("plain", message("123401000001000000000000", ""), None),
            ("a notification", message("123421000001000000000000", ""), None),
            ("bytes behind", message("123401000001000000000000", "deadbeef"), None),
            ("less than announced", message("123401000001000000000001", ""), None),
            (
                "with EDNS",
                message("123401000001000000000001", "000029 04d0 00008000 0000"),
                Some((1232, None)),
            ),
            (
                "with a subnet",
                message("123401000001000000000001", subnet),
                Some((4096, Some("00011800c00002"))),
            ),
            (
                "an unknown record first",
                message(
                    "123401000001000000000002",
                    "c00c 0001 0001 00000000 0001 ff 000029 0200 00000000 0000",
                ),
                Some((512, None)),
            ),
        ];
        for (name, message, want) in table {
            let query = Query::read(&message).unwrap_or_else(|refusal| panic!("{name}: {refusal:?}"));
            assert_eq!((query.qtype, query.name), (1, &message[12..29]), "{name}");
            let subnet = want.and_then(|(_, subnet)| subnet.map(bytes));
            let want = want.map(|(size, _)| Edns { size, subnet: subnet.as_deref() });
            assert_eq!(query.edns, want, "{name}");
        }
        let cut = bytes("12340100000100000000000003666f6f046e6f646506636f6e73756c000001");
        assert_eq!(Query::read(&cut).map(|query| query.class), Ok([0, 1]));
    }
}
