//! What lives on this agent: its services and checks, who defined them, how they are now, and what of
//! it is still to be sent to the catalog ([`super::sync`]).
//!
//! Pure: no clock, no chance, no actor, no disk. Time and chance are arguments. Everything is in
//! shared maps, so that a change and its publication cost little however much there is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::deadlines::Deadlines;
use crate::definition::{CheckDefinition, Status};
use crate::endpoints::agent::LocalSnapshot;
use crate::endpoints::agent::registration::{CheckRegistration, Source};
use crate::state::record::{Check, Node, Service, StringMap};

/// The check that puts a node into maintenance.
pub const NODE_MAINTENANCE: &str = "_node_maintenance";
/// What stands in front of a service's id in its maintenance check.
pub const SERVICE_MAINTENANCE: &str = "_service_maintenance:";

/// Whether a check is one of maintenance: nothing runs it.
pub fn is_maintenance(check_id: &str) -> bool {
    check_id == NODE_MAINTENANCE || check_id.starts_with(SERVICE_MAINTENANCE)
}

/// What is known of a service besides what the catalog holds.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceFacts {
    /// Who defined it.
    pub source: Source,
    /// The service it is the sidecar of, if it came with that one's definition.
    pub sidecar_of: Option<Arc<str>>,
    /// As it was defined. With `EnableTagOverride` the catalog may have changed the tags since.
    pub defined: Arc<Service>,
}

/// What is known of a check besides what the catalog holds.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckFacts {
    /// Who defined it.
    pub source: Source,
    /// As it was defined; how it is run is in it. None for those nobody runs, of maintenance.
    pub defined: Option<Arc<CheckRegistration>>,
    /// Its status comes from a probe or its owner, in this life of the agent or the last, not from its definition.
    pub reported: bool,
}

impl CheckFacts {
    /// How long it may be critical before its service is deregistered.
    fn patience(&self) -> Option<Duration> {
        let after = self.defined.as_ref()?.run.deregister_critical_service_after;
        (!after.is_zero()).then_some(after)
    }
}

/// What news of a check changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Nothing: as it was, or there is no such check.
    Nothing,
    /// Only its output.
    Output {
        /// Whoever sends must look at its timers again.
        wake: bool,
    },
    /// Its status, or that this is known at all: the first news of a check counts whatever it says.
    Status,
}

/// A service whose check has been critical for too long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overdue {
    /// The service to deregister.
    pub service_id: String,
    /// Its check.
    pub check_id: Arc<str>,
    /// How long that was allowed to be critical.
    pub timeout: Duration,
}

/// What is still to be sent.
#[derive(Debug, Clone, Default)]
pub(super) struct Pending {
    pub services: BTreeSet<Arc<str>>,
    pub checks: BTreeSet<Arc<str>>,
    pub gone_services: BTreeSet<Arc<str>>,
    pub gone_checks: BTreeSet<Arc<str>>,
}

/// How changes of output are treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutputRules {
    /// A change of output alone reaches the catalog about so late; at once if zero (`check_update_interval`).
    pub update_interval: Duration,
    /// Keep no output (`discard_check_output`).
    pub discard: bool,
}

impl Default for OutputRules {
    /// Consul's.
    fn default() -> Self {
        Self { update_interval: Duration::from_secs(300), discard: false }
    }
}

/// Everything that lives on this agent.
#[derive(Debug, Clone)]
pub struct Entries {
    pub(super) node: Node,
    pub(super) server: bool,
    pub(super) node_in_sync: bool,
    pub(super) held: LocalSnapshot,
    pub(super) pending: Pending,
    /// Checks whose output the catalog gets later.
    pub(super) deferred: Deadlines,
    service_facts: BTreeMap<Arc<str>, ServiceFacts>,
    check_facts: BTreeMap<Arc<str>, CheckFacts>,
    checks_of: BTreeMap<String, BTreeSet<Arc<str>>>,
    /// Critical checks that take their service along.
    overdue: Deadlines,
    output: OutputRules,
}

