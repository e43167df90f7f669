//! What must be sent to make the catalog equal to what lives here.
//!
//! Pure, as [`super::entries`] is. The agent is the authority for its own node: what the catalog holds
//! beyond it is removed, what differs is registered again. Left alone are two entries of the leader's,
//! the `serfHealth` check and, on servers, the `consul` service; and the tags of services that allow
//! others to change them (`EnableTagOverride`), which are taken over instead.

use std::sync::Arc;

use super::entries::Entries;
use crate::state::Command;
use crate::state::command::{Deregister, Register};
use crate::state::record::{Check, Indexes, Node, Service};
use crate::state::view::{NodeEntry, fold};

/// The check the leader keeps for every member.
pub const SERF_HEALTH: &str = "serfHealth";
/// The service the leader keeps for every server.
pub const CONSUL_SERVICE: &str = "consul";

/// One thing to send, and what it settles.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// What to propose.
    pub command: Command,
    /// What is in sync once it is applied.
    pub settles: Settles,
}

/// What a [`Step`] settles, as it was when the step was planned: what changed meanwhile stays
/// unsettled.
#[derive(Debug, Clone, PartialEq)]
pub enum Settles {
    /// The node itself.
    Node(Node),
    /// A service, and checks of it that were to be sent too.
    Service(Arc<Service>, Vec<Arc<Check>>),
    /// A check.
    Check(Arc<Check>),
    /// A service that is to be gone.
    GoneService(Arc<str>),
    /// A check that is to be gone.
    GoneCheck(Arc<str>),
}

/// The steps of a round. Those of one field may be sent together; the next field's need them done.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    /// The node, before anything is put on it.
    pub node: Option<Step>,
    /// What goes, before what may take its place.
    pub gone: Vec<Step>,
    /// Services with their checks, and checks of services that are there already.
    pub registered: Vec<Step>,
}

impl Plan {
    /// There is nothing to send.
    pub const fn is_empty(&self) -> bool {
        self.node.is_none() && self.gone.is_empty() && self.registered.is_empty()
    }
}

impl Entries {
    /// Looks at what the catalog has of this node and notes whatever differs. True if something was taken
    /// over from the catalog, so that the snapshot is another one.
    pub fn compare(&mut self, catalog: Option<&NodeEntry>) -> bool {
        let nothing =
            NodeEntry { node: Arc::default(), services: imbl::OrdMap::new(), checks: imbl::OrdMap::new() };
        let catalog = catalog.unwrap_or(&nothing);
        self.node_in_sync = same_node(&catalog.node, &self.node);
        self.pending = super::entries::Pending::default();

        let mut adopted = Vec::new();
        for (id, own) in &self.held.services {
            let known = catalog.services.get(&fold(id)).filter(|known| known.id == *id);
            if let Some(known) = known.filter(|known| own.enable_tag_override && known.tags != own.tags) {
                let tags = known.tags.clone();
                adopted.push((Arc::new(Service { tags, ..(**own).clone() }), Arc::clone(known)));
            } else if !known.is_some_and(|known| same_service(known, own)) {
                self.pending.services.insert(Arc::clone(id));
            }
        }
        let changed = !adopted.is_empty();
        for (service, known) in adopted {
            let id = Arc::clone(&service.id);
            let same = same_service(&known, &service);
            self.hold_service(&service);
            if same {
                self.pending.services.remove(&id);
            }
        }
        for (id, own) in &self.held.checks {
            let known = catalog.checks.get(&fold(id)).filter(|known| known.check_id == *id);
            let deferred = self.deferred.contains(id);
            if known.is_some_and(|known| same_check(known, own, deferred)) {
                self.pending.checks.remove(id);
            } else {
                self.deferred.clear(id);
                self.pending.checks.insert(Arc::clone(id));
            }
        }
        let gone_services = catalog.services.values().map(|known| &known.id);
        self.pending.gone_services = gone_services
            .filter(|id| !(self.server && ***id == *CONSUL_SERVICE))
            .filter(|id| !self.held.services.contains_key(*id))
            .cloned()
            .collect();
        let gone_checks = catalog.checks.values().filter(|known| *known.check_id != *SERF_HEALTH);
        self.pending.gone_checks = gone_checks
            // Those of a service that goes, go with it.
            .filter(|known| !self.pending.gone_services.contains(&*known.service_id))
            .map(|known| &known.check_id)
            .filter(|id| !self.held.checks.contains_key(*id))
            .cloned()
            .collect();
        changed
    }

