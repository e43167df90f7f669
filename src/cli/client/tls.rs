//! TLS to the agent: certificates from files, and Go's texts for what is wrong with them.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::cli::gotext;

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
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let builder = if self.insecure {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        } else {
            let roots = Arc::new(roots.unwrap_or_else(system_roots));
            let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider)
                .build()
                .map_err(|_| "x509: certificate signed by unknown authority".to_owned())?;
            builder.with_webpki_verifier(verifier)
        };
        let config = match pair {
            Some((chain, key)) => builder.with_client_auth_cert(chain, key).map_err(|error| match error {
                rustls::Error::InconsistentKeys(_) => "tls: private key does not match public key".to_owned(),
                other => format!("tls: {other}"),
            })?,
            None => builder.with_no_client_auth(),
        };
        Ok(Some(Arc::new(config)))
    }

    fn client_pair(&self) -> Result<Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>, String> {
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

fn certificates(pem: &[u8]) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem).filter_map(Result::ok).collect()
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

/// The authorities this machine trusts: the bundle or the directory where Linux distributions and
/// `SSL_CERT_FILE` keep it.
fn system_roots() -> RootCertStore {
    const BUNDLES: &[&str] = &[
        "/etc/ssl/certs/ca-certificates.crt",
        "/etc/pki/tls/certs/ca-bundle.crt",
        "/etc/ssl/ca-bundle.pem",
        "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
        "/etc/ssl/cert.pem",
    ];
    let mut store = RootCertStore::empty();
    let named = std::env::var("SSL_CERT_FILE").ok();
    for bundle in named.as_deref().into_iter().chain(BUNDLES.iter().copied()) {
        if let Ok(text) = fs::read(bundle)
            && store.add_parsable_certificates(certificates(&text)).0 > 0
        {
            break;
        }
    }
    store
}

/// Takes every certificate, for `CONSUL_HTTP_SSL_VERIFY=false`; signatures are still checked.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Go's text for a handshake that failed; `name` is whom the certificate should have named.
pub(super) fn failure(error: &io::Error, name: &str) -> String {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        return "EOF".to_owned();
    }
    let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) else {
        return gotext::os_error(error);
    };
    match tls {
        rustls::Error::InvalidCertificate(why) => match why {
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                "x509: certificate signed by unknown authority".to_owned()
            }
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => {
                "x509: certificate has expired or is not yet valid".to_owned()
            }
            CertificateError::NotValidForName => format!("x509: certificate is not valid for {name}"),
            CertificateError::NotValidForNameContext { presented, .. } => not_valid_for(name, presented),
            other => format!("x509: {other}"),
        },
        rustls::Error::InvalidMessage(_) => "tls: first record does not look like a TLS handshake".to_owned(),
        rustls::Error::AlertReceived(alert) => format!("remote error: tls: {}", words(&format!("{alert:?}"))),
        other => format!("tls: {other}"),
    }
}

/// `BadCertificate` as `bad certificate`.
fn words(name: &str) -> String {
    let mut text = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !text.is_empty() {
            text.push(' ');
        }
        text.extend(letter.to_lowercase());
    }
    text
}

/// `presented` are names as rustls writes them: `DnsName("x")`, `IpAddress(1.2.3.4)`.
fn not_valid_for(name: &str, presented: &[String]) -> String {
    let is_address = name.parse::<std::net::IpAddr>().is_ok();
    let kind = if is_address { "IpAddress(" } else { "DnsName(" };
    let names: Vec<&str> = presented
        .iter()
        .filter_map(|entry| entry.strip_prefix(kind))
        .map(|entry| entry.trim_end_matches(')').trim_matches('"'))
        .collect();
    match (names.is_empty(), is_address) {
        (true, true) => {
            format!("x509: cannot validate certificate for {name} because it doesn't contain any IP SANs")
        }
        (true, false) => format!("x509: certificate is not valid for any names, but wanted to match {name}"),
        (false, _) => format!("x509: certificate is valid for {}, not {name}", names.join(", ")),
    }
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

    #[test]
    fn names_in_complaints() {
        assert_eq!(words("BadCertificate"), "bad certificate");
        let presented = ["DnsName(\"a.b\")".to_owned(), "IpAddress(10.0.0.1)".to_owned()];
        assert_eq!(not_valid_for("x", &presented), "x509: certificate is valid for a.b, not x");
        assert_eq!(
            not_valid_for("10.0.0.2", &presented),
            "x509: certificate is valid for 10.0.0.1, not 10.0.0.2"
        );
        assert_eq!(
            not_valid_for("10.0.0.2", &presented[..1]),
            "x509: cannot validate certificate for 10.0.0.2 because it doesn't contain any IP SANs"
        );
    }
}
