//! What happened so far in this layer, in numbers, for operators.

/// Counters since the start. All only rise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// User events that were news, own ones included.
    pub events: u64,
    /// User events heard again.
    pub repeated_events: u64,
    /// User events too old to be listened to.
    pub old_events: u64,
    /// Queries that were news, own ones included.
    pub queries: u64,
    /// Queries heard again.
    pub repeated_queries: u64,
    /// Queries too old to be listened to.
    pub old_queries: u64,
    /// Answers and confirmations to queries of this member that were counted.
    pub responses: u64,
    /// Answers to queries that are not open here, or were answered by the same member before.
    pub stray_responses: u64,
    /// Messages passed on for others.
    pub relayed: u64,
    /// Intents to join or leave that were news.
    pub intents: u64,
    /// Intents to leave this member had to object to.
    pub refutes: u64,
    /// User messages that could not be read.
    pub malformed: u64,
    /// Messages dropped because too many waited to be spread, or because no packet could hold them.
    pub dropped: u64,
    /// News of members, and joins, that were refused.
    pub refused: u64,
    /// Claims of a name that another member has.
    pub conflicts: u64,
    /// Attempts to reach a failed member.
    pub reconnects: u64,
    /// Members that joined or came back.
    pub joined: u64,
    /// Members whose tags changed.
    pub updated: u64,
    /// Members that failed.
    pub failed: u64,
    /// Members that left.
    pub left: u64,
    /// Members that were forgotten.
    pub reaped: u64,
    /// Answers to pings whose coordinate taught nothing.
    pub bad_coordinates: u64,
}
