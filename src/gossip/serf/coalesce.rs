//! Coalescing: of user events with the same name that come shortly after one another, the latest is enough,
//! if their senders say so.
//!
//! Source: Serf's user event coalescer, by its documented behaviour.

use std::collections::BTreeMap;
use std::time::Duration;

use super::clock::LTime;
use crate::gossip::time::Moment;

/// A user event that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Lamport time.
    pub ltime: LTime,
    /// Name.
    pub name: String,
    /// Opaque bytes.
    pub payload: Vec<u8>,
}

/// Holds user events back until a period is over.
#[derive(Debug)]
pub struct Coalescer {
    period: Duration,
    due: Moment,
    /// Of each name the latest time, and all payloads of that time.
    latest: BTreeMap<String, (LTime, Vec<Vec<u8>>)>,
}

impl Coalescer {
    /// Whose period begins with the first event and ends after `period`; zero holds nothing back.
    pub fn new(period: Duration) -> Self {
        Self { period, due: Moment::NEVER, latest: BTreeMap::new() }
    }

    /// Whether events are held back at all.
    pub fn is_on(&self) -> bool {
        !self.period.is_zero()
    }

    /// When [`Coalescer::flush`] is due.
    pub fn due(&self) -> Moment {
        self.due
    }

    /// Holds an event back; earlier ones of its name are dropped.
    pub fn put(&mut self, event: Waiting, now: Moment) {
        if self.latest.is_empty() {
            self.due = now + self.period;
        }
        let (ltime, payloads) = self.latest.entry(event.name).or_default();
        if event.ltime > *ltime {
            *ltime = event.ltime;
            payloads.clear();
        }
        if event.ltime == *ltime {
            payloads.push(event.payload);
        }
    }

    /// What was held back, if its time has come, in the order of Lamport times.
    pub fn flush(&mut self, now: Moment) -> Vec<Waiting> {
        if now < self.due {
            return Vec::new();
        }
        self.due = Moment::NEVER;
        let mut all = Vec::new();
        for (name, (ltime, payloads)) in std::mem::take(&mut self.latest) {
            all.extend(payloads.into_iter().map(|payload| Waiting { ltime, name: name.clone(), payload }));
        }
        all.sort_by_key(|event| event.ltime);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(ltime: LTime, name: &str, payload: &str) -> Waiting {
        Waiting { ltime, name: name.to_owned(), payload: payload.into() }
    }

    #[test]
    fn only_the_latest_of_a_name_is_given_out() {
        let mut held = Coalescer::new(Duration::from_secs(1));
        assert_eq!(held.due(), Moment::NEVER);
        held.put(event(3, "deploy", "old"), Moment(5));
        held.put(event(7, "deploy", "new"), Moment(6));
        held.put(event(5, "deploy", "late"), Moment(7));
        held.put(event(7, "deploy", "also new"), Moment(8));
        held.put(event(4, "restart", "x"), Moment(9));
        let due = Moment(5) + Duration::from_secs(1);
        assert_eq!(held.due(), due);
        assert_eq!(held.flush(Moment(due.0 - 1)), []);
        let given = held.flush(due);
        assert_eq!(
            given,
            [event(4, "restart", "x"), event(7, "deploy", "new"), event(7, "deploy", "also new")]
        );
        assert_eq!((held.due(), held.flush(due)), (Moment::NEVER, vec![]));
    }
}
