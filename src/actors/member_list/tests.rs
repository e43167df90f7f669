use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream as StdStream, UdpSocket as StdUdp};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use actix::{Context, Handler, Message};
use actix_rt::Arbiter;

use super::*;
use crate::actors::mailbox::Sender;
use crate::actors::supervision::ExitProcess;
use crate::gossip::effect::Everybody;
use crate::gossip::{Command, Done, Event, SerfConfig, Status, SwimConfig};

const LIMIT: Duration = Duration::from_secs(20);

/// Ends the actor as a mistake of ours would.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Break;

impl Handler<Break> for MemberListActor {
    type Result = ();

    fn handle(&mut self, _: Break, _: &mut Context<Self>) {
        panic!("broken on purpose");
    }
}

/// A free address for both kinds of socket.
fn free() -> SocketAddr {
    loop {
        let udp = StdUdp::bind("127.0.0.1:0").unwrap();
        let address = udp.local_addr().unwrap();
        if std::net::TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

fn plan(name: &str, address: SocketAddr) -> Plan {
    let swim = SwimConfig {
        gossip_interval: Duration::from_millis(20),
        probe_interval: Duration::from_millis(50),
        probe_timeout: Duration::from_millis(50),
        suspicion_mult: 3,
        tcp_timeout: Duration::from_millis(500),
        ..SwimConfig::local()
    };
    let config = PoolConfig {
        name: name.to_owned(),
        advertise: address,
        tags: BTreeMap::new(),
        swim,
        serf: SerfConfig { propagate_delay: Duration::from_millis(50), ..SerfConfig::default() },
        keys: Vec::new(),
        verify_incoming: true,
        verify_outgoing: true,
        snapshot: None,
        seed: [0; 32],
    };
    Plan::new(Area::ServerLan, address, config, Arc::new(|| Box::new(Everybody)), Arc::default())
}

type Heard = Arc<parking_lot::Mutex<Vec<String>>>;

/// A pool, and what happens in it as text.
fn pool(name: &str, address: SocketAddr, arbiter: &Arbiter) -> (PoolHandle, Heard) {
    let heard = Heard::default();
    let told = Arc::clone(&heard);
    let subscriber = Sender::new(move |happened: MemberEvent| {
        told.lock().push(match happened.event {
            Event::Joined(member) => format!("joined {}", member.name),
            Event::Failed(member) => format!("failed {}", member.name),
            Event::Left(member) => format!("left {}", member.name),
            Event::User { name, payload, .. } => format!("{name} {}", String::from_utf8_lossy(&payload)),
            other => format!("{other:?}"),
        });
    });
    let handle = start(plan(name, address), None, &arbiter.handle(), Arc::new(ExitProcess), vec![subscriber]);
    (handle.unwrap(), heard)
}

async fn until(what: &str, mut look: impl FnMut() -> bool) {
    let end = Instant::now() + LIMIT;
    while !look() {
        assert!(Instant::now() < end, "waited for: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn has(heard: &Heard, text: &str) -> bool {
    heard.lock().iter().any(|line| line == text)
}

fn stands(pool: &PoolHandle, name: &str) -> Option<Status> {
    pool.member(name).map(|member| member.status)
}

#[test]
fn pools_meet_talk_and_part() {
    actix::System::new().block_on(async {
        let arbiter = Arbiter::new();
        let (at_a, at_b) = (free(), free());
        let (a, heard_a) = pool("a", at_a, &arbiter);
        let (b, heard_b) = pool("b", at_b, &arbiter);
        until("itself", || has(&heard_a, "joined a")).await;
        a.join(at_b).await.unwrap();
        // The caller's answer comes after the news.
        assert!(has(&heard_a, "joined b"));
        assert_eq!(stands(&a, "b"), Some(Status::Alive));
        until("the other side", || has(&heard_b, "joined a")).await;
        let refused = a.join(free()).await.unwrap_err().to_string();
        assert!(refused.starts_with("dial tcp 127.0.0.1:"), "{refused}");
        assert!(refused.ends_with(": connect: connection refused"), "{refused}");

        let event = Command::UserEvent { name: "news".into(), payload: b"x".to_vec(), coalesce: false };
        assert!(matches!(a.command(event).await, Ok(Done::Fired { .. })));
        assert!(has(&heard_a, "news x"), "told at home before the caller is answered");
        until("the event", || has(&heard_b, "news x")).await;

        b.leave().await.unwrap();
        b.stop().await;
        assert_eq!(b.join(at_a).await, Err(PoolError::Gone));
        until("the goodbye", || has(&heard_a, "left b")).await;
        a.stop().await;
        // Both sockets are free again.
        drop(Doors::bind(at_a).unwrap());
        drop(Doors::bind(at_b).unwrap());
    });
}

#[test]
fn a_broken_actor_is_made_anew_and_finds_its_members() {
    actix::System::new().block_on(async {
        let arbiter = Arbiter::new();
        let (at_a, at_b) = (free(), free());
        let (a, _) = pool("a", at_a, &arbiter);
        let (b, heard_b) = pool("b", at_b, &arbiter);
        a.join(at_b).await.unwrap();
        until("b sees a", || stands(&b, "a") == Some(Status::Alive)).await;
        a.break_it();
        until("a breaks", || !a.is_running()).await;
        // What was published is still there.
        assert_eq!(stands(&a, "b"), Some(Status::Alive));
        until("a runs again", || a.is_running()).await;
        until("it knows b again", || a.members().len() == 2 && stands(&a, "b") == Some(Status::Alive)).await;
        let event = Command::UserEvent { name: "again".into(), payload: Vec::new(), coalesce: false };
        until("it is heard", || {
            let (a, event) = (a.clone(), event.clone());
            actix_rt::spawn(async move { a.command(event).await });
            has(&heard_b, "again ")
        })
        .await;
        a.stop().await;
        b.stop().await;
    });
}

#[test]
fn silent_and_senseless_streams_are_dropped_and_counted() {
    actix::System::new().block_on(async {
        let arbiter = Arbiter::new();
        let at = free();
        let (pool, _) = pool("a", at, &arbiter);
        let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        let mut silent = StdStream::connect(at).unwrap();
        let mut senseless = StdStream::connect(at).unwrap();
        senseless.write_all(&[0xff; 64]).unwrap();
        until("both are dropped", || count(&pool.traffic().streams_dropped) == 2).await;
        for stream in [&mut silent, &mut senseless] {
            stream.set_read_timeout(Some(LIMIT)).unwrap();
            let mut rest = Vec::new();
            // Closed, politely or not.
            let _ = stream.read_to_end(&mut rest);
        }
        let many: Vec<StdStream> = (0..100).map(|_| StdStream::connect(at).unwrap()).collect();
        until("too many of one address", || count(&pool.traffic().streams_refused) == 36).await;
        drop(many);
        // Datagrams of any kind harm nobody.
        let socket = StdUdp::bind("127.0.0.1:0").unwrap();
        for length in [0, 1, 5, 100, 60_000] {
            socket.send_to(&vec![0x07; length], at).unwrap();
        }
        until("it still answers", || pool.is_running()).await;
        assert!(matches!(pool.keys(crate::gossip::effect::KeyRequest::List, 0).await, Ok(report) if report.nodes == 1));
        pool.stop().await;
    });
}

#[test]
fn members_come_from_allowed_networks_only() {
    actix::System::new().block_on(async {
        let arbiter = Arbiter::new();
        let (at_a, at_b) = (free(), free());
        let closed = Plan { allowed: vec!["10.0.0.0/8".parse().unwrap()], ..plan("a", at_a) };
        let a = start(closed, None, &arbiter.handle(), Arc::new(ExitProcess), Vec::new()).unwrap();
        let (b, _) = pool("b", at_b, &arbiter);
        let refused = b.join(at_a).await;
        assert!(matches!(refused, Err(PoolError::Command(_))), "{refused:?}");
        assert!(a.traffic().not_allowed.load(Ordering::Relaxed) > 0);
        assert_eq!(a.members().len(), 1);
        a.stop().await;
        b.stop().await;
    });
}

#[test]
fn an_address_in_use_is_named() {
    actix::System::new().block_on(async {
        let arbiter = Arbiter::new();
        let at = free();
        let (pool, _) = pool("a", at, &arbiter);
        let taken = start(plan("b", at), None, &arbiter.handle(), Arc::new(ExitProcess), Vec::new());
        let text = taken.unwrap_err().to_string();
        let wanted = format!(
            "Failed to start lan serf: cannot listen for gossip: listen tcp {at}: bind: address already in use;"
        );
        assert!(text.starts_with(&wanted), "{text}");
        pool.stop().await;
    });
}

#[test]
fn the_snapshot_file_keeps_lines_in_order() {
    actix::System::new().block_on(async {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("serf/local.snapshot");
        let (file, before) = SnapshotFile::open(&path).unwrap();
        assert!(before.is_empty());
        let file = Arc::new(file);
        for number in 0..100 {
            file.append(format!("clock: {number}\n").as_bytes(), false);
        }
        file.flush();
        let lines: Vec<String> = (0..100).map(|number| format!("clock: {number}\n")).collect();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), lines.concat());
        file.append(b"alive: a 127.0.0.1:1\n", true);
        file.append(b"clock: 7\n", false);
        file.flush();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "alive: a 127.0.0.1:1\nclock: 7\n");
        drop(file);
        let (_, before) = SnapshotFile::open(&path).unwrap();
        assert_eq!(before, b"alive: a 127.0.0.1:1\nclock: 7\n");
        // A directory in its place is named.
        let error = SnapshotFile::open(directory.path()).err().unwrap().to_string();
        assert!(error.starts_with(&format!("cannot read {}", directory.path().display())), "{error}");
    });
}

#[test]
fn errors_sound_like_gos() {
    let error = std::io::Error::from_raw_os_error(libc::ECONNREFUSED);
    assert_eq!(go_text(&error), "connection refused");
    assert_eq!(go_text(&std::io::ErrorKind::UnexpectedEof.into()), "EOF");
}
