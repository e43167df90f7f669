//! How series are named to the outside, and which of them are shown: `metrics_prefix`,
//! `disable_hostname`, `prefix_filter` and `filter_default`.

use std::sync::Arc;

use parking_lot::Mutex;

/// Prefix, host name and filter.
#[derive(Debug)]
pub struct Naming {
    prefix: String,
    host: Option<String>,
    filter: Mutex<Arc<Filter>>,
}

/// Rules about the beginning of names; the longest that fits decides.
#[derive(Debug)]
struct Filter {
    rules: Vec<(String, bool)>,
    default: bool,
}

impl Default for Naming {
    fn default() -> Self {
        Self::new("consul", None)
    }
}

impl Naming {
    /// Names begin with `prefix` (none if empty), those of gauges go on with `host`. Shows everything.
    pub fn new(prefix: &str, host: Option<String>) -> Self {
        let filter = Arc::new(Filter { rules: Vec::new(), default: true });
        Self { prefix: prefix.to_owned(), host, filter: Mutex::new(filter) }
    }

    /// Other rules from now on, each `+name` or `-name`; `default` decides about what none speaks of. A rule
    /// with another first character counts for nothing.
    pub fn set_filter<'a>(&self, rules: impl IntoIterator<Item = &'a str>, default: bool) {
        let rule = |rule: &str| {
            let allows = match rule.chars().next()? {
                '+' => true,
                '-' => false,
                _ => return None,
            };
            Some((rule.get(1..)?.to_owned(), allows))
        };
        let rules = rules.into_iter().filter_map(rule).collect();
        *self.filter.lock() = Arc::new(Filter { rules, default });
    }

    /// The whole name of a counter or timer; `None` if it is not to be shown.
    pub fn name(&self, series: &str) -> Option<String> {
        self.filtered(self.prefixed(series))
    }

    /// The whole name of a gauge; `None` if it is not to be shown.
    pub fn gauge(&self, series: &str) -> Option<String> {
        self.filtered(match &self.host {
            Some(host) => self.prefixed(&format!("{host}.{series}")),
            None => self.prefixed(series),
        })
    }

    fn prefixed(&self, series: &str) -> String {
        if self.prefix.is_empty() { series.to_owned() } else { format!("{}.{series}", self.prefix) }
    }

    fn filtered(&self, name: String) -> Option<String> {
        let filter = Arc::clone(&self.filter.lock());
        let rules = filter.rules.iter().filter(|(beginning, _)| name.starts_with(beginning.as_str()));
        let shown =
            rules.max_by_key(|(beginning, _)| beginning.len()).map_or(filter.default, |(_, allows)| *allows);
        shown.then_some(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_filters() {
        let naming = Naming::new("consul", Some("box".to_owned()));
        assert_eq!(naming.name("raft.apply").as_deref(), Some("consul.raft.apply"));
        assert_eq!(naming.gauge("raft.applied_index").as_deref(), Some("consul.box.raft.applied_index"));
        assert_eq!(Naming::new("", None).gauge("a").as_deref(), Some("a"));
        naming.set_filter(["-consul.raft", "+consul.raft.apply", "nonsense"], true);
        for (name, shown) in [("raft.apply", true), ("raft.commitTime", false), ("kvs.apply", true)] {
            assert_eq!(naming.name(name).is_some(), shown, "{name}");
        }
        naming.set_filter(["+consul.raft"], false);
        assert!(naming.name("kvs.apply").is_none() && naming.name("raft.apply").is_some());
    }
}
