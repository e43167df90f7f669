//! Calls to the servers, and how their errors are told.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tracing::error;

use crate::endpoints::EndpointError;
use crate::metrics::{Counter, Metrics};
use crate::rpc::client::{ClientOptions, Effect, Router, RouterOptions, RpcClient, RpcError};
use crate::rpc::codec::{Pack, Unpack};

/// The way to the servers, whoever they are at the time.
pub struct Wire {
    router: Arc<Router>,
    metrics: Arc<Metrics>,
}

impl Wire {
    /// Calls the servers that `known` names, from `source` if the system is not to choose, each call for up to `hold`
    /// as long as none answers. Must be made within the runtime that lasts as long as the agent.
    pub fn new(
        mut known: watch::Receiver<Vec<SocketAddr>>,
        source: Option<IpAddr>,
        hold: Duration,
        datacenter: &str,
        metrics: Arc<Metrics>,
    ) -> Self {
        let client = Arc::new(RpcClient::new(ClientOptions { source, ..ClientOptions::default() }));
        let options = RouterOptions { hold, datacenter: datacenter.to_owned() };
        let router = Arc::new(Router::new(client, options));
        router.set_servers(&known.borrow_and_update());
        let following = Arc::clone(&router);
        actix_rt::spawn(async move {
            while known.changed().await.is_ok() {
                following.set_servers(&known.borrow_and_update());
            }
        });
        let tended = Arc::clone(&router);
        actix_rt::spawn(async move { tended.run().await });
        Self { router, metrics }
    }

    /// How many servers are known.
    pub fn known(&self) -> usize {
        self.router.known()
    }

    /// Their addresses, the one to be asked first.
    pub fn servers(&self) -> Vec<SocketAddr> {
        self.router.servers()
    }

    /// Calls a method, for as long as `patience` lasts.
    ///
    /// # Errors
    /// The server's behind `rpc error making call: `, or that none could be asked.
    pub async fn call<A: Unpack>(
        &self,
        method: &'static str,
        request: &impl Pack,
        effect: Effect,
        patience: Duration,
    ) -> Result<A, EndpointError> {
        self.metrics.count(Counter::ClientRpc);
        let answer = self.router.call(method, request, effect, Some(patience)).await;
        answer.map_err(|failure| {
            self.metrics.count(Counter::ClientRpcFailed);
            if !matches!(failure, RpcError::NoServers) {
                error!(target: "agent.client", method, error = %failure, "RPC failed to server");
            }
            told(&failure)
        })
    }
}

/// What a failed call is to callers. Only what the rules refused is refused: everything else may do better later.
fn told(failure: &RpcError) -> EndpointError {
    let words = failure.to_string();
    let RpcError::Server(text) = failure else { return EndpointError::Internal(words) };
    let has = |part: &str| text.contains(part);
    if has("Permission denied") || has("ACL not found") {
        EndpointError::Forbidden(words)
    } else if has("Query not found") {
        EndpointError::NotFound(words)
    } else if has("No cluster leader") || has("too many writes are waiting") {
        EndpointError::Internal(words)
    } else {
        EndpointError::Refused(words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_callers_are_told() {
        let server = |text: &str| told(&RpcError::Server(text.to_owned()));
        let words = |text: &str| format!("rpc error making call: {text}");
        assert_eq!(
            server("Missing node registration"),
            EndpointError::Refused(words("Missing node registration"))
        );
        assert_eq!(server("Permission denied"), EndpointError::Forbidden(words("Permission denied")));
        let twice = "rpc error making call: No cluster leader";
        assert_eq!(server(twice), EndpointError::Internal(words(twice)));
        assert_eq!(told(&RpcError::NoServers), EndpointError::Internal("No known Consul servers".to_owned()));
        assert!(matches!(told(&RpcError::Timeout), EndpointError::Internal(_)));
    }
}
