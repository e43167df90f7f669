//! What goes into a pool and what comes out: the whole contract with its host.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use super::serf::Member;
use super::wire::StreamMessage;

/// A stream that another member opened, by the host's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(pub u64);

/// An exchange this pool asked for, by the pool's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ExchangeId(pub u64);

/// A command's number, chosen by the host; its outcome comes in [`Outputs::done`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// What a pool is told.
#[derive(Debug)]
pub enum Input<'a> {
    /// A datagram. It is decrypted in place, so its bytes are spent afterwards.
    Packet {
        /// Who sent it, as the socket saw it.
        from: SocketAddr,
        /// All of it.
        data: &'a mut [u8],
    },
    /// A whole message on a stream that another member opened, as
    /// [`StreamReader`](super::wire::StreamReader) read it. If it deserves an answer, a
    /// [`Reply`] with the same id comes out of the same step; otherwise the host closes the stream.
    Request {
        /// Which stream.
        stream: StreamId,
        /// Who opened it.
        from: SocketAddr,
        /// What it said.
        message: StreamMessage,
    },
    /// How an [`Exchange`] ended. Every exchange ends exactly once.
    Answer {
        /// Which one.
        exchange: ExchangeId,
        /// What came back.
        result: Result<StreamMessage, ExchangeError>,
    },
    /// A connection from this address broke, whatever it was for: members there may have died. They are probed out
    /// of turn.
    Doubt(IpAddr),
    /// Nothing but the passing of time: the deadline of [`Pool::deadline`](super::Pool::deadline) has come.
    Tick,
    /// What this agent wants.
    Command(Ticket, Command),
}

/// Why an exchange gave nothing. No state was touched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExchangeError {
    /// No connection, or it broke; the text is the operating system's.
    #[error("{0}")]
    Io(String),
    /// Not done in time.
    #[error("i/o timeout")]
    Timeout,
    /// What came back could not be read.
    #[error("{0}")]
    Wire(#[from] super::wire::WireError),
}

/// What an agent wants of its pool.
#[derive(Debug, Clone)]
pub enum Command {
    /// Exchange everything with the member at this address. Ends as [`Done::Joined`].
    Join {
        /// Gossip address of any member.
        address: SocketAddr,
    },
    /// Say goodbye. Ends as [`Done::Left`] when it is time to stop; answers until then.
    Leave,
    /// Make a failed member a left one; with `prune`, forget it.
    ForceLeave {
        /// Its name.
        name: String,
        /// Forget it at once, whatever its state.
        prune: bool,
    },
    /// Tell everybody, this agent included. Ends as [`Done::Fired`].
    UserEvent {
        /// Name.
        name: String,
        /// Opaque bytes.
        payload: Vec<u8>,
        /// Whether receivers may give out only the latest of several with this name.
        coalesce: bool,
    },
    /// Ask everybody. Answers come as [`Event::QueryResponse`], the end as [`Done::Queried`].
    Query(Query),
    /// Change the keys of all members. Ends as [`Done::Keys`].
    Keys {
        /// What to do.
        request: KeyRequest,
        /// Through how many others an answer is sent besides directly.
        relay_factor: u8,
    },
    /// Answer a query that came as [`Event::Query`].
    Respond {
        /// [`Event::Query`]'s number.
        query: u64,
        /// The answer.
        payload: Vec<u8>,
    },
    /// Replace this member's tags.
    SetTags(BTreeMap<String, String>),
}

/// A question to all members, or to those the filters let through.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// Name.
    pub name: String,
    /// Opaque bytes.
    pub payload: Vec<u8>,
    /// Only members with one of these names; empty for any.
    pub nodes: Vec<String>,
    /// Only members whose tag matches the regular expression, all of them.
    pub tags: Vec<(String, String)>,
    /// Whether members confirm at once that the question arrived.
    pub ack: bool,
    /// Through how many others an answer is sent besides directly.
    pub relay_factor: u8,
    /// How long answers are awaited; `None` for the default of the pool's size.
    pub timeout: Option<Duration>,
}

/// What is done to the keys of all members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyRequest {
    /// Which keys are installed where.
    List,
    /// Add a key that may be decrypted with.
    Install(Vec<u8>),
    /// Encrypt with a key that is installed.
    Use(Vec<u8>),
    /// Remove a key that is not in use.
    Remove(Vec<u8>),
}

