//! What SWIM asks of the layer above, and what that layer may do meanwhile.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rand_chacha::ChaCha12Rng;

use super::table::{Entry, Node, Table};
use crate::gossip::effect::Outputs;
use crate::gossip::time::Moment;
use crate::gossip::wire::{Alive, PushPullNode};

/// What the layer above may see and do while it is called.
pub struct Context<'a> {
    /// Now.
    pub now: Moment,
    /// All members, as they are now.
    pub table: &'a Table,
    /// Chance.
    pub rng: &'a mut ChaCha12Rng,
    /// Events, finished commands and snapshot lines go here; packets do not, see [`Context::send`].
    pub out: &'a mut Outputs,
    /// User messages to be sent as datagrams of their own when the call returns: to whom, and the bytes.
    pub direct: &'a mut Vec<(SocketAddr, Vec<u8>)>,
}

impl Context<'_> {
    /// Sends a user message to one address, as a datagram of its own.
    pub fn send(&mut self, to: SocketAddr, bytes: Vec<u8>) {
        self.direct.push((to, bytes));
    }
}

/// The layer above.
///
/// SWIM calls it from within a step; it may not call back other than through [`Context`].
pub trait Delegate {
    /// A user message arrived, in a datagram or over a stream.
    fn user_message(&mut self, cx: &mut Context<'_>, from: SocketAddr, bytes: &[u8]);

    /// Whether there is something to spread. Cheap: asked at the end of every step.
    fn has_broadcasts(&self) -> bool;

    /// Gives out user messages to spread, most important first, as long as [`Sink::room`] holds one more.
    /// `members` is the size of the pool, which says how often each is given out.
    fn broadcasts(&mut self, members: usize, sink: &mut dyn Sink);

    /// Appends what a full exchange shall carry.
    fn local_state(&mut self, join: bool, out: &mut Vec<u8>);

    /// The other side's part of a full exchange, after its members were merged.
    fn merge_state(&mut self, cx: &mut Context<'_>, bytes: &[u8], join: bool);

    /// Appends what an answer to a ping shall carry.
    fn ack_payload(&mut self, out: &mut Vec<u8>);

    /// A probed member answered, after this long.
    fn acked(&mut self, cx: &mut Context<'_>, node: &Arc<Node>, rtt: Duration, payload: &[u8]);

    /// A member is new, or lives again.
    fn joined(&mut self, cx: &mut Context<'_>, entry: &Entry);

    /// A member is held dead, or said goodbye: `entry.state` says which.
    fn left(&mut self, cx: &mut Context<'_>, entry: &Entry);

    /// A living member's meta changed.
    fn updated(&mut self, cx: &mut Context<'_>, entry: &Entry);

    /// A member claims the name of another at a different address.
    fn conflict(&mut self, cx: &mut Context<'_>, existing: &Node, other: SocketAddr);

    /// Whether news of a member is accepted. Asked when it is unknown, dead or left, or its meta differs.
    ///
    /// # Errors
    /// Why not.
    fn admit(&mut self, cx: &mut Context<'_>, alive: &Alive<'_>) -> Result<(), String>;

    /// Whether the pools may become one. Asked for joins, before anything is merged.
    ///
    /// # Errors
    /// Why not.
    fn admit_all(&mut self, cx: &mut Context<'_>, nodes: &[PushPullNode]) -> Result<(), String>;
}

/// Takes messages into a packet that has room for so many bytes.
pub trait Sink {
    /// Longest message that still fits.
    fn room(&self) -> usize;

    /// Adds a message of at most [`Sink::room`] bytes.
    fn push(&mut self, message: &[u8]);
}

/// Nobody above: plain memberlist.
#[derive(Debug, Clone, Copy, Default)]
pub struct Nobody;

impl Delegate for Nobody {
    fn user_message(&mut self, _: &mut Context<'_>, _: SocketAddr, _: &[u8]) {}

    fn has_broadcasts(&self) -> bool {
        false
    }

    fn broadcasts(&mut self, _: usize, _: &mut dyn Sink) {}

    fn local_state(&mut self, _: bool, _: &mut Vec<u8>) {}

    fn merge_state(&mut self, _: &mut Context<'_>, _: &[u8], _: bool) {}

    fn ack_payload(&mut self, _: &mut Vec<u8>) {}

    fn acked(&mut self, _: &mut Context<'_>, _: &Arc<Node>, _: Duration, _: &[u8]) {}

    fn joined(&mut self, _: &mut Context<'_>, _: &Entry) {}

    fn left(&mut self, _: &mut Context<'_>, _: &Entry) {}

    fn updated(&mut self, _: &mut Context<'_>, _: &Entry) {}

    fn conflict(&mut self, _: &mut Context<'_>, _: &Node, _: SocketAddr) {}

    fn admit(&mut self, _: &mut Context<'_>, _: &Alive<'_>) -> Result<(), String> {
        Ok(())
    }

    fn admit_all(&mut self, _: &mut Context<'_>, _: &[PushPullNode]) -> Result<(), String> {
        Ok(())
    }
}
