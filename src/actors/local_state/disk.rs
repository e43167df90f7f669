//! What lives on this agent, in the data directory.
//!
//! | path | what | written |
//! |---|---|---|
//! | `services/HASH` | a service registered over HTTP | synced before the registration is answered |
//! | `checks/HASH` | a check registered over HTTP, or one of maintenance | likewise |
//! | `checks/state/HASH` | the last status and output of a check, wherever it was defined | soon after the status changed; not synced |
//!
//! One JSON file each, its name the SHA-256 of the id, replaced by a rename: a crash leaves the old one or
//! the new one. A file that cannot be read is set aside with the ending `.corrupt` and named in the log;
//! the others are restored all the same. Blocking: for threads that may wait.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tracing::{error, warn};

use crate::definition::CheckDefinition;
use crate::state::record::{Check, Service};

/// Version of the files' form.
const VERSION: u32 = 1;
/// No file of ours is larger; what is, is not read.
const LARGEST: u64 = 16 << 20;
/// Ending of files being written.
const TEMPORARY: &str = "tmp";
/// Ending of files that could not be read.
const CORRUPT: &str = "corrupt";

/// Why something cannot be kept.
#[derive(Debug, thiserror::Error)]
#[error("cannot {doing} {}: {source}", path.display())]
pub struct DiskError {
    doing: &'static str,
    path: PathBuf,
    source: io::Error,
}

fn at<'a>(doing: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> DiskError + 'a {
    move |source| DiskError { doing, path: path.to_owned(), source }
}

/// A service as it is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct KeptService {
    /// The service.
    pub service: Service,
    /// Id of the service it is the sidecar of.
    #[serde(default)]
    pub sidecar_of: Option<Arc<str>>,
}

/// A check as it is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct KeptCheck {
    /// As it was registered.
    pub check: Check,
    /// How it is run; none for maintenance.
    #[serde(default)]
    pub run: Option<CheckDefinition>,
}

/// How a check was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct KeptStatus {
    /// Its id.
    #[serde(rename = "CheckID")]
    pub check_id: Arc<str>,
    /// Its status.
    pub status: String,
    /// Its output.
    pub output: String,
    /// When that was last said, milliseconds since the epoch.
    pub at_ms: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Written<'a, T> {
    version: u32,
    content: &'a T,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ReadBack<T> {
    version: u32,
    content: T,
}

/// Everything that was kept.
#[derive(Debug, Default)]
pub struct Kept {
    /// Services.
    pub services: Vec<KeptService>,
    /// Checks.
    pub checks: Vec<KeptCheck>,
    /// Statuses.
    pub statuses: Vec<KeptStatus>,
}

/// What is to be different on disk.
#[derive(Debug, Default)]
pub struct Changes {
    /// Services to write.
    pub services: Vec<KeptService>,
    /// Checks to write.
    pub checks: Vec<KeptCheck>,
    /// Ids of services to remove.
    pub gone_services: Vec<Arc<str>>,
    /// Ids of checks to remove.
    pub gone_checks: Vec<Arc<str>>,
}

/// The directories.
#[derive(Debug, Clone)]
pub struct Disk {
    services: PathBuf,
    checks: PathBuf,
    statuses: PathBuf,
}

impl Disk {
    /// Creates the directories below the data directory if needed.
    ///
    /// # Errors
    /// The system's answer, with the path.
    pub fn open(data_dir: &Path) -> Result<Self, DiskError> {
        let checks = data_dir.join("checks");
        let disk = Self { services: data_dir.join("services"), statuses: checks.join("state"), checks };
        for path in [&disk.services, &disk.statuses] {
            let mut builder = DirBuilder::new();
            builder.recursive(true).mode(0o700).create(path).map_err(at("create", path))?;
        }
        Ok(disk)
    }

    /// Everything that can be read. What cannot is set aside and named in the log.
    pub fn load(&self) -> Kept {
        Kept {
            services: read_all(&self.services, |kept: &KeptService| &kept.service.id),
            checks: read_all(&self.checks, |kept: &KeptCheck| &kept.check.check_id),
            statuses: read_all(&self.statuses, |kept: &KeptStatus| &kept.check_id),
        }
    }

