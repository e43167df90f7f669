//! One connection: queries with their length in front, in any pieces and as many at once as the client likes;
//! replies in the order in which they are ready.
//!
//! A connection that waits holds its socket and its task, no buffers: what arrives is read into the
//! thread's buffer and answered from there. Only a query that has not arrived whole and replies that
//! the client does not read are kept, and all connections together may keep so much and no more.

use std::future::{Future, pending};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use rand::rngs::SmallRng;
use tokio::net::TcpStream;
use tokio::time::sleep_until;

use super::resolver::{Resolved, Resolver, new_rng};
use super::tls::Certificates;
use super::wire::Wire;
use super::{StreamLimits, log, with_scratch};
use crate::dns::Transport;

/// Queries of one connection that may wait for recursors; while there are so many, no more are read.
const MAX_WAITING: usize = 16;
/// Replies gathered before they are written.
const WRITE_SIZE: usize = 64 << 10;

/// What all connections share.
pub struct Room {
    resolver: Arc<Resolver>,
    certificates: Arc<Certificates>,
    limits: StreamLimits,
    tcp: AtomicUsize,
    tls: AtomicUsize,
    held: AtomicUsize,
}

impl Room {
    /// An empty room.
    pub fn new(resolver: Arc<Resolver>, certificates: Arc<Certificates>, limits: StreamLimits) -> Arc<Self> {
        let none = AtomicUsize::default;
        Arc::new(Self { resolver, certificates, limits, tcp: none(), tls: none(), held: none() })
    }

    /// What TLS is served with.
    pub fn certificates(&self) -> &Certificates {
        &self.certificates
    }

    /// Open connections.
    pub fn connections(&self) -> usize {
        self.tcp.load(Ordering::Relaxed) + self.tls.load(Ordering::Relaxed)
    }

    /// Bytes that connections hold.
    #[cfg(test)]
    pub fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// A place for one more connection; none when all are taken.
    pub fn enter(self: &Arc<Self>, tls: bool) -> Option<Place> {
        let place = Place { room: Arc::clone(self), tls, held: 0 };
        let (count, limit) = place.count();
        (count.fetch_add(1, Ordering::Relaxed) < limit).then_some(place)
    }
}

/// A connection's place, and what it holds of the memory that all share. Given back when dropped.
pub struct Place {
    room: Arc<Room>,
    tls: bool,
    held: usize,
}

impl Place {
    fn count(&self) -> (&AtomicUsize, usize) {
        if self.tls { (&self.room.tls, self.room.limits.tls) } else { (&self.room.tcp, self.room.limits.tcp) }
    }

    /// Holds so many bytes from now on; false when that is more than there is for all.
    fn hold(&mut self, bytes: usize) -> bool {
        let before = std::mem::replace(&mut self.held, bytes);
        if bytes <= before {
            self.room.held.fetch_sub(before - bytes, Ordering::Relaxed);
            return true;
        }
        let more = bytes - before;
        self.room.held.fetch_add(more, Ordering::Relaxed) + more <= self.room.limits.held_bytes
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.count().0.fetch_sub(1, Ordering::Relaxed);
        self.room.held.fetch_sub(self.held, Ordering::Relaxed);
    }
}

/// Serves a connection to its end.
pub async fn serve(stream: TcpStream, client: SocketAddr, wire: Wire, place: Place) {
    let mut connection =
        Connection { stream, client, wire, place, input: Vec::new(), output: Vec::new(), waiting: None };
    let ended = connection.run().await;
    if let Err(error) = ended {
        tracing::debug!(%client, %error, "DNS connection ended");
    }
    connection.wire.close(&connection.stream);
}

type Reply = Pin<Box<dyn Future<Output = Option<Vec<u8>>> + Send>>;

struct Connection {
    stream: TcpStream,
    client: SocketAddr,
    wire: Wire,
    place: Place,
    /// Read, but not yet a whole query, or not to be answered before `output` is gone.
    input: Vec<u8>,
    /// Replies that the client has not taken yet.
    output: Vec<u8>,
    /// Queries that wait for recursors. Most connections never have one.
    waiting: Option<Box<FuturesUnordered<Reply>>>,
}

/// What a connection has waited for.
enum Event {
    Readable,
    Writable,
    Reply(Option<Vec<u8>>),
    Deadline,
}

impl Connection {
    async fn run(&mut self) -> io::Result<()> {
        let idle = self.place.room.limits.idle;
        let mut deadline = tokio::time::Instant::now() + idle;
        let (mut ended, mut blocked) = (false, false);
        loop {
            let was_blocked = std::mem::replace(&mut blocked, self.write()?);
            if was_blocked && !blocked {
                deadline = tokio::time::Instant::now() + idle;
            }
            if !blocked && self.answer_input() {
                deadline = tokio::time::Instant::now() + idle;
                continue;
            }
            if !self.place.hold(self.input.capacity() + self.output.capacity()) {
                return Err(io::Error::other("connections hold too much unfinished work"));
            }
            let waiting = self.waiting.as_ref().map_or(0, |waiting| waiting.len());
            if ended && !blocked && waiting == 0 {
                return Ok(());
            }
            match self.wait(blocked, ended, waiting, deadline).await? {
                Event::Deadline => return Ok(()),
                Event::Writable => {}
                Event::Reply(reply) => {
                    deadline = tokio::time::Instant::now() + idle;
                    if let Some(reply) = reply {
                        push_reply(&mut self.output, &reply);
                    }
                }
                Event::Readable => match self.read() {
                    Ok((bytes, answered)) => {
                        ended = bytes == 0;
                        if answered {
                            deadline = tokio::time::Instant::now() + idle;
                        }
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error),
                },
            }
        }
    }

