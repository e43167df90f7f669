//! Streams: those other members open, and the exchanges this pool asks for. Each is a task with a deadline.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::gossip::wire::{PushPullNode, StreamMessage, StreamReader, WireError};
use crate::gossip::{Exchange, ExchangeError, ExchangeId, StreamId};

/// Streams of other members at a time; memberlist's bound.
pub(super) const INCOMING: usize = 128;
/// Those of one address, so that one member cannot keep the others out.
const INCOMING_OF_ONE: usize = 64;
/// Exchanges of this pool at a time.
pub(super) const OUTGOING: usize = 128;
/// Most bytes that the streams of others may hold together, those of messages that nobody has looked at yet
/// included. Ten thousand members are some 3 MiB.
const HELD: usize = 256 << 20;
/// What is said of a stream beyond that.
const TOO_MUCH: &str = "streams hold too much memory together";
/// Bytes read at once.
const CHUNK: usize = 16 << 10;

/// What a task has for the actor.
#[derive(Debug)]
pub(super) enum News {
    /// A whole message of a stream. Without an answer the sender is dropped, and the stream closed.
    Request { stream: StreamId, from: SocketAddr, message: StreamMessage, reply: oneshot::Sender<Vec<u8>> },
    /// A stream was too slow or broken, or what came over it no message; the text is for the log.
    Dropped { from: SocketAddr, reason: String },
    /// An exchange has ended.
    Answer { exchange: ExchangeId, result: Result<StreamMessage, ExchangeError>, took: Duration },
}

/// The way from tasks to the actor. Every task sends once, and tasks are bounded, so it is too.
pub(super) type NewsSender = mpsc::UnboundedSender<News>;

/// Counts streams.
#[derive(Debug, Default, Clone)]
pub(super) struct Gate {
    inside: Rc<RefCell<HashMap<IpAddr, usize>>>,
    outgoing: Rc<RefCell<usize>>,
    held: Rc<Cell<usize>>,
}

/// One place among the incoming streams; free again when dropped.
#[derive(Debug)]
pub(super) struct Place {
    gate: Gate,
    ip: IpAddr,
    held: Cell<usize>,
}

impl Place {
    /// Takes account of more bytes; false if all streams together hold too much.
    fn hold(&self, bytes: usize) -> bool {
        let all = self.gate.held.get().saturating_add(bytes);
        if all > HELD {
            return false;
        }
        self.gate.held.set(all);
        self.held.set(self.held.get() + bytes);
        true
    }
}

/// One place among the exchanges.
#[derive(Debug)]
pub(super) struct Outgoing(Gate);

impl Gate {
    /// A place for a stream from there, if there is one.
    pub fn enter(&self, ip: IpAddr) -> Option<Place> {
        let mut inside = self.inside.borrow_mut();
        let all: usize = inside.values().sum();
        let of_one = inside.get(&ip).copied().unwrap_or(0);
        if all >= INCOMING || of_one >= INCOMING_OF_ONE {
            return None;
        }
        inside.insert(ip, of_one + 1);
        Some(Place { gate: self.clone(), ip, held: Cell::default() })
    }

    /// A place for an exchange, if there is one.
    pub fn leave(&self) -> Option<Outgoing> {
        let mut count = self.outgoing.borrow_mut();
        if *count >= OUTGOING {
            return None;
        }
        *count += 1;
        Some(Outgoing(self.clone()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.gate.held.set(self.gate.held.get().saturating_sub(self.held.get()));
        let mut inside = self.gate.inside.borrow_mut();
        if let Some(count) = inside.get_mut(&self.ip) {
            *count -= 1;
            if *count == 0 {
                inside.remove(&self.ip);
            }
        }
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        *self.0.outgoing.borrow_mut() -= 1;
    }
}

/// An error of the system in Go's words, which operators know from Consul: `connection refused`.
pub fn go_text(error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        return "EOF".to_owned();
    }
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => first.to_lowercase().chain(letters).collect(),
        None => String::new(),
    }
}

/// Why a stream gave no message.
enum Failed {
    Io(io::Error),
    TooMuch,
    Wire(WireError, Option<Vec<u8>>),
}

/// Reads one message. Those of strangers are held against their `place`; what this pool asked for is its own.
async fn read(
    stream: &mut (impl AsyncRead + Unpin),
    mut reader: StreamReader,
    place: Option<&Place>,
) -> Result<StreamMessage, Failed> {
    let hold =
        |bytes| if place.is_none_or(|place| place.hold(bytes)) { Ok(()) } else { Err(Failed::TooMuch) };
    let mut buffer = vec![0; CHUNK];
    loop {
        let length = stream.read(&mut buffer).await.map_err(Failed::Io)?;
        if length == 0 {
            return Err(Failed::Io(io::ErrorKind::UnexpectedEof.into()));
        }
        hold(length)?;
        match reader.push(buffer.get(..length).unwrap_or_default()) {
            Ok(Some(message)) => {
                hold(footprint(&message))?;
                return Ok(message);
            }
            Ok(None) => {}
            Err(error) => {
                let refusal = reader.refusal(&error, &mut rand::rng());
                return Err(Failed::Wire(error, refusal));
            }
        }
    }
}

