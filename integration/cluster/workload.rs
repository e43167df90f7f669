//! Clients that use the key store through every member of a cluster and note what they were told.
//!
//! A client does one thing after the other, each through a member chosen anew. What is answered
//! `true` happened, what is answered `false` did not; what ends in an error, in silence or in a 5xx
//! may have happened, or may still, and is noted so. Only a refused connection proves that nothing
//! was asked.
//!
//! Keys change every [`EPOCH`], so that a long run is many histories of bearable length. The last of
//! each key is a read after the faults: what was acknowledged and is gone shows there.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::{Value as Json, json};

use crate::lin::{Answer, Call, Key, Operation, Recorder, Row, Session, SessionKind, check_locks, require};
use crate::support::Rng;
use crate::support::http::{self, Client};

/// Microseconds after which other keys are used.
const EPOCH: u64 = 20_000_000;
/// Keys of an epoch: single ones, ones that are locked, and pairs for transactions.
const SINGLE: u32 = 4;
const LOCKED: u32 = 3;
const PAIRS: u32 = 2;
const KEYS: u32 = SINGLE + LOCKED + 2 * PAIRS;
/// An answer that takes longer is no answer.
const PATIENCE: Duration = Duration::from_secs(4);

fn name(key: Key) -> String {
    format!("lin/{:05}/{:02}", key / KEYS, key % KEYS)
}

/// A session on the servers and in the history.
#[derive(Debug, Clone)]
struct Held {
    number: Session,
    id: String,
    created: u64,
    /// The node it is bound to is a client agent's: one that leaves takes its sessions along.
    at_client: bool,
}

#[derive(Debug)]
struct Shared {
    recorder: Recorder,
    /// How many of the members are servers; the others follow them.
    servers: usize,
    stop: AtomicBool,
    values: AtomicU64,
    /// Answers of any kind, and those that were none.
    answered: AtomicU64,
    unknown: AtomicU64,
    sessions: Mutex<Vec<Held>>,
}

/// Running clients.
pub struct Workload {
    shared: Arc<Shared>,
    members: Vec<SocketAddr>,
    threads: Vec<JoinHandle<()>>,
}

impl Workload {
    /// Starts so many clients of these members, of which the first `servers` are servers.
    pub fn start(members: Vec<SocketAddr>, servers: usize, clients: u32, rng: &mut Rng) -> Self {
        let shared = Arc::new(Shared {
            recorder: Recorder::default(),
            servers,
            stop: AtomicBool::new(false),
            values: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            unknown: AtomicU64::new(0),
            sessions: Mutex::default(),
        });
        let threads = (0..clients).map(|number| {
            let worker = Worker {
                number,
                shared: Arc::clone(&shared),
                members: members.iter().map(|member| Client::new(*member).patience(PATIENCE)).collect(),
                rng: rng.fork(),
                session: None,
                weak_reads: std::env::var_os("TRIBUNE_BIN").is_none(),
                seen: vec![None; KEYS as usize],
            };
            std::thread::spawn(move || worker.run())
        });
        let threads = threads.collect();
        Self { shared, members, threads }
    }

    /// Answers so far.
    pub fn answered(&self) -> u64 {
        self.shared.answered.load(Ordering::Relaxed)
    }

    /// Stops the clients, reads every key once more, and checks everything. The number of answers.
    #[track_caller]
    pub fn finish(self, seed: &str) -> u64 {
        let Self { shared, members, threads } = self;
        shared.stop.store(true, Ordering::Release);
        for thread in threads {
            thread.join().expect("a client does not panic");
        }
        last_reads(&shared, &members);
        ended_sessions(&shared, &members);
        let history = shared.recorder.history();
        require(&history, seed);
        if let Err(problem) = check_locks(&history, 250_000) {
            panic!("{seed}: {problem}");
        }
        let (answered, unknown) =
            (shared.answered.load(Ordering::Relaxed), shared.unknown.load(Ordering::Relaxed));
        eprintln!("{seed}: {answered} answers, {unknown} unknown, no violation");
        answered
    }
}

