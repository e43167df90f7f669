//! The messages of memberlist, as values.

use std::net::SocketAddr;

use bytes::Bytes;

/// Protocol versions a member understands and speaks: `[pmin, pmax, pcur, dmin, dmax, dcur]`, memberlist's
/// and then Serf's.
pub type Versions = [u8; 6];

/// What Tribune understands and speaks, as Consul 1.8 does.
pub const OUR_VERSIONS: Versions = [1, 5, 2, 2, 5, 4];

/// A message of a datagram, borrowing from it. Names are bytes: a stranger's need not be UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message<'a> {
    /// Are you there?
    Ping(Ping<'a>),
    /// Ask another for me.
    IndirectPing(IndirectPing<'a>),
    /// I am; or: the other is.
    Ack(Ack<'a>),
    /// The other did not answer me either; the ping's sequence number.
    Nack(u32),
    /// A member may be dead.
    Suspect(Claim<'a>),
    /// A member lives, and this is what is to be known about it.
    Alive(Alive<'a>),
    /// A member is dead, or says goodbye if it says so itself.
    Dead(Claim<'a>),
    /// Bytes for the layer above.
    User(&'a [u8]),
}

/// A ping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ping<'a> {
    /// Sequence number of the answer.
    pub seq: u32,
    /// Who is meant; empty for whoever gets it.
    pub node: &'a [u8],
    /// Where the answer goes, if not to the packet's source.
    pub source: Option<SocketAddr>,
    /// Who asks; may be empty.
    pub source_node: &'a [u8],
}

/// A request to ping another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndirectPing<'a> {
    /// Sequence number of the answer.
    pub seq: u32,
    /// Whom to ping.
    pub target: SocketAddr,
    /// Its name.
    pub node: &'a [u8],
    /// Whether a missing answer is to be told.
    pub nack: bool,
    /// Where the answer goes, if not to the packet's source.
    pub source: Option<SocketAddr>,
    /// Who asks; may be empty.
    pub source_node: &'a [u8],
}

/// An answer to a ping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ack<'a> {
    /// The ping's sequence number.
    pub seq: u32,
    /// Bytes for the layer above; `None` is nil on the wire.
    pub payload: Option<&'a [u8]>,
}

/// What one member claims of another: that it is suspect, or dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim<'a> {
    /// The incarnation it is claimed of.
    pub incarnation: u32,
    /// Of whom.
    pub node: &'a [u8],
    /// By whom.
    pub from: &'a [u8],
}

/// News of a living member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Alive<'a> {
    /// Its incarnation.
    pub incarnation: u32,
    /// Its name.
    pub node: &'a [u8],
    /// Where it is reached. On the wire the address is 4 or 16 bytes; port 0 there means the receiver's own,
    /// and is kept as 0 here. `None` for other lengths.
    pub addr: Option<SocketAddr>,
    /// Bytes of the layer above: its tags.
    pub meta: &'a [u8],
    /// Versions; `None` if absent or of another length.
    pub versions: Option<Versions>,
}

/// How a member stands, by memberlist's numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum NodeState {
    /// It answers.
    #[default]
    Alive = 0,
    /// It may not answer any more.
    Suspect = 1,
    /// It does not answer.
    Dead = 2,
    /// It said goodbye.
    Left = 3,
}

/// A member in a full exchange.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PushPullNode {
    /// Name.
    pub name: Bytes,
    /// Address; as in [`Alive::addr`].
    pub addr: Option<SocketAddr>,
    /// Tags as bytes.
    pub meta: Bytes,
    /// Incarnation.
    pub incarnation: u32,
    /// State.
    pub state: NodeState,
    /// Versions, if there are six.
    pub versions: Option<Versions>,
}

/// [`PushPullNode`], borrowed: what is written need not be copied first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PushPullNodeRef<'a> {
    /// Name.
    pub name: &'a [u8],
    /// Address.
    pub addr: Option<SocketAddr>,
    /// Tags as bytes.
    pub meta: &'a [u8],
    /// Incarnation.
    pub incarnation: u32,
    /// State.
    pub state: NodeState,
    /// Versions.
    pub versions: Option<Versions>,
}

/// Everything a member knows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PushPull {
    /// Whether the sender is joining.
    pub join: bool,
    /// All members it knows, itself among them.
    pub nodes: Vec<PushPullNode>,
    /// Bytes of the layer above.
    pub user_state: Bytes,
}

/// A message of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamMessage {
    /// Everything.
    PushPull(PushPull),
    /// A ping that datagrams could not carry.
    Ping {
        /// Sequence number.
        seq: u32,
        /// Who is meant; may be empty.
        node: Bytes,
    },
    /// Its answer.
    Ack {
        /// Sequence number.
        seq: u32,
    },
    /// Bytes for the layer above.
    User(Bytes),
    /// The other side could not read what it got.
    Error(String),
}

/// Why bytes are no message. The text is for logs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// They end too early.
    #[error("message is cut short")]
    Short,
    /// They are not what should be here.
    #[error("malformed {0}")]
    Malformed(&'static str),
    /// A kind of message nobody knows.
    #[error("msg type {0} not supported")]
    UnknownType(u8),
    /// More than is allowed.
    #[error("{what} of {size} bytes exceeds limit of {limit}")]
    TooLarge {
        /// What.
        what: &'static str,
        /// How large.
        size: usize,
        /// How large it may be.
        limit: usize,
    },
    /// It carries no label though one is configured, another one, or one though none is configured.
    #[error("label does not match the configured one")]
    Label,
    /// The checksum does not fit.
    #[error("got invalid checksum for UDP packet: {found:x}, {expected:x}")]
    Checksum {
        /// Of the bytes.
        found: u32,
        /// In the packet.
        expected: u32,
    },
    /// No key fits, or the bytes were changed on their way.
    #[error("No installed keys could decrypt the message")]
    Decrypt,
    /// Plain text where only encrypted is accepted.
    #[error("Encryption is configured but remote state is not encrypted")]
    NotEncrypted,
    /// Encrypted where there is no key.
    #[error("Remote state is encrypted and encryption is not configured")]
    Encrypted,
    /// The other side said it could not read us.
    #[error("remote error: {0}")]
    Remote(String),
}
