//! User events: told to everybody once.
//!
//! Source: section 7.5 of the project's notes on the gossip wire.

use bytes::Bytes;

use super::clock::LTime;
use super::coalesce::Waiting;
use super::layer::{Layer, Urgency};
use super::window::Heard;
use crate::gossip::effect::{CommandError, Event};
use crate::gossip::swim::Context;
use crate::gossip::wire::serf::{StoredEvent, UserEvent};

/// No configuration allows longer ones.
const MOST: usize = 9 * 1_024;
/// What an event costs besides its bytes. So that full exchanges carry no more of them than their readers take.
const OVERHEAD: usize = 256;

/// A user event as it is remembered.
#[derive(Debug)]
pub(super) struct HeardEvent {
    /// Name and payload.
    bytes: Box<[u8]>,
    name: u32,
}

impl HeardEvent {
    fn new(name: &[u8], payload: &[u8]) -> Self {
        Self { bytes: [name, payload].concat().into(), name: u32::try_from(name.len()).unwrap_or(u32::MAX) }
    }

    pub(super) fn name(&self) -> &[u8] {
        self.bytes.get(..self.name as usize).unwrap_or_default()
    }

    /// `None` for an empty one: that is what stock agents send.
    pub(super) fn payload(&self) -> Option<&[u8]> {
        self.bytes.get(self.name as usize..).filter(|payload| !payload.is_empty())
    }

    fn is(&self, name: &[u8], payload: &[u8]) -> bool {
        self.name() == name && self.payload().unwrap_or_default() == payload
    }
}

impl Layer {
    /// A user event was heard. Returns whether it is to be told on.
    pub(super) fn hear_event(&mut self, cx: &mut Context<'_>, event: &UserEvent<'_>) -> bool {
        let (ltime, name) = (event.ltime, event.name);
        let payload = event.payload.unwrap_or_default();
        let heard = self.events.hear(
            &mut self.event_clock,
            ltime,
            |other| other.is(name, payload),
            || HeardEvent::new(name, payload),
            |event| event.bytes.len() + OVERHEAD,
        );
        match heard {
            Heard::Repeat => self.stats.repeated_events += 1,
            Heard::Old => self.stats.old_events += 1,
            Heard::News => {
                self.stats.events += 1;
                let name = String::from_utf8_lossy(name).into_owned();
                let coalesce = event.coalesce;
                let event = Waiting { ltime, name, payload: payload.to_vec() };
                if coalesce && self.coalescer.is_on() {
                    self.coalescer.put(event, cx.now);
                } else {
                    Self::give_out(cx, event, coalesce);
                }
            }
        }
        heard == Heard::News
    }

    /// An event that another member remembers.
    pub(super) fn merge_event(&mut self, cx: &mut Context<'_>, ltime: LTime, event: &StoredEvent<'_>) {
        let event = UserEvent { ltime, name: event.name, payload: event.payload, coalesce: false };
        self.hear_event(cx, &event);
    }

    /// Tells the host.
    pub(super) fn give_out(cx: &mut Context<'_>, event: Waiting, coalesce: bool) {
        let Waiting { ltime, name, payload } = event;
        cx.out.events.push(Event::User { ltime, name, payload, coalesce });
    }

    /// Tells everybody. Returns the Lamport time of the event.
    pub(super) fn fire(
        &mut self,
        cx: &mut Context<'_>,
        name: &str,
        payload: &[u8],
        coalesce: bool,
    ) -> Result<LTime, CommandError> {
        let limit = self.config.user_event_size.min(MOST);
        if name.len() + payload.len() > limit {
            return Err(CommandError::EventTooLarge { limit });
        }
        let payload = Some(payload).filter(|payload| !payload.is_empty());
        let ltime = self.event_clock.time();
        let event = UserEvent { ltime, name: name.as_bytes(), payload, coalesce };
        let mut message = Vec::new();
        event.encode(&mut message);
        if message.len() > limit {
            return Err(CommandError::EncodedEventTooLarge { limit });
        }
        self.hear_event(cx, &event);
        self.spread(Urgency::Event, Bytes::from(message));
        Ok(ltime)
    }
}
