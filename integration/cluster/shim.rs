//! Wrong clocks and slow disks, by a small library that is loaded in front of the C library
//! (`shim.c`, built here with `cc`). It changes what a process is told of the wall clock and delays
//! its syncs, at any time while it runs.
//!
//! A time namespace cannot do it (Linux has none for the wall clock), and a block device that is slow
//! would have to be one of the machine's.

use std::fs::{self, OpenOptions};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::support::cluster::{ClusterSetup, Member};

/// The library and the file it obeys.
pub struct Shim {
    home: TempDir,
}

impl Shim {
    /// Builds it; `None`, said aloud, without a compiler.
    pub fn build() -> Option<Self> {
        let home = TempDir::with_prefix("tribune-shim-").expect("a directory in the temporary one");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("integration/cluster/shim.c");
        let library = home.path().join("shim.so");
        let built = Command::new("cc")
            .args(["-O1", "-shared", "-fPIC", "-Wall", "-o"])
            .arg(&library)
            .arg(source)
            .arg("-ldl")
            .output();
        match built {
            Ok(output) if output.status.success() => {}
            Ok(output) => panic!("the shim does not build: {}", String::from_utf8_lossy(&output.stderr)),
            Err(error) => {
                eprintln!("skipped: no C compiler (cc: {error})");
                return None;
            }
        }
        fs::write(home.path().join("control"), [0; 16]).expect("a file in the temporary directory");
        Some(Self { home })
    }

    /// Has everybody of a cluster run with it.
    pub fn around(&self, setup: ClusterSetup) -> ClusterSetup {
        self.words().into_iter().fold(setup, |setup, (name, value)| setup.environment(name, &value))
    }

    fn words(&self) -> [(&'static str, String); 2] {
        let path = |name: &str| self.home.path().join(name).display().to_string();
        [("LD_PRELOAD", path("shim.so")), ("TRIBUNE_SHIM", path("control"))]
    }

    /// Has one member run with it, from its next start on.
    pub fn on(&self, member: &mut Member) {
        for (name, value) in self.words() {
            member.set_environment(name, &value);
        }
    }

    /// Sets the clock wrong by so many milliseconds, for all of them.
    pub fn clock(&self, offset_ms: i64) {
        self.set(0, offset_ms * 1_000_000);
    }

    /// Makes every sync late by so many microseconds.
    pub fn disk(&self, sync_us: i64) {
        self.set(8, sync_us);
    }

    fn set(&self, at: u64, number: i64) {
        let mut file =
            OpenOptions::new().write(true).open(self.home.path().join("control")).expect("the file");
        file.seek(SeekFrom::Start(at)).expect("a place in it");
        file.write_all(&number.to_ne_bytes()).expect("room");
    }
}
