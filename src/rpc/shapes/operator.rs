//! `Operator` and `Status`.

use super::GoTime;
use crate::endpoints::agent::MemberStatus;
use crate::endpoints::{Peer, operator};
use crate::rpc::codec::fields::shapes;
use crate::state::record;

shapes! {
    /// A raft member.
    RaftServer {
        /// `ip:port` of its server RPC.
        address: String = "Address",
        /// Node UUID.
        id: String = "ID",
        /// It leads.
        leader: bool = "Leader",
        /// Node name.
        node: String = "Node",
        /// Raft protocol.
        protocol_version: String = "ProtocolVersion",
        /// It votes.
        voter: bool = "Voter",
    }

    /// Reply of `Operator.RaftGetConfiguration`.
    RaftConfiguration {
        /// Index of the membership.
        index: u64 = "Index",
        /// The members.
        servers: Vec<RaftServer> = "Servers",
    }

    /// `Operator.RaftRemovePeerByAddress` and `ByID`.
    RaftRemovePeer {
        /// Address, for the first.
        address: String = "Address",
        /// Datacenter.
        datacenter: String = "Datacenter",
        /// Node UUID, for the second.
        id: String = "ID",
        /// ACL token.
        token: String = "Token",
    }

    /// `Operator.TransferLeader`, of versions after 1.8.
    TransferLeader {
        /// Datacenter.
        datacenter: String = "Datacenter",
        /// Node UUID of the server that shall lead; empty for any.
        id: String = "ID",
        /// ACL token.
        token: String = "Token",
    }

    /// Reply of `Operator.TransferLeader`.
    Transferred {
        /// It is done.
        success: bool = "Success",
    }

    /// Reply of `Operator.AutopilotGetConfiguration`. Durations in nanoseconds.
    AutopilotConfig {
        /// Remove dead servers.
        cleanup_dead_servers: bool = "CleanupDeadServers",
        /// Raft index.
        create_index: u64 = "CreateIndex",
        /// Enterprise.
        disable_upgrade_migration: bool = "DisableUpgradeMigration",
        /// How long ago the leader may have been heard.
        last_contact_threshold: i64 = "LastContactThreshold",
        /// How many entries a server may be behind.
        max_trailing_logs: u64 = "MaxTrailingLogs",
        /// Never fewer servers than this.
        min_quorum: u64 = "MinQuorum",
        /// Raft index.
        modify_index: u64 = "ModifyIndex",
        /// Enterprise.
        redundancy_zone_tag: String = "RedundancyZoneTag",
        /// How long a new server must be healthy before it votes.
        server_stabilization_time: i64 = "ServerStabilizationTime",
        /// Enterprise.
        upgrade_version_tag: String = "UpgradeVersionTag",
    }

    /// `Operator.AutopilotSetConfiguration`.
    AutopilotSetConfig {
        /// Only if the ModifyIndex still is the given one.
        cas: bool = "CAS",
        /// The new configuration.
        config: AutopilotConfig = "Config",
        /// Datacenter.
        datacenter: String = "Datacenter",
        /// ACL token.
        token: String = "Token",
    }

    /// The health of one server.
    ServerHealth {
        /// `ip:port` of its server RPC.
        address: String = "Address",
        /// May be counted on.
        healthy: bool = "Healthy",
        /// Node UUID.
        id: String = "ID",
        /// Nanoseconds since it heard the leader.
        last_contact: i64 = "LastContact",
        /// Its last raft index.
        last_index: u64 = "LastIndex",
        /// Its last raft term.
        last_term: u64 = "LastTerm",
        /// It leads.
        leader: bool = "Leader",
        /// Node name.
        name: String = "Name",
        /// Serf's number of its status; 1 is alive.
        serf_status: u64 = "SerfStatus",
        /// Since when its health is what it is.
        stable_since: GoTime = "StableSince",
        /// Consul's version.
        version: String = "Version",
        /// It votes.
        voter: bool = "Voter",
    }

    /// Reply of `Operator.ServerHealth`.
    OperatorHealth {
        /// How many servers may fail.
        failure_tolerance: u64 = "FailureTolerance",
        /// All are healthy.
        healthy: bool = "Healthy",
        /// Each.
        servers: Vec<ServerHealth> = "Servers",
    }

    /// Reply of `Status.RaftStats`.
    RaftStats {
        /// Time since the leader was heard, in Go's notation; `0` on the leader.
        last_contact: String = "LastContact",
        /// Its last raft index.
        last_index: u64 = "LastIndex",
        /// Its last raft term.
        last_term: u64 = "LastTerm",
    }
}

