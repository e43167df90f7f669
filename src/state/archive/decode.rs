//! Records to rows: one msgpack value of a known type to what the tables store.
//!
//! Keys not known here are passed over and missing ones leave defaults, as Go's decoder does, so
//! that archives of neighbouring Consul versions read as far as they agree.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Number, Value};

use super::encode::{FLOAT_EXACT, LOCK_DELAYS};
use super::msgpack::{Cursor, MAX_DEPTH, Malformed, Token};
use super::{ArchiveError, ArchiveRecord, IndexKey, RecordKind};
use crate::state::record::{
    AutopilotConfig, Check, CheckDefinition, Coordinate, Expose, ExposePath, FreeForm, Indexes, KvEntry,
    MeshGateway, Node, NodeCoordinate, ProxyConfig, Service, ServiceAddress, ServiceCheckRef, ServiceConnect,
    Session, SessionBehavior, StringMap, Upstream, Weights,
};

type Read<T> = Result<T, Malformed>;

/// What stands in front of the records.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Header {
    pub last_index: u64,
    pub lock_delays: Vec<(Bytes, u64)>,
}

fn malformed(kind: &'static str) -> impl Fn(Malformed) -> ArchiveError {
    move |error| ArchiveError::Malformed { kind, reason: error.to_string() }
}

/// Decodes the header.
pub(super) fn header(value: &[u8]) -> Result<Header, ArchiveError> {
    let mut header = Header::default();
    let mut cursor = Cursor::new(value);
    let read = cursor.map(|key, cursor| {
        match key {
            b"LastIndex" => header.last_index = cursor.uint()?,
            key if key == LOCK_DELAYS.as_bytes() => {
                cursor.map(|key, cursor| {
                    header.lock_delays.push((Bytes::copy_from_slice(key), cursor.uint()?));
                    Ok(())
                })?;
            }
            _ => cursor.skip()?,
        }
        Ok(())
    });
    read.and_then(|_| cursor.finish()).map_err(malformed("header"))?;
    Ok(header)
}

/// Decodes a record and hands over what it holds: mostly one row, several coordinates, or nothing.
pub(super) fn record<E: From<ArchiveError>>(
    kind: RecordKind,
    value: &[u8],
    visit: &mut dyn FnMut(ArchiveRecord) -> Result<(), E>,
) -> Result<(), E> {
    let error = malformed(kind.name());
    let mut cursor = Cursor::new(value);
    let cursor = &mut cursor;
    let found = match kind {
        RecordKind::Register => register(cursor),
        RecordKind::Kv => dir_entry(cursor).map(ArchiveRecord::Kv),
        RecordKind::Session => session(cursor).map(ArchiveRecord::Session),
        RecordKind::Tombstone => dir_entry(cursor)
            .map(|entry| ArchiveRecord::Tombstone { key: entry.key, index: entry.indexes.modify_index }),
        RecordKind::Index => index(cursor),
        RecordKind::Autopilot => autopilot(cursor).map(ArchiveRecord::Autopilot),
        RecordKind::Coordinates => {
            let batch = cursor.array(coordinate).map_err(error)?.unwrap_or_default();
            return batch.into_iter().try_for_each(|coordinate| visit(ArchiveRecord::Coordinate(coordinate)));
        }
        RecordKind::ChunkingState if is_idle(cursor).map_err(&error)? => return Ok(()),
        other => return visit(ArchiveRecord::Other { kind: other, value: Bytes::copy_from_slice(value) }),
    };
    visit(found.map_err(error)?)
}

/// True for a chunking state that holds nothing.
fn is_idle(cursor: &mut Cursor<'_>) -> Read<bool> {
    let mut idle = true;
    cursor.map(|_, cursor| {
        idle &= matches!(cursor.token()?, Token::Nil | Token::Map(0));
        if idle { Ok(()) } else { Err(Malformed::Other("it holds parts of unfinished raft entries".into())) }
    })?;
    Ok(idle)
}

