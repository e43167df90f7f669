//! The health of this agent's services: what load balancers ask for.

use std::sync::Arc;

use super::LocalSnapshot;
use crate::definition::Status;
use crate::state::record::{Check, Service};

/// The check that a node in maintenance has.
const NODE_MAINTENANCE: &str = "_node_maintenance";
/// What the id of the check begins with that a service in maintenance has.
const SERVICE_MAINTENANCE: &str = "_service_maintenance:";

/// The worst that is known of a service. Ordered from best to worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Aggregate {
    /// By its checks and those of the node.
    Checked(Status),
    /// It or the node is in maintenance.
    Maintenance,
}

impl Aggregate {
    /// Consul's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Checked(status) => status.as_str(),
            Self::Maintenance => "maintenance",
        }
    }

    /// The worst of some checks; passing if there are none.
    pub fn of<'a>(checks: impl IntoIterator<Item = &'a Check>) -> Self {
        let one = |check: &Check| {
            if &*check.check_id == NODE_MAINTENANCE || check.check_id.starts_with(SERVICE_MAINTENANCE) {
                Self::Maintenance
            } else {
                Self::Checked(Status::parse(&check.status).unwrap_or(Status::Critical))
            }
        };
        checks.into_iter().map(one).max().unwrap_or(Self::Checked(Status::Passing))
    }
}

/// A service with what is known of its health.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceHealth {
    /// The service.
    pub service: Arc<Service>,
    /// The worst of its checks.
    pub aggregate: Aggregate,
    /// Its checks and those of the node.
    pub checks: Vec<Arc<Check>>,
}

impl ServiceHealth {
    fn of(local: &LocalSnapshot, service: &Arc<Service>) -> Self {
        let concerns = |check: &&Arc<Check>| check.service_id.is_empty() || *check.service_id == *service.id;
        let checks: Vec<_> = local.checks.values().filter(concerns).cloned().collect();
        let aggregate = Aggregate::of(checks.iter().map(|check| &**check));
        Self { service: Arc::clone(service), aggregate, checks }
    }
}

/// The health of one service; `None` if the agent has no such one.
pub fn by_id(local: &LocalSnapshot, id: &str) -> Option<ServiceHealth> {
    local.services.get(id).map(|service| ServiceHealth::of(local, service))
}

/// The health of all services of a name.
pub fn by_name(local: &LocalSnapshot, name: &str) -> Vec<ServiceHealth> {
    let services = local.services.values().filter(|service| *service.service == *name);
    services.map(|service| ServiceHealth::of(local, service)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(id: &str, service: &str, status: &str) -> (Arc<str>, Arc<Check>) {
        let check = Check {
            check_id: id.into(),
            service_id: service.into(),
            status: status.into(),
            ..Check::default()
        };
        (id.into(), Arc::new(check))
    }

    #[test]
    fn the_worst_check_counts_and_maintenance_is_worse() {
        type Checks = &'static [(&'static str, &'static str, &'static str)];
        let table: [(Checks, &str); 8] = [
            (&[], "passing"),
            (&[("a", "w1", "passing")], "passing"),
            (&[("a", "w1", "passing"), ("b", "w1", "warning")], "warning"),
            (&[("a", "w1", "critical"), ("b", "w1", "warning")], "critical"),
            (&[("a", "w1", "passing"), ("n", "", "critical")], "critical"),
            (&[("a", "other", "critical")], "passing"),
            (&[("a", "w1", "critical"), ("_node_maintenance", "", "critical")], "maintenance"),
            (&[("_service_maintenance:w1", "w1", "critical")], "maintenance"),
        ];
        for (checks, wanted) in table {
            let service = Arc::new(Service { id: "w1".into(), service: "web".into(), ..Service::default() });
            let local = LocalSnapshot {
                services: std::iter::once((Arc::from("w1"), service)).collect(),
                checks: checks.iter().map(|(id, service, status)| check(id, service, status)).collect(),
            };
            assert_eq!(by_id(&local, "w1").unwrap().aggregate.as_str(), wanted, "{checks:?}");
            assert_eq!(by_name(&local, "web")[0].aggregate.as_str(), wanted, "{checks:?}");
            assert_eq!(by_id(&local, "W1"), None);
            assert_eq!(by_name(&local, "WEB"), []);
        }
    }
}