impl Entries {
    /// Nothing but the node. `server` protects the `consul` service.
    pub fn new(node: Node, server: bool, output: OutputRules) -> Self {
        Self {
            node,
            server,
            node_in_sync: false,
            held: LocalSnapshot::default(),
            pending: Pending::default(),
            deferred: Deadlines::default(),
            service_facts: BTreeMap::new(),
            check_facts: BTreeMap::new(),
            checks_of: BTreeMap::new(),
            overdue: Deadlines::default(),
            output,
        }
    }

    /// Name of the node.
    pub fn node_name(&self) -> &Arc<str> {
        &self.node.node
    }

    /// For readers.
    pub fn snapshot(&self) -> LocalSnapshot {
        self.held.clone()
    }

    /// What is known of a service.
    pub fn service_facts(&self, id: &str) -> Option<&ServiceFacts> {
        self.service_facts.get(id)
    }

    /// What is known of a check.
    pub fn check_facts(&self, id: &str) -> Option<&CheckFacts> {
        self.check_facts.get(id)
    }

    /// A check.
    pub fn check(&self, id: &str) -> Option<&Arc<Check>> {
        self.held.checks.get(id)
    }

    /// What is known of every service.
    pub fn services(&self) -> impl Iterator<Item = (&Arc<str>, &ServiceFacts)> {
        self.service_facts.iter()
    }

    /// What is known of every check.
    pub fn checks(&self) -> impl Iterator<Item = (&Arc<str>, &CheckFacts)> {
        self.check_facts.iter()
    }

    /// Ids of the checks of a service.
    pub fn checks_of(&self, service_id: &str) -> impl Iterator<Item = &Arc<str>> {
        self.checks_of.get(service_id).into_iter().flatten()
    }

    /// Adds or replaces a service. Its checks keep the name and tags they were registered with, as Consul's do.
    pub fn put_service(&mut self, service: Service, source: Source, sidecar_of: Option<Arc<str>>) {
        let service = Arc::new(service);
        let id = Arc::clone(&service.id);
        let facts = ServiceFacts { source, sidecar_of, defined: Arc::clone(&service) };
        self.service_facts.insert(Arc::clone(&id), facts);
        self.pending.gone_services.remove(&id);
        self.hold_service(&service);
    }

    /// Puts a service into its place and has it sent.
    pub(super) fn hold_service(&mut self, service: &Arc<Service>) {
        let id = Arc::clone(&service.id);
        self.held.services.insert(Arc::clone(&id), Arc::clone(service));
        self.pending.services.insert(id);
    }

    /// Removes a service and its checks, whose ids it gives; none if it is unknown.
    pub fn remove_service(&mut self, id: &str) -> Option<Vec<Arc<str>>> {
        let (id, _) = self.service_facts.remove_entry(id)?;
        self.held.services.remove(&id);
        self.pending.services.remove(&id);
        let checks: Vec<_> = self.checks_of.remove(&*id).into_iter().flatten().collect();
        for check_id in &checks {
            // The catalog removes the checks along with their service.
            self.forget_check(check_id);
        }
        self.pending.gone_services.insert(id);
        Some(checks)
    }

    /// Adds or replaces a check; node, service name and tags are filled in from what it belongs to. It keeps
    /// the status and output it had: those of a check of this id, or what `remembered` says.
    pub fn put_check(
        &mut self,
        registration: Arc<CheckRegistration>,
        source: Source,
        remembered: Option<(Status, String)>,
        now: Instant,
    ) {
        let mut check = registration.check.clone();
        let mut reported = false;
        if let Some(known) = self.held.checks.get(&check.check_id) {
            check.status.clone_from(&known.status);
            check.output.clone_from(&known.output);
            reported = self.check_facts.get(&check.check_id).is_some_and(|facts| facts.reported);
        } else if let Some((status, output)) = remembered {
            status.as_str().clone_into(&mut check.status);
            check.output = output;
            reported = true;
        }
        self.add_check(check, CheckFacts { source, defined: Some(registration), reported }, now);
    }

