//! Rows to records: the state in the order and shape Consul's state machine writes it.
//!
//! Maps carry every key of Consul's structs in sorted order, as a stock server's archives do; fields
//! Tribune's tables do not have are written as Go's zero values.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use serde_json::Value;

use super::msgpack::Packer;
use super::{ArchiveError, IndexKey, RecordKind};
use crate::state::kv::KvRow;
use crate::state::record::{
    AutopilotConfig, Check, CheckDefinition, Coordinate, Expose, FreeForm, Indexes, KvEntry, Node,
    NodeCoordinate, ProxyConfig, Service, ServiceAddress, ServiceConnect, Session, SessionBehavior,
    StringMap, Upstream, Weights,
};
use crate::state::store::{ReadStore, Table};
use crate::state::view::View;

/// Header key for the lock-delay windows; stock Consul ignores header keys it does not know.
pub(super) const LOCK_DELAYS: &str = "TribuneLockDelays";

/// Receives the encoded header, then one encoded record at a time.
pub(super) type Emit<'a> = &'a mut dyn FnMut(&[u8]) -> Result<(), ArchiveError>;

/// Encodes the whole state.
pub(super) fn state(view: &View, frozen: &dyn ReadStore, emit: Emit<'_>) -> Result<(), ArchiveError> {
    let mut pack = Packer::default();
    header(&mut pack, view);
    emit(&pack.buffer)?;
    catalog(&mut pack, view, emit)?;
    for coordinate in view.coordinates.values() {
        start(&mut pack, RecordKind::Coordinates);
        pack.array(1);
        self::coordinate(&mut pack, coordinate);
        emit(&pack.buffer)?;
    }
    for session in view.sessions.values() {
        start(&mut pack, RecordKind::Session);
        self::session(&mut pack, session);
        emit(&pack.buffer)?;
    }
    rows(frozen, Table::Kvs, &mut |key, row| {
        let row = KvRow::decode(key, row)?;
        start(&mut pack, RecordKind::Kv);
        dir_entry(&mut pack, key, &row);
        emit(&pack.buffer)
    })?;
    rows(frozen, Table::Tombstones, &mut |key, row| {
        let index = <[u8; 8]>::try_from(row).map(u64::from_le_bytes).map_err(|_| {
            crate::state::StateError::Corrupt {
                table: Table::Tombstones.name(),
                key: key.escape_ascii().to_string(),
                reason: "not eight bytes".to_owned(),
            }
        })?;
        start(&mut pack, RecordKind::Tombstone);
        tombstone(&mut pack, key, index);
        emit(&pack.buffer)
    })?;
    if let Some(config) = &view.autopilot {
        start(&mut pack, RecordKind::Autopilot);
        autopilot(&mut pack, config);
        emit(&pack.buffer)?;
    }
    indexes(&mut pack, view, emit)?;
    start(&mut pack, RecordKind::ChunkingState);
    pack.map(1);
    pack.str("ChunkMap");
    pack.map(0);
    emit(&pack.buffer)
}

fn start(pack: &mut Packer, kind: RecordKind) {
    pack.buffer.clear();
    pack.buffer.push(kind.code());
}

type VisitRow<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> Result<(), ArchiveError>;

/// Scans a table with a visitor that may fail.
fn rows(frozen: &dyn ReadStore, table: Table, visit: VisitRow<'_>) -> Result<(), ArchiveError> {
    let mut failure = None;
    frozen.scan(table, b"", &mut |key, row| match visit(key, row) {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => {
            failure = Some(error);
            ControlFlow::Break(())
        }
    })?;
    failure.map_or(Ok(()), Err)
}

fn header(pack: &mut Packer, view: &View) {
    pack.map(1 + usize::from(!view.lock_delays.is_empty()));
    pack.str("LastIndex");
    pack.uint(view.index);
    if !view.lock_delays.is_empty() {
        pack.str(LOCK_DELAYS);
        pack.map(view.lock_delays.len());
        for (key, until_ms) in &view.lock_delays {
            pack.raw(key);
            pack.uint(*until_ms);
        }
    }
}

