//! `Operator` and `Status`.

use super::GoTime;
use crate::endpoints::Peer;
use crate::rpc::codec::fields::shapes;

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
            protocol_version: crate::endpoints::operator::RAFT_PROTOCOL.to_owned(),
            voter: peer.voter,
        }
    }
}
