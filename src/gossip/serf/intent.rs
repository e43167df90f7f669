//! Intents: what was said about the coming and going of members, with the time it was said at.
//!
//! An intent may arrive before its member does. It is then kept for a while, the newest one of each name.
//!
//! Source: section 7.3 of the project's notes on the gossip wire.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::clock::LTime;
use crate::gossip::time::Moment;

/// Most names that are remembered; the oldest gives way. Strangers can make names up as fast as they can send.
const MOST: usize = 16_384;

/// What was said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Intent {
    /// It is here.
    Join,
    /// It goes.
    Leave,
}

#[derive(Debug, Clone, Copy)]
struct Kept {
    intent: Intent,
    ltime: LTime,
    at: Moment,
}

/// Intents about members nobody has seen yet.
#[derive(Debug, Default)]
pub struct Recent {
    by_name: BTreeMap<String, Kept>,
    by_age: BTreeSet<(Moment, String)>,
}

impl Recent {
    /// Remembers an intent; says whether it was news: the first, or newer than what was known.
    pub fn put(&mut self, name: &str, intent: Intent, ltime: LTime, now: Moment) -> bool {
        if let Some(old) = self.by_name.get_mut(name) {
            if ltime <= old.ltime {
                return false;
            }
            self.by_age.remove(&(old.at, name.to_owned()));
            *old = Kept { intent, ltime, at: now };
        } else {
            if self.by_name.len() >= MOST
                && let Some((_, oldest)) = self.by_age.pop_first()
            {
                self.by_name.remove(&oldest);
            }
            self.by_name.insert(name.to_owned(), Kept { intent, ltime, at: now });
        }
        self.by_age.insert((now, name.to_owned()));
        true
    }

    /// What was said last about this name.
    pub fn get(&self, name: &str) -> Option<(Intent, LTime)> {
        self.by_name.get(name).map(|kept| (kept.intent, kept.ltime))
    }

    /// Forgets what is older than `age`.
    pub fn expire(&mut self, now: Moment, age: Duration) {
        while let Some((at, _)) = self.by_age.first() {
            if now.since(*at) <= age {
                return;
            }
            if let Some((_, name)) = self.by_age.pop_first() {
                self.by_name.remove(&name);
            }
        }
    }

    /// How many names are remembered.
    #[cfg(test)]
    fn len(&self) -> usize {
        assert_eq!(self.by_name.len(), self.by_age.len());
        self.by_name.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn the_newest_intent_of_a_name_is_kept() {
        let mut recent = Recent::default();
        assert!(recent.put("a", Intent::Leave, 5, Moment(0)));
        assert!(!recent.put("a", Intent::Join, 5, Moment(0)), "as old as what is known");
        assert!(!recent.put("a", Intent::Join, 4, Moment(0)));
        assert_eq!(recent.get("a"), Some((Intent::Leave, 5)));
        assert!(recent.put("a", Intent::Join, 6, Moment(0)));
        assert_eq!(recent.get("a"), Some((Intent::Join, 6)));
        assert_eq!(recent.get("b"), None);
    }

    #[test]
    fn intents_are_forgotten_with_age() {
        let mut recent = Recent::default();
        recent.put("a", Intent::Leave, 1, Moment(0));
        recent.put("b", Intent::Leave, 1, Moment(0) + MINUTE);
        recent.put("a", Intent::Join, 2, Moment(0) + MINUTE * 3);
        recent.expire(Moment(0) + MINUTE * 6, MINUTE * 5);
        assert_eq!((recent.get("a").is_some(), recent.get("b").is_some()), (true, true));
        recent.expire(Moment(0) + MINUTE * 7, MINUTE * 5);
        assert_eq!((recent.get("a").is_some(), recent.get("b").is_some()), (true, false));
    }

    #[test]
    fn a_flood_of_names_is_bounded() {
        let mut recent = Recent::default();
        for n in 0..MOST as u64 + 100 {
            recent.put(&n.to_string(), Intent::Join, 1, Moment(n));
        }
        assert_eq!(recent.len(), MOST);
        assert_eq!(recent.get("99"), None);
        assert!(recent.get("100").is_some());
    }

    proptest! {
        #[test]
        fn any_order_of_intents_ends_the_same(said in prop::collection::vec(any::<bool>(), 1..12), seed: u64) {
            let all: Vec<_> = said.iter().zip(1_u64..).collect();
            let mut shuffled = all.clone();
            shuffled.sort_by_key(|(_, ltime)| ltime.wrapping_mul(seed | 1).rotate_left(17));
            let mut recent = Recent::default();
            for (join, ltime) in &shuffled {
                recent.put("x", if **join { Intent::Join } else { Intent::Leave }, *ltime, Moment(0));
            }
            let (last, ltime) = all.last().map_or((true, 0), |(join, ltime)| (**join, *ltime));
            prop_assert_eq!(recent.get("x"), Some((if last { Intent::Join } else { Intent::Leave }, ltime)));
        }
    }
}
