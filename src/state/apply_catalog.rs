//! The rules of the catalog: nodes, services, checks and coordinates.
//!
//! Writing what is there already changes nothing. What changes moves the index of its table and of
//! every service whose answers show it: a node's record shows in all its services, so does a node
//! check. Removing a node or check, or a check turning critical, ends sessions in the same command.

use std::sync::Arc;

use imbl::OrdMap;

use super::apply_sessions;
use super::command::{Deregister, Register};
use super::metadata;
use super::record::{Check, Indexes, Node, NodeCoordinate, Service};
use super::rows::RowKey;
use super::view::{Folded, NodeEntry, connect_destination, fold};
use super::watch::Topic;
use super::writer::{Abort, Writer, refuse};

/// The check gossip keeps for every agent.
const SERF_HEALTH: &str = "serfhealth";

/// Registers a node and what comes with it.
///
/// # Errors
/// [`Abort::Refused`] with the first rule that is broken; the caller takes everything back.
pub fn register(writer: &mut Writer<'_>, command: &Register) -> Result<(), Abort> {
    let node = &command.node;
    let existing = writer.view.node(&node.node).map(|entry| &entry.node);
    let changes = existing.is_none_or(|existing| !command.skip_node_update && changes_node(node, existing));
    if changes {
        set_node(writer, node).map_err(|abort| within("failed inserting node", abort))?;
    }
    if let Some(service) = &command.service {
        set_service(writer, &node.node, service)
            .map_err(|abort| within("failed inserting service", abort))?;
    }
    for check in &command.checks {
        if !check.node.eq_ignore_ascii_case(&node.node) {
            return refuse(format!("check node {:?} does not match node {:?}", &*check.node, &*node.node));
        }
        set_check(writer, check).map_err(|abort| match abort {
            Abort::Refused(text) => {
                Abort::Refused(format!("failed inserting check: {text} on node {:?}", &*check.node))
            }
            failed @ Abort::Failed(_) => failed,
        })?;
    }
    Ok(())
}

fn within(doing: &str, abort: Abort) -> Abort {
    match abort {
        Abort::Refused(text) => Abort::Refused(format!("{doing}: {text}")),
        failed @ Abort::Failed(_) => failed,
    }
}

fn changes_node(node: &Node, existing: &Node) -> bool {
    !(node.id.eq_ignore_ascii_case(&existing.id)
        && node.node.eq_ignore_ascii_case(&existing.node)
        && node.address == existing.address
        && node.datacenter == existing.datacenter
        && node.tagged_addresses == existing.tagged_addresses
        && node.meta == existing.meta)
}

/// Removes a service, a check or a whole node; what is not there is passed over.
///
/// # Errors
/// [`Abort::Failed`] if the store fails.
pub fn deregister(writer: &mut Writer<'_>, command: &Deregister) -> Result<(), Abort> {
    if !command.service_id.is_empty() {
        delete_service(writer, &command.node, &command.service_id)
    } else if !command.check_id.is_empty() {
        delete_check(writer, &command.node, &command.check_id)
    } else {
        delete_node(writer, &command.node)
    }
}

/// Stores a node.
///
/// A node is known by its id: the same id under another name is a rename, which removes the old
/// node and what lives on it. A name is taken while its owner, under another id, is alive.
///
/// # Errors
/// [`Abort::Refused`] if the name is taken.
pub fn set_node(writer: &mut Writer<'_>, node: &Node) -> Result<(), Abort> {
    let name = fold(&node.node);
    let mut existing: Option<Arc<Node>> = None;
    if !node.id.is_empty() {
        existing = writer.view.node_by_id(&node.id).map(|entry| Arc::clone(&entry.node));
        match &existing {
            Some(known) if known.node != node.node => {
                if let Some(reason) = name_taken(writer, node, false) {
                    return refuse(format!(
                        "Error while renaming Node ID: {:?} ({}): {reason}",
                        node.id, node.address
                    ));
                }
                delete_node(writer, &known.node.clone())?;
            }
            Some(_) => {}
            None => {
                if let Some(reason) = name_taken(writer, node, true) {
                    return refuse(format!("Error while renaming Node ID: {:?}: {reason}", node.id));
                }
            }
        }
    }
    let existing = existing.or_else(|| writer.view.node(&node.node).map(|entry| Arc::clone(&entry.node)));

    if let Some(existing) = &existing
        && writer.view.nodes.contains_key(&name)
        && (Node { indexes: existing.indexes, ..node.clone() }) == **existing
    {
        return Ok(());
    }
    let indexes = writer.indexes(existing.map(|existing| existing.indexes));
    let record = Arc::new(Node { indexes, ..node.clone() });
    if let Some(before) = writer.view.nodes.get(&name).map(|entry| Arc::clone(&entry.node)) {
        writer.view.unindex_node(&name, &before);
    }
    writer.view.index_node(&name, &record);
    if let Some(entry) = writer.view.nodes.get_mut(&name) {
        Arc::make_mut(entry).node = record;
    } else {
        let entry = NodeEntry { node: record, services: OrdMap::new(), checks: OrdMap::new() };
        writer.view.nodes.insert(name.clone(), Arc::new(entry));
    }
    writer.view.indexes.nodes = writer.index;
    writer.mark(RowKey::Node(name.clone()));
    writer.touch(Topic::Nodes);
    writer.touch(Topic::Node(name.clone()));
    touch_services_of(writer, &name);
    Ok(())
}

