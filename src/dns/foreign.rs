//! Just enough of other servers' messages to pass them on: is it well-formed, what does it say, how long is
//! it good for. Records are not decoded, so that kinds nobody knew yet get through.

/// Length of a message's head.
pub const HEADER: usize = 12;
/// Longest message; streams carry its length in 16 bits.
pub const LONGEST_MESSAGE: usize = 65_535;
/// Longest datagram for clients that do not say what they take.
pub const PLAIN_UDP: usize = 512;

const OPT: u16 = 41;
/// Longest name in bytes, lengths of labels and the root included.
const LONGEST_NAME: usize = 255;

/// What a well-formed message says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// Its id.
    pub id: u16,
    /// It is a reply.
    pub is_reply: bool,
    /// Response code, without the bits that an OPT record may add.
    pub rcode: u8,
    /// The first question: where it begins and ends in the message.
    pub question: Option<(usize, usize)>,
    /// Smallest TTL of all records that have one, in seconds.
    pub min_ttl: Option<u32>,
    /// Size of datagrams the sender takes, from the OPT record.
    pub edns_size: Option<u16>,
}

impl Summary {
    /// Longest datagram that whoever sent this message takes.
    pub fn udp_limit(&self) -> usize {
        self.edns_size.map_or(PLAIN_UDP, |size| usize::from(size).max(PLAIN_UDP))
    }
}

/// Walks through a whole message. `None` when it is not well-formed; bytes after its end do not matter.
pub fn read(message: &[u8]) -> Option<Summary> {
    let word = |at: usize| Some(u16::from_be_bytes(message.get(at..at + 2)?.try_into().ok()?));
    let flags = word(2)?;
    let mut summary = Summary {
        id: word(0)?,
        is_reply: flags & 0x8000 != 0,
        rcode: u8::try_from(flags & 0xf).ok()?,
        question: None,
        min_ttl: None,
        edns_size: None,
    };
    let questions = word(4)?;
    let records = u32::from(word(6)?) + u32::from(word(8)?) + u32::from(word(10)?);
    let mut at = HEADER;
    for _ in 0..questions {
        let end = skip_name(message, at)? + 4;
        message.get(at..end)?;
        summary.question.get_or_insert((at, end));
        at = end;
    }
    for _ in 0..records {
        at = skip_name(message, at)?;
        let fixed: [u8; 10] = message.get(at..at + 10)?.try_into().ok()?;
        let kind = u16::from_be_bytes([fixed[0], fixed[1]]);
        if kind == OPT {
            summary.edns_size = Some(u16::from_be_bytes([fixed[2], fixed[3]]));
        } else {
            let ttl = u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]);
            summary.min_ttl = Some(summary.min_ttl.map_or(ttl, |least| least.min(ttl)));
        }
        at += 10 + usize::from(u16::from_be_bytes([fixed[8], fixed[9]]));
        message.get(..at)?;
    }
    Some(summary)
}

/// Where the name that begins at `start` ends. Follows pointers to see that they lead somewhere; each must
/// point further back than the last one, so there are no loops.
fn skip_name(message: &[u8], start: usize) -> Option<usize> {
    let (mut at, mut end, mut lowest, mut length) = (start, None, start, 0);
    loop {
        let first = *message.get(at)?;
        match first {
            0 => return Some(end.unwrap_or(at + 1)),
            1..=63 => {
                length += usize::from(first) + 1;
                at += usize::from(first) + 1;
                if length >= LONGEST_NAME {
                    return None;
                }
            }
            0xc0..=0xff => {
                let target = usize::from(u16::from_be_bytes([first & 0x3f, *message.get(at + 1)?]));
                if target >= lowest || target < HEADER {
                    return None;
                }
                end.get_or_insert(at + 2);
                lowest = target;
                at = target;
            }
            // The other kinds of labels were never used.
            64..=0xbf => return None,
        }
    }
}

