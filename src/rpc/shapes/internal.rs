//! `Internal`.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::{CheckServiceNode, QuerySource};
use crate::endpoints::event::UserEvent;
use crate::endpoints::keyring::PoolKeys;
use crate::rpc::codec::fields::shapes;
use crate::rpc::codec::{Malformed, from_bytes};
use crate::state::record::{Check, Service, StringMap};

shapes! {
    /// A node with everything on it.
    NodeInfo {
        /// Address.
        address: String = "Address",
        /// All checks.
        checks: Vec<Arc<Check>> = "Checks",
        /// Node UUID.
        id: String = "ID",
        /// Metadata.
        meta: Option<StringMap> = "Meta",
        /// Name.
        node: String = "Node",
        /// All services.
        services: Vec<Arc<Service>> = "Services",
        /// Addresses by tag.
        tagged_addresses: Option<StringMap> = "TaggedAddresses",
    }

    /// Reply of `Internal.NodeInfo` and `Internal.NodeDump`.
    NodeDump {
        /// The nodes.
        dump: Vec<NodeInfo> = "Dump",
    }

    /// `Internal.ServiceDump`.
    ServiceDumpRequest {
        /// Datacenter.
        datacenter: String = "Datacenter",
        /// Kind of the services, if it counts.
        service_kind: String = "ServiceKind",
        /// Nearest to whom first.
        source: QuerySource = "Source",
        /// The kind counts.
        use_service_kind: bool = "UseServiceKind",
    }

    /// Reply of `Internal.ServiceDump` and `Health.ServiceNodes`.
    CheckServiceNodes {
        /// The instances.
        nodes: Vec<CheckServiceNode> = "Nodes",
    }

    /// `Internal.EventFire`.
    EventFire {
        /// Datacenter.
        datacenter: String = "Datacenter",
        /// Name of the event.
        name: String = "Name",
        /// The event, encoded: see [`user_event`].
        payload: Bytes = "Payload",
    }

    /// `Internal.KeyringOperation`.
    KeyringRequest {
        /// Datacenter.
        datacenter: String = "Datacenter",
        /// A server of another datacenter asks for its own.
        forwarded: bool = "Forwarded",
        /// Key in base64.
        key: String = "Key",
        /// Do not leave the datacenter.
        local_only: bool = "LocalOnly",
        /// `list`, `install`, `use` or `remove`.
        operation: String = "Operation",
        /// Members an answer goes through.
        relay_factor: u8 = "RelayFactor",
    }

    /// What the members of one pool said.
    KeyringResponse {
        /// Datacenter.
        datacenter: String = "Datacenter",
        /// What went wrong.
        error: String = "Error",
        /// How many members have each key.
        keys: BTreeMap<String, u64> = "Keys",
        /// What members had to say.
        messages: BTreeMap<String, String> = "Messages",
        /// Members.
        num_nodes: u64 = "NumNodes",
        /// How many members encrypt with each key.
        primary_keys: BTreeMap<String, u64> = "PrimaryKeys",
        /// Enterprise segment.
        segment: String = "Segment",
        /// The pool of all datacenters.
        wan: bool = "WAN",
    }

    /// Reply of `Internal.KeyringOperation`.
    KeyringResponses {
        /// One for each pool.
        responses: Vec<KeyringResponse> = "Responses",
    }

    /// A user event as agents encode it for each other.
    EventForm {
        /// UUID.
        id: String = "ID",
        /// Name.
        name: String = "n",
        /// Node filter.
        node_filter: String = "nf",
        /// Payload.
        payload: Bytes = "p",
        /// Service filter.
        service_filter: String = "sf",
        /// Tag filter.
        tag_filter: String = "tf",
        /// Version of the form.
        version: u64 = "v",
    }
}

/// The event within a payload of [`EventFire`].
///
/// # Errors
/// [`Malformed`].
pub fn user_event(payload: &[u8]) -> Result<UserEvent, Malformed> {
    let form: EventForm = from_bytes(payload)?;
    Ok(UserEvent {
        id: form.id,
        name: form.name,
        payload: form.payload,
        node_filter: form.node_filter,
        service_filter: form.service_filter,
        tag_filter: form.tag_filter,
        version: form.version,
        lamport_time: 0,
    })
}

impl From<PoolKeys> for KeyringResponse {
    fn from(pool: PoolKeys) -> Self {
        Self {
            datacenter: pool.datacenter,
            error: pool.error.unwrap_or_default(),
            keys: pool.keys,
            messages: pool.messages,
            num_nodes: pool.nodes,
            primary_keys: pool.primary_keys,
            segment: String::new(),
            wan: pool.wan,
        }
    }
}

impl From<KeyringResponse> for PoolKeys {
    fn from(response: KeyringResponse) -> Self {
        Self {
            wan: response.wan,
            datacenter: response.datacenter,
            messages: response.messages,
            keys: response.keys,
            primary_keys: response.primary_keys,
            nodes: response.num_nodes,
            error: Some(response.error).filter(|error| !error.is_empty()),
        }
    }
}