/// Reads every key through some member, until there is an answer.
#[track_caller]
fn last_reads(shared: &Shared, members: &[SocketAddr]) {
    let keys: std::collections::BTreeSet<Key> =
        shared.recorder.history().operations.iter().flat_map(|operation| operation.call.keys()).collect();
    let mut at = 0;
    for key in keys {
        let found = crate::support::eventually(Duration::from_secs(30), || {
            at += 1;
            let mut client = Client::new(members[at % members.len()]).patience(PATIENCE);
            let invoked = shared.recorder.now();
            let row = read(shared, &mut client, key, "?consistent")?;
            let answered = Some((shared.recorder.now(), Answer::Row(row)));
            shared.recorder.note(Operation { client: u32::MAX, call: Call::Get { key }, invoked, answered });
            Some(())
        });
        assert!(found.is_some(), "{} cannot be read after the faults", name(key));
    }
}

/// A session of a client agent that is not there any more may have ended without having been asked to,
/// at any time of its life. All others end when they are told to and not before.
#[track_caller]
fn ended_sessions(shared: &Shared, members: &[SocketAddr]) {
    let sessions = shared.sessions.lock().expect("a lock").clone();
    let history = shared.recorder.history();
    let told = |session: &Held| {
        history.operations.iter().any(|operation| operation.call == Call::End { session: session.number })
    };
    for session in sessions {
        if !session.at_client && told(&session) {
            continue;
        }
        let lives = crate::support::eventually(Duration::from_secs(30), || {
            members.iter().find_map(|member| {
                let target = format!("/v1/session/info/{}?consistent", session.id);
                let answer = Client::new(*member).patience(PATIENCE).get(&target).ok()?;
                (answer.status == 200).then(|| !answer.json().as_array().is_none_or(Vec::is_empty))
            })
        });
        if lives != Some(true) {
            assert!(session.at_client, "session {} of a server ended by itself", session.id);
            let (call, invoked) = (Call::End { session: session.number }, session.created);
            shared.recorder.note(Operation { client: u32::MAX, call, invoked, answered: None });
        }
    }
}

/// A row as the API shows it; the session is one of ours.
fn row(shared: &Shared, entry: &Json) -> Option<Row> {
    let value = match entry["Value"].as_str() {
        Some(text) => Some(decimal(text)?),
        None => None,
    };
    let session = match entry["Session"].as_str().filter(|id| !id.is_empty()) {
        Some(id) => {
            let sessions = shared.sessions.lock().expect("a lock");
            Some(sessions.iter().find(|held| held.id == id)?.number)
        }
        None => None,
    };
    Some(Row {
        value,
        session,
        lock_index: entry["LockIndex"].as_u64()?,
        index: entry["ModifyIndex"].as_u64()?,
    })
}

/// The number in a value: base64 of its decimal digits.
fn decimal(base64: &str) -> Option<u64> {
    use base64::Engine as _;
    let bytes = base64::engine::general_purpose::STANDARD.decode(base64).ok()?;
    std::str::from_utf8(&bytes).ok()?.parse().ok()
}

/// A read; `None` without an answer.
#[expect(clippy::option_option, reason = "no answer, and the answer that nothing is there")]
fn read(shared: &Shared, client: &mut Client, key: Key, mode: &str) -> Option<Option<Row>> {
    let answer = client.get(&format!("/v1/kv/{}{mode}", name(key))).ok()?;
    match answer.status {
        404 => Some(None),
        200 => {
            let rows = answer.json();
            let row = row(shared, &rows[0]);
            assert!(row.is_some(), "{} holds what nobody wrote: {rows}", name(key));
            Some(row)
        }
        _ => None,
    }
}

struct Worker {
    number: u32,
    shared: Arc<Shared>,
    members: Vec<Client>,
    rng: Rng,
    session: Option<Held>,
    /// Half of the reads are of the default kind. Consul's may be stale for a moment when the leader
    /// changes, ours are not.
    weak_reads: bool,
    /// ModifyIndex of each key as last read.
    seen: Vec<Option<(Key, u64)>>,
}

/// What came back: an answer, nothing, or the certainty that nothing was asked.
enum Reply {
    Answer(Answer),
    Unknown,
    NotAsked,
}

impl Worker {
    fn run(mut self) {
        while !self.shared.stop.load(Ordering::Acquire) {
            self.step();
            // The pace of a client, not a wait for anything.
            std::thread::sleep(Duration::from_micros(self.rng.between(1_000, 12_000)));
        }
    }

    fn below(&mut self, limit: u32) -> u32 {
        u32::try_from(self.rng.between(0, u64::from(limit))).unwrap_or(0)
    }