    /// Makes it so, durably. What is to be added comes checks first, what is to go services first: a crash
    /// in between never leaves a service without the checks that vouch for it.
    ///
    /// # Errors
    /// The system's answer, with the path. Some of it may be done then.
    pub fn carry_out(&self, changes: &Changes) -> Result<(), DiskError> {
        let check_path = |id: &str| self.checks.join(file_name(id));
        let service_path = |id: &str| self.services.join(file_name(id));
        for kept in &changes.checks {
            write(&check_path(&kept.check.check_id), kept, true)?;
        }
        sync_if(!changes.checks.is_empty(), &self.checks)?;
        for kept in &changes.services {
            write(&service_path(&kept.service.id), kept, true)?;
        }
        let mut touched = !changes.services.is_empty();
        for id in &changes.gone_services {
            touched |= remove(&service_path(id))?;
        }
        sync_if(touched, &self.services)?;
        let mut touched = false;
        for id in &changes.gone_checks {
            touched |= remove(&check_path(id))?;
        }
        sync_if(touched, &self.checks)
    }

    /// Keeps a status. It survives the end of the process at once, that of the machine a little later.
    ///
    /// # Errors
    /// The system's answer, with the path.
    pub fn keep_status(&self, kept: &KeptStatus) -> Result<(), DiskError> {
        write(&self.statuses.join(file_name(&kept.check_id)), kept, false)
    }

    /// Forgets the status of a check.
    ///
    /// # Errors
    /// The system's answer, with the path.
    pub fn forget_status(&self, check_id: &str) -> Result<(), DiskError> {
        remove(&self.statuses.join(file_name(check_id))).map(drop)
    }
}

/// The name of the file of an id: any text is an id, few are file names.
fn file_name(id: &str) -> String {
    use std::fmt::Write as _;
    Sha256::digest(id.as_bytes()).iter().fold(String::with_capacity(64), |mut name, byte| {
        // Writing to a string cannot fail.
        let _ = write!(name, "{byte:02x}");
        name
    })
}

fn write<T: Serialize>(path: &Path, content: &T, sync: bool) -> Result<(), DiskError> {
    let text = serde_json::to_vec(&Written { version: VERSION, content })
        .map_err(|error| at("write", path)(error.into()))?;
    let temporary = path.with_extension(TEMPORARY);
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)
        .map_err(at("create", &temporary))?;
    file.write_all(&text).map_err(at("write", &temporary))?;
    if sync {
        file.sync_all().map_err(at("sync", &temporary))?;
    }
    fs::rename(&temporary, path).map_err(at("replace", path))
}

/// Removes a file; true if it was there.
fn remove(path: &Path) -> Result<bool, DiskError> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(at("remove", path)(error)),
    }
}

fn sync_if(touched: bool, directory: &Path) -> Result<(), DiskError> {
    if !touched {
        return Ok(());
    }
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(at("sync", directory))
}

/// Reads all files of a directory, in the order of their names.
fn read_all<T: DeserializeOwned>(directory: &Path, id_of: fn(&T) -> &Arc<str>) -> Vec<T> {
    let listed = fs::read_dir(directory).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    let mut paths: Vec<PathBuf> = match listed {
        Ok(entries) => entries.iter().map(fs::DirEntry::path).filter(|path| !path.is_dir()).collect(),
        Err(error) => {
            error!(target: "agent", path = %directory.display(), error = %error, "Failed reading the directory, nothing of it is restored");
            return Vec::new();
        }
    };
    paths.sort();
    let mut found = Vec::new();
    for path in paths {
        let ending = path.extension().and_then(|ending| ending.to_str());
        match ending {
            // Its end was never acknowledged, and what it was to replace is still there.
            Some(TEMPORARY) => {
                warn!(target: "agent", file = %path.display(), "Ignoring a half-written file and removing it");
                if let Err(error) = remove(&path) {
                    warn!(target: "agent", error = %error, "cannot remove a half-written file");
                }
            }
            // Named when it was set aside.
            Some(CORRUPT) => {}
            _ => match read(&path, id_of) {
                Ok(content) => found.push(content),
                Err(error) => {
                    error!(target: "agent", file = %path.display(), error = %error,
                        "Failed decoding a file of the data directory, it is not restored");
                    set_aside(&path, &error);
                }
            },
        }
    }
    found
}

/// A file of bad content gets out of the way; one that the system does not let us read stays.
fn set_aside(path: &Path, error: &io::Error) {
    if error.kind() != io::ErrorKind::InvalidData {
        return;
    }
    let aside = path.with_extension(CORRUPT);
    match fs::rename(path, &aside) {
        Ok(()) => warn!(target: "agent", file = %aside.display(), "kept aside"),
        Err(error) => {
            warn!(target: "agent", file = %path.display(), error = %error, "cannot be set aside");
        }
    }
}

