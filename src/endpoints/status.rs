//! What the cluster says about its leadership.

use super::{EndpointError, Endpoints, Leadership};
use std::sync::Arc;

/// What is known of the leader and its peers.
///
/// # Errors
/// [`EndpointError::NoPathToDatacenter`].
pub fn leadership(endpoints: &Endpoints, datacenter: Option<&str>) -> Result<Arc<Leadership>, EndpointError> {
    super::query::check_datacenter(endpoints, datacenter)?;
    Ok(endpoints.leader.leadership())
}

/// Address of the leader, empty while there is none, as any agent knows it: a client asks the servers.
///
/// # Errors
/// [`EndpointError::NoPathToDatacenter`], and the servers'.
pub async fn leader(endpoints: &Endpoints, datacenter: Option<&str>) -> Result<String, EndpointError> {
    match &endpoints.far {
        Some(servers) => servers.leader(datacenter).await,
        None => Ok(leadership(endpoints, datacenter)?.leader_address.clone().unwrap_or_default()),
    }
}

/// Addresses of the servers, as any agent knows them.
///
/// # Errors
/// As for [`leader`].
pub async fn peers(endpoints: &Endpoints, datacenter: Option<&str>) -> Result<Vec<String>, EndpointError> {
    match &endpoints.far {
        Some(servers) => servers.peers(datacenter).await,
        None => {
            Ok(leadership(endpoints, datacenter)?.peers.iter().map(|peer| peer.address.clone()).collect())
        }
    }
}
