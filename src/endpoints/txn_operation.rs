//! The operations of a transaction: how a body says them, and what can be told to be wrong with
//! them before any state is looked at.

use std::net::IpAddr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use super::Endpoints;
use super::decode::records::{txn_check, txn_node, txn_service};
use super::decode::{DecodeError, Decoded, Json, Shape, Unknown};
use super::kv::check_lock_session;
use crate::state::command::{KvCommand, KvVerb, TxnCatalogVerb, TxnKvVerb, TxnOp};
use crate::state::record::{Check, Node, Service};

const TXN_OP: Shape =
    Shape { name: "api.TxnOp", fields: &["KV", "Node", "Service", "Check"], unknown: Unknown::Refuse };

const KV_OP: Shape = Shape {
    name: "api.KVTxnOp",
    fields: &["Verb", "Key", "Value", "Flags", "Index", "Session", "Namespace"],
    unknown: Unknown::Refuse,
};

const NODE_OP: Shape = Shape { name: "api.NodeTxnOp", fields: &["Verb", "Node"], unknown: Unknown::Refuse };

const SERVICE_OP: Shape =
    Shape { name: "api.ServiceTxnOp", fields: &["Verb", "Node", "Service"], unknown: Unknown::Refuse };

const CHECK_OP: Shape =
    Shape { name: "api.CheckTxnOp", fields: &["Verb", "Check"], unknown: Unknown::Refuse };

/// An operation as its body says it.
#[derive(Debug, Clone, PartialEq)]
pub enum Operation {
    /// On a key.
    Kv {
        /// Verb, known or not.
        verb: String,
        /// Its operands.
        command: KvCommand,
    },
    /// On a node.
    Node {
        /// Verb, known or not.
        verb: String,
        /// Its operand.
        node: Node,
    },
    /// On a service.
    Service {
        /// Verb, known or not.
        verb: String,
        /// Node name.
        node: Arc<str>,
        /// Its operand.
        service: Box<Service>,
    },
    /// On a check.
    Check {
        /// Verb, known or not.
        verb: String,
        /// Its operand.
        check: Box<Check>,
    },
}

/// An operation with what is wrong with it.
#[derive(Debug, Clone, PartialEq)]
pub enum Checked {
    /// Nothing.
    Good(TxnOp),
    /// What Consul tells before it runs any operation.
    Early(String, TxnOp),
    /// What Consul tells when it runs this one.
    Late(String, TxnOp),
}

/// Reads one operation; of several in one object Consul takes the first kind in this order. An
/// object without any is passed over.
///
/// # Errors
/// [`DecodeError`] with Go's words.
pub fn operation(json: Json) -> Decoded<Option<Operation>> {
    if json == Json::Null {
        return Err(json.mismatch("api.TxnOp"));
    }
    let (mut kv, mut node, mut service, mut check) = (None, None, None, None);
    TXN_OP.decode(json, |field, value| {
        match field {
            "KV" => kv = Some(kv_operation(value)?),
            "Node" => node = Some(node_operation(value)?),
            "Service" => service = Some(service_operation(value)?),
            _ => check = Some(check_operation(value)?),
        }
        Ok(())
    })?;
    Ok(kv.or(node).or(service).or(check))
}

fn kv_operation(json: Json) -> Decoded<Operation> {
    let mut verb = String::new();
    let mut command = KvCommand {
        verb: KvVerb::Set,
        key: Bytes::new(),
        value: Bytes::new(),
        flags: 0,
        cas: 0,
        session: None,
    };
    KV_OP.decode(json, |field, value| {
        match field {
            "Verb" => verb = value.string()?,
            "Key" => command.key = value.string()?.into(),
            "Value" => command.value = base64_bytes(value)?,
            "Flags" => command.flags = value.uint()?,
            "Index" => command.cas = value.uint()?,
            "Session" => command.session = Some(value.shared()?).filter(|session| !session.is_empty()),
            _ => {
                value.string()?;
            }
        }
        Ok(())
    })?;
    Ok(Operation::Kv { verb, command })
}