fn read<T: DeserializeOwned>(path: &Path, id_of: fn(&T) -> &Arc<str>) -> io::Result<T> {
    let bad = |text: String| io::Error::new(io::ErrorKind::InvalidData, text);
    let mut text = Vec::new();
    File::open(path)?.take(LARGEST).read_to_end(&mut text)?;
    let found: ReadBack<T> = serde_json::from_slice(&text).map_err(|error| bad(error.to_string()))?;
    if found.version != VERSION {
        return Err(bad(format!("it is of version {}, known is {VERSION}", found.version)));
    }
    let name = path.file_name().and_then(|name| name.to_str());
    let id = id_of(&found.content);
    if name != Some(&*file_name(id)) {
        return Err(bad(format!("its name does not belong to the id {id:?} inside")));
    }
    Ok(found.content)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::definition::Secret;

    fn service(id: &str) -> KeptService {
        let service = Service { id: id.into(), service: "web".into(), ..Service::default() };
        KeptService { service, sidecar_of: None }
    }

    fn check(id: &str) -> KeptCheck {
        let check = Check { check_id: id.into(), status: "critical".into(), ..Check::default() };
        let run = CheckDefinition {
            id: id.to_owned(),
            token: Secret::new("t"),
            interval: Duration::from_nanos(1_500_000_001),
            header: [("X".to_owned(), vec!["1".to_owned(), "2".to_owned()])].into(),
            ..CheckDefinition::default()
        };
        KeptCheck { check, run: Some(run) }
    }

    fn status(id: &str) -> KeptStatus {
        KeptStatus { check_id: id.into(), status: "passing".into(), output: "fine".into(), at_ms: 5 }
    }

    #[test]
    fn what_is_kept_comes_back_and_what_is_removed_does_not() {
        let home = tempfile::tempdir().unwrap();
        let disk = Disk::open(home.path()).unwrap();
        let all = Changes {
            services: vec![service("a/../b"), service("b")],
            checks: vec![check("c"), check("d")],
            ..Changes::default()
        };
        disk.carry_out(&all).unwrap();
        disk.keep_status(&status("c")).unwrap();
        disk.keep_status(&status("d")).unwrap();
        let kept = Disk::open(home.path()).unwrap().load();
        assert_eq!((kept.services.len(), kept.checks.len(), kept.statuses.len()), (2, 2, 2));
        assert!(kept.services.contains(&service("a/../b")));
        assert!(kept.checks.contains(&check("d")), "durations and token unchanged");
        assert!(kept.statuses.contains(&status("c")));

        let less = Changes {
            gone_services: vec!["b".into(), "unknown".into()],
            gone_checks: vec!["c".into()],
            ..Changes::default()
        };
        disk.carry_out(&less).unwrap();
        disk.forget_status("c").unwrap();
        disk.forget_status("unknown").unwrap();
        let kept = disk.load();
        assert_eq!(kept.services, [service("a/../b")]);
        assert_eq!((kept.checks, kept.statuses), (vec![check("d")], vec![status("d")]));
    }

    #[test]
    fn bad_files_are_set_aside_and_harm_nobody() {
        let home = tempfile::tempdir().unwrap();
        let disk = Disk::open(home.path()).unwrap();
        disk.carry_out(&Changes { services: vec![service("a"), service("b")], ..Changes::default() })
            .unwrap();
        let directory = home.path().join("services");
        let whole = fs::read(directory.join(file_name("b"))).unwrap();
        fs::write(directory.join(file_name("b")), &whole[..whole.len() / 2]).unwrap();
        fs::write(directory.join("empty"), "").unwrap();
        fs::write(directory.join("other-name"), fs::read(directory.join(file_name("a"))).unwrap()).unwrap();
        fs::write(directory.join("later"), r#"{"Version":2,"Content":{"Service":{"ID":"x"}}}"#).unwrap();
        fs::write(directory.join("x.tmp"), "{").unwrap();
        assert_eq!(disk.load().services, [service("a")]);
        let mut names: Vec<_> = fs::read_dir(&directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        let mut wanted = vec![file_name("a"), file_name("b") + ".corrupt"];
        wanted.extend(["empty.corrupt", "later.corrupt", "other-name.corrupt"].map(String::from));
        wanted.sort();
        assert_eq!(names, wanted);
        assert_eq!(fs::read(directory.join(file_name("b") + ".corrupt")).unwrap(), &whole[..whole.len() / 2]);
        assert_eq!(disk.load().services, [service("a")], "again");
    }

    #[test]
    fn what_cannot_be_written_is_said_with_its_path() {
        let home = tempfile::tempdir().unwrap();
        let disk = Disk::open(home.path()).unwrap();
        fs::remove_dir(home.path().join("services")).unwrap();
        let error = disk
            .carry_out(&Changes { services: vec![service("a")], ..Changes::default() })
            .unwrap_err()
            .to_string();
        assert!(error.starts_with("cannot create ") && error.contains("services"), "{error}");
    }
}
