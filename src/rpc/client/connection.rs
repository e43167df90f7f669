//! The connection to one server.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::AsyncWriteExt as _;
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout};

use super::{ClientOptions, RpcError};
use crate::dial::connect;
use crate::rpc::mux::{MuxStream, Session};

/// Streams kept for the next calls, as many as Consul's.
const KEPT_STREAMS: usize = 32;
/// The first byte of a connection with many streams.
const MULTIPLEXED: u8 = 4;

/// A server's connection, if there is one.
#[derive(Default)]
pub(super) struct Slot {
    state: Mutex<State>,
    /// One dials, the others wait for what comes of it.
    dialing: tokio::sync::Mutex<()>,
    /// Calls under way.
    calls: AtomicUsize,
    numbers: AtomicU64,
}

impl std::fmt::Debug for Slot {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Slot").field("calls", &self.calls).finish_non_exhaustive()
    }
}

#[derive(Default)]
struct State {
    session: Option<Session>,
    idle: Vec<MuxStream>,
    failure: Option<Failure>,
    used: Option<Instant>,
}

/// What came of the last dial.
struct Failure {
    text: String,
    pause: Duration,
    until: Instant,
}

/// A call under way.
pub(super) struct Call<'a>(&'a Slot);

impl Drop for Call<'_> {
    fn drop(&mut self) {
        self.0.state.lock().used = Some(Instant::now());
        self.0.calls.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Slot {
    /// From now on the connection is in use.
    pub fn begin(&self) -> Call<'_> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        Call(self)
    }

    /// A stream and a number for a call, dialling if need be.
    pub async fn stream(
        &self,
        server: SocketAddr,
        options: &ClientOptions,
        runtime: Option<&Handle>,
    ) -> Result<(MuxStream, u64), RpcError> {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed) + 1;
        if let Some(stream) = self.open() {
            return Ok((stream, number));
        }
        let _dialing = self.dialing.lock().await;
        if let Some(stream) = self.open() {
            return Ok((stream, number));
        }
        self.check_pause().map_err(RpcError::NotSent)?;
        let dialled = dial(server, options.clone());
        let dialled = match runtime {
            Some(runtime) => runtime.spawn(dialled).await.unwrap_or_else(|error| Err(error.to_string())),
            None => dialled.await,
        };
        match dialled {
            Ok(session) => {
                let opened = session.open();
                let mut state = self.state.lock();
                state.session = Some(session);
                state.failure = None;
                opened.map(|stream| (stream, number)).map_err(|error| RpcError::NotSent(error.to_string()))
            }
            Err(text) => {
                let mut state = self.state.lock();
                let pause = state.failure.as_ref().map_or(options.first_pause, |failure| failure.pause * 2);
                let pause = pause.min(options.longest_pause);
                state.failure = Some(Failure { text: text.clone(), pause, until: Instant::now() + pause });
                Err(RpcError::NotSent(text))
            }
        }
    }

    /// A stream of the connection there is.
    fn open(&self) -> Option<MuxStream> {
        let mut state = self.state.lock();
        let session = state.session.as_ref()?;
        if !session.is_usable() {
            // Those that still wait for answers keep their streams.
            state.session = None;
            state.idle.clear();
            return None;
        }
        if let Some(stream) = state.idle.pop() {
            return Some(stream);
        }
        state.session.as_ref()?.open().ok()
    }

    /// Fails during the pause after a failed dial.
    fn check_pause(&self) -> Result<(), String> {
        match &self.state.lock().failure {
            Some(failure) if failure.until > Instant::now() => Err(failure.text.clone()),
            _ => Ok(()),
        }
    }

    /// Keeps a stream for another call, if it belongs to the connection of now.
    pub fn give_back(&self, stream: MuxStream) {
        let mut state = self.state.lock();
        let current =
            state.session.as_ref().is_some_and(|session| stream.is_of(session) && session.is_usable());
        if current && state.idle.len() < KEPT_STREAMS {
            state.idle.push(stream);
        }
    }

    /// Closes the connection if nobody used it for so long; whether the slot may be forgotten.
    pub fn close_if_idle(&self, now: Instant, idle: Duration) -> bool {
        let used = self.state.lock().used;
        let old = self.calls.load(Ordering::Relaxed) == 0
            && used.is_some_and(|used| now.duration_since(used) >= idle);
        if old {
            self.close();
        }
        old
    }

    /// Closes the connection.
    pub fn close(&self) {
        let (session, idle) = {
            let mut state = self.state.lock();
            (state.session.take(), std::mem::take(&mut state.idle))
        };
        drop(idle);
        if let Some(session) = session {
            session.close();
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.close();
    }
}

async fn dial(server: SocketAddr, options: ClientOptions) -> Result<Session, String> {
    let failed = |error: std::io::Error| format!("dial tcp {server}: {}", words(&error));
    let mut connection = timeout(options.dial_timeout, connect(options.source, server))
        .await
        .map_err(|_| format!("dial tcp {server}: i/o timeout"))?
        .map_err(failed)?;
    connection.set_nodelay(true).map_err(failed)?;
    connection.write_all(&[MULTIPLEXED]).await.map_err(failed)?;
    let (read, write) = connection.into_split();
    Ok(Session::client(read, write, options.reply_limit))
}

/// Go's words for what mostly goes wrong.
fn words(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::ConnectionRefused => "connect: connection refused".to_owned(),
        std::io::ErrorKind::HostUnreachable => "connect: no route to host".to_owned(),
        std::io::ErrorKind::NetworkUnreachable => "connect: network is unreachable".to_owned(),
        _ => error.to_string(),
    }
}