fn register(cursor: &mut Cursor<'_>) -> Read<ArchiveRecord> {
    let mut node = Node::default();
    let mut service = None;
    let mut check = None;
    cursor.map(|key, cursor| {
        match key {
            b"Address" => node.address = cursor.string()?,
            b"Check" => check = self::check(cursor)?,
            b"CreateIndex" => node.indexes.create_index = cursor.uint()?,
            b"Datacenter" => node.datacenter = cursor.string()?,
            b"ID" => node.id = cursor.string()?,
            b"ModifyIndex" => node.indexes.modify_index = cursor.uint()?,
            b"Node" => node.node = name(cursor)?,
            b"NodeMeta" => node.meta = string_map(cursor)?,
            b"Service" => service = self::service(cursor)?,
            b"TaggedAddresses" => node.tagged_addresses = string_map(cursor)?,
            _ => cursor.skip()?,
        }
        Ok(())
    })?;
    if node.node.is_empty() {
        return Err(Malformed::Other("no node name".into()));
    }
    Ok(match (service, check) {
        (None, None) => ArchiveRecord::Node(node),
        (Some(service), None) => ArchiveRecord::Service { node: node.node, service: Box::new(service) },
        (None, Some(mut check)) => {
            if check.node.is_empty() {
                check.node = node.node;
            }
            ArchiveRecord::Check(Box::new(check))
        }
        (Some(_), Some(_)) => return Err(Malformed::Other("both a service and a check".into())),
    })
}

/// A service instance; none for nil.
///
/// # Errors
/// [`Malformed`].
pub fn service(cursor: &mut Cursor<'_>) -> Read<Option<Service>> {
    let mut service = Service::default();
    let present = cursor.map(|key, cursor| service_field(&mut service, key, cursor))?;
    Ok(present.then_some(service))
}

/// Reads one field of a service by its name; unknown ones are passed over.
///
/// # Errors
/// [`Malformed`].
pub fn service_field(service: &mut Service, key: &[u8], cursor: &mut Cursor<'_>) -> Read<()> {
    match key {
        b"Address" => service.address = cursor.string()?,
        b"Connect" => service.connect = connect(cursor)?,
        b"EnableTagOverride" => service.enable_tag_override = cursor.bool()?,
        b"ID" => service.id = name(cursor)?,
        b"Kind" => service.kind = cursor.string()?,
        b"Meta" => service.meta = string_map(cursor)?,
        b"Port" => service.port = cursor.int()?,
        b"Proxy" => service.proxy = proxy(cursor)?,
        b"Service" => service.service = name(cursor)?,
        b"TaggedAddresses" => service.tagged_addresses = map(cursor, service_address)?,
        b"Tags" => service.tags = strings(cursor)?,
        b"Weights" => service.weights = weights(cursor)?,
        _ => index_or_skip(key, cursor, &mut service.indexes)?,
    }
    Ok(())
}

fn index_or_skip(key: &[u8], cursor: &mut Cursor<'_>, indexes: &mut Indexes) -> Read<()> {
    match key {
        b"CreateIndex" => indexes.create_index = cursor.uint()?,
        b"ModifyIndex" => indexes.modify_index = cursor.uint()?,
        _ => cursor.skip()?,
    }
    Ok(())
}

fn service_address(cursor: &mut Cursor<'_>) -> Read<ServiceAddress> {
    let mut address = ServiceAddress::default();
    cursor.map(|key, cursor| {
        match key {
            b"Address" => address.address = cursor.string()?,
            b"Port" => address.port = cursor.int()?,
            _ => cursor.skip()?,
        }
        Ok(())
    })?;
    Ok(address)
}

fn weights(cursor: &mut Cursor<'_>) -> Read<Weights> {
    let mut weights = Weights { passing: 0, warning: 0 };
    let present = cursor.map(|key, cursor| {
        match key {
            b"Passing" => weights.passing = cursor.int()?,
            b"Warning" => weights.warning = cursor.int()?,
            _ => cursor.skip()?,
        }
        Ok(())
    })?;
    Ok(if present { weights } else { Weights::default() })
}

fn connect(cursor: &mut Cursor<'_>) -> Read<ServiceConnect> {
    let mut connect = ServiceConnect::default();
    cursor.map(|key, cursor| {
        match key {
            b"Native" => connect.native = cursor.bool()?,
            b"SidecarService" => {
                connect.sidecar_service = Some(free_form(cursor, 0)?).filter(|value| !value.is_null());
            }
            _ => cursor.skip()?,
        }
        Ok(())
    })?;
    Ok(connect)
}

fn proxy(cursor: &mut Cursor<'_>) -> Read<ProxyConfig> {
    let mut proxy = ProxyConfig::default();
    cursor.map(|key, cursor| {
        match key {
            b"Config" => proxy.config = map(cursor, |cursor| free_form(cursor, 0))?,
            b"DestinationServiceID" => proxy.destination_service_id = cursor.string()?,
            b"DestinationServiceName" => proxy.destination_service_name = cursor.string()?,
            b"Expose" => proxy.expose = expose(cursor)?,
            b"LocalServiceAddress" => proxy.local_service_address = cursor.string()?,
            b"LocalServicePort" => proxy.local_service_port = cursor.int()?,
            b"MeshGateway" => proxy.mesh_gateway = mesh_gateway(cursor)?,
            b"Upstreams" => proxy.upstreams = cursor.array(upstream)?.unwrap_or_default(),
            _ => cursor.skip()?,
        }
        Ok(())
    })?;
    Ok(proxy)
}

