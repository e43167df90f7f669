//! What stock Consul 1.8.7 agents said to each other: every message reads, and is written again as it was.

use std::sync::Arc;

use bytes::BytesMut;

use super::super::codec::frame::{Frames, RequestHeader, ResponseHeader};
use super::super::codec::{Cursor, Pack, Unpack, from_bytes, to_bytes};
use super::super::shapes::*;
use super::{any, recorded};
use crate::endpoints::decode::records::{DeregisterRequest, RegisterRequest};
use crate::state::record::Session;

fn frame(file: &str) -> (Vec<u8>, Vec<u8>) {
    let mut buffer = BytesMut::from(&*recorded(file));
    let (header, body) = Frames::new(1 << 20).next(&mut buffer).unwrap().unwrap();
    assert!(buffer.is_empty(), "{file}");
    (header.to_vec(), body.to_vec())
}

/// How the bytes written again may differ from those read.
#[derive(Clone, Copy, PartialEq)]
enum Same {
    /// Not at all.
    Bytes,
    /// In the order of maps, in what is nil or empty, and in tokens, which the endpoints do not take yet.
    Meaning,
}

fn again<T: Pack + Unpack>(file: &str, body: &[u8], same: Same) -> T {
    let value: T = from_bytes(body).unwrap_or_else(|error| panic!("{file}: {error}"));
    let bytes = to_bytes(&value);
    if bytes != body {
        assert!(
            same == Same::Meaning,
            "{file}: bytes differ\n{}\n{}",
            body.escape_ascii(),
            bytes.escape_ascii()
        );
        let [mut want, mut found] = [body, &bytes].map(|bytes| any(&mut Cursor::new(bytes)));
        for value in [&mut want, &mut found] {
            if let super::Any::Map(pairs) = value {
                pairs.remove("Token");
                // Weights left out are 1 and 1 to the catalog.
                if let Some(super::Any::Map(service)) = pairs.get_mut("Service") {
                    let one = || super::Any::Int(1);
                    let ones = [("Passing".to_owned(), one()), ("Warning".to_owned(), one())].into();
                    if service.get("Weights") == Some(&super::Any::Nothing) {
                        service.insert("Weights".to_owned(), super::Any::Map(ones));
                    }
                }
            }
        }
        assert_eq!(found, want, "{file}");
    }
    value
}

fn call<Q: Pack + Unpack, R: Pack + Unpack>(name: &str, same: Same) -> (Q, R) {
    let (header, body) = frame(&format!("{name}.req.bin"));
    let request: RequestHeader = again(name, &header, Same::Bytes);
    let method = name.splitn(3, '_').take(2).collect::<Vec<_>>().join(".");
    assert_eq!(request.service_method, method);
    let query = again(name, &body, same);
    let (header, body) = frame(&format!("{name}.resp.bin"));
    let response: ResponseHeader = again(name, &header, Same::Bytes);
    assert_eq!((response.service_method, response.error), (method, String::new()));
    assert!(request.seq > 0);
    (query, again(name, &body, same))
}