/// What members said to a [`KeyRequest`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyReport {
    /// Members asked.
    pub nodes: usize,
    /// Members that answered.
    pub responses: usize,
    /// Members that answered with an error. Who did not answer at all is in `nodes` only.
    pub errors: usize,
    /// What members had to say, by name.
    pub messages: BTreeMap<String, String>,
    /// How many members have each key, in base64.
    pub keys: BTreeMap<String, usize>,
    /// How many members encrypt with each key, in base64.
    pub primary_keys: BTreeMap<String, usize>,
}

impl KeyReport {
    /// Whether all members did what was asked.
    ///
    /// # Errors
    /// How many did not, in Serf's words.
    pub fn outcome(&self) -> Result<(), String> {
        if self.errors > 0 {
            return Err(format!("{}/{} nodes reported failure", self.errors, self.nodes));
        }
        if self.responses != self.nodes {
            return Err(format!("{}/{} nodes reported success", self.responses, self.nodes));
        }
        Ok(())
    }
}

/// How a command ended well.
#[derive(Debug, Clone, PartialEq)]
pub enum Done {
    /// Joined.
    Joined,
    /// Said goodbye; the sockets may be closed.
    Left,
    /// The failed member is on its way out.
    ForcedLeave,
    /// The event is on its way.
    Fired {
        /// Its Lamport time.
        ltime: u64,
    },
    /// No more answers are awaited.
    Queried,
    /// All members answered, or the time was up.
    Keys(KeyReport),
    /// The answer was sent.
    Responded,
    /// The tags are replaced.
    Tagged,
}

/// Why a command failed. Unless it says otherwise nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// The exchange failed.
    #[error("{0}")]
    Exchange(#[from] ExchangeError),
    /// Members of the other side, or this one for them, may not be in the same pool.
    #[error("{0}")]
    Refused(String),
    /// No such member.
    #[error("No node found with name '{0}'")]
    UnknownMember(String),
    /// Too much for the wire: a query, an answer, tags.
    #[error("{what} exceeds limit of {limit} bytes")]
    TooLarge {
        /// What.
        what: &'static str,
        /// How much may be.
        limit: usize,
    },
    /// Name and payload of a user event are too long.
    #[error("user event exceeds configured limit of {limit} bytes before encoding")]
    EventTooLarge {
        /// How long they may be.
        limit: usize,
    },
    /// A user event is too long once it is encoded.
    #[error("encoded user event exceeds configured limit of {limit} bytes after encoding")]
    EncodedEventTooLarge {
        /// How long it may be.
        limit: usize,
    },
    /// The name of a query is one of Serf's own.
    #[error("Queries cannot contain the '{0}' prefix")]
    Reserved(&'static str),
    /// The query is unknown or its time is over.
    #[error("query is unknown or past its deadline")]
    UnknownQuery,
    /// This member is leaving or has left.
    #[error("the agent is leaving the pool")]
    Leaving,
    /// A filter is no regular expression.
    #[error("invalid filter: {0}")]
    Filter(String),
}

/// A connection to be opened, written to and read one message from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchange {
    /// Number for [`Input::Answer`].
    pub id: ExchangeId,
    /// Whom to connect to.
    pub to: SocketAddr,
    /// What to write.
    pub request: Vec<u8>,
    /// How long all of it may take.
    pub timeout: Duration,
}

/// Bytes for a stream that another member opened; it is closed after them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Which stream.
    pub stream: StreamId,
    /// What to write.
    pub bytes: Vec<u8>,
}

