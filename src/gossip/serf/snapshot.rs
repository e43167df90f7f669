//! The snapshot file: which members were alive and what the clocks showed, so that the next life of this
//! member finds its pool again and takes nothing old for news.
//!
//! ```text
//! alive: node1 10.0.0.1:8301
//! clock: 17
//! event-clock: 4
//! query-clock: 2
//! not-alive: node1
//! leave
//! ```
//!
//! Lines are appended as things happen, and the file is written anew when it grew far beyond what it
//! says. This module makes and reads the lines; the file is the host's.
//!
//! Source: section 8.6 of the project's notes on the gossip wire; the file can be read by a stock agent.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use super::clock::{Clock, Clocks};
use crate::gossip::effect::Outputs;
use crate::gossip::time::Moment;

/// A file below this size is never written anew.
const SMALL: usize = 128 * 1024;
/// What a member may take in the file before it is written anew.
const PER_MEMBER: usize = 2 * 128;
/// Clocks are written at most this often.
const CLOCK_INTERVAL: Duration = Duration::from_millis(500);

/// What a snapshot says.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Past {
    /// Members that were alive, by name.
    pub alive: BTreeMap<String, SocketAddr>,
    /// The last times that were heard of.
    pub clocks: Clocks,
}

impl Past {
    /// Reads a snapshot. Lines nobody understands are passed over, and so is a last line that was cut.
    /// A goodbye ends everything before it, unless `rejoin_after_leave`.
    pub fn read(bytes: &[u8], rejoin_after_leave: bool) -> Self {
        let mut past = Self::default();
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        for line in bytes.get(..whole).unwrap_or_default().split(|byte| *byte == b'\n') {
            let Ok(line) = std::str::from_utf8(line) else { continue };
            if line == "leave" {
                if !rejoin_after_leave {
                    past = Self::default();
                }
                continue;
            }
            let Some((key, value)) = line.split_once(": ") else { continue };
            let time = || value.parse().ok().filter(|time| Clock::default().believes(*time));
            match key {
                "alive" => {
                    if let Some((name, addr)) = value.rsplit_once(' ')
                        && let Ok(addr) = addr.parse()
                    {
                        past.alive.insert(name.to_owned(), addr);
                    }
                }
                "not-alive" => {
                    past.alive.remove(value);
                }
                "clock" => past.clocks.member = time().unwrap_or(past.clocks.member),
                "event-clock" => past.clocks.event = time().unwrap_or(past.clocks.event),
                "query-clock" => past.clocks.query = time().unwrap_or(past.clocks.query),
                _ => {}
            }
        }
        past
    }
}

/// Writes the lines.
#[derive(Debug)]
pub struct Journal {
    /// How long the file is.
    size: usize,
    /// The clocks as the file has them, and when they may be written again.
    written: Clocks,
    due: Moment,
    /// Members of an earlier life that were not heard of in this one.
    unheard: BTreeMap<String, SocketAddr>,
    /// After a goodbye nothing is written.
    closed: bool,
}

impl Journal {
    /// Continues a file of `size` bytes that says `past`.
    pub fn new(size: usize, past: &Past) -> Self {
        Self { size, written: past.clocks, due: Moment::NEVER, unheard: past.alive.clone(), closed: false }
    }

    /// A member is alive.
    pub fn alive(&mut self, name: &str, addr: SocketAddr, out: &mut Outputs) {
        self.unheard.remove(name);
        if is_writable(name) {
            self.line(format_args!("alive: {name} {addr}\n"), out);
        }
    }

    /// A member left or failed.
    pub fn not_alive(&mut self, name: &str, out: &mut Outputs) {
        self.unheard.remove(name);
        if is_writable(name) {
            self.line(format_args!("not-alive: {name}\n"), out);
        }
    }

