//! Whatever arrives on a stream of Consul's RPC, however it is cut: no panic, the same frames, and a body that
//! can be read as a request or a reply can be written and read again.
//!
//! `cargo +nightly fuzz run rpc_frame -- -max_total_time=600` in the directory above. The first byte says how
//! the others are cut. The corpus holds recorded requests and replies behind such a byte.

#![no_main]

use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use tribune::endpoints::decode::records::{DeregisterRequest, RegisterRequest};
use tribune::rpc::codec::frame::{Frames, request_header};
use tribune::rpc::codec::{Malformed, Pack, Unpack, from_bytes, to_bytes};
use tribune::rpc::shapes::{
    AutopilotSetConfig, CoordinateUpdate, DirEntries, EventFire, HealthChecks, KeyRequest, KeyringRequest,
    KvsRequest, NodeDump, NodeRequest, Nodes, OperatorHealth, RaftConfiguration, RaftRemovePeer, ReplyMeta,
    ServiceNodes, ServiceRequest, Services, SessionApply, Sessions, TxnReadRequest, TxnRequest, TxnResponse,
};

/// Longest body, as for real streams but smaller.
const LIMIT: usize = 64 * 1024;

fn frames(bytes: &[u8], chunk: usize) -> (Vec<(Bytes, Bytes)>, Result<(), Malformed>) {
    let (mut frames, mut buffer, mut found) = (Frames::new(LIMIT), BytesMut::new(), Vec::new());
    for piece in bytes.chunks(chunk) {
        buffer.extend_from_slice(piece);
        loop {
            match frames.next(&mut buffer) {
                Ok(Some(frame)) => found.push(frame),
                Ok(None) => break,
                Err(error) => return (found, Err(error)),
            }
        }
    }
    (found, Ok(()))
}

fn again<T: Pack + Unpack>(body: &[u8]) {
    if let Ok(value) = from_bytes::<T>(body) {
        let bytes = to_bytes(&value);
        let read = from_bytes::<T>(&bytes).expect("what was written can be read");
        assert_eq!(to_bytes(&read), bytes);
    }
}

macro_rules! all {
    ($body:expr => $($shape:ty),* $(,)?) => { $(again::<$shape>($body);)* };
}

fuzz_target!(|input: &[u8]| {
    let Some((&cut, bytes)) = input.split_first() else { return };
    let (whole, end) = frames(bytes, usize::MAX);
    let (pieces, cut_end) = frames(bytes, 1 + usize::from(cut));
    assert_eq!(whole, pieces);
    assert_eq!(end.is_ok(), cut_end.is_ok());
    for (header, body) in &whole {
        _ = request_header(header);
        all!(body => AutopilotSetConfig, CoordinateUpdate, DeregisterRequest, DirEntries, EventFire,
            HealthChecks, KeyRequest, KeyringRequest, KvsRequest, NodeDump, NodeRequest, Nodes, OperatorHealth,
            RaftConfiguration, RaftRemovePeer, RegisterRequest, ReplyMeta, ServiceNodes, ServiceRequest,
            Services, SessionApply, Sessions, TxnReadRequest, TxnRequest, TxnResponse);
    }
});
