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
