//! Which changes of the members the leader should make now.
//!
//! The rules are Consul 1.8's: servers that come are added without a vote and get one once they are stable; servers that
//! left are removed; failed ones are removed if only a minority is dead. What differs: a member whose name or address
//! changed keeps its vote, and a member that gossip does not know is dead only if raft does not hear it either.

use std::collections::{BTreeMap, BTreeSet};

use super::health::Health;
use super::{Rules, Seen, Standing};
use crate::raft::{Membership, ServerRecord};

/// Everything a plan is made from.
#[derive(Debug)]
pub struct Scene<'a> {
    /// Raft ID of the leader, this server.
    pub me: u64,
    /// The members.
    pub members: &'a Membership,
    /// The servers gossip shows, this one included, by raft ID.
    pub seen: &'a BTreeMap<u64, Seen>,
    /// Members raft has not heard for long.
    pub quiet: &'a BTreeSet<u64>,
    /// The health of the members.
    pub health: &'a Health,
    /// The configuration.
    pub rules: &'a Rules,
    /// Wall clock, milliseconds since the Unix epoch.
    pub now_ms: u64,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Take a server in, without a vote.
    Add(ServerRecord),
    /// Give a member a vote.
    Promote(ServerRecord),
    /// Write down a member's new name or address.
    Update(ServerRecord),
    /// Take a member out.
    Remove {
        /// Its raft ID.
        id: u64,
        /// Its name.
        name: String,
        /// Why, for the log.
        why: &'static str,
    },
    /// Say goodbye in gossip for a server that failed; as one that left it is removed then.
    ForceLeave(String),
    /// A server that cannot be taken in, for it would found a group of its own.
    Conflict(String),
}

/// What follows from members that come and go, whenever they do.
pub fn follow(scene: &Scene<'_>) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut remove = |id: u64, why| {
        if id != scene.me && scene.members.contains(id) {
            let name = scene.members.servers.get(&id).map(|server| server.name.clone()).unwrap_or_default();
            steps.push(Step::Remove { id, name, why });
        }
    };
    for (id, seen) in scene.seen {
        match seen.standing {
            Standing::Left => remove(*id, "left"),
            Standing::Reaped if scene.quiet.contains(id) => remove(*id, "reaped"),
            _ => {}
        }
    }
    let own_bootstrap = scene.seen.get(&scene.me).is_some_and(|own| own.bootstrap);
    for (id, seen) in scene.seen.iter().filter(|(_, seen)| seen.standing == Standing::Alive) {
        match scene.members.servers.get(id) {
            // The raft node keeps this server's own record.
            Some(known) if *known != seen.server && *id != scene.me => {
                steps.push(Step::Update(seen.server.clone()));
            }
            Some(_) => {}
            None if *id == scene.me => {}
            None if seen.bootstrap && own_bootstrap => steps.push(Step::Conflict(seen.server.name.clone())),
            None => {
                steps.extend(predecessor(scene, &seen.server));
                steps.push(Step::Add(seen.server.clone()));
            }
        }
    }
    steps
}

/// A member that a newcomer stands in for: it has its address, and does not live any more.
fn predecessor(scene: &Scene<'_>, newcomer: &ServerRecord) -> Option<Step> {
    let (id, known) = scene.members.servers.iter().find(|(_, known)| known.address == newcomer.address)?;
    let lives = scene.seen.get(id).is_some_and(|seen| seen.standing == Standing::Alive);
    (!lives && *id != scene.me).then(|| Step::Remove {
        id: *id,
        name: known.name.clone(),
        why: "its address belongs to another server now",
    })
}

/// Members that have been healthy for long enough to vote.
pub fn promote(scene: &Scene<'_>) -> Vec<Step> {
    let ready = |id: &&u64| {
        scene.seen.get(id).is_some_and(|seen| seen.standing == Standing::Alive && !seen.non_voter)
            && scene
                .health
                .of(**id)
                .is_some_and(|verdict| verdict.is_stable(scene.rules.stabilization_ms, scene.now_ms))
    };
    let learners = scene.members.learners.iter().filter(ready);
    learners.filter_map(|id| scene.members.servers.get(id).cloned().map(Step::Promote)).collect()
}

/// Why dead servers are kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Kept {
    /// Too few voters would remain.
    #[error(
        "removing {dead} of {voters} servers would leave fewer than the {min_quorum} that min_quorum asks for"
    )]
    MinQuorum {
        /// Dead servers.
        dead: usize,
        /// Voters.
        voters: usize,
        /// The least number.
        min_quorum: u64,
    },
    /// Those that remain could not be sure of themselves.
    #[error("removing {dead} of {voters} servers is not safe: no majority would remain")]
    Majority {
        /// Dead servers.
        dead: usize,
        /// Voters.
        voters: usize,
    },
}

/// Dead servers that may be removed.
///
/// # Errors
/// [`Kept`] if there are some that may not.
pub fn clean(scene: &Scene<'_>) -> Result<Vec<Step>, Kept> {
    if !scene.rules.cleanup {
        return Ok(Vec::new());
    }
    let mut steps = Vec::new();
    let mut dead = Vec::new();
    for (id, seen) in scene.seen.iter().filter(|(_, seen)| seen.standing == Standing::Failed) {
        let step = Step::ForceLeave(seen.server.name.clone());
        // What does not vote can go at any time.
        let votes = !scene.members.contains(*id) || scene.members.is_voter(*id);
        if votes { dead.push(step) } else { steps.push(step) }
    }
    let unknown = |id: &u64| *id != scene.me && !scene.seen.contains_key(id) && scene.quiet.contains(id);
    for (id, server) in scene.members.servers.iter().filter(|(id, _)| unknown(id)) {
        dead.push(Step::Remove { id: *id, name: server.name.clone(), why: "no member of the gossip pool" });
    }
    if dead.is_empty() {
        return Ok(steps);
    }
    let voters = scene.members.voters.len();
    let rest = u64::try_from(voters.saturating_sub(dead.len())).unwrap_or(u64::MAX);
    let kept = if rest < scene.rules.min_quorum {
        let min_quorum = scene.rules.min_quorum;
        Kept::MinQuorum { dead: dead.len(), voters, min_quorum }
    } else if dead.len() > voters.saturating_sub(1) / 2 {
        Kept::Majority { dead: dead.len(), voters }
    } else {
        steps.append(&mut dead);
        return Ok(steps);
    };
    // Servers without a vote go all the same.
    if steps.is_empty() { Err(kept) } else { Ok(steps) }
}

#[cfg(test)]
mod tests;
