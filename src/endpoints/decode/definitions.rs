//! Decoding of what is registered with the agent: services, checks, and news of TTL checks.
//!
//! Most names are taken in Go's spelling, some in snake case as well; which ones is Consul's choice, and
//! those that came with later versions follow the same habit. Where both spellings of a field are given,
//! the one without underscores counts.

use std::collections::BTreeMap;
use std::time::Duration;

use super::records;
use super::{Decoded, Json, Shape, Unknown};
use crate::definition::{
    CheckDefinition, ConnectDefinition, ExposeDefinition, ExposePathDefinition, MeshGatewayDefinition,
    ProxyDefinition, Secret, ServiceDefinition, TaggedAddress, UpstreamDefinition, WeightsDefinition,
};
use crate::state::record::{Expose, ExposePath, FreeForm, MeshGateway, ProxyConfig, Upstream};

const SERVICE: Shape = Shape {
    name: "structs.ServiceDefinition",
    fields: &[
        "Kind",
        "ID",
        "Name",
        "Tags",
        "Address",
        "TaggedAddresses",
        "tagged_addresses",
        "Meta",
        "Port",
        "Check",
        "Checks",
        "Weights",
        "Token",
        "EnableTagOverride",
        "enable_tag_override",
        "Proxy",
        "Connect",
    ],
    unknown: Unknown::Refuse,
};

const CONNECT: Shape = Shape {
    name: "structs.ServiceConnect",
    fields: &["Native", "SidecarService", "sidecar_service"],
    unknown: Unknown::Ignore,
};

const TAGGED_ADDRESS: Shape =
    Shape { name: "structs.ServiceAddress", fields: &["Address", "Port"], unknown: Unknown::Refuse };

const WEIGHTS: Shape =
    Shape { name: "structs.Weights", fields: &["Passing", "Warning"], unknown: Unknown::Refuse };

/// A check inside a service.
const CHECK_OF_SERVICE: Shape = Shape {
    name: "structs.CheckType",
    fields: &[
        "CheckID",
        "Name",
        "Status",
        "Notes",
        "ScriptArgs",
        "script_args",
        "Args",
        "HTTP",
        "Header",
        "Method",
        "Body",
        "DisableRedirects",
        "TCP",
        "UDP",
        "Interval",
        "AliasNode",
        "AliasService",
        "DockerContainerID",
        "docker_container_id",
        "Shell",
        "GRPC",
        "GRPCUseTLS",
        "H2PING",
        "H2PingUseTLS",
        "h2ping_use_tls",
        "OSService",
        "os_service",
        "TLSServerName",
        "tls_server_name",
        "TLSSkipVerify",
        "tls_skip_verify",
        "Timeout",
        "TTL",
        "SuccessBeforePassing",
        "FailuresBeforeWarning",
        "FailuresBeforeCritical",
        "ProxyHTTP",
        "ProxyGRPC",
        "DeregisterCriticalServiceAfter",
        "deregister_critical_service_after",
        "OutputMaxSize",
        // A check inside a service belongs to that; the field is taken and means nothing.
        "ServiceID",
        "service_id",
    ],
    unknown: Unknown::Refuse,
};

/// A check registered by itself.
const CHECK: Shape = Shape {
    name: "structs.CheckDefinition",
    fields: &[
        "ID",
        "Name",
        "Notes",
        "ServiceID",
        "service_id",
        "Token",
        "Status",
        "ScriptArgs",
        "script_args",
        "Args",
        "HTTP",
        "Header",
        "Method",
        "Body",
        "DisableRedirects",
        "TCP",
        "UDP",
        "Interval",
        "DockerContainerID",
        "docker_container_id",
        "Shell",
        "GRPC",
        "GRPCUseTLS",
        "H2PING",
        "H2PingUseTLS",
        "h2ping_use_tls",
        "OSService",
        "os_service",
        "TLSServerName",
        "tls_server_name",
        "TLSSkipVerify",
        "tls_skip_verify",
        "AliasNode",
        "AliasService",
        "Timeout",
        "TTL",
        "SuccessBeforePassing",
        "FailuresBeforeWarning",
        "FailuresBeforeCritical",
        "DeregisterCriticalServiceAfter",
        "deregister_critical_service_after",
        "OutputMaxSize",
    ],
    unknown: Unknown::Refuse,
};

const CHECK_UPDATE: Shape =
    Shape { name: "agent.checkUpdate", fields: &["Status", "Output"], unknown: Unknown::Refuse };

/// Body of `/v1/agent/check/update/`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CheckNews {
    /// The status as given.
    pub status: String,
    /// What there is to say about it.
    pub output: String,
}

/// Decodes the body of `/v1/agent/check/update/`.
///
/// # Errors
/// [`super::DecodeError`].
pub fn check_news(json: Json) -> Decoded<CheckNews> {
    let mut news = CheckNews::default();
    CHECK_UPDATE.decode(json, |field, value| {
        match field {
            "Status" => news.status = value.string()?,
            _ => news.output = value.string()?,
        }
        Ok(())
    })?;
    Ok(news)
}

