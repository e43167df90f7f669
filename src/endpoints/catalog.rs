//! The catalog's reads besides those of one service ([`super::service_query`]): nodes, what lives on
//! a node, the names of services, datacenters.
//!
//! Which index an answer carries is Consul 1.8's rule for each endpoint; blocking clients rely on it.

use std::collections::HashMap;
use std::sync::Arc;

use super::blocking::{BlockingRead, Topics};
use super::far::Question;
use super::filter::{Filter, NodeFields, ServiceFields};
use super::service_query::{Snapshot, has_meta};
use super::{EndpointError, Endpoints, near};
use crate::state::record::{Node, Service, StringMap};
use crate::state::view::{NodeEntry, fold};
use crate::state::{Topic, View};

/// `/v1/catalog/datacenters`: the known ones, nearest first. There is one until WAN pools exist.
pub fn datacenters(endpoints: &Endpoints) -> Vec<&str> {
    vec![&endpoints.settings.datacenter]
}

/// [`datacenters`], as any agent knows them: a client asks the servers.
///
/// # Errors
/// The servers'.
pub async fn known_datacenters(endpoints: &Endpoints) -> Result<Vec<String>, EndpointError> {
    match &endpoints.far {
        Some(servers) => servers.datacenters().await,
        None => Ok(datacenters(endpoints).into_iter().map(str::to_owned).collect()),
    }
}

/// `/v1/catalog/nodes`.
#[derive(Debug)]
pub struct Nodes {
    node_meta: StringMap,
    near: String,
    text: String,
    filter: Result<Filter<NodeFields>, EndpointError>,
}

impl Nodes {
    /// Nodes with this metadata that pass this filter (empty for all), nearest to a node first
    /// (empty for the order of names).
    pub fn new(node_meta: StringMap, near: &str, filter: &str) -> Self {
        let text = filter.to_owned();
        let filter = Filter::compile(filter).map_err(EndpointError::from);
        Self { node_meta, near: near.to_owned(), text, filter }
    }
}

impl BlockingRead for Nodes {
    type Found = Vec<Arc<Node>>;

    fn topics(&self) -> Topics {
        Topics::from_iter([Topic::Nodes])
    }

    fn index(&self, _: &Endpoints, view: &View) -> Result<u64, EndpointError> {
        self.filter.as_ref().map_err(Clone::clone)?;
        Ok(view.nodes_index())
    }

    fn find(&self, _: &Endpoints, view: &View) -> Result<(u64, Self::Found), EndpointError> {
        let filter = self.filter.as_ref().map_err(Clone::clone)?;
        let wanted = |node: &&Arc<Node>| has_meta(node.meta.as_ref(), &self.node_meta) && filter.passes(node);
        let mut nodes: Vec<_> =
            view.nodes.values().map(|entry| &entry.node).filter(wanted).cloned().collect();
        near::sort(view, &self.near, &mut nodes, |node| &node.node);
        Ok((view.nodes_index(), nodes))
    }

    fn question(&self) -> Option<Question> {
        let (node_meta, near, filter) = (self.node_meta.clone(), self.near.clone(), self.text.clone());
        Some(Question::Nodes { node_meta, near, filter })
    }
}

/// `/v1/catalog/node` and `/v1/catalog/node-services`: a node and its services.
#[derive(Debug)]
pub struct NodeServices {
    /// Name, or at least two digits of the id.
    node: String,
    /// The name behind an id, as of the beginning of the request.
    known_as: Option<String>,
    text: String,
    filter: Result<Filter<ServiceFields>, EndpointError>,
}

/// A node and those of its services that were asked for.
#[derive(Debug, Clone)]
pub struct NodeWithServices {
    /// The node.
    pub node: Arc<Node>,
    /// Its services that pass the filter, by id.
    pub services: Vec<Arc<Service>>,
    /// It has none at all, whatever the filter says.
    pub bare: bool,
}

