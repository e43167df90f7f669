//! stub
use super::*;
use crate::endpoints::far::{Question, Told as Said};
use crate::endpoints::{Applied, EndpointError};
use crate::endpoints::query::{QueryMeta, QueryOptions};
use crate::endpoints::coordinate::DatacenterMap;
use crate::endpoints::txn;
use crate::state::piece::Piece;
use crate::state::record::Session;
use crate::state::command::TxnOp;
use crate::state::Command;
use crate::metrics::Metrics;
use futures::future::BoxFuture;
use std::net::SocketAddr;
pub struct FarSide;
impl FarSide { pub fn new(_: &AgentOptions, _: watch::Receiver<Vec<SocketAddr>>, _: Arc<Metrics>) -> Self { Self } }
fn no<'a, T: Send + 'a>() -> Said<'a, T> { Box::pin(std::future::ready(Err(EndpointError::Internal("No known Consul servers".into())))) }
impl Servers for FarSide {
    fn known(&self) -> usize { 0 }
    fn ask<'a>(&'a self, _: &'a Question, _: &'a QueryOptions) -> Said<'a, (QueryMeta, Piece)> { no() }
    fn create_session(&self, _: Session) -> Said<'_, Arc<str>> { no() }
    fn renew_session<'a>(&'a self, _: &'a str, _: &'a QueryOptions) -> Said<'a, Option<Arc<Session>>> { no() }
    fn read_transaction<'a>(&'a self, _: Vec<TxnOp>, _: &'a QueryOptions) -> Said<'a, (QueryMeta, txn::Answer)> { no() }
    fn leader<'a>(&'a self, _: Option<&'a str>) -> Said<'a, String> { no() }
    fn peers<'a>(&'a self, _: Option<&'a str>) -> Said<'a, Vec<String>> { no() }
    fn datacenters(&self) -> Said<'_, Vec<String>> { no() }
    fn datacenter_maps(&self) -> Said<'_, Vec<DatacenterMap>> { no() }
}
impl Proposer for FarSide { fn propose(&self, _: Command) -> BoxFuture<'_, Result<Applied, EndpointError>> { no() } }
