//! A blocking query that waits at the server while the test goes on.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError, channel};
use std::time::{Duration, Instant};

use super::agent::Agent;
use super::http::{Answer, Client};

/// A query in flight.
#[derive(Debug)]
pub struct Parked {
    target: String,
    answers: Receiver<(io::Result<Answer>, Duration)>,
    early: Option<(io::Result<Answer>, Duration)>,
}

impl Parked {
    /// Asks for `target` with this index and longest wait and returns once the query waits: the
    /// agent has read it off its socket and has answered other requests since.
    pub fn start(agent: &Agent, target: &str, index: u64, wait: Duration) -> Self {
        let separator = if target.contains('?') { '&' } else { '?' };
        let target = format!("{target}{separator}index={index}&wait={}ms", wait.as_millis());
        let (sender, answers) = channel();
        let mut client = Client::new(agent.http()).patience(wait + wait / 8 + Duration::from_secs(30));
        let asked = target.clone();
        std::thread::spawn(move || {
            let start = Instant::now();
            let answer = client.get(&asked);
            // Nobody listens any more once the test is over.
            sender.send((answer, start.elapsed())).ok();
        });
        let parked = Self { target, answers, early: None };
        agent.settle();
        parked
    }

    /// It has not been answered yet.
    pub fn waits(&mut self) -> bool {
        if self.early.is_none() {
            match self.answers.try_recv() {
                Ok(answer) => self.early = Some(answer),
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => panic!("{}: the query's thread died", self.target),
            }
        }
        false
    }

    /// The answer and how long it took, if it comes within `limit`.
    #[track_caller]
    pub fn answer(self, limit: Duration) -> (Answer, Duration) {
        let received = match self.early {
            Some(answer) => Ok(answer),
            None => self.answers.recv_timeout(limit),
        };
        match received {
            Ok((Ok(answer), took)) => (answer, took),
            Ok((Err(error), took)) => panic!("{} failed after {took:?}: {error}", self.target),
            Err(RecvTimeoutError::Timeout) => panic!("{} is still parked after {limit:?}", self.target),
            Err(RecvTimeoutError::Disconnected) => panic!("{}: the query's thread died", self.target),
        }
    }
}