/// Decodes the body of `/v1/agent/service/register`. All checks end up in `checks`, a lone `Check`
/// first, as Consul numbers them; one without any content counts as none.
///
/// # Errors
/// [`super::DecodeError`].
pub fn service(json: Json) -> Decoded<ServiceDefinition> {
    let mut service = ServiceDefinition::default();
    let mut lone = None;
    let mut snake_addresses = None;
    SERVICE.decode(json, |field, value| {
        match field {
            "Kind" => service.kind = value.string()?,
            "ID" => service.id = value.string()?,
            "Name" => service.name = value.string()?,
            "Tags" => service.tags = value.strings()?,
            "Address" => service.address = value.string()?,
            "TaggedAddresses" => service.tagged_addresses = tagged_addresses(value)?,
            "tagged_addresses" => snake_addresses = Some(tagged_addresses(value)?),
            "Meta" => service.meta = value.string_map()?.unwrap_or_default(),
            "Port" => service.port = value.int()?,
            "Check" => lone = Some(check_of_service(value)?),
            "Checks" => {
                let checks = value.list("structs.CheckTypes", check_of_service)?.unwrap_or_default();
                service.checks = checks.into_iter().map(|draft| draft.check).collect();
            }
            "Weights" => service.weights = Some(weights(value)?),
            "Token" => service.token = Secret::new(value.string()?),
            "EnableTagOverride" | "enable_tag_override" => service.enable_tag_override |= value.bool()?,
            "Proxy" => service.proxy = Some(proxy(records::proxy(value)?)),
            _ => service.connect = Some(connect(value)?),
        }
        Ok(())
    })?;
    if let Some(addresses) = snake_addresses.filter(|_| service.tagged_addresses.is_empty()) {
        service.tagged_addresses = addresses;
    }
    if let Some(draft) = lone.filter(|draft| !draft.is_empty()) {
        service.checks.insert(0, draft.check);
    }
    Ok(service)
}

/// Decodes the body of `/v1/agent/check/register`.
///
/// # Errors
/// [`super::DecodeError`].
pub fn check(json: Json) -> Decoded<CheckDefinition> {
    let mut draft = Draft::default();
    CHECK.decode(json, |field, value| draft.field(field, value))?;
    Ok(draft.finish().check)
}

fn check_of_service(json: Json) -> Decoded<Draft> {
    let mut draft = Draft::default();
    CHECK_OF_SERVICE.decode(json, |field, value| match field {
        "ServiceID" | "service_id" => value.string().map(drop),
        field => draft.field(field, value),
    })?;
    Ok(draft.finish())
}

/// A check while its fields come in.
#[derive(Default)]
struct Draft {
    check: CheckDefinition,
    /// Something was said that leaves no trace in the definition.
    touched: bool,
    args: Vec<String>,
    script_args: Vec<String>,
    snake_container: String,
    snake_deregister_after: Option<Duration>,
}

impl Draft {
    fn field(&mut self, field: &'static str, value: Json) -> Decoded<()> {
        let check = &mut self.check;
        match field {
            "ID" | "CheckID" => check.id = value.string()?,
            "Name" => check.name = value.string()?,
            "Status" => check.status = value.string()?,
            "Notes" => check.notes = value.string()?,
            "ServiceID" => check.service_id = value.string()?,
            "service_id" => {
                let id = value.string()?;
                if check.service_id.is_empty() {
                    check.service_id = id;
                }
            }
            "Token" => check.token = Secret::new(value.string()?),
            "ScriptArgs" => {
                self.touched = true;
                check.args = value.strings()?;
            }
            "Args" => self.args = value.strings()?,
            "script_args" => self.script_args = value.strings()?,
            "HTTP" => check.http = value.string()?,
            "Header" => {
                self.touched = true;
                check.header = value.map("map[string][]string", Json::strings)?.unwrap_or_default();
            }
            "Method" => check.method = value.string()?,
            "Body" => check.body = value.string()?,
            "DisableRedirects" => check.disable_redirects = value.bool()?,
            "TCP" => check.tcp = value.string()?,
            "UDP" => check.udp = value.string()?,
            "AliasNode" => check.alias_node = value.string()?,
            "AliasService" => check.alias_service = value.string()?,
            "DockerContainerID" => check.docker_container_id = value.string()?,
            "docker_container_id" => self.snake_container = value.string()?,
            "Shell" => check.shell = value.string()?,
            "GRPC" => check.grpc = value.string()?,
            "GRPCUseTLS" => check.grpc_use_tls = value.bool()?,
            "H2PING" => check.h2ping = value.string()?,
            "H2PingUseTLS" | "h2ping_use_tls" => check.h2ping_use_tls = Some(value.bool()?),
            "OSService" | "os_service" => check.os_service = value.string()?,
            "TLSServerName" | "tls_server_name" => check.tls_server_name = value.string()?,
            "TLSSkipVerify" | "tls_skip_verify" => check.tls_skip_verify |= value.bool()?,
            "Interval" => self.check.interval = self.duration(value)?,
            "Timeout" => self.check.timeout = self.duration(value)?,
            "TTL" => self.check.ttl = self.duration(value)?,
            "DeregisterCriticalServiceAfter" => {
                self.check.deregister_critical_service_after = self.duration(value)?;
                self.snake_deregister_after = None;
            }
            "deregister_critical_service_after" => {
                let after = self.duration(value)?;
                if self.check.deregister_critical_service_after.is_zero() {
                    self.snake_deregister_after = Some(after);
                }
            }
            "SuccessBeforePassing" => self.check.success_before_passing = self.count(value)?,
            "FailuresBeforeWarning" => self.check.failures_before_warning = self.count(value)?,
            "FailuresBeforeCritical" => self.check.failures_before_critical = self.count(value)?,
            "OutputMaxSize" => check.output_max_size = value.int()?,
            // For proxies that expose checks; nothing here does.
            _ => self.touched |= !value.string()?.is_empty(),
        }
        Ok(())
    }