/// Whether two messages ask the same question, whatever its letter case. Replies without a question, as some
/// servers send, pass.
pub fn same_question(query: &[u8], asked: &Summary, reply: &[u8], replied: &Summary) -> bool {
    let Some((start, end)) = replied.question else { return true };
    let Some((asked_start, asked_end)) = asked.question else { return false };
    match (query.get(asked_start..asked_end), reply.get(start..end)) {
        (Some(asked), Some(replied)) => asked.eq_ignore_ascii_case(replied),
        _ => false,
    }
}

/// The first question of a query in words, for the log: name, type and class.
pub fn question_words(message: &[u8]) -> Option<(String, u16, u16)> {
    let mut at = HEADER;
    let mut name = String::new();
    loop {
        let length = usize::from(*message.get(at)?);
        if length == 0 {
            break;
        }
        if length > 63 || name.len() > LONGEST_NAME {
            return None;
        }
        let label = message.get(at + 1..at + 1 + length)?;
        name.push_str(&label.escape_ascii().to_string());
        name.push('.');
        at += length + 1;
    }
    if name.is_empty() {
        name.push('.');
    }
    let word = |at: usize| Some(u16::from_be_bytes(message.get(at..at + 2)?.try_into().ok()?));
    Some((name, word(at + 1)?, word(at + 3)?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A question for `www.example.`, type A, with an OPT record of 1400.
    fn query() -> Vec<u8> {
        let mut message = vec![0x12, 0x34, 0x01, 0, 0, 1, 0, 0, 0, 0, 0, 1];
        message.extend(b"\x03www\x07example\0\0\x01\0\x01");
        message.extend([0, 0, 41, 0x05, 0x78, 0, 0, 0, 0, 0, 0]);
        message
    }

    fn reply() -> Vec<u8> {
        let mut message = vec![0x12, 0x34, 0x81, 0x83, 0, 1, 0, 2, 0, 0, 0, 0];
        message.extend(b"\x03WWW\x07example\0\0\x01\0\x01");
        message.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 10, 0, 0, 1]);
        // A kind of record nobody knows.
        message.extend([0xc0, 16, 0xff, 0x10, 0, 1, 0, 0, 0, 7, 0, 2, 1, 2]);
        message
    }

    #[test]
    fn reads_what_matters() {
        let (query, reply) = (query(), reply());
        let asked = read(&query).unwrap();
        assert_eq!((asked.id, asked.is_reply, asked.edns_size), (0x1234, false, Some(1400)));
        assert_eq!(asked.udp_limit(), 1400);
        let replied = read(&reply).unwrap();
        assert_eq!((replied.id, replied.rcode, replied.min_ttl), (0x1234, 3, Some(7)));
        assert_eq!(replied.udp_limit(), 512);
        assert!(same_question(&query, &asked, &reply, &replied));
        assert_eq!(question_words(&query), Some(("www.example.".to_owned(), 1, 1)));
    }

    #[test]
    fn refuses_what_is_broken() {
        let whole = reply();
        for length in 0..whole.len() {
            assert_eq!(read(&whole[..length]), None, "cut at {length}");
        }
        let mut other = whole.clone();
        other[13] = b'x';
        let (asked, replied) = (read(&query()).unwrap(), read(&other).unwrap());
        assert!(!same_question(&query(), &asked, &other, &replied), "another name");
        let at = whole.len() - 14;
        for (name, pointer) in
            [("to itself", u16::try_from(at).unwrap()), ("ahead", 0x3fff), ("into the head", 4)]
        {
            let mut looped = whole.clone();
            looped[at..at + 2].copy_from_slice(&(0xc000 | pointer).to_be_bytes());
            assert_eq!(read(&looped), None, "{name}");
        }
    }

    proptest! {
        #[test]
        fn survives_anything(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = read(&bytes);
            let _ = question_words(&bytes);
        }

        #[test]
        fn survives_damage(at in 0usize..70, with in any::<u8>()) {
            let mut message = reply();
            let length = message.len();
            message[at % length] = with;
            let _ = read(&message);
        }
    }
}