fn base64_bytes(json: Json) -> Decoded<Bytes> {
    let Json::String(mut text) = json else { return Err(json.mismatch("[]uint8")) };
    text.retain(|character| !matches!(character, '\r' | '\n'));
    STANDARD
        .decode(text)
        .map(Bytes::from)
        .map_err(|error| DecodeError::text(format!("illegal base64 data: {error}")))
}

fn node_operation(json: Json) -> Decoded<Operation> {
    let (mut verb, mut node) = (String::new(), Node::default());
    NODE_OP.decode(json, |field, value| {
        match field {
            "Verb" => verb = value.string()?,
            _ => node = txn_node(value)?,
        }
        Ok(())
    })?;
    Ok(Operation::Node { verb, node })
}

fn service_operation(json: Json) -> Decoded<Operation> {
    let (mut verb, mut node, mut service) = (String::new(), Arc::from(""), Box::default());
    SERVICE_OP.decode(json, |field, value| {
        match field {
            "Verb" => verb = value.string()?,
            "Node" => node = value.shared()?,
            _ => *service = txn_service(value)?,
        }
        Ok(())
    })?;
    Ok(Operation::Service { verb, node, service })
}

fn check_operation(json: Json) -> Decoded<Operation> {
    let (mut verb, mut check) = (String::new(), Box::default());
    CHECK_OP.decode(json, |field, value| {
        match field {
            "Verb" => verb = value.string()?,
            _ => *check = txn_check(value)?,
        }
        Ok(())
    })?;
    Ok(Operation::Check { verb, check })
}

fn kv_verb(verb: &str) -> Option<TxnKvVerb> {
    Some(match verb {
        "set" => TxnKvVerb::Write(KvVerb::Set),
        "cas" => TxnKvVerb::Write(KvVerb::Cas),
        "lock" => TxnKvVerb::Write(KvVerb::Lock),
        "unlock" => TxnKvVerb::Write(KvVerb::Unlock),
        "delete" => TxnKvVerb::Write(KvVerb::Delete),
        "delete-cas" => TxnKvVerb::Write(KvVerb::DeleteCas),
        "delete-tree" => TxnKvVerb::Write(KvVerb::DeleteTree),
        "get" => TxnKvVerb::Get,
        "get-tree" => TxnKvVerb::GetTree,
        "check-session" => TxnKvVerb::CheckSession,
        "check-index" => TxnKvVerb::CheckIndex,
        "check-not-exists" => TxnKvVerb::CheckNotExists,
        _ => return None,
    })
}

fn catalog_verb(verb: &str) -> Option<TxnCatalogVerb> {
    Some(match verb {
        "get" => TxnCatalogVerb::Get,
        "set" => TxnCatalogVerb::Set,
        "cas" => TxnCatalogVerb::Cas,
        "delete" => TxnCatalogVerb::Delete,
        "delete-cas" => TxnCatalogVerb::DeleteCas,
        _ => return None,
    })
}

impl Operation {
    /// Whether Consul counts it as a write: of keys the verbs that write, of the rest all but `get`.
    pub fn writes(&self) -> bool {
        match self {
            Self::Kv { verb, .. } => matches!(kv_verb(verb), Some(TxnKvVerb::Write(_))),
            Self::Node { verb, .. } | Self::Service { verb, .. } | Self::Check { verb, .. } => verb != "get",
        }
    }

    /// Fills in what Consul fills in, and says what is wrong.
    pub fn checked(self, endpoints: &Endpoints) -> Checked {
        match self {
            Self::Kv { verb, command } => check_kv(&verb, command),
            Self::Node { verb, node } => check_node(endpoints, &verb, node),
            Self::Service { verb, node, service } => check_service(&verb, node, service),
            Self::Check { verb, check } => check_check(&verb, check),
        }
    }
}