fn catalog(pack: &mut Packer, view: &View, emit: Emit<'_>) -> Result<(), ArchiveError> {
    for entry in view.nodes.values() {
        start(pack, RecordKind::Register);
        register(pack, &entry.node, Packer::nil, Packer::nil);
        emit(&pack.buffer)?;
        for found in entry.services.values() {
            start(pack, RecordKind::Register);
            register(pack, &entry.node, Packer::nil, |pack| service(pack, found));
            emit(&pack.buffer)?;
        }
        for found in entry.checks.values() {
            start(pack, RecordKind::Register);
            register(pack, &entry.node, |pack| check(pack, found), Packer::nil);
            emit(&pack.buffer)?;
        }
    }
    Ok(())
}

/// A registration of a node with what the two closures write.
fn register(pack: &mut Packer, node: &Node, check: impl Fn(&mut Packer), service: impl Fn(&mut Packer)) {
    pack.map(13);
    text(pack, "Address", &node.address);
    pack.str("Check");
    check(pack);
    nil(pack, "Checks");
    number(pack, "CreateIndex", node.indexes.create_index);
    text(pack, "Datacenter", &node.datacenter);
    text(pack, "ID", &node.id);
    number(pack, "ModifyIndex", node.indexes.modify_index);
    text(pack, "Node", &node.node);
    pack.str("NodeMeta");
    string_map(pack, node.meta.as_ref());
    pack.str("Service");
    service(pack);
    flag(pack, "SkipNodeUpdate", false);
    pack.str("TaggedAddresses");
    string_map(pack, node.tagged_addresses.as_ref());
    text(pack, "Token", "");
}

/// A service instance.
pub fn service(pack: &mut Packer, service: &Service) {
    pack.map(15);
    text(pack, "Address", &service.address);
    pack.str("Connect");
    connect(pack, &service.connect);
    number(pack, "CreateIndex", service.indexes.create_index);
    flag(pack, "EnableTagOverride", service.enable_tag_override);
    text(pack, "ID", &service.id);
    text(pack, "Kind", &service.kind);
    flag(pack, "LocallyRegisteredAsSidecar", false);
    pack.str("Meta");
    string_map(pack, service.meta.as_ref());
    number(pack, "ModifyIndex", service.indexes.modify_index);
    signed(pack, "Port", service.port);
    pack.str("Proxy");
    proxy(pack, &service.proxy);
    text(pack, "Service", &service.service);
    pack.str("TaggedAddresses");
    addresses(pack, service.tagged_addresses.as_ref());
    pack.str("Tags");
    strings(pack, &service.tags);
    pack.str("Weights");
    weights(pack, service.weights);
}

/// Addresses of a service by tag; nil for none.
pub fn addresses(pack: &mut Packer, addresses: Option<&BTreeMap<String, ServiceAddress>>) {
    optional_map(pack, addresses, |pack, address| {
        pack.map(2);
        text(pack, "Address", &address.address);
        signed(pack, "Port", address.port);
    });
}

/// DNS weights.
pub fn weights(pack: &mut Packer, weights: Weights) {
    pack.map(2);
    signed(pack, "Passing", weights.passing);
    signed(pack, "Warning", weights.warning);
}

/// The connect settings of a service.
pub fn connect(pack: &mut Packer, connect: &ServiceConnect) {
    pack.map(2);
    flag(pack, "Native", connect.native);
    pack.str("SidecarService");
    match &connect.sidecar_service {
        // A struct on the other side: its whole numbers must stay whole.
        Some(definition) => free_form(pack, definition, Numbers::Whole),
        None => pack.nil(),
    }
}

/// The proxy settings of a service.
pub fn proxy(pack: &mut Packer, proxy: &ProxyConfig) {
    pack.map(8);
    pack.str("Config");
    optional_map(pack, proxy.config.as_ref(), |pack, value| free_form(pack, value, Numbers::Floats));
    text(pack, "DestinationServiceID", &proxy.destination_service_id);
    text(pack, "DestinationServiceName", &proxy.destination_service_name);
    pack.str("Expose");
    expose(pack, &proxy.expose);
    text(pack, "LocalServiceAddress", &proxy.local_service_address);
    signed(pack, "LocalServicePort", proxy.local_service_port);
    mesh_gateway(pack, &proxy.mesh_gateway.mode);
    pack.str("Upstreams");
    list(pack, &proxy.upstreams, upstream);
}

