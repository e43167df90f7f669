//! What every end of TLS here needs: certificates from PEM, the machine's authorities, a client's configuration,
//! and Go's words for what is wrong with the other side.
//!
//! May not enter: who connects to whom, and which files are read for it.

use std::io;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

/// A certificate with those above it, and its key.
pub type Pair = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// Whose certificates a client believes.
#[derive(Debug, Clone)]
pub enum Trust {
    /// Anybody's; signatures are still checked.
    Anybody,
    /// Those of these authorities; without any, nobody's.
    Authorities(Arc<RootCertStore>),
}

/// The certificates in a PEM text; what is none is passed over.
pub fn certificates(pem: &[u8]) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem).filter_map(Result::ok).collect()
}

/// The authorities this machine trusts, from where Linux distributions and `SSL_CERT_FILE` keep them.
pub fn system_roots() -> RootCertStore {
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
        if let Ok(text) = std::fs::read(bundle)
            && store.add_parsable_certificates(certificates(&text)).0 > 0
        {
            break;
        }
    }
    store
}

/// A client that believes `trust` and shows `pair`, if any.
///
/// # Errors
/// Certificate and key that do not go together.
pub fn client_config(trust: Trust, pair: Option<Pair>) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    let builder = match trust {
        Trust::Anybody => {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        }
        // The verifier refuses to exist without authorities; a store without any trusts nobody.
        Trust::Authorities(roots) if roots.is_empty() => builder.with_root_certificates(roots),
        Trust::Authorities(roots) => {
            let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider)
                .build()
                .map_err(|error| rustls::Error::General(error.to_string()))?;
            builder.with_webpki_verifier(verifier)
        }
    };
    match pair {
        Some((chain, key)) => builder.with_client_auth_cert(chain, key),
        None => Ok(builder.with_no_client_auth()),
    }
}

/// Takes every certificate; signatures are still checked.
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

/// Go's text for a handshake that failed, if TLS is what failed; `name` is whom the certificate should have
/// named.
pub fn failure(error: &io::Error, name: &str) -> Option<String> {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        return Some("EOF".to_owned());
    }
    let tls = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    Some(match tls {
        rustls::Error::InvalidCertificate(why) => match why {
            // What is left over is mostly a certificate that signed itself.
            CertificateError::UnknownIssuer | CertificateError::BadSignature | CertificateError::Other(_) => {
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
    })
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
