//! Keeps on disk what changes by itself: statuses of checks, and maintenance.
//!
//! Whoever changes something leaves a note of the check's id. At once, but at most fifty times a second,
//! the noted files are made equal to what is then true, on a thread that may wait; so a check that flaps
//! costs one write, and there are never more notes than checks. What was remembered from the last life of the
//! agent is here too, until its check is defined again.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::sleep;
use tracing::warn;

use super::LocalState;
use super::disk::{Changes, Disk, DiskError, KeptCheck, KeptStatus};
use super::entries::{Entries, is_maintenance};
use crate::definition::Status;

/// Pause between two writes.
const PAUSE: Duration = Duration::from_millis(20);
/// Pause after a write that failed.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(5);

/// What is to be written, and where.
pub struct Keeper {
    disk: Disk,
    noted: Mutex<BTreeSet<Arc<str>>>,
    work: Notify,
    remembered: Mutex<HashMap<Arc<str>, KeptStatus>>,
    /// When the news of a TTL check was last noted.
    said: Mutex<HashMap<Arc<str>, Instant>>,
}

impl Keeper {
    /// Keeps things here.
    pub fn new(disk: Disk) -> Self {
        Self {
            disk,
            noted: Mutex::default(),
            work: Notify::new(),
            remembered: Mutex::default(),
            said: Mutex::default(),
        }
    }

    /// Where things are kept.
    pub const fn disk(&self) -> &Disk {
        &self.disk
    }

    /// Remembers how checks were.
    pub fn remember(&self, kept: Vec<KeptStatus>) {
        let mut remembered = self.remembered.lock();
        remembered.extend(kept.into_iter().map(|kept| (Arc::clone(&kept.check_id), kept)));
    }

    /// How a check was. None if that is not known, or if its time to live is over since.
    pub fn recall(&self, check_id: &str, ttl: Duration) -> Option<(Status, String)> {
        let kept = self.remembered.lock().remove(check_id)?;
        // News that changes nothing is noted once in a quarter of that time, hence the quarter.
        let expires = u128::from(kept.at_ms) + (ttl + ttl / 4).as_millis();
        if !ttl.is_zero() && u128::from(now_ms()) >= expires {
            return None;
        }
        Some((Status::parse(&kept.status)?, kept.output))
    }

    /// Nothing that is defined later is a check of the last life.
    pub fn forget_remembered(&self) {
        self.remembered.lock().clear();
    }

    /// Has the files of these checks made true.
    pub fn note(&self, check_ids: impl IntoIterator<Item = Arc<str>>) {
        self.noted.lock().extend(check_ids);
        self.work.notify_one();
    }

    /// News of a TTL check that changed nothing but says that it lives. Noted now and then.
    pub fn note_alive(&self, check_id: &str, ttl: Duration) {
        let now = Instant::now();
        let mut said = self.said.lock();
        let recent = said.get(check_id).is_some_and(|before| now.duration_since(*before) < ttl / 4);
        if !recent {
            let id: Arc<str> = check_id.into();
            said.insert(Arc::clone(&id), now);
            drop(said);
            self.note([id]);
        }
    }

    /// Writes everything noted. False if something could not be written; that stays noted.
    pub fn write_noted(&self, entries: &Mutex<Entries>) -> bool {
        let noted = std::mem::take(&mut *self.noted.lock());
        let now = now_ms();
        let mut well = true;
        for id in noted {
            let truth = Truth::of(&entries.lock(), &id, now);
            if truth == Truth::Gone {
                self.said.lock().remove(&id);
            }
            if let Err(error) = self.write(&id, truth) {
                warn!(target: "agent", check = %id, error = %error, "cannot keep the status of a check");
                self.noted.lock().insert(id);
                well = false;
            }
        }
        well
    }

    fn write(&self, id: &Arc<str>, truth: Truth) -> Result<(), DiskError> {
        match truth {
            Truth::Status(kept) => self.disk.keep_status(&kept),
            Truth::Maintenance(kept) => {
                self.disk.carry_out(&Changes { checks: vec![*kept], ..Changes::default() })
            }
            Truth::Gone if is_maintenance(id) => {
                let gone_checks = vec![Arc::clone(id)];
                self.disk.carry_out(&Changes { gone_checks, ..Changes::default() })
            }
            Truth::Gone => self.disk.forget_status(id),
        }
    }
}

/// What the file of a check must say.
#[derive(Debug, PartialEq)]
enum Truth {
    Status(KeptStatus),
    Maintenance(Box<KeptCheck>),
    Gone,
}

impl Truth {
    fn of(entries: &Entries, id: &Arc<str>, at_ms: u64) -> Self {
        let (Some(facts), Some(check)) = (entries.check_facts(id), entries.check(id)) else {
            return Self::Gone;
        };
        if facts.defined.is_none() {
            return Self::Maintenance(Box::new(KeptCheck { check: (**check).clone(), run: None }));
        }
        if !facts.reported {
            // Nothing is known of it but what its definition says.
            return Self::Gone;
        }
        Self::Status(KeptStatus {
            check_id: Arc::clone(id),
            status: check.status.clone(),
            output: check.output.clone(),
            at_ms,
        })
    }
}

/// Writes what is noted, for ever.
pub async fn keep(local: Arc<LocalState>) {
    loop {
        let Some(keeper) = &local.keeper else { return };
        keeper.work.notified().await;
        let writer = Arc::clone(&local);
        let written = tokio::task::spawn_blocking(move || {
            writer.keeper.as_ref().is_none_or(|keeper| keeper.write_noted(&writer.entries))
        });
        let well = written.await.unwrap_or(false);
        sleep(if well { PAUSE } else { PAUSE_AFTER_FAILURE }).await;
        if !well {
            keeper.work.notify_one();
        }
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
