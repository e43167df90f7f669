//! The series by name: what Consul documents for the parts Tribune has.

/// Declares a list of series: an enum, and a table in its order.
macro_rules! series {
    ($(#[$about:meta])* $kind:ident: $entry:ty; $($(#[$doc:meta])* $variant:ident = $name:expr,)+) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $kind {
            $($(#[$doc])* $variant,)+
        }

        impl $kind {
            /// All of them, in the enum's order.
            pub const ALL: &[$entry] = &[$($name,)+];
        }
    };
}

/// What a timed series says besides its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Label {
    /// Nothing.
    None,
    /// The kind of operation, as `op`.
    Op(&'static str),
    /// This agent's name, as `node`.
    Node,
}

series! {
    /// Something that takes time. In the table: its name and its label.
    Timer: (&'static str, Label);
    /// A registration with the catalog, from proposal to answer.
    CatalogRegister = ("catalog.register", Label::None),
    /// A removal from the catalog.
    CatalogDeregister = ("catalog.deregister", Label::None),
    /// A DNS question about a name.
    DnsDomainQuery = ("dns.domain_query", Label::Node),
    /// A DNS question about an address.
    DnsPtrQuery = ("dns.ptr_query", Label::Node),
    /// Applying a configuration of autopilot.
    FsmAutopilot = ("fsm.autopilot", Label::None),
    /// Applying coordinates.
    FsmCoordinates = ("fsm.coordinate.batch-update", Label::None),
    /// Applying a removal.
    FsmDeregister = ("fsm.deregister", Label::None),
    /// Applying a check-and-set.
    FsmKvsCas = ("fsm.kvs", Label::Op("cas")),
    /// Applying a delete.
    FsmKvsDelete = ("fsm.kvs", Label::Op("delete")),
    /// Applying a delete of an unchanged key.
    FsmKvsDeleteCas = ("fsm.kvs", Label::Op("delete-cas")),
    /// Applying a delete of a prefix.
    FsmKvsDeleteTree = ("fsm.kvs", Label::Op("delete-tree")),
    /// Applying the taking of a lock.
    FsmKvsLock = ("fsm.kvs", Label::Op("lock")),
    /// Applying a write of a key.
    FsmKvsSet = ("fsm.kvs", Label::Op("set")),
    /// Applying the release of a lock.
    FsmKvsUnlock = ("fsm.kvs", Label::Op("unlock")),
    /// Applying a registration.
    FsmRegister = ("fsm.register", Label::None),
    /// Applying a new session.
    FsmSessionCreate = ("fsm.session", Label::Op("create")),
    /// Applying the end of a session.
    FsmSessionDestroy = ("fsm.session", Label::Op("destroy")),
    /// Forgetting tombstones.
    FsmTombstone = ("fsm.tombstone", Label::Op("reap")),
    /// Applying a transaction.
    FsmTxn = ("fsm.txn", Label::None),
    /// A write of one key, from proposal to answer.
    KvsApply = ("kvs.apply", Label::None),
    /// Forgetting tombstones, from proposal to answer.
    LeaderReapTombstones = ("leader.reapTombstones", Label::None),
    /// A comparison of all members with the catalog.
    LeaderReconcile = ("leader.reconcile", Label::None),
    /// One round of gossip: choosing members, filling packets and sending them.
    MemberlistGossip = ("memberlist.gossip", Label::None),
    /// A full exchange with another member that this one began.
    MemberlistPushPull = ("memberlist.pushPullNode", Label::None),
    /// From a proposal's arrival at the raft node to its commit.
    RaftCommitTime = ("raft.commitTime", Label::None),
    /// Applying one entry.
    RaftFsmApply = ("raft.fsm.apply", Label::None),
    /// Writing proposals to the log, and to its disk.
    RaftDispatchLog = ("raft.leader.dispatchLog", Label::None),
    /// Since a quorum was last heard, on a leader with followers.
    RaftLastContact = ("raft.leader.lastContact", Label::None),
    /// Proving leadership for a consistent read.
    RpcConsistentRead = ("rpc.consistentRead", Label::None),
    /// A session made or ended, from proposal to answer.
    SessionApply = ("session.apply", Label::None),
    /// Ending a session whose time ran out.
    SessionTtlInvalidate = ("session_ttl.invalidate", Label::None),
    /// A transaction that writes, from proposal to answer.
    TxnApply = ("txn.apply", Label::None),
}

series! {
    /// Something that happens. In the table: its name.
    Counter: &'static str;
    /// Reads and writes this agent asked the servers, itself included.
    ClientRpc = "client.rpc",
    /// Those that were answered with an error.
    ClientRpcFailed = "client.rpc.failed",
    /// DNS questions answered although no leader was heard for more than five seconds.
    DnsStaleQueries = "dns.stale_queries",
    /// Probes of members that nobody answered in time.
    MemberlistDegraded = "memberlist.degraded.probe",
    /// Members found alive, anew or again.
    MemberlistAlive = "memberlist.msg.alive",
    /// Members held dead.
    MemberlistDead = "memberlist.msg.dead",
    /// Members suspected.
    MemberlistSuspect = "memberlist.msg.suspect",
    /// Streams other members opened.
    MemberlistTcpAccept = "memberlist.tcp.accept",
    /// Streams opened to other members.
    MemberlistTcpConnect = "memberlist.tcp.connect",
    /// Bytes sent over streams.
    MemberlistTcpSent = "memberlist.tcp.sent",
    /// Bytes received in datagrams.
    MemberlistUdpReceived = "memberlist.udp.received",
    /// Bytes sent in datagrams.
    MemberlistUdpSent = "memberlist.udp.sent",
    /// Proposals.
    RaftApply = "raft.apply",
    /// This server began to seek leadership.
    RaftStateCandidate = "raft.state.candidate",
    /// This server began to follow.
    RaftStateFollower = "raft.state.follower",
    /// This server began to lead.
    RaftStateLeader = "raft.state.leader",
    /// No leader was heard for too long.
    RaftHeartbeatTimeout = "raft.transition.heartbeat_timeout",
    /// Leadership was asked for to be proven.
    RaftVerifyLeader = "raft.verify_leader",
    /// Reads.
    RpcQuery = "rpc.query",
    /// User events.
    SerfEvents = "serf.events",
    /// Members that failed.
    SerfMemberFailed = "serf.member.failed",
    /// Members that joined.
    SerfMemberJoin = "serf.member.join",
    /// Members that left.
    SerfMemberLeft = "serf.member.left",
    /// Members whose tags or address changed.
    SerfMemberUpdate = "serf.member.update",
    /// Queries.
    SerfQueries = "serf.queries",
}

series! {
    /// Something that is so much, set by whoever owns it. In the table: its name.
    Gauge: &'static str;
    /// How many more voters may fail, as the leader sees it.
    AutopilotFailureTolerance = "autopilot.failure_tolerance",
    /// 1 if all servers are healthy, as the leader sees it.
    AutopilotHealthy = "autopilot.healthy",
    /// How badly gossip runs at this agent, 0 for well: of the pool where it changed last.
    MemberlistHealthScore = "memberlist.health.score",
    /// Entries in the last commit.
    RaftCommitNumLogs = "raft.commitNumLogs",
    /// Proposals in the last write of the log.
    RaftDispatchNumLogs = "raft.leader.dispatchNumLogs",
    /// Sessions with a time to live.
    SessionTtlActive = "session_ttl.active",
}
