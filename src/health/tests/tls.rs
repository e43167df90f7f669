//! HTTP over TLS, and whom is trusted.

use std::time::Duration;

use super::{CheckTls, Settings, Status, expect, look, look_with, servers, settings};
use crate::definition::CheckDefinition;
use crate::health::Shared;

#[tokio::test]
async fn trust() {
    let (pem, acceptor) = servers::certificate(&["example.test", "127.0.0.1"], &[]);
    let server = servers::http(Some(acceptor)).await;
    let url = format!("https://{server}/status/200_OK");
    let check =
        CheckDefinition { http: url.clone(), timeout: Duration::from_secs(20), ..CheckDefinition::default() };
    let passing = format!("HTTP GET {url}: 200 OK Output: the body");
    let unknown = format!("Get \"{url}\": x509: certificate signed by unknown authority");
    expect("nobody knows it", &look(&check).await, Status::Critical, &unknown);
    let skipping = CheckDefinition { tls_skip_verify: true, ..check.clone() };
    expect("nobody asks", &look(&skipping).await, Status::Passing, &passing);

    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("ca.pem");
    std::fs::write(&file, pem).unwrap();
    let knowing = |ca_file, ca_path, server_name: &str| Settings {
        tls: CheckTls { ca_file, ca_path, server_name: server_name.to_owned(), ..CheckTls::default() },
        ..settings()
    };
    let by_file = || knowing(Some(file.clone()), None, "");
    expect("known", &look_with(&check, by_file()).await, Status::Passing, &passing);
    let by_path = knowing(None, Some(directory.path().to_owned()), "");
    expect("known by directory", &look_with(&check, by_path).await, Status::Passing, &passing);
    let named = CheckDefinition { tls_server_name: "example.test".to_owned(), ..check.clone() };
    expect("by its name", &look_with(&named, by_file()).await, Status::Passing, &passing);
    let other = CheckDefinition { tls_server_name: "other.test".to_owned(), ..check.clone() };
    let want = format!("Get \"{url}\": x509: certificate is valid for example.test, not other.test");
    expect("by another name", &look_with(&other, by_file()).await, Status::Critical, &want);
    let agents = knowing(Some(file.clone()), None, "other.test");
    expect("by the agent's name", &look_with(&check, agents).await, Status::Critical, &want);
}

#[tokio::test]
async fn clear_text_and_tls_mixed_up() {
    let (_, acceptor) = servers::certificate(&["127.0.0.1"], &[]);
    let secure = servers::http(Some(acceptor)).await;
    let clear = servers::http(None).await;
    let check =
        |http| CheckDefinition { http, timeout: Duration::from_secs(20), ..CheckDefinition::default() };
    let got = look(&check(format!("http://{secure}/"))).await;
    assert_eq!(got.status, Status::Critical, "{got:?}");
    let silent = servers::silent().await;
    let slow = CheckDefinition { timeout: Duration::from_millis(200), ..check(format!("https://{silent}/")) };
    assert!(look(&slow).await.output.contains("context deadline exceeded"));
    let got =
        look(&CheckDefinition { timeout: Duration::from_secs(2), ..check(format!("https://{clear}/")) })
            .await;
    assert_eq!(got.status, Status::Critical, "{got:?}");
}

#[test]
fn files_that_are_none() {
    let missing = CheckTls { ca_file: Some("/no/such/file".into()), ..CheckTls::default() };
    let error = Shared::new(Settings { tls: missing, ..settings() }).unwrap_err();
    assert!(error.to_string().contains("/no/such/file"), "{error}");
    let empty = tempfile::NamedTempFile::new().unwrap();
    let nothing = CheckTls { ca_file: Some(empty.path().to_owned()), ..CheckTls::default() };
    assert!(Shared::new(Settings { tls: nothing, ..settings() }).is_err());
}
