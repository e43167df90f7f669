//! Whatever another server says on the servers' own wire: what can be read can be written and read again, and
//! no message, however false, ends a raft node.
//!
//! `cargo +nightly fuzz run peer_message -- -max_total_time=600` in the directory above. An input is messages,
//! each behind its length in two bytes, for one of three servers; a byte before them says whether it leads. The
//! corpus holds what such a group says.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tribune::raft::{
    Driver, DriverConfig, Effect, Membership, MemoryLog, PeerMessage, ProposalId, ServerRecord,
};

fn server(number: usize) -> ServerRecord {
    ServerRecord {
        node_id: format!("node-{number}"),
        name: format!("n{number}"),
        address: format!("10.0.0.{number}:8300"),
    }
}

type Node = Driver<MemoryLog, ()>;

fn open() -> Node {
    let bootstrap = Some(Membership::founding((0..3).map(server)));
    let config = DriverConfig { bootstrap, ..DriverConfig::new(server(0).raft_id()) };
    Driver::open(config, MemoryLog::new(), 0, 1).expect("a group can be founded")
}

/// Carries out what a node wants: entries are applied at once, messages go nowhere.
fn pump(node: &mut Node) {
    loop {
        let (mut applied, mut installed, mut any) = (0, None, false);
        node.pump(&mut |effect| {
            any = true;
            match effect {
                Effect::Apply(batch) => applied = batch.last().map_or(applied, |entry| entry.index),
                Effect::InstallSnapshot(manifest) => installed = Some(manifest.index),
                _ => {}
            }
        })
        .expect("memory does not fail");
        if let Some(index) = installed {
            node.snapshot_installed(index).expect("it was to be installed");
        }
        if applied > 0 {
            node.applied(applied).expect("it was handed out");
        }
        if !any {
            return;
        }
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((&leads, mut rest)) = input.split_first() else { return };
    let mut node = open();
    if leads % 2 == 1 {
        node.campaign().expect("it may stand");
        pump(&mut node);
    }
    let mut now = 0;
    while let Some((length, tail)) = rest.split_first_chunk::<2>() {
        let length = usize::from(u16::from_be_bytes(*length)).min(tail.len());
        let (bytes, tail) = tail.split_at(length);
        rest = tail;
        now += 37;
        let Ok(message) = PeerMessage::decode(bytes) else { continue };
        let written = message.encode().expect("what was read can be written");
        assert_eq!(PeerMessage::decode(&written).as_ref(), Ok(&message));
        let _ = node.step(message, now).expect("no message ends a node");
        pump(&mut node);
        node.tick(now).expect("nor does time");
        pump(&mut node);
        let _ = node.propose(ProposalId { origin: 1, sequence: now }, "x".into(), ());
        pump(&mut node);
    }
});
