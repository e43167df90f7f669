//! `serf/local.keyring` and `serf/remote.keyring`: the gossip keys, as Consul keeps them.
//!
//! A JSON list of keys in base64, the one in use first, readable by its owner only. Once there is a file it counts,
//! not the configuration: keys are changed in the running pool, and the file remembers them.

use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tracing::{error, warn};

use super::options::EncryptionOptions;
use crate::agent::data_dir::{DataDir, write_whole};

/// A keyring file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyringFileError {
    /// The system refused.
    #[error("Failed to configure keyring: cannot {doing} {}: {source}", path.display())]
    Io {
        /// What was attempted.
        doing: &'static str,
        /// Which file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// It holds no keys.
    #[error(
        "Failed to configure keyring: {} holds no list of gossip keys ({reason}); restore it, or remove it to start with the key of the configuration",
        path.display()
    )]
    Content {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// The file of one pool.
#[derive(Debug, Clone)]
pub struct KeyringFile {
    path: PathBuf,
}

/// The keys a pool starts with, and where they are kept; none for plain text.
///
/// # Errors
/// [`KeyringFileError`].
pub fn load(
    options: &EncryptionOptions,
    data_dir: Option<&DataDir>,
    name: &str,
    title: &'static str,
) -> Result<(Vec<Vec<u8>>, Option<KeyringFile>), KeyringFileError> {
    let configured: Vec<Vec<u8>> = options.key.iter().cloned().collect();
    let Some(data_dir) = data_dir.filter(|_| options.files) else { return Ok((configured, None)) };
    let file = KeyringFile { path: data_dir.join("serf").join(name) };
    match std::fs::read(&file.path) {
        Ok(content) => {
            let keys = parse(&content)
                .map_err(|reason| KeyringFileError::Content { path: file.path.clone(), reason })?;
            if configured.iter().any(|key| !keys.contains(key)) {
                warn!(target: "agent", keyring = title, "keyring doesn't include key provided with -encrypt, using keyring");
            }
            Ok((keys, Some(file)))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if !configured.is_empty() {
                file.write(&configured)?;
            }
            Ok((configured, Some(file)))
        }
        Err(source) => Err(KeyringFileError::Io { doing: "read", path: file.path, source }),
    }
}

fn parse(content: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    let texts: Vec<String> = serde_json::from_slice(content).map_err(|error| error.to_string())?;
    let keys: Vec<Vec<u8>> = texts
        .iter()
        .map(|text| {
            let key = STANDARD.decode(text).map_err(|error| error.to_string())?;
            if matches!(key.len(), 16 | 24 | 32) {
                Ok(key)
            } else {
                Err("key size must be 16, 24 or 32 bytes".to_owned())
            }
        })
        .collect::<Result<_, String>>()?;
    if keys.is_empty() { Err("no keys present".to_owned()) } else { Ok(keys) }
}

impl KeyringFile {
    fn write(&self, keys: &[Vec<u8>]) -> Result<(), KeyringFileError> {
        let wrong = |doing| move |source| KeyringFileError::Io { doing, path: self.path.clone(), source };
        if let Some(directory) = self.path.parent() {
            let mut builder = std::fs::DirBuilder::new();
            builder
                .recursive(true)
                .mode(0o700)
                .create(directory)
                .map_err(wrong("create the directory of"))?;
        }
        write_whole(&self.path, &content(keys)).map_err(wrong("write"))
    }

    /// Remembers the keys. A failure is told to the operator: the pool has the keys all the same.
    pub fn keep(&self, keys: &[Vec<u8>]) {
        if let Err(failure) = self.write(keys) {
            error!(target: "agent", error = %failure, "the gossip keys are changed, but will be the former ones after a restart");
        }
    }
}

/// As Consul lays the file out.
fn content(keys: &[Vec<u8>]) -> Vec<u8> {
    let lines: Vec<String> = keys.iter().map(|key| format!("  \"{}\"", STANDARD.encode(key))).collect();
    format!("[\n{}\n]", lines.join(",\n")).into_bytes()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn options(key: Option<u8>) -> EncryptionOptions {
        EncryptionOptions {
            key: key.map(|byte| vec![byte; 16]),
            verify_incoming: true,
            verify_outgoing: true,
            files: true,
        }
    }

    #[test]
    fn the_configured_key_makes_the_file_and_the_file_counts_then() {
        let directory = tempfile::tempdir().unwrap();
        let data = DataDir::take(directory.path()).unwrap();
        let load = |key| load(&options(key), Some(&data), "local.keyring", "LAN").unwrap();
        assert_eq!(load(None).0, Vec::<Vec<u8>>::new());
        let (keys, file) = load(Some(1));
        assert_eq!(keys, [vec![1; 16]]);
        let file = file.unwrap();
        let mode = std::fs::metadata(&file.path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(std::fs::read_to_string(&file.path).unwrap(), "[\n  \"AQEBAQEBAQEBAQEBAQEBAQ==\"\n]");
        file.keep(&[vec![2; 32], vec![1; 16]]);
        for key in [None, Some(1), Some(3)] {
            assert_eq!(load(key).0, [vec![2; 32], vec![1; 16]]);
        }
    }

    #[test]
    fn a_damaged_file_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let data = DataDir::take(directory.path()).unwrap();
        std::fs::create_dir(directory.path().join("serf")).unwrap();
        for content in ["", "{}", "[]", "[\"abc\"]", "[\"AAAA\"]"] {
            std::fs::write(directory.path().join("serf/local.keyring"), content).unwrap();
            let error = load(&options(None), Some(&data), "local.keyring", "LAN").unwrap_err();
            assert!(error.to_string().contains("serf/local.keyring holds no list"), "{content}: {error}");
        }
    }
}