    fn member(&mut self) -> usize {
        usize::try_from(self.rng.between(0, self.members.len() as u64)).unwrap_or(0)
    }

    fn value(&self) -> u64 {
        self.shared.values.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn step(&mut self) {
        let base = u32::try_from(self.shared.recorder.now() / EPOCH).unwrap_or(0) * KEYS;
        let call = match self.below(20) {
            0..10 => {
                let key = base + self.below(SINGLE);
                self.single(key)
            }
            10..15 => {
                let key = base + SINGLE + self.below(LOCKED);
                match self.locked(key) {
                    Some(call) => call,
                    None => return,
                }
            }
            _ => {
                let pair = base + SINGLE + LOCKED + 2 * self.below(PAIRS);
                self.pair(pair)
            }
        };
        let at = self.member();
        let invoked = self.shared.recorder.now();
        let reply = self.ask(at, &call);
        let now = self.shared.recorder.now();
        let answered = match reply {
            Reply::NotAsked => {
                // Nobody is there: give the others a moment.
                std::thread::sleep(Duration::from_millis(20));
                return;
            }
            Reply::Unknown => {
                self.shared.unknown.fetch_add(1, Ordering::Relaxed);
                // A client backs off. The check is the better for it: what may stand anywhere is what
                // makes it long.
                std::thread::sleep(Duration::from_millis(300));
                None
            }
            Reply::Answer(answer) => {
                self.shared.answered.fetch_add(1, Ordering::Relaxed);
                if let (Call::Get { key }, Answer::Row(Some(row))) = (&call, &answer) {
                    self.seen[(key % KEYS) as usize] = Some((*key, row.index));
                }
                if answer == Answer::NoSession {
                    self.session = None;
                }
                Some((now, answer))
            }
        };
        self.shared.recorder.note(Operation { client: self.number, call, invoked, answered });
    }

    fn index(&self, key: Key) -> u64 {
        self.seen[(key % KEYS) as usize].filter(|(seen, _)| *seen == key).map_or(0, |(_, index)| index)
    }

    fn single(&mut self, key: Key) -> Call {
        let index = self.index(key);
        match self.below(10) {
            0..4 => Call::Get { key },
            4..7 => Call::Put { key, value: self.value() },
            7 | 8 => Call::Cas { key, index, value: self.value() },
            _ if index > 0 && self.below(2) == 0 => Call::DeleteCas { key, index },
            _ => Call::Delete { key },
        }
    }

    fn locked(&mut self, key: Key) -> Option<Call> {
        if self.session.is_none() {
            self.session = self.create_session();
        }
        let session = self.session.as_ref()?.number;
        Some(match self.below(20) {
            0..8 => Call::Acquire { key, session, value: self.value() },
            8..13 => Call::Release { key, session, value: self.value() },
            13..18 => Call::Get { key },
            18 => Call::Put { key, value: self.value() },
            _ => Call::End { session },
        })
    }

    fn pair(&mut self, first: Key) -> Call {
        let (one, other) = (first, first + 1);
        match self.below(8) {
            0..3 => Call::Txn(vec![Call::Get { key: one }, Call::Get { key: other }]),
            3 | 4 => {
                let (a, b) = (self.value(), self.value());
                Call::Txn(vec![Call::Put { key: one, value: a }, Call::Put { key: other, value: b }])
            }
            5 => {
                let index = self.index(one);
                let (a, b) = (self.value(), self.value());
                Call::Txn(vec![Call::Cas { key: one, index, value: a }, Call::Put { key: other, value: b }])
            }
            6 => Call::Txn(vec![Call::Delete { key: one }, Call::Put { key: other, value: self.value() }]),
            _ => Call::Get { key: one },
        }
    }

    fn create_session(&mut self) -> Option<Held> {
        let at = self.member();
        let kind = SessionKind { deletes: self.below(2) == 0, delay: u64::from(self.below(2)) * 1_500_000 };
        let body = json!({
            "Behavior": if kind.deletes { "delete" } else { "release" },
            "LockDelay": if kind.delay > 0 { "1500ms" } else { "0s" },
            // No check may end it: then it lives until it is destroyed or its node goes.
            "Checks": [], "NodeChecks": [],
        });
        let created = self.shared.recorder.now();
        let answer = self.members[at].put("/v1/session/create", body.to_string()).ok()?;
        if answer.status != 200 {
            return None;
        }
        let id = answer.json()["ID"].as_str()?.to_owned();
        let (number, at_client) = (self.shared.recorder.session(kind), at >= self.shared.servers);
        let held = Held { number, id, created, at_client };
        self.shared.sessions.lock().expect("a lock").push(held.clone());
        Some(held)
    }

    fn ask(&mut self, at: usize, call: &Call) -> Reply {
        let id = self.session.as_ref().map(|session| session.id.clone()).unwrap_or_default();
        let shared = Arc::clone(&self.shared);
        let mode = if self.weak_reads && self.below(2) == 0 { "" } else { "?consistent" };
        let client = &mut self.members[at];
        let put = |client: &mut Client, key: &Key, query: &str, value: &u64| {
            client.put(&format!("/v1/kv/{}{query}", name(*key)), value.to_string())
        };
        let outcome = match call {
            Call::Get { key } => {
                return match read(&shared, client, *key, mode) {
                    Some(row) => Reply::Answer(Answer::Row(row)),
                    None => Reply::Unknown,
                };
            }
            Call::Put { key, value } => put(client, key, "", value),
            Call::Cas { key, index, value } => put(client, key, &format!("?cas={index}"), value),
            Call::Acquire { key, value, .. } => put(client, key, &format!("?acquire={id}"), value),
            Call::Release { key, value, .. } => put(client, key, &format!("?release={id}"), value),
            Call::Delete { key } => client.delete(&format!("/v1/kv/{}", name(*key))),
            Call::DeleteCas { key, index } => client.delete(&format!("/v1/kv/{}?cas={index}", name(*key))),
            Call::End { .. } => {
                self.session = None;
                client.put(&format!("/v1/session/destroy/{id}"), "")
            }
            Call::Txn(steps) => {
                let body = Json::Array(steps.iter().map(txn_step).collect()).to_string();
                // A transaction that only reads is a read like any other.
                let reads = steps.iter().all(Call::only_reads);
                client.put(&format!("/v1/txn{}", if reads { mode } else { "" }), body)
            }
            Call::CheckIndex { .. } | Call::CheckSession { .. } | Call::CheckAbsent { .. } => {
                return Reply::NotAsked;
            }
        };
        match outcome {
            Ok(answer) => understand(&shared, call, &answer),
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => Reply::NotAsked,
            Err(_) => Reply::Unknown,
        }
    }
}

fn txn_step(call: &Call) -> Json {
    use base64::Engine as _;
    let encode = |value: &u64| base64::engine::general_purpose::STANDARD.encode(value.to_string());
    let step = match call {
        Call::Put { key, value } => json!({ "Verb": "set", "Key": name(*key), "Value": encode(value) }),
        Call::Cas { key, index, value } => {
            json!({ "Verb": "cas", "Key": name(*key), "Index": index, "Value": encode(value) })
        }
        Call::Delete { key } => json!({ "Verb": "delete", "Key": name(*key) }),
        Call::Get { key } => json!({ "Verb": "get", "Key": name(*key) }),
        other => panic!("not in a transaction of these tests: {other:?}"),
    };
    json!({ "KV": step })
}

fn understand(shared: &Shared, call: &Call, answer: &http::Answer) -> Reply {
    let text = answer.text();
    match (call, answer.status) {
        (Call::Txn(_), 200) => {
            let results = answer.json();
            let rows = results["Results"].as_array().into_iter().flatten();
            let rows: Option<Vec<Row>> = rows.map(|result| row(shared, &result["KV"])).collect();
            let rows = rows.unwrap_or_else(|| panic!("a transaction saw what nobody wrote: {results}"));
            Reply::Answer(Answer::Txn(Some(rows)))
        }
        (Call::Txn(_), 409) => Reply::Answer(Answer::Txn(None)),
        (_, 200) => match text.trim() {
            "true" => Reply::Answer(Answer::Bool(true, None)),
            "false" => Reply::Answer(Answer::Bool(false, None)),
            other => panic!("{call:?} was answered {other}"),
        },
        (Call::Acquire { .. }, 500) if text.contains("invalid session") => Reply::Answer(Answer::NoSession),
        (_, 500..) => Reply::Unknown,
        (_, status) => panic!("{call:?} was answered {status} {text}"),
    }
}