/// What a message takes in memory, about: a small compressed stream may unfold to a million members.
fn footprint(message: &StreamMessage) -> usize {
    match message {
        StreamMessage::PushPull(all) => {
            let nodes = all.nodes.len() * size_of::<PushPullNode>();
            let bytes = all.nodes.iter().map(|node| node.name.len() + node.meta.len()).sum::<usize>();
            nodes + bytes + all.user_state.len()
        }
        StreamMessage::User(bytes) => bytes.len(),
        StreamMessage::Ping { .. } | StreamMessage::Ack { .. } | StreamMessage::Error(_) => 0,
    }
}

/// Serves a stream another member opened: reads one message, writes the answer if there is one.
pub(super) async fn serve(
    id: StreamId,
    from: SocketAddr,
    mut stream: TcpStream,
    reader: StreamReader,
    limit: Duration,
    news: NewsSender,
    place: Place,
) {
    // Whether it is said at once or with a delay matters more than how many packets it takes.
    let _ = stream.set_nodelay(true);
    // The actor may have gone; then nobody needs to know.
    let dropped = |reason: String| drop(news.send(News::Dropped { from, reason }));
    let message = match timeout(limit, read(&mut stream, reader, Some(&place))).await {
        Ok(Ok(message)) => message,
        Ok(Err(Failed::Wire(error, refusal))) => {
            if let Some(refusal) = refusal {
                let _ = timeout(limit, stream.write_all(&refusal)).await;
            }
            return dropped(error.to_string());
        }
        Ok(Err(Failed::Io(error))) => return dropped(go_text(&error)),
        Ok(Err(Failed::TooMuch)) => return dropped(TOO_MUCH.to_owned()),
        Err(_) => return dropped("i/o timeout".to_owned()),
    };
    let (reply, answer) = oneshot::channel();
    if news.send(News::Request { stream: id, from, message, reply }).is_err() {
        return;
    }
    let Ok(answer) = answer.await else { return };
    match timeout(limit, stream.write_all(&answer)).await {
        Ok(Ok(())) => drop(timeout(limit, stream.shutdown()).await),
        Ok(Err(error)) => dropped(go_text(&error)),
        Err(_) => dropped("i/o timeout".to_owned()),
    }
}

/// Carries out an exchange.
pub(super) async fn exchange(wanted: Exchange, reader: StreamReader, news: NewsSender, _place: Outgoing) {
    let Exchange { id, to, request, timeout: limit } = wanted;
    let begun = Instant::now();
    let talk = async {
        let dialled = TcpStream::connect(to).await;
        let mut stream = dialled
            .map_err(|error| ExchangeError::Io(format!("dial tcp {to}: connect: {}", go_text(&error))))?;
        let _ = stream.set_nodelay(true);
        let broken = |error: io::Error| ExchangeError::Io(go_text(&error));
        stream.write_all(&request).await.map_err(broken)?;
        read(&mut stream, reader, None).await.map_err(|failed| match failed {
            Failed::Io(error) => broken(error),
            Failed::TooMuch => ExchangeError::Io(TOO_MUCH.to_owned()),
            Failed::Wire(error, _) => ExchangeError::Wire(error),
        })
    };
    let result = timeout(limit, talk).await.unwrap_or(Err(ExchangeError::Timeout));
    // The actor may have gone; then nobody waits for it.
    let _ = news.send(News::Answer { exchange: id, result, took: begun.elapsed() });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_together_hold_a_bounded_amount() {
        let gate = Gate::default();
        let places: Vec<_> =
            (1..=4).map(|last| gate.enter(IpAddr::from([127, 0, 0, last])).expect("there is room")).collect();
        for place in &places {
            assert!(place.hold(HELD / 4));
        }
        assert!(!places[0].hold(1), "the fifth quarter is too much");
        drop(places);
        let next = gate.enter(IpAddr::from([127, 0, 0, 1])).expect("there is room");
        assert!(next.hold(HELD), "all is free again");
    }

    #[test]
    fn one_address_cannot_take_all_places() {
        let gate = Gate::default();
        let one = IpAddr::from([127, 0, 0, 1]);
        let taken: Vec<_> = std::iter::from_fn(|| gate.enter(one)).collect();
        assert_eq!(taken.len(), INCOMING_OF_ONE);
        assert!(gate.enter(IpAddr::from([127, 0, 0, 2])).is_some(), "others still find a place");
        drop(taken);
        assert!(gate.enter(one).is_some());
    }
}
