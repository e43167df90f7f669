//! The model's rules of nodes, services and checks.

use super::{Model, Rule, at, low};
use crate::state::command::{Deregister, Register};
use crate::state::record::{Check, Node, Service};

impl Model {
    pub(super) fn register(&mut self, command: &Register, step: &mut dyn FnMut(&Self)) -> Rule<()> {
        let node = &command.node;
        let same = self.nodes.get(&low(&node.node)).is_some_and(|existing| {
            command.skip_node_update || Node { indexes: existing.indexes, ..node.clone() } == *existing
        });
        if !same {
            self.set_node(node).map_err(|text| format!("failed inserting node: {text}"))?;
        }
        if let Some(service) = &command.service {
            self.set_service(&node.node, service)
                .map_err(|text| format!("failed inserting service: {text}"))?;
        }
        for check in &command.checks {
            step(self);
            let (of, on) = (&*check.node, &*node.node);
            if of != on {
                return Err(format!("check node {of:?} does not match node {on:?}"));
            }
            self.set_check(check).map_err(|text| format!("failed inserting check: {text} on node {of:?}"))?;
        }
        Ok(())
    }

    pub(super) fn deregister(&mut self, command: &Deregister) {
        if !command.service_id.is_empty() {
            self.delete_service(&command.node, &command.service_id);
        } else if !command.check_id.is_empty() {
            self.delete_check(&command.node, &command.check_id);
        } else {
            self.delete_node(&command.node);
        }
    }

    pub fn node_by_id(&self, id: &str) -> Option<&Node> {
        self.nodes.values().find(|node| !node.id.is_empty() && low(&node.id) == low(id))
    }

    pub(super) fn set_node(&mut self, node: &Node) -> Rule<()> {
        let by_id = if node.id.is_empty() { None } else { self.node_by_id(&node.id).cloned() };
        let renamed = by_id.as_ref().filter(|known| known.node != node.node);
        if !node.id.is_empty()
            && (by_id.is_none() || renamed.is_some())
            && let Some(owner) = self.nodes.get(&low(&node.node))
            && owner.id != node.id
            && !(owner.id.is_empty() && by_id.is_none())
            && self.checks.get(&at(&node.node, "serfHealth")).is_some_and(|check| check.status != "critical")
        {
            let (id, address) = (&node.id, &node.address);
            let which = if renamed.is_some() { format!("{id:?} ({address})") } else { format!("{id:?}") };
            return Err(format!(
                "Error while renaming Node ID: {which}: Node name {} is reserved by node {} with name {} ({})",
                node.node, owner.id, owner.node, owner.address
            ));
        }
        if let Some(known) = renamed {
            self.delete_node(&known.node);
        }
        let existing = by_id.or_else(|| self.nodes.get(&low(&node.node)).cloned());
        if let Some(existing) = &existing
            && Some(existing) == self.nodes.get(&low(&node.node))
            && (Node { indexes: existing.indexes, ..node.clone() }) == *existing
        {
            return Ok(());
        }
        let indexes = self.written(existing.map(|existing| existing.indexes));
        self.nodes.insert(low(&node.node), Node { indexes, ..node.clone() });
        self.moved("nodes");
        self.services_of_node_moved(&node.node);
        Ok(())
    }

    pub fn services_of(&self, node: &str) -> Vec<Service> {
        let of = |((owner, _), service): (&(String, String), &Service)| {
            (*owner == low(node)).then(|| service.clone())
        };
        self.services.iter().filter_map(of).collect()
    }

    fn services_of_node_moved(&mut self, node: &str) {
        for service in self.services_of(node) {
            self.service_moved(&service.service);
        }
    }

