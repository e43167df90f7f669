//! A service as the agent shows it, and waiting until it looks different.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;

use futures::future::{Either, select};

use super::LocalRegistry;
use super::content_hash::content_hash;
use crate::state::record::{ProxyConfig, Service, Weights};

/// What of a service is shown differently from how it is kept.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ServiceView<'a> {
    /// Its weights; one below 1 while passing counts as 1.
    pub weights: Weights,
    /// Its proxy settings, if its kind has any.
    pub proxy: Option<&'a ProxyConfig>,
    /// It speaks mutual TLS itself.
    pub native: bool,
}

/// How the agent shows a service.
pub fn view(service: &Service) -> ServiceView<'_> {
    let is_proxy = matches!(
        service.kind.as_str(),
        "connect-proxy" | "mesh-gateway" | "terminating-gateway" | "ingress-gateway"
    );
    ServiceView {
        weights: Weights { passing: service.weights.passing.max(1), ..service.weights },
        proxy: is_proxy.then_some(&service.proxy),
        native: service.connect.native,
    }
}

/// A service with the hash of what is shown of it.
#[derive(Debug, Clone, PartialEq)]
pub struct HashedService {
    /// The service.
    pub service: Arc<Service>,
    /// Its [`content_hash`].
    pub hash: String,
}

/// A service of this agent; `None` if it has no such one.
pub fn find(local: &dyn LocalRegistry, id: &str) -> Option<HashedService> {
    let service = local.local().services.get(id).cloned()?;
    let hash = content_hash(&service);
    Some(HashedService { service, hash })
}

/// Waits until a service has another hash than `hash`, is gone, or `end` resolves; then gives what there is.
pub async fn find_changed(
    local: &dyn LocalRegistry,
    id: &str,
    hash: &str,
    end: impl Future<Output = ()>,
) -> Option<HashedService> {
    let mut changes = local.changes();
    let mut end = pin!(end);
    loop {
        // Looking comes after this mark, so a change in between ends the wait at once.
        changes.mark_unchanged();
        let found = find(local, id);
        if found.as_ref().is_none_or(|found| found.hash != hash) {
            return found;
        }
        let changed = pin!(changes.changed());
        match select(changed, end.as_mut()).await {
            Either::Left((Ok(()), _)) => {}
            // Whoever owns the services is gone: the agent stops.
            Either::Left((Err(_), _)) | Either::Right(_) => return find(local, id),
        }
    }
}