fn expose(pack: &mut Packer, expose: &Expose) {
    pack.map(2);
    flag(pack, "Checks", expose.checks);
    pack.str("Paths");
    list(pack, &expose.paths, |pack, path| {
        pack.map(5);
        signed(pack, "ListenerPort", path.listener_port);
        signed(pack, "LocalPathPort", path.local_path_port);
        flag(pack, "ParsedFromCheck", path.parsed_from_check);
        text(pack, "Path", &path.path);
        text(pack, "Protocol", &path.protocol);
    });
}

fn upstream(pack: &mut Packer, upstream: &Upstream) {
    pack.map(9);
    pack.str("Config");
    optional_map(pack, upstream.config.as_ref(), |pack, value| free_form(pack, value, Numbers::Floats));
    text(pack, "Datacenter", &upstream.datacenter);
    text(pack, "DestinationName", &upstream.destination_name);
    text(pack, "DestinationNamespace", &upstream.destination_namespace);
    text(pack, "DestinationType", &upstream.destination_type);
    nil(pack, "IngressHosts");
    text(pack, "LocalBindAddress", &upstream.local_bind_address);
    signed(pack, "LocalBindPort", upstream.local_bind_port);
    mesh_gateway(pack, &upstream.mesh_gateway.mode);
}

fn mesh_gateway(pack: &mut Packer, mode: &str) {
    pack.str("MeshGateway");
    pack.map(1);
    text(pack, "Mode", mode);
}

/// A check.
pub fn check(pack: &mut Packer, check: &Check) {
    pack.map(13);
    text(pack, "CheckID", &check.check_id);
    number(pack, "CreateIndex", check.indexes.create_index);
    pack.str("Definition");
    definition(pack, &check.definition);
    number(pack, "ModifyIndex", check.indexes.modify_index);
    text(pack, "Name", &check.name);
    text(pack, "Node", &check.node);
    text(pack, "Notes", &check.notes);
    text(pack, "Output", &check.output);
    text(pack, "ServiceID", &check.service_id);
    text(pack, "ServiceName", &check.service_name);
    pack.str("ServiceTags");
    strings(pack, &check.service_tags);
    text(pack, "Status", &check.status);
    text(pack, "Type", &check.kind);
}

fn definition(pack: &mut Packer, definition: &CheckDefinition) {
    pack.map(18);
    text(pack, "AliasNode", &definition.alias_node);
    text(pack, "AliasService", &definition.alias_service);
    text(pack, "Body", &definition.body);
    signed(pack, "DeregisterCriticalServiceAfter", definition.deregister_critical_service_after);
    text(pack, "DockerContainerID", &definition.docker_container_id);
    text(pack, "GRPC", &definition.grpc);
    flag(pack, "GRPCUseTLS", definition.grpc_use_tls);
    text(pack, "HTTP", &definition.http);
    pack.str("Header");
    optional_map(pack, definition.header.as_ref(), |pack, values| {
        pack.array(values.len());
        for value in values {
            pack.str(value);
        }
    });
    signed(pack, "Interval", definition.interval);
    text(pack, "Method", &definition.method);
    number(pack, "OutputMaxSize", definition.output_max_size);
    pack.str("ScriptArgs");
    strings(pack, &definition.script_args);
    text(pack, "Shell", &definition.shell);
    text(pack, "TCP", &definition.tcp);
    flag(pack, "TLSSkipVerify", definition.tls_skip_verify);
    signed(pack, "TTL", definition.ttl);
    signed(pack, "Timeout", definition.timeout);
}

/// The configuration of autopilot.
pub fn autopilot(pack: &mut Packer, config: &AutopilotConfig) {
    pack.map(10);
    flag(pack, "CleanupDeadServers", config.cleanup_dead_servers);
    number(pack, "CreateIndex", config.indexes.create_index);
    flag(pack, "DisableUpgradeMigration", config.disable_upgrade_migration);
    signed(pack, "LastContactThreshold", config.last_contact_threshold);
    number(pack, "MaxTrailingLogs", config.max_trailing_logs);
    number(pack, "MinQuorum", config.min_quorum);
    number(pack, "ModifyIndex", config.indexes.modify_index);
    text(pack, "RedundancyZoneTag", &config.redundancy_zone_tag);
    signed(pack, "ServerStabilizationTime", config.server_stabilization_time);
    text(pack, "UpgradeVersionTag", &config.upgrade_version_tag);
}

