//! One moment of the whole state: a view and the rows that belong to it.

use std::io::Write;
use std::sync::Arc;

use super::{ArchiveError, ArchiveOrigin, write_archive};
use crate::state::read::StateReader;
use crate::state::rows;
use crate::state::store::ReadStore;
use crate::state::view::View;

/// How often the cheap way is tried: a batch is written a moment before its view is published.
const TRIES: usize = 8;

/// A view with the frozen rows it was published for. Holds old rows alive: let it go when done.
#[derive(Debug)]
pub struct Moment<'a> {
    view: Arc<View>,
    frozen: Box<dyn ReadStore + 'a>,
}

impl<'a> Moment<'a> {
    /// Freezes what there is now. Blocks for as long as the store takes: not for a reactor.
    ///
    /// # Errors
    /// [`ArchiveError::State`].
    pub fn take(reader: &'a StateReader) -> Result<Self, ArchiveError> {
        for _ in 0..TRIES {
            let frozen = reader.freeze()?;
            let view = reader.view_full();
            if rows::applied_index(&*frozen)? == view.applied {
                return Ok(Self { view, frozen });
            }
            std::thread::yield_now();
        }
        let frozen = reader.freeze()?;
        let view = Arc::new(rows::load(&*frozen)?);
        Ok(Self { view, frozen })
    }

    /// Raft index of the state.
    pub fn index(&self) -> u64 {
        self.view.index
    }

    /// Writes the archive; see [`write_archive`].
    ///
    /// # Errors
    /// As [`write_archive`].
    pub fn write<W: Write>(&self, out: W, origin: &ArchiveOrigin) -> Result<W, ArchiveError> {
        write_archive(out, origin, &self.view, &*self.frozen)
    }
}
