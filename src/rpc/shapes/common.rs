//! What many messages have: query options, query metadata, and requests shared by several methods.

use std::time::Duration;

use crate::endpoints::query::{Consistency, QueryMeta, QueryOptions};
use crate::rpc::codec::Merged;
use crate::rpc::codec::fields::shapes;
use crate::state::record::StringMap;

/// A request to read.
pub type Query<T> = Merged<ReadOptions, T>;

/// A reply to a read.
pub type Reply<T> = Merged<ReplyMeta, T>;

shapes! {
    /// Query options. What only agents heed themselves (caching) is written as zero and passed over.
    ReadOptions {
        /// Any server may answer.
        allow_stale: bool = "AllowStale",
        /// Filter expression.
        filter: String = "Filter",
        /// Agents only.
        max_age: i64 = "MaxAge",
        /// Longest wait in nanoseconds; 0 for the default.
        max_query_time: i64 = "MaxQueryTime",
        /// Oldest stale answer in nanoseconds; heeded by agents.
        max_stale_duration: i64 = "MaxStaleDuration",
        /// Wait until the index is above this one; 0 for no waiting.
        min_query_index: u64 = "MinQueryIndex",
        /// Agents only.
        must_revalidate: bool = "MustRevalidate",
        /// Linearizable.
        require_consistent: bool = "RequireConsistent",
        /// Agents only.
        stale_if_error: i64 = "StaleIfError",
        /// ACL token.
        token: String = "Token",
        /// Agents only.
        use_cache: bool = "UseCache",
    }

    /// Query metadata.
    ReplyMeta {
        /// Empty from servers.
        consistency_level: String = "ConsistencyLevel",
        /// Index of the answer.
        index: u64 = "Index",
        /// There is a leader.
        known_leader: bool = "KnownLeader",
        /// Nanoseconds since the leader was heard; 0 on the leader.
        last_contact: i64 = "LastContact",
    }

    /// Whom distances are measured from.
    QuerySource {
        /// Its datacenter.
        datacenter: String = "Datacenter",
        /// Its address; used by prepared queries only.
        ip: String = "Ip",
        /// Its name; empty for no sorting.
        node: String = "Node",
        /// Enterprise segment.
        segment: String = "Segment",
    }

    /// A request about a datacenter as a whole.
    DcRequest {
        /// Datacenter.
        datacenter: String = "Datacenter",
        /// Only nodes with this metadata.
        node_meta_filters: Option<StringMap> = "NodeMetaFilters",
        /// Nearest to whom first.
        source: QuerySource = "Source",
    }

    /// A request about a node.
    NodeRequest {
        /// Datacenter.
        datacenter: String = "Datacenter",
        /// Node name, in some methods the beginning of its id.
        node: String = "Node",
    }

    /// A request about a service.
    ServiceRequest {
        /// Instances that serve it through Connect.
        connect: bool = "Connect",
        /// Datacenter.
        datacenter: String = "Datacenter",
        /// Ingress gateways for it.
        ingress: bool = "Ingress",
        /// Only nodes with this metadata.
        node_meta_filters: Option<StringMap> = "NodeMetaFilters",
        /// Instances at this address, whatever their service (`Catalog.ServiceNodes` only).
        service_address: String = "ServiceAddress",
        /// Service name.
        service_name: String = "ServiceName",
        /// One tag, from clients before 1.3.
        service_tag: String = "ServiceTag",
        /// Tags.
        service_tags: Vec<String> = "ServiceTags",
        /// Nearest to whom first.
        source: QuerySource = "Source",
        /// The tags count.
        tag_filter: bool = "TagFilter",
    }

    /// A request for the checks in a state.
    ChecksInStateRequest {
        /// Datacenter.
        datacenter: String = "Datacenter",
        /// Only nodes with this metadata.
        node_meta_filters: Option<StringMap> = "NodeMetaFilters",
        /// Nearest to whom first.
        source: QuerySource = "Source",
        /// Status; `any` for all.
        state: String = "State",
    }
}

impl ServiceRequest {
    /// The tags that count.
    pub fn tags(&self) -> Vec<String> {
        if !self.tag_filter {
            return Vec::new();
        }
        // Old clients know one tag only.
        if self.service_tags.is_empty() && !self.service_tag.is_empty() {
            return vec![self.service_tag.clone()];
        }
        self.service_tags.clone()
    }
}

/// Nanoseconds of a duration, as far as Go's go.
pub fn nanoseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

/// A duration of nanoseconds; none for what is negative.
pub fn duration(nanoseconds: i64) -> Duration {
    Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(0))
}

impl ReadOptions {
    /// What a caller asks for, as servers are told.
    pub fn new(options: &QueryOptions, filter: &str) -> Self {
        Self {
            allow_stale: options.consistency == Consistency::Stale,
            filter: filter.to_owned(),
            max_query_time: nanoseconds(options.max_wait),
            max_stale_duration: nanoseconds(options.max_stale),
            min_query_index: options.min_index,
            require_consistent: options.consistency == Consistency::Consistent,
            ..Self::default()
        }
    }

    /// What is asked for, as the endpoints take it. A bound on staleness is the asking agent's business.
    pub fn to_options(&self, datacenter: &str) -> QueryOptions {
        let consistency = if self.allow_stale {
            Consistency::Stale
        } else if self.require_consistent {
            Consistency::Consistent
        } else {
            Consistency::Default
        };
        QueryOptions {
            datacenter: Some(datacenter.to_owned()),
            consistency,
            max_stale: Duration::ZERO,
            min_index: self.min_query_index,
            max_wait: duration(self.max_query_time),
        }
    }
}

impl From<&QueryMeta> for ReplyMeta {
    fn from(meta: &QueryMeta) -> Self {
        Self {
            consistency_level: String::new(),
            index: meta.index,
            known_leader: meta.known_leader,
            last_contact: nanoseconds(meta.last_contact),
        }
    }
}

impl From<&ReplyMeta> for QueryMeta {
    fn from(meta: &ReplyMeta) -> Self {
        Self {
            index: meta.index,
            known_leader: meta.known_leader,
            last_contact: duration(meta.last_contact),
            consistency: Consistency::Default,
        }
    }
}