/// A coordinate.
pub fn coord(pack: &mut Packer, coord: &Coordinate) {
    pack.map(4);
    pack.str("Adjustment");
    pack.float(coord.adjustment);
    pack.str("Error");
    pack.float(coord.error);
    pack.str("Height");
    pack.float(coord.height);
    pack.str("Vec");
    pack.array(coord.vec.len());
    coord.vec.iter().for_each(|part| pack.float(*part));
}

/// The coordinate of a node.
pub fn coordinate(pack: &mut Packer, coordinate: &NodeCoordinate) {
    pack.map(3);
    pack.str("Coord");
    coord(pack, &coordinate.coord);
    text(pack, "Node", &coordinate.node);
    text(pack, "Segment", &coordinate.segment);
}

/// A session.
pub fn session(pack: &mut Packer, session: &Session) {
    pack.map(11);
    text(
        pack,
        "Behavior",
        match session.behavior {
            SessionBehavior::Release => "release",
            SessionBehavior::Delete => "delete",
        },
    );
    pack.str("Checks");
    strings(pack, &session.checks);
    number(pack, "CreateIndex", session.indexes.create_index);
    text(pack, "ID", &session.id);
    signed(pack, "LockDelay", session.lock_delay);
    number(pack, "ModifyIndex", session.indexes.modify_index);
    text(pack, "Name", &session.name);
    text(pack, "Node", &session.node);
    pack.str("NodeChecks");
    strings(pack, &session.node_checks);
    pack.str("ServiceChecks");
    match &session.service_checks {
        Some(checks) => {
            pack.array(checks.len());
            for check in checks {
                pack.map(2);
                text(pack, "ID", &check.id);
                text(pack, "Namespace", &check.namespace);
            }
        }
        None => pack.nil(),
    }
    text(pack, "TTL", &session.ttl);
}

/// A key with its value, as readers hand it out.
pub fn entry(pack: &mut Packer, entry: &KvEntry) {
    let row = KvRow {
        indexes: entry.indexes,
        lock_index: entry.lock_index,
        flags: entry.flags,
        session: entry.session.as_deref(),
        value: &entry.value,
    };
    dir_entry(pack, &entry.key, &row);
}

/// A key with its value; an empty value is none.
pub fn dir_entry(pack: &mut Packer, key: &[u8], row: &KvRow<'_>) {
    pack.map(7);
    number(pack, "CreateIndex", row.indexes.create_index);
    number(pack, "Flags", row.flags);
    pack.str("Key");
    pack.raw(key);
    number(pack, "LockIndex", row.lock_index);
    number(pack, "ModifyIndex", row.indexes.modify_index);
    text(pack, "Session", row.session.unwrap_or_default());
    pack.str("Value");
    if row.value.is_empty() { pack.nil() } else { pack.raw(row.value) }
}

/// A key entry with key and index only.
fn tombstone(pack: &mut Packer, key: &[u8], index: u64) {
    let mut row = KvRow { indexes: Indexes::default(), lock_index: 0, flags: 0, session: None, value: &[] };
    row.indexes.modify_index = index;
    dir_entry(pack, key, &row);
}

impl IndexKey {
    /// Consul's name for it.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Nodes => "nodes".to_owned(),
            Self::Services => "services".to_owned(),
            Self::Checks => "checks".to_owned(),
            Self::Kvs => "kvs".to_owned(),
            Self::Tombstones => "tombstones".to_owned(),
            Self::Sessions => "sessions".to_owned(),
            Self::Coordinates => "coordinates".to_owned(),
            Self::ServiceExtinction => "service_last_extinction".to_owned(),
            Self::Service(name) => format!("service.{name}"),
            Self::Other(name) => name.clone(),
        }
    }

    /// What Consul calls so.
    pub(super) fn from_name(name: &str) -> Self {
        match name {
            "nodes" => Self::Nodes,
            "services" => Self::Services,
            "checks" => Self::Checks,
            "kvs" => Self::Kvs,
            "tombstones" => Self::Tombstones,
            "sessions" => Self::Sessions,
            "coordinates" => Self::Coordinates,
            "service_last_extinction" => Self::ServiceExtinction,
            other => match other.strip_prefix("service.") {
                Some(service) => Self::Service(service.to_owned()),
                None => Self::Other(other.to_owned()),
            },
        }
    }
}

