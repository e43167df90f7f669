//! A session: one task reads, one writes, streams are a map behind a lock.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::{Buf as _, BytesMut};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until, timeout};

use super::header::{Flags, Header, Kind, LENGTH};
use super::stream::{MuxStream, StreamState};
use super::{BUFFERED_LIMIT, MAX_STREAMS, MuxError, OUTGOING_CLOSE, PINGS, Pings, WINDOW, WRITE_TIMEOUT};

/// First capacity of the buffer for what comes in.
const READ_BUFFER: usize = 16 * 1024;
/// A buffer for what goes out is let go if it grew beyond this.
const KEPT_BUFFER: usize = 256 * 1024;

/// What the tasks and the streams of a session share.
pub(super) struct Shared {
    pub inner: Mutex<Inner>,
    /// There is something to write, or the end.
    pub out: Notify,
    /// Something was written.
    pub room: Notify,
    /// A stream was opened by the other side, or the end.
    accept: Notify,
    /// The session is over.
    over: watch::Sender<bool>,
    /// Longest body of a frame.
    pub limit: usize,
}

#[expect(clippy::struct_excessive_bools, reason = "they are independent facts of one session")]
pub(super) struct Inner {
    pub streams: HashMap<u32, StreamState>,
    pub outgoing: Vec<u8>,
    /// Streams the other side opened and nobody took yet.
    opened: VecDeque<u32>,
    next_id: u32,
    pub closed: Option<MuxError>,
    remote_away: bool,
    pub local_away: bool,
    /// Bytes in all buffers of streams.
    pub buffered: usize,
    /// A ping was sent and not answered.
    ping_sent: bool,
    accepts: bool,
}

/// A session; clones are handles of the same. It ends when the connection does or [`Session::close`] is called.
#[derive(Clone)]
pub struct Session {
    shared: Arc<Shared>,
}

impl Session {
    /// The side that opens streams.
    pub fn client<R, W>(read: R, write: W, limit: usize) -> Self
    where
        R: AsyncRead + Send + 'static,
        W: AsyncWrite + Send + 'static,
    {
        Self::start(read, write, limit, false, PINGS)
    }

    /// The side that accepts streams. Bodies of frames may be `limit` bytes long.
    pub fn server<R, W>(read: R, write: W, limit: usize) -> Self
    where
        R: AsyncRead + Send + 'static,
        W: AsyncWrite + Send + 'static,
    {
        Self::start(read, write, limit, true, PINGS)
    }

    pub(super) fn start<R, W>(read: R, write: W, limit: usize, accepts: bool, pings: Pings) -> Self
    where
        R: AsyncRead + Send + 'static,
        W: AsyncWrite + Send + 'static,
    {
        let shared = Arc::new(Shared {
            inner: Mutex::new(Inner {
                streams: HashMap::new(),
                outgoing: Vec::new(),
                opened: VecDeque::new(),
                next_id: 1,
                closed: None,
                remote_away: false,
                local_away: false,
                buffered: 0,
                ping_sent: false,
                accepts,
            }),
            out: Notify::new(),
            room: Notify::new(),
            accept: Notify::new(),
            over: watch::Sender::new(false),
            limit,
        });
        tokio::spawn(writing(Arc::clone(&shared), write, pings));
        let reader = Arc::clone(&shared);
        tokio::spawn(async move {
            let why = reading(&reader, read).await;
            reader.close(why);
        });
        Self { shared }
    }

    /// Opens a stream.
    ///
    /// # Errors
    /// [`MuxError`] if the session is over or the other side takes no more.
    pub fn open(&self) -> Result<MuxStream, MuxError> {
        let mut inner = self.shared.inner.lock();
        if let Some(why) = &inner.closed {
            return Err(why.clone());
        }
        // Ids are never used twice: a session lives until they are used up at most.
        let next = inner.next_id.checked_add(2);
        let Some(next) = next.filter(|_| !inner.remote_away) else { return Err(MuxError::GoneAway) };
        let id = std::mem::replace(&mut inner.next_id, next);
        let wake = inner.add(id);
        inner.window(id, Flags::SYN, 0);
        drop(inner);
        self.shared.out.notify_one();
        Ok(MuxStream::new(Arc::clone(&self.shared), id, wake))
    }

    /// The next stream the other side opens; none when the session is over.
    pub async fn accept(&self) -> Option<MuxStream> {
        loop {
            {
                let mut inner = self.shared.inner.lock();
                while let Some(id) = inner.opened.pop_front() {
                    if let Some(state) = inner.streams.get(&id) {
                        let wake = Arc::clone(&state.wake);
                        return Some(MuxStream::new(Arc::clone(&self.shared), id, wake));
                    }
                }
                if inner.closed.is_some() {
                    return None;
                }
            }
            self.shared.accept.notified().await;
        }
    }

