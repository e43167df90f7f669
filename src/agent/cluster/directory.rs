//! Where servers are, as gossip knows it: a server is its node ID, and its address may change with every start.

use std::net::SocketAddr;

use crate::actors::member_list::PoolHandle;
use crate::agent::gossip::server_port;
use crate::gossip::serf::Status;
use crate::peers::Directory;

/// The servers of the LAN pool.
pub struct LanDirectory {
    pub lan: PoolHandle,
    pub datacenter: String,
}

impl Directory for LanDirectory {
    fn find(&self, node_id: &str) -> Option<SocketAddr> {
        let members = self.lan.members();
        let mut found = None;
        for member in members.iter() {
            let is = |tag: &str, value: &str| {
                member.tags.get(tag).is_some_and(|own| own.eq_ignore_ascii_case(value))
            };
            if !is("id", node_id) || !is("dc", &self.datacenter) {
                continue;
            }
            let Some(port) = server_port(&member.tags) else { continue };
            let address = SocketAddr::new(member.addr.ip(), port);
            // A server that came back under another name is known twice for a while.
            if member.status == Status::Alive {
                return Some(address);
            }
            found = Some(address);
        }
        found
    }
}