impl NodeServices {
    /// The services of a node, given by its name or by the beginning of its id, that pass a filter
    /// (empty for all).
    pub fn new(endpoints: &Endpoints, node: &str, filter: &str) -> Self {
        let known_as = find_node(&endpoints.state.view(), node).map(|entry| entry.node.node.to_string());
        let text = filter.to_owned();
        let filter = Filter::compile(filter).map_err(EndpointError::from);
        Self { node: node.to_owned(), known_as, text, filter }
    }
}

impl BlockingRead for NodeServices {
    type Found = Option<NodeWithServices>;

    fn topics(&self) -> Topics {
        match &self.known_as {
            Some(name) => Topics::from_iter([Topic::Node(fold(name))]),
            // It may appear under this name or, with this id, under any.
            None if id_prefix(&self.node).is_some() => Topics::from_iter([Topic::Nodes]),
            None => Topics::from_iter([Topic::Node(fold(&self.node))]),
        }
    }

    /// Consul answers for a node it does not know with index 0, not with that of the table.
    fn index(&self, _: &Endpoints, view: &View) -> Result<u64, EndpointError> {
        self.filter.as_ref().map_err(Clone::clone)?;
        Ok(find_node(view, &self.node).map_or(0, |_| view.node_services_index()))
    }

    fn find(&self, _: &Endpoints, view: &View) -> Result<(u64, Self::Found), EndpointError> {
        let filter = self.filter.as_ref().map_err(Clone::clone)?;
        let Some(entry) = find_node(view, &self.node) else { return Ok((0, None)) };
        let services = entry.services.values().filter(|service| filter.passes(service)).cloned().collect();
        let found =
            NodeWithServices { node: Arc::clone(&entry.node), services, bare: entry.services.is_empty() };
        Ok((view.node_services_index(), Some(found)))
    }

    fn question(&self) -> Option<Question> {
        // All are asked for, so that a node without any can be told from one with none that pass. What is no
        // filter is the servers' to refuse.
        let filter = if self.filter.is_err() { self.text.clone() } else { String::new() };
        Some(Question::NodeServices { node: self.node.clone(), filter })
    }
}

/// A node by name or, failing that, by the beginning of its id if only one has it.
fn find_node<'a>(view: &'a View, name_or_id: &str) -> Option<&'a Arc<NodeEntry>> {
    view.node(name_or_id).or_else(|| {
        let prefix = id_prefix(name_or_id)?;
        let mut nodes =
            view.node_ids.range(Arc::from(&*prefix)..).take_while(|(id, _)| id.starts_with(&*prefix));
        match (nodes.next(), nodes.next()) {
            (Some((_, name)), None) => view.nodes.get(name),
            _ => None,
        }
    })
}

/// What a text means as the beginning of a node id: whole bytes in hexadecimal, in lower case and
/// with dashes where ids have them. A last odd character does not count. `None` if it means nothing.
fn id_prefix(text: &str) -> Option<String> {
    let even = text.get(..text.len() & !1)?;
    let digits: String = even.chars().filter(|c| *c != '-').map(|c| c.to_ascii_lowercase()).collect();
    let dashes = even.len() - digits.len();
    if digits.is_empty()
        || !digits.len().is_multiple_of(2)
        || digits.len() > 32
        || dashes > 4
        || !digits.bytes().all(|byte| byte.is_ascii_hexdigit())
    {
        return None;
    }
    let mut prefix = String::with_capacity(36);
    for (position, digit) in digits.chars().enumerate() {
        if matches!(position, 8 | 12 | 16 | 20) {
            prefix.push('-');
        }
        prefix.push(digit);
    }
    Some(prefix)
}

/// `/v1/catalog/services`: the names of all services and the tags of each.
#[derive(Debug)]
pub struct ServiceNames {
    node_meta: StringMap,
}

impl ServiceNames {
    /// Services on nodes with this metadata (empty for all).
    pub fn new(node_meta: StringMap) -> Self {
        Self { node_meta }
    }