    /// What is to be sent.
    pub fn plan(&self) -> Plan {
        let mut plan = Plan::default();
        let register = |skip_node_update: bool, service: Option<Service>, checks: Vec<Check>| {
            let node = self.node.clone();
            Command::Register(Box::new(Register { node, skip_node_update, service, checks }))
        };
        if !self.node_in_sync {
            let command = register(false, None, Vec::new());
            plan.node = Some(Step { command, settles: Settles::Node(self.node.clone()) });
        }
        let deregister = |service_id: &str, check_id: &str| {
            Command::Deregister(Deregister {
                node: Arc::clone(&self.node.node),
                service_id: service_id.to_owned(),
                check_id: check_id.to_owned(),
            })
        };
        for id in &self.pending.gone_services {
            let settles = Settles::GoneService(Arc::clone(id));
            plan.gone.push(Step { command: deregister(id, ""), settles });
        }
        for id in &self.pending.gone_checks {
            let settles = Settles::GoneCheck(Arc::clone(id));
            plan.gone.push(Step { command: deregister("", id), settles });
        }
        for service in self.pending.services.iter().filter_map(|id| self.held.services.get(id)) {
            let pending = self.checks_of(&service.id).filter(|id| self.pending.checks.contains(*id));
            let checks: Vec<_> = pending.filter_map(|id| self.held.checks.get(id)).cloned().collect();
            let records = checks.iter().map(|check| (**check).clone()).collect();
            let command = register(true, Some((**service).clone()), records);
            plan.registered.push(Step { command, settles: Settles::Service(Arc::clone(service), checks) });
        }
        for check in self.pending.checks.iter().filter_map(|id| self.held.checks.get(id)) {
            if !self.pending.services.contains(&*check.service_id) {
                let command = register(true, None, vec![(**check).clone()]);
                plan.registered.push(Step { command, settles: Settles::Check(Arc::clone(check)) });
            }
        }
        plan
    }

    /// Notes that a step was applied.
    pub fn settle(&mut self, settled: &Settles) {
        match settled {
            Settles::Node(node) => self.node_in_sync |= *node == self.node,
            Settles::Service(service, checks) => {
                self.settle_service(service);
                for check in checks {
                    self.settle_check(check);
                }
            }
            Settles::Check(check) => self.settle_check(check),
            Settles::GoneService(id) => {
                self.pending.gone_services.remove(id);
            }
            Settles::GoneCheck(id) => {
                self.pending.gone_checks.remove(id);
            }
        }
    }

    /// Notes that a step was refused: it is not tried again before the next comparison or its next change.
    /// The checks sent with a service that was refused are tried on their own.
    pub fn give_up(&mut self, refused: &Settles) {
        match refused {
            // Looked at again by the next comparison; nothing else stands behind it.
            Settles::Node(node) => self.node_in_sync |= *node == self.node,
            Settles::Service(service, _) => self.settle_service(service),
            other => self.settle(other),
        }
    }

    fn settle_service(&mut self, service: &Arc<Service>) {
        if self.held.services.get(&service.id).is_some_and(|now| Arc::ptr_eq(now, service)) {
            self.pending.services.remove(&service.id);
        }
    }

    fn settle_check(&mut self, check: &Arc<Check>) {
        if self.held.checks.get(&check.check_id).is_some_and(|now| Arc::ptr_eq(now, check)) {
            self.pending.checks.remove(&check.check_id);
        }
    }
}

fn same_node(known: &Node, own: &Node) -> bool {
    *known
        == Node { indexes: Indexes { ..known.indexes }, datacenter: known.datacenter.clone(), ..own.clone() }
}

fn same_service(known: &Service, own: &Service) -> bool {
    *known == Service { indexes: known.indexes, ..own.clone() }
}

/// What the catalog fills in makes no difference: it knows the service as it is now, the agent's check as it was
/// when the check was registered. Nor does output that is put off: it is sent when its time has come.
fn same_check(known: &Check, own: &Check, output_deferred: bool) -> bool {
    let own = Check {
        indexes: known.indexes,
        service_name: known.service_name.clone(),
        service_tags: known.service_tags.clone(),
        ..own.clone()
    };
    if output_deferred {
        return *known == Check { output: known.output.clone(), ..own };
    }
    *known == own
}

#[cfg(test)]
#[path = "sync_tests.rs"]
mod tests;
