//! Serf's part of a full exchange: clocks, who stands how, and the events of late.

use super::{kind, strings};
use crate::gossip::wire::WireError;
use crate::gossip::wire::msgpack::{Reader, Writer};
use crate::gossip::wire::stream::MAX_NODES;

/// Slots of the ring of events, as everybody has it; an event of time `t` lies in slot `t` mod this.
pub const EVENT_SLOTS: usize = 512;
/// Most events that are read.
const MAX_EVENTS: usize = 1 << 16;

/// Everything Serf knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SerfState<'a> {
    /// The members' clock.
    pub ltime: u64,
    /// Members and the Lamport times of their statuses, in any order.
    pub status_ltimes: Vec<(&'a [u8], u64)>,
    /// Which of them left.
    pub left_members: Vec<&'a [u8]>,
    /// The events' clock.
    pub event_ltime: u64,
    /// The events of late; written into their slots, read in the order of the slots.
    pub events: Vec<StoredEvents<'a>>,
    /// How many slots are written, or were there. [`EVENT_SLOTS`]; 0 is allowed and shorter.
    pub event_slots: usize,
    /// The queries' clock.
    pub query_ltime: u64,
}

/// The events of one Lamport time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEvents<'a> {
    /// Lamport time of the events' clock.
    pub ltime: u64,
    /// The events, at least one.
    pub events: Vec<StoredEvent<'a>>,
}

/// An event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredEvent<'a> {
    /// Name.
    pub name: &'a [u8],
    /// Opaque bytes; `None` is nil on the wire and means the same as empty.
    pub payload: Option<&'a [u8]>,
}

impl<'a> SerfState<'a> {
    pub(super) fn decode(body: &'a [u8]) -> Result<Self, WireError> {
        let mut state = Self {
            ltime: 0,
            status_ltimes: Vec::new(),
            left_members: Vec::new(),
            event_ltime: 0,
            events: Vec::new(),
            event_slots: 0,
            query_ltime: 0,
        };
        let names: [&[u8]; 6] =
            [b"LTime", b"StatusLTimes", b"LeftMembers", b"EventLTime", b"Events", b"QueryLTime"];
        Reader::new(body).structure(&names, |key, value| {
            match key {
                b"LTime" => state.ltime = value.number()?,
                b"StatusLTimes" => state.status_ltimes = read_ltimes(value)?,
                b"LeftMembers" => state.left_members = strings(value, "number of left members", MAX_NODES)?,
                b"EventLTime" => state.event_ltime = value.number()?,
                b"Events" => (state.event_slots, state.events) = read_events(value)?,
                b"QueryLTime" => state.query_ltime = value.number()?,
                _ => value.skip()?,
            }
            Ok(())
        })?;
        Ok(state)
    }

    /// Appends it, type byte first.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(kind::PUSH_PULL);
        let mut writer = Writer::new(out);
        writer.map(6).raw(b"EventLTime").unsigned(self.event_ltime).raw(b"Events").array(self.event_slots);
        let mut slots: Vec<Option<&StoredEvents<'_>>> = vec![None; self.event_slots];
        for events in &self.events {
            let slot = usize::try_from(events.ltime).ok().and_then(|at| at.checked_rem(self.event_slots));
            if let Some(slot) = slot.and_then(|at| slots.get_mut(at)) {
                *slot = Some(events);
            }
        }
        for slot in slots {
            match slot {
                Some(events) => events.encode(&mut writer),
                None => _ = writer.nil(),
            }
        }
        writer.raw(b"LTime").unsigned(self.ltime).raw(b"LeftMembers").array(self.left_members.len());
        for name in &self.left_members {
            writer.raw(name);
        }
        writer.raw(b"QueryLTime").unsigned(self.query_ltime);
        writer.raw(b"StatusLTimes").map(self.status_ltimes.len());
        for (name, ltime) in &self.status_ltimes {
            writer.raw(name).unsigned(*ltime);
        }
    }
}

fn read_ltimes<'a>(reader: &mut Reader<'a>) -> Result<Vec<(&'a [u8], u64)>, WireError> {
    let size = reader.map()?;
    if size > MAX_NODES {
        return Err(WireError::TooLarge { what: "number of members", size, limit: MAX_NODES });
    }
    let mut ltimes = Vec::new();
    for _ in 0..size {
        ltimes.push((reader.text()?, reader.number()?));
    }
    Ok(ltimes)
}

/// How many slots there are, and what lies in those that are not empty.
fn read_events<'a>(reader: &mut Reader<'a>) -> Result<(usize, Vec<StoredEvents<'a>>), WireError> {
    let slots = reader.array()?;
    let (mut all, mut total) = (Vec::new(), 0);
    for _ in 0..slots {
        if reader.nil() {
            continue;
        }
        let mut stored = StoredEvents { ltime: 0, events: Vec::new() };
        reader.structure(&[b"LTime", b"Events"], |key, value| {
            match key {
                b"LTime" => stored.ltime = value.number()?,
                b"Events" => {
                    for _ in 0..value.array()? {
                        total += 1;
                        if total > MAX_EVENTS {
                            let (size, limit) = (total, MAX_EVENTS);
                            return Err(WireError::TooLarge { what: "number of events", size, limit });
                        }
                        stored.events.push(StoredEvent::decode(value)?);
                    }
                }
                _ => value.skip()?,
            }
            Ok(())
        })?;
        if !stored.events.is_empty() {
            all.push(stored);
        }
    }
    Ok((slots, all))
}

impl StoredEvents<'_> {
    fn encode(&self, writer: &mut Writer<'_>) {
        writer.map(2).raw(b"Events").array(self.events.len());
        for event in &self.events {
            writer.map(2).raw(b"Name").raw(event.name).raw(b"Payload").optional(event.payload);
        }
        writer.raw(b"LTime").unsigned(self.ltime);
    }
}

impl<'a> StoredEvent<'a> {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, WireError> {
        let mut event = Self { name: &[], payload: None };
        reader.structure(&[b"Name", b"Payload"], |key, value| {
            match key {
                b"Name" => event.name = value.text()?,
                b"Payload" => event.payload = value.bytes()?,
                _ => value.skip()?,
            }
            Ok(())
        })?;
        Ok(event)
    }
}
