//! Recovery by hand: `raft/peers.json` in the data directory names the members that are left, after a majority was lost
//! for good.
//!
//! It is read once at the start and deleted when it has taken effect. `raft/peers.info` beside it says how it is written.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use tracing::{info, warn};

use crate::raft::{Membership, ServerRecord};

const FILE: &str = "peers.json";
const INFO_FILE: &str = "peers.info";

/// What an operator finds beside the log.
const INFO: &str = r#"How to recover a cluster that has lost its majority
====================================================

While more than half of the servers run, nothing here is needed: a server that is gone for good is removed by
"consul force-leave" or "consul operator raft remove-peer".

If too few are left to elect a leader, and the others will never come back:

1. Stop all servers that are left.
2. Write the same file peers.json into the directory of this file on each of them. It lists the servers that are left, by
   node ID (file "node-id" in the data directory) and address of the server port:

   [
     { "id": "adf4238a-882b-9ddc-4a9d-5b6758e4159e", "address": "10.1.0.1:8300", "non_voter": false },
     { "id": "8b6dda82-3103-11e7-93ae-92361f002671", "address": "10.1.0.2:8300", "non_voter": false }
   ]

3. Start them. Each takes the list for its members, deletes peers.json, and they elect a leader.

The newest log among them counts. Writes that only the lost servers had acknowledged are gone, and writes that were never
acknowledged may appear.
"#;

/// Why `peers.json` cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("recovery file {}: {reason}", path.display())]
pub struct RecoveryError {
    /// The file.
    path: PathBuf,
    /// What is wrong with it.
    reason: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    id: String,
    address: String,
    #[serde(default)]
    non_voter: bool,
}

/// A recovery that waits for the log.
#[derive(Debug)]
pub struct Recovery {
    path: PathBuf,
    /// The members to begin with.
    pub members: Membership,
}

impl Recovery {
    /// Reads the file below the directory of the log, if there is one, and leaves the explanation beside it.
    ///
    /// # Errors
    /// [`RecoveryError`] if it cannot be read or makes no sense: the server must not start as if it were not there.
    pub fn find(raft: &Path) -> Result<Option<Self>, RecoveryError> {
        explain(raft);
        let path = raft.join(FILE);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(RecoveryError { path, reason: error.to_string() }),
        };
        match parse(&text) {
            Ok(members) => {
                info!(target: "agent.server", path = %path.display(), voters = members.voters.len(),
                    "found peers.json file, recovering Raft configuration");
                Ok(Some(Self { path, members }))
            }
            Err(reason) => Err(RecoveryError { path, reason }),
        }
    }

    /// It has taken effect.
    ///
    /// # Errors
    /// [`RecoveryError`]: the next start would recover again, and might undo what was changed since.
    pub fn done(self) -> Result<(), RecoveryError> {
        let path = self.path;
        fs::remove_file(&path).map_err(|error| RecoveryError {
            reason: format!("cannot delete it after the recovery: {error}"),
            path: path.clone(),
        })?;
        info!(target: "agent.server", path = %path.display(), "deleted peers.json file after successful recovery");
        Ok(())
    }
}

/// For people only, so nothing depends on it.
fn explain(raft: &Path) {
    let path = raft.join(INFO_FILE);
    let written = fs::create_dir_all(raft).and_then(|()| {
        if fs::read(&path).is_ok_and(|found| found == INFO.as_bytes()) {
            Ok(())
        } else {
            fs::write(&path, INFO)
        }
    });
    if let Err(error) = written {
        warn!(target: "agent.server", path = %path.display(), error = %error, "cannot write how recovery works");
    }
}

fn parse(text: &[u8]) -> Result<Membership, String> {
    if serde_json::from_slice::<Vec<String>>(text).is_ok_and(|old| !old.is_empty()) {
        return Err(
            "it lists addresses only, as for raft protocol 2; list objects with id, address and non_voter \
                    (see peers.info)"
                .into(),
        );
    }
    let entries: Vec<Entry> = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    let (mut addresses, mut ids) = (BTreeSet::new(), BTreeSet::new());
    let mut members = Membership::default();
    for entry in entries {
        if entry.id.is_empty() {
            return Err("a server without id".into());
        }
        let address: SocketAddr =
            entry.address.parse().map_err(|_| format!("address {:?} is no ip:port", entry.address))?;
        if !ids.insert(entry.id.to_lowercase()) {
            return Err(format!("server {} is listed twice", entry.id));
        }
        if !addresses.insert(address) {
            return Err(format!("address {address} is listed twice"));
        }
        // Its name is written down once gossip tells it.
        let server = ServerRecord { name: entry.id.clone(), node_id: entry.id, address: entry.address };
        let id = server.raft_id();
        if entry.non_voter {
            members.learners.push(id);
        } else {
            members.voters.push(id);
        }
        members.servers.insert(id, server);
    }
    if members.voters.is_empty() {
        return Err("no server that votes is listed".into());
    }
    members.voters.sort_unstable();
    members.learners.sort_unstable();
    Ok(members)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_read_and_deleted() {
        let home = tempfile::tempdir().unwrap();
        let raft = home.path().join("raft");
        assert!(Recovery::find(&raft).unwrap().is_none());
        let info = fs::read_to_string(raft.join(INFO_FILE)).unwrap();
        assert!(info.contains("peers.json"));
        // What it shows is what is read.
        let sample = &info[info.find('[').unwrap()..=info.find(']').unwrap()];
        fs::write(raft.join(FILE), sample).unwrap();
        let recovery = Recovery::find(&raft).unwrap().unwrap();
        assert_eq!((recovery.members.voters.len(), recovery.members.servers.len()), (2, 2));
        recovery.done().unwrap();
        assert!(Recovery::find(&raft).unwrap().is_none());
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let table = [
            (r#"["10.0.0.1:8300"]"#, "raft protocol 2"),
            ("[]", "no server that votes"),
            (r#"[{"id":"a","address":"10.0.0.1:8300","non_voter":true}]"#, "no server that votes"),
            (r#"[{"id":"","address":"10.0.0.1:8300"}]"#, "without id"),
            (r#"[{"id":"a","address":"10.0.0.1"}]"#, "is no ip:port"),
            (r#"[{"id":"a","address":"10.0.0.1:1"},{"id":"A","address":"10.0.0.2:1"}]"#, "listed twice"),
            (r#"[{"id":"a","address":"10.0.0.1:1"},{"id":"b","address":"10.0.0.1:1"}]"#, "listed twice"),
            (r#"[{"id":"a","address":"10.0.0.1:1","vote":true}]"#, "unknown field"),
            ("[", "EOF"),
        ];
        for (text, want) in table {
            let error = parse(text.as_bytes()).unwrap_err();
            assert!(error.contains(want), "{text}: {error}");
        }
        let learner =
            r#"[{"id":"a","address":"10.0.0.1:1"},{"id":"b","address":"[::1]:1","non_voter":true}]"#;
        let members = parse(learner.as_bytes()).unwrap();
        assert_eq!((members.voters.len(), members.learners.len()), (1, 1));
    }
}
