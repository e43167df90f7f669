//! Reads of whole nodes and of instances of any service: what the web UI and agents ask servers for.

use std::net::IpAddr;
use std::sync::Arc;

use super::blocking::{BlockingRead, Topics};
use super::far::Question;
use super::filter::{Filter, HealthInstanceFields};
use super::{EndpointError, Endpoints};
use crate::state::view::{Instance, NodeEntry, fold};
use crate::state::{Topic, View};

/// Nodes with everything on them (`Internal.NodeInfo`, `Internal.NodeDump`).
#[derive(Debug)]
pub struct NodeDump {
    node: Option<String>,
    refused: Option<EndpointError>,
}

impl NodeDump {
    /// One node by its name, or all. Filters on nodes with everything on them are not built: one is refused.
    pub fn new(node: Option<String>, filter: &str) -> Self {
        let text = "filters on dumps of nodes are not implemented by this version of tribune";
        let refused = (!filter.is_empty()).then(|| EndpointError::NotImplemented(text.to_owned()));
        Self { node, refused }
    }

    fn check(&self) -> Result<(), EndpointError> {
        self.refused.clone().map_or(Ok(()), Err)
    }
}

fn highest(view: &View) -> u64 {
    view.nodes_index().max(view.services_index()).max(view.indexes.checks)
}

impl BlockingRead for NodeDump {
    type Found = Vec<Arc<NodeEntry>>;

    fn topics(&self) -> Topics {
        match &self.node {
            Some(node) => {
                let name = fold(node);
                Topics::from_iter([Topic::Node(Arc::clone(&name)), Topic::NodeChecks(name)])
            }
            None => Topics::from_iter([Topic::Nodes, Topic::Services, Topic::Checks]),
        }
    }

    fn index(&self, _: &Endpoints, view: &View) -> Result<u64, EndpointError> {
        self.check()?;
        Ok(highest(view))
    }

    fn find(&self, endpoints: &Endpoints, view: &View) -> Result<(u64, Self::Found), EndpointError> {
        let index = self.index(endpoints, view)?;
        let found = match &self.node {
            Some(node) => view.node(node).into_iter().cloned().collect(),
            None => view.nodes.values().cloned().collect(),
        };
        Ok((index, found))
    }

    /// Only servers are asked for it, by agents.
    fn question(&self) -> Option<Question> {
        None
    }
}

/// Instances of all services, or of those of one kind (`Internal.ServiceDump`).
#[derive(Debug)]
pub struct ServiceDump {
    kind: Option<String>,
    filter: Result<Filter<HealthInstanceFields>, EndpointError>,
}

impl ServiceDump {
    /// Instances of this kind (none for any) that pass a filter (empty for all).
    pub fn new(kind: Option<String>, filter: &str) -> Self {
        Self { kind, filter: Filter::compile(filter).map_err(EndpointError::from) }
    }
}

impl BlockingRead for ServiceDump {
    type Found = Vec<Instance>;

    fn topics(&self) -> Topics {
        Topics::from_iter([Topic::Nodes, Topic::Services, Topic::Checks])
    }

    fn index(&self, _: &Endpoints, view: &View) -> Result<u64, EndpointError> {
        self.filter.as_ref().map_err(Clone::clone)?;
        Ok(highest(view))
    }

    fn find(&self, endpoints: &Endpoints, view: &View) -> Result<(u64, Self::Found), EndpointError> {
        let index = self.index(endpoints, view)?;
        let filter = self.filter.as_ref().map_err(Clone::clone)?;
        let mut found = all(view);
        found.retain(|instance| {
            self.kind.as_ref().is_none_or(|kind| instance.service.kind == *kind) && filter.passes(instance)
        });
        Ok((index, found))
    }

    /// Only servers are asked for it, by agents.
    fn question(&self) -> Option<Question> {
        None
    }
}

/// Instances at an address, whatever their service (`Catalog.ServiceNodes` with an address alone).
#[derive(Debug)]
pub struct InstancesAt {
    /// The address as text.
    pub address: String,
}

impl BlockingRead for InstancesAt {
    type Found = Vec<Instance>;

    fn topics(&self) -> Topics {
        Topics::from_iter([Topic::Services])
    }

    fn index(&self, _: &Endpoints, view: &View) -> Result<u64, EndpointError> {
        Ok(view.services_index())
    }

    fn find(&self, _: &Endpoints, view: &View) -> Result<(u64, Self::Found), EndpointError> {
        let wanted: Option<IpAddr> = self.address.parse().ok();
        let mut found = all(view);
        found.retain(|instance| {
            let address = match instance.service.address.as_str() {
                "" => &instance.entry.node.address,
                own => own,
            };
            *address == self.address || (wanted.is_some() && address.parse().ok() == wanted)
        });
        Ok((view.services_index(), found))
    }

    /// Only servers are asked for it, by agents.
    fn question(&self) -> Option<Question> {
        None
    }
}

fn all(view: &View) -> Vec<Instance> {
    let nodes = view.nodes.values();
    let on = |entry: &Arc<NodeEntry>| {
        let entry = Arc::clone(entry);
        let services: Vec<_> = entry.services.values().cloned().collect();
        services.into_iter().map(move |service| Instance { entry: Arc::clone(&entry), service })
    };
    nodes.flat_map(on).collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Scene, endpoints_with};
    use super::*;

    fn scene() -> View {
        Scene::default()
            .node("b", &[])
            .node("a", &[])
            .service("a", "w1", "web", &[])
            .service("b", "w2", "web", &[])
            .service("b", "d", "db", &[])
            .view()
    }

    #[test]
    fn dumps_nodes() {
        let (view, endpoints) = (scene(), endpoints_with(View::default()));
        let names = |node: Option<&str>, filter: &str| {
            let dump = NodeDump::new(node.map(str::to_owned), filter);
            let found = dump.find(&endpoints, &view)?.1;
            Ok::<_, EndpointError>(found.iter().map(|entry| entry.node.node.to_string()).collect::<Vec<_>>())
        };
        assert_eq!(names(None, ""), Ok(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(names(Some("B"), ""), Ok(vec!["b".to_owned()]));
        assert_eq!(names(Some("c"), ""), Ok(vec![]));
        assert!(matches!(names(None, "x == y"), Err(EndpointError::NotImplemented(_))));
    }

    #[test]
    fn dumps_services() {
        let (view, endpoints) = (scene(), endpoints_with(View::default()));
        let ids = |kind: Option<&str>, filter: &str| {
            let found = ServiceDump::new(kind.map(str::to_owned), filter).find(&endpoints, &view).unwrap().1;
            found.iter().map(|instance| instance.service.id.to_string()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(ids(None, ""), "w1 d w2");
        assert_eq!(ids(None, "Service.Service == web"), "w1 w2");
        assert_eq!(ids(Some("connect-proxy"), ""), "");
        assert!(ServiceDump::new(None, "Nope == x").find(&endpoints, &view).is_err());
    }

    #[test]
    fn finds_instances_by_their_address() {
        let (mut view, endpoints) = (scene(), endpoints_with(View::default()));
        view.indexes.services = 9;
        let node = view.node("a").unwrap().node.address.clone();
        let (index, found) = InstancesAt { address: node }.find(&endpoints, &view).unwrap();
        assert_eq!(index, 9);
        assert!(found.iter().any(|instance| &*instance.service.id == "w1"));
        let none = InstancesAt { address: "203.0.113.9".into() }.find(&endpoints, &view).unwrap().1;
        assert!(none.is_empty());
    }
}
