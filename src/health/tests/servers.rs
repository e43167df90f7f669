//! Servers to look at.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// A certificate for `names`, signed by itself: PEM, and what a server needs.
pub fn certificate(names: &[&str], alpn: &[&[u8]]) -> (String, TlsAcceptor) {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    (made.cert.pem(), TlsAcceptor::from(Arc::new(config)))
}

/// An HTTP server whose answer depends on the path; gone with the runtime of the test.
pub async fn http(tls: Option<TlsAcceptor>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let tls = tls.clone();
            tokio::spawn(async move {
                match tls {
                    None => answer(stream, address).await,
                    Some(tls) => {
                        if let Ok(stream) = tls.accept(stream).await {
                            answer(stream, address).await;
                        }
                    }
                }
            });
        }
    });
    address
}

async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin, address: SocketAddr) {
    let mut request = Vec::new();
    let mut piece = [0; 4096];
    let (head, body) = loop {
        let count = stream.read(&mut piece).await.unwrap_or(0);
        if count == 0 {
            return;
        }
        request.extend_from_slice(&piece[..count]);
        let text = String::from_utf8_lossy(&request).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok())
                .unwrap_or(0_usize);
            if body.len() >= length {
                break (head.to_owned(), body.to_owned());
            }
        }
    };
    let path = head.split(' ').nth(1).unwrap_or_default().split('?').next().unwrap_or_default();
    let plain = |status: &str, fields: &str, body: &str| {
        format!("HTTP/1.1 {status}\r\n{fields}Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
    };
    let moved = |status: &str, to: &str| plain(status, &format!("Location: {to}\r\n"), "moved");
    let bytes = match path {
        "/echo" => plain("200 OK", "", &format!("{}\n\nBODY {body}", head.replace("\r\n", "\n"))),
        "/big" => plain("200 OK", "", &"0123456789".repeat(1_000_000)),
        "/bin" => b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n\xff\xfe ok x".to_vec(),
        "/chunked" => {
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n".to_vec()
        }
        "/until-close" => b"HTTP/1.0 200 OK\r\n\r\nold".to_vec(),
        "/loop" => moved("302 Found", "/loop"),
        "/moved" => moved("302 Found", "/echo"),
        "/kept" => moved("307 Temporary Redirect", "/echo"),
        "/other" => moved("302 Found", &format!("http://localhost:{}/echo", address.port())),
        "/nowhere" => moved("302 Found", ""),
        "/short" => b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nxx".to_vec(),
        "/junk" => b"junk junk\r\n\r\n".to_vec(),
        "/close" => Vec::new(),
        "/continue" => [&b"HTTP/1.1 100 Continue\r\n\r\n"[..], &plain("200 OK", "", "after")].concat(),
        "/silent" => {
            tokio::time::sleep(Duration::from_secs(60)).await;
            return;
        }
        "/slow-body" => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nxx").await;
            tokio::time::sleep(Duration::from_secs(60)).await;
            return;
        }
        "/endless" => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
            while stream.write_all(&vec![b'x'; 65536]).await.is_ok() {}
            return;
        }
        "/endless-head" => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nX: ").await;
            while stream.write_all(&vec![b'x'; 65536]).await.is_ok() {}
            return;
        }
        _ => {
            let status = path.trim_start_matches("/status/").replace('_', " ");
            plain(&status, "", "the body")
        }
    };
    let _ = stream.write_all(&bytes).await;
    let _ = stream.shutdown().await;
}

/// A server that takes connections and never says anything.
pub async fn silent() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            kept.push(stream);
        }
    });
    address
}

/// An address where nobody listens: bound for a moment and let go of.
pub async fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}