    fn add_check(&mut self, mut check: Check, facts: CheckFacts, now: Instant) {
        check.node = Arc::clone(&self.node.node);
        if check.status.is_empty() {
            Status::Critical.as_str().clone_into(&mut check.status);
        }
        if let Some(service) = self.held.services.get(&*check.service_id) {
            name_service(&mut check, service);
        }
        let id = Arc::clone(&check.check_id);
        if let Some(known) = self.held.checks.get(&id)
            && known.service_id != check.service_id
        {
            self.leave_service(&id);
        }
        self.pending.gone_checks.remove(&id);
        if !check.service_id.is_empty() {
            self.checks_of.entry(check.service_id.clone()).or_default().insert(Arc::clone(&id));
        }
        self.check_facts.insert(Arc::clone(&id), facts);
        let changed = self.held.checks.get(&id).is_none_or(|known| **known != check);
        if changed {
            self.hold_check(check);
        }
        self.time_critical(&id, now);
    }

    /// Puts a check into its place and has it sent.
    fn hold_check(&mut self, check: Check) {
        let id = Arc::clone(&check.check_id);
        self.deferred.clear(&id);
        self.held.checks.insert(Arc::clone(&id), Arc::new(check));
        self.pending.checks.insert(id);
    }

    /// Removes a check; false if it is unknown.
    pub fn remove_check(&mut self, id: &str) -> bool {
        let Some((id, _)) = self.check_facts.get_key_value(id) else { return false };
        let id = Arc::clone(id);
        self.leave_service(&id);
        self.forget_check(&id);
        self.pending.gone_checks.insert(id);
        true
    }

    fn leave_service(&mut self, check_id: &Arc<str>) {
        let Some(check) = self.held.checks.get(check_id) else { return };
        let Some(siblings) = self.checks_of.get_mut(&check.service_id) else { return };
        siblings.remove(check_id);
        if siblings.is_empty() {
            self.checks_of.remove(&check.service_id);
        }
    }

    fn forget_check(&mut self, id: &Arc<str>) {
        self.check_facts.remove(id);
        self.held.checks.remove(id);
        self.pending.checks.remove(id);
        self.deferred.clear(id);
        self.overdue.clear(id);
    }

    /// News of a check. A new status is to be sent at once; new output alone is put off by half the update
    /// interval and up to a whole one more, by `chance` (0 to 1), so that chatty checks spread out.
    pub fn update_check(
        &mut self,
        id: &str,
        status: Status,
        output: &str,
        now: Instant,
        chance: f64,
    ) -> Change {
        let output = if self.output.discard { "" } else { output };
        let Some(known) = self.held.checks.get(id) else { return Change::Nothing };
        let facts = self.check_facts.get_mut(id);
        let first = facts.is_some_and(|facts| !std::mem::replace(&mut facts.reported, true));
        if known.status == status.as_str() {
            let id = Arc::clone(&known.check_id);
            let mut change = Change::Nothing;
            if known.output != output {
                let mut check = (**known).clone();
                output.clone_into(&mut check.output);
                self.held.checks.insert(Arc::clone(&id), Arc::new(check));
                change = Change::Output { wake: self.defer_output(Arc::clone(&id), now, chance) };
            }
            if first {
                self.time_critical(&id, now);
                change = Change::Status;
            }
            return change;
        }
        let mut check = (**known).clone();
        let id = Arc::clone(&check.check_id);
        status.as_str().clone_into(&mut check.status);
        output.clone_into(&mut check.output);
        self.hold_check(check);
        self.time_critical(&id, now);
        Change::Status
    }

    /// Has changed output sent later, or now if that is the rule. True if whoever sends must look at its
    /// timers again.
    fn defer_output(&mut self, id: Arc<str>, now: Instant, chance: f64) -> bool {
        let interval = self.output.update_interval;
        if interval.is_zero() {
            return self.pending.checks.insert(id);
        }
        if self.deferred.contains(&id) || self.pending.checks.contains(&id) {
            return false;
        }
        self.deferred.set(&id, now + interval / 2 + interval.mul_f64(chance.clamp(0.0, 1.0)));
        true
    }

    /// Starts or ends the time a check may be critical. It does not start before the first news of the check:
    /// one that was never run must not take its service along.
    fn time_critical(&mut self, id: &Arc<str>, now: Instant) {
        let (Some(check), Some(facts)) = (self.held.checks.get(id), self.check_facts.get(id)) else { return };
        let critical =
            facts.reported && check.status == Status::Critical.as_str() && !check.service_id.is_empty();
        match facts.patience().filter(|_| critical) {
            None => {
                self.overdue.clear(id);
            }
            Some(_) if self.overdue.contains(id) => {}
            Some(after) => self.overdue.set(id, now + after),
        }
    }

