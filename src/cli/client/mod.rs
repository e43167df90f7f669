//! A blocking client of an agent's HTTP API.
//!
//! Where the agent is and what is sent along comes from flags first, then from `CONSUL_*`
//! variables, then from defaults. Errors read as Consul's do.

mod address;
mod dial;
mod tls;

use std::io::Read;

use base64::Engine as _;
use serde::de::DeserializeOwned;
use ureq::Body;
use ureq::http::{Request as HttpRequest, Response};

use self::address::{Address, Target};
use self::dial::{DialError, Dialer, NoResolver};
use self::tls::TlsOptions;
use super::flags::{Flag, Kind};
use super::invocation::Invocation;
use super::{Failure, Io, gotext};

/// Flags of every command that talks to an agent.
pub(super) const AGENT_FLAGS: &[Flag] = &[
    Flag::new(
        "ca-file",
        Kind::Text,
        "File with the authorities to trust for TLS. Environment: CONSUL_CACERT.",
    ),
    Flag::new(
        "ca-path",
        Kind::Text,
        "Directory with the authorities to trust for TLS. Environment: CONSUL_CAPATH.",
    ),
    Flag::new(
        "client-cert",
        Kind::Text,
        "Certificate to present to an agent that verifies its callers. Environment: CONSUL_CLIENT_CERT.",
    ),
    Flag::new("client-key", Kind::Text, "Key of -client-cert. Environment: CONSUL_CLIENT_KEY."),
    Flag::new(
        "http-addr",
        Kind::Text,
        "Where the agent listens: host:port, http://..., https://... or unix:///path. Environment: CONSUL_HTTP_ADDR. Default: 127.0.0.1:8500.",
    ),
    Flag::new(
        "tls-server-name",
        Kind::Text,
        "Name the agent's certificate must carry. Environment: CONSUL_TLS_SERVER_NAME.",
    ),
    Flag::new(
        "token",
        Kind::Text,
        "ACL token to send. Environment: CONSUL_HTTP_TOKEN. Default: the agent's own token applies.",
    ),
    Flag::new(
        "token-file",
        Kind::Text,
        "File that holds the ACL token to send; wins over -token. Environment: CONSUL_HTTP_TOKEN_FILE.",
    ),
];

/// Further flags of commands whose request a server answers.
pub(super) const SERVER_FLAGS: &[Flag] = &[
    Flag::new("datacenter", Kind::Text, "Datacenter to ask. Default: the agent's."),
    Flag::new(
        "stale",
        Kind::Bool,
        "Let any server answer, not only the leader: faster, and possibly a little behind.",
    ),
];

/// The flag of the commands that know namespaces.
pub(super) const NAMESPACE_FLAG: Flag = Flag::new(
    "namespace",
    Kind::Text,
    "Namespace to work in (Consul Enterprise). Environment: CONSUL_NAMESPACE.",
);

/// What went wrong with a request.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum ClientError {
    /// No answer arrived; the text names the request.
    #[error("{0}")]
    Transport(String),
    /// The agent answered with an error.
    #[error("Unexpected response code: {code} ({body})")]
    Status {
        /// HTTP status.
        code: u16,
        /// Body, as it came.
        body: String,
    },
    /// The answer is not what was asked for.
    #[error("{0}")]
    Decode(String),
}

/// One agent, ready to be asked.
pub(super) struct Client {
    agent: ureq::Agent,
    address: Address,
    token: Option<String>,
    authorization: Option<String>,
    datacenter: Option<String>,
    namespace: Option<String>,
}

impl Client {
    /// The agent that flags and environment name.
    ///
    /// # Errors
    /// `Error connecting to Consul agent: ...` for an address, file or token that cannot be used.
    pub fn connect(invocation: &Invocation, io: &mut Io) -> Result<Self, Failure> {
        let options = Options::gather(invocation, io);
        Self::new(options)
            .map_err(|error| Failure::Text(format!("Error connecting to Consul agent: {error}")))
    }

    fn new(options: Options) -> Result<Self, String> {
        let address = Address::parse(&options.address, options.tls)?;
        let tls = options.files.load(address.tls)?;
        let token = match &options.token_file {
            Some(file) => {
                let text = gotext::read_file(file.as_ref())
                    .map_err(|error| format!("Error loading token file: {error}"))?;
                let text = String::from_utf8_lossy(&text);
                Some(text.trim().to_owned()).filter(|token| !token.is_empty()).or(options.token)
            }
            None => options.token,
        };
        let dialer = Dialer { address: address.clone(), tls, server_name: options.server_name };
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .user_agent(concat!("tribune/", env!("CARGO_PKG_VERSION")))
            .accept("")
            .proxy(None)
            .build();
        Ok(Self {
            agent: ureq::Agent::with_parts(config, dialer, NoResolver),
            address,
            token,
            authorization: options.basic_auth.map(|pair| {
                let pair = if pair.contains(':') { pair } else { format!("{pair}:") };
                format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
            }),
            datacenter: options.datacenter,
            namespace: options.namespace,
        })
    }

