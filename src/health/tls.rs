//! TLS of probes: whom they trust and what they show.
//!
//! One configuration per way of checking serves all probes, so that sessions are resumed and the authorities are in
//! memory once; each is made when the first probe needs it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::gotext::os_error;
use crate::tls::{Pair, Trust, certificates, client_config, failure, system_roots};

/// Certificates that probes show and trust (`enable_agent_tls_for_checks`); empty for the system's
/// authorities and no certificate of our own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CheckTls {
    /// Authorities: a PEM file.
    pub ca_file: Option<PathBuf>,
    /// Authorities: a directory of PEM files.
    pub ca_path: Option<PathBuf>,
    /// Own certificate chain, PEM.
    pub cert_file: Option<PathBuf>,
    /// Its key, PEM.
    pub key_file: Option<PathBuf>,
    /// Name that certificates must carry if the check names none; empty for that of the address.
    pub server_name: String,
}

/// Certificates or keys that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file or directory cannot be read.
    #[error("cannot read {path}: {error}")]
    Unreadable {
        /// Which.
        path: String,
        /// Why.
        error: io::Error,
    },
    /// A file has nothing of the wanted kind in it.
    #[error("no usable {what} in {path}")]
    Nothing {
        /// What was looked for.
        what: &'static str,
        /// Where.
        path: String,
    },
    /// The TLS library says no.
    #[error("certificate and key cannot be used: {0}")]
    Refused(#[from] rustls::Error),
}

/// What is negotiated inside TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Inside {
    /// HTTP/1.1, without negotiation.
    Http1,
    /// HTTP/2.
    H2,
}

/// How a probe uses TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TlsUse {
    /// Any certificate will do.
    pub skip_verify: bool,
    /// Name the certificate must carry; empty for that of the address.
    pub server_name: String,
    /// What is spoken inside.
    pub inside: Inside,
}

/// The TLS configurations of all probes.
pub(super) struct Tls {
    roots: Option<Arc<RootCertStore>>,
    pair: Option<Pair>,
    default_name: String,
    /// By [`slot`].
    configurations: [OnceLock<Result<Arc<ClientConfig>, String>>; 4],
}

const fn slot(skip_verify: bool, inside: Inside) -> usize {
    skip_verify as usize * 2 + matches!(inside, Inside::H2) as usize
}

impl Tls {
    /// Reads the files named.
    ///
    /// # Errors
    /// Which of them cannot be used.
    pub fn load(files: &CheckTls) -> Result<Self, TlsError> {
        let mut roots = None;
        if let Some(file) = &files.ca_file {
            let mut store = RootCertStore::empty();
            add_file(&mut store, file)?;
            roots = Some(Arc::new(store));
        } else if let Some(directory) = &files.ca_path {
            let mut store = RootCertStore::empty();
            let unreadable = |error| TlsError::Unreadable { path: directory.display().to_string(), error };
            for entry in fs::read_dir(directory).map_err(unreadable)? {
                let path = entry.map_err(unreadable)?.path();
                if path.is_file() {
                    add_file(&mut store, &path)?;
                }
            }
            roots = Some(Arc::new(store));
        }
        let pair = match (&files.cert_file, &files.key_file) {
            (Some(cert), Some(key)) => {
                let chain = certificates(&read(cert)?);
                if chain.is_empty() {
                    return Err(nothing("certificate", cert));
                }
                let key_text = read(key)?;
                let key =
                    PrivateKeyDer::from_pem_slice(&key_text).map_err(|_| nothing("private key", key))?;
                Some((chain, key))
            }
            _ => None,
        };
        let tls =
            Self { roots, pair, default_name: files.server_name.clone(), configurations: Default::default() };
        if tls.pair.is_some() {
            // Half a pair should be known at the start, not at the first probe.
            tls.build(true, Inside::Http1)?;
        }
        Ok(tls)
    }

    /// Shakes hands over a connection to `host`.
    ///
    /// # Errors
    /// Go's text for what went wrong.
    pub async fn wrap(
        &self,
        stream: TcpStream,
        host: &str,
        how: &TlsUse,
    ) -> Result<TlsStream<TcpStream>, String> {
        let configuration = self.configuration(how)?;
        let wanted = [how.server_name.as_str(), self.default_name.as_str(), host]
            .into_iter()
            .find(|name| !name.is_empty())
            .unwrap_or_default();
        let name = ServerName::try_from(wanted.to_owned()).map_err(|_| {
            format!("x509: certificate is not valid for any names, but wanted to match {wanted}")
        })?;
        TlsConnector::from(configuration)
            .connect(name, stream)
            .await
            .map_err(|error| failure(&error, wanted).unwrap_or_else(|| os_error(&error)))
    }

    fn configuration(&self, how: &TlsUse) -> Result<Arc<ClientConfig>, String> {
        self.configurations[slot(how.skip_verify, how.inside)]
            .get_or_init(|| {
                self.build(how.skip_verify, how.inside).map(Arc::new).map_err(|error| error.to_string())
            })
            .clone()
    }

    fn build(&self, skip_verify: bool, inside: Inside) -> Result<ClientConfig, TlsError> {
        let trust = if skip_verify {
            Trust::Anybody
        } else {
            Trust::Authorities(self.roots.clone().unwrap_or_else(|| Arc::new(system_roots())))
        };
        let pair = self.pair.as_ref().map(|(chain, key)| (chain.clone(), key.clone_key()));
        let mut configuration = client_config(trust, pair)?;
        if inside == Inside::H2 {
            configuration.alpn_protocols = vec![b"h2".to_vec()];
        }
        Ok(configuration)
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("own_certificate", &self.pair.is_some()).finish_non_exhaustive()
    }
}

fn nothing(what: &'static str, path: &Path) -> TlsError {
    TlsError::Nothing { what, path: path.display().to_string() }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|error| TlsError::Unreadable { path: path.display().to_string(), error })
}

fn add_file(store: &mut RootCertStore, path: &Path) -> Result<(), TlsError> {
    let (added, _) = store.add_parsable_certificates(certificates(&read(path)?));
    if added == 0 { Err(nothing("certificate", path)) } else { Ok(()) }
}
