//! DNS over HTTPS (RFC 8484), the half that is DNS: a message in, a message out.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::future::BoxFuture;

use super::resolver::Resolver;
use crate::dns::{Transport, foreign};
use crate::endpoints::dns_query::{DnsQuery, DnsReply};

/// What the HTTP API asks.
pub struct OverHttps {
    resolver: Arc<Resolver>,
    enabled: AtomicBool,
}

impl OverHttps {
    /// Switched on or off.
    pub fn new(resolver: Arc<Resolver>, enabled: bool) -> Self {
        Self { resolver, enabled: AtomicBool::new(enabled) }
    }

    /// Switches it.
    pub fn enable(&self, enabled: bool) {
        self.enabled.store(enabled, Ordering::Relaxed);
    }
}

impl DnsQuery for OverHttps {
    fn is_enabled(&self) -> bool {
        self.enabled.load(Ordering::Relaxed)
    }

    fn ask<'a>(&'a self, message: &'a [u8]) -> BoxFuture<'a, Option<DnsReply>> {
        Box::pin(async move {
            let message = self.resolver.resolve_wholly(message, Transport::Tcp).await?;
            // What cannot be read must not be kept either.
            let max_age = foreign::read(&message).and_then(|summary| summary.min_ttl).unwrap_or(0);
            Some(DnsReply { message, max_age })
        })
    }
}
