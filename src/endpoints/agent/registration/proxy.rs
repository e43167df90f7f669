//! Proxy settings: from what is defined to what the catalog holds.

use std::collections::BTreeMap;

use crate::definition::{MeshGatewayDefinition, ProxyDefinition, UpstreamDefinition};
use crate::state::record::{Expose, ExposePath, FreeForm, MeshGateway, ProxyConfig, Upstream};

/// The record of proxy settings.
pub(super) fn record(definition: &ProxyDefinition) -> ProxyConfig {
    let paths = definition.expose.paths.iter().map(|path| ExposePath {
        listener_port: path.listener_port,
        path: path.path.clone(),
        local_path_port: path.local_path_port,
        protocol: path.protocol.clone(),
        parsed_from_check: false,
    });
    ProxyConfig {
        destination_service_name: definition.destination_service_name.clone(),
        destination_service_id: definition.destination_service_id.clone(),
        local_service_address: definition.local_service_address.clone(),
        local_service_port: definition.local_service_port,
        config: config(definition.config.as_ref()),
        upstreams: definition.upstreams.iter().map(upstream).collect(),
        mesh_gateway: mesh_gateway(&definition.mesh_gateway),
        expose: Expose { checks: definition.expose.checks, paths: paths.collect() },
    }
}

fn upstream(definition: &UpstreamDefinition) -> Upstream {
    let kind = match definition.destination_type.as_str() {
        "" => "service",
        given => given,
    };
    Upstream {
        destination_type: kind.to_owned(),
        destination_namespace: String::new(),
        destination_name: definition.destination_name.clone(),
        datacenter: definition.datacenter.clone(),
        local_bind_address: definition.local_bind_address.clone(),
        local_bind_port: definition.local_bind_port,
        config: config(definition.config.as_ref()),
        mesh_gateway: mesh_gateway(&definition.mesh_gateway),
    }
}

fn mesh_gateway(definition: &MeshGatewayDefinition) -> MeshGateway {
    MeshGateway { mode: definition.mode.clone() }
}

fn config(value: Option<&FreeForm>) -> Option<BTreeMap<String, FreeForm>> {
    let fields = value?.as_object()?;
    Some(fields.iter().map(|(name, value)| (name.clone(), value.clone())).collect())
}
