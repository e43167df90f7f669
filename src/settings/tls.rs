//! TLS by interface, from the `tls` object and the older top-level keys. Files are only named here; reading
//! them is the business of who listens.

use std::path::PathBuf;

use super::file::{File, TlsListenerFile};
use super::resolve::Findings;
use super::resolved::{Tls, TlsEnd, TlsVersion};

/// The settings of all interfaces.
pub(crate) fn resolve(file: &File, found: &mut Findings<'_>) -> Tls {
    let given = &file.tls;
    let internal_rpc =
        tls_end("internal_rpc", &given.internal_rpc, &given.defaults, file.verify_incoming_rpc, found);
    let https = tls_end("https", &given.https, &given.defaults, file.verify_incoming_https, found);
    let grpc = tls_end("grpc", &given.grpc, &given.defaults, false, found);
    let certificates_come_later = file.auto_encrypt.tls || file.auto_config.enabled;
    let no_ca = |end: &TlsEnd| end.ca_file.is_none() && end.ca_path.is_none();
    if internal_rpc.verify_outgoing && no_ca(&internal_rpc) && !certificates_come_later {
        let key = found.first_set(&["tls.internal_rpc.verify_outgoing", "tls.defaults.verify_outgoing"]);
        found.problem(key, "VerifyOutgoing set, and no CA certificate provided!");
    }
    let incoming = [
        (
            &internal_rpc,
            ["tls.internal_rpc.verify_incoming", "tls.defaults.verify_incoming", "verify_incoming_rpc"],
        ),
        (&https, ["tls.https.verify_incoming", "tls.defaults.verify_incoming", "verify_incoming_https"]),
    ];
    for (end, keys) in incoming {
        if !end.verify_incoming || certificates_come_later {
            continue;
        }
        let reason = if no_ca(end) {
            "VerifyIncoming set, and no CA certificate provided!"
        } else if end.cert_file.is_none() || end.key_file.is_none() {
            "VerifyIncoming requires either a Cert and Key pair in the configuration file, or \
             auto_encrypt/auto_config be enabled"
        } else {
            continue;
        };
        let key = found.first_set(&keys);
        found.problem(key, reason);
        break;
    }
    Tls {
        internal_rpc,
        https,
        grpc,
        verify_server_hostname: given.internal_rpc.verify_server_hostname.unwrap_or(false),
        server_name: file.server_name.clone(),
        prefer_server_cipher_suites: file.tls_prefer_server_cipher_suites,
    }
}

/// The names that may be configured; those of TLS 1.3 may not, they are always on.
const CIPHER_SUITES: &[&str] = &[
    "TLS_RSA_WITH_RC4_128_SHA",
    "TLS_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA",
    "TLS_RSA_WITH_AES_256_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA256",
    "TLS_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_RC4_128_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_RSA_WITH_RC4_128_SHA",
    "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
];

/// One interface's settings: its own, else the defaults. `also_incoming` is the older key that can only
/// switch the verification on.
fn tls_end(
    name: &str,
    own: &TlsListenerFile,
    defaults: &TlsListenerFile,
    also_incoming: bool,
    found: &mut Findings<'_>,
) -> TlsEnd {
    let either = |own: &Option<String>, default: &Option<String>| {
        own.clone().or_else(|| default.clone()).filter(|text| !text.is_empty())
    };
    let path = |own, default| either(own, default).map(PathBuf::from);
    let min_version = either(&own.tls_min_version, &defaults.tls_min_version).unwrap_or_default();
    let parsed = TlsVersion::from_name(&min_version);
    if parsed.is_none() {
        let place = if own.tls_min_version.is_some() { name } else { "defaults" };
        // The wrong default is told once, not per interface.
        if own.tls_min_version.is_some() || name == "internal_rpc" {
            found.problem(
                &format!("tls.{place}.tls_min_version"),
                format!(
                    "TLSMinVersion: value {min_version} not supported, please specify one of [tls10, tls11, \
                     tls12, tls13]"
                ),
            );
        }
    }
    let suites = either(&own.tls_cipher_suites, &defaults.tls_cipher_suites).unwrap_or_default();
    let cipher_suites: Vec<String> =
        suites.split(',').map(str::trim).filter(|suite| !suite.is_empty()).map(ToOwned::to_owned).collect();
    if let Some(unknown) = cipher_suites.iter().find(|suite| !CIPHER_SUITES.contains(&suite.as_str()))
        && (own.tls_cipher_suites.is_some() || name == "internal_rpc")
    {
        let place = if own.tls_cipher_suites.is_some() { name } else { "defaults" };
        found.problem(
            &format!("tls.{place}.tls_cipher_suites"),
            format!("tls_cipher_suites: invalid tls cipher suites: unsupported cipher {unknown:?}"),
        );
    }
    TlsEnd {
        ca_file: path(&own.ca_file, &defaults.ca_file),
        ca_path: path(&own.ca_path, &defaults.ca_path),
        cert_file: path(&own.cert_file, &defaults.cert_file),
        key_file: path(&own.key_file, &defaults.key_file),
        cipher_suites,
        min_version: parsed.unwrap_or(TlsVersion::Tls12),
        verify_incoming: own.verify_incoming.or(defaults.verify_incoming).unwrap_or(false) || also_incoming,
        verify_outgoing: own.verify_outgoing.or(defaults.verify_outgoing).unwrap_or(false),
    }
}
