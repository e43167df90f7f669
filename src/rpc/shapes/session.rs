//! `Session`.

use std::sync::Arc;

use crate::endpoints::session as endpoint;
use crate::rpc::codec::fields::shapes;
use crate::rpc::codec::{Cursor, Malformed, Pack, Packer, Unpack, fields};
use crate::state::record::{ServiceCheckRef, Session, SessionBehavior};

shapes! {
    /// A session as it is asked for: any behavior, with or without an id.
    SessionForm {
        /// `release`, `delete` or empty.
        behavior: String = "Behavior",
        /// Checks in the old form that names no kind.
        checks: Vec<String> = "Checks",
        /// Never given.
        create_index: u64 = "CreateIndex",
        /// Only to destroy one.
        id: String = "ID",
        /// Nanoseconds.
        lock_delay: i64 = "LockDelay",
        /// Never given.
        modify_index: u64 = "ModifyIndex",
        /// Human name.
        name: String = "Name",
        /// Node.
        node: String = "Node",
        /// Node checks.
        node_checks: Vec<String> = "NodeChecks",
        /// Service checks.
        service_checks: Option<Vec<ServiceCheckRef>> = "ServiceChecks",
        /// Time to live in Go's notation.
        ttl: String = "TTL",
    }

    /// `Session.Apply`.
    SessionApply {
        /// Datacenter.
        datacenter: String = "Datacenter",
        /// `create` or `destroy`.
        op: String = "Op",
        /// What to create, or whose id to destroy.
        session: SessionForm = "Session",
        /// ACL token.
        token: String = "Token",
    }

    /// `Session.Get`, `Session.Renew`, `Session.List`.
    SessionRequest {
        /// Datacenter.
        datacenter: String = "Datacenter",
        /// The id, again: what clients of some versions fill in.
        session: String = "Session",
        /// The id; none for a list.
        session_id: String = "SessionID",
    }

    /// Reply of all reads of sessions.
    Sessions {
        /// The sessions.
        sessions: Vec<Arc<Session>> = "Sessions",
    }
}

impl SessionRequest {
    /// The id asked for.
    pub fn id(&self) -> &str {
        if self.session_id.is_empty() { &self.session } else { &self.session_id }
    }

    /// A request about this session.
    pub fn new(datacenter: &str, id: &str) -> Self {
        Self { datacenter: datacenter.to_owned(), session: id.to_owned(), session_id: id.to_owned() }
    }
}

impl SessionApply {
    /// Asks for a session; the server chooses its id.
    pub fn create(datacenter: &str, session: Session) -> Self {
        let behavior = match session.behavior {
            SessionBehavior::Release => "release",
            SessionBehavior::Delete => "delete",
        };
        let form = SessionForm {
            behavior: behavior.to_owned(),
            checks: session.checks,
            lock_delay: session.lock_delay,
            name: session.name,
            node: session.node.to_string(),
            node_checks: session.node_checks,
            service_checks: session.service_checks,
            ttl: session.ttl,
            ..SessionForm::default()
        };
        Self {
            datacenter: datacenter.to_owned(),
            op: "create".to_owned(),
            session: form,
            token: String::new(),
        }
    }

    /// Asks for the end of a session.
    pub fn destroy(datacenter: &str, id: &str) -> Self {
        let form = SessionForm { id: id.to_owned(), ..SessionForm::default() };
        Self {
            datacenter: datacenter.to_owned(),
            op: "destroy".to_owned(),
            session: form,
            token: String::new(),
        }
    }
}

impl From<SessionForm> for endpoint::SessionRequest {
    fn from(form: SessionForm) -> Self {
        Self {
            name: form.name,
            node: form.node,
            lock_delay: form.lock_delay,
            behavior: form.behavior,
            ttl: form.ttl,
            checks: form.checks,
            node_checks: form.node_checks,
            service_checks: form.service_checks,
        }
    }
}

impl fields::Fields for ServiceCheckRef {
    const KEYS: &'static [&'static str] = &["ID", "Namespace"];

    fn pack_field(&self, at: usize, out: &mut Packer) {
        out.str(if at == 0 { &self.id } else { &self.namespace });
    }

    fn unpack_field(&mut self, key: &[u8], cursor: &mut Cursor<'_>) -> Result<bool, Malformed> {
        match key {
            b"ID" => self.id = cursor.string()?,
            b"Namespace" => self.namespace = cursor.string()?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

impl Pack for ServiceCheckRef {
    fn pack(&self, out: &mut Packer) {
        fields::pack_one(self, out);
    }
}

impl Unpack for ServiceCheckRef {
    fn unpack(cursor: &mut Cursor<'_>) -> Result<Self, Malformed> {
        fields::unpack_one(cursor)
    }
}
