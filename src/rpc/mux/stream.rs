//! One stream, at our end.

use std::future::Future;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::sync::Notify;

use super::header::{Flags, Header, Kind};
use super::session::{Session, Shared};
use super::{MuxError, OUTGOING_LIMIT, WINDOW};
use crate::rpc::codec::frame::Frames;

/// Longest payload of one frame, so that streams take turns.
const CHUNK: usize = 64 * 1024;

/// What the session knows of a stream.
pub(super) struct StreamState {
    /// Came in and was not taken.
    pub buffer: BytesMut,
    /// What the other side may still send.
    pub credit: u32,
    /// What came in and was not credited again.
    pub owed: u32,
    /// What we may still send.
    pub window: u32,
    /// The other side sends nothing more.
    pub finished: bool,
    /// The other side let it go.
    pub reset: bool,
    /// Wakes the one who has the stream.
    pub wake: Arc<Notify>,
}

impl Default for StreamState {
    fn default() -> Self {
        Self {
            buffer: BytesMut::new(),
            credit: WINDOW,
            owed: 0,
            window: WINDOW,
            finished: false,
            reset: false,
            wake: Arc::default(),
        }
    }
}

impl StreamState {
    /// What to credit now: all that is owed, once it is half a window and unless more than a frame waits already.
    pub fn settle(&mut self, limit: usize) -> u32 {
        if self.owed < WINDOW / 2 || self.buffer.len() > limit {
            return 0;
        }
        let back = std::mem::take(&mut self.owed);
        self.credit += back;
        back
    }
}

/// Somewhere to send bytes to.
pub trait Write: Send {
    /// Sends all of them.
    ///
    /// # Errors
    /// [`MuxError`] if they cannot arrive.
    fn send(&mut self, bytes: &[u8]) -> impl Future<Output = Result<(), MuxError>> + Send;
}

/// A stream. Dropped, it is closed towards the other side.
pub struct MuxStream {
    shared: Arc<Shared>,
    id: u32,
    wake: Arc<Notify>,
    frames: Frames,
    /// An answer is awaited: dropped now, the other side need not go on.
    awaiting: bool,
}

impl MuxStream {
    pub(super) fn new(shared: Arc<Shared>, id: u32, wake: Arc<Notify>) -> Self {
        let frames = Frames::new(shared.limit);
        Self { shared, id, wake, frames, awaiting: false }
    }

    /// Whether it is one of this session's.
    pub fn is_of(&self, session: &Session) -> bool {
        session.shares(&self.shared)
    }

    /// The next header and body; none if the other side sends nothing more.
    ///
    /// # Errors
    /// [`MuxError::Malformed`] for what is no frame; why the stream or the session ended.
    pub async fn frame(&mut self) -> Result<Option<(Bytes, Bytes)>, MuxError> {
        loop {
            {
                let mut inner = self.shared.inner.lock();
                let inner = &mut *inner;
                let Some(state) = inner.streams.get_mut(&self.id) else { return Err(MuxError::Reset) };
                let before = state.buffer.len();
                let found = self.frames.next(&mut state.buffer)?;
                inner.buffered -= before - state.buffer.len();
                let back = state.settle(self.shared.limit);
                let ended = if found.is_some() {
                    None
                } else if state.reset {
                    Some(Err(MuxError::Reset))
                } else if state.finished {
                    let idle = self.frames.is_idle(&state.buffer);
                    Some(if idle { Ok(None) } else { Err(MuxError::Connection("unexpected EOF".into())) })
                } else {
                    None
                };
                if back > 0 {
                    inner.window(self.id, Flags::NONE, back);
                    self.shared.out.notify_one();
                }
                if found.is_some() {
                    return Ok(found);
                }
                if let Some(ended) = ended {
                    return ended;
                }
                if let Some(why) = &inner.closed {
                    return Err(why.clone());
                }
            }
            self.wake.notified().await;
        }
    }

    /// Says whether an answer is awaited. A stream dropped meanwhile is reset, so that the other side gives up too.
    pub fn await_answer(&mut self, awaiting: bool) {
        self.awaiting = awaiting;
    }

    /// Resolves once the other side has reset the stream, or the session is over.
    pub async fn given_up(&self) {
        loop {
            {
                let inner = self.shared.inner.lock();
                let reset = inner.streams.get(&self.id).is_none_or(|state| state.reset);
                if reset || inner.closed.is_some() {
                    return;
                }
            }
            self.wake.notified().await;
        }
    }

    /// Puts as much of `bytes` on its way as may be sent; how much, or none if the session's queue is full.
    fn push(&self, bytes: &[u8]) -> Result<Option<usize>, MuxError> {
        let mut inner = self.shared.inner.lock();
        if let Some(why) = &inner.closed {
            return Err(why.clone());
        }
        if inner.outgoing.len() >= OUTGOING_LIMIT {
            return Ok(None);
        }
        let state = inner.streams.get_mut(&self.id).filter(|state| !state.reset).ok_or(MuxError::Reset)?;
        let sent = bytes.get(..(state.window as usize).min(CHUNK)).unwrap_or(bytes);
        let length = u32::try_from(sent.len()).unwrap_or(0);
        if length > 0 {
            state.window -= length;
            inner.push(Header { kind: Kind::Data, flags: Flags::NONE, stream: self.id, length });
            inner.outgoing.extend_from_slice(sent);
        }
        Ok(Some(sent.len()))
    }
}

impl Write for MuxStream {
    async fn send(&mut self, mut bytes: &[u8]) -> Result<(), MuxError> {
        while !bytes.is_empty() {
            let room = self.shared.room.notified();
            match self.push(bytes)? {
                None => {
                    let mut room = std::pin::pin!(room);
                    room.as_mut().enable();
                    // It may have become free before we listened.
                    if self.shared.inner.lock().outgoing.len() >= OUTGOING_LIMIT {
                        room.await;
                    }
                }
                Some(0) => self.wake.notified().await,
                Some(sent) => {
                    self.shared.out.notify_one();
                    bytes = bytes.get(sent..).unwrap_or_default();
                }
            }
        }
        Ok(())
    }
}

impl Drop for MuxStream {
    fn drop(&mut self) {
        let mut inner = self.shared.inner.lock();
        if let Some(state) = inner.streams.remove(&self.id) {
            inner.buffered -= state.buffer.len();
            if !state.reset && inner.closed.is_none() {
                inner.window(self.id, if self.awaiting { Flags::RST } else { Flags::FIN }, 0);
            }
        }
        drop(inner);
        self.shared.out.notify_one();
    }
}
