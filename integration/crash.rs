//! Pulling the plug: SIGKILL at random moments under concurrent writers, again and again on the
//! same data directory. Whatever was acknowledged must be there, transactions whole, locks held by
//! whom they were given to, and no index lower than one that was shown before.
//!
//! Every writer owns its keys, so it knows exactly what may be found: the last acknowledged state
//! or, if its last request got no answer, the state that request would have made.
//!
//! `TRIBUNE_SEED` repeats a run's choices, `TRIBUNE_KILL_ROUNDS` changes how many kills there are.

use std::io::{self, ErrorKind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::support::{Agent, Answer, Client, Rng, Setup};

/// States a thing may be in: one when all is known, more after requests without an answer.
#[derive(Debug, Clone)]
struct Possible<T>(Vec<T>);

impl<T: PartialEq + Clone + std::fmt::Debug> Possible<T> {
    fn known(state: T) -> Self {
        Self(vec![state])
    }

    fn attempt(&mut self, state: T) {
        self.0.push(state);
    }

    fn settle(&mut self, state: T) {
        self.0 = vec![state];
    }

    /// Checks what was found and takes it for known from now on.
    fn found(&mut self, what: &str, state: &T) {
        assert!(self.0.contains(state), "{what}: found {state:?}, possible are {:?}", self.0);
        self.settle(state.clone());
    }

    fn one(&self) -> &T {
        assert_eq!(self.0.len(), 1, "a writer must not go on without knowing its state");
        &self.0[0]
    }
}

/// A writer that knows what it was promised.
trait Writer: Send {
    /// One change. An error means that nobody knows whether it happened.
    fn step(&mut self, client: &mut Client, rng: &mut Rng) -> io::Result<()>;
    /// Compares what is there after a restart with what was promised.
    fn verify(&mut self, client: &mut Client);
}

/// A failing server leaves the outcome unknown: it may have failed before or after.
fn acknowledged(answer: Answer) -> io::Result<Answer> {
    assert!(answer.status == 200 || answer.status >= 500, "{}: {}", answer.status, answer.text());
    if answer.status == 200 {
        Ok(answer)
    } else {
        Err(io::Error::other(format!("{}: {}", answer.status, answer.text())))
    }
}

fn read(client: &mut Client, key: &str) -> Option<(String, Value)> {
    let answer = client.get(&format!("/v1/kv/{key}?consistent")).expect("a read after the restart");
    match answer.status {
        404 => None,
        200 => {
            let record = answer.json()[0].clone();
            let value =
                record["Value"].as_str().map_or_else(Vec::new, |text| STANDARD.decode(text).expect("base64"));
            Some((String::from_utf8(value).expect("text"), record))
        }
        status => panic!("{key}: {status} {}", answer.text()),
    }
}

/// A value that is unique, checks itself and sometimes is large.
fn value(sequence: u64, rng: &mut Rng) -> String {
    let padding = if rng.between(0, 40) == 0 { rng.between(50_000, 300_000) } else { rng.between(0, 600) };
    let padding = usize::try_from(padding).expect("small");
    format!("{sequence}:{padding}:{}", "x".repeat(padding))
}

/// Plain writes and deletes.
struct Puts {
    name: String,
    sequence: u64,
    slots: Vec<(Possible<Option<String>>, u64)>,
}

impl Puts {
    fn new(name: &str) -> Self {
        Self { name: name.to_owned(), sequence: 0, slots: vec![(Possible::known(None), 0); 12] }
    }
}

impl Writer for Puts {
    fn step(&mut self, client: &mut Client, rng: &mut Rng) -> io::Result<()> {
        self.sequence += 1;
        let slot = usize::try_from(rng.between(0, self.slots.len() as u64)).expect("small");
        let target = format!("/v1/kv/{}/{slot}", self.name);
        let possible = &mut self.slots[slot].0;
        if rng.between(0, 5) == 0 {
            possible.attempt(None);
            acknowledged(client.delete(&target)?)?;
            possible.settle(None);
        } else {
            let value = value(self.sequence, rng);
            possible.attempt(Some(value.clone()));
            assert!(acknowledged(client.put(&target, &value)?)?.yes());
            possible.settle(Some(value));
        }
        Ok(())
    }

    fn verify(&mut self, client: &mut Client) {
        for (slot, (possible, highest)) in self.slots.iter_mut().enumerate() {
            let key = format!("{}/{slot}", self.name);
            let found = read(client, &key);
            possible.found(&key, &found.as_ref().map(|(value, _)| value.clone()));
            if let Some((_, record)) = found {
                let index = record["ModifyIndex"].as_u64().expect("an index");
                assert!(index >= *highest, "{key}: ModifyIndex {index} after {highest}");
                *highest = index;
            }
        }
    }
}

/// Check-and-set by its only writer, which therefore never loses.
struct Swaps {
    key: String,
    sequence: u64,
    index: u64,
    possible: Possible<Option<String>>,
}

impl Swaps {
    fn new(key: &str) -> Self {
        Self { key: key.to_owned(), sequence: 0, index: 0, possible: Possible::known(None) }
    }
}

impl Writer for Swaps {
    fn step(&mut self, client: &mut Client, rng: &mut Rng) -> io::Result<()> {
        self.sequence += 1;
        let value = value(self.sequence, rng);
        self.possible.attempt(Some(value.clone()));
        let answer = acknowledged(client.put(&format!("/v1/kv/{}?cas={}", self.key, self.index), &value)?)?;
        assert!(answer.yes(), "{}: lost against nobody at index {}", self.key, self.index);
        self.possible.settle(Some(value));
        let answer = client.get(&format!("/v1/kv/{}", self.key))?;
        let answer = acknowledged(answer)?;
        let index = answer.json()[0]["ModifyIndex"].as_u64().expect("an index");
        assert!(index > self.index, "{}: {index} after {}", self.key, self.index);
        self.index = index;
        Ok(())
    }

    fn verify(&mut self, client: &mut Client) {
        let found = read(client, &self.key);
        self.possible.found(&self.key, &found.as_ref().map(|(value, _)| value.clone()));
        if let Some((_, record)) = found {
            let index = record["ModifyIndex"].as_u64().expect("an index");
            assert!(index >= self.index, "{}: ModifyIndex {index} after {}", self.key, self.index);
            self.index = index;
        }
    }
}

/// Transactions that give several keys one number; one more key is there for odd numbers only.
struct Transactions {
    name: String,
    sequence: u64,
    index: u64,
    possible: Possible<u64>,
}

const TXN_KEYS: usize = 8;

impl Transactions {
    fn new(name: &str) -> Self {
        Self { name: name.to_owned(), sequence: 0, index: 0, possible: Possible::known(0) }
    }

    /// The numbers found under the prefix; all keys are there or, before the first one, none is.
    fn numbers(answer: &Answer) -> (Vec<u64>, bool, Vec<u64>) {
        let records = if answer.status == 404 { json!([]) } else { answer.json() };
        let (mut numbers, mut odd, mut indexes) = (Vec::new(), false, Vec::new());
        for record in records.as_array().expect("a list") {
            indexes.push(record["ModifyIndex"].as_u64().expect("an index"));
            if record["Key"].as_str().is_some_and(|key| key.ends_with("/odd")) {
                odd = true;
            } else {
                let text = STANDARD.decode(record["Value"].as_str().expect("a value")).expect("base64");
                numbers.push(String::from_utf8(text).expect("text").parse().expect("a number"));
            }
        }
        (numbers, odd, indexes)
    }

    /// The one number all keys agree on.
    fn whole(name: &str, answer: &Answer) -> (u64, u64) {
        let (numbers, odd, indexes) = Self::numbers(answer);
        let number = numbers.first().copied().unwrap_or(0);
        let expected = if number == 0 { 0 } else { TXN_KEYS };
        assert_eq!(numbers, vec![number; expected], "{name}: half a transaction");
        assert_eq!(odd, number % 2 == 1, "{name}: half a transaction (the odd key at {number})");
        let index = indexes.first().copied().unwrap_or(0);
        assert!(
            indexes.iter().all(|other| *other == index),
            "{name}: one transaction, several indexes {indexes:?}"
        );
        (number, index)
    }
}

impl Writer for Transactions {
    fn step(&mut self, client: &mut Client, _: &mut Rng) -> io::Result<()> {
        self.sequence += 1;
        let number = self.sequence;
        let text = STANDARD.encode(number.to_string());
        let set = |key: String| json!({ "KV": { "Verb": "set", "Key": key, "Value": text } });
        let mut operations: Vec<_> = (0..TXN_KEYS).map(|n| set(format!("{}/{n}", self.name))).collect();
        let odd = format!("{}/odd", self.name);
        operations.insert(
            TXN_KEYS / 2,
            if number % 2 == 1 { set(odd) } else { json!({ "KV": { "Verb": "delete", "Key": odd } }) },
        );
        self.possible.attempt(number);
        let answer = acknowledged(client.put("/v1/txn", Value::Array(operations).to_string())?)?;
        self.possible.settle(number);
        let index = answer.json()["Results"][0]["KV"]["ModifyIndex"].as_u64().expect("an index");
        assert!(index > self.index, "{}: {index} after {}", self.name, self.index);
        self.index = index;
        Ok(())
    }

    fn verify(&mut self, client: &mut Client) {
        let answer = client
            .get(&format!("/v1/kv/{}/?recurse&consistent", self.name))
            .expect("a read after the restart");
        let (number, index) = Self::whole(&self.name, &answer);
        let last_known = self.possible.0[0];
        self.possible.found(&self.name, &number);
        if number == last_known {
            assert_eq!(index, self.index, "{}: the same transaction at another index", self.name);
        }
        self.index = index;
    }
}

/// What is known of a session and the lock it may hold.
#[derive(Debug, Clone, PartialEq)]
enum Lock {
    NoSession,
    Idle(String),
    Holding(String),
}

/// Sessions that take a lock, give it back or end with it.
struct Locks {
    key: String,
    state: Possible<(Lock, u64)>,
}

impl Locks {
    fn new(key: &str) -> Self {
        Self { key: key.to_owned(), state: Possible::known((Lock::NoSession, 0)) }
    }
}

impl Writer for Locks {
    fn step(&mut self, client: &mut Client, rng: &mut Rng) -> io::Result<()> {
        let (state, count) = self.state.one().clone();
        let (target, after) = match state {
            Lock::NoSession => {
                // Without an answer its id is not known: it stays behind, holding nothing.
                let body = json!({ "LockDelay": "0s", "Checks": [] }).to_string();
                let answer = acknowledged(client.put("/v1/session/create", body)?)?;
                let id = answer.json()["ID"].as_str().expect("an id").to_owned();
                self.state.settle((Lock::Idle(id), count));
                return Ok(());
            }
            Lock::Idle(id) => (format!("/v1/kv/{}?acquire={id}", self.key), (Lock::Holding(id), count + 1)),
            Lock::Holding(id) if rng.between(0, 2) == 0 => {
                (format!("/v1/kv/{}?release={id}", self.key), (Lock::Idle(id), count))
            }
            Lock::Holding(id) => (format!("/v1/session/destroy/{id}"), (Lock::NoSession, count)),
        };
        self.state.attempt(after.clone());
        assert!(acknowledged(client.put(&target, "")?)?.yes(), "{target}");
        self.state.settle(after);
        Ok(())
    }

    fn verify(&mut self, client: &mut Client) {
        let record = read(client, &self.key).map(|(_, record)| record);
        let count = record.as_ref().map_or(0, |record| record["LockIndex"].as_u64().expect("a count"));
        let holder = record.as_ref().and_then(|record| record.get("Session")).and_then(Value::as_str);
        let mut alive = None;
        for (state, _) in &self.state.0 {
            if let Lock::Idle(id) | Lock::Holding(id) = state {
                let answer = client
                    .get(&format!("/v1/session/info/{id}?consistent"))
                    .expect("a read after the restart");
                if answer.json() != json!([]) {
                    alive = Some(id.clone());
                }
            }
        }
        let found = match (holder, alive) {
            (Some(holder), Some(id)) if holder == id => Lock::Holding(id),
            (Some(holder), alive) => panic!("{}: held by {holder}, alive is {alive:?}", self.key),
            (None, Some(id)) => Lock::Idle(id),
            (None, None) => Lock::NoSession,
        };
        self.state.found(&self.key, &(found, count));
    }
}

/// Reads while others write: no half transaction is ever visible, no index goes backwards.
fn watch(agent: &Agent, highest: &AtomicU64, stop: &AtomicBool) {
    let mut client = agent.client();
    while !stop.load(Ordering::Acquire) {
        let seen = highest.load(Ordering::Acquire);
        let Ok(answer) = client.get("/v1/kv/txn-0/?recurse") else { return };
        if answer.status == 200 {
            Transactions::whole("txn-0 while written", &answer);
        }
        let Ok(answer) = client.get("/v1/kv/?keys&separator=/") else { return };
        if matches!(answer.status, 200 | 404) {
            let index = answer.index();
            assert!(index >= seen, "the index of all keys went back from {seen} to {index}");
            highest.fetch_max(index, Ordering::AcqRel);
        }
    }
}

#[test]
fn every_acknowledged_write_survives_sigkill() {
    let seed = Rng::seed_of_this_run();
    let rounds = std::env::var("TRIBUNE_KILL_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(50);
    eprintln!("seed {seed} (repeat with TRIBUNE_SEED={seed}), {rounds} kills");
    let mut rng = Rng::new(seed);
    // Small limits, so that the log is compacted and snapshots are taken while the plug is pulled.
    let compaction =
        json!({ "raft_snapshot_threshold": 256, "raft_snapshot_interval": "1s", "raft_trailing_logs": 64 });
    let mut agent = Setup::server().with(compaction).start();
    let mut writers: Vec<Box<dyn Writer>> = Vec::new();
    for n in 0..3 {
        writers.push(Box::new(Puts::new(&format!("put-{n}"))));
        writers.push(Box::new(Locks::new(&format!("lock-{n}"))));
    }
    for n in 0..2 {
        writers.push(Box::new(Swaps::new(&format!("cas-{n}"))));
        writers.push(Box::new(Transactions::new(&format!("txn-{n}"))));
    }
    let acknowledged = AtomicU64::new(0);
    let highest = AtomicU64::new(0);
    let mut other_indexes = [("/v1/catalog/nodes", 0), ("/v1/session/list", 0), ("/v1/health/state/any", 0)];

    for round in 1..=rounds {
        let moment = Duration::from_micros(rng.between(2_000, 200_000));
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for writer in &mut writers {
                let (mut client, mut rng) = (agent.client(), rng.fork());
                let acknowledged = &acknowledged;
                scope.spawn(move || {
                    while writer.step(&mut client, &mut rng).is_ok() {
                        acknowledged.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            scope.spawn(|| watch(&agent, &highest, &stop));
            // Not a wait for something: this is the random moment.
            std::thread::sleep(moment);
            rustix::process::kill_process(
                rustix::process::Pid::from_raw(agent.pid().cast_signed()).expect("a process id"),
                rustix::process::Signal::KILL,
            )
            .expect("the agent can be killed");
            stop.store(true, Ordering::Release);
        });
        agent.kill();
        agent.start_again();
        if rng.between(0, 4) == 0 {
            std::thread::sleep(Duration::from_micros(rng.between(0, 300_000)));
            agent.kill();
            agent.start_again();
        }
        agent.wait_leader();
        let mut client = agent.client();
        for writer in &mut writers {
            writer.verify(&mut client);
        }
        let index = client.get("/v1/kv/?keys&separator=/").expect("a read").index();
        let seen = highest.load(Ordering::Acquire);
        assert!(index >= seen, "round {round}: the index of all keys went back from {seen} to {index}");
        for (target, seen) in &mut other_indexes {
            let index = client.get(target).expect("a read").index();
            assert!(index >= *seen, "round {round}: the index of {target} went back from {seen} to {index}");
            *seen = index;
        }
    }
    let acknowledged = acknowledged.load(Ordering::Relaxed);
    eprintln!("{rounds} kills, {acknowledged} acknowledged writes, all found");
    assert!(acknowledged > rounds * 20, "only {acknowledged} writes: nothing was proved");
}

/// A client whose connection breaks must not conclude anything; one that got `true` must be able to.
#[test]
fn a_write_cut_off_by_the_crash_is_reported_as_an_error() {
    let mut agent = Agent::server();
    let mut client = agent.client();
    assert!(client.put("/v1/kv/a", "1").expect("an answer").yes());
    agent.kill();
    let error = client.put("/v1/kv/a", "2").expect_err("nobody is there");
    assert!(
        matches!(
            error.kind(),
            ErrorKind::UnexpectedEof
                | ErrorKind::ConnectionReset
                | ErrorKind::ConnectionRefused
                | ErrorKind::BrokenPipe
        ),
        "{error:?}"
    );
    agent.restart();
    assert_eq!(agent.get("/v1/kv/a?raw").text(), "1");
}
