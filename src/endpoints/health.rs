//! The health family's lists of checks: of a node, of a service, by status.
//!
//! Instances with their checks are [`super::service_query`]'s.

use std::sync::Arc;

use super::blocking::{BlockingRead, Topics};
use super::far::Question;
use super::filter::{CheckFields, Filter};
use super::service_query::has_meta;
use super::{EndpointError, Endpoints, near};
use crate::state::record::{Check, StringMap};
use crate::state::view::{NodeEntry, fold};
use crate::state::{Topic, View};

/// Whose checks are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChecksOf {
    /// Of a node, by its name (`/v1/health/node`).
    Node(String),
    /// Of all instances of a service (`/v1/health/checks`).
    Service(String),
    /// All with this status; `any` for all (`/v1/health/state`).
    Status(String),
}

/// A list of checks.
#[derive(Debug)]
pub struct Checks {
    of: ChecksOf,
    node_meta: StringMap,
    near: String,
    text: String,
    filter: Result<Filter<CheckFields>, EndpointError>,
}

impl Checks {
    /// Checks on nodes with this metadata (empty for all; ignored for the checks of one node) that
    /// pass this filter (empty for all), nearest to a node first (empty for the order of nodes).
    pub fn new(of: ChecksOf, node_meta: StringMap, near: &str, filter: &str) -> Self {
        let node_meta = if matches!(of, ChecksOf::Node(_)) { StringMap::new() } else { node_meta };
        let text = filter.to_owned();
        let filter = Filter::compile(filter).map_err(EndpointError::from);
        Self { of, node_meta, near: near.to_owned(), text, filter }
    }

    fn index_of(&self, view: &View) -> u64 {
        match &self.of {
            ChecksOf::Service(name) => view.service_checks_index(name, !self.node_meta.is_empty()),
            ChecksOf::Node(_) | ChecksOf::Status(_) => view.indexes.checks,
        }
    }

    fn collect(&self, view: &View, filter: &Filter<CheckFields>) -> Vec<Arc<Check>> {
        let mut checks = Vec::new();
        let mut take = |node: &NodeEntry, wanted: &dyn Fn(&Check) -> bool| {
            if has_meta(node.node.meta.as_ref(), &self.node_meta) {
                let wanted = |check: &&Arc<Check>| wanted(check) && filter.passes(check);
                checks.extend(node.checks.values().filter(wanted).cloned());
            }
        };
        match &self.of {
            ChecksOf::Node(name) => {
                if let Some(node) = view.node(name) {
                    take(node, &|_| true);
                }
            }
            ChecksOf::Service(name) => {
                let name = fold(name);
                let Some(entry) = view.services.get(&name) else { return checks };
                let mut last = None;
                for (node, _) in &entry.instances {
                    if last != Some(node)
                        && let Some(node) = view.nodes.get(node)
                    {
                        take(node, &|check| fold(&check.service_name) == name);
                    }
                    last = Some(node);
                }
            }
            ChecksOf::Status(status) => {
                let any = status == "any";
                for node in view.nodes.values() {
                    take(node, &|check| any || check.status == *status);
                }
            }
        }
        checks
    }
}

impl BlockingRead for Checks {
    type Found = Vec<Arc<Check>>;

    fn topics(&self) -> Topics {
        match &self.of {
            ChecksOf::Node(name) => Topics::from_iter([Topic::NodeChecks(fold(name))]),
            ChecksOf::Service(name) => Topics::from_iter([Topic::Service(fold(name))]),
            ChecksOf::Status(_) if self.node_meta.is_empty() => Topics::from_iter([Topic::Checks]),
            ChecksOf::Status(_) => Topics::from_iter([Topic::Checks, Topic::Nodes]),
        }
    }

    fn index(&self, _: &Endpoints, view: &View) -> Result<u64, EndpointError> {
        self.filter.as_ref().map_err(Clone::clone)?;
        Ok(self.index_of(view))
    }

    fn find(&self, _: &Endpoints, view: &View) -> Result<(u64, Self::Found), EndpointError> {
        let filter = self.filter.as_ref().map_err(Clone::clone)?;
        let mut checks = self.collect(view, filter);
        near::sort(view, &self.near, &mut checks, |check| &check.node);
        Ok((self.index_of(view), checks))
    }

