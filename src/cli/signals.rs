//! Ctrl-C and SIGTERM as messages, for commands that run until they are told to stop.

use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

/// A request to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Ctrl-C.
    Interrupt,
    /// SIGTERM.
    Terminate,
}

/// What came first.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum First<T> {
    /// A result.
    Result(T),
    /// No further result will come.
    Ended,
    /// A request to stop.
    Signal(Signal),
}

/// Waits for the next of `results` or a signal; results arrive at once, signals within 50 ms.
pub(super) fn first<T>(signals: &Receiver<Signal>, results: &Receiver<T>) -> First<T> {
    loop {
        if let Ok(signal) = signals.try_recv() {
            return First::Signal(signal);
        }
        match results.recv_timeout(Duration::from_millis(50)) {
            Ok(result) => return First::Result(result),
            Err(RecvTimeoutError::Disconnected) => return First::Ended,
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

/// Runs `work` in a thread of its own; its result arrives here.
pub(super) fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Receiver<T> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        // Nobody listens any more after a signal.
        let _ = sender.send(work());
    });
    receiver
}

/// From now on the two signals arrive here instead of ending the process.
///
/// If the handlers cannot be installed the signals keep their usual effect and nothing arrives.
pub fn listen() -> Receiver<Signal> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_io().build() else { return };
        runtime.block_on(async {
            let (Ok(mut interrupt), Ok(mut terminate)) =
                (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
            else {
                return;
            };
            loop {
                let got = tokio::select! {
                    _ = interrupt.recv() => Signal::Interrupt,
                    _ = terminate.recv() => Signal::Terminate,
                };
                if sender.send(got).is_err() {
                    return;
                }
            }
        });
    });
    receiver
}
