//! A log file that is closed and followed by a new one after some time or size. Every file has the time of
//! its opening in its name, so nothing is ever renamed.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::settings::Log;

use super::format::now;

/// Name of the files when only a directory is given; the one Consul's users know.
const DEFAULT_NAME: &str = "consul";
const DEFAULT_EXTENSION: &str = "log";

/// The file of the moment, and when to go on to the next.
pub(super) struct RotatingFile {
    directory: PathBuf,
    stem: String,
    extension: String,
    rotate_bytes: u64,
    rotate_duration: Duration,
    max_files: i64,
    file: File,
    opened: Instant,
    written: u64,
}

impl RotatingFile {
    /// Opens the first file. `path` is a directory, or ends in `/`, or is the beginning and the extension of
    /// the names: `/var/log/agent.txt` gives `/var/log/agent-<nanoseconds>.txt`.
    pub(super) fn open(path: &Path, log: &Log) -> io::Result<Self> {
        let is_directory = path.is_dir() || path.as_os_str().as_encoded_bytes().ends_with(b"/");
        let (directory, stem, extension) = if is_directory {
            (path.to_owned(), DEFAULT_NAME.to_owned(), DEFAULT_EXTENSION.to_owned())
        } else {
            let text = |part: Option<&std::ffi::OsStr>| part.map(|part| part.to_string_lossy().into_owned());
            let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            (
                directory.unwrap_or(Path::new(".")).to_owned(),
                text(path.file_stem()).unwrap_or_else(|| DEFAULT_NAME.to_owned()),
                text(path.extension()).unwrap_or_else(|| DEFAULT_EXTENSION.to_owned()),
            )
        };
        let file = create(&directory, &stem, &extension)?;
        Ok(Self {
            directory,
            stem,
            extension,
            rotate_bytes: log.rotate_bytes,
            rotate_duration: log.rotate_duration,
            max_files: log.rotate_max_files,
            file,
            opened: Instant::now(),
            written: 0,
        })
    }

    /// Writes a whole line, into a new file if it is time for one.
    pub(super) fn write_line(&mut self, line: &[u8]) -> io::Result<()> {
        let full = self.rotate_bytes > 0 && self.written >= self.rotate_bytes;
        let old = !self.rotate_duration.is_zero() && self.opened.elapsed() >= self.rotate_duration;
        if full || old {
            self.prune();
            self.file = create(&self.directory, &self.stem, &self.extension)?;
            self.opened = Instant::now();
            self.written = 0;
        }
        self.file.write_all(line)?;
        self.written = self.written.saturating_add(line.len() as u64);
        Ok(())
    }

    /// Removes the oldest files, so that with the one to be opened `max_files` old ones remain.
    fn prune(&self) {
        let keep = match self.max_files {
            0 => return,
            limit => usize::try_from(limit).unwrap_or(0),
        };
        let prefix = format!("{}-", self.stem);
        let suffix = format!(".{}", self.extension);
        let Ok(entries) = fs::read_dir(&self.directory) else { return };
        let mut files: Vec<(u128, OsString)> = entries
            .filter_map(Result::ok)
            .filter_map(|entry| {
                let name = entry.file_name();
                let time = name.to_str()?.strip_prefix(&prefix)?.strip_suffix(&suffix)?.parse().ok()?;
                Some((time, name))
            })
            .collect();
        files.sort();
        let surplus = files.len().saturating_sub(keep);
        for (_, name) in files.into_iter().take(surplus) {
            // A file somebody else removed is as good.
            let _ = fs::remove_file(self.directory.join(name));
        }
    }
}

fn create(directory: &Path, stem: &str, extension: &str) -> io::Result<File> {
    let name = format!("{stem}-{}.{extension}", now().as_nanos());
    OpenOptions::new().create(true).append(true).open(directory.join(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::LogLevel;

    fn log(rotate_bytes: u64, rotate_max_files: i64) -> Log {
        Log {
            level: LogLevel::Info,
            json: false,
            file: None,
            rotate_bytes,
            rotate_duration: Duration::from_secs(3600),
            rotate_max_files,
            syslog: false,
            syslog_facility: String::new(),
        }
    }

    fn names(directory: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn names_of_files() {
        let directory = tempfile::tempdir().unwrap();
        RotatingFile::open(directory.path(), &log(0, 0)).unwrap();
        RotatingFile::open(&directory.path().join("agent.txt"), &log(0, 0)).unwrap();
        RotatingFile::open(&directory.path().join("plain"), &log(0, 0)).unwrap();
        let names = names(directory.path());
        let shapes = [("agent-", ".txt"), ("consul-", ".log"), ("plain-", ".log")];
        for (name, (start, end)) in names.iter().zip(shapes) {
            assert!(name.starts_with(start) && name.ends_with(end), "{name}");
        }
        assert!(RotatingFile::open(&directory.path().join("none/x"), &log(0, 0)).is_err());
    }

    #[test]
    fn rotation_keeps_as_many_as_asked() {
        for (max_files, want) in [(0, 5), (2, 3), (-1, 1)] {
            let directory = tempfile::tempdir().unwrap();
            let mut file = RotatingFile::open(directory.path(), &log(4, max_files)).unwrap();
            for _ in 0..5 {
                file.write_line(b"line\n").unwrap();
            }
            assert_eq!(names(directory.path()).len(), want, "max_files {max_files}");
        }
    }
}
