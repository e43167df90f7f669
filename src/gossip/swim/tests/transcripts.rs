//! Rounds of the protocol as texts that can be read and compared: `testdata/*.txt`.
//!
//! A transcript is a list of commands for one member called `me` at port 1; under each, after `----`, what
//! came of it. With `TRIBUNE_REWRITE_TRANSCRIPTS` set the files are written anew.
//!
//! ```text
//! know NAME...                 members that are alive in incarnation 5, at ports 2, 3...
//! hear MESSAGE [; MESSAGE]     a packet from port 9 (alive, suspect, dead, ping, indirect, ack, nack, user)
//! pass MILLISECONDS            everything that is due is done
//! leave                        says goodbye
//! state                        the table
//! ```

use std::path::{Path, PathBuf};

use super::*;
use crate::gossip::wire::{Ack, IndirectPing, Ping};

struct Transcript {
    lab: Lab,
    start: Moment,
}

impl Transcript {
    fn run(&mut self, command: &str) -> String {
        let (verb, rest) = command.split_once(' ').unwrap_or((command, ""));
        let mut text = String::new();
        match verb {
            "know" => self.lab.meet(&rest.split(' ').collect::<Vec<_>>()),
            "hear" => {
                let messages: Vec<_> = rest.split("; ").map(|message| self.message(message)).collect();
                self.lab.hear(&messages);
            }
            "pass" => {
                let end = self.lab.now + Duration::from_millis(rest.parse().unwrap());
                while self.lab.swim.deadline(&self.lab.log) <= end {
                    let wait = self.lab.swim.deadline(&self.lab.log).since(self.lab.now);
                    self.lab.pass(wait);
                    self.collect(&mut text);
                }
                self.lab.now = end;
            }
            "leave" => {
                let Lab { swim, log, out, now, .. } = &mut self.lab;
                swim.leave(*now, Duration::from_secs(5), log, out);
            }
            "state" => {
                for entry in self.lab.swim.table() {
                    writeln!(text, "{} {:?} {}", entry.node.name, entry.state, entry.incarnation).unwrap();
                }
                let (health, left) = (self.lab.swim.health_score(), self.lab.swim.left());
                writeln!(text, "health {health}, queued {}, left {left}", self.lab.swim.queued()).unwrap();
            }
            _ => panic!("unknown command {verb:?}"),
        }
        self.collect(&mut text);
        if text.is_empty() { "nothing\n".to_owned() } else { text }
    }

    fn collect(&mut self, text: &mut String) {
        let millis = self.lab.now.since(self.start).as_millis();
        for line in self.lab.told() {
            writeln!(text, "{millis:>6} told  {line}").unwrap();
        }
        for line in self.lab.sent() {
            writeln!(text, "{millis:>6} to    {line}").unwrap();
        }
        for exchange in std::mem::take(&mut self.lab.out.exchanges) {
            let (port, within) = (exchange.to.port(), exchange.timeout);
            writeln!(text, "{millis:>6} open  {port}: {} bytes within {within:?}", exchange.request.len())
                .unwrap();
        }
    }

    fn message<'a>(&self, text: &'a str) -> Message<'a> {
        let words: Vec<&str> = text.split(' ').collect();
        let number = |at: usize| words[at].parse::<u32>().unwrap();
        let seq = |at: usize| match words[at].strip_prefix('#') {
            Some(own) => self.lab.seq.wrapping_add(own.parse().unwrap()),
            None => number(at),
        };
        let port = |at: usize| u16::try_from(number(at)).unwrap();
        match words[0] {
            "alive" => alive(words[1], port(3), number(2)),
            "suspect" => suspect(words[1], number(2), words[3]),
            "dead" => dead(words[1], number(2), words[3]),
            "ping" => {
                Message::Ping(Ping { seq: seq(1), node: words[2].as_bytes(), source: None, source_node: b"" })
            }
            "indirect" => Message::IndirectPing(IndirectPing {
                seq: seq(1),
                target: addr(port(3)),
                node: words[2].as_bytes(),
                nack: true,
                source: None,
                source_node: b"",
            }),
            "ack" => Message::Ack(Ack { seq: seq(1), payload: None }),
            "nack" => Message::Nack(seq(1)),
            "user" => Message::User(words[1].as_bytes()),
            other => panic!("unknown message {other:?}"),
        }
    }
}

/// Runs all commands of a transcript and writes what came of them under each.
fn replay(text: &str) -> String {
    let lab = Lab::new();
    let start = lab.now;
    let mut transcript = Transcript { lab, start };
    transcript.lab.quiet();
    let mut result = String::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        writeln!(result, "{line}").unwrap();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        write!(result, "----\n{}", transcript.run(line)).unwrap();
        while lines.next_if(|line| !line.is_empty()).is_some() {}
    }
    result
}

#[test]
fn transcripts_come_out_as_written() {
    let folder: PathBuf = Path::new(file!()).parent().unwrap().join("../testdata");
    let folder = if folder.is_dir() { folder } else { Path::new(env!("CARGO_MANIFEST_DIR")).join(folder) };
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 3);
    for file in files {
        let written = std::fs::read_to_string(&file).unwrap();
        let now = replay(&written);
        if std::env::var_os("TRIBUNE_REWRITE_TRANSCRIPTS").is_some() {
            std::fs::write(&file, now).unwrap();
        } else {
            assert_eq!(now, written, "{}", file.display());
        }
    }
}
