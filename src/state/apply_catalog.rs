//! The rules of the catalog: nodes, services, checks and coordinates.
//!
//! Writing what is there already changes nothing. What changes moves the index of its table and of
//! every service whose answers show it: a node's record shows in all its services, so does a node
//! check. Removing a node or check, or a check turning critical, ends sessions in the same command.
//!
//! Indexes are Consul 1.8's, oddities included, because clients compare them: any registration of a
//! check moves the index of checks, the removal of a service moves it too, the removal of a node
//! check moves that of services; a service renamed under its id and a check moved to another service
//! leave the index of the name they left behind. Whoever waits is woken wherever an *answer*
//! changes, whether its index moved or not.

use std::sync::Arc;

use imbl::OrdMap;

use super::apply_sessions;
use super::command::{Deregister, Register};
use super::metadata;
use super::record::{Check, Indexes, Node, NodeCoordinate, Service};
use super::rows::RowKey;
use super::text::quote;
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
        if check.node != node.node {
            return refuse(format!(
                "check node {} does not match node {}",
                quote(&*check.node),
                quote(&*node.node)
            ));
        }
        set_check(writer, check).map_err(|abort| match abort {
            Abort::Refused(text) => {
                Abort::Refused(format!("failed inserting check: {text} on node {}", quote(&*check.node)))
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
    // Names and ids are found without regard to case, but another case is a change.
    !(node.id == existing.id
        && node.node == existing.node
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
                        "Error while renaming Node ID: {} ({}): {reason}",
                        quote(&node.id),
                        node.address
                    ));
                }
                delete_node(writer, &known.node.clone())?;
            }
            Some(_) => {}
            None => {
                if let Some(reason) = name_taken(writer, node, true) {
                    return refuse(format!("Error while renaming Node ID: {}: {reason}", quote(&node.id)));
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
    if owner.node.id == node.id {
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
    let from = (name.clone(), Folded::from(""));
    let of_node = writer.view.coordinates.range(from..).map(|(key, _)| key);
    let coordinates: Vec<_> = of_node.take_while(|(owner, _)| *owner == name).cloned().collect();
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
        wake_service(writer, existing);
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
    writer.view.indexes.checks = writer.index;
    touch_service_table(writer, &name, &service);
    let service_name = fold(&service.service);
    if writer.view.idle_services.remove(&service_name).is_some() {
        // The last instance: the name is forgotten, the extinction remembered.
        writer.view.indexes.service_extinction = writer.index;
        writer.mark(RowKey::ServiceIndex(service_name));
    } else {
        move_service_index(writer, service_name);
    }
    wake_service(writer, &service);
    Ok(())
}

fn touch_service_table(writer: &mut Writer<'_>, node: &Folded, service: &Service) {
    writer.view.indexes.services = writer.index;
    writer.mark(RowKey::Service(node.clone(), fold(&service.id)));
    writer.touch(Topic::Services);
    writer.touch(Topic::Node(node.clone()));
}

/// Moves the index of a service name.
fn move_service_index(writer: &mut Writer<'_>, name: Folded) {
    writer.view.set_service_index(&name, writer.index);
    writer.mark(RowKey::ServiceIndex(name));
}

/// Wakes whoever watches a service, by its name or through Connect.
fn wake_service(writer: &mut Writer<'_>, service: &Service) {
    if let Some(destination) = connect_destination(service) {
        writer.touch(Topic::Connect(destination));
    }
    writer.touch(Topic::Service(fold(&service.service)));
}

/// Moves the index of a service's name and wakes whoever watches it.
fn touch_service(writer: &mut Writer<'_>, service: &Service) {
    move_service_index(writer, fold(&service.service));
    wake_service(writer, service);
}

/// Moves the index of every service of a node and wakes whoever watches them.
fn touch_services_of(writer: &mut Writer<'_>, node: &Folded) {
    let Some(entry) = writer.view.nodes.get(node).cloned() else { return };
    entry.services.values().for_each(|service| touch_service(writer, service));
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
    // The index of checks moves by any registration, that of the record only by a change; the kind
    // of probe is no change but is stored.
    touch_check_table(writer, &node);
    let existing = entry.checks.get(&id);
    if let Some(existing) = existing {
        check.indexes = existing.indexes;
        if check == **existing {
            return Ok(());
        }
        wake_check(writer, &entry, existing);
    }
    let changed =
        existing.is_none_or(|existing| Check { kind: existing.kind.clone(), ..check.clone() } != **existing);
    if changed {
        check.indexes = writer.indexes(existing.map(|existing| existing.indexes));
        match service {
            Some(service) => move_service_index(writer, fold(&service.service)),
            None => move_service_indexes(writer, &entry),
        }
    }
    let check = Arc::new(check);
    if let Some(entry) = writer.view.nodes.get_mut(&node) {
        Arc::make_mut(entry).checks.insert(id.clone(), Arc::clone(&check));
    }
    wake_check(writer, &entry, &check);
    writer.mark(RowKey::Check(node, id));
    Ok(())
}

fn touch_check_table(writer: &mut Writer<'_>, node: &Folded) {
    writer.view.indexes.checks = writer.index;
    writer.touch(Topic::Checks);
    writer.touch(Topic::NodeChecks(node.clone()));
}

/// Wakes whoever watches a service whose answers show a check: by instance and by the name the
/// check carries, which is not the same after the service was renamed.
fn wake_check(writer: &mut Writer<'_>, entry: &NodeEntry, check: &Check) {
    if check.service_id.is_empty() {
        entry.services.values().for_each(|service| wake_service(writer, service));
    } else if let Some(service) = entry.services.get(&fold(&check.service_id)) {
        wake_service(writer, service);
    }
    if !check.service_name.is_empty() {
        writer.touch(Topic::Service(fold(&check.service_name)));
    }
}

/// Moves the index of every service of a node.
fn move_service_indexes(writer: &mut Writer<'_>, entry: &NodeEntry) {
    for service in entry.services.values() {
        move_service_index(writer, fold(&service.service));
    }
}

/// Removes a check; sessions that depend on it end.
///
/// # Errors
/// [`Abort::Failed`] if the store fails.
pub fn delete_check(writer: &mut Writer<'_>, node: &str, id: &str) -> Result<(), Abort> {
    let (node, id) = (fold(node), fold(id));
    let Some(entry) = writer.view.nodes.get_mut(&node) else { return Ok(()) };
    let Some(check) = entry.checks.get(&id).cloned() else { return Ok(()) };
    Arc::make_mut(entry).checks.remove(&id);
    let entry = Arc::clone(entry);
    touch_check_table(writer, &node);
    wake_check(writer, &entry, &check);
    if check.service_id.is_empty() {
        move_service_indexes(writer, &entry);
        writer.view.indexes.services = writer.index;
    } else {
        move_service_index(writer, fold(&check.service_name));
    }
    writer.mark(RowKey::Check(node.clone(), id.clone()));
    apply_sessions::end_for_check(writer, &node, &id)
}

/// Stores coordinates of registered nodes. The index moves with every update, as Consul's does.
pub fn set_coordinates(writer: &mut Writer<'_>, updates: &[NodeCoordinate]) {
    if updates.is_empty() {
        return;
    }
    writer.view.indexes.coordinates = writer.index;
    for update in updates {
        let node = fold(&update.node);
        if !writer.view.nodes.contains_key(&node) {
            continue;
        }
        let segment: Folded = update.segment.as_str().into();
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
