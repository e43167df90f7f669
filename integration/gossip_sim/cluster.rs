//! Whole stacks in a world, and what should be true of them: who is up, with which tags, who said goodbye.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rand::RngExt;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha12Rng;
use tribune::gossip::config::{PoolConfig, SerfConfig, SwimConfig};
use tribune::gossip::effect::Everybody;
use tribune::gossip::{Command, Done, Input, Member, Pool, Status, Ticket};

use crate::world::{Conditions, Note, World, addr, name};

/// Between two attempts to enter the pool, as agents retry.
const RETRY: Duration = Duration::from_secs(3);
/// How often the one who runs the cluster looks at it.
const LOOK: Duration = Duration::from_millis(500);

/// What should be true of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It runs and shall be seen as alive.
    Up,
    /// It says goodbye.
    Leaving,
    /// It said goodbye and stopped.
    Left,
    /// It stopped without a word.
    Crashed,
}

/// What is known of a member outside of the pool.
#[derive(Debug, Clone)]
pub struct Fact {
    pub fate: Fate,
    pub tags: BTreeMap<String, String>,
    /// Whether its last life ever left the pool, or was stopped while it did.
    pub said_goodbye: bool,
    /// When this life entered the pool.
    pub entered: Option<Duration>,
    asked: Option<Duration>,
    /// What its clock of user events showed when it last joined: events of earlier times are old news to it.
    pub since: u64,
    /// How often each user event was given out in this life.
    pub heard: BTreeMap<usize, u32>,
}

/// A user event.
#[derive(Debug, Clone)]
pub struct Fired {
    pub at: Duration,
    pub by: usize,
    pub life: u32,
    /// Its Lamport time.
    pub ltime: u64,
    /// Who had entered the pool by then, in which life.
    pub witnesses: Vec<(usize, u32)>,
}

/// A pool of whole stacks.
pub struct Cluster {
    pub world: World<Pool>,
    pub facts: Vec<Fact>,
    pub fired: Vec<Fired>,
    pub done: BTreeMap<Ticket, Result<Done, tribune::gossip::CommandError>>,
    pub swim: SwimConfig,
    pub serf: SerfConfig,
    pub keys: Vec<Vec<u8>>,
    /// Members that were given out as failed, and by whom.
    pub failures: Vec<(Duration, usize, usize)>,
    next_ticket: u64,
    changes: u64,
}

impl Cluster {
    /// Nobody yet.
    pub fn new(seed: u64, conditions: Conditions) -> Self {
        Self {
            world: World::new(seed, conditions),
            facts: Vec::new(),
            fired: Vec::new(),
            done: BTreeMap::new(),
            swim: SwimConfig::lan(),
            serf: SerfConfig::default(),
            keys: Vec::new(),
            failures: Vec::new(),
            next_ticket: 0,
            changes: 0,
        }
    }

    /// So many members that know each other.
    pub fn formed(seed: u64, nodes: usize, conditions: Conditions) -> Self {
        let mut cluster = Self::new(seed, conditions);
        cluster.form(nodes);
        cluster
    }

    /// Adds so many members and waits until they know each other.
    pub fn form(&mut self, nodes: usize) {
        for _ in 0..nodes {
            self.add();
        }
        let formed = self.settle(Duration::from_secs(120), Self::agreed);
        formed.expect("a pool is formed where nothing goes wrong");
        // Until even the news of the last change is no news any more.
        self.run(Duration::from_secs(5));
        self.failures.clear();
    }

    fn chance(&mut self) -> &mut ChaCha12Rng {
        self.world.rng()
    }

    /// A new member, which starts at once.
    pub fn add(&mut self) -> usize {
        let node = self.world.add_place();
        self.facts.push(Fact {
            fate: Fate::Crashed,
            tags: BTreeMap::new(),
            said_goodbye: false,
            entered: None,
            asked: None,
            since: 0,
            heard: BTreeMap::new(),
        });
        self.start(node);
        node
    }

    /// Tells whoever reads the trace.
    pub fn say(&self, text: impl FnOnce() -> String) {
        self.world.say(text);
    }