    pub fn get(&self, path: impl Into<String>) -> Request<'_> {
        self.request("GET", path.into())
    }

    pub fn put(&self, path: impl Into<String>) -> Request<'_> {
        self.request("PUT", path.into())
    }

    pub fn post(&self, path: impl Into<String>) -> Request<'_> {
        self.request("POST", path.into())
    }

    pub fn delete(&self, path: impl Into<String>) -> Request<'_> {
        self.request("DELETE", path.into())
    }

    /// The agent's own node name.
    pub fn node_name(&self) -> Result<String, ClientError> {
        let own: serde_json::Value = self.get("/v1/agent/self").json()?;
        Ok(own.pointer("/Config/NodeName").and_then(serde_json::Value::as_str).unwrap_or_default().to_owned())
    }

    fn request(&self, method: &'static str, path: String) -> Request<'_> {
        let mut target = Target { path, query: Vec::new() };
        target.query.extend(self.datacenter.clone().map(|name| ("dc", name)));
        target.query.extend(self.namespace.clone().map(|name| ("ns", name)));
        Request { client: self, method, target }
    }
}

/// A request in the making.
pub(super) struct Request<'a> {
    client: &'a Client,
    method: &'static str,
    target: Target,
}

impl Request<'_> {
    /// Adds a parameter.
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.target.query.push((name, value.into()));
        self
    }

    /// Adds a parameter if there is a value.
    pub fn with_some(self, name: &'static str, value: Option<impl Into<String>>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// Adds a parameter without value if `wanted`.
    pub fn with_switch(self, name: &'static str, wanted: bool) -> Self {
        if wanted { self.with(name, "") } else { self }
    }

    /// Sends it without body.
    pub fn send(self) -> Result<Answer, ClientError> {
        match self.method {
            "PUT" => self.send_body(b""),
            _ => self.run(()),
        }
    }

    /// Sends it with this body.
    pub fn send_body(self, body: &[u8]) -> Result<Answer, ClientError> {
        self.run(body)
    }

    /// Sends it with a body of unknown length.
    pub fn send_stream(self, body: &mut dyn Read) -> Result<Answer, ClientError> {
        self.run(ureq::SendBody::from_reader(body))
    }

    /// Sends it and decodes the answer.
    pub fn json<T: DeserializeOwned>(self) -> Result<T, ClientError> {
        self.send()?.json()
    }

    fn run(self, body: impl ureq::AsSendBody) -> Result<Answer, ClientError> {
        let target = self.target.text();
        let url = format!("{}{target}", self.client.address.url());
        let failed = |why: &str| {
            let (first, rest) = self.method.split_at(1);
            ClientError::Transport(format!("{first}{} {}: {why}", rest.to_lowercase(), gotext::quote(&url)))
        };
        let mut request = HttpRequest::builder()
            .method(self.method)
            .uri(format!("http://agent{target}"))
            .header("Host", self.client.address.host_header());
        if let Some(token) = &self.client.token {
            request = request.header("X-Consul-Token", token);
        }
        if let Some(authorization) = &self.client.authorization {
            request = request.header("Authorization", authorization);
        }
        let request = request.body(body).map_err(|error| failed(&error.to_string()))?;
        match self.client.agent.run(request) {
            Ok(response) => Ok(Answer { response }),
            Err(error) => Err(failed(&transport_text(&error))),
        }
    }
}

/// Go's text for a request that got no answer.
fn transport_text(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Other(inner) => match inner.downcast_ref::<DialError>() {
            Some(dial) => dial.to_string(),
            None => inner.to_string(),
        },
        ureq::Error::Io(io) if io.kind() == std::io::ErrorKind::UnexpectedEof => "EOF".to_owned(),
        ureq::Error::Io(io) => tls::failure(io, ""),
        ureq::Error::Protocol(inner) => {
            format!("net/http: HTTP/1.x transport connection broken: {inner}")
        }
        other => other.to_string(),
    }
}

/// An answer whose body was not read yet.
pub(super) struct Answer {
    response: Response<Body>,
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Answer").field("status", &self.status()).finish_non_exhaustive()
    }
}

