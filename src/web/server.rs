//! Listeners, worker threads and what they share.
//!
//! actix-web is the server: accept loop, workers, HTTP/1 parsing and graceful stop. Its `App`,
//! router, extractors and middleware are not used: a request goes from the parser straight to
//! [`super::route`], which is what keeps a read of a key close to the cost of an empty handler.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::future::{Future, Ready, ready};
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use actix_http::{KeepAlive, Response};
use actix_web::HttpServer;
use actix_web::dev::{AppConfig, Server, ServerHandle, Service, ServiceFactory};
use actix_web::http::Method;
use actix_web::http::header::{HeaderName, HeaderValue};
use futures::future::LocalBoxFuture;
use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};

use super::answers::Answers;
use super::error::WebError;
use super::limit::ClientLimit;
use super::reply::Reply;
use super::route::{self, Answer, Route, Router};
use super::settings::WebSettings;
use super::stream::Body;
use crate::endpoints::Endpoints;
use crate::endpoints::blocking::Drain;
use crate::metrics::{HttpTimers, Metrics};

/// How many connections may wait to be accepted.
const BACKLOG: i32 = 1024;
/// How long a connection may be silent before the kernel asks whether the peer still lives.
const TCP_KEEPALIVE: Duration = Duration::from_secs(180);

/// Why the HTTP API could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be listened on.
    #[error("cannot listen for HTTP on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// A configured response header is none.
    #[error("http_config.response_headers: {name:?} with value {value:?} is not an HTTP header")]
    Header {
        /// Its name.
        name: String,
        /// Its value.
        value: String,
    },
}

/// The handles given to all requests.
#[derive(Clone)]
pub struct WebHandles {
    endpoints: Endpoints,
    extras: Extras,
}

impl WebHandles {
    /// With the handles of the endpoints.
    pub fn new(endpoints: Endpoints) -> Self {
        Self { endpoints, extras: Extras::default() }
            .with(Arc::<Answers>::default())
            .with(Arc::<Metrics>::default())
    }

    /// Adds a handle of another type, for [`super::request::Request::handle`].
    #[must_use]
    pub fn with<T: Send + Sync + 'static>(mut self, handle: Arc<T>) -> Self {
        self.extras.0.insert(TypeId::of::<T>(), handle);
        self
    }
}

/// Handles by type.
#[derive(Clone, Default)]
pub(super) struct Extras(HashMap<TypeId, Arc<dyn Any + Send + Sync>>);

impl Extras {
    pub(super) fn get<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        Arc::clone(self.0.get(&TypeId::of::<T>())?).downcast().ok()
    }
}

/// What all workers share.
pub(super) struct Shared {
    pub(super) endpoints: Endpoints,
    pub(super) settings: WebSettings,
    pub(super) router: Router,
    pub(super) response_headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) drain: Drain,
    pub(super) extras: Extras,
    pub(super) metrics: Arc<Metrics>,
    timers: Arc<HttpTimers>,
}

/// What the requests of one worker share; counted without atomics.
pub(super) struct Room {
    pub(super) shared: Arc<Shared>,
}

/// A started HTTP API. [`WebServer::server`] must be awaited or spawned on an actix runtime.
pub struct WebServer {
    /// Ends when the server has stopped.
    pub server: Server,
    /// Where it listens; ports given as 0 are filled in.
    pub addresses: Vec<SocketAddr>,
    /// Stops it.
    pub stopper: WebStopper,
}

/// Stops the HTTP API.
#[derive(Clone)]
pub struct WebStopper {
    handle: ServerHandle,
    shared: Arc<Shared>,
}

impl WebStopper {
    /// Stops accepting, releases parked queries, waits for requests in flight (at most
    /// [`WebSettings::shutdown_timeout`]) and ends the workers.
    pub async fn stop(&self) {
        self.shared.drain.release(self.shared.endpoints.state.watches());
        self.handle.stop(true).await;
    }
}

