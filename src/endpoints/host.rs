//! The machine this agent runs on, as `/v1/agent/host` shows it.
//!
//! Read from `/proc` and the file system's own figures; what a system does not tell is 0 or empty.
//! Reading may block for a moment.

use std::collections::BTreeMap;
use std::fs;

use serde_json::{Map, Value, json};

/// Figures of memory by Consul's names; the names of `/proc/meminfo` where they differ by more than
/// case and brackets.
const MEMORY: [(&str, &str); 28] = [
    ("total", "MemTotal"),
    ("available", "MemAvailable"),
    ("free", "MemFree"),
    ("active", "Active"),
    ("inactive", "Inactive"),
    ("buffers", "Buffers"),
    ("cached", "Cached"),
    ("writeback", "Writeback"),
    ("dirty", "Dirty"),
    ("writebacktmp", "WritebackTmp"),
    ("shared", "Shmem"),
    ("slab", "Slab"),
    ("sreclaimable", "SReclaimable"),
    ("sunreclaim", "SUnreclaim"),
    ("pagetables", "PageTables"),
    ("swapcached", "SwapCached"),
    ("commitlimit", "CommitLimit"),
    ("committedas", "Committed_AS"),
    ("hightotal", "HighTotal"),
    ("highfree", "HighFree"),
    ("lowtotal", "LowTotal"),
    ("lowfree", "LowFree"),
    ("swaptotal", "SwapTotal"),
    ("swapfree", "SwapFree"),
    ("mapped", "Mapped"),
    ("vmalloctotal", "VmallocTotal"),
    ("vmallocused", "VmallocUsed"),
    ("vmallocchunk", "VmallocChunk"),
];

/// Everything, ready to be written. `path` is a directory on the disk to describe; `now_ns` the wall
/// clock in nanoseconds since the Unix epoch.
pub fn describe(path: &str, now_ns: u64) -> Value {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    json!({
        "Memory": memory(&read("/proc/meminfo")),
        "CPU": processors(&read("/proc/cpuinfo")),
        "Host": machine(now_ns / 1_000_000_000),
        "Disk": disk(path),
        "CollectionTime": now_ns,
        "Errors": null,
    })
}

fn memory(text: &str) -> Value {
    let figures: BTreeMap<&str, u64> = text
        .lines()
        .filter_map(|line| {
            let (name, rest) = line.split_once(':')?;
            let mut words = rest.split_whitespace();
            let number: u64 = words.next()?.parse().ok()?;
            let unit = if words.next() == Some("kB") { 1024 } else { 1 };
            Some((name, number.saturating_mul(unit)))
        })
        .collect();
    let figure = |name: &str| figures.get(name).copied().unwrap_or_default();
    let mut memory: Map<String, Value> =
        MEMORY.iter().map(|(name, source)| ((*name).to_owned(), figure(source).into())).collect();
    let cached = figure("Cached") + figure("SReclaimable");
    let used = figure("MemTotal").saturating_sub(figure("MemFree") + figure("Buffers") + cached);
    memory.insert("cached".into(), cached.into());
    memory.insert("used".into(), used.into());
    memory.insert("usedPercent".into(), percent(used, figure("MemTotal")).into());
    memory.insert("hugepagestotal".into(), figure("HugePages_Total").into());
    memory.insert("hugepagesfree".into(), figure("HugePages_Free").into());
    memory.insert("hugepagesize".into(), figure("Hugepagesize").into());
    memory.insert("wired".into(), 0.into());
    memory.insert("laundry".into(), 0.into());
    memory.into()
}

#[expect(clippy::cast_precision_loss, reason = "a percentage needs no more")]
fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 * 100.0 }
}

