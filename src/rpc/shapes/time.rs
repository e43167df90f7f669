//! Go's `time.Time` as it marshals itself.

use crate::rpc::codec::{Cursor, Malformed, Pack, Packer, Unpack};

/// Seconds from Go's first moment, the beginning of year 1, to the Unix epoch.
const EPOCH: i64 = 62_135_596_800;

/// A moment: 15 bytes with version, seconds, nanoseconds and zone. The zone is read over; written is UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct GoTime {
    /// Seconds since the Unix epoch.
    pub seconds: i64,
    /// Nanoseconds within the second.
    pub nanoseconds: u32,
}

/// Go's zero: the beginning of year 1.
impl Default for GoTime {
    fn default() -> Self {
        Self { seconds: -EPOCH, nanoseconds: 0 }
    }
}

impl GoTime {
    /// A moment of the wall clock, in milliseconds since the Unix epoch.
    pub fn from_millis(millis: u64) -> Self {
        Self {
            seconds: i64::try_from(millis / 1_000).unwrap_or(i64::MAX),
            nanoseconds: u32::try_from(millis % 1_000).unwrap_or(0) * 1_000_000,
        }
    }

    /// Milliseconds since the Unix epoch; 0 for what was before.
    pub fn to_millis(self) -> u64 {
        let seconds = u64::try_from(self.seconds).unwrap_or(0);
        seconds.saturating_mul(1_000).saturating_add(u64::from(self.nanoseconds / 1_000_000))
    }
}

impl Pack for GoTime {
    fn pack(&self, out: &mut Packer) {
        let mut bytes = [0; 15];
        let (version, rest) = bytes.split_at_mut(1);
        version.copy_from_slice(&[1]);
        let (seconds, rest) = rest.split_at_mut(8);
        seconds.copy_from_slice(&self.seconds.saturating_add(EPOCH).to_be_bytes());
        let (nanoseconds, zone) = rest.split_at_mut(4);
        nanoseconds.copy_from_slice(&self.nanoseconds.to_be_bytes());
        zone.copy_from_slice(&[0xff, 0xff]);
        out.raw(&bytes);
    }
}

impl Unpack for GoTime {
    fn unpack(cursor: &mut Cursor<'_>) -> Result<Self, Malformed> {
        let bytes = cursor.raw()?;
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        let bad = || Malformed::Other("no time of Go's".to_owned());
        // Version 2 has one byte more, for the seconds of its zone.
        let ([1 | 2, rest @ ..], 15 | 16) = (bytes, bytes.len()) else { return Err(bad()) };
        let (seconds, rest) = rest.split_first_chunk::<8>().ok_or_else(bad)?;
        let nanoseconds = rest.first_chunk::<4>().ok_or_else(bad)?;
        Ok(Self {
            seconds: i64::from_be_bytes(*seconds).saturating_sub(EPOCH),
            nanoseconds: u32::from_be_bytes(*nanoseconds),
        })
    }
}
