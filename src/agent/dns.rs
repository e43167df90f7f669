//! DNS as a part of the agent: what it is built from, its start, its share of a reload and its end.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use actix::Actor as _;
use arc_swap::ArcSwap;
use serde_json::{Map, Value, json};
use tracing::{error, info, warn};

use super::StartError;
use crate::actors::dns_responder::{DnsResponder, Plan, StopListening};
use crate::actors::supervision::{ExitProcess, RestartPolicy, Supervised, supervise};
use crate::dns::listen::https::OverHttps;
use crate::dns::listen::resolver::Resolver;
use crate::dns::listen::tls::{Certificates, TlsSettings};
use crate::dns::listen::{ListenSettings, StreamLimits};
use crate::dns::recursor::{self, Recursors};
use crate::dns::{Dns, DnsFacts, DnsSettings, ServiceTtls, SoaTimes};
use crate::duration::format_unsigned;
use crate::endpoints::LeaderRead;
use crate::endpoints::far::Servers;
use crate::metrics::Metrics;
use crate::settings::groups::DnsConfig;
use crate::settings::{Settings, TlsEnd, TlsVersion};
use crate::state::StateReader;

/// Descriptors that DNS leaves to the rest of the agent: one in so many is its own.
const SHARE_OF_FILES: usize = 2;
/// Connections DNS serves however few descriptors there are.
const FEWEST_CONNECTIONS: usize = 64;

/// What DNS is built from.
#[derive(Debug, Clone, Default)]
pub struct DnsOptions {
    /// What holds as long as the process.
    pub facts: DnsFacts,
    /// Where it listens.
    pub listen: ListenSettings,
}

/// What a reload replaces.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DnsLive {
    /// `dns_config` and `recursors`.
    pub settings: DnsSettings,
    /// `recursor_strategy` is `random`.
    pub random_recursor: bool,
    /// `/dns-query` is served.
    pub over_https: bool,
    /// Certificates of DNS over TLS, if that is on.
    pub tls: Option<TlsSettings>,
}

impl DnsOptions {
    /// Picks out what DNS needs.
    pub fn from_settings(settings: &Settings) -> Self {
        let network = &settings.network;
        let connections = (open_files() / SHARE_OF_FILES).max(FEWEST_CONNECTIONS);
        let limits = StreamLimits::default();
        let streams =
            StreamLimits { tcp: limits.tcp.min(connections), tls: limits.tls.min(connections / 4), ..limits };
        Self {
            facts: DnsFacts {
                datacenter: settings.datacenter.clone(),
                domain: settings.domain.clone(),
                alt_domain: settings.alt_domain.clone(),
            },
            listen: ListenSettings {
                addresses: network.dns.clone(),
                tls_addresses: network.dns_tls.clone(),
                streams,
                ..ListenSettings::default()
            },
        }
    }
}

impl DnsLive {
    /// Picks out what a reload replaces.
    ///
    /// # Errors
    /// A recursor that is none, or missing certificates.
    pub fn from_settings(settings: &Settings) -> Result<Self, String> {
        let config = &settings.dns;
        let network = &settings.network;
        let mut recursors = Vec::new();
        for text in &settings.recursors {
            let address = recursor::address(text).map_err(|error| error.to_string())?;
            if recursor::is_own(address, &network.dns) {
                warn!(target: "agent", recursor = %address, "a recursor that is this agent is never asked");
            } else {
                recursors.push(address);
            }
        }
        Ok(Self {
            settings: dns_settings(config, recursors),
            random_recursor: config.recursor_strategy == "random",
            over_https: config.enable_doh,
            tls: if network.dns_tls.is_empty() { None } else { Some(tls(settings)?) },
        })
    }
}

