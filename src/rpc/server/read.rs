//! Reads, blocking or not, from their bytes to their bytes.

use super::RpcServices;
use super::dispatch::{Replied, request};
use crate::endpoints::EndpointError;
use crate::endpoints::blocking::{self, BlockingRead};
use crate::endpoints::query::QueryMeta;
use crate::rpc::codec::{Merged, Pack, Unpack, to_bytes};
use crate::rpc::shapes::{Query, ReadOptions};

/// The datacenter of a request. One that names none is refused: agents fill in their own.
pub trait OfDatacenter {
    /// Its name.
    fn datacenter(&self) -> &str;
}

/// Reads a request, finds what it asks for and writes the reply. `make` says what is read, `tell` how it is written.
pub async fn answer<T, R, P>(
    services: &RpcServices,
    body: &[u8],
    make: impl FnOnce(&RpcServices, T, &ReadOptions) -> R,
    tell: impl FnOnce(&R, R::Found) -> Result<P, EndpointError>,
) -> Replied
where
    T: Unpack + OfDatacenter + crate::rpc::codec::Fields,
    R: BlockingRead,
    P: Pack + crate::rpc::codec::Fields,
{
    let Query { common, own } = request::<Query<T>>(body)?;
    let endpoints = &services.endpoints;
    check_datacenter(services, own.datacenter())?;
    let options = common.to_options(own.datacenter());
    let read = make(services, own, &common);
    let wait = options.wait_time(endpoints, rand::random());
    let deadline = tokio::time::sleep(wait);
    let (meta, found) = blocking::read(endpoints, &options, &read, deadline, &services.drain).await?;
    Ok(reply(&meta, tell(&read, found)?))
}

/// A reply with its metadata.
pub fn reply<P: Pack + crate::rpc::codec::Fields>(meta: &QueryMeta, own: P) -> Vec<u8> {
    to_bytes(&Merged { common: crate::rpc::shapes::ReplyMeta::from(meta), own })
}

/// Refuses any datacenter but the own one, and none.
///
/// # Errors
/// [`EndpointError::NoPathToDatacenter`].
pub fn check_datacenter(services: &RpcServices, datacenter: &str) -> Result<(), EndpointError> {
    if datacenter == services.endpoints.settings.datacenter {
        Ok(())
    } else {
        Err(EndpointError::NoPathToDatacenter)
    }
}

macro_rules! of_datacenter {
    ($($type:ty),* $(,)?) => {
        $(impl OfDatacenter for $type {
            fn datacenter(&self) -> &str {
                &self.datacenter
            }
        })*
    };
}

of_datacenter!(
    crate::rpc::shapes::ChecksInStateRequest,
    crate::rpc::shapes::DcRequest,
    crate::rpc::shapes::KeyListRequest,
    crate::rpc::shapes::KeyRequest,
    crate::rpc::shapes::NodeRequest,
    crate::rpc::shapes::ServiceDumpRequest,
    crate::rpc::shapes::ServiceRequest,
    crate::rpc::shapes::SessionRequest,
);
