//! A lock for one holder: the key `PREFIX/.lock`, held by a session.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Hold;
use crate::cli::client::{Answer, Client, ClientError};
use crate::cli::kv::{self, KvPair};

/// Marks a key as a lock of this kind; all of Consul's clients use this number.
const FLAGS: u64 = 0x2ddc_cbc0_58a5_0c18;
/// Longest wait of one query.
const WAIT: Duration = Duration::from_secs(15);
/// Pause when a free key may not be taken yet: a lock-delay window.
const DELAY_PAUSE: Duration = Duration::from_secs(5);

pub(super) struct Mutex {
    client: Arc<Client>,
    key: String,
    session: String,
}

impl Mutex {
    pub fn new(client: &Arc<Client>, prefix: &str, session: &str) -> Self {
        Self { client: Arc::clone(client), key: format!("{prefix}/.lock"), session: session.to_owned() }
    }

    fn read(&self, index: u64, wait: Option<Duration>) -> Result<(Option<KvPair>, u64), String> {
        let request = self.client.get(kv::path(&self.key));
        let (pairs, next) =
            kv::list_behind(request, index, wait).map_err(|error| format!("failed to read lock: {error}"))?;
        let pair = pairs.into_iter().next();
        if pair.as_ref().is_some_and(|pair| pair.flags != FLAGS) {
            return Err("Existing key does not match lock use".to_owned());
        }
        Ok((pair, next))
    }
}

/// Time left for one query; none when the deadline has passed.
pub(super) fn wait_time(deadline: Option<Instant>) -> Option<Duration> {
    match deadline {
        None => Some(WAIT),
        Some(deadline) => deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()),
    }
}

impl Hold for Mutex {
    fn acquire(&self, deadline: Option<Instant>) -> Result<bool, String> {
        let mut index = 0;
        loop {
            let Some(wait) = wait_time(deadline) else { return Ok(false) };
            let (pair, next) = self.read(index, Some(wait))?;
            match pair.map(|pair| pair.session) {
                Some(session) if session == self.session => return Ok(true),
                Some(session) if !session.is_empty() => {
                    index = next;
                    continue;
                }
                _ => {}
            }
            let taken = self
                .client
                .put(kv::path(&self.key))
                .with("acquire", self.session.as_str())
                .with("flags", FLAGS.to_string())
                .send()
                .and_then(Answer::says_true)
                .map_err(|error| format!("failed to acquire lock: {error}"))?;
            if taken {
                return Ok(true);
            }
            // Either somebody was faster, or a lock-delay keeps the key closed.
            let (pair, next) = self.read(0, None)?;
            index = if pair.is_some_and(|pair| !pair.session.is_empty()) {
                next
            } else {
                let left = wait_time(deadline).unwrap_or_default();
                std::thread::sleep(if deadline.is_some() { DELAY_PAUSE.min(left) } else { DELAY_PAUSE });
                0
            };
        }
    }

    fn still_held(&self, index: u64) -> Result<(bool, u64), ClientError> {
        let request = self.client.get(kv::path(&self.key)).with("consistent", "");
        let (pairs, next) = kv::list_behind(request, index, None)?;
        Ok((pairs.first().is_some_and(|pair| pair.session == self.session), next))
    }

    fn release(&self) -> Result<(), String> {
        // False means that it was lost already: nothing is left to give back.
        self.client
            .put(kv::path(&self.key))
            .with("flags", FLAGS.to_string())
            .with("release", self.session.as_str())
            .send()
            .and_then(Answer::says_true)
            .map(|_| ())
            .map_err(|error| format!("failed to release lock: {error}"))
    }

    fn clean_up(&self) -> Result<bool, String> {
        let Some(pair) = self.read(0, None)?.0 else { return Ok(true) };
        if !pair.session.is_empty() {
            return Ok(false);
        }
        self.client
            .delete(kv::path(&self.key))
            .with("cas", pair.modify_index.to_string())
            .send()
            .and_then(Answer::says_true)
            .map_err(|error| format!("failed to remove lock: {error}"))
    }
}