    /// Tells the other side to open no more streams; those that are open go on.
    pub fn go_away(&self) {
        let mut inner = self.shared.inner.lock();
        if !inner.local_away {
            inner.local_away = true;
            inner.push(Header { kind: Kind::GoAway, flags: Flags::NONE, stream: 0, length: 0 });
        }
        drop(inner);
        self.shared.out.notify_one();
    }

    /// Ends the session and all its streams. What was sent is still written.
    pub fn close(&self) {
        self.shared.close(MuxError::Shutdown);
    }

    /// Why the session is over, if it is.
    pub fn closed(&self) -> Option<MuxError> {
        self.shared.inner.lock().closed.clone()
    }

    /// Whether [`Session::open`] is worth trying.
    pub fn is_usable(&self) -> bool {
        let inner = self.shared.inner.lock();
        inner.closed.is_none() && !inner.remote_away
    }

    pub(super) fn shares(&self, shared: &Arc<Shared>) -> bool {
        Arc::ptr_eq(&self.shared, shared)
    }

    /// How many streams are open.
    pub fn streams(&self) -> usize {
        self.shared.inner.lock().streams.len()
    }
}

impl Shared {
    pub fn close(&self, why: MuxError) {
        let mut inner = self.inner.lock();
        inner.closed.get_or_insert(why);
        for state in inner.streams.values() {
            state.wake.notify_one();
        }
        drop(inner);
        self.over.send_replace(true);
        self.out.notify_one();
        self.room.notify_waiters();
        self.accept.notify_one();
    }
}

impl Inner {
    pub fn push(&mut self, header: Header) {
        header.write(&mut self.outgoing);
    }

    pub fn window(&mut self, stream: u32, flags: Flags, length: u32) {
        self.push(Header { kind: Kind::WindowUpdate, flags, stream, length });
    }

    fn add(&mut self, id: u32) -> Arc<Notify> {
        let state = StreamState::default();
        let wake = Arc::clone(&state.wake);
        self.streams.insert(id, state);
        wake
    }
}

/// Writes what waits, and pings.
async fn writing<W: AsyncWrite>(shared: Arc<Shared>, write: W, times: Pings) {
    let mut write = std::pin::pin!(write);
    let mut batch = Vec::new();
    let mut next_ping = Instant::now() + times.interval;
    let mut pending = false;
    let mut pings = 0_u32;
    loop {
        let over = {
            let mut inner = shared.inner.lock();
            std::mem::swap(&mut batch, &mut inner.outgoing);
            inner.closed.is_some()
        };
        if !batch.is_empty() {
            let written = async {
                write.write_all(&batch).await?;
                write.flush().await
            };
            let failure = match timeout(WRITE_TIMEOUT, written).await {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(error.to_string()),
                Err(_) => Some("connection write timeout".to_owned()),
            };
            if let Some(failure) = failure {
                return shared.close(MuxError::Connection(failure.into()));
            }
            batch.clear();
            if batch.capacity() > KEPT_BUFFER {
                batch = Vec::new();
            }
            shared.room.notify_waiters();
            continue;
        }
        if over {
            // The reader sees the end of the connection when the other side closes in turn.
            let _ = timeout(WRITE_TIMEOUT, write.shutdown()).await;
            return;
        }
        tokio::select! {
            () = shared.out.notified() => {}
            () = sleep_until(next_ping) => {
                let mut inner = shared.inner.lock();
                if inner.ping_sent {
                    drop(inner);
                    shared.close(MuxError::Connection("keepalive timeout".into()));
                } else {
                    inner.ping_sent = true;
                    inner.push(Header { kind: Kind::Ping, flags: Flags::SYN, stream: 0, length: pings });
                    pings = pings.wrapping_add(1);
                    next_ping = Instant::now() + times.timeout;
                    pending = true;
                }
            }
        }
        if pending && !shared.inner.lock().ping_sent {
            // It was answered.
            pending = false;
            next_ping = Instant::now() + times.interval;
        }
    }
}

