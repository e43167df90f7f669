//! What each room may name. Changing this table changes the architecture: change ARCHITECTURE.md too.

/// A room and its walls.
#[derive(Debug)]
pub struct Room {
    /// Directory or file under `src/`, without `.rs`.
    pub name: &'static str,
    /// No sockets, clocks, tasks or chance: can be simulated.
    pub core: bool,
    /// Rooms it may name; `*` is all of them.
    pub rooms: &'static [&'static str],
    /// Crates it may name, besides [`EVERYWHERE`]; `*` is all that nobody owns.
    pub crates: &'static [&'static str],
}

/// Crates that are as good as the standard library.
pub const EVERYWHERE: &[&str] =
    &["thiserror", "bytes", "tracing", "serde", "serde_bytes", "smallvec", "memchr", "itoa"];

/// Crates with one home, as paths under `src/`. Who else needs one of them asks its home.
pub const OWNED: &[(&str, &[&str])] = &[
    ("rocksdb", &["state/store_disk.rs"]),
    ("raft_engine", &["raft/log_disk.rs"]),
    ("hickory_server", &["dns/"]),
    ("clap", &["cli/", "settings/", "main.rs"]),
    ("tikv_jemallocator", &["main.rs"]),
    ("ureq", &["cli/"]),
    ("hyper", &["health/"]),
    ("h2", &["health/"]),
];

/// Crates that one file of a room may name although the room may not.
pub const PERMITS: &[(&str, &str)] = &[
    // Preallocates log files.
    ("raft/log_files.rs", "rustix"),
    // Asks for the size of disks and the name of the kernel.
    ("endpoints/host.rs", "rustix"),
];

/// Files that are one flat table and nothing else: splitting them would hide, not help.
pub const LONG_TABLES: &[&str] = &["settings/schema.rs"];

/// Tails of paths that no core may name, with what is wrong with them.
pub const NEVER_IN_CORES: &[(&str, &str)] = &[
    ("Instant::now", "reads the clock: time is an argument"),
    ("SystemTime::now", "reads the clock: time is an argument"),
    ("Instant::elapsed", "reads the clock: time is an argument"),
    ("rand::rng", "is chance: randomness is an argument"),
    ("rand::random", "is chance: randomness is an argument"),
    ("thread_rng", "is chance: randomness is an argument"),
    ("ThreadRng", "is chance: randomness is an argument"),
    ("OsRng", "is chance: randomness is an argument"),
    ("Uuid::new_v4", "is chance: ids are arguments"),
    ("UdpSocket", "opens sockets"),
    ("TcpStream", "opens sockets"),
    ("TcpListener", "opens sockets"),
    ("UnixStream", "opens sockets"),
    ("thread::spawn", "starts threads"),
    ("thread::sleep", "sleeps"),
    ("process::exit", "ends the process"),
    ("process::abort", "ends the process"),
];

/// Rooms of plain functions that every other room may name, and that name none.
pub const COMMON: &[&str] = &["cidr", "definition", "dial", "duration", "tls", "watch"];

/// All rooms.
pub const ROOMS: &[Room] = &[
    Room { name: "cidr", core: true, rooms: &[], crates: &[] },
    Room { name: "definition", core: true, rooms: &[], crates: &["serde_json"] },
    Room { name: "dial", core: false, rooms: &[], crates: &["tokio"] },
    Room { name: "duration", core: true, rooms: &[], crates: &[] },
    Room { name: "tls", core: false, rooms: &[], crates: &["rustls"] },
    Room { name: "watch", core: true, rooms: &[], crates: &["serde_json"] },
    Room {
        name: "gossip",
        core: true,
        rooms: &[],
        crates: &[
            "rand",
            "rand_chacha",
            "hashbrown",
            "foldhash",
            "aes_gcm",
            "weezl",
            "crc32fast",
            "base64",
            "regex",
        ],
    },
    Room {
        name: "raft",
        core: true,
        rooms: &[],
        crates: &["raft", "slog", "protobuf", "rmp_serde", "rand", "rand_chacha", "parking_lot", "sha2"],
    },
    Room {
        name: "state",
        core: true,
        rooms: &[],
        crates: &[
            "rmp_serde",
            "imbl",
            "arc_swap",
            "parking_lot",
            "futures",
            "flate2",
            "tar",
            "sha2",
            "serde_json",
            "base64",
        ],
    },
    Room { name: "autopilot", core: true, rooms: &["raft", "state"], crates: &[] },
    Room { name: "metrics", core: true, rooms: &[], crates: &["parking_lot"] },
    Room {
        name: "health",
        core: false,
        rooms: &[],
        crates: &[
            "tokio",
            "futures",
            "hyper",
            "hyper_util",
            "h2",
            "rustls",
            "tokio_rustls",
            "url",
            "base64",
            "serde_json",
            "rustix",
            "libc",
        ],
    },
    Room {
        name: "peers",
        core: false,
        rooms: &["raft", "state", "endpoints"],
        crates: &["tokio", "futures", "rmp_serde", "parking_lot", "socket2"],
    },
    Room {
        name: "rpc",
        core: false,
        rooms: &["state", "endpoints"],
        crates: &["tokio", "futures", "parking_lot", "rand"],
    },
    Room {
        name: "endpoints",
        core: false,
        rooms: &["state"],
        crates: &[
            "futures",
            "serde_json",
            "base64",
            "regex",
            "uuid",
            "rand",
            "strsim",
            "tokio",
            "imbl",
            "parking_lot",
            "arc_swap",
        ],
    },
    Room {
        name: "web",
        core: false,
        rooms: &["endpoints", "metrics", "state"],
        crates: &[
            "actix_http",
            "imbl",
            "regex",
            "rand",
            "actix_web",
            "actix_rt",
            "actix_server",
            "futures",
            "serde_json",
            "tokio",
            "flate2",
            "base64",
            "base64_simd",
            "parking_lot",
            "arc_swap",
            "socket2",
            "libc",
            "rustix",
        ],
    },
    Room {
        name: "dns",
        core: false,
        rooms: &["endpoints", "metrics", "state"],
        crates: &[
            "tokio",
            "futures",
            "rand",
            "imbl",
            "arc_swap",
            "parking_lot",
            "hickory_server",
            "rustls",
            "socket2",
            "nix",
            "libc",
            "rustix",
        ],
    },
    Room { name: "settings", core: false, rooms: &[], crates: &["*"] },
    Room { name: "cli", core: false, rooms: &["settings"], crates: &["*"] },
    Room {
        name: "actors",
        core: false,
        rooms: &[
            "autopilot",
            "gossip",
            "raft",
            "state",
            "health",
            "peers",
            "rpc",
            "endpoints",
            "dns",
            "settings",
            "metrics",
        ],
        crates: &["*"],
    },
    Room { name: "telemetry", core: false, rooms: &["settings"], crates: &["*"] },
    Room { name: "agent", core: false, rooms: &["*"], crates: &["*"] },
    Room { name: "lib", core: false, rooms: &["*"], crates: &[] },
    Room { name: "main", core: false, rooms: &["*"], crates: &["*"] },
];

/// The room a source file is in, by its path under `src/`.
pub fn room_of(file: &str) -> Option<&'static Room> {
    let first = file.split('/').next()?;
    let name = first.strip_suffix(".rs").unwrap_or(first);
    ROOMS.iter().find(|room| room.name == name)
}