    /// The names in order, each with the tags of its instances in order of first appearance.
    pub fn list<'a>(&self, view: &'a View) -> Vec<(&'a str, Vec<&'a str>)> {
        // Walking the nodes costs less than looking up the instances of every name.
        let mut names: Vec<(&str, Vec<&str>)> = Vec::with_capacity(view.services.len());
        let mut places: HashMap<&str, usize> = HashMap::with_capacity(view.services.len());
        for node in view.nodes.values().filter(|node| has_meta(node.node.meta.as_ref(), &self.node_meta)) {
            for service in node.services.values() {
                let place = *places.entry(&service.service).or_insert(names.len());
                if place == names.len() {
                    names.push((&service.service, Vec::with_capacity(service.tags.len())));
                }
                let Some((_, tags)) = names.get_mut(place) else { continue };
                for tag in &service.tags {
                    if !tags.contains(&tag.as_str()) {
                        tags.push(tag);
                    }
                }
            }
        }
        names.sort_by_key(|(name, _)| *name);
        names
    }

    /// All services are asked for.
    pub fn is_everything(&self) -> bool {
        self.node_meta.is_empty()
    }
}

impl BlockingRead for Arc<ServiceNames> {
    type Found = Snapshot;

    fn topics(&self) -> Topics {
        let mut topics = Topics::from_iter([Topic::Services]);
        if !self.is_everything() {
            topics.push(Topic::Nodes);
        }
        topics
    }

    fn index(&self, _: &Endpoints, view: &View) -> Result<u64, EndpointError> {
        let services = view.services_index();
        Ok(if self.is_everything() { services } else { services.max(view.nodes_index()) })
    }

    fn find(&self, endpoints: &Endpoints, view: &View) -> Result<(u64, Snapshot), EndpointError> {
        let index = self.index(endpoints, view)?;
        Ok((index, Snapshot { index, view: view.clone(), piece: endpoints.far.is_some() }))
    }

    fn question(&self) -> Option<Question> {
        Some(Question::ServiceNames { node_meta: self.node_meta.clone() })
    }
}

/// `/v1/catalog/gateway-services`: the services behind a gateway. Gateways have no configuration
/// entries yet, so there are none.
#[derive(Debug)]
pub struct GatewayServices;

impl BlockingRead for GatewayServices {
    type Found = ();

    fn topics(&self) -> Topics {
        Topics::new()
    }

    fn index(&self, _: &Endpoints, _: &View) -> Result<u64, EndpointError> {
        Ok(0)
    }

    fn find(&self, _: &Endpoints, _: &View) -> Result<(u64, ()), EndpointError> {
        Ok((0, ()))
    }

