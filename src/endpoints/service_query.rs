//! Finding the instances of a service: shared by `/v1/catalog/service` and `/v1/health/service` and
//! their relatives.
//!
//! Reading gives a [`Snapshot`]; picking the instances out of it is a step of its own
//! ([`ServiceQuery::instances`]), so that a transport that still has the answer for this index can
//! leave it out.

use std::sync::Arc;

use super::blocking::{BlockingRead, Topics};
use super::far::{Question, ServiceQuestion};
use super::filter::{Fields, Filter};
use super::{EndpointError, Endpoints, near};
use crate::state::record::StringMap;
use crate::state::view::{Instance, fold};
use crate::state::{Topic, View};

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Target {
    /// Instances registered under the name.
    Service,
    /// Instances that serve the name through Connect: native ones and proxies for it.
    Connect,
    /// Ingress gateways for the name. None can exist before gateways are built.
    Ingress,
}

/// The state an answer is made from, and the index it is for.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Index of the answer.
    pub index: u64,
    /// The state as of then or later.
    pub view: View,
    /// It is but a piece of a state, made for this answer: the next is another one, be they ever so equal.
    pub piece: bool,
}

/// A filter, or the error to answer with once everything that comes before it is fine.
type Compiled<F> = Result<Filter<F>, EndpointError>;

/// Which instances are asked for. `F` says which fields a filter expression sees.
#[derive(Debug)]
pub struct ServiceQuery<F: Fields<Record = Instance>> {
    name: String,
    target: Target,
    tags: Vec<String>,
    node_meta: StringMap,
    near: String,
    passing: bool,
    with_checks: bool,
    text: String,
    filter: Compiled<F>,
}

/// The optional parts of a [`ServiceQuery`].
#[derive(Debug, Clone, Default)]
pub struct Narrowing {
    /// Tags an instance must all have, without regard to case; ignored for Connect.
    pub tags: Vec<String>,
    /// Metadata the node must have.
    pub node_meta: StringMap,
    /// Sort by distance from this node; empty for no sorting.
    pub near: String,
    /// Only instances all of whose checks pass.
    pub passing: bool,
    /// A filter expression; empty for none.
    pub filter: String,
}

impl<F: Fields<Record = Instance>> ServiceQuery<F> {
    /// A query for instances without (catalog) or with their checks (health).
    pub fn new(name: &str, target: Target, with_checks: bool, narrowing: Narrowing) -> Self {
        let Narrowing { tags, node_meta, near, passing, filter } = narrowing;
        // Consul looks at the tags first and forgets that gateways were asked for.
        let target = if target == Target::Ingress && !tags.is_empty() { Target::Service } else { target };
        Self {
            name: name.to_owned(),
            target,
            tags: if target == Target::Connect { Vec::new() } else { tags },
            node_meta,
            near,
            passing,
            with_checks,
            filter: Filter::compile(&filter).map_err(EndpointError::from),
            text: filter,
        }
    }

    fn index_of(&self, view: &View) -> u64 {
        match self.target {
            Target::Service => view.service_index(&self.name, self.with_checks),
            Target::Connect => view.connect_index(&self.name, self.with_checks),
            Target::Ingress => 0,
        }
    }

    /// The instances asked for, in answer order.
    ///
    /// # Errors
    /// The filter's.
    pub fn instances(&self, view: &View) -> Result<Vec<Instance>, EndpointError> {
        let filter = self.filter.as_ref().map_err(Clone::clone)?;
        let mut instances = match self.target {
            Target::Service => view.instances(&self.name),
            Target::Connect => view.connect_instances(&self.name),
            Target::Ingress => Vec::new(),
        };
        instances.retain(|instance| self.keeps(instance) && filter.passes(instance));
        near::sort(view, &self.near, &mut instances, |instance| &instance.entry.node.node);
        Ok(instances)
    }

    fn keeps(&self, instance: &Instance) -> bool {
        self.tags.iter().all(|tag| instance.service.tags.iter().any(|own| same_folded(own, tag)))
            && has_meta(instance.entry.node.meta.as_ref(), &self.node_meta)
            && (!self.passing || instance.checks().all(|check| check.status == "passing"))
    }

    /// The answer depends on more than the state at its index: on coordinates.
    pub fn is_sorted(&self) -> bool {
        !self.near.is_empty()
    }
}

impl<F: Fields<Record = Instance>> BlockingRead for Arc<ServiceQuery<F>> {
    type Found = Snapshot;

    fn topics(&self) -> Topics {
        match self.target {
            Target::Service => Topics::from_iter([Topic::Service(fold(&self.name))]),
            Target::Connect => Topics::from_iter([Topic::Connect(fold(&self.name))]),
            Target::Ingress => Topics::new(),
        }
    }

    fn index(&self, _: &Endpoints, view: &View) -> Result<u64, EndpointError> {
        self.filter.as_ref().map_err(Clone::clone)?;
        Ok(self.index_of(view))
    }

    fn find(&self, endpoints: &Endpoints, view: &View) -> Result<(u64, Snapshot), EndpointError> {
        let index = self.index(endpoints, view)?;
        Ok((index, Snapshot { index, view: view.clone(), piece: endpoints.far.is_some() }))
    }

    fn question(&self) -> Option<Question> {
        Some(Question::Service(Box::new(ServiceQuestion {
            name: self.name.clone(),
            target: self.target,
            with_checks: self.with_checks,
            tags: self.tags.clone(),
            node_meta: self.node_meta.clone(),
            near: self.near.clone(),
            filter: self.text.clone(),
        })))
    }
}

