//! The walls between the rooms, as data, and a reader of the sources that sees who climbs over.
//!
//! The cores (`gossip`, `raft`, `state`) stay free of sockets, clocks, tasks and chance, so that they
//! can be simulated; the transports only translate; each storage engine is named in one file. The
//! reader collects every path a file names, not only its `use` lines, and leaves out what is behind
//! `#[cfg(test)]`: a test may use anything.

mod reader;
mod walls;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use reader::{Path as Named, Source};
use walls::{Room, room_of};

/// Lines of code a source file may have.
const LONGEST: usize = 600;

/// The package; the variable lets the test look at another checkout.
fn root() -> PathBuf {
    std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from)
}

fn sources(dir: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display())) {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}

/// The crates of Cargo.toml, as they are written in a path.
fn crates() -> BTreeSet<String> {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let mut inside = false;
    let mut names = BTreeSet::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            inside = line == "[dependencies]" || line == "[dev-dependencies]";
        } else if inside && let Some((name, _)) = line.split_once('=') {
            names.insert(name.trim().trim_matches('"').replace('-', "_"));
        }
    }
    names
}

/// Everything in a file that its room may not do.
fn trespasses(file: &str, text: &str, crates: &BTreeSet<String>) -> Vec<String> {
    if file.ends_with("/tests.rs") || file.contains("/tests/") {
        return Vec::new();
    }
    let source = Source::read(file, text);
    let mut found = BTreeSet::new();
    let Some(room) = room_of(file) else {
        return vec![format!(
            "{file}: no wall is written down for this room (integration/layering/walls.rs)"
        )];
    };
    for named in &source.paths {
        if let Some(reason) = forbidden(room, file, named, crates) {
            found.insert(format!("{file}:{}: `{}` {reason}", named.line, named.text()));
        }
    }
    if source.lines > LONGEST && !walls::LONG_TABLES.contains(&file) {
        found.insert(format!("{file}: {} lines, {LONGEST} are the limit", source.lines));
    }
    found.into_iter().collect()
}

fn forbidden(room: &Room, file: &str, named: &Named, crates: &BTreeSet<String>) -> Option<String> {
    let first = named.segments.first()?.as_str();
    if first == "crate" || first == "tribune" {
        let target = named.segments.get(1)?.as_str();
        let inside = target == room.name
            || walls::COMMON.contains(&target)
            || room.rooms.contains(&target)
            || room.rooms.contains(&"*");
        let is_room = walls::ROOMS.iter().any(|other| other.name == target);
        return (is_room && !inside).then(|| format!("reaches from `{}` into `{target}`", room.name));
    }
    for (tail, reason) in walls::NEVER_IN_CORES {
        let tail: Vec<_> = tail.split("::").collect();
        let ends = named.segments.windows(tail.len()).any(|window| window == tail.as_slice());
        if room.core && ends {
            return Some((*reason).to_owned());
        }
    }
    let names_a_crate = named.segments.len() > 1 || named.imported;
    if !names_a_crate || !crates.contains(first) {
        return None;
    }
    for (owned, owners) in walls::OWNED {
        if first == *owned && !owners.iter().any(|owner| file.starts_with(owner)) {
            return Some(format!("belongs to {} only", owners.join(", ")));
        }
    }
    let allowed =
        room.crates.contains(&"*") || room.crates.contains(&first) || walls::EVERYWHERE.contains(&first);
    let permitted = walls::PERMITS.contains(&(file, first));
    let owned_here = walls::OWNED
        .iter()
        .any(|(owned, owners)| first == *owned && owners.iter().any(|owner| file.starts_with(owner)));
    (!allowed && !owned_here && !permitted).then(|| format!("is no crate for `{}`", room.name))
}

