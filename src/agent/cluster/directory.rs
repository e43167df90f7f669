//! Where servers are, as gossip knows it: a server is its node ID, and its address may change with every start.

use std::net::SocketAddr;

use crate::actors::member_list::PoolHandle;
use crate::agent::gossip::server_port;
use crate::gossip::serf::{Member, Status};
use crate::peers::Directory;
use crate::raft::{ServerRecord, raft_id};

/// The servers of the LAN pool.
pub struct LanDirectory {
    pub lan: PoolHandle,
    pub datacenter: String,
}

impl LanDirectory {
    /// Node ID and address of a member that is a server of this datacenter.
    fn server_of<'a>(&self, member: &'a Member) -> Option<(&'a str, SocketAddr)> {
        let tag = |name: &str| member.tags.get(name).map(String::as_str);
        if !tag("dc")?.eq_ignore_ascii_case(&self.datacenter) {
            return None;
        }
        Some((tag("id")?, SocketAddr::new(member.addr.ip(), server_port(&member.tags)?)))
    }
}

impl Directory for LanDirectory {
    fn find(&self, node_id: &str) -> Option<SocketAddr> {
        let members = self.lan.members();
        let mut found = None;
        for member in members.iter() {
            let Some((_, address)) =
                self.server_of(member).filter(|(id, _)| id.eq_ignore_ascii_case(node_id))
            else {
                continue;
            };
            // A server that came back under another name is known twice for a while.
            if member.status == Status::Alive {
                return Some(address);
            }
            found = Some(address);
        }
        found
    }

    fn server(&self, wanted: u64) -> Option<ServerRecord> {
        let members = self.lan.members();
        members.iter().find_map(|member| {
            let (node_id, address) = self.server_of(member).filter(|(id, _)| raft_id(id) == wanted)?;
            let (node_id, address) = (node_id.to_owned(), address.to_string());
            Some(ServerRecord { node_id, name: member.name.clone(), address })
        })
    }
}
