//! One stream of calls.

use std::sync::Arc;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tracing::debug;

use super::RpcServices;
use super::dispatch::{CallError, call};
use crate::rpc::codec::frame::{Frames, RequestHeader, ResponseHeader, request_header};
use crate::rpc::codec::{Pack, Packer};

/// Bytes read at a time at least.
const READ: usize = 4 << 10;

/// Serves the calls of a stream until the other side ends it, or until one cannot be read.
pub async fn serve<S>(stream: S, services: Arc<RpcServices>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    if let Err(error) = run(stream, &services).await {
        debug!(target: "agent.server.rpc", error = %error, "RPC stream ended");
    }
}

async fn run<S>(mut stream: S, services: &RpcServices) -> std::io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut frames = Frames::new(services.body_limit());
    let mut buffer = BytesMut::with_capacity(READ);
    loop {
        let (header, body) = loop {
            match frames.next(&mut buffer) {
                Ok(Some(frame)) => break frame,
                Ok(None) => {
                    buffer.reserve(READ);
                    if stream.read_buf(&mut buffer).await? == 0 {
                        return Ok(());
                    }
                }
                Err(error) => return Err(std::io::Error::other(error)),
            }
        };
        let header = request_header(&header).map_err(std::io::Error::other)?;
        let answer = call(services, &header.service_method, &body).await;
        let (out, goes_on) = response(header, answer);
        stream.write_all(&out).await?;
        stream.flush().await?;
        if !goes_on {
            return stream.shutdown().await;
        }
    }
}

/// The bytes of a response, and whether the stream goes on after it.
pub(super) fn response(request: RequestHeader, answer: Result<Vec<u8>, CallError>) -> (Vec<u8>, bool) {
    let (error, body, goes_on) = match answer {
        Ok(body) => (String::new(), Some(body), true),
        Err(error) => (error.to_string(), None, error.keeps_stream()),
    };
    let mut out = Packer::default();
    ResponseHeader { error, seq: request.seq, service_method: request.service_method }.pack(&mut out);
    match body {
        Some(body) if out.buffer.len() < body.len() => {
            // The body is the larger one: no need to move it twice.
            let mut whole = Vec::with_capacity(out.buffer.len() + body.len());
            whole.extend_from_slice(&out.buffer);
            whole.extend_from_slice(&body);
            (whole, goes_on)
        }
        Some(body) => {
            out.buffer.extend_from_slice(&body);
            (out.buffer, goes_on)
        }
        None => {
            ().pack(&mut out);
            (out.buffer, goes_on)
        }
    }
}