impl Answer {
    /// HTTP status.
    pub fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    /// `X-Consul-Index`, 0 when missing.
    pub fn index(&self) -> u64 {
        let header = self.response.headers().get("X-Consul-Index").and_then(|value| value.to_str().ok());
        header.and_then(|text| text.parse().ok()).unwrap_or(0)
    }

    /// The whole body, whatever the status.
    pub fn bytes(self) -> Result<Vec<u8>, ClientError> {
        let mut bytes = Vec::new();
        self.response
            .into_body()
            .into_reader()
            .read_to_end(&mut bytes)
            .map_err(|error| read_error(&error))?;
        Ok(bytes)
    }

    /// This answer if its status is 200.
    pub fn ok(self) -> Result<Self, ClientError> {
        match self.status() {
            200 => Ok(self),
            code => {
                let body = String::from_utf8_lossy(&self.bytes()?).into_owned();
                Err(ClientError::Status { code, body })
            }
        }
    }

    /// The decoded body of an answer with status 200.
    pub fn json<T: DeserializeOwned>(self) -> Result<T, ClientError> {
        let bytes = self.ok()?.bytes()?;
        serde_json::from_slice(&bytes)
            .map_err(|error| ClientError::Decode(gotext::json_error(&error, &bytes)))
    }

    /// Whether the body of an answer with status 200 says `true`.
    pub fn says_true(self) -> Result<bool, ClientError> {
        let bytes = self.ok()?.bytes()?;
        Ok(String::from_utf8_lossy(&bytes).contains("true"))
    }

    /// The body of an answer with status 200, as it arrives.
    pub fn stream(self) -> Result<impl Read + Send + 'static, ClientError> {
        Ok(self.ok()?.response.into_body().into_reader())
    }
}

fn read_error(error: &std::io::Error) -> ClientError {
    ClientError::Decode(match error.kind() {
        std::io::ErrorKind::UnexpectedEof => "unexpected EOF".to_owned(),
        _ => gotext::os_error(error),
    })
}

/// Everything flags and environment say about the connection.
#[derive(Debug, Default, PartialEq, Eq)]
struct Options {
    address: String,
    tls: bool,
    files: TlsOptions,
    server_name: Option<String>,
    token: Option<String>,
    token_file: Option<String>,
    basic_auth: Option<String>,
    datacenter: Option<String>,
    namespace: Option<String>,
}

impl Options {
    /// Flags win over the environment; what is empty counts as not given.
    fn gather(invocation: &Invocation, io: &mut Io) -> Self {
        let flag = |name: &str| invocation.some_text(name).map(str::to_owned);
        let choose =
            |name: &str, variable: &str| flag(name).or_else(|| io.env.get(variable).map(str::to_owned));
        let mut options = Self {
            address: choose("http-addr", "CONSUL_HTTP_ADDR").unwrap_or_default(),
            tls: false,
            files: TlsOptions {
                ca_file: choose("ca-file", "CONSUL_CACERT"),
                ca_path: choose("ca-path", "CONSUL_CAPATH"),
                client_cert: choose("client-cert", "CONSUL_CLIENT_CERT"),
                client_key: choose("client-key", "CONSUL_CLIENT_KEY"),
                insecure: false,
            },
            server_name: choose("tls-server-name", "CONSUL_TLS_SERVER_NAME"),
            token: choose("token", "CONSUL_HTTP_TOKEN"),
            token_file: choose("token-file", "CONSUL_HTTP_TOKEN_FILE"),
            basic_auth: io.env.get("CONSUL_HTTP_AUTH").map(str::to_owned),
            datacenter: flag("datacenter"),
            namespace: choose("namespace", "CONSUL_NAMESPACE"),
        };
        options.tls = env_bool(io, "CONSUL_HTTP_SSL", false);
        options.files.insecure = !env_bool(io, "CONSUL_HTTP_SSL_VERIFY", true);
        options
    }
}

/// A boolean variable; one that cannot be read is reported and ignored.
fn env_bool(io: &mut Io, name: &str, default: bool) -> bool {
    let Some(text) = io.env.get(name).map(str::to_owned) else { return default };
    super::flags::parse_bool(&text).unwrap_or_else(|| {
        let why = format!("strconv.ParseBool: parsing {}: invalid syntax", gotext::quote(&text));
        io.err(&format!("[WARN]  consul-api: could not parse {name}: error=\"{why}\""));
        default
    })
}

#[cfg(test)]
pub(super) mod tests;
