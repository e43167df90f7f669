//! What a check keeps while its actor comes and goes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::CheckUpdate;
use crate::actors::mailbox::Sender;
use crate::definition::{CheckDefinition, Status};
use crate::health::{Outcome, Probe, Streak, ttl};

/// How a check comes to know.
pub(super) enum Kind {
    /// By looking.
    Probe {
        /// How.
        probe: Arc<Probe>,
        /// How often.
        interval: Duration,
        /// Its thresholds, nothing counted yet.
        streak: Streak,
    },
    /// By being told in time.
    Ttl {
        /// For how long news are good.
        ttl: Duration,
        /// Bytes kept of them.
        output_max_size: usize,
        /// The last of them.
        news: Mutex<News>,
        /// There are new ones.
        renewed: Notify,
    },
    /// By what others know.
    Alias {
        /// Whose.
        node: String,
        /// The same as the definition has it.
        shown_node: String,
        /// Which service's, or empty for the node's.
        service_id: String,
    },
    /// Not at all: its status is set from outside.
    Nothing,
}

/// State of a TTL check.
pub(super) struct News {
    /// When they are too old; `None` once that has been said.
    pub deadline: Option<Instant>,
    /// What they said.
    pub output: String,
}

impl Kind {
    /// A TTL check whose time begins now.
    pub fn ttl(ttl: Duration, output_max_size: usize, output: &str) -> Self {
        let news = News { deadline: Some(Instant::now() + ttl), output: output.to_owned() };
        Self::Ttl { ttl, output_max_size, news: Mutex::new(news), renewed: Notify::new() }
    }
}

/// A check, shared by its door and its actor.
pub(super) struct Cell {
    /// Its id.
    pub id: Arc<str>,
    /// How it comes to know.
    pub kind: Kind,
    stopped: AtomicBool,
    /// Its status, for the log: only changes are worth a line.
    status: Mutex<Status>,
    updates: Sender<CheckUpdate>,
}

impl Cell {
    /// A check of a known status.
    pub fn new(run: &CheckDefinition, kind: Kind, initial: Status, updates: Sender<CheckUpdate>) -> Self {
        Self {
            id: Arc::from(run.id.as_str()),
            kind,
            stopped: AtomicBool::new(false),
            status: Mutex::new(initial),
            updates,
        }
    }

    /// It shall run no more, and say nothing.
    pub fn mark_stopped(&self) {
        self.stopped.store(true, Ordering::SeqCst);
    }

    /// It shall run no more.
    pub fn stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    /// Tells whoever wants to know.
    pub fn tell(&self, Outcome { status, output }: Outcome) {
        if self.stopped() {
            return;
        }
        let before = std::mem::replace(&mut *self.status.lock(), status);
        if before == status {
            tracing::trace!(target: "agent", check = %self.id, status = status.as_str(), "Check looked");
        } else if status == Status::Critical {
            tracing::warn!(target: "agent", check = %self.id, "Check is now critical");
        } else {
            tracing::info!(target: "agent", check = %self.id, status = status.as_str(), "Check status updated");
        }
        self.updates.send(CheckUpdate { check_id: Arc::clone(&self.id), status, output });
    }

    /// Takes news of a TTL check; false for any other.
    pub fn renew(&self, status: Status, output: String) -> bool {
        let Kind::Ttl { ttl, output_max_size, news, renewed } = &self.kind else { return false };
        let output = ttl::capped(output, *output_max_size);
        // Held while telling, so that an expiry comes wholly before or not at all.
        let mut news = news.lock();
        news.deadline = Some(Instant::now() + *ttl);
        news.output.clone_from(&output);
        self.tell(Outcome { status, output });
        drop(news);
        renewed.notify_one();
        true
    }

    /// Says that a TTL check's time ran out if it did; otherwise how long it still has, if it runs at all.
    pub fn expire(&self) -> Option<Duration> {
        let Kind::Ttl { news, .. } = &self.kind else { return None };
        let mut news = news.lock();
        let left = news.deadline?.saturating_duration_since(Instant::now());
        if !left.is_zero() {
            return Some(left);
        }
        news.deadline = None;
        self.tell(Outcome::critical(ttl::expired(&news.output)));
        None
    }
}
