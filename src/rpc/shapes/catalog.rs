//! `Catalog` and `Health`.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::endpoints::decode::records::{DeregisterRequest, RegisterRequest};
use crate::rpc::codec::fields::{self, Fields, shapes};
use crate::rpc::codec::{Cursor, Malformed, Pack, Packer, Unpack};
use crate::state::archive::wire;
use crate::state::record::{Check, Node, Service};

shapes! {
    /// Reply of `Catalog.ListNodes`.
    Nodes {
        /// The nodes.
        nodes: Vec<Arc<Node>> = "Nodes",
    }

    /// Reply of `Catalog.ListServices`.
    Services {
        /// Names with the tags of all their instances.
        services: BTreeMap<String, Tags> = "Services",
    }

    /// A name.
    ServiceName {
        /// The name.
        name: String = "Name",
    }

    /// Reply of `Catalog.ServiceList`.
    ServiceList {
        /// The names.
        services: Vec<ServiceName> = "Services",
    }

    /// Reply of `Catalog.ServiceNodes`.
    ServiceNodes {
        /// The instances.
        service_nodes: Vec<ServiceNode> = "ServiceNodes",
    }

    /// A node and its services by id.
    NodeServicesMap {
        /// The node.
        node: Option<Arc<Node>> = "Node",
        /// Its services.
        services: BTreeMap<String, Arc<Service>> = "Services",
    }

    /// Reply of `Catalog.NodeServices`.
    NodeServices {
        /// None for an unknown node.
        node_services: Option<NodeServicesMap> = "NodeServices",
    }

    /// A node and its services.
    NodeServicesList {
        /// None for an unknown node.
        node: Option<Arc<Node>> = "Node",
        /// Its services.
        services: Vec<Arc<Service>> = "Services",
    }

    /// Reply of `Catalog.NodeServiceList`.
    NodeServiceList {
        /// What was found.
        node_services: NodeServicesList = "NodeServices",
    }

    /// Reply of `Catalog.GatewayServices`. Gateways are not built yet: there are none.
    GatewayServices {
        /// None.
        services: Empty = "Services",
    }

    /// Reply of the lists of checks.
    HealthChecks {
        /// The checks.
        health_checks: Vec<Arc<Check>> = "HealthChecks",
    }

    /// An instance with its node and checks.
    CheckServiceNode {
        /// Checks of the node and of the instance.
        checks: Vec<Arc<Check>> = "Checks",
        /// The node.
        node: Arc<Node> = "Node",
        /// The instance.
        service: Arc<Service> = "Service",
    }
}

/// A list that is always empty and never nil.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Empty;

impl Pack for Empty {
    fn pack(&self, out: &mut Packer) {
        out.array(0);
    }
}

impl Unpack for Empty {
    fn unpack(cursor: &mut Cursor<'_>) -> Result<Self, Malformed> {
        cursor.skip().map(|()| Self)
    }
}

/// Tags of a service name: an empty list is no nil here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tags(pub Vec<String>);

impl Pack for Tags {
    fn pack(&self, out: &mut Packer) {
        out.array(self.0.len());
        for tag in &self.0 {
            out.str(tag);
        }
    }
}

impl Unpack for Tags {
    fn unpack(cursor: &mut Cursor<'_>) -> Result<Self, Malformed> {
        Vec::unpack(cursor).map(Self)
    }
}

/// An instance as `Catalog.ServiceNodes` shows it: flat, without checks.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ServiceNode {
    /// Its node.
    pub node: Arc<Node>,
    /// The instance; the flat form carries its indexes, not those of the node.
    pub service: Arc<Service>,
}

impl Pack for ServiceNode {
    fn pack(&self, out: &mut Packer) {
        let Self { node, service } = self;
        out.map(20);
        text(out, "Address", &node.address);
        number(out, "CreateIndex", service.indexes.create_index);
        text(out, "Datacenter", &node.datacenter);
        text(out, "ID", &node.id);
        number(out, "ModifyIndex", service.indexes.modify_index);
        text(out, "Node", &node.node);
        out.str("NodeMeta");
        wire::string_map(out, node.meta.as_ref());
        text(out, "ServiceAddress", &service.address);
        out.str("ServiceConnect");
        wire::connect(out, &service.connect);
        out.str("ServiceEnableTagOverride");
        out.bool(service.enable_tag_override);
        text(out, "ServiceID", &service.id);
        text(out, "ServiceKind", &service.kind);
        out.str("ServiceMeta");
        wire::string_map(out, service.meta.as_ref());
        text(out, "ServiceName", &service.service);
        out.str("ServicePort");
        out.int(service.port);
        out.str("ServiceProxy");
        wire::proxy(out, &service.proxy);
        out.str("ServiceTaggedAddresses");
        wire::addresses(out, service.tagged_addresses.as_ref());
        out.str("ServiceTags");
        wire::strings(out, &service.tags);
        out.str("ServiceWeights");
        wire::weights(out, service.weights);
        out.str("TaggedAddresses");
        wire::string_map(out, node.tagged_addresses.as_ref());
    }
}

