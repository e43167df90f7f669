//! Which pool, and Consul's words for it in the log.

use crate::gossip::Event;
use crate::gossip::serf::{Member, Status};

/// A pool, as this agent takes part in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Area {
    /// Of the datacenter, on a server.
    ServerLan,
    /// Of the servers of all datacenters.
    ServerWan,
    /// Of the datacenter, on a client.
    ClientLan,
}

impl Area {
    /// `lan` or `wan`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::ServerLan | Self::ClientLan => "lan",
            Self::ServerWan => "wan",
        }
    }

    /// `LAN` or `WAN`.
    pub const fn title(self) -> &'static str {
        match self {
            Self::ServerLan | Self::ClientLan => "LAN",
            Self::ServerWan => "WAN",
        }
    }

    /// Name of its actor in logs.
    pub const fn actor(self) -> &'static str {
        match self {
            Self::ServerLan | Self::ClientLan => "LAN member list",
            Self::ServerWan => "WAN member list",
        }
    }
}

/// Logs under the target of a layer of a pool. Targets must be constants, hence the three arms.
macro_rules! log {
    ($level:ident, $area:expr, serf, $($rest:tt)+) => {
        match $area {
            $crate::actors::member_list::Area::ServerLan => tracing::$level!(target: "agent.server.serf.lan", $($rest)+),
            $crate::actors::member_list::Area::ServerWan => tracing::$level!(target: "agent.server.serf.wan", $($rest)+),
            $crate::actors::member_list::Area::ClientLan => tracing::$level!(target: "agent.client.serf.lan", $($rest)+),
        }
    };
    ($level:ident, $area:expr, memberlist, $($rest:tt)+) => {
        match $area {
            $crate::actors::member_list::Area::ServerLan => tracing::$level!(target: "agent.server.memberlist.lan", $($rest)+),
            $crate::actors::member_list::Area::ServerWan => tracing::$level!(target: "agent.server.memberlist.wan", $($rest)+),
            $crate::actors::member_list::Area::ClientLan => tracing::$level!(target: "agent.client.memberlist.lan", $($rest)+),
        }
    };
}
pub(super) use log;

/// Writes what happened to the log, in Serf's words. `before`: how the member stood, if it was known.
pub(super) fn log_event(area: Area, event: &Event, before: Option<Status>) {
    let line = |what: &str, member: &Member| {
        log!(info, area, serf, "serf: EventMember{what}: {} {}", member.name, member.addr.ip());
    };
    match event {
        Event::Joined(member) => line("Join", member),
        Event::Updated(member) => log!(info, area, serf, "serf: EventMemberUpdate: {}", member.name),
        Event::Failed(member) => line("Failed", member),
        Event::Left(member) if before == Some(Status::Failed) => line("Leave (forced)", member),
        Event::Left(member) => line("Leave", member),
        Event::Reaped(member) => log!(info, area, serf, "serf: EventMemberReap: {}", member.name),
        Event::Conflict { name, existing, other } => log!(
            error,
            area,
            memberlist,
            "memberlist: Conflicting address for {name}. Mine: {existing} Theirs: {other}"
        ),
        Event::Warning(text) => log!(warn, area, memberlist, "{text}"),
        Event::User { name, .. } => log!(debug, area, serf, "serf: messageUserEventType: {name}"),
        Event::Query { name, .. } => log!(debug, area, serf, "serf: messageQueryType: {name}"),
        Event::QueryResponse { from, .. } => {
            log!(debug, area, serf, "serf: messageQueryResponseType: {from}");
        }
        Event::KeyringChanged(_) => log!(debug, area, serf, "serf: the keyring changed"),
    }
}