#[test]
fn calls() {
    use Same::{Bytes, Meaning};
    call::<Query<DcRequest>, String>("Status_Leader", Bytes);
    call::<Query<DcRequest>, Vec<String>>("Status_Peers", Bytes);
    call::<(), RaftStats>("Status_RaftStats", Bytes);
    call::<DeregisterRequest, ()>("Catalog_Deregister", Meaning);
    call::<Query<ServiceRequest>, Reply<GatewayServices>>("Catalog_GatewayServices", Bytes);
    call::<Merged1<()>, Vec<String>>("Catalog_ListDatacenters", Bytes);
    call::<Query<DcRequest>, Reply<Nodes>>("Catalog_ListNodes", Meaning);
    call::<Query<DcRequest>, Reply<Services>>("Catalog_ListServices", Meaning);
    call::<Query<NodeRequest>, Reply<NodeServiceList>>("Catalog_NodeServiceList", Meaning);
    call::<Query<NodeRequest>, Reply<NodeServices>>("Catalog_NodeServices", Meaning);
    call::<RegisterRequest, ()>("Catalog_Register", Meaning);
    for at in 2..=10 {
        call::<RegisterRequest, ()>(&format!("Catalog_Register_{at}"), Meaning);
    }
    call::<Query<ServiceRequest>, Reply<ServiceNodes>>("Catalog_ServiceNodes", Meaning);
    call::<(), Vec<DatacenterMap>>("Coordinate_ListDatacenters", Bytes);
    call::<Query<DcRequest>, Reply<Coordinates>>("Coordinate_ListNodes", Bytes);
    call::<Query<NodeRequest>, Reply<Coordinates>>("Coordinate_Node", Bytes);
    call::<CoordinateUpdate, ()>("Coordinate_Update", Bytes);
    call::<Query<ChecksInStateRequest>, Reply<HealthChecks>>("Health_ChecksInState", Meaning);
    call::<Query<NodeRequest>, Reply<HealthChecks>>("Health_NodeChecks", Meaning);
    call::<Query<ServiceRequest>, Reply<HealthChecks>>("Health_ServiceChecks", Meaning);
    call::<Query<ServiceRequest>, Reply<CheckServiceNodes>>("Health_ServiceNodes", Meaning);
    call::<Query<ServiceRequest>, Reply<CheckServiceNodes>>("Health_ServiceNodes_nonempty", Meaning);
    call::<Query<DcRequest>, Reply<NodeDump>>("Internal_NodeDump", Meaning);
    call::<Query<NodeRequest>, Reply<NodeDump>>("Internal_NodeInfo", Meaning);
    call::<Query<ServiceDumpRequest>, Reply<CheckServiceNodes>>("Internal_ServiceDump", Meaning);
    for verb in ["", "_cas", "_delete", "_delete_cas", "_delete_tree", "_lock", "_set", "_unlock"] {
        let (request, _) = call::<KvsRequest, bool>(&format!("KVS_Apply{verb}"), Bytes);
        let name = if verb.is_empty() { "set".to_owned() } else { verb[1..].replace('_', "-") };
        assert_eq!(request.op, name);
        let known = super::super::shapes::verb(&name).unwrap();
        let built = KvsRequest::new("dc1", command_of(known, request.dir_ent.clone()));
        assert_eq!(built, KvsRequest { token: String::new(), ..request });
    }
    for kind in ["", "_blocking", "_consistent", "_missing", "_stale"] {
        call::<Query<KeyRequest>, Reply<DirEntries>>(&format!("KVS_Get{kind}"), Bytes);
    }
    call::<Query<KeyRequest>, Reply<DirEntries>>("KVS_List", Bytes);
    call::<Query<KeyListRequest>, Reply<KeyList>>("KVS_ListKeys", Bytes);
    call::<Query<DcRequest>, AutopilotConfig>("Operator_AutopilotGetConfiguration", Bytes);
    call::<AutopilotSetConfig, bool>("Operator_AutopilotSetConfiguration", Bytes);
    call::<Query<DcRequest>, RaftConfiguration>("Operator_RaftGetConfiguration", Bytes);
    for kind in ["", "_create", "_destroy"] {
        call::<SessionApply, String>(&format!("Session_Apply{kind}"), Bytes);
    }
    for kind in ["Get", "List", "Renew"] {
        call::<Query<SessionRequest>, Reply<Sessions>>(&format!("Session_{kind}"), Bytes);
    }
    call::<Query<NodeRequest>, Reply<Sessions>>("Session_NodeSessions", Bytes);
    call::<TxnRequest, TxnResponse>("Txn_Apply", Meaning);
    call::<Query<TxnReadRequest>, Reply<TxnResponse>>("Txn_Read", Meaning);
    call::<Query<TxnReadRequest>, Reply<TxnResponse>>("Txn_Read_failed", Meaning);
}

type Merged1<T> = Query<T>;

#[test]
fn an_event_reads() {
    let (fire, _) = call::<Query<EventFire>, Reply<()>>("Internal_EventFire", Same::Bytes);
    let event = user_event(&fire.own.payload).unwrap();
    assert_eq!(
        (&*event.name, &*event.payload, &*event.node_filter, event.version),
        ("ev1", &b"pay"[..], ".*", 1)
    );
    assert_eq!((&*event.service_filter, &*event.tag_filter), ("web", "v1"));
}

#[test]
fn the_health_of_servers_reads() {
    let (_, body) = frame("Operator_ServerHealth.resp.bin");
    let health: OperatorHealth = from_bytes(&body).unwrap();
    let server = &health.servers[0];
    assert_eq!(
        (&*server.name, &*server.version, server.last_index, server.serf_status),
        ("srv1", "1.8.7", 35, 1)
    );
    // Written with a zone of its own; ours is always UTC.
    assert_eq!(server.stable_since, GoTime { seconds: 1_795_281_090, nanoseconds: 642_985_301 });
    assert_eq!(from_bytes::<OperatorHealth>(&to_bytes(&health)), Ok(health));
}

#[test]
fn sessions_go_there_and_back() {
    let (_, reply) = call::<Query<SessionRequest>, Reply<Sessions>>("Session_Renew", Same::Bytes);
    let session = Session::clone(&reply.own.sessions[0]);
    let form = SessionApply::create("dc1", session.clone()).session;
    let (asked, _) = call::<SessionApply, String>("Session_Apply", Same::Bytes);
    assert_eq!(form, asked.session);
    let destroy = SessionApply::destroy("dc1", "950c8930-cf8e-0e9c-8adb-099f8bc84cef");
    let (asked, _) = call::<SessionApply, String>("Session_Apply_destroy", Same::Bytes);
    assert_eq!(destroy, SessionApply { token: String::new(), ..asked });
    assert_eq!(Arc::new(session), reply.own.sessions[0]);
}

#[test]
fn transactions_go_there_and_back() {
    let endpoints = crate::endpoints::testing::endpoints();
    let (asked, told) = call::<TxnRequest, TxnResponse>("Txn_Apply", Same::Meaning);
    assert_eq!((asked.ops.len(), told.results.len()), (5, 5));
    for op in asked.ops {
        let operation = op.clone().into_operation().unwrap();
        let crate::endpoints::txn_operation::Checked::Good(command) = operation.checked(&endpoints) else {
            panic!("{op:?}");
        };
        assert_eq!(TxnOp::from(command), op);
    }
    for result in told.results {
        let there = result.clone().into_result().unwrap();
        assert_eq!(TxnResult::from(there), result);
    }
}