/// Listens on all configured addresses and starts the workers. Must be called on an actix runtime.
///
/// # Errors
/// [`StartError`]; then nothing listens.
pub fn start(
    settings: WebSettings,
    handles: WebHandles,
    routes: impl IntoIterator<Item = Route>,
) -> Result<WebServer, StartError> {
    let listeners = settings.listen.iter().map(|address| listen(*address)).collect::<Result<Vec<_>, _>>()?;
    let addresses = listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect();
    let router = Router::new(routes);
    let metrics = handles.extras.get::<Metrics>().unwrap_or_default();
    let shared = Arc::new(Shared {
        endpoints: handles.endpoints,
        response_headers: response_headers(&settings.response_headers)?,
        timers: metrics.http(&router.measured()),
        metrics,
        router,
        drain: Drain::default(),
        extras: handles.extras,
        settings,
    });
    let settings = &shared.settings;
    let factory = WebFactory { shared: Arc::clone(&shared) };
    let mut server = HttpServer::new(move || factory.clone())
        .workers(settings.workers.max(1))
        .max_connections(settings.max_connections.max(1))
        // As in Go: idle connections stay open, the kernel finds out when a peer is gone.
        .keep_alive(KeepAlive::Os)
        .client_request_timeout(settings.head_timeout)
        .shutdown_timeout(settings.shutdown_timeout.as_secs().max(1))
        // A client that hangs up must not leave its parked query behind.
        .h1_allow_half_closed(false)
        .disable_signals();
    if let Some(limit) = ClientLimit::new(settings.max_connections_per_client) {
        server = server.on_connect(move |connection, data| limit.admit(connection, data));
    }
    for (listener, address) in listeners.into_iter().zip(&settings.listen) {
        server =
            server.listen(listener).map_err(|source| StartError::Listen { address: *address, source })?;
    }
    let server = server.run();
    let stopper = WebStopper { handle: server.handle(), shared };
    Ok(WebServer { server, addresses, stopper })
}

fn response_headers(pairs: &[(String, String)]) -> Result<Vec<(HeaderName, HeaderValue)>, StartError> {
    pairs
        .iter()
        .map(|(name, value)| {
            let bad = || StartError::Header { name: name.clone(), value: value.clone() };
            let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad())?;
            Ok((header, HeaderValue::from_str(value).map_err(|_| bad())?))
        })
        .collect()
}

fn listen(address: SocketAddr) -> Result<TcpListener, StartError> {
    let bind = || {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        if address.is_ipv6() {
            socket.set_only_v6(address.ip().is_loopback())?;
        }
        // Accepted connections inherit both, which saves two system calls each.
        socket.set_tcp_nodelay(true)?;
        socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(TCP_KEEPALIVE))?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(socket.into())
    };
    bind().map_err(|source| StartError::Listen { address, source })
}

/// Makes a [`Web`] for every worker.
#[derive(Clone)]
struct WebFactory {
    shared: Arc<Shared>,
}

impl ServiceFactory<actix_http::Request> for WebFactory {
    type Response = Response<Body>;
    type Error = actix_web::Error;
    type Config = AppConfig;
    type Service = Web;
    type InitError = ();
    type Future = Ready<Result<Web, ()>>;

    fn new_service(&self, _: AppConfig) -> Self::Future {
        ready(Ok(Web { room: Rc::new(Room { shared: Arc::clone(&self.shared) }) }))
    }
}

/// The service of one worker.
struct Web {
    room: Rc<Room>,
}

impl Service<actix_http::Request> for Web {
    type Response = Response<Body>;
    type Error = actix_web::Error;
    type Future = Served;

    fn poll_ready(&self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&self, request: actix_http::Request) -> Served {
        route::dispatch(&self.room, request)
    }
}

/// What an endpoint was asked, for whoever finishes its answer.
pub(super) struct Asked {
    pub(super) route: usize,
    pub(super) method: Method,
    pub(super) began: Instant,
    /// The answer may be compressed.
    pub(super) gzip: bool,
}

/// A response that is there already or on its way.
pub(super) enum Served {
    Now(Option<Response<Body>>),
    Later { answer: LocalBoxFuture<'static, Result<Reply, WebError>>, room: Rc<Room>, asked: Option<Asked> },
}

impl Served {
    /// An answer that no endpoint gave.
    pub(super) fn bare(reply: Reply) -> Self {
        Self::Now(Some(reply.into_bare_response()))
    }

    /// The answer of a handler; what is no endpoint was not `asked`.
    pub(super) fn new(room: &Rc<Room>, answer: Answer, asked: Option<Asked>) -> Self {
        match answer {
            Answer::Now(result) => Self::Now(Some(finish(&room.shared, result, asked.as_ref()))),
            Answer::Later(answer) => Self::Later { answer, room: Rc::clone(room), asked },
        }
    }
}

fn finish(shared: &Shared, result: Result<Reply, WebError>, asked: Option<&Asked>) -> Response<Body> {
    let reply = result.unwrap_or_else(WebError::into_reply);
    let Some(asked) = asked else { return reply.into_bare_response() };
    let response = reply.into_response(shared, asked.gzip);
    shared.timers.record(asked.route, asked.method.as_str(), asked.began.elapsed());
    response
}

impl Future for Served {
    type Output = Result<Response<Body>, actix_web::Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.get_mut() {
            Self::Now(response) => match response.take() {
                Some(response) => Poll::Ready(Ok(response)),
                // Polled after completion, which the server does not do.
                None => Poll::Pending,
            },
            Self::Later { answer, room, asked } => {
                answer.as_mut().poll(context).map(|result| Ok(finish(&room.shared, result, asked.as_ref())))
            }
        }
    }
}
