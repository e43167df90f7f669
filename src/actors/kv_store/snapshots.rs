//! Snapshots of the state for raft: made on a thread of their own, installed on the state's.
//!
//! **Making** freezes the store and writes it out while applying goes on; the applied index is one of the frozen rows,
//! so data and index belong together. One is made at a time; raft asks again while it has none.
//!
//! **Installing** replaces the state and holds up applying meanwhile, which is the point of it. The data is read
//! through once before, so that damaged data harms nothing. A crash in the middle leaves a store that says so, and the
//! data beside it: [`open_state`] begins anew.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tracing::{debug, info, warn};

use crate::actors::raft_handle::RaftLink;
use crate::actors::snapshot_files::{SnapshotFileError, SnapshotFiles};
use crate::raft::Manifest;
use crate::state::snapshot::{self, SnapshotError};
use crate::state::store::WriteStore;
use crate::state::{StateError, StateMachine, StateReader};

/// Where the log lines go.
const TARGET: &str = "agent.server.raft";
/// How long no other snapshot is tried after one that could not be made.
const PAUSE: Duration = Duration::from_secs(1);

/// Why a snapshot cannot be made or installed.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotWorkError {
    /// Its data, as a stream, or the state.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// Its data, as a file.
    #[error(transparent)]
    File(#[from] SnapshotFileError),
    /// The state to be copied.
    #[error(transparent)]
    State(#[from] StateError),
    /// The data is of another state than the manifest says.
    #[error("its data is of index {found}, not {wanted}")]
    OtherIndex {
        /// In the data.
        found: u64,
        /// In the manifest.
        wanted: u64,
    },
}

/// Makes snapshots.
pub(super) struct Maker {
    state: StateReader,
    files: SnapshotFiles,
    under_way: Arc<AtomicBool>,
}

impl Maker {
    pub(super) fn new(state: StateReader, files: SnapshotFiles) -> Self {
        Self { state, files, under_way: Arc::default() }
    }

    /// Has one made and offered to raft, unless one is being made.
    pub(super) fn make(&self, raft: RaftLink) {
        if self.under_way.swap(true, Ordering::AcqRel) {
            return;
        }
        let (state, files, under_way) = (self.state.clone(), self.files.clone(), Arc::clone(&self.under_way));
        let started = thread::Builder::new().name("snapshot".into()).spawn(move || {
            let begun = Instant::now();
            match write(&state, &files) {
                Ok(manifest) => {
                    let (index, bytes) = (manifest.index, manifest.size);
                    debug!(target: TARGET, index, bytes, took = ?begun.elapsed(), "made a snapshot");
                    raft.snapshot_ready(manifest);
                }
                Err(error) => {
                    warn!(target: TARGET, error = %error, "cannot make a snapshot for a server that lags behind");
                    thread::sleep(PAUSE);
                }
            }
            under_way.store(false, Ordering::Release);
        });
        if let Err(error) = started {
            warn!(target: TARGET, error = %error, "cannot start a thread to make a snapshot");
            self.under_way.store(false, Ordering::Release);
        }
    }

    /// The data of snapshots.
    pub(super) const fn files(&self) -> &SnapshotFiles {
        &self.files
    }
}

/// Writes the state as it is now to a file.
fn write(state: &StateReader, files: &SnapshotFiles) -> Result<Manifest, SnapshotWorkError> {
    let mut file = files.begin(&format!("state-{}", uuid::Uuid::new_v4().simple()))?;
    let frozen = state.freeze()?;
    let index = snapshot::write(&*frozen, &mut file)?;
    // What it holds on to in the store is let go before the disk is waited for.
    drop(frozen);
    Ok(file.finish(index)?)
}

/// Replaces the state by a snapshot whose data is here.
///
/// # Errors
/// [`SnapshotWorkError`]: the server must stop. The state is as it was if the data is missing or damaged.
pub(super) fn install(
    machine: &mut StateMachine,
    files: &SnapshotFiles,
    manifest: &Manifest,
) -> Result<(), SnapshotWorkError> {
    let begun = Instant::now();
    let found = snapshot::verify(files.open(&manifest.data)?)?;
    if found != manifest.index {
        return Err(SnapshotWorkError::OtherIndex { found, wanted: manifest.index });
    }
    machine.install(files.open(&manifest.data)?)?;
    info!(target: TARGET, index = found, bytes = manifest.size, took = ?begun.elapsed(), "installed a snapshot");
    // The state has it durably; should the log not know that yet, it will see it by the applied index.
    files.remove(&manifest.data);
    Ok(())
}

/// Opens the state in a store. If the installation of a snapshot was cut off there it is done again first, from the
/// data in `files`.
///
/// # Errors
/// [`SnapshotWorkError::State`] with [`StateError::HalfInstalled`] if that data is not here any more, and whatever is
/// wrong with the store or the data.
pub fn open_state(
    store: Box<dyn WriteStore>,
    files: &SnapshotFiles,
) -> Result<StateMachine, SnapshotWorkError> {
    if let Some(index) = snapshot::half_installed(&*store)? {
        let lost = StateError::HalfInstalled { index };
        let name =
            files.names().into_iter().rev().find(|name| index_of(files, name) == Some(index)).ok_or(lost)?;
        info!(target: TARGET, index, "installing a snapshot again, as the last time was cut off");
        snapshot::verify(files.open(&name)?)?;
        snapshot::install(&*store, snapshot::Reader::open(files.open(&name)?)?)?;
    }
    Ok(StateMachine::open(store)?)
}

/// Index of the state in a file; none if it is no snapshot.
fn index_of(files: &SnapshotFiles, name: &str) -> Option<u64> {
    let reader = snapshot::Reader::open(files.open(name).ok()?).ok()?;
    Some(reader.index())
}