fn processors(text: &str) -> Value {
    let blocks = text.split("\n\n").filter(|block| block.contains("processor"));
    blocks
        .map(|block| {
            let lines: BTreeMap<&str, &str> = block
                .lines()
                .filter_map(|line| line.split_once(':'))
                .map(|(name, value)| (name.trim(), value.trim()))
                .collect();
            let word = |name: &str| lines.get(name).copied().unwrap_or_default();
            let number =
                |name: &str| word(name).split(' ').next().unwrap_or_default().parse::<u64>().unwrap_or(0);
            json!({
                "cpu": number("processor"),
                "vendorId": word("vendor_id"),
                "family": word("cpu family"),
                "model": word("model"),
                "stepping": number("stepping"),
                "physicalId": word("physical id"),
                "coreId": word("core id"),
                "cores": 1,
                "modelName": word("model name"),
                "mhz": word("cpu MHz").parse::<f64>().unwrap_or_default(),
                "cacheSize": number("cache size"),
                "flags": word("flags").split_whitespace().collect::<Vec<_>>(),
                "microcode": word("microcode"),
            })
        })
        .collect()
}

fn machine(now: u64) -> Value {
    let name = rustix::system::uname();
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let of_release = |key: &str| {
        release
            .lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
            .unwrap_or_default()
            .trim_matches('"')
            .to_owned()
    };
    let uptime = fs::read_to_string("/proc/uptime").unwrap_or_default();
    let uptime: u64 = uptime.split('.').next().unwrap_or_default().parse().unwrap_or_default();
    let is_process = |entry: &fs::DirEntry| {
        entry.file_name().to_str().is_some_and(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let processes =
        fs::read_dir("/proc").map_or(0, |entries| entries.filter_map(Result::ok).filter(is_process).count());
    let family = of_release("ID_LIKE");
    json!({
        "hostname": name.nodename().to_string_lossy(),
        "uptime": uptime,
        "bootTime": now.saturating_sub(uptime),
        "procs": processes,
        "os": std::env::consts::OS,
        "platform": of_release("ID"),
        "platformFamily": if family.is_empty() { of_release("ID") } else { family },
        "platformVersion": of_release("VERSION_ID"),
        "kernelVersion": name.release().to_string_lossy(),
        "kernelArch": name.machine().to_string_lossy(),
        "virtualizationSystem": "",
        "virtualizationRole": "",
        "hostid": fs::read_to_string("/etc/machine-id").unwrap_or_default().trim(),
    })
}

fn disk(path: &str) -> Value {
    let path = if path.is_empty() { "/" } else { path };
    let Ok(figures) = rustix::fs::statvfs(path) else { return json!({ "path": path }) };
    let total = figures.f_blocks.saturating_mul(figures.f_frsize);
    let free = figures.f_bavail.saturating_mul(figures.f_frsize);
    let used = figures.f_blocks.saturating_sub(figures.f_bfree).saturating_mul(figures.f_frsize);
    let inodes_used = figures.f_files.saturating_sub(figures.f_ffree);
    json!({
        "path": path,
        "fstype": "",
        "total": total,
        "free": free,
        "used": used,
        "usedPercent": percent(used, used.saturating_add(free)),
        "inodesTotal": figures.f_files,
        "inodesUsed": inodes_used,
        "inodesFree": figures.f_ffree,
        "inodesUsedPercent": percent(inodes_used, figures.f_files),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_in_bytes() {
        let memory = memory(
            "MemTotal:  1000 kB\nMemFree: 100 kB\nBuffers: 50 kB\nCached: 200 kB\nHugePages_Total: 3\n",
        );
        let table =
            [("total", 1_024_000), ("free", 102_400), ("used", 665_600), ("hugepagestotal", 3), ("slab", 0)];
        for (name, wanted) in table {
            assert_eq!(memory[name], wanted, "{name}");
        }
    }

    #[test]
    fn processors_of_a_machine() {
        let text = "processor\t: 0\nmodel name\t: X Y\ncpu MHz\t\t: 2596.142\ncache size\t: 1024 KB\nflags\t: a b\n\nprocessor\t: 1\n\n";
        let found = processors(text);
        assert_eq!(found.as_array().unwrap().len(), 2);
        assert_eq!(found[0]["modelName"], "X Y");
        assert_eq!(found[0]["cacheSize"], 1024);
        assert_eq!(found[0]["flags"], json!(["a", "b"]));
        assert_eq!(found[1]["cpu"], 1);
    }

    #[test]
    fn everything_has_its_place() {
        let found = describe("/", 5_000_000_000);
        for part in ["Memory", "CPU", "Host", "Disk"] {
            assert!(!found[part].is_null(), "{part}");
        }
        assert_eq!(found["CollectionTime"], 5_000_000_000_u64);
    }
}