impl From<&Peer> for RaftServer {
    fn from(peer: &Peer) -> Self {
        Self {
            address: peer.address.clone(),
            id: peer.id.clone(),
            leader: peer.leader,
            node: peer.node.clone(),
            protocol_version: operator::RAFT_PROTOCOL.to_owned(),
            voter: peer.voter,
        }
    }
}

impl From<&record::AutopilotConfig> for AutopilotConfig {
    fn from(config: &record::AutopilotConfig) -> Self {
        Self {
            cleanup_dead_servers: config.cleanup_dead_servers,
            create_index: config.indexes.create_index,
            disable_upgrade_migration: config.disable_upgrade_migration,
            last_contact_threshold: config.last_contact_threshold,
            max_trailing_logs: config.max_trailing_logs,
            min_quorum: config.min_quorum,
            modify_index: config.indexes.modify_index,
            redundancy_zone_tag: config.redundancy_zone_tag.clone(),
            server_stabilization_time: config.server_stabilization_time,
            upgrade_version_tag: config.upgrade_version_tag.clone(),
        }
    }
}

impl From<AutopilotConfig> for record::AutopilotConfig {
    fn from(config: AutopilotConfig) -> Self {
        Self {
            cleanup_dead_servers: config.cleanup_dead_servers,
            last_contact_threshold: config.last_contact_threshold,
            max_trailing_logs: config.max_trailing_logs,
            min_quorum: config.min_quorum,
            server_stabilization_time: config.server_stabilization_time,
            redundancy_zone_tag: config.redundancy_zone_tag,
            disable_upgrade_migration: config.disable_upgrade_migration,
            upgrade_version_tag: config.upgrade_version_tag,
            indexes: record::Indexes { create_index: config.create_index, modify_index: config.modify_index },
        }
    }
}

impl From<&operator::ClusterHealth> for OperatorHealth {
    fn from(health: &operator::ClusterHealth) -> Self {
        let servers = health.servers.iter().map(|server| ServerHealth {
            address: server.address.clone(),
            healthy: server.healthy,
            id: server.id.clone(),
            last_contact: server.last_contact_ns,
            last_index: server.last_index,
            last_term: server.last_term,
            leader: server.leader,
            name: server.name.clone(),
            serf_status: server.serf_status as u64,
            stable_since: match server.stable_since_ms {
                0 => GoTime::default(),
                millis => GoTime::from_millis(millis),
            },
            version: server.version.clone(),
            voter: server.voter,
        });
        Self {
            failure_tolerance: health.failure_tolerance,
            healthy: health.healthy,
            servers: servers.collect(),
        }
    }
}

impl From<RaftServer> for Peer {
    fn from(server: RaftServer) -> Self {
        Self {
            id: server.id,
            node: server.node,
            address: server.address,
            leader: server.leader,
            voter: server.voter,
        }
    }
}

impl From<OperatorHealth> for operator::ClusterHealth {
    fn from(health: OperatorHealth) -> Self {
        let servers = health.servers.into_iter().map(|server| operator::ServerHealth {
            id: server.id,
            name: server.name,
            address: server.address,
            serf_status: match server.serf_status {
                1 => MemberStatus::Alive,
                2 => MemberStatus::Leaving,
                3 => MemberStatus::Left,
                4 => MemberStatus::Failed,
                _ => MemberStatus::None,
            },
            version: server.version,
            leader: server.leader,
            voter: server.voter,
            last_contact_ns: server.last_contact,
            last_term: server.last_term,
            last_index: server.last_index,
            healthy: server.healthy,
            stable_since_ms: server.stable_since.to_millis(),
        });
        Self {
            healthy: health.healthy,
            failure_tolerance: health.failure_tolerance,
            servers: servers.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn health_travels() {
        let server = operator::ServerHealth {
            id: "i".into(),
            name: "n".into(),
            address: "a".into(),
            serf_status: MemberStatus::Failed,
            version: "1.8.7".into(),
            leader: true,
            voter: true,
            last_contact_ns: -1,
            last_term: 2,
            last_index: 3,
            healthy: true,
            stable_since_ms: 0,
        };
        let later = operator::ServerHealth { stable_since_ms: 1_795_289_110_999, ..server.clone() };
        let health =
            operator::ClusterHealth { healthy: true, failure_tolerance: 1, servers: vec![server, later] };
        assert_eq!(operator::ClusterHealth::from(OperatorHealth::from(&health)), health);
    }
}