    /// The clocks may have moved: remembers to write them soon.
    pub fn watch(&mut self, clocks: Clocks, now: Moment) {
        if self.due == Moment::NEVER && clocks != self.written && !self.closed {
            self.due = now + CLOCK_INTERVAL;
        }
    }

    /// When [`Journal::tick`] has something to do.
    pub fn due(&self) -> Moment {
        self.due
    }

    /// Writes the clocks if it is time.
    pub fn tick(&mut self, clocks: Clocks, now: Moment, out: &mut Outputs) {
        if now >= self.due {
            self.clocks(clocks, out);
        }
    }

    fn clocks(&mut self, clocks: Clocks, out: &mut Outputs) {
        self.due = Moment::NEVER;
        let old = std::mem::replace(&mut self.written, clocks);
        let pairs = [
            ("clock", old.member, clocks.member),
            ("event-clock", old.event, clocks.event),
            ("query-clock", old.query, clocks.query),
        ];
        for (key, old, new) in pairs {
            if new != old {
                self.line(format_args!("{key}: {new}\n"), out);
            }
        }
    }

    /// This member says goodbye; nothing is written after it.
    pub fn leave(&mut self, clocks: Clocks, out: &mut Outputs) {
        self.clocks(clocks, out);
        self.line(format_args!("leave\n"), out);
        self.closed = true;
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>, out: &mut Outputs) {
        if self.closed {
            return;
        }
        let before = out.snapshot.len();
        // Writing to memory does not fail.
        let _ = out.snapshot.write_fmt(line);
        self.size += out.snapshot.len() - before;
    }

    /// Whether the file of so many members is to be written anew.
    pub fn is_long(&self, members: usize) -> bool {
        !self.closed && self.size > SMALL.max(members * PER_MEMBER)
    }

    /// Writes the file anew, with these members alive.
    pub fn rewrite<'a>(
        &mut self,
        alive: impl Iterator<Item = (&'a str, SocketAddr)>,
        clocks: Clocks,
        out: &mut Outputs,
    ) {
        out.snapshot.clear();
        out.snapshot_anew = true;
        self.size = 0;
        let unheard = std::mem::take(&mut self.unheard);
        let mut write = |name: &str, addr| {
            if is_writable(name) {
                self.line(format_args!("alive: {name} {addr}\n"), out);
            }
        };
        for (name, addr) in &unheard {
            write(name, *addr);
        }
        alive.for_each(|(name, addr)| write(name, addr));
        self.unheard = unheard;
        self.written = Clocks::default();
        self.clocks(clocks, out);
    }
}

