//! The data directory: one owner at a time, and the node's identity in it.
//!
//! | path | what |
//! |---|---|
//! | `tribune.lock` | held by the running agent, its process id inside |
//! | `node-id` | UUID of the node, as Consul keeps it |
//! | `raft/` | the log of a server; `peers.json` there recovers it, see `agent::recovery` |
//! | `raft/snapshots/` | data of snapshots of the state, see `actors::snapshot_files` |
//! | `state/` | the tables of a server |
//! | `services/`, `checks/` | definitions and statuses of this agent, see `actors::local_state::disk` |

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use uuid::Uuid;

const LOCK_FILE: &str = "tribune.lock";
const NODE_ID_FILE: &str = "node-id";

/// Why the data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// Another agent runs on it.
    #[error("data_dir {} is in use by another process{}; stop it or choose another data_dir", path.display(), owner(*pid))]
    InUse {
        /// The directory.
        path: PathBuf,
        /// Process id found in the lock file.
        pid: Option<u32>,
    },
    /// The system refused an operation.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// What was attempted.
        doing: &'static str,
        /// On which path.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The node id is not a UUID.
    #[error(
        "node id {id:?} in {place} is not a UUID (expected 36 characters such as \"adf4238a-882b-9ddc-4a9d-5b6758e4159e\")"
    )]
    NodeId {
        /// What was found.
        id: String,
        /// Where.
        place: String,
    },
}

fn owner(pid: Option<u32>) -> String {
    pid.map(|pid| format!(" (process {pid})")).unwrap_or_default()
}

/// An owned data directory. Dropping it gives it up.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Creates the directory if needed and takes it.
    ///
    /// # Errors
    /// [`DataDirError::InUse`] or [`DataDirError::Io`]; nothing in it was changed.
    pub fn take(path: &Path) -> Result<Self, DataDirError> {
        let io = |doing| move |source| DataDirError::Io { doing, path: path.to_owned(), source };
        fs::DirBuilder::new().recursive(true).mode(0o755).create(path).map_err(io("create data_dir"))?;
        let lock_path = path.join(LOCK_FILE);
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&lock_path)
            .map_err(io("open the lock file in"))?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            let mut text = String::new();
            let pid = lock.read_to_string(&mut text).ok().and_then(|_| text.trim().parse().ok());
            return Err(DataDirError::InUse { path: path.to_owned(), pid });
        }
        lock.set_len(0).map_err(io("write the lock file in"))?;
        lock.seek(SeekFrom::Start(0)).map_err(io("write the lock file in"))?;
        writeln!(lock, "{}", std::process::id()).map_err(io("write the lock file in"))?;
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A directory or file below.
    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The node's id: the configured one, else the one kept here, else a new one; kept from now on.
    ///
    /// # Errors
    /// [`DataDirError::NodeId`] or [`DataDirError::Io`].
    pub fn node_id(&self, configured: Option<&str>) -> Result<Uuid, DataDirError> {
        let path = self.path.join(NODE_ID_FILE);
        let kept = match fs::read_to_string(&path) {
            Ok(text) => Some(parse_node_id(text.trim(), &path.display().to_string())?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(source) => return Err(DataDirError::Io { doing: "read", path, source }),
        };
        let id = match configured {
            Some(id) => parse_node_id(id, "the configuration (node_id)")?,
            None => kept.unwrap_or_else(Uuid::new_v4),
        };
        if kept != Some(id) {
            write_whole(&path, id.to_string().as_bytes()).map_err(|source| DataDirError::Io {
                doing: "write",
                path,
                source,
            })?;
        }
        Ok(id)
    }
}

/// Reads a node id.
///
/// # Errors
/// [`DataDirError::NodeId`] naming the place.
pub fn parse_node_id(text: &str, place: &str) -> Result<Uuid, DataDirError> {
    if text.len() == 36
        && let Ok(id) = Uuid::try_parse(text)
    {
        return Ok(id);
    }
    Err(DataDirError::NodeId { id: text.to_owned(), place: place.to_owned() })
}

/// Replaces a file by one rename, synced, so that a crash leaves the old or the new content.
///
/// # Errors
/// The system's answer; the old content is then still there.
pub fn write_whole(path: &Path, content: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    match path.parent() {
        Some(directory) => File::open(directory)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_node_id_is_made_once_and_kept() {
        let directory = tempfile::tempdir().unwrap();
        let data = DataDir::take(directory.path()).unwrap();
        let first = data.node_id(None).unwrap();
        assert_eq!(data.node_id(None).unwrap(), first);
        let given = "adf4238a-882b-9ddc-4a9d-5b6758e4159e";
        assert_eq!(data.node_id(Some(given)).unwrap().to_string(), given);
        assert_eq!(data.node_id(None).unwrap().to_string(), given);
        for bad in ["", "xyz", "adf4238a882b9ddc4a9d5b6758e4159e"] {
            assert!(matches!(data.node_id(Some(bad)), Err(DataDirError::NodeId { .. })), "{bad}");
        }
    }

    #[test]
    fn a_second_owner_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let data = DataDir::take(directory.path()).unwrap();
        let refused = DataDir::take(directory.path()).unwrap_err();
        assert!(matches!(refused, DataDirError::InUse { pid: Some(pid), .. } if pid == std::process::id()));
        drop(data);
        DataDir::take(directory.path()).unwrap();
    }
}
