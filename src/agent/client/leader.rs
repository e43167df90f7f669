//! What a client agent knows of leadership: nothing, that is the servers' business.

use std::sync::Arc;

use futures::future::BoxFuture;

use crate::endpoints::{EndpointError, LeaderRead, Leadership, SessionTimers};

/// Leadership and session timers are elsewhere. Who asks here has not asked the servers: a mistake that must be
/// seen, so it is told that nobody leads.
#[derive(Debug, Clone, Copy)]
pub struct Elsewhere;

impl LeaderRead for Elsewhere {
    fn leadership(&self) -> Arc<Leadership> {
        Arc::default()
    }

    fn check_lease(&self) -> Result<(), EndpointError> {
        Err(EndpointError::NoLeader)
    }

    fn barrier(&self) -> Result<Option<BoxFuture<'_, Result<(), EndpointError>>>, EndpointError> {
        Err(EndpointError::NoLeader)
    }
}

impl SessionTimers for Elsewhere {
    fn renew(&self, _: &str) -> BoxFuture<'_, Result<(), EndpointError>> {
        Box::pin(std::future::ready(Err(EndpointError::NoLeader)))
    }
}