/// Reads frames until something ends it.
async fn reading<R: AsyncRead>(shared: &Arc<Shared>, read: R) -> MuxError {
    let mut read = std::pin::pin!(read);
    let mut buffer = BytesMut::with_capacity(READ_BUFFER);
    let mut gone = shared.over.subscribe();
    let mut over = std::pin::pin!(gone.wait_for(|over| *over));
    loop {
        let received = tokio::select! {
            received = read.read_buf(&mut buffer) => received,
            _ = &mut over => return MuxError::Shutdown,
        };
        match received {
            Ok(0) => return MuxError::Connection("EOF".into()),
            Ok(_) => {}
            Err(error) => return MuxError::Connection(error.to_string().into()),
        }
        let mut inner = shared.inner.lock();
        if let Some(why) = &inner.closed {
            return why.clone();
        }
        let (mut opened, mut answered) = (false, false);
        let before = inner.outgoing.len();
        loop {
            match step(&mut inner, &mut buffer, shared.limit, &mut answered) {
                Ok(Some(opens)) => opened |= opens,
                Ok(None) => break,
                Err(why) => {
                    inner.push(Header { kind: Kind::GoAway, flags: Flags::NONE, stream: 0, length: 1 });
                    return MuxError::Protocol(why);
                }
            }
        }
        let wrote = inner.outgoing.len() > before;
        if inner.outgoing.len() > OUTGOING_CLOSE {
            return MuxError::Protocol("does not take its answers");
        }
        // Replies are what we asked for, however long; requests are what anybody may send.
        if inner.accepts && inner.buffered > BUFFERED_LIMIT {
            return MuxError::Protocol("too much of unfinished requests");
        }
        drop(inner);
        if opened {
            shared.accept.notify_one();
        }
        if wrote || answered {
            shared.out.notify_one();
        }
    }
}

/// Takes one frame in; whether it opened a stream, or nothing if it is not here as a whole.
fn step(
    inner: &mut Inner,
    buffer: &mut BytesMut,
    limit: usize,
    answered: &mut bool,
) -> Result<Option<bool>, &'static str> {
    let Some(header) = Header::read(buffer)? else { return Ok(None) };
    let payload = match header.kind {
        Kind::Data => header.length as usize,
        _ => 0,
    };
    let mut opened = false;
    let known = inner.streams.contains_key(&header.stream);
    let opens = header.flags.has(Flags::SYN) && matches!(header.kind, Kind::Data | Kind::WindowUpdate);
    if header.length > WINDOW && payload > 0 {
        return Err("window exceeded");
    }
    if buffer.len() < LENGTH + payload {
        // Who may send so much is looked at before it is waited for.
        let credit = inner.streams.get(&header.stream).map(|state| state.credit);
        let credit = if opens { Some(WINDOW) } else { credit };
        if credit.is_some_and(|credit| header.length > credit) {
            return Err("window exceeded");
        }
        buffer.reserve(LENGTH + payload - buffer.len());
        return Ok(None);
    }
    buffer.advance(LENGTH);
    let data = buffer.split_to(payload);
    match header.kind {
        Kind::Ping => {
            if header.flags.has(Flags::SYN) {
                inner.push(Header { flags: Flags::ACK, ..header });
            } else if header.flags.has(Flags::ACK) {
                inner.ping_sent = false;
                // The writer counts anew.
                *answered = true;
            }
        }
        Kind::GoAway => inner.remote_away = true,
        Kind::Data | Kind::WindowUpdate => {
            if opens {
                if known {
                    return Err("duplicate stream");
                }
                if header.stream == 0 || (header.stream % 2 == 1) != inner.accepts {
                    return Err("stream id of the wrong side");
                }
                if !inner.accepts || inner.local_away || inner.streams.len() >= MAX_STREAMS {
                    inner.window(header.stream, Flags::RST, 0);
                    return Ok(Some(false));
                }
                inner.add(header.stream);
                inner.opened.push_back(header.stream);
                inner.window(header.stream, Flags::ACK, 0);
                opened = true;
            }
            receive(inner, header, &data, limit)?;
        }
    }
    Ok(Some(opened))
}

fn receive(inner: &mut Inner, header: Header, data: &[u8], limit: usize) -> Result<(), &'static str> {
    // What comes for a stream we let go is nobody's business any more.
    let Some(state) = inner.streams.get_mut(&header.stream) else { return Ok(()) };
    if header.kind == Kind::WindowUpdate {
        state.window = state.window.checked_add(header.length).ok_or("window overflow")?;
    } else if !data.is_empty() {
        state.credit = state.credit.checked_sub(header.length).ok_or("window exceeded")?;
        state.buffer.extend_from_slice(data);
        state.owed += header.length;
        inner.buffered += data.len();
    }
    state.finished |= header.flags.has(Flags::FIN);
    state.reset |= header.flags.has(Flags::RST);
    state.wake.notify_one();
    let back = state.settle(limit);
    if back > 0 {
        inner.window(header.stream, Flags::NONE, back);
    }
    Ok(())
}
