//! A lock for several holders: contenders are keys `PREFIX/SESSION`, and `PREFIX/.lock` lists who of
//! them holds a place.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::Hold;
use super::mutex::wait_time;
use crate::cli::client::{Answer, Client, ClientError};
use crate::cli::kv::{self, KvPair};

/// Marks keys as a semaphore's; all of Consul's clients use this number.
const FLAGS: u64 = 0xe0f6_9a2b_aa41_4de0;

pub(super) struct Semaphore {
    client: Arc<Client>,
    prefix: String,
    limit: i64,
    session: String,
}

/// The value of `PREFIX/.lock`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Places {
    limit: i64,
    holders: BTreeMap<String, bool>,
}

/// What stands below the prefix.
struct Found {
    places: Places,
    /// Modify index of the lock key, 0 when there is none.
    index: u64,
    /// There is a lock key.
    exists: bool,
}

impl Semaphore {
    pub fn new(client: &Arc<Client>, prefix: &str, limit: i64, session: &str) -> Self {
        Self { client: Arc::clone(client), prefix: prefix.to_owned(), limit, session: session.to_owned() }
    }

    fn lock_key(&self) -> String {
        format!("{}/.lock", self.prefix)
    }

    fn contender(&self) -> String {
        kv::path(&format!("{}/{}", self.prefix, self.session))
    }

    /// Reads the lock key, without the holders whose contender key is gone or has no session.
    fn understand(&self, pairs: &[KvPair]) -> Result<Found, String> {
        let empty = Places { limit: self.limit, holders: BTreeMap::new() };
        let Some(pair) = pairs.iter().find(|pair| pair.key == self.lock_key()) else {
            return Ok(Found { places: empty, index: 0, exists: false });
        };
        if pair.flags != FLAGS {
            return Err("Existing key does not match semaphore use".to_owned());
        }
        let value = kv::bytes(pair).map_err(|error| error.to_string())?;
        let mut places: Places = if value.is_empty() {
            empty
        } else {
            serde_json::from_slice(&value).map_err(|error| format!("lock decoding failed: {error}"))?
        };
        if places.limit != self.limit {
            return Err(format!("Semaphore limit conflict (lock: {}, local: {})", places.limit, self.limit));
        }
        places.holders.retain(|holder, _| pairs.iter().any(|pair| pair.session == *holder));
        Ok(Found { places, index: pair.modify_index, exists: true })
    }

    fn list(&self, index: u64, wait: Option<Duration>) -> Result<(Vec<KvPair>, u64), String> {
        let request = self.client.get(kv::path(&format!("{}/", self.prefix))).with("recurse", "");
        kv::list_behind(request, index, wait).map_err(|error| format!("failed to read prefix: {error}"))
    }

    /// Replaces the lock key if nobody else did.
    fn store(&self, places: &Places, index: u64) -> Result<bool, String> {
        let value = serde_json::to_vec(places).map_err(|error| error.to_string())?;
        self.client
            .put(kv::path(&self.lock_key()))
            .with("cas", index.to_string())
            .with("flags", FLAGS.to_string())
            .send_body(&value)
            .and_then(Answer::says_true)
            .map_err(|error| format!("failed to update lock: {error}"))
    }
}

impl Hold for Semaphore {
    fn acquire(&self, deadline: Option<Instant>) -> Result<bool, String> {
        let entered = self
            .client
            .put(self.contender())
            .with("acquire", self.session.as_str())
            .with("flags", FLAGS.to_string())
            .send()
            .and_then(Answer::says_true);
        if !entered.map_err(|error| format!("failed to make contender entry: {error}"))? {
            return Err("failed to make contender entry".to_owned());
        }
        let mut index = 0;
        loop {
            let Some(wait) = wait_time(deadline) else { return Ok(false) };
            let (pairs, next) = self.list(index, Some(wait))?;
            let Found { mut places, index: stored, .. } = self.understand(&pairs)?;
            if i64::try_from(places.holders.len()).unwrap_or(i64::MAX) >= self.limit {
                index = next;
                continue;
            }
            places.holders.insert(self.session.clone(), true);
            if self.store(&places, stored)? {
                return Ok(true);
            }
            index = 0;
        }
    }

    fn still_held(&self, index: u64) -> Result<(bool, u64), ClientError> {
        let request = self
            .client
            .get(kv::path(&format!("{}/", self.prefix)))
            .with("recurse", "")
            .with("consistent", "");
        let (pairs, next) = kv::list_behind(request, index, None)?;
        let held =
            self.understand(&pairs).is_ok_and(|found| found.places.holders.contains_key(&self.session));
        Ok((held, next))
    }

    fn release(&self) -> Result<(), String> {
        loop {
            let found = self.understand(&self.list(0, None)?.0)?;
            let mut places = found.places;
            if places.holders.remove(&self.session).is_none() || self.store(&places, found.index)? {
                break;
            }
        }
        self.client
            .delete(self.contender())
            .send()
            .and_then(Answer::ok)
            .map(|_| ())
            .map_err(|error| format!("failed to remove contender entry: {error}"))
    }

    fn clean_up(&self) -> Result<bool, String> {
        let found = self.understand(&self.list(0, None)?.0)?;
        if !found.exists {
            return Ok(true);
        }
        if !found.places.holders.is_empty() {
            return Ok(false);
        }
        self.client
            .delete(kv::path(&self.lock_key()))
            .with("cas", found.index.to_string())
            .send()
            .and_then(Answer::says_true)
            .map_err(|error| format!("failed to remove semaphore: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;

    use super::*;
    use crate::cli::client::tests::unreachable_client;

    fn pair(key: &str, session: &str, value: &str) -> KvPair {
        KvPair {
            key: key.to_owned(),
            create_index: 1,
            modify_index: 9,
            lock_index: 0,
            flags: FLAGS,
            value: Some(base64::engine::general_purpose::STANDARD.encode(value)),
            session: session.to_owned(),
        }
    }

    #[test]
    fn holders_without_a_session_lose_their_place() {
        let semaphore = Semaphore::new(&Arc::new(unreachable_client()), "p", 2, "me");
        let lock = pair("p/.lock", "", r#"{"Limit":2,"Holders":{"live":true,"dead":true}}"#);
        let found = semaphore
            .understand(&[lock.clone(), pair("p/live", "live", ""), pair("p/dead", "", "")])
            .unwrap();
        assert_eq!(found.places.holders.keys().collect::<Vec<_>>(), ["live"]);
        assert_eq!((found.index, found.exists), (9, true));
        let cases = [
            (
                "other limit",
                pair("p/.lock", "", r#"{"Limit":3,"Holders":{}}"#),
                "Semaphore limit conflict (lock: 3, local: 2)",
            ),
            ("other use", KvPair { flags: 0, ..lock }, "Existing key does not match semaphore use"),
        ];
        for (name, lock, want) in cases {
            assert_eq!(semaphore.understand(&[lock]).err().as_deref(), Some(want), "{name}");
        }
        assert_eq!((FLAGS, semaphore.understand(&[]).unwrap().index), (16_210_313_421_097_356_768, 0));
    }
}
