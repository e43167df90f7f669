//! Opening a driver: what the log and the state say must fit together before the node may vote.

use super::{
    ChaCha8Rng, Driver, DriverConfig, Effect, HardState, LogPosition, LogStore, LogView, Membership, Pending,
    ProposeError, RaftError, RawNode, ReadError, Reads, Staged, StateRole, VecDeque, logger,
};
use crate::raft::LogState;
use crate::raft::lease::{Echo, Lease};
use crate::raft::log::LogWrite;
use crate::raft::membership::{BOOTSTRAP_INDEX, BOOTSTRAP_TERM};
use rand::{RngExt, SeedableRng};

impl<L: LogStore, W> Driver<L, W> {
    /// Opens the node over its log. `applied_index` comes from the state's own store, `rng_seed`
    /// decides election timeouts and makes read requests unique: draw it anew at every start.
    ///
    /// A log that has never been written founds the group of [`DriverConfig::bootstrap`], or waits to
    /// be added to one. A server that is the only voter stands for election at once.
    ///
    /// # Errors
    /// [`RaftError`] if log and state do not fit together, or the log fails.
    pub fn open(
        config: DriverConfig,
        mut log: L,
        applied_index: u64,
        rng_seed: u64,
    ) -> Result<Self, RaftError> {
        let place = log.place();
        let mut state = log.state()?;
        if let Some(found) = state.server
            && found != config.id
        {
            return Err(RaftError::WrongServer { place, expected: config.id, found });
        }
        let is_empty = state.membership.is_none() && state.last_index == 0;
        if is_empty && (state.server.is_none() || config.bootstrap.is_some()) {
            if applied_index > 0 {
                let what = "the state has applied";
                return Err(RaftError::LostEntries { place, last: 0, what, needed: applied_index });
            }
            state = begin(&config, &state.hard_state, &mut log)?;
        }
        check(&place, &state, applied_index)?;
        if let Some(members) = &config.recover {
            state = recover(members, &state, &mut log)?;
        }
        let mut hard_state = state.hard_state.clone();
        if applied_index > hard_state.commit {
            // The commit index is written along with the next entries, so it may lag behind. What
            // was applied was committed, and the entries are there.
            tracing::info!(
                commit = hard_state.commit,
                applied = applied_index,
                "raft commit index lifted to what the state has applied"
            );
            hard_state.commit = applied_index;
        }
        let members = state.membership.clone().unwrap_or_default();
        let applied = applied_index.max(state.truncated.index);
        let raft_config = config.raft(applied)?;
        let view = LogView::new(log, hard_state, &members, state.truncated, state.last_index);
        // Raft reads the log here already, and knows only panics for what it cannot read.
        let opened = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            RawNode::new(&raft_config, view, &logger::logger())
        }));
        let node = match opened {
            Ok(node) => node.map_err(|error| RaftError::Broken(error.to_string()))?,
            Err(_) => return Err(RaftError::Broken("the node cannot start from its log".into())),
        };
        let may_have_promised = !is_empty && config.recover.is_none() && members.voters.len() > 1;
        let quiet_until =
            if may_have_promised { (config.lease_ticks() + config.heartbeat_ticks) as u64 } else { 0 };
        let mut rng = ChaCha8Rng::seed_from_u64(rng_seed);
        let nonce = rng.random();
        let mut driver = Self {
            soft: node.raft.soft_state(),
            hard: node.raft.hard_state(),
            drawn_for: (u64::MAX, StateRole::Follower),
            timeout: config.election_ticks,
            ticks: 0,
            pending: Pending::new(),
            reads: Reads::new(config.id, nonce),
            lease: Lease::default(),
            echo: Echo::default(),
            now: 0,
            transferred: 0,
            quiet_until,
            membership: members,
            staged: Staged::default(),
            unreported: None,
            held: Vec::new(),
            hold_apply: false,
            queued: Vec::new(),
            handed: applied,
            applied,
            backlog: VecDeque::new(),
            backlog_bytes: 0,
            installing: state.installing.filter(|manifest| manifest.index > applied_index),
            hold: None,
            appended_marks: VecDeque::new(),
            appended_bytes: 0,
            tight: false,
            announced: (None, 0, false),
            announced_ready: false,
            failed: false,
            config,
            node,
            rng,
        };
        if let Some(manifest) = &driver.installing {
            driver.queued.push(Effect::InstallSnapshot(manifest.clone()));
        }
        driver.redraw_timeout();
        if driver.membership.is_lone_voter(driver.config.id) {
            driver.campaign()?;
        }
        Ok(driver)
    }
}