    pub(super) fn delete_node(&mut self, node: &str) {
        if !self.nodes.contains_key(&low(node)) {
            return;
        }
        for service in self.services_of(node) {
            self.delete_service(node, &service.id);
        }
        let of_node = |(owner, id): &(String, String)| (*owner == low(node)).then(|| id.clone());
        for id in self.checks.keys().filter_map(of_node).collect::<Vec<_>>() {
            self.delete_check(node, &id);
        }
        let before = self.coordinates.len();
        self.coordinates.retain(|(owner, _), _| *owner != low(node));
        if self.coordinates.len() < before {
            self.moved("coordinates");
        }
        self.nodes.remove(&low(node));
        self.moved("nodes");
        self.end_sessions(|session| low(&session.node) == low(node));
    }

    pub(super) fn set_service(&mut self, node: &str, service: &Service) -> Rule<()> {
        if service.meta.iter().flatten().any(|(key, _)| key.contains(' ')) {
            let (key, value) = service.meta.iter().flatten().next().unwrap();
            return Err(format!(
                "Invalid Service Meta for node {node} and serviceID {}: Couldn't load metadata pair \
                 ('{key}', '{value}'): Key contains invalid characters",
                service.id
            ));
        }
        if !self.nodes.contains_key(&low(node)) {
            return Err("Missing node registration".into());
        }
        let existing = self.services.get(&at(node, &service.id));
        if existing
            .is_some_and(|existing| Service { indexes: existing.indexes, ..service.clone() } == *existing)
        {
            return Ok(());
        }
        let indexes = self.written(existing.map(|existing| existing.indexes));
        self.services.insert(at(node, &service.id), Service { indexes, ..service.clone() });
        self.moved("services");
        self.service_moved(&service.service);
        Ok(())
    }

    pub(super) fn delete_service(&mut self, node: &str, id: &str) {
        let Some(service) = self.services.get(&at(node, id)).cloned() else { return };
        let of_service = |((owner, check), record): (&(String, String), &Check)| {
            (*owner == low(node) && low(&record.service_id) == low(id)).then(|| check.clone())
        };
        for check in self.checks.iter().filter_map(of_service).collect::<Vec<_>>() {
            self.delete_check(node, &check);
        }
        self.services.remove(&at(node, id));
        self.moved("checks");
        self.moved("services");
        if self.services.values().any(|other| low(&other.service) == low(&service.service)) {
            self.service_moved(&service.service);
        } else {
            self.indexes.remove(&format!("service.{}", low(&service.service)));
            self.moved("extinction");
        }
    }

    pub(super) fn set_check(&mut self, check: &Check) -> Rule<()> {
        if !self.nodes.contains_key(&low(&check.node)) {
            return Err("Missing node registration".into());
        }
        let mut check = check.clone();
        if check.status.is_empty() {
            check.status = "critical".into();
        }
        if !check.service_id.is_empty() {
            let service = self.services.get(&at(&check.node, &check.service_id));
            let service = service.ok_or("Missing service registration")?;
            check.service_name = service.service.to_string();
            check.service_tags = service.tags.clone();
        }
        if check.status == "critical" {
            self.end_sessions_of_check(&check.node, &check.check_id);
        }
        let existing = self.checks.get(&at(&check.node, &check.check_id)).cloned();
        let unchanged = existing.as_ref().is_some_and(|existing| {
            Check { indexes: existing.indexes, kind: existing.kind.clone(), ..check.clone() } == *existing
        });
        if unchanged {
            check.indexes = existing.unwrap().indexes;
        } else {
            check.indexes = self.written(existing.map(|existing| existing.indexes));
            if check.service_id.is_empty() {
                self.services_of_node_moved(&check.node);
            } else {
                self.service_moved(&check.service_name);
            }
        }
        self.moved("checks");
        self.checks.insert(at(&check.node, &check.check_id), check);
        Ok(())
    }

    pub(super) fn delete_check(&mut self, node: &str, id: &str) {
        let Some(check) = self.checks.remove(&at(node, id)) else { return };
        self.moved("checks");
        if check.service_id.is_empty() {
            self.services_of_node_moved(node);
            self.moved("services");
        } else {
            self.service_moved(&check.service_name);
        }
        self.end_sessions_of_check(node, id);
    }
}