impl Unpack for ServiceNode {
    fn unpack(cursor: &mut Cursor<'_>) -> Result<Self, Malformed> {
        let (mut node, mut service) = (Node::default(), Service::default());
        cursor.map(|key, cursor| match key {
            b"Address" => assign(&mut node.address, cursor),
            b"Datacenter" => assign(&mut node.datacenter, cursor),
            b"ID" => assign(&mut node.id, cursor),
            b"Node" => assign(&mut node.node, cursor),
            b"NodeMeta" => assign(&mut node.meta, cursor),
            b"TaggedAddresses" => assign(&mut node.tagged_addresses, cursor),
            b"ServiceName" => wire::read_service_field(&mut service, b"Service", cursor),
            other => {
                let field = other.strip_prefix(b"Service").unwrap_or(other);
                wire::read_service_field(&mut service, field, cursor)
            }
        })?;
        Ok(Self { node: Arc::new(node), service: Arc::new(service) })
    }
}

fn text(out: &mut Packer, key: &str, value: &str) {
    out.str(key);
    out.str(value);
}

fn number(out: &mut Packer, key: &str, value: u64) {
    out.str(key);
    out.uint(value);
}

fn assign<T: Unpack>(field: &mut T, cursor: &mut Cursor<'_>) -> Result<(), Malformed> {
    *field = T::unpack(cursor)?;
    Ok(())
}

/// Structs of other rooms, by their fields: key, how to write it from `$own`, where to read it to.
macro_rules! foreign {
    ($type:ty, $own:ident: $($key:literal => $place:expr, $pack:expr;)*) => {
        impl Fields for $type {
            const KEYS: &'static [&'static str] = &[$($key),*];

            fn pack_field(&self, at: usize, out: &mut Packer) {
                let $own = self;
                let mut place = 0..;
                $(if place.next() == Some(at) {
                    return Pack::pack(&$pack, out);
                })*
                out.nil();
            }

            fn unpack_field(&mut self, key: &[u8], cursor: &mut Cursor<'_>) -> Result<bool, Malformed> {
                let $own = self;
                $(if key == $key.as_bytes() {
                    assign(&mut $place, cursor)?;
                    return Ok(true);
                })*
                Ok(false)
            }
        }

        impl Pack for $type {
            fn pack(&self, out: &mut Packer) {
                fields::pack_one(self, out);
            }
        }

        impl Unpack for $type {
            fn unpack(cursor: &mut Cursor<'_>) -> Result<Self, Malformed> {
                fields::unpack_one(cursor)
            }
        }
    };
}

foreign! { Node, node:
    "Address" => node.address, node.address;
    "CreateIndex" => node.indexes.create_index, node.indexes.create_index;
    "Datacenter" => node.datacenter, node.datacenter;
    "ID" => node.id, node.id;
    "Meta" => node.meta, node.meta;
    "ModifyIndex" => node.indexes.modify_index, node.indexes.modify_index;
    "Node" => node.node, node.node;
    "TaggedAddresses" => node.tagged_addresses, node.tagged_addresses;
}

foreign! { RegisterRequest, own:
    "Address" => own.node.address, own.node.address;
    "Check" => own.check, own.check;
    "Checks" => own.checks, own.checks;
    "CreateIndex" => own.node.indexes.create_index, 0_u64;
    "Datacenter" => own.datacenter, own.datacenter;
    "ID" => own.node.id, own.node.id;
    "ModifyIndex" => own.node.indexes.modify_index, 0_u64;
    "Node" => own.node.node, own.node.node;
    "NodeMeta" => own.node.meta, own.node.meta;
    "Service" => own.service, own.service;
    "SkipNodeUpdate" => own.skip_node_update, own.skip_node_update;
    "TaggedAddresses" => own.node.tagged_addresses, own.node.tagged_addresses;
    "Token" => Ignored, "";
}

foreign! { DeregisterRequest, own:
    "CheckID" => own.check_id, own.check_id;
    "Datacenter" => own.datacenter, own.datacenter;
    "Node" => own.node, own.node;
    "ServiceID" => own.service_id, own.service_id;
    "Token" => Ignored, "";
}

/// A value nobody reads.
#[derive(Default)]
struct Ignored;

impl Unpack for Ignored {
    fn unpack(cursor: &mut Cursor<'_>) -> Result<Self, Malformed> {
        cursor.skip().map(|()| Self)
    }
}
