//! Registering services and checks with the agent over its API, and taking them back.

use super::registration::{self, Registration, Source};
use super::{Agent, EndpointError};
use crate::definition::{CheckDefinition, ServiceDefinition, Status};

impl Agent {
    /// Registers a service with its checks and its sidecar; `replace_existing_checks` drops the checks it has and
    /// the definition does not name.
    ///
    /// # Errors
    /// Those of [`registration::service`], or [`EndpointError::Internal`] if it cannot be kept.
    pub async fn register_service(
        &self,
        definition: &ServiceDefinition,
        replace_existing_checks: bool,
    ) -> Result<(), EndpointError> {
        let local = self.local.local();
        let registration = registration::service(definition, Source::Api, &self.facts.rules, &local)?;
        let registration = Registration { replace_existing_checks, ..registration };
        self.local.register_service(registration, Source::Api).await
    }

    /// Removes a service, its checks and its sidecar. One that is not there is as good as removed.
    ///
    /// # Errors
    /// [`EndpointError::Refused`] without an id, [`EndpointError::Internal`] if it cannot be removed from disk.
    pub async fn deregister_service(&self, id: &str) -> Result<(), EndpointError> {
        if id.is_empty() {
            return Err(EndpointError::Refused("ServiceID missing".into()));
        }
        unless_unknown(self.local.deregister_service(id).await)
    }

    /// Registers a check, of the node or of one of its services.
    ///
    /// # Errors
    /// Those of [`registration::check`], or [`EndpointError::Internal`] if it cannot be kept.
    pub async fn register_check(&self, definition: &CheckDefinition) -> Result<(), EndpointError> {
        let local = self.local.local();
        let registration = registration::check(definition, Source::Api, &self.facts.rules, &local)?;
        self.local.register_check(registration, Source::Api).await
    }

    /// Removes a check. One that is not there is as good as removed.
    ///
    /// # Errors
    /// [`EndpointError::Refused`] without an id, [`EndpointError::Internal`] if it cannot be removed from disk.
    pub async fn deregister_check(&self, id: &str) -> Result<(), EndpointError> {
        if id.is_empty() {
            return Err(EndpointError::Refused("CheckID missing".into()));
        }
        unless_unknown(self.local.deregister_check(id).await)
    }

    /// News of a TTL check.
    ///
    /// # Errors
    /// [`EndpointError::Internal`] if there is no such TTL check.
    pub fn update_check(&self, id: &str, status: Status, output: String) -> Result<(), EndpointError> {
        self.local.update_ttl(id, status, output)
    }
}

fn unless_unknown(result: Result<(), EndpointError>) -> Result<(), EndpointError> {
    match result {
        Err(EndpointError::NotFound(_)) => Ok(()),
        result => result,
    }
}
