//! Members under suspicion, and how long each may take to object.
//!
//! Source: Lifeguard's "dynamic suspicion timeouts": the wait starts long and shortens with every further
//! member that accuses too, so that one confused member alone cannot bury anybody soon.

use std::collections::BTreeSet;
use std::time::Duration;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use smallvec::SmallVec;

use super::table::{Name, hash};
use crate::gossip::config::SwimConfig;
use crate::gossip::time::Moment;

/// How long suspicions last in a pool of a certain size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Terms {
    /// After this many further accusers the wait is the shortest.
    pub(super) confirmations: u32,
    /// The shortest wait.
    pub(super) min: Duration,
    /// The wait with one accuser alone.
    pub(super) max: Duration,
}

impl Terms {
    /// Those of a pool of `members`.
    pub(super) fn new(config: &SwimConfig, members: usize) -> Self {
        // Two fewer than the multiplier: accusers know nothing of each other's phase, and two probe
        // intervals are lost on average before the last of them notices.
        let mut confirmations = config.suspicion_mult.saturating_sub(2);
        // Neither the accuser nor the accused confirms.
        if members < confirmations as usize + 2 {
            confirmations = 0;
        }
        let min = shortest(config.suspicion_mult, members, config.probe_interval);
        let max = min.saturating_mul(config.suspicion_max_timeout_mult);
        Self { confirmations, min, max }
    }

    /// The wait after so many further accusers.
    fn wait(&self, confirmed: u32) -> Duration {
        if self.confirmations == 0 {
            return self.min;
        }
        let share = f64::from(confirmed + 1).ln() / f64::from(self.confirmations + 1).ln();
        let (min, max) = (self.min.as_secs_f64(), self.max.as_secs_f64());
        let millis = ((max - share * (max - min)) * 1000.0).floor().max(0.0);
        Duration::try_from_secs_f64(millis / 1000.0).unwrap_or(self.max).max(self.min)
    }
}

/// `mult * max(1, log10(n)) * interval`, the logarithm to three places.
fn shortest(mult: u32, members: usize, interval: Duration) -> Duration {
    let members = f64::from(u32::try_from(members).unwrap_or(u32::MAX));
    let scale = Duration::from_secs_f64(members.max(1.0).log10().max(1.0));
    let thousandths = u32::try_from(scale.as_millis()).unwrap_or(u32::MAX);
    interval.saturating_mul(mult).saturating_mul(thousandths) / 1000
}

/// One member under suspicion.
#[derive(Debug)]
struct Suspicion {
    started: Moment,
    due: Moment,
    terms: Terms,
    /// Hashes of those who accuse, the first one included: names may be long and are chosen by strangers.
    accusers: SmallVec<[u64; 4]>,
}

/// All members under suspicion: at most one suspicion for each member of the table.
#[derive(Debug)]
pub(super) struct Suspicions {
    by_name: HashMap<Name, Suspicion, FixedState>,
    due: BTreeSet<(Moment, Name)>,
    key: u64,
}

impl Suspicions {
    /// None yet.
    pub(super) fn new(key: u64) -> Self {
        Self { by_name: HashMap::with_hasher(FixedState::with_seed(key)), due: BTreeSet::new(), key }
    }

    /// Starts to suspect a member, unless it already is under suspicion.
    pub(super) fn start(&mut self, now: Moment, name: &Name, from: &[u8], terms: Terms) {
        if self.by_name.contains_key(name) {
            return;
        }
        let wait = if terms.confirmations == 0 { terms.min } else { terms.max };
        let accusers = SmallVec::from_slice(&[hash(self.key, from)]);
        let suspicion = Suspicion { started: now, due: now + wait, terms, accusers };
        self.due.insert((suspicion.due, name.clone()));
        self.by_name.insert(name.clone(), suspicion);
    }

