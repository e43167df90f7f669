//! Memory the agent keeps resident without using it.
//!
//! Starting runs much code that an idle agent never needs again: reading the configuration, opening
//! stores, recovering the log. The kernel leaves such pages mapped, and maps their neighbours along
//! with them, until memory runs short; for a small agent they are most of its resident size.

use std::fs;
use std::ops::Range;
use std::time::Duration;

/// After this long the code an agent needs while idle has been used, or is read again in a moment.
const SETTLED: Duration = Duration::from_secs(2);

/// Lets the kernel forget the mapped pages of code once the agent has settled. What is needed again is mapped
/// again from the page cache.
pub async fn trim_once_settled() {
    tokio::time::sleep(SETTLED).await;
    if let Err(error) = forget_code_pages() {
        tracing::debug!(target: "agent", %error, "cannot trim the resident code");
    }
}

fn forget_code_pages() -> std::io::Result<()> {
    for range in code_ranges(&fs::read_to_string("/proc/self/maps")?) {
        let start = std::ptr::without_provenance_mut(range.start);
        #[expect(unsafe_code, reason = "madvise takes an address range")]
        // SAFETY: the range maps code or constants, which are backed by a file and were never written, so
        // that forgetting its pages loses nothing: they are read from the file again.
        let result = unsafe { libc::madvise(start, range.len(), libc::MADV_DONTNEED) };
        if result != 0 {
            return Err(std::io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Addresses of the code and constants of the program and its libraries in a table of mappings (proc(5)). Only
/// what was never writable counts: code, and what stands at the beginning of its file. Data that was
/// relocated at start looks read-only too, but would be lost.
fn code_ranges(maps: &str) -> Vec<Range<usize>> {
    let parse = |line: &str| {
        let mut fields = line.split_ascii_whitespace();
        let (range, access, offset) = (fields.next()?, fields.next()?, fields.next()?);
        let from_file = fields.nth(2).is_some_and(|path| path.starts_with('/'));
        let at_start = offset.bytes().all(|digit| digit == b'0');
        if !from_file || !(access == "r-xp" || access == "r--p" && at_start) {
            return None;
        }
        let (start, end) = range.split_once('-')?;
        Some(usize::from_str_radix(start, 16).ok()?..usize::from_str_radix(end, 16).ok()?)
    };
    maps.lines().filter_map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_never_written_is_found() {
        let maps = "1000-2000 r--p 00000000 fe:01 7 /bin/tribune\n\
                    2000-5000 r-xp 00001000 fe:01 7                  /bin/tribune\n\
                    5000-6000 r--p 00004000 fe:01 7 /bin/tribune\n\
                    6000-7000 rw-p 00005000 fe:01 7 /bin/tribune\n\
                    7000-8000 r-xp 00000000 fe:01 8 /lib/libc.so.6\n\
                    9000-a000 r-xp 00000000 00:00 0 [vdso]\n\
                    b000-c000 r-xp 00000000 00:00 0\n";
        assert_eq!(code_ranges(maps), [0x1000..0x2000, 0x2000..0x5000, 0x7000..0x8000]);
    }

    #[test]
    fn the_program_goes_on_without_its_pages() {
        forget_code_pages().unwrap();
        assert!(!code_ranges(&fs::read_to_string("/proc/self/maps").unwrap()).is_empty());
    }
}
