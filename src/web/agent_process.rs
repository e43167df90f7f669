//! What Linux knows of this process, under the names Prometheus clients give it.

use std::fmt::Write as _;
use std::fs;

/// Bytes in a page of memory.
const PAGE: u64 = 4096;
/// Clock ticks per second in `/proc`, the same on every Linux.
const TICKS: f64 = 100.0;

/// Memory in bytes.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Memory {
    /// Address space.
    pub virtual_size: u64,
    /// In use.
    pub resident: u64,
}

impl Memory {
    /// As of now; zero where `/proc` cannot be read.
    pub fn read() -> Self {
        let text = fs::read_to_string("/proc/self/statm").unwrap_or_default();
        let mut pages = text.split(' ').map(|number| number.parse::<u64>().unwrap_or(0).saturating_mul(PAGE));
        Self { virtual_size: pages.next().unwrap_or(0), resident: pages.next().unwrap_or(0) }
    }
}

/// Threads of this process.
pub(super) fn threads() -> u64 {
    fs::read_dir("/proc/self/task").map_or(0, |tasks| tasks.count() as u64)
}

/// The fields of `/proc/self/stat` after the name, which may hold anything.
fn stat() -> Vec<String> {
    let text = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let rest = text.rsplit_once(')').map_or("", |(_, rest)| rest);
    rest.split_ascii_whitespace().map(str::to_owned).collect()
}

fn boot_time() -> f64 {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("btime "));
    line.and_then(|seconds| seconds.trim().parse().ok()).unwrap_or(0.0)
}

fn most_descriptors() -> u64 {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Writes the series in Prometheus' text form.
pub(super) fn write(text: &mut String) {
    let stat = stat();
    let ticks =
        |field: usize| stat.get(field).and_then(|number| number.parse::<f64>().ok()).unwrap_or(0.0) / TICKS;
    let memory = Memory::read();
    let open = fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    // User and system time are the 12th and 13th field after the name, the start since boot the 20th.
    let series: [(&str, &str, &str, String); 6] = [
        (
            "process_cpu_seconds_total",
            "counter",
            "Total user and system CPU time spent in seconds.",
            (ticks(11) + ticks(12)).to_string(),
        ),
        (
            "process_max_fds",
            "gauge",
            "Maximum number of open file descriptors.",
            most_descriptors().to_string(),
        ),
        ("process_open_fds", "gauge", "Number of open file descriptors.", open.to_string()),
        (
            "process_resident_memory_bytes",
            "gauge",
            "Resident memory size in bytes.",
            memory.resident.to_string(),
        ),
        (
            "process_start_time_seconds",
            "gauge",
            "Start time of the process since unix epoch in seconds.",
            (boot_time() + ticks(19)).to_string(),
        ),
        (
            "process_virtual_memory_bytes",
            "gauge",
            "Virtual memory size in bytes.",
            memory.virtual_size.to_string(),
        ),
    ];
    for (name, kind, help, value) in series {
        // Writing to a string cannot fail.
        let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_measured() {
        let mut text = String::new();
        write(&mut text);
        let value = |name: &str| -> f64 {
            let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} "))).unwrap();
            line.parse().unwrap()
        };
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
        assert!(value("process_resident_memory_bytes") > 100_000.0);
        assert!((0.0..86_400.0).contains(&(now - value("process_start_time_seconds"))), "{text}");
        assert!(value("process_open_fds") >= 3.0);
        assert!(threads() >= 1);
    }
}