fn expose(cursor: &mut Cursor<'_>) -> Read<Expose> {
    let mut expose = Expose::default();
    cursor.map(|key, cursor| {
        match key {
            b"Checks" => expose.checks = cursor.bool()?,
            b"Paths" => expose.paths = cursor.array(expose_path)?.unwrap_or_default(),
            _ => cursor.skip()?,
        }
        Ok(())
    })?;
    Ok(expose)
}

fn expose_path(cursor: &mut Cursor<'_>) -> Read<ExposePath> {
    let mut path = ExposePath::default();
    cursor.map(|key, cursor| {
        match key {
            b"ListenerPort" => path.listener_port = cursor.int()?,
            b"LocalPathPort" => path.local_path_port = cursor.int()?,
            b"ParsedFromCheck" => path.parsed_from_check = cursor.bool()?,
            b"Path" => path.path = cursor.string()?,
            b"Protocol" => path.protocol = cursor.string()?,
            _ => cursor.skip()?,
        }
        Ok(())
    })?;
    Ok(path)
}

fn mesh_gateway(cursor: &mut Cursor<'_>) -> Read<MeshGateway> {
    let mut gateway = MeshGateway::default();
    cursor.map(|key, cursor| {
        match key {
            b"Mode" => gateway.mode = cursor.string()?,
            _ => cursor.skip()?,
        }
        Ok(())
    })?;
    Ok(gateway)
}

fn upstream(cursor: &mut Cursor<'_>) -> Read<Upstream> {
    let mut upstream = Upstream::default();
    cursor.map(|key, cursor| {
        match key {
            b"Config" => upstream.config = map(cursor, |cursor| free_form(cursor, 0))?,
            b"Datacenter" => upstream.datacenter = cursor.string()?,
            b"DestinationName" => upstream.destination_name = cursor.string()?,
            b"DestinationNamespace" => upstream.destination_namespace = cursor.string()?,
            b"DestinationType" => upstream.destination_type = cursor.string()?,
            b"LocalBindAddress" => upstream.local_bind_address = cursor.string()?,
            b"LocalBindPort" => upstream.local_bind_port = cursor.int()?,
            b"MeshGateway" => upstream.mesh_gateway = mesh_gateway(cursor)?,
            _ => cursor.skip()?,
        }
        Ok(())
    })?;
    Ok(upstream)
}

/// A check; none for nil.
///
/// # Errors
/// [`Malformed`].
pub fn check(cursor: &mut Cursor<'_>) -> Read<Option<Check>> {
    let mut check = Check::default();
    let present = cursor.map(|key, cursor| {
        match key {
            b"CheckID" => check.check_id = name(cursor)?,
            b"Definition" => check.definition = definition(cursor)?,
            b"Name" => check.name = cursor.string()?,
            b"Node" => check.node = name(cursor)?,
            b"Notes" => check.notes = cursor.string()?,
            b"Output" => check.output = cursor.string()?,
            b"ServiceID" => check.service_id = cursor.string()?,
            b"ServiceName" => check.service_name = cursor.string()?,
            b"ServiceTags" => check.service_tags = strings(cursor)?,
            b"Status" => check.status = cursor.string()?,
            b"Type" => check.kind = cursor.string()?,
            _ => index_or_skip(key, cursor, &mut check.indexes)?,
        }
        Ok(())
    })?;
    Ok(present.then_some(check))
}

fn definition(cursor: &mut Cursor<'_>) -> Read<CheckDefinition> {
    let mut definition = CheckDefinition::default();
    cursor.map(|key, cursor| {
        match key {
            b"AliasNode" => definition.alias_node = cursor.string()?,
            b"AliasService" => definition.alias_service = cursor.string()?,
            b"Body" => definition.body = cursor.string()?,
            b"DeregisterCriticalServiceAfter" => {
                definition.deregister_critical_service_after = cursor.int()?;
            }
            b"DockerContainerID" => definition.docker_container_id = cursor.string()?,
            b"GRPC" => definition.grpc = cursor.string()?,
            b"GRPCUseTLS" => definition.grpc_use_tls = cursor.bool()?,
            b"HTTP" => definition.http = cursor.string()?,
            b"Header" => definition.header = map(cursor, strings)?,
            b"Interval" => definition.interval = cursor.int()?,
            b"Method" => definition.method = cursor.string()?,
            b"OutputMaxSize" => definition.output_max_size = cursor.uint()?,
            b"ScriptArgs" => definition.script_args = strings(cursor)?,
            b"Shell" => definition.shell = cursor.string()?,
            b"TCP" => definition.tcp = cursor.string()?,
            b"TLSSkipVerify" => definition.tls_skip_verify = cursor.bool()?,
            b"TTL" => definition.ttl = cursor.int()?,
            b"Timeout" => definition.timeout = cursor.int()?,
            _ => cursor.skip()?,
        }
        Ok(())
    })?;
    Ok(definition)
}

