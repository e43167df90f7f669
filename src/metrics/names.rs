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

series! {
    /// Something that takes time. In the table: its name, and the value of its label `op`.
    Timer: (&'static str, Option<&'static str>);
    /// A registration with the catalog, from proposal to answer.
    CatalogRegister = ("catalog.register", None),
    /// A removal from the catalog.
    CatalogDeregister = ("catalog.deregister", None),
    /// Applying coordinates.
    FsmCoordinates = ("fsm.coordinate.batch-update", None),
    /// Applying a removal.
    FsmDeregister = ("fsm.deregister", None),
    /// Applying a check-and-set.
    FsmKvsCas = ("fsm.kvs", Some("cas")),
    /// Applying a delete.
    FsmKvsDelete = ("fsm.kvs", Some("delete")),
    /// Applying a delete of an unchanged key.
    FsmKvsDeleteCas = ("fsm.kvs", Some("delete-cas")),
    /// Applying a delete of a prefix.
    FsmKvsDeleteTree = ("fsm.kvs", Some("delete-tree")),
    /// Applying the taking of a lock.
    FsmKvsLock = ("fsm.kvs", Some("lock")),
    /// Applying a write of a key.
    FsmKvsSet = ("fsm.kvs", Some("set")),
    /// Applying the release of a lock.
    FsmKvsUnlock = ("fsm.kvs", Some("unlock")),
    /// Applying a registration.
    FsmRegister = ("fsm.register", None),
    /// Applying a new session.
    FsmSessionCreate = ("fsm.session", Some("create")),
    /// Applying the end of a session.
    FsmSessionDestroy = ("fsm.session", Some("destroy")),
    /// Forgetting tombstones.
    FsmTombstone = ("fsm.tombstone", Some("reap")),
    /// Applying a transaction.
    FsmTxn = ("fsm.txn", None),
    /// A write of one key, from proposal to answer.
    KvsApply = ("kvs.apply", None),
    /// Forgetting tombstones, from proposal to answer.
    LeaderReapTombstones = ("leader.reapTombstones", None),
    /// A comparison of all members with the catalog.
    LeaderReconcile = ("leader.reconcile", None),
    /// One round of gossip: choosing members, filling packets and sending them.
    MemberlistGossip = ("memberlist.gossip", None),
    /// A full exchange with another member that this one began.
    MemberlistPushPull = ("memberlist.pushPullNode", None),
    /// From a proposal's arrival at the raft node to its commit.
    RaftCommitTime = ("raft.commitTime", None),
    /// Applying one entry.
    RaftFsmApply = ("raft.fsm.apply", None),
    /// Writing proposals to the log, and to its disk.
    RaftDispatchLog = ("raft.leader.dispatchLog", None),
    /// Since a quorum was last heard, on a leader with followers.
    RaftLastContact = ("raft.leader.lastContact", None),
    /// Proving leadership for a consistent read.
    RpcConsistentRead = ("rpc.consistentRead", None),
    /// A session made or ended, from proposal to answer.
    SessionApply = ("session.apply", None),
    /// Ending a session whose time ran out.
    SessionTtlInvalidate = ("session_ttl.invalidate", None),
    /// A transaction that writes, from proposal to answer.
    TxnApply = ("txn.apply", None),
}

series! {
    /// Something that happens. In the table: its name.
    Counter: &'static str;
    /// Reads and writes this agent asked the servers, itself included.
    ClientRpc = "client.rpc",
    /// Those that were answered with an error.
    ClientRpcFailed = "client.rpc.failed",
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
    /// How badly gossip runs at this agent, 0 for well: of the pool where it changed last.
    MemberlistHealthScore = "memberlist.health.score",
    /// Entries in the last commit.
    RaftCommitNumLogs = "raft.commitNumLogs",
    /// Proposals in the last write of the log.
    RaftDispatchNumLogs = "raft.leader.dispatchNumLogs",
    /// Sessions with a time to live.
    SessionTtlActive = "session_ttl.active",
}
