//! Services, checks and watches.

use super::Kind::{Bool, Duration, Free, Int, List, Map, Object, Text, TextOrTexts, Uint};
use super::objects::LOCALITY;
use super::{Group, NOT_HERE, TEXTS, key};

/// A service definition.
pub(super) static SERVICE: Group = Group {
    keys: &[
        key("address", Text),
        key("check", Object(&CHECK)),
        key("checks", List(&Object(&CHECK))),
        key("connect", Object(&SERVICE_CONNECT)),
        key("enable_tag_override", Bool),
        key("id", Text),
        key("kind", Text),
        key("locality", Object(&LOCALITY)).no_effect(NOT_HERE),
        key("meta", Map(&Text)),
        key("name", Text),
        key("namespace", Text).enterprise(),
        key("partition", Text).enterprise(),
        key("port", Int),
        key("proxy", Object(&PROXY)),
        key("socket_path", Text).no_effect(NOT_HERE),
        key("tagged_addresses", Map(&Object(&SERVICE_ADDRESS))),
        key("tags", TEXTS),
        key("token", Text),
        key("weights", Object(&WEIGHTS)),
    ],
};

static SERVICE_ADDRESS: Group = Group { keys: &[key("address", Text), key("port", Int)] };

static SERVICE_CONNECT: Group =
    Group { keys: &[key("native", Bool), key("sidecar_service", Object(&SERVICE))] };

static WEIGHTS: Group = Group { keys: &[key("passing", Int), key("warning", Int)] };

static PROXY: Group = Group {
    keys: &[
        key("config", Free),
        key("destination_service_id", Text),
        key("destination_service_name", Text),
        key("expose", Object(&PROXY_EXPOSE)),
        key("local_service_address", Text),
        key("local_service_port", Int),
        key("mesh_gateway", Object(&MESH_GATEWAY)),
        key("mode", Text).no_effect(NOT_HERE),
        key("upstreams", List(&Object(&UPSTREAM))),
    ],
};

static MESH_GATEWAY: Group = Group { keys: &[key("mode", Text)] };

static PROXY_EXPOSE: Group =
    Group { keys: &[key("checks", Bool), key("paths", List(&Object(&PROXY_EXPOSE_PATH)))] };

static PROXY_EXPOSE_PATH: Group = Group {
    keys: &[key("listener_port", Int), key("local_path_port", Int), key("path", Text), key("protocol", Text)],
};

static UPSTREAM: Group = Group {
    keys: &[
        key("config", Free),
        key("datacenter", Text),
        key("destination_name", Text),
        key("destination_namespace", Text).enterprise(),
        key("destination_type", Text),
        key("local_bind_address", Text),
        key("local_bind_port", Int),
        key("mesh_gateway", Object(&MESH_GATEWAY)),
    ],
};

/// A check definition. The old spellings without underscores are still taken.
pub(super) static CHECK: Group = Group {
    keys: &[
        key("alias_node", Text),
        key("alias_service", Text),
        key("args", TEXTS),
        key("body", Text),
        key("deregister_critical_service_after", Duration),
        key("deregistercriticalserviceafter", Duration).alias("deregister_critical_service_after"),
        key("disable_redirects", Bool),
        key("docker_container_id", Text),
        key("dockercontainerid", Text).alias("docker_container_id"),
        key("failures_before_critical", Uint),
        key("failures_before_warning", Uint),
        key("grpc", Text),
        key("grpc_use_tls", Bool),
        key("h2ping", Text),
        key("h2ping_use_tls", Bool),
        key("header", Map(&TEXTS)),
        key("http", Text),
        key("id", Text),
        key("interval", Duration),
        key("method", Text),
        key("name", Text),
        key("namespace", Text).enterprise(),
        key("notes", Text),
        key("os_service", Text),
        key("output_max_size", Int),
        key("scriptargs", TEXTS).alias("args"),
        key("service_id", Text),
        key("serviceid", Text).alias("service_id"),
        key("shell", Text),
        key("status", Text),
        key("success_before_passing", Uint),
        key("tcp", Text),
        key("timeout", Duration),
        key("tls_server_name", Text),
        key("tls_skip_verify", Bool),
        key("tlsskipverify", Bool).alias("tls_skip_verify"),
        key("token", Text),
        key("ttl", Duration),
        key("udp", Text),
    ],
};

/// A watch.
pub(super) static WATCH: Group = Group {
    keys: &[
        key("args", TEXTS),
        key("datacenter", Text),
        key("handler", Text),
        key("handler_type", Text),
        key("http_handler_config", Object(&WATCH_HTTP)),
        key("key", Text),
        key("name", Text),
        key("passingonly", Bool),
        key("prefix", Text),
        key("service", Text),
        key("service_id", Text),
        key("stale", Bool),
        key("state", Text),
        key("tag", TextOrTexts),
        key("token", Text),
        key("type", Text),
    ],
};

static WATCH_HTTP: Group = Group {
    keys: &[
        key("header", Map(&TEXTS)),
        key("method", Text),
        key("path", Text),
        key("timeout", Duration),
        key("tls_skip_verify", Bool),
    ],
};
