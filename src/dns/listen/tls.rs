//! The certificates that DNS over TLS is served with. They are read from files, at the start and at every
//! reload, and replaced as a whole: connections that are open keep theirs.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};

use super::wire::Wire;

/// RFC 7858's name for DNS over TLS, for clients that say what they want to speak.
const ALPN: &[u8] = b"dot";

/// Files and rules of TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsSettings {
    /// The certificate and those above it, in PEM.
    pub cert_file: PathBuf,
    /// Its key, in PEM.
    pub key_file: PathBuf,
    /// Nothing older than TLS 1.3 is spoken.
    pub only_tls13: bool,
    /// Clients must show a certificate of one of these authorities, PEM files; empty for anybody.
    pub client_authorities: Vec<PathBuf>,
}

/// Why certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read or does not hold what it should.
    #[error("{}: {reason}", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The authorities of clients cannot be used.
    #[error("authorities of clients: {0}")]
    Authorities(String),
    /// Certificate and key do not go together.
    #[error("certificate {} with key {}: {source}", cert.display(), key.display())]
    Pair {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What TLS says.
        source: rustls::Error,
    },
}

/// The certificates in use, if any.
#[derive(Default)]
pub struct Certificates {
    config: ArcSwapOption<ServerConfig>,
}

impl Certificates {
    /// Reads the files and uses what is in them from now on.
    ///
    /// # Errors
    /// [`TlsError`]; then the former certificates stay.
    pub fn load(&self, settings: &TlsSettings) -> Result<(), TlsError> {
        self.config.store(Some(Arc::new(read(settings)?)));
        Ok(())
    }

    /// A server's end for a new connection; none without certificates.
    pub(super) fn wire(&self) -> Option<Wire> {
        let config = self.config.load_full()?;
        match Wire::tls(config) {
            Ok(wire) => Some(wire),
            Err(error) => {
                tracing::warn!(%error, "cannot serve TLS");
                None
            }
        }
    }
}

fn wrong(file: &Path, error: &pem::Error) -> TlsError {
    let reason = match error {
        pem::Error::Io(error) => error.to_string(),
        pem::Error::NoItemsFound => "there is none in it".into(),
        other => other.to_string(),
    };
    TlsError::File { file: file.to_owned(), reason }
}

/// All certificates of a file, at least one.
fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let all = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| wrong(file, &error))?;
    if all.is_empty() { Err(wrong(file, &pem::Error::NoItemsFound)) } else { Ok(all) }
}

/// Who may connect.
fn clients(
    authorities: &[PathBuf],
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    if authorities.is_empty() {
        return Ok(WebPkiClientVerifier::no_client_auth());
    }
    let refused = |error: &dyn std::fmt::Display| TlsError::Authorities(error.to_string());
    let mut roots = RootCertStore::empty();
    for file in authorities {
        for authority in certificates(file)? {
            roots.add(authority).map_err(|error| refused(&error))?;
        }
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .build()
        .map_err(|error| refused(&error))
}

fn read(settings: &TlsSettings) -> Result<ServerConfig, TlsError> {
    static ONLY_13: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];
    let TlsSettings { cert_file, key_file, only_tls13, client_authorities } = settings;
    let chain = certificates(cert_file)?;
    let key = PrivateKeyDer::from_pem_file(key_file).map_err(|error| wrong(key_file, &error))?;
    let pair = |source| TlsError::Pair { cert: cert_file.clone(), key: key_file.clone(), source };
    let versions = if *only_tls13 { ONLY_13 } else { rustls::DEFAULT_VERSIONS };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)
        .map_err(pair)?
        .with_client_cert_verifier(clients(client_authorities, &provider)?)
        .with_single_cert(chain, key)
        .map_err(pair)?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(config)
}
