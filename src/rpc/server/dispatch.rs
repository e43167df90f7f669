//! Methods by name.

use super::{RpcServices, catalog, internal, kv, operator, session};
use crate::endpoints::EndpointError;
use crate::rpc::codec::{Malformed, Unpack, from_bytes};

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The endpoint said no; the stream goes on.
    #[error("{0}")]
    Endpoint(#[from] EndpointError),
    /// The name has no dot.
    #[error("rpc: service/method request ill-formed: {0}")]
    IllFormed(String),
    /// No such service.
    #[error("rpc: can't find service {0}")]
    Service(String),
    /// The service has no such method.
    #[error("rpc: can't find method {0}")]
    Method(String),
    /// The body is none of this method.
    #[error("{0}")]
    Body(#[from] Malformed),
}

impl CallError {
    /// Whether the stream may carry another call.
    pub const fn keeps_stream(&self) -> bool {
        matches!(self, Self::Endpoint(_))
    }
}

/// A reply's body.
pub type Replied = Result<Vec<u8>, CallError>;

/// Reads a request's body.
pub fn request<T: Unpack>(body: &[u8]) -> Result<T, CallError> {
    Ok(from_bytes(body)?)
}

/// Services whose methods later versions will have. With the feature off a stock server says the first thing.
const UNBUILT: [(&str, &str); 8] = [
    ("ACL", "ACL support disabled"),
    ("AutoConfig", "auto config is not enabled on this server"),
    ("AutoEncrypt", "auto_encrypt is not implemented by this version of tribune"),
    ("ConfigEntry", "config entries are not implemented by this version of tribune"),
    ("ConnectCA", "Connect must be enabled in order to use this endpoint"),
    ("DiscoveryChain", "Connect must be enabled in order to use this endpoint"),
    ("FederationState", "federation states are not implemented by this version of tribune"),
    ("Intention", "intentions are not implemented by this version of tribune"),
];

/// Carries a call out.
///
/// # Errors
/// [`CallError`].
pub async fn call(services: &RpcServices, name: &str, body: &[u8]) -> Replied {
    match name {
        "KVS.Get" => kv::get(services, body).await,
        "KVS.Apply" => kv::apply(services, body).await,
        "KVS.List" => kv::list(services, body).await,
        "KVS.ListKeys" => kv::list_keys(services, body).await,
        "Health.ServiceNodes" => catalog::healthy(services, body).await,
        "Health.NodeChecks" => catalog::node_checks(services, body).await,
        "Health.ServiceChecks" => catalog::service_checks(services, body).await,
        "Health.ChecksInState" => catalog::checks_in_state(services, body).await,
        "Catalog.Register" => catalog::register(services, body).await,
        "Catalog.Deregister" => catalog::deregister(services, body).await,
        "Catalog.ListDatacenters" => catalog::datacenters(services, body),
        "Catalog.ListNodes" => catalog::nodes(services, body).await,
        "Catalog.ListServices" => catalog::services(services, body).await,
        "Catalog.ServiceList" => catalog::service_list(services, body).await,
        "Catalog.ServiceNodes" => catalog::service_nodes(services, body).await,
        "Catalog.NodeServices" => catalog::node_services(services, body).await,
        "Catalog.NodeServiceList" => catalog::node_service_list(services, body).await,
        "Catalog.GatewayServices" => catalog::gateway_services(services, body).await,
        "Session.Apply" => session::apply(services, body).await,
        "Session.Get" => session::get(services, body).await,
        "Session.List" => session::list(services, body).await,
        "Session.NodeSessions" => session::of_node(services, body).await,
        "Session.Renew" => session::renew(services, body).await,
        "Txn.Apply" => kv::transact(services, body).await,
        "Txn.Read" => kv::read_transaction(services, body).await,
        "Coordinate.ListDatacenters" => internal::coordinate_datacenters(services, body).await,
        "Coordinate.ListNodes" => internal::coordinates(services, body).await,
        "Coordinate.Node" => internal::coordinate(services, body).await,
        "Coordinate.Update" => internal::update_coordinate(services, body),
        "Internal.NodeInfo" => internal::node_info(services, body).await,
        "Internal.NodeDump" => internal::node_dump(services, body).await,
        "Internal.ServiceDump" => internal::service_dump(services, body).await,
        "Internal.EventFire" => internal::fire(services, body).await,
        "Internal.KeyringOperation" => internal::keyring(services, body).await,
        "Status.Ping" => operator::ping(services, body),
        "Status.Leader" => operator::leader(services, body),
        "Status.Peers" => operator::peers(services, body),
        "Status.RaftStats" => operator::raft_stats(services, body),
        "Operator.RaftGetConfiguration" => operator::raft_configuration(services, body).await,
        "Operator.RaftRemovePeerByAddress" => operator::remove_peer(services, body, false).await,
        "Operator.RaftRemovePeerByID" => operator::remove_peer(services, body, true).await,
        "Operator.AutopilotGetConfiguration" => operator::autopilot(services, body).await,
        "Operator.AutopilotSetConfiguration" => operator::set_autopilot(services, body).await,
        "Operator.TransferLeader" => operator::transfer_leader(services, body).await,
        "Operator.ServerHealth" => operator::server_health(services, body).await,
        other => Err(unknown(other)),
    }
}

fn unknown(name: &str) -> CallError {
    const SERVICES: [&str; 9] =
        ["Catalog", "Coordinate", "Health", "Internal", "KVS", "Operator", "Session", "Status", "Txn"];
    let Some((service, _)) = name.rsplit_once('.') else { return CallError::IllFormed(name.to_owned()) };
    if SERVICES.contains(&service) {
        return CallError::Method(name.to_owned());
    }
    match UNBUILT.iter().find(|(unbuilt, _)| *unbuilt == service) {
        Some((_, text)) => EndpointError::Refused((*text).to_owned()).into(),
        None if service == "PreparedQuery" => {
            let text = "prepared queries are not implemented by this version of tribune";
            EndpointError::Refused(text.to_owned()).into()
        }
        None => CallError::Service(name.to_owned()),
    }
}
