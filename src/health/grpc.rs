//! gRPC: what a server says of itself by the health checking protocol (`grpc.health.v1.Health/Check`).
//!
//! Two messages with one field each are written and read by hand: a generated client would cost more than it
//! explains. Texts are those of Go's gRPC client.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use futures::future::{Either, select};
use h2::RecvStream;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use tokio::time::timeout;

use super::http::alongside;
use super::net::{self, Stream};
use super::tls::{Inside, Tls, TlsUse};
use super::{Outcome, Shared};
use crate::definition::CheckDefinition;

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
/// Answer read at most, in bytes: a healthy one has seven.
const MOST_ANSWER: usize = 64 * 1024;
/// `HealthCheckResponse.SERVING`.
const SERVING: u64 = 1;

/// Asks a server how a service is.
#[derive(Debug)]
pub(super) struct GrpcProbe {
    /// As the definition has it: `host:port` or `host:port/service`.
    target: String,
    limit: Duration,
    tls: Arc<Tls>,
    tls_use: Option<TlsUse>,
}

/// An error of a call: Go's `rpc error: code = … desc = …`.
#[derive(Debug, PartialEq, Eq)]
struct RpcError {
    code: &'static str,
    text: String,
}

impl RpcError {
    fn unavailable(text: impl Into<String>) -> Self {
        Self { code: "Unavailable", text: text.into() }
    }
}

impl GrpcProbe {
    /// What a definition asks for.
    pub fn new(check: &CheckDefinition, limit: Duration, shared: &Shared) -> Self {
        let tls_use = check.grpc_use_tls.then(|| TlsUse {
            skip_verify: check.tls_skip_verify,
            server_name: check.tls_server_name.clone(),
            inside: Inside::H2,
        });
        Self { target: check.grpc.clone(), limit, tls: Arc::clone(&shared.tls), tls_use }
    }

    /// One look.
    pub async fn run(&self) -> Outcome {
        let error = match timeout(self.limit, self.ask()).await {
            Ok(Ok(SERVING)) => {
                return Outcome::passing(format!("gRPC check {}: success", self.target));
            }
            Ok(Ok(_)) => return Outcome::critical("gRPC application didn't report service healthy"),
            Ok(Err(error)) => error,
            Err(_) => RpcError { code: "DeadlineExceeded", text: "context deadline exceeded".to_owned() },
        };
        Outcome::critical(format!("rpc error: code = {} desc = {}", error.code, error.text))
    }

    async fn ask(&self) -> Result<u64, RpcError> {
        let (address, service) = self.target.split_once('/').unwrap_or((&self.target, ""));
        let stream = open(address, &self.tls, self.tls_use.as_ref()).await.map_err(|error| {
            RpcError::unavailable(format!("connection error: desc = \"transport: {error}\""))
        })?;
        let scheme = if self.tls_use.is_some() { "https" } else { "http" };
        let (client, connection) = h2::client::handshake(stream).await.map_err(|error| broken(&error))?;
        alongside(call(client, scheme, address, service, self.limit), connection).await
    }
}

/// Connects, over TLS if asked to; errors in the words of Go's gRPC transport.
async fn open(address: &str, tls: &Tls, how: Option<&TlsUse>) -> Result<Stream, String> {
    let reached = net::connect(address).await.map_err(|error| format!("Error while dialing {error}"))?;
    let Some(how) = how else { return Ok(Stream::plain(reached)) };
    let (stream, peer) = reached;
    tls.wrap(stream, net::host_of(address), how)
        .await
        .map(|stream| Stream::secure(stream, peer))
        .map_err(|error| format!("authentication handshake failed: {error}"))
}

async fn call(
    mut client: h2::client::SendRequest<Bytes>,
    scheme: &str,
    address: &str,
    service: &str,
    limit: Duration,
) -> Result<u64, RpcError> {
    let internal = |text: String| RpcError { code: "Internal", text };
    let request = Request::builder()
        .method(Method::POST)
        .uri(format!("{scheme}://{address}/grpc.health.v1.Health/Check"))
        .header(header::CONTENT_TYPE, "application/grpc")
        .header(header::TE, "trailers")
        .header(header::USER_AGENT, "tribune-health")
        .header("grpc-timeout", format!("{}m", limit.as_millis().clamp(1, 99_999_999)))
        .body(())
        .map_err(|error| internal(error.to_string()))?;
    client = client.ready().await.map_err(|error| broken(&error))?;
    let (response, mut body) = client.send_request(request, false).map_err(|error| broken(&error))?;
    body.send_data(encode_request(service), true).map_err(|error| broken(&error))?;
    let response = response.await.map_err(|error| broken(&error))?;
    verify_head(&response)?;
    if response.headers().contains_key(GRPC_STATUS) {
        verify_status(response.headers())?;
        return Err(internal("no answer came with the status".to_owned()));
    }
    let mut body = response.into_body();
    let message = read(&mut body).await?;
    match body.trailers().await.map_err(|error| broken(&error))? {
        Some(trailers) => verify_status(&trailers)?,
        None => return Err(internal("server closed the stream without sending trailers".to_owned())),
    }
    decode_response(&message)
        .ok_or_else(|| internal("grpc: failed to unmarshal the received message".to_owned()))
}

