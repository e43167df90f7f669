//! A connection with many streams: each is served by its own task, one call after the other.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tracing::debug;

use super::RpcServices;
use super::dispatch::call;
use super::stream::response;
use crate::rpc::codec::frame::request_header;
use crate::rpc::mux::{MuxError, MuxStream, Session, Write as _};

/// How long calls under way may take to be answered once the agent stops.
const GRACE: Duration = Duration::from_millis(500);
/// How far away a deadline is that is none.
const NEVER: Duration = Duration::from_secs(1 << 30);

/// Serves a connection whose first byte was 4, until either side ends it. Calls whose connection is gone are dropped.
pub async fn serve(connection: TcpStream, services: Arc<RpcServices>) {
    if let Err(error) = connection.set_nodelay(true) {
        return debug!(target: "agent.server.rpc", error = %error, "RPC connection is gone");
    }
    let (read, write) = connection.into_split();
    let session = Session::server(read, write, services.body_limit());
    let mut streams = JoinSet::new();
    let drain = services.drain.clone();
    let mut drained = std::pin::pin!(drain.drained());
    let mut end = std::pin::pin!(sleep_until(Instant::now() + NEVER));
    let mut leaving = false;
    loop {
        tokio::select! {
            accepted = session.accept() => match accepted {
                Some(stream) => drop(streams.spawn(calls(stream, Arc::clone(&services)))),
                None => break,
            },
            Some(_) = streams.join_next() => {}
            () = &mut drained, if !leaving => {
                leaving = true;
                session.go_away();
                end.as_mut().reset(Instant::now() + GRACE);
            }
            () = &mut end => break,
        }
    }
    if let Some(why) = session.closed() {
        debug!(target: "agent.server.rpc", reason = %why, "RPC connection ended");
    }
    session.close();
}

/// The calls of one stream.
async fn calls(mut stream: MuxStream, services: Arc<RpcServices>) {
    loop {
        match turn(&mut stream, &services).await {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => return debug!(target: "agent.server.rpc", error = %error, "RPC stream ended"),
        }
    }
}

/// One call; whether the stream goes on.
async fn turn(stream: &mut MuxStream, services: &RpcServices) -> Result<bool, MuxError> {
    let Some((header, body)) = stream.frame().await? else { return Ok(false) };
    let header = request_header(&header)?;
    let answer = tokio::select! {
        answer = call(services, &header.service_method, &body) => answer,
        // The caller does not want to know any more.
        () = stream.given_up() => return Ok(false),
    };
    let (out, goes_on) = response(header, answer);
    stream.send(&out).await?;
    Ok(goes_on)
}
