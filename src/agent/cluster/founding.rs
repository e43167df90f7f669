//! Founding a raft group with the servers that `bootstrap_expect` asks for.
//!
//! Once gossip shows so many servers that expect the same number, the one with the least node ID founds the group, after
//! all others have promised to found none; then it tells them the members, and all begin with the same log. Who has
//! promised waits for its founder, for a while. Nobody founds anything if one of them is in a group already: that
//! group's leader will take the others in. So no two groups can come of servers that saw each other at different
//! times, as long as they have one server in common.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tracing::{debug, info, warn};

use crate::actors::mailbox::Sender;
use crate::actors::member_list::{MemberEvent, PoolHandle};
use crate::actors::raft_handle::RaftHandle;
use crate::agent::gossip::{expected_servers, server_port};
use crate::endpoints::LeaderRead;
use crate::gossip::serf::Status;
use crate::peers::Links;
use crate::peers::request::{Answer, Promise, Request};
use crate::raft::ServerRecord;

/// How long a promise binds: longer than a founder needs, short enough that its death delays little.
const BINDING: Duration = Duration::from_secs(10);
/// Between two looks while nothing happens.
const LOOK: Duration = Duration::from_millis(500);
/// How long a server may take to answer.
const ANSWER: Duration = Duration::from_secs(2);

/// The promise given, if any. A founder promises itself.
#[derive(Debug, Default)]
pub struct Promises(Mutex<Option<(String, Instant)>>);

impl Promises {
    /// Gives the promise to this founder, unless another one has it.
    pub fn give(&self, founder: &str) -> Promise {
        let mut given = self.0.lock();
        match &*given {
            Some((other, since)) if !other.eq_ignore_ascii_case(founder) && since.elapsed() < BINDING => {
                Promise::Refused
            }
            _ => {
                *given = Some((founder.to_owned(), Instant::now()));
                Promise::Given
            }
        }
    }

    /// Whether this founder has the promise.
    pub fn is_given_to(&self, founder: &str) -> bool {
        self.0
            .lock()
            .as_ref()
            .is_some_and(|(other, since)| other.eq_ignore_ascii_case(founder) && since.elapsed() < BINDING)
    }
}

/// Founds a group or waits for one.
pub struct Founding {
    pub expect: u32,
    pub me: ServerRecord,
    pub datacenter: String,
    pub lan: PoolHandle,
    pub raft: RaftHandle,
    pub links: Links,
    pub promises: Arc<Promises>,
}

impl Founding {
    /// Until this server is in a group.
    pub async fn run(self) {
        let (wake, mut woken) = watch::channel(());
        self.lan.subscribe(Sender::new(move |_: MemberEvent| {
            wake.send_replace(());
        }));
        while self.raft.leadership().peers.is_empty() {
            woken.mark_unchanged();
            let servers = self.candidates();
            if servers.len() >= self.expect as usize && self.is_first(&servers) {
                self.found(servers).await;
            }
            tokio::select! {
                _ = woken.changed() => {}
                () = sleep(LOOK) => {}
            }
        }
    }

    /// The living servers of this datacenter that expect as many as this one, by node ID.
    fn candidates(&self) -> BTreeMap<String, ServerRecord> {
        let mut found = BTreeMap::new();
        for member in self.lan.members().iter() {
            let tag = |name: &str| member.tags.get(name).map_or("", String::as_str);
            let Some(port) = server_port(&member.tags) else { continue };
            if tag("dc") != self.datacenter || member.status != Status::Alive {
                continue;
            }
            match expected_servers(&member.tags) {
                Some(expect) if expect == self.expect => {
                    let address = SocketAddr::new(member.addr.ip(), port).to_string();
                    let (node_id, name) = (tag("id").to_owned(), member.name.clone());
                    found.insert(node_id.to_lowercase(), ServerRecord { node_id, name, address });
                }
                Some(expect) => {
                    warn!(target: "agent.server", member = %member.name, expect, own = self.expect,
                        "Member has a conflicting expect value. All nodes should expect the same number.");
                }
                None => {}
            }
        }
        found
    }

    fn is_first(&self, servers: &BTreeMap<String, ServerRecord>) -> bool {
        servers.keys().next().is_some_and(|first| first.eq_ignore_ascii_case(&self.me.node_id))
    }

    async fn found(&self, servers: BTreeMap<String, ServerRecord>) {
        if self.promises.give(&self.me.node_id) != Promise::Given {
            return;
        }
        let others: Vec<_> = servers.values().filter(|server| server.node_id != self.me.node_id).collect();
        let asked = others.iter().map(|server| self.ask(server, Request::Promise(self.me.clone())));
        for (server, answer) in others.iter().zip(futures::future::join_all(asked).await) {
            match answer {
                Some(Answer::Promise(Promise::Given)) => {}
                Some(Answer::Promise(Promise::InGroup)) => {
                    return info!(target: "agent.server", server = %server.name,
                        "Existing Raft peers reported by server, waiting for its leader");
                }
                other => {
                    return debug!(target: "agent.server", server = %server.name, answer = ?other, "no promise yet");
                }
            }
        }
        let addresses: Vec<_> = servers.values().map(|server| server.address.as_str()).collect();
        info!(target: "agent.server", addresses = addresses.join(","),
            "Found expected number of peers, attempting bootstrap");
        let members: Vec<_> = servers.values().cloned().collect();
        if let Err(error) = self.raft.found(members.clone()).await {
            return warn!(target: "agent.server", error = %error, "cannot found the raft group");
        }
        // Who does not hear of it hears from the leader.
        let told = others.iter().map(|server| self.ask(server, Request::Found(members.clone())));
        for (server, answer) in others.iter().zip(futures::future::join_all(told).await) {
            if answer != Some(Answer::Done) {
                warn!(target: "agent.server", server = %server.name, answer = ?answer, "server did not begin with the group");
            }
        }
        // All are here and none leads: there is nothing to wait for.
        self.raft.campaign();
    }

    async fn ask(&self, server: &ServerRecord, request: Request) -> Option<Answer> {
        timeout(ANSWER, self.links.request(server, &request)).await.ok()?.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_promise_at_a_time() {
        let promises = Promises::default();
        assert!(!promises.is_given_to("a"));
        assert_eq!(promises.give("a"), Promise::Given);
        assert_eq!(promises.give("A"), Promise::Given, "again, to the same");
        assert_eq!(promises.give("b"), Promise::Refused);
        assert!(promises.is_given_to("a") && !promises.is_given_to("b"));
    }
}