    fn question(&self) -> Option<Question> {
        let (node_meta, near, filter) = (self.node_meta.clone(), self.near.clone(), self.text.clone());
        Some(match self.of.clone() {
            ChecksOf::Node(node) => Question::NodeChecks { node, filter },
            ChecksOf::Service(service) => Question::ServiceChecks { service, node_meta, near, filter },
            ChecksOf::Status(status) => Question::ChecksInState { status, node_meta, near, filter },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Scene, endpoints_with};
    use super::*;

    fn scene() -> View {
        let mut view = Scene::default()
            .node("b", &[("site", "s")])
            .node("a", &[("site", "n")])
            .service("a", "w1", "web", &[])
            .service("a", "w2", "web", &[])
            .service("b", "w1", "Web", &[])
            .service("b", "d1", "db", &[])
            .check("b", "c1", "w1", "critical")
            .check("b", "c2", "d1", "passing")
            .check("b", "n", "", "warning")
            .check("a", "c3", "w2", "passing")
            .check("a", "c1", "w1", "odd")
            .view();
        view.indexes.nodes = 9;
        view.indexes.checks = 8;
        view
    }

    fn found(of: ChecksOf, meta: &[(&str, &str)], filter: &str) -> Result<(u64, String), EndpointError> {
        let meta = meta.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let (index, checks) =
            Checks::new(of, meta, "", filter).find(&endpoints_with(View::default()), &scene())?;
        let names: Vec<_> = checks.iter().map(|check| format!("{}/{}", check.node, check.check_id)).collect();
        Ok((index, names.join(" ")))
    }

    #[test]
    fn lists() {
        let node = |name: &str| ChecksOf::Node(name.to_owned());
        let service = |name: &str| ChecksOf::Service(name.to_owned());
        let status = |name: &str| ChecksOf::Status(name.to_owned());
        let none: &[(&str, &str)] = &[];
        let s: &[(&str, &str)] = &[("site", "s")];
        let table = [
            ("of a node", node("B"), none, "", 8, "b/c1 b/c2 b/n"),
            ("metadata means nothing for one node", node("a"), s, "", 8, "a/c1 a/c3"),
            ("of an unknown node", node("nobody"), none, "", 8, ""),
            ("of a service", service("WEB"), none, "", 8, "a/c1 a/c3 b/c1"),
            ("of a service, by metadata", service("web"), s, "", 0, "b/c1"),
            ("of an unknown service", service("none"), none, "", 8, ""),
            ("of an unknown service, by metadata", service("none"), s, "", 9, ""),
            ("any", status("any"), none, "", 8, "a/c1 a/c3 b/c1 b/c2 b/n"),
            ("passing", status("passing"), none, "", 8, "a/c3 b/c2"),
            ("a status of the writer's own", status("odd"), none, "", 8, "a/c1"),
            ("unknown status", status("unknown"), none, "", 8, ""),
            ("by metadata", status("any"), s, "", 8, "b/c1 b/c2 b/n"),
            ("filtered", status("any"), none, "ServiceName == web and Status != odd", 8, "a/c3"),
        ];
        for (case, of, meta, filter, index, want) in table {
            assert_eq!(found(of, meta, filter), Ok((index, want.to_owned())), "{case}");
        }
        assert!(matches!(found(status("any"), none, "Nope == 1"), Err(EndpointError::Refused(_))));
    }

    #[test]
    fn waits_for_what_it_shows() {
        let meta: StringMap = [("site".to_owned(), "s".to_owned())].into();
        let table = [
            (ChecksOf::Node("A".into()), StringMap::new(), vec![Topic::NodeChecks("a".into())]),
            (ChecksOf::Service("Web".into()), meta.clone(), vec![Topic::Service("web".into())]),
            (ChecksOf::Status("any".into()), StringMap::new(), vec![Topic::Checks]),
            (ChecksOf::Status("any".into()), meta, vec![Topic::Checks, Topic::Nodes]),
        ];
        for (of, meta, want) in table {
            let name = format!("{of:?}");
            assert_eq!(Checks::new(of, meta, "", "").topics().to_vec(), want, "{name}");
        }
    }
}