fn dns_settings(config: &DnsConfig, recursors: Vec<std::net::SocketAddr>) -> DnsSettings {
    let limit = |number: i64| usize::try_from(number).unwrap_or(0);
    let soa = config.soa;
    DnsSettings {
        allow_stale: config.allow_stale,
        max_stale: config.max_stale,
        node_ttl: crate::dns::settings::seconds(config.node_ttl),
        service_ttl: ServiceTtls::new(&config.service_ttl),
        only_passing: config.only_passing,
        udp_answer_limit: limit(config.udp_answer_limit),
        a_record_limit: limit(config.a_record_limit),
        enable_truncate: config.enable_truncate,
        disable_compression: config.disable_compression,
        node_meta_txt: config.enable_additional_node_meta_txt,
        soa: SoaTimes { refresh: soa.refresh, retry: soa.retry, expire: soa.expire, min_ttl: soa.min_ttl },
        recursors,
        recursor_timeout: config.recursor_timeout,
    }
}

fn tls(settings: &Settings) -> Result<TlsSettings, String> {
    let end = &settings.tls.https;
    match (&end.cert_file, &end.key_file) {
        (Some(cert_file), Some(key_file)) => Ok(TlsSettings {
            cert_file: cert_file.clone(),
            key_file: key_file.clone(),
            only_tls13: end.min_version == TlsVersion::Tls13,
            client_authorities: if end.verify_incoming { authorities(end)? } else { Vec::new() },
        }),
        _ => Err("ports.dns_tls: DNS over TLS needs a certificate: set cert_file and key_file".into()),
    }
}

/// The files that say whose certificates are believed.
fn authorities(end: &TlsEnd) -> Result<Vec<PathBuf>, String> {
    let mut files: Vec<PathBuf> = end.ca_file.iter().cloned().collect();
    if let Some(directory) = &end.ca_path {
        let unreadable = |error: std::io::Error| format!("ca_path {}: {error}", directory.display());
        for entry in std::fs::read_dir(directory).map_err(unreadable)? {
            files.push(entry.map_err(unreadable)?.path());
        }
        files.sort();
    }
    if files.is_empty() {
        return Err(
            "ports.dns_tls: verify_incoming needs to know whose certificates to believe: set ca_file \
                    or ca_path"
                .into(),
        );
    }
    Ok(files)
}

/// The settings of DNS by Consul's runtime names, as `/v1/agent/self` shows them.
pub fn debug_config(settings: &Settings) -> Map<String, Value> {
    let config = &settings.dns;
    let soa = config.soa;
    let ttls: Map<String, Value> =
        config.service_ttl.iter().map(|(name, ttl)| (name.clone(), json!(format_unsigned(*ttl)))).collect();
    let listening = settings.network.dns.iter();
    let addresses: Vec<String> = listening
        .flat_map(|address| ["tcp", "udp"].map(|network| format!("{network}://{address}")))
        .collect();
    let fields = json!({
        "DNSARecordLimit": config.a_record_limit,
        "DNSAddrs": addresses,
        "DNSAllowStale": config.allow_stale,
        "DNSAltDomain": settings.alt_domain.clone().unwrap_or_default(),
        "DNSCacheMaxAge": format_unsigned(config.cache_max_age),
        "DNSDisableCompression": config.disable_compression,
        "DNSDomain": settings.domain,
        "DNSEnableTruncate": config.enable_truncate,
        "DNSMaxStale": format_unsigned(config.max_stale),
        "DNSNodeMetaTXT": config.enable_additional_node_meta_txt,
        "DNSNodeTTL": format_unsigned(config.node_ttl),
        "DNSOnlyPassing": config.only_passing,
        "DNSPort": settings.ports.dns.map_or(-1, i32::from),
        "DNSRecursorTimeout": format_unsigned(config.recursor_timeout),
        "DNSRecursors": settings.recursors,
        "DNSSOA": {
            "Expire": soa.expire, "Minttl": soa.min_ttl, "Refresh": soa.refresh, "Retry": soa.retry,
        },
        "DNSServiceTTL": ttls,
        "DNSUDPAnswerLimit": config.udp_answer_limit,
        "DNSUseCache": config.use_cache,
    });
    match fields {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

/// Most descriptors this process may have; as many as the system lets it, from now on.
fn open_files() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limits = getrlimit(Resource::Nofile);
    let wanted = limits.maximum.unwrap_or(MOST_FILES).min(MOST_FILES);
    let current = limits.current.unwrap_or(u64::MAX);
    let reached = if current >= wanted
        || setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: limits.maximum }).is_ok()
    {
        current.max(wanted)
    } else {
        current
    };
    usize::try_from(reached).unwrap_or(usize::MAX)
}

