//! Memory the agent keeps resident without using it.
//!
//! Starting runs much code that an idle agent never needs again: reading the configuration, opening
//! stores, recovering the log. The kernel leaves such pages mapped, and maps their neighbours along
//! with them, until memory runs short; for a small agent they are most of its resident size.

use std::fs;
use std::ops::Range;
use std::path::Path;
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
    let program = fs::read_link("/proc/self/exe")?;
    for range in code_ranges(&fs::read_to_string("/proc/self/maps")?, &program) {
        let start = std::ptr::without_provenance_mut(range.start);
        #[expect(unsafe_code, reason = "madvise takes an address range")]
        // SAFETY: the range maps the program's code, which is backed by its file and cannot be written,
        // so that forgetting its pages loses nothing: they are read from the file again.
        let result = unsafe { libc::madvise(start, range.len(), libc::MADV_DONTNEED) };
        if result != 0 {
            return Err(std::io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Addresses of the program's code in a table of mappings. Only what is executable and not writable counts:
/// data that was relocated at start looks read-only too, but would be lost.
fn code_ranges(maps: &str, program: &Path) -> Vec<Range<usize>> {
    let parse = |line: &str| {
        let mut fields = line.split_ascii_whitespace();
        let (range, access) = (fields.next()?, fields.next()?);
        let path = fields.nth(3)?;
        if access != "r-xp" || Path::new(path) != program {
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
    fn only_the_programs_own_code_is_found() {
        let maps = "1000-2000 r--p 00000000 fe:01 7 /bin/tribune\n\
                    2000-5000 r-xp 00001000 fe:01 7                  /bin/tribune\n\
                    5000-6000 rw-p 00004000 fe:01 7 /bin/tribune\n\
                    7000-8000 r-xp 00000000 fe:01 8 /lib/libc.so.6\n\
                    9000-a000 r-xp 00000000 00:00 0 [vdso]\n\
                    b000-c000 r-xp 00000000 00:00 0\n";
        assert_eq!(code_ranges(maps, Path::new("/bin/tribune")), [0x2000..0x5000]);
    }

    #[test]
    fn the_program_goes_on_without_its_pages() {
        forget_code_pages().unwrap();
        assert_eq!("still here".len(), 10);
    }
}