async fn read(body: &mut RecvStream) -> Result<Vec<u8>, RpcError> {
    let mut message = Vec::new();
    while let Some(data) = body.data().await {
        let data = data.map_err(|error| broken(&error))?;
        if message.len() + data.len() > MOST_ANSWER {
            let text = format!("grpc: received message larger than max ({MOST_ANSWER} bytes)");
            return Err(RpcError { code: "ResourceExhausted", text });
        }
        // The window is given back, or a long answer would wait for ever.
        let _ = body.flow_control().release_capacity(data.len());
        message.extend_from_slice(&data);
    }
    Ok(message)
}

/// The answer is one of gRPC.
fn verify_head<B>(response: &Response<B>) -> Result<(), RpcError> {
    let content = response.headers().get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    let status = response.status();
    if status == StatusCode::OK && content.is_some_and(|content| content.starts_with(b"application/grpc")) {
        return Ok(());
    }
    let code = match status.as_u16() {
        400 => "Internal",
        401 => "Unauthenticated",
        403 => "PermissionDenied",
        404 => "Unimplemented",
        429 | 502..=504 => "Unavailable",
        _ => "Unknown",
    };
    let what = match content {
        None => "transport: missing content-type field".to_owned(),
        Some(content) => {
            let content = String::from_utf8_lossy(content);
            format!("transport: received the unexpected content-type {content:?}")
        }
    };
    let reason = status.canonical_reason().unwrap_or_default();
    Err(RpcError { code, text: format!("{reason}: HTTP status code {}; {what}", status.as_u16()) })
}

/// The call's own status is OK.
fn verify_status(fields: &HeaderMap) -> Result<(), RpcError> {
    const CODES: [&str; 17] = [
        "OK",
        "Canceled",
        "Unknown",
        "InvalidArgument",
        "DeadlineExceeded",
        "NotFound",
        "AlreadyExists",
        "PermissionDenied",
        "ResourceExhausted",
        "FailedPrecondition",
        "Aborted",
        "OutOfRange",
        "Unimplemented",
        "Internal",
        "Unavailable",
        "DataLoss",
        "Unauthenticated",
    ];
    let status = fields.get(GRPC_STATUS).and_then(|value| value.to_str().ok());
    let Some(number) = status.and_then(|text| text.parse::<usize>().ok()) else {
        return Err(RpcError { code: "Unknown", text: "the answer has no grpc-status".to_owned() });
    };
    if number == 0 {
        return Ok(());
    }
    let text = fields.get(GRPC_MESSAGE).map(|value| percent_decode(value.as_bytes())).unwrap_or_default();
    Err(RpcError { code: CODES.get(number).copied().unwrap_or("Unknown"), text })
}

/// What is wrong with the connection or the stream.
fn broken(error: &h2::Error) -> RpcError {
    if error.is_reset()
        && let Some(reason) = error.reason()
    {
        let code = match reason {
            h2::Reason::REFUSED_STREAM => "Unavailable",
            h2::Reason::CANCEL => "Canceled",
            h2::Reason::ENHANCE_YOUR_CALM => "ResourceExhausted",
            h2::Reason::INADEQUATE_SECURITY => "PermissionDenied",
            _ => "Internal",
        };
        return RpcError {
            code,
            text: format!("stream terminated by RST_STREAM with error code: {reason:?}"),
        };
    }
    RpcError::unavailable("connection closed")
}

fn percent_decode(text: &[u8]) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, after)) = rest.split_first() {
        let code = after.get(..2).filter(|_| first == b'%').and_then(|digits| {
            std::str::from_utf8(digits).ok().and_then(|digits| u8::from_str_radix(digits, 16).ok())
        });
        bytes.push(code.unwrap_or(first));
        rest = if code.is_some() { after.get(2..).unwrap_or_default() } else { after };
    }
    super::output::text(bytes)
}

/// `HealthCheckRequest { service = 1 }` behind gRPC's prefix of a flag and a length.
fn encode_request(service: &str) -> Bytes {
    let mut message = BytesMut::new();
    if !service.is_empty() {
        message.put_u8(0x0a);
        let mut length = service.len();
        while length >= 0x80 {
            message.put_u8(u8::try_from(length & 0x7f).unwrap_or_default() | 0x80);
            length >>= 7;
        }
        message.put_u8(u8::try_from(length).unwrap_or_default());
        message.put_slice(service.as_bytes());
    }
    let mut framed = BytesMut::with_capacity(5 + message.len());
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    framed.put_slice(&message);
    framed.freeze()
}