/// Whether a name fits into a line.
fn is_writable(name: &str) -> bool {
    !name.is_empty() && !name.contains('\n')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn addr(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn clocks(member: u64, event: u64, query: u64) -> Clocks {
        Clocks { member, event, query }
    }

    const STOCK: &[u8] = b"alive: one 10.0.0.1:8301\n\
        alive: two words [fd00::2]:8301\n\
        clock: 12\n\
        coordinate: {\"Vec\":[0]}\n\
        event-clock: 7\n\
        alive: gone 10.0.0.3:8301\n\
        # a remark\n\
        not-alive: gone\n\
        query-clock: 3\n\
        clock: 13\n";

    #[test]
    fn a_stock_agents_file_is_understood() {
        let past = Past::read(STOCK, false);
        let alive =
            [("one".to_owned(), addr("10.0.0.1:8301")), ("two words".to_owned(), addr("[fd00::2]:8301"))];
        assert_eq!(past, Past { alive: alive.into(), clocks: clocks(13, 7, 3) });
    }

    #[test]
    fn a_goodbye_ends_what_was_before_it() {
        let mut file = STOCK.to_vec();
        file.extend_from_slice(b"leave\n");
        assert_eq!(Past::read(&file, false), Past::default());
        assert_eq!(Past::read(&file, true).alive.len(), 2);
        file.extend_from_slice(b"alive: three 10.0.0.9:1\n");
        assert_eq!(Past::read(&file, false).alive.len(), 1);
    }

    #[test]
    fn what_was_cut_or_is_nonsense_is_passed_over() {
        let past = Past::read(
            b"alive: x\nalive: y nowhere\nclock: no\nclock: 99999999999999999999\nclock: 9\nclock: 12",
            false,
        );
        assert_eq!(past, Past { alive: BTreeMap::new(), clocks: clocks(9, 0, 0) });
    }

    #[test]
    fn clocks_are_written_at_an_interval_and_only_if_they_moved() {
        let mut out = Outputs::default();
        let mut journal = Journal::new(0, &Past::default());
        journal.watch(Clocks::default(), Moment(0));
        assert_eq!(journal.due(), Moment::NEVER);
        journal.watch(clocks(4, 0, 0), Moment(0));
        let due = Moment(0) + CLOCK_INTERVAL;
        assert_eq!(journal.due(), due);
        journal.tick(clocks(5, 0, 1), Moment(due.0 - 1), &mut out);
        assert_eq!(out.snapshot, b"");
        journal.tick(clocks(5, 0, 1), due, &mut out);
        assert_eq!(out.snapshot, b"clock: 5\nquery-clock: 1\n");
        assert_eq!(journal.due(), Moment::NEVER);
    }

    #[test]
    fn a_long_file_is_written_anew_and_keeps_members_not_heard_of_yet() {
        let past = Past::read(STOCK, false);
        let mut journal = Journal::new(STOCK.len(), &past);
        let mut out = Outputs::default();
        while !journal.is_long(2) {
            journal.alive("one", addr("10.0.0.1:8301"), &mut out);
            journal.not_alive("one", &mut out);
        }
        assert!(out.snapshot.len() > SMALL / 2 && !journal.is_long(1_000));
        journal.rewrite([("me", addr("10.0.0.7:8301"))].into_iter(), clocks(1, 2, 3), &mut out);
        assert!(out.snapshot_anew && !journal.is_long(2));
        let expected = "alive: two words [fd00::2]:8301\nalive: me 10.0.0.7:8301\nclock: 1\nevent-clock: 2\nquery-clock: 3\n";
        assert_eq!(String::from_utf8_lossy(&out.snapshot), expected);
    }

    #[test]
    fn nothing_is_written_after_a_goodbye() {
        let (mut journal, mut out) = (Journal::new(0, &Past::default()), Outputs::default());
        journal.leave(clocks(2, 0, 0), &mut out);
        journal.not_alive("x", &mut out);
        journal.watch(clocks(3, 0, 0), Moment(0));
        assert_eq!((out.snapshot.as_slice(), journal.due()), (&b"clock: 2\nleave\n"[..], Moment::NEVER));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            said in prop::collection::vec(("[a-z :.\\\\]{1,6}", any::<bool>(), any::<u32>(), any::<u16>()), 0..30),
            times in any::<[u32; 3]>(),
        ) {
            let (mut journal, mut out) = (Journal::new(0, &Past::default()), Outputs::default());
            let mut alive = BTreeMap::new();
            for (name, lives, ip, port) in said {
                let addr = SocketAddr::from((std::net::Ipv4Addr::from(ip), port));
                if lives {
                    journal.alive(&name, addr, &mut out);
                    alive.insert(name, addr);
                } else {
                    journal.not_alive(&name, &mut out);
                    alive.remove(&name);
                }
            }
            let clocks = clocks(times[0].into(), times[1].into(), times[2].into());
            journal.watch(clocks, Moment(0));
            journal.tick(clocks, Moment(0) + CLOCK_INTERVAL, &mut out);
            prop_assert_eq!(Past::read(&out.snapshot, false), Past { alive, clocks });
        }

        #[test]
        fn junk_is_no_panic(file in prop::collection::vec(any::<u8>(), 0..200)) {
            Past::read(&file, true);
        }
    }
}
