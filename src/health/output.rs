//! What is kept of an output: its last bytes, however much there was, as valid UTF-8.

/// Keeps the last bytes written to it, and counts all.
///
/// Memory grows with what is written, up to the limit.
#[derive(Debug)]
pub(super) struct Tail {
    bytes: Vec<u8>,
    limit: usize,
    /// Where the oldest byte is, once the buffer is full.
    start: usize,
    total: u64,
}

impl Tail {
    /// Keeps up to `limit` bytes, at least one.
    pub fn new(limit: usize) -> Self {
        Self { bytes: Vec::new(), limit: limit.max(1), start: 0, total: 0 }
    }

    /// Takes more.
    pub fn write(&mut self, data: &[u8]) {
        self.total += data.len() as u64;
        // Of a piece longer than the buffer only the end can stay.
        let mut rest = &data[data.len().saturating_sub(self.limit)..];
        let room = (self.limit - self.bytes.len()).min(rest.len());
        self.bytes.extend_from_slice(&rest[..room]);
        rest = &rest[room..];
        while !rest.is_empty() {
            let run = (self.limit - self.start).min(rest.len());
            self.bytes[self.start..self.start + run].copy_from_slice(&rest[..run]);
            self.start = (self.start + run) % self.limit;
            rest = &rest[run..];
        }
    }

    /// Bytes written in all.
    pub const fn total(&self) -> u64 {
        self.total
    }

    /// What was kept, in order.
    fn into_bytes(mut self) -> Vec<u8> {
        self.bytes.rotate_left(self.start);
        self.bytes
    }

    /// What was kept; bytes that are no UTF-8 are replaced.
    pub fn into_text(self) -> String {
        text(self.into_bytes())
    }

    /// As [`Self::into_text`], with a line before it that says so if not all was kept.
    pub fn into_marked_text(self) -> String {
        let (total, limit) = (self.total, self.limit);
        let kept = self.into_text();
        if total > limit as u64 { format!("Captured {limit} of {total} bytes\n...\n{kept}") } else { kept }
    }
}

/// Bytes as text, what is no UTF-8 replaced.
pub(super) fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_last_bytes_stay(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..20),
                               limit in 1_usize..50) {
            let mut tail = Tail::new(limit);
            for piece in &pieces {
                tail.write(piece);
            }
            let all = pieces.concat();
            prop_assert_eq!(tail.total(), all.len() as u64);
            prop_assert_eq!(tail.into_bytes(), all[all.len().saturating_sub(limit)..].to_vec());
        }
    }

    #[test]
    fn marked_only_when_cut() {
        let filled = |data: &[u8]| {
            let mut tail = Tail::new(4);
            tail.write(data);
            tail.into_marked_text()
        };
        assert_eq!(filled(b"abcd"), "abcd");
        assert_eq!(filled(b"abcde"), "Captured 4 of 5 bytes\n...\nbcde");
        assert_eq!(filled(b"\xffa"), "\u{fffd}a");
    }
}
