//! The twelve bytes before everything.

/// Length of a header.
pub const LENGTH: usize = 12;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Payload follows; the length is its own.
    Data,
    /// The length may be sent on top.
    WindowUpdate,
    /// The length is opaque and comes back.
    Ping,
    /// No more streams; the length says why.
    GoAway,
}

/// Flags of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags(pub u16);

impl Flags {
    /// None.
    pub const NONE: Self = Self(0);
    /// Opens a stream, or asks for an answer to a ping.
    pub const SYN: Self = Self(1);
    /// Accepts a stream, or answers a ping.
    pub const ACK: Self = Self(2);
    /// Nothing more will be sent.
    pub const FIN: Self = Self(4);
    /// The stream is gone.
    pub const RST: Self = Self(8);

    /// Whether this one is set.
    pub const fn has(self, flag: Self) -> bool {
        self.0 & flag.0 != 0
    }
}

/// A frame without its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// What it is.
    pub kind: Kind,
    /// Its flags.
    pub flags: Flags,
    /// Which stream; 0 for the session.
    pub stream: u32,
    /// By kind.
    pub length: u32,
}

impl Header {
    /// Appends it.
    pub fn write(self, out: &mut Vec<u8>) {
        let kind = match self.kind {
            Kind::Data => 0,
            Kind::WindowUpdate => 1,
            Kind::Ping => 2,
            Kind::GoAway => 3,
        };
        out.extend_from_slice(&[0, kind]);
        out.extend_from_slice(&self.flags.0.to_be_bytes());
        out.extend_from_slice(&self.stream.to_be_bytes());
        out.extend_from_slice(&self.length.to_be_bytes());
    }

    /// Reads one; the outer `None` if it is not here yet.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(bytes: &[u8]) -> Result<Option<Self>, &'static str> {
        let Some([version, kind, f0, f1, s0, s1, s2, s3, l0, l1, l2, l3]) = bytes.first_chunk::<LENGTH>()
        else {
            return Ok(None);
        };
        if *version != 0 {
            return Err("unknown version");
        }
        let kind = match kind {
            0 => Kind::Data,
            1 => Kind::WindowUpdate,
            2 => Kind::Ping,
            3 => Kind::GoAway,
            _ => return Err("unknown type of frame"),
        };
        Ok(Some(Self {
            kind,
            flags: Flags(u16::from_be_bytes([*f0, *f1])),
            stream: u32::from_be_bytes([*s0, *s1, *s2, *s3]),
            length: u32::from_be_bytes([*l0, *l1, *l2, *l3]),
        }))
    }
}
