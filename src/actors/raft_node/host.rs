//! What the raft node hands on to others, and how its effects are carried out.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use actix::Message;
use tokio::sync::oneshot;

use crate::actors::mailbox::Sender;
use crate::actors::raft_handle::{Published, RaftLink, Waiter, refusal};
use crate::endpoints::EndpointError;
use crate::metrics::{Gauge, Metrics, Timer};
use crate::raft::{Committed, Effect, Manifest, PeerMessage, RaftError, ServerRecord};

/// Committed entries for the applier, in order and without gaps. It applies them in one write with
/// the last index in it, publishes, answers every waiter, and calls [`RaftLink::applied`]. What is
/// handed out and not reported back is bounded by `DriverConfig::max_apply_backlog`.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct ApplyCommitted {
    /// The entries. Those that are not normal only move the applied index.
    pub entries: Vec<Committed<Waiter>>,
    /// Where to report.
    pub raft: RaftLink,
}

/// The log's files hold too much: make the state durable and call [`RaftLink::compact_to`].
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct FlushWanted {
    /// Where to report.
    pub raft: RaftLink,
}

/// Work with snapshots of the state, for a group of several servers.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub enum SnapshotWork {
    /// Replace the state by this one, whose data is here; then [`RaftLink::snapshot_installed`].
    Install(Box<Manifest>, RaftLink),
    /// Make one for a peer; then [`RaftLink::snapshot_ready`].
    Make(RaftLink),
}

/// Where committed entries go.
#[derive(Debug, Clone)]
pub struct Applier {
    /// Applies.
    pub apply: Sender<ApplyCommitted>,
    /// Flushes.
    pub flush: Sender<FlushWanted>,
    /// Makes and installs snapshots; without it this server cannot serve or join others.
    pub snapshots: Option<Sender<SnapshotWork>>,
}

/// Sends to peers. Must not block: a message that cannot be queued is an error.
pub trait PeerTransport: Send {
    /// Sends a message; false if it cannot be.
    fn send(&mut self, to: &ServerRecord, message: PeerMessage) -> bool;

    /// A server that is no member here, by its raft ID. One that is being added hears from members before it knows
    /// any, and must answer.
    fn find(&self, _raft_id: u64) -> Option<ServerRecord> {
        None
    }
}

/// No peers.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoPeers;

impl PeerTransport for NoPeers {
    fn send(&mut self, _to: &ServerRecord, _message: PeerMessage) -> bool {
        false
    }
}

/// What effects are carried out with.
pub(super) struct Host {
    pub(super) link: RaftLink,
    pub(super) applier: Applier,
    pub(super) peers: Box<dyn PeerTransport>,
    pub(super) published: Arc<Published>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) reads: HashMap<u64, oneshot::Sender<Result<(), EndpointError>>>,
    pub(super) next_read: u64,
    pub(super) members: BTreeMap<u64, ServerRecord>,
    pub(super) unreachable: Vec<u64>,
    /// Leadership or members changed since they were published.
    pub(super) changed: bool,
    pub(super) became_ready: bool,
    /// Something that cannot be carried out.
    pub(super) lost: Option<RaftError>,
}

impl Host {
    pub(super) fn carry_out(&mut self, effect: Effect<Waiter>) {
        match effect {
            Effect::Apply(entries) => {
                self.measure(&entries);
                self.applier.apply.send(ApplyCommitted { entries, raft: self.link.clone() });
            }
            Effect::Send(message) => {
                let to = message.to();
                let sent = match self.members.get(&to) {
                    Some(server) => self.peers.send(server, message),
                    None => self.peers.find(to).is_some_and(|server| self.peers.send(&server, message)),
                };
                if !sent {
                    self.unreachable.push(to);
                }
            }
            Effect::ReadReady { ctx, .. } => self.answer_read(ctx, Ok(())),
            Effect::ReadFailed { ctx, .. } => self.answer_read(ctx, Err(EndpointError::NoLeader)),
            Effect::Reject { waiter, error } => waiter.answer(Err(refusal(error))),
            Effect::LeaderChanged { leader, term, is_self } => {
                let name = leader.and_then(|id| self.members.get(&id)).map_or("none", |server| &server.name);
                tracing::info!(leader = name, term, is_self, "raft leader changed");
                self.changed = true;
            }
            Effect::LeaderReady { term } => {
                tracing::info!(term, "this server leads and is up to date");
                self.changed = true;
                self.became_ready = true;
            }
            Effect::MembershipChanged(membership) => {
                tracing::info!(
                    index = membership.index,
                    voters = membership.voters.len(),
                    learners = membership.learners.len(),
                    "raft members changed"
                );
                self.members = membership.servers;
                self.changed = true;
            }
            Effect::InstallSnapshot(manifest) => {
                if let Some(snapshots) = &self.applier.snapshots {
                    snapshots.send(SnapshotWork::Install(Box::new(manifest), self.link.clone()));
                } else {
                    let text = "a snapshot is to be installed, which this build cannot do";
                    self.lost = Some(RaftError::Broken(text.into()));
                }
            }
            Effect::SnapshotWanted { .. } => {
                if let Some(snapshots) = &self.applier.snapshots {
                    snapshots.send(SnapshotWork::Make(self.link.clone()));
                }
            }
        }
    }

    /// Whoever waits here has proposed here: followers measure nothing.
    fn measure(&self, entries: &[Committed<Waiter>]) {
        self.metrics.set(Gauge::RaftCommitNumLogs, u64::try_from(entries.len()).unwrap_or(u64::MAX));
        for waiter in entries.iter().filter_map(|entry| entry.waiter.as_ref()) {
            self.metrics.time(Timer::RaftCommitTime, waiter.age());
        }
    }

    fn answer_read(&mut self, ctx: u64, answer: Result<(), EndpointError>) {
        if let Some(reply) = self.reads.remove(&ctx) {
            let _ = reply.send(answer);
        }
    }
}