    /// When [`Entries::expire`] has something to do next.
    pub fn next_deadline(&self) -> Option<Instant> {
        [self.deferred.next(), self.overdue.next()].into_iter().flatten().min()
    }

    /// Has the output sent whose time has come, and names the services whose time is over. Those are asked for
    /// again after their check's timeout if they are still there.
    pub fn expire(&mut self, now: Instant) -> Vec<Overdue> {
        while let Some(id) = self.deferred.take_due(now) {
            self.pending.checks.insert(id);
        }
        let mut found = Vec::new();
        while let Some(check_id) = self.overdue.take_due(now) {
            let timeout = self.check_facts.get(&check_id).and_then(CheckFacts::patience);
            let service_id = self.held.checks.get(&check_id).map(|check| check.service_id.clone());
            if let (Some(timeout), Some(service_id)) = (timeout, service_id) {
                found.push(Overdue { service_id, check_id, timeout });
            }
        }
        for due in &found {
            self.overdue.set(&due.check_id, now + due.timeout.max(Duration::from_secs(1)));
        }
        found
    }

    /// Replaces the node's metadata.
    pub fn set_meta(&mut self, meta: StringMap) {
        if self.node.meta.as_ref() != Some(&meta) {
            self.node.meta = Some(meta);
            self.node_in_sync = false;
        }
    }

    /// Keeps output from now on, or no more.
    pub const fn set_discard_output(&mut self, discard: bool) {
        self.output.discard = discard;
    }

    /// Puts the node into maintenance for a reason or takes it out. True if that changed something.
    pub fn set_node_maintenance(&mut self, reason: Option<String>, now: Instant) -> bool {
        self.set_maintenance(NODE_MAINTENANCE, "Node Maintenance Mode", "", reason, now)
    }

    /// Puts a service into maintenance for a reason or takes it out; none if it is unknown, else the id of
    /// the check that says so.
    pub fn set_service_maintenance(
        &mut self,
        service_id: &str,
        reason: Option<String>,
        now: Instant,
    ) -> Option<String> {
        if !self.held.services.contains_key(service_id) {
            return None;
        }
        let check_id = format!("{SERVICE_MAINTENANCE}{service_id}");
        self.set_maintenance(&check_id, "Service Maintenance Mode", service_id, reason, now);
        Some(check_id)
    }

    fn set_maintenance(
        &mut self,
        check_id: &str,
        name: &str,
        service_id: &str,
        reason: Option<String>,
        now: Instant,
    ) -> bool {
        let Some(notes) = reason else { return self.remove_check(check_id) };
        // Being in maintenance already, it stays there for the first reason.
        if self.held.checks.contains_key(check_id) {
            return false;
        }
        let check = Check {
            check_id: check_id.into(),
            name: name.to_owned(),
            notes,
            service_id: service_id.to_owned(),
            kind: "maintenance".to_owned(),
            ..Check::default()
        };
        self.restore_maintenance(check, now);
        true
    }

    /// Puts a maintenance check back as it was kept.
    pub fn restore_maintenance(&mut self, check: Check, now: Instant) {
        self.add_check(check, CheckFacts { source: Source::Api, defined: None, reported: false }, now);
    }

    /// How a check is run, with its status and output; none if it is unknown or nothing runs it.
    pub fn run(&self, id: &str) -> Option<(&CheckDefinition, Status, &str)> {
        let defined = self.check_facts.get(id)?.defined.as_ref()?;
        let check = self.held.checks.get(id)?;
        let status = Status::parse(&check.status).unwrap_or(Status::Critical);
        Some((&defined.run, status, &check.output))
    }
}

/// What a check shows of its service.
fn name_service(check: &mut Check, service: &Service) {
    service.service.as_ref().clone_into(&mut check.service_name);
    check.service_tags.clone_from(&service.tags);
}

#[cfg(test)]
#[path = "entries_tests.rs"]
mod tests;
