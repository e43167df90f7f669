//! The services and checks of this agent as it writes them. They look different from those of the catalog:
//! other fields, in another order, and what is not there is left out more often.

use std::collections::BTreeMap;

use super::super::Json;
use super::super::json_catalog::{expose, int_if_any, text_if_any};
use crate::endpoints::agent::service_view::view;
use crate::state::record::{Check, FreeForm, MeshGateway, ProxyConfig, Service, Upstream};

/// A service; with its content hash where one is asked for.
pub(super) fn service(json: &mut Json, service: &Service, content_hash: Option<&str>) {
    let shown = view(service);
    json.object(|json| {
        text_if_any(json, "Kind", &service.kind);
        json.key("ID").text(&service.id);
        json.key("Service").text(&service.service);
        json.key("Tags").texts(&service.tags);
        json.key("Meta").text_map(service.meta.iter().flatten());
        json.key("Port").i64(service.port);
        json.key("Address").text(&service.address);
        if let Some(addresses) = service.tagged_addresses.as_ref().filter(|found| !found.is_empty()) {
            json.key("TaggedAddresses").object(|json| {
                for (tag, address) in addresses {
                    json.key_text(tag).object(|json| {
                        json.key("Address").text(&address.address);
                        json.key("Port").i64(address.port);
                    });
                }
            });
        }
        json.key("Weights").object(|json| {
            json.key("Passing").i64(shown.weights.passing);
            json.key("Warning").i64(shown.weights.warning);
        });
        json.key("EnableTagOverride").bool(service.enable_tag_override);
        if let Some(hash) = content_hash {
            json.key("ContentHash").text(hash);
        }
        if let Some(settings) = shown.proxy {
            proxy(json.key("Proxy"), settings);
        }
        if shown.native {
            json.key("Connect").object(|json| json.key("Native").bool(true));
        }
    });
}

/// A check as the health of a service lists it: the definition it shows is that of no check at all, as Consul's.
pub(super) fn check_of_health(json: &mut Json, check: &Check) {
    json.object(|json| {
        json.key("Node").text(&check.node);
        json.key("CheckID").text(&check.check_id);
        json.key("Name").text(&check.name);
        json.key("Status").text(&check.status);
        json.key("Notes").text(&check.notes);
        json.key("Output").text(&check.output);
        json.key("ServiceID").text(&check.service_id);
        json.key("ServiceName").text(&check.service_name);
        let tags = json.key("ServiceTags");
        if check.service_tags.is_empty() {
            tags.null();
        } else {
            tags.texts(&check.service_tags);
        }
        json.key("Type").text("");
        json.key("Definition").object(|json| {
            for duration in ["Interval", "Timeout", "DeregisterCriticalServiceAfter"] {
                json.key(duration).text("0s");
            }
            json.key("HTTP").text("");
            json.key("Header").null();
            json.key("Method").text("");
            json.key("Body").text("");
            json.key("TLSSkipVerify").bool(false);
            json.key("TCP").text("");
        });
        json.key("CreateIndex").u64(0);
        json.key("ModifyIndex").u64(0);
    });
}

fn proxy(json: &mut Json, proxy: &ProxyConfig) {
    json.object(|json| {
        text_if_any(json, "DestinationServiceName", &proxy.destination_service_name);
        text_if_any(json, "DestinationServiceID", &proxy.destination_service_id);
        text_if_any(json, "LocalServiceAddress", &proxy.local_service_address);
        int_if_any(json, "LocalServicePort", proxy.local_service_port);
        config(json, proxy.config.as_ref());
        if !proxy.upstreams.is_empty() {
            json.key("Upstreams").array(|json| proxy.upstreams.iter().for_each(|one| upstream(json, one)));
        }
        mesh_gateway(json, &proxy.mesh_gateway);
        expose(json.key("Expose"), &proxy.expose);
    });
}

fn upstream(json: &mut Json, upstream: &Upstream) {
    json.object(|json| {
        text_if_any(json, "DestinationType", &upstream.destination_type);
        text_if_any(json, "DestinationNamespace", &upstream.destination_namespace);
        json.key("DestinationName").text(&upstream.destination_name);
        text_if_any(json, "Datacenter", &upstream.datacenter);
        text_if_any(json, "LocalBindAddress", &upstream.local_bind_address);
        int_if_any(json, "LocalBindPort", upstream.local_bind_port);
        config(json, upstream.config.as_ref());
        mesh_gateway(json, &upstream.mesh_gateway);
    });
}

fn config(json: &mut Json, config: Option<&BTreeMap<String, FreeForm>>) {
    if let Some(config) = config.filter(|config| !config.is_empty()) {
        json.key("Config").object(|json| {
            for (name, value) in config {
                json.key_text(name).free(value);
            }
        });
    }
}

fn mesh_gateway(json: &mut Json, gateway: &MeshGateway) {
    json.key("MeshGateway").object(|json| text_if_any(json, "Mode", &gateway.mode));
}