/// The configuration of autopilot.
///
/// # Errors
/// [`Malformed`].
pub fn autopilot(cursor: &mut Cursor<'_>) -> Read<AutopilotConfig> {
    let mut config = AutopilotConfig::default();
    cursor.map(|key, cursor| {
        match key {
            b"CleanupDeadServers" => config.cleanup_dead_servers = cursor.bool()?,
            b"CreateIndex" => config.indexes.create_index = cursor.uint()?,
            b"DisableUpgradeMigration" => config.disable_upgrade_migration = cursor.bool()?,
            b"LastContactThreshold" => config.last_contact_threshold = cursor.int()?,
            b"MaxTrailingLogs" => config.max_trailing_logs = cursor.uint()?,
            b"MinQuorum" => config.min_quorum = cursor.uint()?,
            b"ModifyIndex" => config.indexes.modify_index = cursor.uint()?,
            b"RedundancyZoneTag" => config.redundancy_zone_tag = cursor.string()?,
            b"ServerStabilizationTime" => config.server_stabilization_time = cursor.int()?,
            b"UpgradeVersionTag" => config.upgrade_version_tag = cursor.string()?,
            _ => cursor.skip()?,
        }
        Ok(())
    })?;
    Ok(config)
}

/// A coordinate; an empty one for nil.
///
/// # Errors
/// [`Malformed`].
pub fn coord(cursor: &mut Cursor<'_>) -> Read<Coordinate> {
    let mut coord = Coordinate::default();
    cursor.map(|key, cursor| {
        match key {
            b"Adjustment" => coord.adjustment = cursor.float()?,
            b"Error" => coord.error = cursor.float()?,
            b"Height" => coord.height = cursor.float()?,
            b"Vec" => coord.vec = cursor.array(Cursor::float)?.unwrap_or_default(),
            _ => cursor.skip()?,
        }
        Ok(())
    })?;
    Ok(coord)
}

/// The coordinate of a node.
///
/// # Errors
/// [`Malformed`].
pub fn coordinate(cursor: &mut Cursor<'_>) -> Read<NodeCoordinate> {
    let mut found = NodeCoordinate::default();
    cursor.map(|key, cursor| {
        match key {
            b"Coord" => found.coord = coord(cursor)?,
            b"Node" => found.node = name(cursor)?,
            b"Segment" => found.segment = cursor.string()?,
            _ => cursor.skip()?,
        }
        Ok(())
    })?;
    Ok(found)
}

/// A session that can be stored.
fn session(cursor: &mut Cursor<'_>) -> Read<Session> {
    let session = any_session(cursor)?;
    if session.id.is_empty() || session.id.len() > usize::from(u8::MAX) {
        return Err(Malformed::Other("no usable id".into()));
    }
    Ok(session)
}

/// A session, with or without an id.
///
/// # Errors
/// [`Malformed`].
pub fn any_session(cursor: &mut Cursor<'_>) -> Read<Session> {
    let mut session = Session::default();
    cursor.map(|key, cursor| {
        match key {
            b"Behavior" => {
                session.behavior = match cursor.raw()? {
                    b"" | b"release" => SessionBehavior::Release,
                    b"delete" => SessionBehavior::Delete,
                    other => {
                        return Err(Malformed::Other(format!(
                            "behavior {:?}",
                            String::from_utf8_lossy(other)
                        )));
                    }
                }
            }
            b"Checks" => session.checks = strings(cursor)?,
            b"ID" => session.id = name(cursor)?,
            b"LockDelay" => session.lock_delay = cursor.int()?,
            b"Name" => session.name = cursor.string()?,
            b"Node" => session.node = name(cursor)?,
            b"NodeChecks" => session.node_checks = strings(cursor)?,
            b"ServiceChecks" => session.service_checks = cursor.array(service_check)?,
            b"TTL" => session.ttl = cursor.string()?,
            _ => index_or_skip(key, cursor, &mut session.indexes)?,
        }
        Ok(())
    })?;
    Ok(session)
}

