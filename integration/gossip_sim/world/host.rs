//! What a world needs of the nodes in it, and what it hears from them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use tribune::gossip::swim::Table;
use tribune::gossip::wire::{StreamMessage, StreamReader};
use tribune::gossip::{
    CommandError, Done, Event, ExchangeError, ExchangeId, Input, Moment, Outputs, Pool, StreamId, Ticket,
};

/// Port of every node.
const PORT: u16 = 7_946;
/// The address of the first one.
const FIRST: u32 = u32::from_be_bytes([10, 0, 0, 0]);

/// Something a node told the one who runs it. Members are numbers.
#[derive(Debug, Clone, PartialEq)]
pub enum Note {
    Joined(usize),
    Updated(usize),
    Failed(usize),
    Left(usize),
    Reaped(usize),
    /// A user event, by the number in its name.
    Heard(usize),
    Done(Ticket, Result<Done, CommandError>),
    /// Anything else that matters to operators.
    Other(Event),
}

/// A protocol stack under test.
pub trait Host {
    fn packet(&mut self, now: Moment, from: SocketAddr, data: &mut [u8], out: &mut Outputs);
    fn request(
        &mut self,
        now: Moment,
        stream: StreamId,
        from: SocketAddr,
        message: StreamMessage,
        out: &mut Outputs,
    );
    fn answer(
        &mut self,
        now: Moment,
        exchange: ExchangeId,
        result: Result<StreamMessage, ExchangeError>,
        out: &mut Outputs,
    );
    fn tick(&mut self, now: Moment, out: &mut Outputs);
    fn deadline(&self) -> Moment;
    fn stream_reader(&self) -> StreamReader;
    fn table(&self) -> &Table;
    /// Moves what happened out of the node and its outputs.
    fn take_notes(&mut self, out: &mut Outputs, notes: &mut Vec<Note>);
}

/// The name of a node.
pub fn name(node: usize) -> String {
    format!("node-{node:05}")
}

/// The node of a name.
pub fn numbered(name: &[u8]) -> usize {
    let digits = name.strip_prefix(b"node-").expect("all names are made here");
    digits.iter().fold(0, |number, digit| number * 10 + usize::from(digit - b'0'))
}

/// The address of a node.
pub fn addr(node: usize) -> SocketAddr {
    let ip = FIRST + u32::try_from(node).expect("worlds are not that large");
    SocketAddr::new(IpAddr::V4(Ipv4Addr::from(ip)), PORT)
}

/// The node of an address.
pub fn located(addr: SocketAddr) -> usize {
    match addr.ip() {
        IpAddr::V4(ip) => (u32::from(ip) - FIRST) as usize,
        IpAddr::V6(ip) => panic!("nobody lives at {ip}"),
    }
}

impl Host for Pool {
    fn packet(&mut self, now: Moment, from: SocketAddr, data: &mut [u8], out: &mut Outputs) {
        self.step(now, Input::Packet { from, data }, out);
    }

    fn request(
        &mut self,
        now: Moment,
        stream: StreamId,
        from: SocketAddr,
        message: StreamMessage,
        out: &mut Outputs,
    ) {
        self.step(now, Input::Request { stream, from, message }, out);
    }

    fn answer(
        &mut self,
        now: Moment,
        exchange: ExchangeId,
        result: Result<StreamMessage, ExchangeError>,
        out: &mut Outputs,
    ) {
        self.step(now, Input::Answer { exchange, result }, out);
    }

    fn tick(&mut self, now: Moment, out: &mut Outputs) {
        self.step(now, Input::Tick, out);
    }

    fn deadline(&self) -> Moment {
        self.deadline()
    }

    fn stream_reader(&self) -> StreamReader {
        self.stream_reader()
    }

    fn table(&self) -> &Table {
        self.table()
    }

    fn take_notes(&mut self, out: &mut Outputs, notes: &mut Vec<Note>) {
        let number = |name: &str| numbered(name.as_bytes());
        notes.extend(out.events.drain(..).map(|event| match event {
            Event::Joined(member) => Note::Joined(number(&member.name)),
            Event::Updated(member) => Note::Updated(number(&member.name)),
            Event::Failed(member) => Note::Failed(number(&member.name)),
            Event::Left(member) => Note::Left(number(&member.name)),
            Event::Reaped(member) => Note::Reaped(number(&member.name)),
            Event::User { name, .. } => Note::Heard(name.parse().expect("events are numbered")),
            other => Note::Other(other),
        }));
        notes.extend(out.done.drain(..).map(|(ticket, result)| Note::Done(ticket, result)));
    }
}