    /// Whether `from` accuses this member for the first time and its word still counts. The wait shortens.
    pub(super) fn confirm(&mut self, name: &Name, from: &[u8]) -> bool {
        let Some(suspicion) = self.by_name.get_mut(name) else { return false };
        let accuser = hash(self.key, from);
        let enough = suspicion.terms.confirmations as usize + 1;
        if suspicion.accusers.len() >= enough || suspicion.accusers.contains(&accuser) {
            return false;
        }
        let confirmed = u32::try_from(suspicion.accusers.len()).unwrap_or(u32::MAX);
        suspicion.accusers.push(accuser);
        self.due.remove(&(suspicion.due, name.clone()));
        suspicion.due = suspicion.started + suspicion.terms.wait(confirmed);
        self.due.insert((suspicion.due, name.clone()));
        true
    }

    /// The member is cleared, or buried.
    pub(super) fn end(&mut self, name: &Name) {
        if let Some(suspicion) = self.by_name.remove(name) {
            self.due.remove(&(suspicion.due, name.clone()));
        }
    }

    /// A member whose time is up; it is under suspicion no more.
    pub(super) fn expire(&mut self, now: Moment) -> Option<Name> {
        if self.due.first()?.0 > now {
            return None;
        }
        let (_, name) = self.due.pop_first()?;
        self.by_name.remove(&name);
        Some(name)
    }

    /// How many members are under suspicion.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        assert_eq!(self.by_name.len(), self.due.len());
        self.due.len()
    }

    /// When the next one's time is up.
    pub(super) fn deadline(&self) -> Moment {
        self.due.first().map_or(Moment::NEVER, |(due, _)| *due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Moment {
        Moment(millis * 1_000_000)
    }

    fn lan(members: usize) -> Terms {
        Terms::new(&SwimConfig::lan(), members)
    }

    #[test]
    fn terms_grow_with_the_logarithm_of_the_pool() {
        assert_eq!(lan(1).min, Duration::from_secs(4));
        assert_eq!(lan(10).min, Duration::from_secs(4));
        assert_eq!(lan(50).min, Duration::from_millis(4 * 1_698));
        assert_eq!(lan(1_000).min, Duration::from_secs(12));
        assert_eq!(lan(1_000).max, Duration::from_secs(72));
        // Accuser and accused are two of the four: two are left to confirm. Of three, none is asked.
        assert_eq!((lan(3).confirmations, lan(4).confirmations), (0, 2));
    }

    #[test]
    fn each_accuser_shortens_the_wait_once_and_only_as_many_as_expected() {
        let mut all = Suspicions::new(7);
        let name = Name::from("x");
        let terms = Terms { confirmations: 3, min: Duration::from_secs(2), max: Duration::from_secs(30) };
        all.start(at(0), &name, b"a", terms);
        assert_eq!(all.deadline(), at(30_000));
        assert!(!all.confirm(&name, b"a"), "the accuser confirms nothing");
        assert!(all.confirm(&name, b"b"));
        assert_eq!(all.deadline(), at(16_000));
        assert!(!all.confirm(&name, b"b"));
        assert!(all.confirm(&name, b"c"));
        assert_eq!(all.deadline(), at(7_810));
        assert!(all.confirm(&name, b"d"));
        assert_eq!(all.deadline(), at(2_000));
        assert!(!all.confirm(&name, b"e"), "enough is enough");
        assert_eq!(all.expire(at(1_999)), None);
        assert_eq!(all.expire(at(2_000)), Some(name));
        assert_eq!(all.deadline(), Moment::NEVER);
    }

    #[test]
    fn without_confirmations_expected_the_wait_is_short_from_the_start() {
        let mut all = Suspicions::new(7);
        let name = Name::from("x");
        all.start(at(0), &name, b"a", lan(2));
        assert_eq!(all.deadline(), at(4_000));
        assert!(!all.confirm(&name, b"b"));
    }

    #[test]
    fn an_ended_suspicion_leaves_nothing_behind() {
        let mut all = Suspicions::new(7);
        let name = Name::from("x");
        all.start(at(0), &name, b"a", lan(9));
        all.end(&name);
        assert_eq!((all.deadline(), all.expire(Moment::NEVER)), (Moment::NEVER, None));
    }
}