/// Why a node may not take its name, if another owns it.
fn name_taken(writer: &Writer<'_>, node: &Node, take_from_nodes_without_id: bool) -> Option<String> {
    let owner = writer.view.node(&node.node)?;
    if owner.node.id.eq_ignore_ascii_case(&node.id) {
        return None;
    }
    if owner.node.id.is_empty() && take_from_nodes_without_id {
        return None;
    }
    // Without that check the owner was registered from outside and nobody watches it.
    let alive = owner.checks.get(SERF_HEALTH).is_some_and(|check| check.status != "critical");
    alive.then(|| {
        format!(
            "Node name {} is reserved by node {} with name {} ({})",
            node.node, owner.node.id, owner.node.node, owner.node.address
        )
    })
}

/// Removes a node with everything on it; sessions bound to it end.
///
/// # Errors
/// [`Abort::Failed`] if the store fails.
pub fn delete_node(writer: &mut Writer<'_>, node: &str) -> Result<(), Abort> {
    let name = fold(node);
    let Some(entry) = writer.view.nodes.get(&name).cloned() else { return Ok(()) };
    for id in entry.services.keys() {
        delete_service(writer, &name, id)?;
    }
    for id in entry.checks.keys() {
        delete_check(writer, &name, id)?;
    }
    let coordinates: Vec<_> =
        writer.view.coordinates.keys().filter(|(owner, _)| *owner == name).cloned().collect();
    for key in coordinates {
        writer.view.coordinates.remove(&key);
        writer.view.indexes.coordinates = writer.index;
        writer.mark(RowKey::Coordinate(key.0, key.1));
        writer.touch(Topic::Coordinates);
        writer.touch(Topic::Coordinate(name.clone()));
    }
    writer.view.unindex_node(&name, &entry.node);
    writer.view.nodes.remove(&name);
    writer.view.indexes.nodes = writer.index;
    writer.mark(RowKey::Node(name.clone()));
    writer.touch(Topic::Nodes);
    writer.touch(Topic::Node(name.clone()));
    writer.touch(Topic::NodeChecks(name.clone()));
    apply_sessions::end_for_node(writer, &name)
}

/// Stores a service on a node.
///
/// # Errors
/// [`Abort::Refused`] if the node is missing or the metadata is not allowed.
pub fn set_service(writer: &mut Writer<'_>, node: &str, service: &Service) -> Result<(), Abort> {
    if let Some(meta) = &service.meta
        && let Err(reason) = metadata::check_service(&service.kind, meta)
    {
        return refuse(format!(
            "Invalid Service Meta for node {node} and serviceID {}: {reason}",
            service.id
        ));
    }
    let name = fold(node);
    let Some(entry) = writer.view.nodes.get(&name) else {
        return refuse("Missing node registration");
    };
    let existing = entry.services.get(&fold(&service.id)).cloned();
    if let Some(existing) = &existing {
        if (Service { indexes: existing.indexes, ..service.clone() }) == **existing {
            return Ok(());
        }
        // The name or the Connect destination may have changed: leave the old lists first.
        writer.view.detach_service(&name, existing);
        if fold(&existing.service) != fold(&service.service) {
            instance_gone(writer, existing);
        }
    }
    let indexes = writer.indexes(existing.map(|existing| existing.indexes));
    let service = Arc::new(Service { indexes, ..service.clone() });
    writer.view.attach_service(&name, Arc::clone(&service));
    touch_service_table(writer, &name, &service);
    touch_service(writer, &service);
    Ok(())
}

/// Removes a service and its checks.
///
/// # Errors
/// [`Abort::Failed`] if the store fails.
pub fn delete_service(writer: &mut Writer<'_>, node: &str, id: &str) -> Result<(), Abort> {
    let (name, id) = (fold(node), fold(id));
    let Some(entry) = writer.view.nodes.get(&name).cloned() else { return Ok(()) };
    let Some(service) = entry.services.get(&id).cloned() else { return Ok(()) };
    for (check, record) in &entry.checks {
        if fold(&record.service_id) == id {
            delete_check(writer, &name, check)?;
        }
    }
    writer.view.detach_service(&name, &service);
    touch_service_table(writer, &name, &service);
    instance_gone(writer, &service);
    Ok(())
}

fn touch_service_table(writer: &mut Writer<'_>, node: &Folded, service: &Service) {
    writer.view.indexes.services = writer.index;
    writer.mark(RowKey::Service(node.clone(), fold(&service.id)));
    writer.touch(Topic::Services);
    writer.touch(Topic::Node(node.clone()));
}

