//! What one server asks another, mostly the leader.
//!
//! A request is named-field msgpack behind a byte that says which it is, so that servers of different builds can read
//! each other's, and one that is not known is answered with an error rather than misread.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::endpoints::{Applied, EndpointError};
use crate::raft::ServerRecord;

/// A request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Request {
    /// Stamp this command ([`crate::state::Command`] in its encoded form, without time) and have it applied. For the leader.
    Propose(Bytes),
    /// Start a session's time to live anew. For the leader.
    RenewSession(String),
    /// An operator's request, in the form of whoever serves it. For the leader.
    Admin(Bytes),
    /// Let this server found the raft group, and found none of your own.
    Promise(ServerRecord),
    /// The group is founded with these members.
    Found(Vec<ServerRecord>),
    /// Which group are you in?
    Group,
}

/// What comes back of a request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Answer {
    /// [`Request::Propose`]: it is applied.
    Applied(Applied),
    /// The request was carried out.
    Done,
    /// [`Request::Admin`]: the answer, in the form of whoever serves it.
    Admin(Bytes),
    /// [`Request::Promise`].
    Promise(Promise),
    /// [`Request::Group`]: its members as that server knows them; empty if it is in none.
    Group(Vec<ServerRecord>),
    /// It was not carried out, or it is not known whether it was.
    Failed(EndpointError),
}

/// What a server says to one that wants to found a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Promise {
    /// It waits for that one.
    Given,
    /// It has given its promise to another, or founds a group itself.
    Refused,
    /// It is in a group already.
    InGroup,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// It never left, so nothing came of it.
    #[error("cannot reach server {0}")]
    NotSent(String),
    /// It left and no answer came: whether it was carried out is unknown.
    #[error("the connection to server {0} was lost; whether the request was carried out is unknown")]
    Lost(String),
}

impl From<RequestError> for EndpointError {
    fn from(error: RequestError) -> Self {
        match error {
            RequestError::NotSent(_) => Self::NoLeader,
            RequestError::Lost(_) => Self::Internal(error.to_string()),
        }
    }
}

/// Encodes a request or an answer.
///
/// # Errors
/// A text; no value of these types is refused in practice.
pub(super) fn encode<T: Serialize>(value: &T) -> Result<Bytes, String> {
    let mut out = Vec::with_capacity(64);
    let mut serializer = rmp_serde::Serializer::new(&mut out).with_struct_map();
    value.serialize(&mut serializer).map_err(|error| error.to_string())?;
    Ok(out.into())
}

/// Decodes what [`encode`] wrote.
///
/// # Errors
/// A text.
pub(super) fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, String> {
    rmp_serde::from_slice(bytes).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Outcome;

    #[test]
    fn requests_and_answers_come_back() {
        let record = ServerRecord { node_id: "a".into(), name: "n".into(), address: "1.2.3.4:5".into() };
        for request in [
            Request::Propose(Bytes::from_static(b"\x00\xff")),
            Request::RenewSession("s".into()),
            Request::Admin(Bytes::from_static(b"x")),
            Request::Promise(record.clone()),
            Request::Found(vec![record]),
            Request::Group,
        ] {
            assert_eq!(decode::<Request>(&encode(&request).unwrap()), Ok(request));
        }
        for answer in [
            Answer::Applied(Applied { index: 9, outcome: Outcome::Bool(true) }),
            Answer::Done,
            Answer::Admin(Bytes::from_static(b"y")),
            Answer::Promise(Promise::InGroup),
            Answer::Group(Vec::new()),
            Answer::Failed(EndpointError::Refused("no".into())),
        ] {
            assert_eq!(decode::<Answer>(&encode(&answer).unwrap()), Ok(answer));
        }
        assert!(decode::<Request>(b"\xc1").is_err());
        assert!(decode::<Request>(&encode(&"Unheard").unwrap()).is_err());
    }
}