    /// A member that is down starts, with other tags than ever before.
    pub fn start(&mut self, node: usize) {
        self.say(|| format!("{} starts", name(node)));
        self.changes += 1;
        let tags = BTreeMap::from([
            ("role".to_owned(), "node".to_owned()),
            ("life".to_owned(), self.changes.to_string()),
        ]);
        let fact = &mut self.facts[node];
        fact.fate = Fate::Up;
        fact.tags = tags.clone();
        // The first one of all has nobody to join.
        fact.entered = (node == 0 && self.world.nodes[0].life == 0).then(|| self.world.now());
        fact.asked = None;
        fact.since = 0;
        fact.heard.clear();
        let (swim, serf, keys) = (self.swim.clone(), self.serf.clone(), self.keys.clone());
        self.world.start(node, |seed, now| {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&seed.to_le_bytes());
            let config = PoolConfig {
                name: name(node),
                advertise: addr(node),
                tags,
                swim,
                serf,
                keys,
                verify_incoming: true,
                verify_outgoing: true,
                snapshot: None,
                seed: bytes,
            };
            Pool::new(config, Box::new(Everybody), now).expect("the configuration is valid")
        });
    }

    /// A member stops without a word.
    pub fn crash(&mut self, node: usize) {
        self.say(|| format!("{} crashes", name(node)));
        self.collect();
        self.world.stop(node);
        let fact = &mut self.facts[node];
        fact.said_goodbye |= fact.fate == Fate::Leaving;
        fact.fate = Fate::Crashed;
    }

    /// Gives a command.
    pub fn command(&mut self, node: usize, command: Command) -> Ticket {
        self.next_ticket += 1;
        let ticket = Ticket(self.next_ticket);
        self.world.act(node, |pool, now, out| pool.step(now, Input::Command(ticket, command), out));
        ticket
    }

    /// A connection of one member to another breaks.
    pub fn doubt(&mut self, node: usize, other: usize) {
        self.say(|| format!("{} doubts {}", name(node), name(other)));
        let ip = addr(other).ip();
        self.world.act(node, |pool, now, out| pool.step(now, Input::Doubt(ip), out));
    }

    /// A member begins to say goodbye.
    pub fn leave(&mut self, node: usize) {
        self.say(|| format!("{} leaves", name(node)));
        self.facts[node].fate = Fate::Leaving;
        self.facts[node].said_goodbye = true;
        self.command(node, Command::Leave);
    }

    /// A member says something else of itself.
    pub fn change_tags(&mut self, node: usize) {
        self.changes += 1;
        self.facts[node].tags.insert("change".to_owned(), self.changes.to_string());
        let tags = self.facts[node].tags.clone();
        self.command(node, Command::SetTags(tags));
    }

    /// A member tells everybody something new.
    pub fn fire(&mut self, by: usize) -> usize {
        self.collect();
        let number = self.fired.len();
        let entered = self.members().filter(|node| self.facts[*node].entered.is_some());
        let witnesses = entered.map(|node| (node, self.world.nodes[node].life)).collect();
        let life = self.world.nodes[by].life;
        let ltime = self.world.nodes[by].host.as_ref().map_or(0, |pool| pool.clocks().event);
        self.fired.push(Fired { at: self.world.now(), by, life, ltime, witnesses });
        let payload = vec![0x2a; self.chance().random_range(0..200)];
        self.command(by, Command::UserEvent { name: number.to_string(), payload, coalesce: false });
        number
    }

    /// Members that run and do not leave.
    pub fn members(&self) -> impl Iterator<Item = usize> {
        (0..self.facts.len()).filter(|node| self.facts[*node].fate == Fate::Up)
    }

    /// Members of this fate.
    pub fn with_fate(&self, fate: Fate) -> Vec<usize> {
        (0..self.facts.len()).filter(|node| self.facts[*node].fate == fate).collect()
    }

    /// One of the members that run and do not leave.
    pub fn any_member(&mut self) -> Option<usize> {
        let all: Vec<usize> = self.members().collect();
        all.choose(self.chance()).copied()
    }

    /// Lets time pass; those who are not in the pool try to enter it.
    pub fn run(&mut self, time: Duration) {
        let end = self.world.now() + time;
        while self.world.now() < end {
            self.look_after();
            self.world.run(LOOK.min(end.saturating_sub(self.world.now())));
            self.collect();
        }
    }

    /// Lets time pass until something is the case; says how long it took.
    ///
    /// # Errors
    /// What is still wrong after `limit`.
    pub fn settle(
        &mut self,
        limit: Duration,
        check: impl Fn(&Self) -> Result<(), String>,
    ) -> Result<Duration, String> {
        let start = self.world.now();
        loop {
            let Err(wrong) = check(self) else { return Ok(self.world.now().saturating_sub(start)) };
            if self.world.now() >= start + limit {
                return Err(format!("after {limit:?}: {wrong}"));
            }
            self.run(LOOK);
        }
    }

    fn look_after(&mut self) {
        let now = self.world.now();
        let outside: Vec<usize> = self
            .members()
            .filter(|node| {
                let fact = &self.facts[*node];
                fact.entered.is_none() && fact.asked.is_none_or(|at| now >= at + RETRY)
            })
            .collect();
        for node in outside {
            let others: Vec<usize> = self
                .members()
                .filter(|other| *other != node && self.facts[*other].entered.is_some())
                .collect();
            if let Some(other) = others.choose(self.chance()).copied() {
                self.facts[node].asked = Some(now);
                self.command(node, Command::Join { address: addr(other) });
            } else {
                // Everybody else is gone: this one is the pool now.
                self.facts[node].entered = Some(now);
            }
        }
    }

    /// Takes in what members said.
    pub fn collect(&mut self) {
        for noted in std::mem::take(&mut self.world.notes) {
            let (at, node) = (noted.at, noted.node);
            self.say(|| format!("at {at:?} {}: {:?}", name(node), noted.note));
            match noted.note {
                Note::Heard(event) => *self.facts[node].heard.entry(event).or_default() += 1,
                Note::Failed(other) => self.failures.push((at, node, other)),
                Note::Done(ticket, result) => {
                    match &result {
                        Ok(Done::Joined) => {
                            let pool = self.world.nodes[node].host.as_ref();
                            let fact = &mut self.facts[node];
                            fact.entered.get_or_insert(at);
                            fact.since = pool.map_or(0, |pool| pool.clocks().event);
                        }
                        Ok(Done::Left) => {
                            self.world.stop(node);
                            self.facts[node].fate = Fate::Left;
                        }
                        _ => {}
                    }
                    self.done.insert(ticket, result);
                }
                Note::Joined(_) | Note::Updated(_) | Note::Left(_) | Note::Reaped(_) | Note::Other(_) => {}
            }
        }
    }

    /// How a member sees another.
    pub fn view(&self, from: usize, of: usize) -> Option<&Member> {
        let pool = self.world.nodes[from].host.as_ref()?;
        pool.member(&name(of)).map(|member| &**member)
    }

    /// Members of islands: running members who know nobody of the rest, nor are known there, but as somebody that
    /// left. It happens when all crashed through whom they were connected, and nothing in a pool can heal it.
    pub fn islanders(&self) -> Vec<usize> {
        let members: Vec<usize> = self.members().collect();
        let knows = |from, of| self.view(from, of).is_some_and(|member| member.status != Status::Left);
        let mut reached: Vec<usize> = members.first().copied().into_iter().collect();
        let mut next = 0;
        while let Some(from) = reached.get(next).copied() {
            next += 1;
            for of in &members {
                if !reached.contains(of) && (knows(from, *of) || knows(*of, from)) {
                    reached.push(*of);
                }
            }
        }
        members.into_iter().filter(|node| !reached.contains(node)).collect()
    }

    /// Somebody who knows of an island joins it to the rest.
    pub fn join_islands(&mut self) {
        while let Some(islander) = self.islanders().first().copied() {
            let to = self.members().next().expect("where there are islanders there is a rest");
            self.say(|| format!("{} is on an island, and joins {}", name(islander), name(to)));
            self.command(islander, Command::Join { address: addr(to) });
            self.run(Duration::from_secs(2));
        }
    }

    /// Nobody is on the way out; all members agree on who is there with which tags, hold everybody who is gone to be gone, and agree on
    /// how it went.
    ///
    /// # Errors
    /// The first difference.
    pub fn agreed(&self) -> Result<(), String> {
        let members: Vec<usize> = self.members().collect();
        for from in &members {
            for of in &members {
                let fact = &self.facts[*of];
                match self.view(*from, *of) {
                    Some(member) if member.status == Status::Alive && *member.tags == fact.tags => {}
                    other => {
                        return Err(format!(
                            "{} with {:?} is up, but {} sees {other:?}",
                            name(*of),
                            fact.tags,
                            name(*from)
                        ));
                    }
                }
            }
        }
        for (of, fact) in self.facts.iter().enumerate().filter(|(_, fact)| fact.fate != Fate::Up) {
            let views: BTreeSet<Status> =
                members.iter().filter_map(|from| Some(self.view(*from, of)?.status)).collect();
            let status = match fact.fate {
                Fate::Leaving => return Err(format!("{} is still leaving", name(of))),
                _ if views.is_empty() => continue,
                _ if views.len() > 1 => {
                    let all = members.iter().map(|from| (*from, self.view(*from, of).map(|m| m.status)));
                    let all: Vec<_> = all.collect();
                    return Err(format!("{} ({:?}) is seen as {all:?}", name(of), fact.fate));
                }
                _ => *views.first().expect("not empty"),
            };
            let allowed: &[Status] = if fact.said_goodbye {
                // Cut off, or crashed meanwhile: then it may be that nobody heard the goodbye.
                &[Status::Left, Status::Failed]
            } else {
                &[Status::Failed]
            };
            if !allowed.contains(&status) {
                return Err(format!("{} ({:?}) is seen as {status:?}", name(of), fact.fate));
            }
        }
        Ok(())
    }
}