/// After an instance has left its name: the name's index moves, or, with the last instance gone,
/// the name is forgotten and the extinction remembered.
fn instance_gone(writer: &mut Writer<'_>, service: &Service) {
    let name = fold(&service.service);
    if writer.view.services.get(&name).is_some_and(|entry| entry.instances.is_empty()) {
        writer.view.services.remove(&name);
        writer.view.indexes.service_extinction = writer.index;
    }
    touch_service(writer, service);
}

/// Moves the index of a service name and wakes whoever watches it.
fn touch_service(writer: &mut Writer<'_>, service: &Service) {
    let name = fold(&service.service);
    if let Some(entry) = writer.view.services.get_mut(&name) {
        entry.index = writer.index;
    }
    writer.mark(RowKey::ServiceIndex(name.clone()));
    if let Some(destination) = connect_destination(service) {
        writer.touch(Topic::Connect(destination));
    }
    writer.touch(Topic::Service(name));
}

/// Moves the index of every service of a node.
fn touch_services_of(writer: &mut Writer<'_>, node: &Folded) {
    let services: Vec<_> = match writer.view.nodes.get(node) {
        Some(entry) => entry.services.values().cloned().collect(),
        None => return,
    };
    for service in services {
        touch_service(writer, &service);
    }
}

/// Stores a check. A critical one ends the sessions that depend on it, changed or not.
///
/// # Errors
/// [`Abort::Refused`] if its node or service is missing.
pub fn set_check(writer: &mut Writer<'_>, check: &Check) -> Result<(), Abort> {
    let (node, id) = (fold(&check.node), fold(&check.check_id));
    let Some(entry) = writer.view.nodes.get(&node).cloned() else {
        return refuse("Missing node registration");
    };
    let mut check = check.clone();
    if check.status.is_empty() {
        check.status = "critical".into();
    }
    let service = if check.service_id.is_empty() {
        None
    } else {
        let Some(service) = entry.services.get(&fold(&check.service_id)) else {
            return refuse("Missing service registration");
        };
        check.service_name = service.service.to_string();
        check.service_tags.clone_from(&service.tags);
        Some(Arc::clone(service))
    };
    if check.status == "critical" {
        apply_sessions::end_for_check(writer, &node, &id)?;
    }
    let existing = entry.checks.get(&id).cloned();
    if let Some(existing) = &existing {
        check.indexes = existing.indexes;
        if check == **existing {
            return Ok(());
        }
    }
    check.indexes = writer.indexes(existing.map(|existing| existing.indexes));
    if let Some(entry) = writer.view.nodes.get_mut(&node) {
        Arc::make_mut(entry).checks.insert(id.clone(), Arc::new(check));
    }
    touch_check(writer, node.clone(), id);
    match service {
        Some(service) => touch_service(writer, &service),
        None => touch_services_of(writer, &node),
    }
    Ok(())
}

fn touch_check(writer: &mut Writer<'_>, node: Folded, id: Folded) {
    writer.view.indexes.checks = writer.index;
    writer.mark(RowKey::Check(node.clone(), id));
    writer.touch(Topic::Checks);
    writer.touch(Topic::NodeChecks(node));
}

/// Removes a check; sessions that depend on it end.
///
/// # Errors
/// [`Abort::Failed`] if the store fails.
pub fn delete_check(writer: &mut Writer<'_>, node: &str, id: &str) -> Result<(), Abort> {
    let (node, id) = (fold(node), fold(id));
    let Some(entry) = writer.view.nodes.get_mut(&node) else { return Ok(()) };
    let Some(check) = entry.checks.get(&id).cloned() else { return Ok(()) };
    let entry = Arc::make_mut(entry);
    entry.checks.remove(&id);
    let service = entry.services.get(&fold(&check.service_id)).cloned();
    touch_check(writer, node.clone(), id.clone());
    if check.service_id.is_empty() {
        touch_services_of(writer, &node);
    } else if let Some(service) = service {
        touch_service(writer, &service);
    }
    apply_sessions::end_for_check(writer, &node, &id)
}

/// Stores coordinates of registered nodes.
pub fn set_coordinates(writer: &mut Writer<'_>, updates: &[NodeCoordinate]) {
    for update in updates {
        let node = fold(&update.node);
        if !writer.view.nodes.contains_key(&node) {
            continue;
        }
        let segment: Arc<str> = update.segment.as_str().into();
        writer.view.indexes.coordinates = writer.index;
        writer.view.coordinates.insert((node.clone(), segment.clone()), Arc::new(update.clone()));
        writer.mark(RowKey::Coordinate(node.clone(), segment));
        writer.touch(Topic::Coordinates);
        writer.touch(Topic::Coordinate(node));
    }
}

/// The indexes a check-and-set on a catalog record compares: 0 wants it absent.
pub fn cas_holds(wanted: u64, existing: Option<Indexes>) -> bool {
    wanted == existing.map_or(0, |indexes| indexes.modify_index)
}