fn check_kv(verb: &str, mut command: KvCommand) -> Checked {
    let known = kv_verb(verb);
    if let Some(TxnKvVerb::Write(write)) = known {
        command.verb = write;
    }
    let keyless = command.key.is_empty() && known != Some(TxnKvVerb::Write(KvVerb::DeleteTree));
    let session = match known {
        Some(TxnKvVerb::Write(KvVerb::Lock)) => check_lock_session(command.session.as_deref()).err(),
        _ => None,
    };
    let operation = TxnOp::Kv { verb: known.unwrap_or(TxnKvVerb::Get), command };
    if keyless {
        return Checked::Early("Must provide key".into(), operation);
    }
    match (known, session) {
        (None, _) => Checked::Late(format!("unknown KV verb {verb:?}"), operation),
        (Some(_), Some(what)) => Checked::Late(what, operation),
        (Some(_), None) => Checked::Good(operation),
    }
}

/// An operation with the verb it is known by, and what is wrong with it.
fn judged(
    kind: &str,
    verb: &str,
    early: Option<String>,
    make: impl FnOnce(TxnCatalogVerb) -> TxnOp,
) -> Checked {
    let known = catalog_verb(verb);
    let operation = make(known.unwrap_or(TxnCatalogVerb::Get));
    match (early, known) {
        (Some(what), _) => Checked::Early(what, operation),
        (None, None) => Checked::Late(format!("unknown {kind} verb {verb:?}"), operation),
        (None, Some(_)) => Checked::Good(operation),
    }
}

fn check_node(endpoints: &Endpoints, verb: &str, mut node: Node) -> Checked {
    if node.datacenter.is_empty() {
        node.datacenter.clone_from(&endpoints.settings.datacenter);
    }
    let early = if verb == "get" {
        None
    } else if node.node.is_empty() {
        Some("Must provide node".into())
    } else {
        node_id_problem(&node.id).map(|problem| format!("Bad node ID: {problem}"))
    };
    judged("Node", verb, early, |verb| TxnOp::Node { verb, node })
}

/// What is wrong with the id of a node, if it has one.
pub fn node_id_problem(id: &str) -> Option<&'static str> {
    if id.is_empty() {
        return None;
    }
    if id.len() != 36 {
        return Some("uuid string is wrong length");
    }
    for (at, byte) in id.bytes().enumerate() {
        let hyphen = matches!(at, 8 | 13 | 18 | 23);
        if hyphen != (byte == b'-') || !(hyphen || byte.is_ascii_hexdigit()) {
            return Some("uuid is improperly formatted");
        }
    }
    None
}

fn check_service(verb: &str, node: Arc<str>, mut service: Box<Service>) -> Checked {
    let mut early = None;
    if verb != "get" {
        if service.id.is_empty() {
            service.id = Arc::clone(&service.service);
        }
        if service.service.is_empty() && !service.id.is_empty() {
            early = Some("Must provide service name with ID".into());
        } else if service.address.parse::<IpAddr>().is_ok_and(|address| address.is_unspecified()) {
            early = Some("Invalid service address".into());
        }
    }
    let nameless = verb != "get" && service.id.is_empty();
    let checked = judged("Service", verb, early, |verb| TxnOp::Service { verb, node, service });
    late_if(nameless, "failed inserting service: object missing primary index", checked)
}

fn check_check(verb: &str, mut check: Box<Check>) -> Checked {
    if verb != "get" && check.check_id.is_empty() {
        check.check_id = check.name.as_str().into();
    }
    let nameless = verb != "get" && check.check_id.is_empty();
    let checked = judged("Check", verb, None, |verb| TxnOp::Check { verb, check });
    late_if(nameless, "failed inserting check: object missing primary index", checked)
}

fn late_if(condition: bool, what: &str, checked: Checked) -> Checked {
    match checked {
        Checked::Good(operation) if condition => Checked::Late(what.into(), operation),
        checked => checked,
    }
}
