//! What the configuration defines: checked as a whole, then made true.
//!
//! At the start it comes over what the data directory held; at a reload over what there is. What is defined as
//! before goes on as it is; the rest is added, replaced or removed. A definition from a file wins over one
//! from HTTP of the same id, whose file is removed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use tracing::{debug, info, warn};

use super::LocalState;
use super::disk::{Changes, KeptCheck};
use super::entries::Entries;
use super::keeper::Keeper;
use crate::definition::{CheckDefinition, ServiceDefinition};
use crate::endpoints::EndpointError;
use crate::endpoints::agent::registration::{self, CheckRegistration, ServiceRegistration, Source};
use crate::endpoints::agent::{LocalAgent, LocalSnapshot};

/// A configuration's services and checks, checked and complete.
#[derive(Debug, Default)]
pub struct Configured {
    services: BTreeMap<Arc<str>, Defined>,
    checks: BTreeMap<Arc<str>, CheckRegistration>,
}

#[derive(Debug)]
struct Defined {
    registration: ServiceRegistration,
    sidecar_of: Option<Arc<str>>,
}

/// A definition that cannot be registered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DefinitionError {
    /// A service.
    #[error("Failed to register service {name:?}: {reason}")]
    Service {
        /// Its name.
        name: String,
        /// Why.
        reason: EndpointError,
    },
    /// A check.
    #[error("Failed to register check {name:?}: {reason}")]
    Check {
        /// Its name.
        name: String,
        /// Why.
        reason: EndpointError,
    },
}

impl LocalState {
    /// Checks definitions without changing anything.
    ///
    /// # Errors
    /// The first that cannot be registered.
    pub fn prepare(
        &self,
        services: &[ServiceDefinition],
        checks: &[CheckDefinition],
    ) -> Result<Configured, DefinitionError> {
        let rules = &self.settings.rules;
        let mut configured = Configured::default();
        let mut local: LocalSnapshot = (*self.local()).clone();
        for definition in services {
            let failed = |reason| DefinitionError::Service { name: definition.name.clone(), reason };
            let registered =
                registration::service(definition, Source::Config, rules, &local).map_err(failed)?;
            let first = registered.services.first().map(|first| Arc::clone(&first.service.id));
            for (place, registration) in registered.services.into_iter().enumerate() {
                let id = Arc::clone(&registration.service.id);
                local.services.insert(Arc::clone(&id), Arc::new(registration.service.clone()));
                let sidecar_of = first.clone().filter(|_| place > 0);
                configured.services.insert(id, Defined { registration, sidecar_of });
            }
        }
        // A check may not belong to a service that goes by this very change.
        let going = removed_services(&self.entries.lock(), &configured);
        for id in going {
            local.services.remove(&id);
        }
        for definition in checks {
            let name = if definition.id.is_empty() { &definition.name } else { &definition.id };
            let failed = |reason| DefinitionError::Check { name: name.clone(), reason };
            let registered =
                registration::check(definition, Source::Config, rules, &local).map_err(failed)?;
            configured.checks.insert(Arc::clone(&registered.check.check_id), registered);
        }
        Ok(configured)
    }

    /// Makes a configuration true in memory. What is to be removed from disk for it is given back.
    fn establish(&self, configured: Configured) -> Changes {
        let mut notes = Vec::new();
        let mut purge = Changes::default();
        self.change(|entries| {
            for id in removed_services(entries, &configured) {
                let gone = self.drop_service(entries, &id);
                // Some of them may have come over HTTP.
                purge.gone_checks.extend(gone.iter().cloned());
                notes.extend(gone);
            }
            for id in removed_checks(entries, &configured) {
                self.drop_check(entries, &id);
                notes.push(id);
            }
            let Configured { services, checks } = configured;
            let mut all_checks: Vec<CheckRegistration> = Vec::new();
            for (id, Defined { registration, sidecar_of }) in services {
                let ServiceRegistration { service, checks } = registration;
                all_checks.extend(checks);
                let known = entries.service_facts(&id);
                if known.is_some_and(|known| known.source == Source::Api) {
                    debug!(target: "agent", service = %id, "service exists, not restoring from file");
                    purge.gone_services.push(Arc::clone(&id));
                }
                let same = known.is_some_and(|known| {
                    known.source == Source::Config
                        && known.sidecar_of == sidecar_of
                        && *known.defined == service
                });
                if !same {
                    entries.put_service(service, Source::Config, sidecar_of);
                }
            }
            for check in all_checks.into_iter().chain(checks.into_values()) {
                let id = Arc::clone(&check.check.check_id);
                let known = entries.check_facts(&id);
                if known.is_some_and(|known| known.source == Source::Api) {
                    debug!(target: "agent", check = %id, "check exists, not restoring from file");
                    purge.gone_checks.push(Arc::clone(&id));
                }
                let same = known.is_some_and(|known| {
                    known.source == Source::Config && known.defined.as_deref() == Some(&check)
                });
                if !same {
                    self.put_check(entries, check, Source::Config);
                    notes.push(id);
                }
            }
        });
        self.note(notes);
        purge
    }