fn service_check(cursor: &mut Cursor<'_>) -> Read<ServiceCheckRef> {
    let mut check = ServiceCheckRef::default();
    cursor.map(|key, cursor| {
        match key {
            b"ID" => check.id = cursor.string()?,
            b"Namespace" => check.namespace = cursor.string()?,
            _ => cursor.skip()?,
        }
        Ok(())
    })?;
    Ok(check)
}

/// A key with its value.
///
/// # Errors
/// [`Malformed`].
pub fn dir_entry(cursor: &mut Cursor<'_>) -> Read<KvEntry> {
    let mut entry = KvEntry::default();
    cursor.map(|key, cursor| {
        match key {
            b"Flags" => entry.flags = cursor.uint()?,
            b"Key" => entry.key = Bytes::copy_from_slice(cursor.raw()?),
            b"LockIndex" => entry.lock_index = cursor.uint()?,
            b"Session" => entry.session = Some(name(cursor)?).filter(|id| !id.is_empty()),
            b"Value" => entry.value = Bytes::copy_from_slice(cursor.raw()?),
            _ => index_or_skip(key, cursor, &mut entry.indexes)?,
        }
        Ok(())
    })?;
    if entry.session.as_ref().is_some_and(|id| id.len() > usize::from(u8::MAX)) {
        return Err(Malformed::Other("session id too long".into()));
    }
    Ok(entry)
}

fn index(cursor: &mut Cursor<'_>) -> Read<ArchiveRecord> {
    let (mut table, mut index) = (String::new(), 0);
    cursor.map(|key, cursor| {
        match key {
            b"Key" => table = cursor.string()?,
            b"Value" => index = cursor.uint()?,
            _ => cursor.skip()?,
        }
        Ok(())
    })?;
    Ok(ArchiveRecord::Index { key: IndexKey::from_name(&table), index })
}

fn name(cursor: &mut Cursor<'_>) -> Read<Arc<str>> {
    Ok(String::from_utf8_lossy(cursor.raw()?).into())
}

fn strings(cursor: &mut Cursor<'_>) -> Read<Vec<String>> {
    Ok(cursor.array(Cursor::string)?.unwrap_or_default())
}

fn map<'a, T>(
    cursor: &mut Cursor<'a>,
    mut value: impl FnMut(&mut Cursor<'a>) -> Read<T>,
) -> Read<Option<BTreeMap<String, T>>> {
    let mut pairs = BTreeMap::new();
    let present = cursor.map(|key, cursor| {
        pairs.insert(String::from_utf8_lossy(key).into_owned(), value(cursor)?);
        Ok(())
    })?;
    Ok(present.then_some(pairs))
}

/// A map of strings; none for nil.
///
/// # Errors
/// [`Malformed`].
pub fn string_map(cursor: &mut Cursor<'_>) -> Read<Option<StringMap>> {
    map(cursor, Cursor::string)
}

fn free_form(cursor: &mut Cursor<'_>, depth: usize) -> Read<FreeForm> {
    if depth >= MAX_DEPTH {
        return Err(Malformed::Depth);
    }
    Ok(match cursor.token()? {
        Token::Nil => Value::Null,
        Token::Bool(value) => Value::Bool(value),
        Token::Uint(value) => Value::from(value),
        Token::Int(value) => Value::from(value),
        Token::Float(value) => float(value),
        Token::Raw(bytes) => Value::String(String::from_utf8_lossy(bytes).into_owned()),
        Token::Array(count) => {
            let mut items = Vec::new();
            for _ in 0..count {
                items.push(free_form(cursor, depth + 1)?);
            }
            Value::Array(items)
        }
        Token::Map(count) => {
            let mut pairs = serde_json::Map::new();
            for _ in 0..count {
                let key = cursor.string()?;
                pairs.insert(key, free_form(cursor, depth + 1)?);
            }
            Value::Object(pairs)
        }
        Token::Ext => return Err(Malformed::Other("an extension in a free-form value".into())),
    })
}

/// A float as JSON would show it: whole numbers without a fraction, what JSON cannot say as null.
#[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "guarded by FLOAT_EXACT")]
fn float(value: f64) -> Value {
    if value.fract() == 0.0 && value.abs() <= FLOAT_EXACT as f64 {
        Value::from(value as i64)
    } else {
        Number::from_f64(value).map_or(Value::Null, Value::Number)
    }
}
