//! Registering and deregistering: first the disk, then the memory, one caller at a time.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use futures::future::BoxFuture;
use tokio::sync::watch;
use tracing::info;

use super::LocalState;
use super::disk::{Changes, KeptCheck, KeptService};
use super::entries::{Entries, is_maintenance};
use crate::definition::Status;
use crate::endpoints::EndpointError;
use crate::endpoints::agent::LocalRegistry;
use crate::endpoints::agent::registration::{CheckRegistration, Registration, Source};

impl LocalState {
    /// Carries out changes on disk, if there is one.
    pub(super) async fn on_disk(&self, changes: Changes) -> Result<(), EndpointError> {
        let Some(keeper) = &self.keeper else { return Ok(()) };
        let disk = keeper.disk().clone();
        let done = tokio::task::spawn_blocking(move || disk.carry_out(&changes)).await;
        match done {
            Ok(outcome) => outcome.map_err(|error| EndpointError::Internal(error.to_string())),
            Err(error) => Err(EndpointError::Internal(error.to_string())),
        }
    }

    async fn add_service(&self, registration: Registration, source: Source) -> Result<(), EndpointError> {
        let _turn = self.turn.lock().await;
        let dropped = if registration.replace_existing_checks {
            unnamed_checks(&self.entries.lock(), &registration)
        } else {
            Vec::new()
        };
        let mut changes = Changes { gone_checks: dropped.clone(), ..Changes::default() };
        if source == Source::Api {
            let first = registration.services.first().map(|first| Arc::clone(&first.service.id));
            for (place, registered) in registration.services.iter().enumerate() {
                let sidecar_of = first.clone().filter(|_| place > 0);
                changes.services.push(KeptService { service: registered.service.clone(), sidecar_of });
                changes.checks.extend(registered.checks.iter().map(kept));
            }
        }
        self.on_disk(changes).await?;
        let mut notes = dropped.clone();
        self.change(|entries| {
            for id in dropped {
                self.drop_check(entries, &id);
            }
            let first = registration.services.first().map(|first| Arc::clone(&first.service.id));
            for (place, registered) in registration.services.into_iter().enumerate() {
                let sidecar_of = first.clone().filter(|_| place > 0);
                entries.put_service(registered.service, source, sidecar_of);
                for check in registered.checks {
                    notes.push(Arc::clone(&check.check.check_id));
                    self.put_check(entries, check, source);
                }
            }
        });
        self.note(notes);
        Ok(())
    }

    async fn add_check(&self, registration: CheckRegistration, source: Source) -> Result<(), EndpointError> {
        let _turn = self.turn.lock().await;
        let service_id = &registration.check.service_id;
        if !service_id.is_empty() && self.entries.lock().service_facts(service_id).is_none() {
            return Err(EndpointError::Refused(format!("ServiceID {service_id:?} does not exist")));
        }
        if source == Source::Api {
            self.on_disk(Changes { checks: vec![kept(&registration)], ..Changes::default() }).await?;
        }
        let id = Arc::clone(&registration.check.check_id);
        self.change(|entries| self.put_check(entries, registration, source));
        self.note([id]);
        Ok(())
    }

    /// Adds a check and has it run. One that ran the same way goes on as it is; but a definition from HTTP is
    /// also a sign of life, so the time of a TTL begins anew.
    pub(super) fn put_check(&self, entries: &mut Entries, registration: CheckRegistration, source: Source) {
        let id = Arc::clone(&registration.check.check_id);
        let runs = entries.run(&id).is_some_and(|(run, ..)| *run == registration.run);
        let renewed = source == Source::Api && !registration.run.ttl.is_zero();
        let remembered = self.keeper.as_ref().and_then(|keeper| keeper.recall(&id, registration.run.ttl));
        entries.put_check(Arc::new(registration), source, remembered, Instant::now());
        if let (false, Some(checks)) = (runs && !renewed, self.checks.get())
            && let Some((run, status, output)) = entries.run(&id)
        {
            checks.start(run, status, output);
        }
    }

    /// Removes a check and ends its run.
    pub(super) fn drop_check(&self, entries: &mut Entries, id: &str) -> bool {
        if let Some(checks) = self.checks.get() {
            checks.stop(id);
        }
        entries.remove_check(id)
    }

