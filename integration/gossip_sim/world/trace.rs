//! What happened, as one number: two runs of the same seed must end with the same.

use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

use foldhash::fast::FixedState;

/// A hash over everything that happens, in order.
#[derive(Debug)]
pub struct Trace {
    hash: u64,
    print: bool,
}

impl Trace {
    /// An empty one; `print` shows every step on standard error.
    pub fn new(print: bool) -> Self {
        Self { hash: 0, print }
    }

    /// Something happened to a node.
    pub fn note(&mut self, at: u64, node: usize, what: &str, bytes: &[u8]) {
        let mut hasher = FixedState::with_seed(self.hash).build_hasher();
        hasher.write_u64(at);
        hasher.write_usize(node);
        hasher.write(what.as_bytes());
        hasher.write(bytes);
        self.hash = hasher.finish();
        if self.print {
            let at = Duration::from_nanos(at).as_secs_f64();
            eprintln!("{at:12.6} {node:3} {what} {} bytes, {:016x}", bytes.len(), self.hash);
        }
    }

    /// Something to be read, not to be compared.
    pub fn say(&self, at: u64, text: impl FnOnce() -> String) {
        if self.print {
            eprintln!("{:12.6} --- {}", Duration::from_nanos(at).as_secs_f64(), text());
        }
    }

    /// The number.
    pub fn hash(&self) -> u64 {
        self.hash
    }
}
