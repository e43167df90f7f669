//! The servers of this datacenter, as autopilot sees them in gossip.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::time::timeout;

use super::members::Pools;
use super::tags::{Role, role};
use crate::actors::autopilot::ServerPool;
use crate::autopilot::{Seen, Standing};
use crate::endpoints::EndpointError;
use crate::endpoints::agent::Members as _;
use crate::gossip::serf::{Member, Status};
use crate::peers::request::Answer;
use crate::peers::{Links, Request};
use crate::raft::ServerRecord;

/// How long a server may take to say which group it is in.
const ANSWER: Duration = Duration::from_secs(2);

/// The servers of the LAN pool.
pub struct LanServers {
    /// Both pools: a server says goodbye in both.
    pub pools: Arc<Pools>,
    /// The way to other servers.
    pub links: Links,
}

impl ServerPool for LanServers {
    fn servers(&self) -> Vec<Seen> {
        let members = self.pools.lan.members();
        let mut servers: Vec<Seen> =
            members.iter().filter_map(|member| seen(member, &self.pools.datacenter)).collect();
        // A server that came back under another name is known twice for a while: the one that lives counts, and
        // whoever collects them takes the last one.
        servers.sort_by_key(|seen| seen.standing == Standing::Alive);
        servers
    }

    fn force_leave(&self, name: &str) -> BoxFuture<'_, Result<(), EndpointError>> {
        Pools::force_leave(&self.pools, name, false)
    }

    fn group<'a>(
        &'a self,
        server: &'a ServerRecord,
    ) -> BoxFuture<'a, Result<Vec<ServerRecord>, EndpointError>> {
        Box::pin(async move {
            match timeout(ANSWER, self.links.request(server, &Request::Group)).await {
                Ok(Ok(Answer::Group(members))) => Ok(members),
                Ok(Ok(Answer::Failed(error))) => Err(error),
                Ok(Ok(_)) => {
                    Err(EndpointError::Internal(format!("server {} answered something else", server.name)))
                }
                Ok(Err(error)) => Err(EndpointError::Internal(error.to_string())),
                Err(_) => Err(EndpointError::Internal(format!("server {} does not answer", server.name))),
            }
        })
    }
}

fn seen(member: &Member, datacenter: &str) -> Option<Seen> {
    let tag = |name: &str| member.tags.get(name).map_or("", String::as_str);
    let Role::Server(server) = role(&member.tags) else { return None };
    if tag("dc") != datacenter || tag("id").is_empty() {
        return None;
    }
    let address = SocketAddr::new(member.addr.ip(), server.port).to_string();
    Some(Seen {
        server: ServerRecord { node_id: tag("id").to_owned(), name: member.name.clone(), address },
        standing: match member.status {
            Status::Alive => Standing::Alive,
            Status::Failed => Standing::Failed,
            Status::Left => Standing::Left,
            Status::Leaving | Status::None => Standing::Leaving,
        },
        version: server.version,
        non_voter: server.non_voter,
        bootstrap: tag("bootstrap") == "1",
    })
}
