//! Probes against real servers, with the texts that Consul 1.8.7 gave for the same.

mod docker;
mod grpc;
mod http;
mod net;
mod script;
mod servers;
mod tls;

use std::time::{Duration, Instant};

use super::{CheckTls, Outcome, Probe, Settings, Shared};
use crate::definition::{CheckDefinition, Status};

fn settings() -> Settings {
    Settings {
        environment: vec![("TRIBUNE_TEST".to_owned(), "seen".to_owned())],
        output_max_size: 4096,
        user_agent: "Consul Health Check".to_owned(),
        docker_host: "unix:///nowhere".to_owned(),
        tls: CheckTls::default(),
    }
}

/// One look by a definition.
async fn look(check: &CheckDefinition) -> Outcome {
    look_with(check, settings()).await
}

async fn look_with(check: &CheckDefinition, settings: Settings) -> Outcome {
    let shared = Shared::new(settings).unwrap();
    Probe::new(check, &shared).unwrap().run().await
}

/// As [`look`], which must not take longer than this.
async fn look_within(limit: Duration, check: &CheckDefinition) -> Outcome {
    let start = Instant::now();
    let outcome = look(check).await;
    assert!(start.elapsed() < limit, "took {:?}: {outcome:?}", start.elapsed());
    outcome
}

#[track_caller]
fn expect(name: &str, got: &Outcome, status: Status, output: &str) {
    assert_eq!((got.status, got.output.as_str()), (status, output), "{name}");
}

#[test]
fn what_nobody_looks_at_has_no_probe() {
    let shared = Shared::new(settings()).unwrap();
    let ttl = CheckDefinition { ttl: Duration::from_secs(1), ..CheckDefinition::default() };
    let alias = CheckDefinition { alias_service: "web".to_owned(), ..CheckDefinition::default() };
    assert!(Probe::new(&ttl, &shared).is_none());
    assert!(Probe::new(&alias, &shared).is_none());
}