/// The `status` of a `HealthCheckResponse` behind gRPC's prefix; `None` for anything else.
fn decode_response(framed: &[u8]) -> Option<u64> {
    let (prefix, message) = framed.split_at_checked(5)?;
    let length = u32::from_be_bytes(prefix.get(1..)?.try_into().ok()?);
    if prefix.first() != Some(&0) || u32::try_from(message.len()).ok()? != length {
        return None;
    }
    let mut status = 0;
    let mut rest = message;
    while !rest.is_empty() {
        let key = varint(&mut rest)?;
        match key & 7 {
            0 => {
                let value = varint(&mut rest)?;
                if key == 8 {
                    status = value;
                }
            }
            1 => rest = rest.get(8..)?,
            2 => {
                let length = usize::try_from(varint(&mut rest)?).ok()?;
                rest = rest.get(length..)?;
            }
            5 => rest = rest.get(4..)?,
            _ => return None,
        }
    }
    Some(status)
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (&byte, after) = rest.split_first()?;
        *rest = after;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

/// Pings a server by HTTP/2.
#[derive(Debug)]
pub(super) struct H2PingProbe {
    target: String,
    limit: Duration,
    tls: Arc<Tls>,
    tls_use: Option<TlsUse>,
}

impl H2PingProbe {
    /// What a definition asks for.
    pub fn new(check: &CheckDefinition, limit: Duration, shared: &Shared) -> Self {
        let tls_use = check.h2ping_use_tls.unwrap_or(true).then(|| TlsUse {
            skip_verify: check.tls_skip_verify,
            server_name: check.tls_server_name.clone(),
            inside: Inside::H2,
        });
        Self { target: check.h2ping.clone(), limit, tls: Arc::clone(&shared.tls), tls_use }
    }

    /// One look.
    pub async fn run(&self) -> Outcome {
        match timeout(self.limit, self.ping()).await {
            Ok(Ok(())) => Outcome::passing("HTTP2 ping was successful"),
            Ok(Err(text)) => Outcome::critical(text),
            Err(_) => Outcome::critical("HTTP2 ping failed: context deadline exceeded"),
        }
    }

    async fn ping(&self) -> Result<(), String> {
        let no_dial = |error: String| format!("Failed to dial to {}: {error}", self.target);
        let (stream, peer) = net::connect(&self.target).await.map_err(|error| no_dial(error.to_string()))?;
        let stream = match &self.tls_use {
            None => Stream::plain((stream, peer)),
            Some(how) => {
                let host = net::host_of(&self.target);
                Stream::secure(self.tls.wrap(stream, host, how).await.map_err(no_dial)?, peer)
            }
        };
        let (_client, mut connection) = h2::client::handshake(stream)
            .await
            .map_err(|error| format!("Failed to create client connection {error}"))?;
        let Some(mut pinger) = connection.ping_pong() else {
            return Err("HTTP2 ping failed: the connection cannot be pinged".to_owned());
        };
        // A connection that ends does not tell the pinger.
        match select(pin!(pinger.ping(h2::Ping::opaque())), pin!(connection)).await {
            Either::Left((Ok(_), _)) => Ok(()),
            Either::Left((Err(error), _)) | Either::Right((Err(error), _)) => {
                Err(format!("HTTP2 ping failed: {error}"))
            }
            Either::Right((Ok(()), _)) => Err("HTTP2 ping failed: http2: client conn is closed".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn wire_bytes() {
        assert_eq!(encode_request("")[..], [0, 0, 0, 0, 0]);
        assert_eq!(encode_request("ab")[..], [0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b']);
        let long = encode_request(&"x".repeat(300));
        assert_eq!(long[..8], [0, 0, 0, 1, 47, 0x0a, 0xac, 2]);
        let cases: [(&str, &[u8], Option<u64>); 7] = [
            ("serving", &[0, 0, 0, 0, 2, 8, 1], Some(1)),
            ("not serving", &[0, 0, 0, 0, 2, 8, 2], Some(2)),
            ("the default is left out", &[0, 0, 0, 0, 0], Some(0)),
            ("unknown fields are passed over", &[0, 0, 0, 0, 6, 0x12, 2, 9, 9, 8, 1], Some(1)),
            ("compressed", &[1, 0, 0, 0, 2, 8, 1], None),
            ("too short", &[0, 0, 0, 0, 3, 8, 1], None),
            ("nothing", &[], None),
        ];
        for (name, bytes, want) in cases {
            assert_eq!(decode_response(bytes), want, "{name}");
        }
        assert_eq!(percent_decode(b"a%20b%zz%4"), "a b%zz%4");
    }

    proptest! {
        #[test]
        fn junk_is_read_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = decode_response(&bytes);
            let mut framed = vec![0];
            framed.extend(u32::try_from(bytes.len()).unwrap().to_be_bytes());
            framed.extend(&bytes);
            let _ = decode_response(&framed);
            let _ = percent_decode(&bytes);
        }
    }
}