    fn question(&self) -> Option<Question> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Scene, endpoints_with};
    use super::*;

    fn scene() -> View {
        let mut view = Scene::default()
            .node("zeta", &[("rack", "1")])
            .node("Alpha", &[("rack", "2")])
            .node("mid", &[])
            .service("zeta", "b", "web", &["v1", "x"])
            .service("zeta", "a", "Web", &["v9"])
            .service("Alpha", "c", "web", &["x", "v2"])
            .service("Alpha", "d", "Db", &[])
            .view();
        view.indexes.nodes = 7;
        view.indexes.services = 5;
        view
    }

    fn nodes(meta: &[(&str, &str)], near: &str, filter: &str) -> Result<(u64, String), EndpointError> {
        let meta = meta.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let view = scene();
        let (index, nodes) = Nodes::new(meta, near, filter).find(&endpoints_with(View::default()), &view)?;
        Ok((index, nodes.iter().map(|node| &*node.node).collect::<Vec<_>>().join(" ")))
    }

    #[test]
    fn lists_nodes() {
        assert_eq!(nodes(&[], "", ""), Ok((7, "Alpha mid zeta".into())));
        assert_eq!(nodes(&[("rack", "2")], "nobody", ""), Ok((7, "Alpha".into())));
        assert_eq!(nodes(&[], "", "Meta is not empty and Node != zeta"), Ok((7, "Alpha".into())));
        assert!(matches!(nodes(&[], "", "Nope is empty"), Err(EndpointError::Refused(_))));
    }

    #[test]
    fn lists_what_lives_on_a_node() {
        let view = scene();
        let endpoints = endpoints_with(view.clone());
        let found = |node: &str, filter: &str| {
            let (index, found) = NodeServices::new(&endpoints, node, filter).find(&endpoints, &view).unwrap();
            let ids = found.map(|found| {
                let ids: Vec<_> = found.services.iter().map(|service| service.id.to_string()).collect();
                (found.node.node.to_string(), ids.join(" "), found.bare)
            });
            (index, ids)
        };
        assert_eq!(found("ZETA", ""), (7, Some(("zeta".into(), "a b".into(), false))));
        assert_eq!(found("zeta", "ID == b"), (7, Some(("zeta".into(), "b".into(), false))));
        assert_eq!(found("zeta", "ID == z"), (7, Some(("zeta".into(), String::new(), false))));
        assert_eq!(found("mid", ""), (7, Some(("mid".into(), String::new(), true))));
        assert_eq!(found("nobody", ""), (0, None));
    }

    #[test]
    fn finds_nodes_by_the_beginning_of_their_id() {
        let view = Scene::default()
            .node("one", &[])
            .node("two", &[])
            .id("one", "40e4a748-2192-161a-0510-9bf59fe950b5")
            .id("two", "40f4a748-2192-161a-0510-9bf59fe950b5")
            .view();
        let table = [
            ("40E4A748-2192-161A-0510-9BF59FE950B5", Some("one")),
            ("40e4", Some("one")),
            ("40f4a748-", Some("two")),
            ("40f4a748-2", None),
            ("40f4a748-219", None),
            ("40", None),
            ("40e", None),
            ("4", None),
            ("50", None),
            ("zz", None),
            ("日本", None),
            ("", None),
            ("TWO", Some("two")),
        ];
        for (text, want) in table {
            assert_eq!(find_node(&view, text).map(|entry| &*entry.node.node), want, "{text}");
        }
    }

    #[test]
    fn a_node_is_waited_for_by_its_name() {
        let view = Scene::default().node("One", &[]).id("One", "40e4a748-2192-161a-0510-9bf59fe950b5").view();
        let endpoints = endpoints_with(view);
        let table = [
            ("ONE", Topic::Node("one".into())),
            ("40e4", Topic::Node("one".into())),
            ("nobody", Topic::Node("nobody".into())),
            ("50e4", Topic::Nodes),
        ];
        for (name, want) in table {
            assert_eq!(NodeServices::new(&endpoints, name, "").topics().to_vec(), [want], "{name}");
        }
    }

    #[test]
    fn lists_the_names_of_services() {
        let view = scene();
        let list = |meta: StringMap| {
            let list = ServiceNames::new(meta).list(&view);
            list.into_iter()
                .map(|(name, tags)| format!("{name}:{}", tags.join(",")))
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(list(StringMap::new()), "Db: Web:v9 web:x,v2,v1");
        assert_eq!(list([("rack".to_owned(), "1".to_owned())].into()), "Web:v9 web:v1,x");
        assert_eq!(list([("rack".to_owned(), "9".to_owned())].into()), "");
        let everything = Arc::new(ServiceNames::new(StringMap::new()));
        let narrowed = Arc::new(ServiceNames::new([("rack".to_owned(), "1".to_owned())].into()));
        let endpoints = endpoints_with(View::default());
        assert_eq!(
            (everything.index(&endpoints, &view), everything.topics().to_vec()),
            (Ok(5), vec![Topic::Services])
        );
        assert_eq!(
            (narrowed.index(&endpoints, &view), narrowed.topics().to_vec()),
            (Ok(7), vec![Topic::Services, Topic::Nodes])
        );
    }
}