#[test]
fn no_room_reaches_where_it_may_not() {
    let crates = crates();
    assert!(
        crates.contains("actix_web") && crates.contains("rocksdb"),
        "Cargo.toml was not understood: {crates:?}"
    );
    let mut files = Vec::new();
    sources(&root().join("src"), &mut files);
    files.sort();
    assert!(files.len() > 10, "only {} sources found", files.len());
    let mut found = Vec::new();
    for path in files {
        let file = path.strip_prefix(root().join("src")).unwrap().to_str().unwrap().to_owned();
        found.extend(trespasses(&file, &fs::read_to_string(&path).unwrap(), &crates));
    }
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

/// The test of the test: what must be seen is seen, what is right is not reported.
#[test]
fn trespasses_are_caught() {
    let crates = crates();
    let table: [(&str, &str, &str, Option<&str>); 34] = [
        ("own room", "state/apply.rs", "use crate::state::record::Node;", None),
        (
            "another core",
            "state/apply.rs",
            "use crate::raft::Driver;",
            Some("reaches from `state` into `raft`"),
        ),
        ("in a group", "state/apply.rs", "use crate::{state::View, actors::KvStore};", Some("into `actors`")),
        (
            "nested group",
            "web/kv.rs",
            "use crate::{endpoints::{kv::{self, Put}}, raft::log::Log};",
            Some("into `raft`"),
        ),
        ("a field called like a crate", "state/apply.rs", "fn f() { x.config = tokio; }", None),
        ("a module called like a crate", "raft/mod.rs", "pub mod config; pub use config::Driver;", None),
        ("a new name", "endpoints/kv.rs", "use futures::{stream as tokio, FutureExt as _};", None),
        ("a file of tests", "state/tests.rs", "use proptest::prelude::*;", None),
        ("a permit of another file", "raft/driver.rs", "use rustix::fs::fallocate;", Some("rustix")),
        ("a whole crate", "state/apply.rs", "use tokio as t;", Some("tokio")),
        ("full path", "web/kv.rs", "fn f() { crate::raft::start(); }", Some("from `web` into `raft`")),
        ("through super", "state/apply.rs", "use super::super::gossip::Member;", Some("into `gossip`")),
        ("through super in mod.rs", "state/mod.rs", "use super::gossip::Member;", Some("into `gossip`")),
        ("super in the room", "state/sub/deep.rs", "use super::super::view::View;", None),
        (
            "runtime",
            "gossip/probe.rs",
            "use tokio::time::sleep;",
            Some("`tokio::time::sleep` is no crate for `gossip`"),
        ),
        (
            "runtime by full path",
            "raft/driver.rs",
            "async fn f() { tokio::task::yield_now().await }",
            Some("tokio"),
        ),
        ("actor", "endpoints/kv.rs", "use actix::Addr;", Some("actix")),
        ("HTTP in endpoints", "endpoints/kv.rs", "use actix_web::HttpRequest;", Some("actix_web")),
        ("HTTP in web", "web/kv.rs", "use actix_web::HttpRequest;", None),
        ("RocksDB in its file", "state/store_disk.rs", "use rocksdb::DB;", None),
        (
            "RocksDB elsewhere",
            "state/apply.rs",
            "use rocksdb::DB;",
            Some("belongs to state/store_disk.rs only"),
        ),
        ("RocksDB in main", "main.rs", "fn main() { rocksdb::DB::open_default(\"x\"); }", Some("belongs to")),
        (
            "raft-engine elsewhere",
            "actors/raft_node.rs",
            "use raft_engine::Engine;",
            Some("belongs to raft/log_disk.rs only"),
        ),
        ("hickory elsewhere", "web/server.rs", "use hickory_server::Server;", Some("belongs to dns/ only")),
        ("clock", "state/apply.rs", "fn f() { let t = std::time::Instant::now(); }", Some("reads the clock")),
        (
            "clock by its short name",
            "raft/driver.rs",
            "use std::time::SystemTime; fn f() { SystemTime::now(); }",
            Some("reads the clock"),
        ),
        ("clock in a shell", "actors/raft_node.rs", "fn f() { let t = std::time::Instant::now(); }", None),
        ("thread-local chance", "gossip/probe.rs", "fn f() { rand::rng().next_u32(); }", Some("chance")),
        ("sockets", "gossip/probe.rs", "use std::net::{IpAddr, UdpSocket};", Some("opens sockets")),
        ("addresses", "gossip/member.rs", "use std::net::{IpAddr, SocketAddr};", None),
        (
            "comment",
            "state/apply.rs",
            "// use crate::raft::Driver;\n/* tokio::spawn /* nested */ */ fn f() {}",
            None,
        ),
        (
            "text",
            "state/apply.rs",
            "const A: &str = \"crate::raft::x\"; const B: &str = r#\"tokio::spawn \"# ; const C: char = '\"';",
            None,
        ),
        (
            "test",
            "state/apply.rs",
            "#[cfg(test)]\nmod tests { use tokio::time::sleep; use crate::raft::X; }\nfn f() {}",
            None,
        ),
        (
            "after a test",
            "state/apply.rs",
            "#[cfg(test)]\nmod tests { fn f<'a>() {} }\nuse crate::raft::X;",
            Some("apply.rs:3"),
        ),
    ];
    for (name, file, text, expected) in table {
        let found = trespasses(file, text, &crates);
        match expected {
            None => assert!(found.is_empty(), "{name}: {found:?}"),
            Some(part) => {
                assert!(found.iter().any(|line| line.contains(part)), "{name}: {part:?} is not in {found:?}");
            }
        }
    }
    let long = "fn f() {}\n".repeat(LONGEST + 1);
    assert!(!trespasses("state/apply.rs", &long, &crates).is_empty(), "a long file");
    assert!(!trespasses("cellar/rats.rs", "fn f() {}", &crates).is_empty(), "an unknown room");
}