/// More than all limits of the agent together.
const MOST_FILES: u64 = 1 << 17;

/// Running DNS.
pub struct RunningDns {
    settings: Arc<ArcSwap<DnsSettings>>,
    plan: Arc<Plan>,
    over_https: Arc<OverHttps>,
    /// None with all ports off.
    responder: Option<Supervised<DnsResponder>>,
}

impl RunningDns {
    /// Binds the addresses and starts answering. Must be called on the arbiter that supervises.
    ///
    /// # Errors
    /// [`StartError`] when an address is taken or certificates cannot be read.
    pub fn start(
        options: &DnsOptions,
        live: &DnsLive,
        state: StateReader,
        leader: Arc<dyn LeaderRead>,
        far: Option<Arc<dyn Servers>>,
        metrics: Arc<Metrics>,
    ) -> Result<Self, StartError> {
        let settings = Arc::new(ArcSwap::from_pointee(live.settings.clone()));
        let mut dns = Dns::new(options.facts.clone(), state, leader, Arc::clone(&settings), metrics);
        if let Some(servers) = far {
            dns = dns.asking(servers);
        }
        let resolver = Arc::new(Resolver::new(Arc::new(dns)));
        resolver.set_recursors(recursors(live));
        let certificates = Arc::<Certificates>::default();
        if let Some(tls) = &live.tls {
            certificates.load(tls)?;
        }
        let plan = Arc::new(Plan {
            settings: options.listen.clone(),
            resolver: Arc::clone(&resolver),
            certificates,
        });
        let over_https = Arc::new(OverHttps::new(resolver, live.over_https));
        let silent = options.listen.addresses.is_empty() && options.listen.tls_addresses.is_empty();
        let responder = if silent { None } else { Some(respond(&plan)?) };
        Ok(Self { settings, plan, over_https, responder })
    }

    /// What the HTTP API asks.
    pub fn over_https(&self) -> Arc<OverHttps> {
        Arc::clone(&self.over_https)
    }

    /// Follows a reload. Queries under way are answered as they began.
    pub fn reload(&self, live: &DnsLive) {
        self.over_https.enable(live.over_https);
        if let Some(tls) = &live.tls
            && let Err(failure) = self.plan.certificates.load(tls)
        {
            error!(target: "agent", error = %failure, "DNS over TLS keeps its former certificate");
        }
        self.plan.resolver.set_recursors(recursors(live));
        self.settings.store(Arc::new(live.settings.clone()));
    }

    /// Stops listening.
    pub async fn stop(&self) {
        let Some(responder) = &self.responder else { return };
        responder.release();
        if let Some(address) = responder.address() {
            // One that has just died does not listen either.
            let _ = address.send(StopListening).await;
            info!(target: "agent", "stopped the DNS servers");
        }
    }
}

fn recursors(live: &DnsLive) -> Recursors {
    Recursors::new(live.settings.recursors.clone(), live.settings.recursor_timeout, live.random_recursor)
}

fn respond(plan: &Arc<Plan>) -> Result<Supervised<DnsResponder>, StartError> {
    let first = Mutex::new(Some(plan.open()?));
    let plan = Arc::clone(plan);
    Ok(supervise(
        "DNS responder",
        &actix_rt::Arbiter::current(),
        RestartPolicy::default(),
        Arc::new(ExitProcess),
        move |alive| {
            let doors = first.lock().unwrap_or_else(PoisonError::into_inner).take();
            DnsResponder::new(Arc::clone(&plan), doors, alive).start()
        },
    ))
}