/// Index records; tables never written have none.
fn indexes(pack: &mut Packer, view: &View, emit: Emit<'_>) -> Result<(), ArchiveError> {
    let tables = [
        (IndexKey::Checks, view.indexes.checks),
        (IndexKey::Coordinates, view.indexes.coordinates),
        (IndexKey::Kvs, view.indexes.kvs),
        (IndexKey::Nodes, view.indexes.nodes),
        (IndexKey::ServiceExtinction, view.indexes.service_extinction),
        (IndexKey::Services, view.indexes.services),
        (IndexKey::Sessions, view.indexes.sessions),
        (IndexKey::Tombstones, view.indexes.tombstones),
    ];
    let services =
        view.services.iter().map(|(name, entry)| (IndexKey::Service(name.to_string()), entry.index));
    let idle = view.idle_services.iter().map(|(name, index)| (IndexKey::Service(name.to_string()), *index));
    for (key, index) in tables.into_iter().chain(services).chain(idle).filter(|(_, index)| *index > 0) {
        start(pack, RecordKind::Index);
        pack.map(2);
        text(pack, "Key", &key.name());
        number(pack, "Value", index);
        emit(&pack.buffer)?;
    }
    Ok(())
}

fn text(pack: &mut Packer, key: &str, value: &str) {
    pack.str(key);
    pack.str(value);
}

fn number(pack: &mut Packer, key: &str, value: u64) {
    pack.str(key);
    pack.uint(value);
}

fn signed(pack: &mut Packer, key: &str, value: i64) {
    pack.str(key);
    pack.int(value);
}

fn flag(pack: &mut Packer, key: &str, value: bool) {
    pack.str(key);
    pack.bool(value);
}

fn nil(pack: &mut Packer, key: &str) {
    pack.str(key);
    pack.nil();
}

/// A list; Go's nil slice when empty.
fn list<T>(pack: &mut Packer, items: &[T], item: impl Fn(&mut Packer, &T)) {
    if items.is_empty() {
        return pack.nil();
    }
    pack.array(items.len());
    for found in items {
        item(pack, found);
    }
}

/// A list of strings; nil when empty.
pub fn strings(pack: &mut Packer, items: &[String]) {
    list(pack, items, |pack, item| pack.str(item));
}

fn optional_map<T>(pack: &mut Packer, map: Option<&BTreeMap<String, T>>, value: impl Fn(&mut Packer, &T)) {
    let Some(map) = map else { return pack.nil() };
    pack.map(map.len());
    for (key, found) in map {
        pack.str(key);
        value(pack, found);
    }
}

/// A map of strings; nil for none.
pub fn string_map(pack: &mut Packer, map: Option<&StringMap>) {
    optional_map(pack, map, |pack, value| pack.str(value));
}

/// How the numbers of a free-form value travel.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Numbers {
    /// As floats wherever that loses nothing: what Go makes of any JSON number.
    Floats,
    /// Whole numbers as integers.
    Whole,
}

/// Beyond this, a float no longer tells every whole number apart.
pub(super) const FLOAT_EXACT: u64 = 1 << 53;

fn free_form(pack: &mut Packer, value: &FreeForm, numbers: Numbers) {
    match value {
        Value::Null => pack.nil(),
        Value::Bool(value) => pack.bool(*value),
        Value::String(text) => pack.str(text),
        Value::Array(items) => {
            pack.array(items.len());
            for item in items {
                free_form(pack, item, numbers);
            }
        }
        Value::Object(pairs) => {
            pack.map(pairs.len());
            for (key, item) in pairs {
                pack.str(key);
                free_form(pack, item, numbers);
            }
        }
        Value::Number(value) => {
            let whole = numbers == Numbers::Whole;
            if let Some(unsigned) = value.as_u64().filter(|n| whole || *n > FLOAT_EXACT) {
                pack.uint(unsigned);
            } else if let Some(signed) = value.as_i64().filter(|n| whole || n.unsigned_abs() > FLOAT_EXACT) {
                pack.int(signed);
            } else {
                pack.float(value.as_f64().unwrap_or_default());
            }
        }
    }
}