    /// Makes a configuration true at the start, on a thread that may wait, and puts back the checks that
    /// [`LocalState::restore`] gave. From then on no status of the agent's last life is remembered.
    ///
    /// # Errors
    /// [`EndpointError::Internal`] if overruled definitions cannot be removed from disk.
    pub fn configure_first(&self, configured: Configured, kept: Vec<KeptCheck>) -> Result<(), EndpointError> {
        let mut purge = self.establish(configured);
        let Some(keeper) = &self.keeper else { return Ok(()) };
        self.change(|entries| {
            for check in kept {
                let id = Arc::clone(&check.check.check_id);
                if entries.check(&id).is_some() {
                    debug!(target: "agent", check = %id, "check exists, not restoring from file");
                    purge.gone_checks.push(id);
                } else {
                    self.restore_check(entries, keeper, check);
                }
            }
        });
        keeper.forget_remembered();
        keeper.disk().carry_out(&purge).map_err(|error| EndpointError::Internal(error.to_string()))
    }

    fn restore_check(&self, entries: &mut Entries, keeper: &Keeper, kept: KeptCheck) {
        let KeptCheck { check, run } = kept;
        let id = Arc::clone(&check.check_id);
        let owned = check.service_id.is_empty() || entries.service_facts(&check.service_id).is_some();
        if !owned {
            // Its service was deregistered while the process ended, or the file of that one is lost.
            warn!(target: "agent", check = %id, service = %check.service_id,
                "Failed to restore check: its service does not exist; the file stays");
            return;
        }
        match run {
            None => entries.restore_maintenance(check, Instant::now()),
            Some(run) if run.is_script() && !self.settings.rules.remote_scripts => {
                warn!(target: "agent", check = %id,
                    "Failed to restore check: Scripts are disabled on this agent; the file stays");
            }
            Some(run) => {
                let remembered = keeper.recall(&id, run.ttl);
                let mut check = check;
                // What it was when it was defined, whenever that was, says nothing now.
                check.status.clear();
                check.output.clear();
                let registration = Arc::new(CheckRegistration { check, run });
                entries.put_check(registration, Source::Api, remembered, Instant::now());
            }
        }
    }

    /// Makes a configuration true while the agent runs. What came over HTTP stays if it is kept on disk; without
    /// a data directory it goes, as Consul's does: a reload is a fresh look at all that is written down.
    ///
    /// # Errors
    /// [`EndpointError::Internal`] if overruled definitions cannot be removed from disk; in memory all is done.
    pub async fn configure(&self, configured: Configured) -> Result<(), EndpointError> {
        let _turn = self.turn.lock().await;
        if self.keeper.is_none() {
            self.forget_unkept();
        }
        let purge = self.establish(configured);
        self.on_disk(purge).await
    }
}

impl LocalState {
    /// Removes what came over HTTP.
    fn forget_unkept(&self) {
        self.change(|entries| {
            let services: Vec<_> = entries
                .services()
                .filter(|(_, facts)| facts.source == Source::Api)
                .map(|(id, _)| Arc::clone(id))
                .collect();
            for id in services {
                info!(target: "agent", service = %id, "removed service: no data directory keeps it over a reload");
                self.drop_service(entries, &id);
            }
            let checks: Vec<_> = entries
                .checks()
                .filter(|(_, facts)| facts.source == Source::Api)
                .map(|(id, _)| Arc::clone(id))
                .collect();
            for id in checks {
                info!(target: "agent", check = %id, "removed check: no data directory keeps it over a reload");
                self.drop_check(entries, &id);
            }
        });
    }
}

/// Services that files defined before and do not any more.
fn removed_services(entries: &Entries, configured: &Configured) -> Vec<Arc<str>> {
    entries
        .services()
        .filter(|(id, facts)| facts.source == Source::Config && !configured.services.contains_key(*id))
        .map(|(id, _)| Arc::clone(id))
        .collect()
}

/// Checks that files defined before and do not any more.
fn removed_checks(entries: &Entries, configured: &Configured) -> Vec<Arc<str>> {
    let of_services = configured.services.values().flat_map(|defined| &defined.registration.checks);
    let named: BTreeSet<_> =
        of_services.map(|check| &check.check.check_id).chain(configured.checks.keys()).collect();
    entries
        .checks()
        .filter(|(id, facts)| facts.source == Source::Config && !named.contains(id))
        .map(|(id, _)| Arc::clone(id))
        .collect()
}
