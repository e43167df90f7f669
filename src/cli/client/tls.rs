//! TLS to the agent: certificates from files, and Go's texts for what is wrong with them.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use crate::cli::gotext;
use crate::tls::{self, Pair, Trust, certificates, client_config, system_roots};

/// What the user said about TLS.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct TlsOptions {
    pub ca_file: Option<String>,
    pub ca_path: Option<String>,
    pub client_cert: Option<String>,
    pub client_key: Option<String>,
    /// Accept any server certificate.
    pub insecure: bool,
}

impl TlsOptions {
    /// Reads the files named; `wanted` tells whether the connection will use TLS at all. Files are
    /// checked either way, as Consul does.
    ///
    /// # Errors
    /// Consul's text for an unreadable file or half a client pair.
    pub fn load(&self, wanted: bool) -> Result<Option<Arc<ClientConfig>>, String> {
        let pair = self.client_pair()?;
        let roots = self.roots()?;
        if !wanted {
            return Ok(None);
        }
        let trust = if self.insecure {
            Trust::Anybody
        } else {
            Trust::Authorities(Arc::new(roots.unwrap_or_else(system_roots)))
        };
        let config = client_config(trust, pair).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => "tls: private key does not match public key".to_owned(),
            other => format!("tls: {other}"),
        })?;
        Ok(Some(Arc::new(config)))
    }

    fn client_pair(&self) -> Result<Option<Pair>, String> {
        let (cert_file, key_file) = match (&self.client_cert, &self.client_key) {
            (None, None) => return Ok(None),
            (Some(cert), Some(key)) => (cert, key),
            _ => return Err("both client cert and client key must be provided".to_owned()),
        };
        let cert_text = gotext::read_file(cert_file.as_ref())?;
        let chain = certificates(&cert_text);
        let key_text = gotext::read_file(key_file.as_ref())?;
        if chain.is_empty() {
            return Err(if PrivateKeyDer::from_pem_slice(&cert_text).is_ok() {
                "tls: failed to find certificate PEM data in certificate input, but did find a private key; PEM \
                 inputs may have been switched"
                    .to_owned()
            } else {
                "tls: failed to find any PEM data in certificate input".to_owned()
            });
        }
        let key = PrivateKeyDer::from_pem_slice(&key_text).map_err(|_| {
            if certificates(&key_text).is_empty() {
                "tls: failed to find any PEM data in key input".to_owned()
            } else {
                "tls: found a certificate rather than a key in the PEM for the private key".to_owned()
            }
        })?;
        Ok(Some((chain, key)))
    }

    /// The configured authorities; none means the system's.
    fn roots(&self) -> Result<Option<RootCertStore>, String> {
        let mut store = RootCertStore::empty();
        if let Some(file) = &self.ca_file {
            let text = gotext::read_file(file.as_ref())
                .map_err(|error| format!("Error loading CA File: {error}"))?;
            if store.add_parsable_certificates(certificates(&text)).0 == 0 {
                return Err(format!("Error loading CA File: Couldn't parse PEM in: {file}"));
            }
            return Ok(Some(store));
        }
        let Some(directory) = &self.ca_path else { return Ok(None) };
        fs::metadata(directory)
            .map_err(|error| format!("lstat {directory}: {}", gotext::os_error(&error)))?;
        let mut files = Vec::new();
        collect(Path::new(directory), &mut files)
            .map_err(|error| format!("Error loading CA File: {}", gotext::os_error(&error)))?;
        files.sort();
        for file in files {
            let name = file.display().to_string();
            let text = gotext::read_file(name.as_ref())
                .map_err(|error| format!("Error loading CA File: {error}"))?;
            if store.add_parsable_certificates(certificates(&text)).0 == 0 {
                return Err(format!("Error loading CA File: Couldn't parse PEM in: {name}"));
            }
        }
        Ok(Some(store))
    }
}

/// All files below `directory`.
fn collect(directory: &Path, files: &mut Vec<std::path::PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

/// Go's text for a handshake that failed; `name` is whom the certificate should have named.
pub(super) fn failure(error: &io::Error, name: &str) -> String {
    tls::failure(error, name).unwrap_or_else(|| gotext::os_error(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::unnecessary_wraps, reason = "the fields are options")]
    fn some(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn bad_files_have_consuls_texts() {
        let directory = tempfile::tempdir().unwrap();
        let junk = directory.path().join("junk");
        fs::write(&junk, "junk").unwrap();
        let junk = junk.display().to_string();
        let no_pem = format!("Error loading CA File: Couldn't parse PEM in: {junk}");
        let cases = [
            (
                TlsOptions { ca_file: some("/no/file"), ..TlsOptions::default() },
                "Error loading CA File: open /no/file: no such file or directory",
            ),
            (TlsOptions { ca_file: some(&junk), ..TlsOptions::default() }, no_pem.as_str()),
            (
                TlsOptions { ca_path: some("/no/dir"), ..TlsOptions::default() },
                "lstat /no/dir: no such file or directory",
            ),
            (
                TlsOptions { client_cert: some("x"), ..TlsOptions::default() },
                "both client cert and client key must be provided",
            ),
            (
                TlsOptions { client_cert: some("/no/c"), client_key: some("/no/k"), ..TlsOptions::default() },
                "open /no/c: no such file or directory",
            ),
            (
                TlsOptions { client_cert: some(&junk), client_key: some(&junk), ..TlsOptions::default() },
                "tls: failed to find any PEM data in certificate input",
            ),
        ];
        for (options, want) in cases {
            assert_eq!(options.load(false).unwrap_err(), want, "{options:?}");
        }
        assert!(TlsOptions::default().load(false).unwrap().is_none());
    }
}