    /// A time below zero means the same as none to whoever reads it.
    fn duration(&mut self, value: Json) -> Decoded<Duration> {
        let nanos = value.duration()?;
        self.touched |= nanos != 0;
        Ok(Duration::from_nanos(u64::try_from(nanos).unwrap_or(0)))
    }

    fn count(&mut self, value: Json) -> Decoded<u32> {
        let count = value.int()?;
        self.touched |= count != 0;
        Ok(u32::try_from(count.max(0)).unwrap_or(u32::MAX))
    }

    /// Settles what was given in several spellings.
    fn finish(mut self) -> Self {
        let check = &mut self.check;
        for args in [&mut self.args, &mut self.script_args] {
            if check.args.is_empty() {
                check.args = std::mem::take(args);
            }
        }
        if check.docker_container_id.is_empty() {
            check.docker_container_id = std::mem::take(&mut self.snake_container);
        }
        if let Some(after) = self.snake_deregister_after {
            check.deregister_critical_service_after = after;
        }
        self
    }

    fn is_empty(&self) -> bool {
        !self.touched && self.check == CheckDefinition::default()
    }
}

fn tagged_addresses(json: Json) -> Decoded<BTreeMap<String, TaggedAddress>> {
    let addresses = json.map("map[string]structs.ServiceAddress", |json| {
        let mut address = TaggedAddress::default();
        TAGGED_ADDRESS.decode(json, |field, value| {
            match field {
                "Address" => address.address = value.string()?,
                _ => address.port = value.int()?,
            }
            Ok(())
        })?;
        Ok(address)
    })?;
    Ok(addresses.unwrap_or_default())
}

/// Weights as given: what is left out is 0 here, not 1.
fn weights(json: Json) -> Decoded<WeightsDefinition> {
    let mut weights = WeightsDefinition { passing: 0, warning: 0 };
    WEIGHTS.decode(json, |field, value| {
        match field {
            "Passing" => weights.passing = value.int()?,
            _ => weights.warning = value.int()?,
        }
        Ok(())
    })?;
    Ok(weights)
}

fn connect(json: Json) -> Decoded<ConnectDefinition> {
    let mut connect = ConnectDefinition::default();
    let mut snake = None;
    CONNECT.decode(json, |field, value| {
        match field {
            "Native" => connect.native = value.bool()?,
            "SidecarService" => connect.sidecar_service = Some(Box::new(service(value)?)),
            _ => snake = Some(Box::new(service(value)?)),
        }
        Ok(())
    })?;
    connect.sidecar_service = connect.sidecar_service.or(snake);
    Ok(connect)
}

/// Proxy settings as they are defined, from the record they decode into.
fn proxy(record: ProxyConfig) -> ProxyDefinition {
    ProxyDefinition {
        destination_service_name: record.destination_service_name,
        destination_service_id: record.destination_service_id,
        local_service_address: record.local_service_address,
        local_service_port: record.local_service_port,
        config: record.config.map(|config| FreeForm::Object(config.into_iter().collect())),
        upstreams: record.upstreams.into_iter().map(upstream).collect(),
        mesh_gateway: mesh_gateway(record.mesh_gateway),
        expose: expose(record.expose),
    }
}

fn upstream(record: Upstream) -> UpstreamDefinition {
    UpstreamDefinition {
        destination_type: record.destination_type,
        destination_name: record.destination_name,
        datacenter: record.datacenter,
        local_bind_address: record.local_bind_address,
        local_bind_port: record.local_bind_port,
        config: record.config.map(|config| FreeForm::Object(config.into_iter().collect())),
        mesh_gateway: mesh_gateway(record.mesh_gateway),
    }
}

fn mesh_gateway(record: MeshGateway) -> MeshGatewayDefinition {
    MeshGatewayDefinition { mode: record.mode }
}

fn expose(record: Expose) -> ExposeDefinition {
    let path = |path: ExposePath| ExposePathDefinition {
        listener_port: path.listener_port,
        path: path.path,
        local_path_port: path.local_path_port,
        protocol: path.protocol,
    };
    ExposeDefinition { checks: record.checks, paths: record.paths.into_iter().map(path).collect() }
}

#[cfg(test)]
mod tests;