    /// Waits for whatever this connection can go on with.
    async fn wait(
        &mut self,
        blocked: bool,
        ended: bool,
        waiting: usize,
        deadline: tokio::time::Instant,
    ) -> io::Result<Event> {
        let Self { stream, waiting: replies, .. } = self;
        let reply = async {
            match replies {
                Some(replies) if waiting > 0 => replies.next().await.flatten(),
                _ => pending().await,
            }
        };
        tokio::select! {
            ready = stream.writable(), if blocked => ready.map(|()| Event::Writable),
            ready = stream.readable(), if !blocked && !ended && waiting < MAX_WAITING => ready.map(|()| Event::Readable),
            reply = reply => Ok(Event::Reply(reply)),
            // Recursors have deadlines of their own.
            () = sleep_until(deadline), if blocked || waiting == 0 => Ok(Event::Deadline),
        }
    }

    /// Reads what is there and answers the queries that are complete. Says how many bytes there were, and
    /// whether a query was among them.
    fn read(&mut self) -> io::Result<(usize, bool)> {
        with_scratch(|scratch| {
            let length = self.wire.read(&self.stream, scratch)?;
            let fresh = scratch.get(..length).unwrap_or_default();
            if !self.input.is_empty() {
                self.input.extend_from_slice(fresh);
                return Ok((length, self.answer_input()));
            }
            let used = self.answer(fresh);
            self.input.extend_from_slice(fresh.get(used..).unwrap_or_default());
            Ok((length, used > 0))
        })
    }

    /// Answers complete queries that were kept; whether there was one.
    fn answer_input(&mut self) -> bool {
        if self.input.is_empty() {
            return false;
        }
        let mut input = std::mem::take(&mut self.input);
        let used = self.answer(&input);
        if used < input.len() {
            if used > 0 {
                input.drain(..used);
                input.shrink_to(input.len());
            }
            self.input = input;
        }
        used > 0
    }

    /// Answers the queries at the beginning of `bytes`, as long as their replies are taken; says how many
    /// bytes they were.
    fn answer(&mut self, bytes: &[u8]) -> usize {
        let mut rng = None;
        let mut used = 0;
        let mut reply = Vec::new();
        while self.output.len() < WRITE_SIZE
            && self.waiting.as_ref().is_none_or(|waiting| waiting.len() < MAX_WAITING)
        {
            let Some((query, rest)) = next_query(bytes.get(used..).unwrap_or_default()) else { break };
            self.answer_one(query, rng.get_or_insert_with(new_rng), &mut reply);
            used = bytes.len() - rest.len();
        }
        used
    }

    fn answer_one(&mut self, query: &[u8], rng: &mut SmallRng, reply: &mut Vec<u8>) {
        let begun = log::wanted().then(Instant::now);
        match self.place.room.resolver.resolve(query, Transport::Tcp, rng, reply) {
            Resolved::Reply => {
                push_reply(&mut self.output, reply);
                if let Some(begun) = begun {
                    log::served(query, Some(self.client), self.wire.network(), begun);
                }
            }
            Resolved::Drop => {}
            Resolved::Later(later) => {
                let (client, network) = (self.client, self.wire.network());
                self.waiting.get_or_insert_default().push(Box::pin(async move {
                    let query = begun.map(|_| later.query().to_vec());
                    let reply = later.reply().await;
                    if let (Some(query), Some(begun)) = (query, begun) {
                        log::served(&query, Some(client), network, begun);
                    }
                    reply
                }));
            }
        }
    }

    /// Writes what is to be written; whether the client has to read before the rest can go.
    fn write(&mut self) -> io::Result<bool> {
        let mut written = 0;
        let blocked = loop {
            let rest = self.output.get(written..).unwrap_or_default();
            let result = match rest {
                [] => self.wire.flush(&self.stream).map(|()| 0),
                rest => self.wire.write(&self.stream, rest),
            };
            match result {
                Ok(0) => break false,
                Ok(count) => written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break true,
                Err(error) => return Err(error),
            }
        };
        if written == self.output.len() {
            self.output = Vec::new();
        } else {
            self.output.drain(..written);
        }
        Ok(blocked)
    }
}

/// Splits off the first query, if it is there whole.
fn next_query(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}

fn push_reply(output: &mut Vec<u8>, reply: &[u8]) {
    // What is longer cannot be said over a stream; nothing that answers makes such replies.
    if let Ok(length) = u16::try_from(reply.len()) {
        output.reserve_exact(2 + reply.len());
        output.extend_from_slice(&length.to_be_bytes());
        output.extend_from_slice(reply);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_come_in_any_pieces() {
        assert_eq!(next_query(&[]), None);
        assert_eq!(next_query(&[0]), None);
        assert_eq!(next_query(&[0, 2, 7]), None);
        assert_eq!(next_query(&[0, 2, 7, 8, 9]), Some((&[7, 8][..], &[9][..])));
        assert_eq!(next_query(&[0, 0, 1]), Some((&[][..], &[1][..])), "an empty one");
    }
}
