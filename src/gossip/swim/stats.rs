//! What happened so far, in numbers, for operators.

/// Counters since the start. All only rise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Datagrams received.
    pub packets_in: u64,
    /// Their bytes.
    pub bytes_in: u64,
    /// Datagrams sent.
    pub packets_out: u64,
    /// Their bytes.
    pub bytes_out: u64,
    /// Messages found in datagrams.
    pub messages_in: u64,
    /// Datagrams no key could decrypt, or plain ones where encrypted ones are demanded.
    pub undecryptable: u64,
    /// Datagrams whose checksum was wrong.
    pub bad_checksum: u64,
    /// Datagrams, or parts of one, of a type nobody knows.
    pub unknown_type: u64,
    /// Datagrams, or parts of one, that could not be read.
    pub malformed: u64,
    /// News of members with impossible names, addresses, metas or versions.
    pub invalid_members: u64,
    /// News of members for whom the table had no room.
    pub too_many_members: u64,
    /// News of members, and full exchanges, that the layer above refused.
    pub refused: u64,
    /// Full exchanges given up because of versions.
    pub incompatible: u64,
    /// Members that claimed the name of another one.
    pub conflicts: u64,
    /// Pings for other names than this member's.
    pub misdirected_pings: u64,
    /// Requests to ping for another beyond those that can be under way.
    pub too_many_relays: u64,
    /// Probes started.
    pub probes: u64,
    /// Probes that needed others, or a stream, to be answered.
    pub indirect_probes: u64,
    /// Probes nobody and nothing answered.
    pub failed_probes: u64,
    /// Times a member came under suspicion here.
    pub suspicions: u64,
    /// Times this member had to object to what was said of it.
    pub refutes: u64,
    /// Members that were found dead.
    pub deaths: u64,
    /// Members that said goodbye.
    pub goodbyes: u64,
    /// Full exchanges this member asked for, joins included.
    pub exchanges_out: u64,
    /// Of these, failed ones.
    pub failed_exchanges: u64,
    /// Full exchanges others asked for.
    pub exchanges_in: u64,
}