    /// Removes a service and its checks, whose ids it gives, and ends their runs.
    pub(super) fn drop_service(&self, entries: &mut Entries, id: &str) -> Vec<Arc<str>> {
        let gone = entries.remove_service(id).unwrap_or_default();
        if let Some(checks) = self.checks.get() {
            for check_id in &gone {
                checks.stop(check_id);
            }
        }
        gone
    }

    pub(super) async fn remove_service(&self, service_id: &str) -> Result<(), EndpointError> {
        let _turn = self.turn.lock().await;
        let mut changes = Changes::default();
        {
            let entries = self.entries.lock();
            if entries.service_facts(service_id).is_none() {
                return Err(EndpointError::NotFound(format!("Unknown service {service_id:?}")));
            }
            let sidecars = entries
                .services()
                .filter(|(_, facts)| facts.sidecar_of.as_deref() == Some(service_id))
                .map(|(id, _)| Arc::clone(id));
            changes.gone_services = [Arc::from(service_id)].into_iter().chain(sidecars).collect();
            for id in &changes.gone_services {
                changes.gone_checks.extend(entries.checks_of(id).cloned());
            }
        }
        let gone = changes.gone_services.clone();
        self.on_disk(changes).await?;
        let checks: Vec<_> =
            self.change(|entries| gone.iter().flat_map(|id| self.drop_service(entries, id)).collect());
        self.note(checks);
        for id in gone {
            info!(target: "agent", service = %id, "removed service");
        }
        Ok(())
    }

    async fn remove_check(&self, check_id: &str) -> Result<(), EndpointError> {
        let _turn = self.turn.lock().await;
        if self.entries.lock().check_facts(check_id).is_none() {
            return Err(EndpointError::NotFound(format!("Unknown check {check_id:?}")));
        }
        self.on_disk(Changes { gone_checks: vec![check_id.into()], ..Changes::default() }).await?;
        self.change(|entries| self.drop_check(entries, check_id));
        self.note([check_id.into()]);
        info!(target: "agent", check = check_id, "removed check");
        Ok(())
    }
}

/// Checks that services have and a registration does not name.
fn unnamed_checks(entries: &Entries, registration: &Registration) -> Vec<Arc<str>> {
    let checks = registration.services.iter().flat_map(|registered| &registered.checks);
    let named: BTreeSet<_> = checks.map(|check| &check.check.check_id).collect();
    let services = registration.services.iter().map(|registered| &registered.service.id);
    let existing = services.flat_map(|id| entries.checks_of(id));
    existing.filter(|id| !named.contains(id)).cloned().collect()
}

/// A check as it is kept.
fn kept(registration: &CheckRegistration) -> KeptCheck {
    KeptCheck { check: registration.check.clone(), run: Some(registration.run.clone()) }
}

impl LocalRegistry for LocalState {
    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn register_service(
        &self,
        registration: Registration,
        source: Source,
    ) -> BoxFuture<'_, Result<(), EndpointError>> {
        Box::pin(self.add_service(registration, source))
    }

    fn deregister_service(&self, service_id: &str) -> BoxFuture<'_, Result<(), EndpointError>> {
        let service_id = service_id.to_owned();
        Box::pin(async move { self.remove_service(&service_id).await })
    }

    fn register_check(
        &self,
        registration: CheckRegistration,
        source: Source,
    ) -> BoxFuture<'_, Result<(), EndpointError>> {
        Box::pin(self.add_check(registration, source))
    }

    fn deregister_check(&self, check_id: &str) -> BoxFuture<'_, Result<(), EndpointError>> {
        let check_id = check_id.to_owned();
        Box::pin(async move { self.remove_check(&check_id).await })
    }

    fn update_ttl(&self, check_id: &str, status: Status, output: String) -> Result<(), EndpointError> {
        let ttl = self.entries.lock().run(check_id).map(|(run, ..)| run.ttl).filter(|ttl| !ttl.is_zero());
        let (Some(ttl), Some(checks), false) = (ttl, self.checks.get(), is_maintenance(check_id)) else {
            let text = format!("CheckID {check_id:?} does not have associated TTL");
            return Err(EndpointError::Internal(text));
        };
        checks.update_ttl(check_id, status, output)?;
        if let Some(keeper) = &self.keeper {
            keeper.note_alive(check_id, ttl);
        }
        Ok(())
    }
}