/// Whether a node's metadata has everything asked for.
pub fn has_meta(meta: Option<&StringMap>, wanted: &StringMap) -> bool {
    wanted.iter().all(|(key, value)| meta.and_then(|meta| meta.get(key)) == Some(value))
}

fn same_folded(a: &str, b: &str) -> bool {
    if a.is_ascii() && b.is_ascii() {
        a.eq_ignore_ascii_case(b)
    } else {
        a.to_lowercase() == b.to_lowercase()
    }
}

#[cfg(test)]
mod tests {
    use super::super::filter::{CatalogInstanceFields, HealthInstanceFields};
    use super::super::testing::{Scene, names};
    use super::*;

    fn scene() -> View {
        Scene::default()
            .node("a", &[("site", "n")])
            .node("B", &[("site", "s")])
            .service("a", "w1", "web", &["v1", "X"])
            .service("B", "w2", "web", &["v2", "x"])
            .service("B", "d1", "db", &[])
            .proxy("a", "p1", "web-proxy", "web")
            .check("a", "c1", "w1", "passing")
            .check("B", "n1", "", "warning")
            .view()
    }

    fn found(target: Target, name: &str, narrowing: Narrowing) -> String {
        let query = ServiceQuery::<HealthInstanceFields>::new(name, target, true, narrowing);
        query.instances(&scene()).map_or_else(|error| error.to_string(), |found| names(&found))
    }

    #[test]
    fn narrowing() {
        let tags = |tags: &[&str]| Narrowing {
            tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
            ..Narrowing::default()
        };
        let filter = |filter: &str| Narrowing { filter: filter.to_owned(), ..Narrowing::default() };
        let meta = |key: &str, value: &str| Narrowing {
            node_meta: [(key.to_owned(), value.to_owned())].into(),
            ..Narrowing::default()
        };
        let table = [
            ("all", Target::Service, "web", Narrowing::default(), "w1 w2"),
            ("any case", Target::Service, "WEB", Narrowing::default(), "w1 w2"),
            ("unknown", Target::Service, "none", Narrowing::default(), ""),
            ("tag", Target::Service, "web", tags(&["v1"]), "w1"),
            ("tags", Target::Service, "web", tags(&["x", "V2"]), "w2"),
            ("conflicting tags", Target::Service, "web", tags(&["v1", "v2"]), ""),
            ("empty tag", Target::Service, "web", tags(&[""]), ""),
            ("meta", Target::Service, "web", meta("site", "s"), "w2"),
            ("unknown meta", Target::Service, "web", meta("nope", ""), ""),
            ("passing", Target::Service, "web", Narrowing { passing: true, ..Narrowing::default() }, "w1"),
            ("filter", Target::Service, "web", filter("Checks.Status == warning"), "w2"),
            (
                "bad filter",
                Target::Service,
                "web",
                filter("Nope == 1"),
                "Failed to create boolean expression evaluator: Selector \"Nope\" is not valid",
            ),
            ("connect", Target::Connect, "web", Narrowing::default(), "p1"),
            ("tags mean nothing for connect", Target::Connect, "web", tags(&["none"]), "p1"),
            ("ingress", Target::Ingress, "web", Narrowing::default(), ""),
            ("ingress with tags", Target::Ingress, "web", tags(&["v1"]), "w1"),
        ];
        for (case, target, name, narrowing, want) in table {
            assert_eq!(found(target, name, narrowing), want, "{case}");
        }
    }

    #[test]
    fn indexes() {
        let mut view = scene();
        view.indexes.nodes = 20;
        view.indexes.services = 21;
        view.indexes.checks = 22;
        for (name, index) in [("web", 11), ("web-proxy", 12)] {
            let mut entry = view.services.get(name).unwrap().clone();
            entry.index = index;
            view.services.insert(name.into(), entry);
        }
        let index = |view: &View, name: &str, target, checks| {
            ServiceQuery::<CatalogInstanceFields>::new(name, target, checks, Narrowing::default())
                .index_of(view)
        };
        let table = [
            ("service", "web", Target::Service, true, 11, 11),
            ("absent service", "none", Target::Service, false, 21, 15),
            ("absent service with checks", "none", Target::Service, true, 22, 15),
            ("connect", "web", Target::Connect, false, 11, 11),
            ("connect with checks", "web", Target::Connect, true, 12, 12),
            ("service without proxies", "web-proxy", Target::Connect, false, 12, 15),
            ("absent connect", "none", Target::Connect, true, 22, 15),
            ("ingress", "web", Target::Ingress, true, 0, 0),
        ];
        for (case, name, target, checks, want, _) in table {
            assert_eq!(index(&view, name, target, checks), want, "{case}");
        }
        view.indexes.service_extinction = 15;
        for (case, name, target, checks, _, want) in table {
            assert_eq!(index(&view, name, target, checks), want, "{case}, after an extinction");
        }
    }

    #[test]
    fn waits_for_its_own_service_only() {
        let topics = |target| {
            let query = ServiceQuery::<HealthInstanceFields>::new("Web", target, true, Narrowing::default());
            Arc::new(query).topics().to_vec()
        };
        assert_eq!(topics(Target::Service), [Topic::Service("web".into())]);
        assert_eq!(topics(Target::Connect), [Topic::Connect("web".into())]);
        assert_eq!(topics(Target::Ingress), []);
    }
}
