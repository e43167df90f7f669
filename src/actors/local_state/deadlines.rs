//! Moments by which something about a check is due: at most one per check, the next one found at once.
//!
//! Pure: moments are arguments.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

/// A moment per check id.
#[derive(Debug, Clone, Default)]
pub struct Deadlines {
    by_id: BTreeMap<Arc<str>, Instant>,
    by_time: BTreeSet<(Instant, Arc<str>)>,
}

impl Deadlines {
    /// Sets the moment of `id`, instead of the one it had.
    pub fn set(&mut self, id: &Arc<str>, at: Instant) {
        self.clear(id);
        self.by_id.insert(Arc::clone(id), at);
        self.by_time.insert((at, Arc::clone(id)));
    }

    /// Takes the moment of `id` away; true if it had one.
    pub fn clear(&mut self, id: &str) -> bool {
        let Some((id, at)) = self.by_id.remove_entry(id) else { return false };
        self.by_time.remove(&(at, id));
        true
    }

    /// `id` has a moment.
    pub fn contains(&self, id: &str) -> bool {
        self.by_id.contains_key(id)
    }

    /// The next moment.
    pub fn next(&self) -> Option<Instant> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// Takes out one id whose moment is not after `now`.
    pub fn take_due(&mut self, now: Instant) -> Option<Arc<str>> {
        let (at, _) = self.by_time.first()?;
        if *at > now {
            return None;
        }
        let (_, id) = self.by_time.pop_first()?;
        self.by_id.remove(&id);
        Some(id)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn one_moment_each_in_order() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        let mut deadlines = Deadlines::default();
        deadlines.set(&a, at(5));
        deadlines.set(&b, at(3));
        deadlines.set(&a, at(2));
        assert_eq!(deadlines.next(), Some(at(2)));
        assert_eq!(deadlines.take_due(at(1)), None);
        assert_eq!(deadlines.take_due(at(2)), Some(a));
        assert!(deadlines.contains("b"));
        assert!(deadlines.clear("b"));
        assert!(!deadlines.clear("b"));
        assert_eq!(deadlines.next(), None);
    }
}