impl<L: LogStore, W> Driver<L, W> {
    /// Founds a group with these members, on a server that belongs to none. `empty` takes the log's place for a
    /// moment; `rng_seed` as in [`Driver::open`].
    ///
    /// # Errors
    /// [`ProposeError::Membership`] (nothing has changed) on a server that is in a group, or is none of the
    /// founders. [`RaftError`]: the host must stop.
    pub fn found(
        &mut self,
        founding: Membership,
        empty: L,
        rng_seed: u64,
    ) -> Result<Result<(), ProposeError>, RaftError> {
        let refuse = |text: &str| Ok(Err(ProposeError::Membership(text.to_owned())));
        if !self.membership.voters.is_empty() || self.node.raft.raft_log.last_index() > 0 {
            return refuse("this server is in a raft group already");
        }
        if !founding.is_sound() || !founding.is_voter(self.config.id) {
            return refuse("the founding members make no sense");
        }
        self.flush()?;
        let log = std::mem::replace(&mut self.node.mut_store().log, empty);
        let config = DriverConfig { bootstrap: Some(founding), recover: None, ..self.config.clone() };
        let mut late = Vec::new();
        self.reads.expire(u64::MAX, &mut late);
        let mut queued = std::mem::take(&mut self.queued);
        let failed = late.into_iter().map(|ctx| Effect::ReadFailed { ctx, error: ReadError::NoLeader });
        queued.extend(failed);
        *self = Self::open(config, log, 0, rng_seed)?;
        queued.push(Effect::MembershipChanged(self.membership.clone()));
        self.queued.extend(queued);
        Ok(Ok(()))
    }
}

/// First write to a new log: who we are, and the founding members if there are any.
fn begin<L: LogStore>(config: &DriverConfig, voted: &HardState, log: &mut L) -> Result<LogState, RaftError> {
    let mut write = LogWrite { server: Some(config.id), must_sync: true, ..LogWrite::default() };
    if let Some(founding) = &config.bootstrap {
        if !founding.is_sound() {
            return Err(RaftError::Config("the founding members make no sense".into()));
        }
        let position = LogPosition { index: BOOTSTRAP_INDEX, term: BOOTSTRAP_TERM };
        write.reset = Some(position);
        write.hard_state =
            // It may have voted for others before.
            Some(HardState { term: voted.term.max(position.term), commit: position.index, ..voted.clone() });
        write.membership = Some(Membership { index: position.index, ..founding.clone() });
    }
    log.write(&write)?;
    Ok(log.state()?)
}

/// Puts these members in the place of those the log has, as of its last entry: changes of members up to there, even such
/// as are not committed yet, count no more. Term and vote stay, so that nobody votes twice.
fn recover<L: LogStore>(members: &Membership, state: &LogState, log: &mut L) -> Result<LogState, RaftError> {
    if !members.is_sound() {
        return Err(RaftError::Config("the members to recover with make no sense".into()));
    }
    if state.last_index == 0 {
        return Err(RaftError::Config(
            "there is no log to recover: this server was never in a raft group".into(),
        ));
    }
    if state.installing.is_some() {
        return Err(RaftError::Config("a snapshot is half installed; recover with another server".into()));
    }
    let write = LogWrite {
        membership: Some(Membership { index: state.last_index, ..members.clone() }),
        must_sync: true,
        ..LogWrite::default()
    };
    log.write(&write)?;
    Ok(log.state()?)
}

fn check(place: &str, state: &LogState, applied: u64) -> Result<(), RaftError> {
    let (last, truncated) = (state.last_index, state.truncated.index);
    let lost = |what, needed| RaftError::LostEntries { place: place.to_owned(), last, what, needed };
    if applied > last {
        return Err(lost("the state has applied", applied));
    }
    if state.hard_state.commit > last {
        return Err(lost("the group has committed", state.hard_state.commit));
    }
    if truncated > state.hard_state.commit.max(applied) {
        return Err(RaftError::Broken(format!(
            "the log in {place} is truncated at {truncated}, beyond its commit index {}",
            state.hard_state.commit
        )));
    }
    // A group is founded as if the empty state were a snapshot, so there nothing is missing.
    let installing = state.installing.as_ref().is_some_and(|manifest| manifest.index >= truncated);
    if applied < truncated && truncated > BOOTSTRAP_INDEX && !installing {
        return Err(RaftError::StateBehind { place: place.to_owned(), truncated, applied });
    }
    Ok(())
}
