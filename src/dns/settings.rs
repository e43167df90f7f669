//! What the DNS interface must be told: facts that hold as long as the process, and settings that a
//! reload replaces.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

/// Facts that no reload changes.
#[derive(Debug, Clone)]
pub struct DnsFacts {
    /// Own datacenter, in any letter case.
    pub datacenter: String,
    /// `domain`: the zone answered for, with or without the final dot.
    pub domain: String,
    /// `alt_domain`: a second zone with the same answers.
    pub alt_domain: Option<String>,
}

impl Default for DnsFacts {
    fn default() -> Self {
        Self { datacenter: "dc1".into(), domain: "consul.".into(), alt_domain: None }
    }
}

/// `dns_config.soa`, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SoaTimes {
    /// When secondaries look again.
    pub refresh: u32,
    /// When they try again after a failure.
    pub retry: u32,
    /// When they give up.
    pub expire: u32,
    /// TTL of negative answers and of the SOA record itself.
    pub min_ttl: u32,
}

impl Default for SoaTimes {
    fn default() -> Self {
        Self { refresh: 3600, retry: 600, expire: 86400, min_ttl: 0 }
    }
}

/// TTLs by service name: exact names first, then the longest prefix.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServiceTtls {
    exact: BTreeMap<String, u32>,
    /// Prefixes, the longest first.
    prefixes: Vec<(String, u32)>,
}

impl ServiceTtls {
    /// From `dns_config.service_ttl`; a key that ends in `*` is a prefix. Fractions of seconds are cut.
    pub fn new<'a>(given: impl IntoIterator<Item = (&'a String, &'a Duration)>) -> Self {
        let mut ttls = Self::default();
        for (name, ttl) in given {
            let ttl = seconds(*ttl);
            match name.strip_suffix('*') {
                Some(prefix) => ttls.prefixes.push((prefix.to_owned(), ttl)),
                None => {
                    ttls.exact.insert(name.clone(), ttl);
                }
            }
        }
        ttls.prefixes.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
        ttls
    }

    /// The TTL of a service, in seconds. `name` is the lower-cased label of the question, so keys with
    /// capitals fit nothing, as in Consul.
    pub fn of(&self, name: &str) -> u32 {
        if let Some(ttl) = self.exact.get(name) {
            return *ttl;
        }
        let fits = |(prefix, _): &&(String, u32)| name.starts_with(prefix.as_str());
        self.prefixes.iter().find(fits).map_or(0, |(_, ttl)| *ttl)
    }
}

/// A duration as a TTL: whole seconds, fractions cut.
pub fn seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}

/// What a reload replaces: `dns_config` and `recursors`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "these are independent switches of the configuration")]
pub struct DnsSettings {
    /// An agent that is not (or no longer) the leader may answer.
    pub allow_stale: bool,
    /// How long ago the leader may have been heard for that.
    pub max_stale: Duration,
    /// TTL of node and `addr` answers, in seconds.
    pub node_ttl: u32,
    /// TTLs of service answers.
    pub service_ttl: ServiceTtls,
    /// Leave instances with warning checks out.
    pub only_passing: bool,
    /// Most answers of a plain UDP reply; more than 8 counts as 8.
    pub udp_answer_limit: usize,
    /// Most address records of a service answer, 0 for no limit.
    pub a_record_limit: usize,
    /// Set TC on shortened answers.
    pub enable_truncate: bool,
    /// No pointers in names.
    pub disable_compression: bool,
    /// Node metadata as TXT in the additional section.
    pub node_meta_txt: bool,
    /// Numbers of the SOA record.
    pub soa: SoaTimes,
    /// Where foreign names are asked, in order; none: they are refused.
    pub recursors: Vec<SocketAddr>,
    /// How long one recursor may take.
    pub recursor_timeout: Duration,
}

impl Default for DnsSettings {
    /// Consul 1.8's defaults.
    fn default() -> Self {
        Self {
            allow_stale: true,
            max_stale: Duration::from_secs(87600 * 3600),
            node_ttl: 0,
            service_ttl: ServiceTtls::default(),
            only_passing: false,
            udp_answer_limit: 3,
            a_record_limit: 0,
            enable_truncate: false,
            disable_compression: false,
            node_meta_txt: true,
            soa: SoaTimes::default(),
            recursors: Vec::new(),
            recursor_timeout: Duration::from_secs(2),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn service_ttls() {
        let keys = [
            ("c*", 5.0),
            ("cc*", 6.9),
            ("ccc", 7.0),
            ("db*", 10.0),
            ("db-main", 20.0),
            ("*", 3.0),
            ("Up*", 9.0),
        ];
        let given: BTreeMap<String, Duration> =
            keys.into_iter().map(|(name, ttl)| (name.to_owned(), Duration::from_secs_f64(ttl))).collect();
        let ttls = ServiceTtls::new(&given);
        let table = [
            ("c", 5),
            ("cc", 6),
            ("ccc", 7),
            ("cccc", 6),
            ("db", 10),
            ("db-main", 20),
            ("other", 3),
            ("up", 3),
        ];
        for (name, want) in table {
            assert_eq!(ttls.of(name), want, "{name}");
        }
        assert_eq!(ServiceTtls::default().of("any"), 0);
    }
}
