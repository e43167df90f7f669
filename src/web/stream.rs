//! Bodies that are sent as they come: too large to be held in memory, or without an end.

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use actix_web::body::{BodySize, MessageBody};
use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use parking_lot::Mutex;
use tokio::sync::mpsc;

/// Size of the pieces, in bytes.
const PIECE: usize = 64 << 10;
/// How many pieces may wait to be sent; the maker waits beyond that.
const PIECES: usize = 8;

type Piece = Result<Bytes, io::Error>;

/// The sending end of a streamed body, to be written on a thread that may block.
#[derive(Debug)]
pub struct BodyWriter {
    pieces: mpsc::Sender<Piece>,
    buffer: Vec<u8>,
}

/// The receiving end, for [`super::Reply::stream`]. Clones share it; one of them is sent.
#[derive(Debug, Clone)]
pub struct BodyStream(Arc<Mutex<Option<mpsc::Receiver<Piece>>>>);

/// The two ends of a streamed body.
pub fn body() -> (BodyWriter, BodyStream) {
    let (sender, receiver) = mpsc::channel(PIECES);
    (BodyWriter { pieces: sender, buffer: Vec::new() }, BodyStream(Arc::new(Mutex::new(Some(receiver)))))
}

/// A body of lines that are sent as they come, until `lines` ends or the client goes.
pub fn lines(lines: impl Stream<Item = String> + 'static) -> BodyStream {
    let (sender, receiver) = mpsc::channel(PIECES);
    actix_web::rt::spawn(async move {
        let mut lines = pin!(lines);
        loop {
            let line = tokio::select! {
                line = lines.next() => line,
                () = sender.closed() => None,
            };
            let Some(mut line) = line else { return };
            line.push('\n');
            if sender.send(Ok(line.into())).await.is_err() {
                return;
            }
        }
    });
    BodyStream(Arc::new(Mutex::new(Some(receiver))))
}

/// A body that comes from somewhere else, piece by piece.
pub fn pieces(pieces: impl Stream<Item = Piece> + 'static) -> BodyStream {
    let (sender, receiver) = mpsc::channel(PIECES);
    actix_web::rt::spawn(async move {
        let mut pieces = pin!(pieces);
        while let Some(piece) = pieces.next().await {
            if sender.send(piece).await.is_err() {
                return;
            }
        }
    });
    BodyStream(Arc::new(Mutex::new(Some(receiver))))
}

impl BodyWriter {
    fn send(&mut self, piece: Piece) -> io::Result<()> {
        self.pieces.blocking_send(piece).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    /// Breaks the connection, so that the client does not take half a body for a whole one.
    pub fn fail(mut self, error: io::Error) {
        self.buffer.clear();
        // Nobody listens any more: nothing left to break.
        let _ = self.send(Err(error));
    }
}

impl io::Write for BodyWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= PIECE {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let piece = std::mem::take(&mut self.buffer);
        self.send(Ok(piece.into()))
    }
}

/// The body of a response: whole, as nearly all are, or streamed.
pub(super) enum Body {
    Whole(Bytes),
    Stream(Option<mpsc::Receiver<Piece>>),
}

impl From<BodyStream> for Body {
    fn from(stream: BodyStream) -> Self {
        Self::Stream(stream.0.lock().take())
    }
}

impl MessageBody for Body {
    type Error = io::Error;

    fn size(&self) -> BodySize {
        match self {
            Self::Whole(bytes) => BodySize::Sized(bytes.len() as u64),
            Self::Stream(_) => BodySize::Stream,
        }
    }

    fn poll_next(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        match self.get_mut() {
            Self::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Whole(bytes) => Poll::Ready(Some(Ok(std::mem::take(bytes)))),
            Self::Stream(Some(pieces)) => pieces.poll_recv(context),
            // A clone of the reply was sent already.
            Self::Stream(None) => Poll::Ready(Some(Err(io::ErrorKind::BrokenPipe.into()))),
        }
    }

    fn try_into_bytes(self) -> Result<Bytes, Self> {
        match self {
            Self::Whole(bytes) => Ok(bytes),
            stream @ Self::Stream(_) => Err(stream),
        }
    }
}