/// What happened in the pool.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A member came, or came back.
    Joined(Arc<Member>),
    /// A member's tags or address changed.
    Updated(Arc<Member>),
    /// A member does not answer any more.
    Failed(Arc<Member>),
    /// A member said goodbye, or somebody said it for it.
    Left(Arc<Member>),
    /// A member that failed or left long ago is forgotten.
    Reaped(Arc<Member>),
    /// Somebody told everybody.
    User {
        /// Lamport time.
        ltime: u64,
        /// Name.
        name: String,
        /// Opaque bytes.
        payload: Vec<u8>,
        /// Whether only the latest of several with this name matters.
        coalesce: bool,
    },
    /// Somebody asks. May be answered by [`Command::Respond`].
    Query {
        /// Number for the answer.
        query: u64,
        /// Lamport time.
        ltime: u64,
        /// Name.
        name: String,
        /// Opaque bytes.
        payload: Vec<u8>,
        /// Who asks; empty if it does not say.
        source: String,
    },
    /// A member answered, or confirmed, the query of this ticket.
    QueryResponse {
        /// The ticket of [`Command::Query`].
        ticket: Ticket,
        /// Who.
        from: String,
        /// The answer; `None` for a confirmation.
        payload: Option<Vec<u8>>,
    },
    /// Two members claim one name, or one name two addresses.
    Conflict {
        /// The name.
        name: String,
        /// The member known so far.
        existing: SocketAddr,
        /// The one that claims its name.
        other: SocketAddr,
    },
    /// The keys changed: what is to be written to the keyring file, the first one in use.
    KeyringChanged(Vec<Vec<u8>>),
    /// Something an operator should see and nobody can help automatically; rate-limited.
    Warning(String),
}

/// Datagrams to be sent, their bytes in one buffer.
#[derive(Debug, Default)]
pub struct Packets {
    bytes: Vec<u8>,
    list: Vec<(SocketAddr, Range<usize>)>,
}

impl Packets {
    /// All of them, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (SocketAddr, &[u8])> {
        self.list.iter().map(|(to, range)| (*to, self.bytes.get(range.clone()).unwrap_or_default()))
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Adds a datagram that `write` appends to the buffer; the second argument of `write` is where it
    /// starts in the buffer.
    pub fn push_with(&mut self, to: SocketAddr, write: impl FnOnce(&mut Vec<u8>, usize)) {
        let start = self.bytes.len();
        write(&mut self.bytes, start);
        if self.bytes.len() > start {
            self.list.push((to, start..self.bytes.len()));
        }
    }

    /// Forgets all, keeps the room.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.list.clear();
    }
}

/// What a step asks its host to do, in any order. The host clears and reuses it.
#[derive(Debug, Default)]
pub struct Outputs {
    /// Datagrams to send.
    pub packets: Packets,
    /// Connections to open.
    pub exchanges: Vec<Exchange>,
    /// Streams to answer.
    pub replies: Vec<Reply>,
    /// What happened.
    pub events: Vec<Event>,
    /// Commands that ended.
    pub done: Vec<(Ticket, Result<Done, CommandError>)>,
    /// Lines to append to the snapshot file; complete lines, possibly several.
    pub snapshot: Vec<u8>,
    /// Whether `snapshot` is the whole file, to be written beside the old one and put in its place, instead
    /// of more lines for it. The file grew too long.
    pub snapshot_anew: bool,
}

impl Outputs {
    /// Forgets all, keeps the room.
    pub fn clear(&mut self) {
        self.packets.clear();
        self.exchanges.clear();
        self.replies.clear();
        self.events.clear();
        self.done.clear();
        self.snapshot.clear();
        self.snapshot_anew = false;
    }
}

/// Who may be in the pool; an agent's rules, such as that all are of one datacenter.
pub trait Admission: Send {
    /// Whether `candidate` may be among `members`. Asked for every member of the other side of a join and,
    /// for news of a member, when it is new or its tags differ from what is known.
    ///
    /// # Errors
    /// Why not; shown to operators on both sides.
    fn admit(&self, candidate: &Member, members: &mut dyn Iterator<Item = &Member>) -> Result<(), String>;

    /// Whether all of `candidates`, the other side of a join, may come among `members`. Asks for each by
    /// itself; rules that compare everybody with everybody do better with an index.
    ///
    /// # Errors
    /// Why not.
    fn admit_all(&self, candidates: &[Member], members: &[&Member]) -> Result<(), String> {
        for candidate in candidates {
            let others = candidates.iter().filter(|other| other.name != candidate.name);
            self.admit(candidate, &mut others.chain(members.iter().copied()))?;
        }
        Ok(())
    }
}

/// Everybody may.
#[derive(Debug, Clone, Copy, Default)]
pub struct Everybody;

impl Admission for Everybody {
    fn admit(&self, _: &Member, _: &mut dyn Iterator<Item = &Member>) -> Result<(), String> {
        Ok(())
    }
}
