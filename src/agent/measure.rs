//! The agent's side of metrics and logs: the registry from the settings, its clock, and the log for the API.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::stream::{BoxStream, StreamExt as _, unfold};
use tracing::warn;

use crate::endpoints::log::LogSource;
use crate::metrics::{INTERVAL, Metrics, Naming};
use crate::settings::LogLevel;
use crate::settings::groups::Telemetry as Settings;
use crate::telemetry::Telemetry;

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// The registry as `telemetry` wants it, for the agent with this node name.
pub fn metrics(settings: &Settings, node: &str) -> Arc<Metrics> {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let host = Some(host).filter(|host| !settings.disable_hostname && !host.is_empty());
    let naming = Naming::new(&settings.metrics_prefix, host);
    naming.set_filter(settings.prefix_filter.iter().map(String::as_str), settings.filter_default);
    let others = [
        ("statsd_address", &settings.statsd_address),
        ("statsite_address", &settings.statsite_address),
        ("dogstatsd_addr", &settings.dogstatsd_addr),
    ];
    for (key, _) in others.iter().filter(|(_, address)| !address.is_empty()) {
        warn!(target: "agent", "telemetry.{key} is not implemented by this version of tribune: nothing is sent there; ask /v1/agent/metrics");
    }
    Arc::new(Metrics::new(naming, node, now().as_secs()))
}

/// Closes the registry's intervals as long as the agent runs.
pub async fn keep_time(metrics: Arc<Metrics>) {
    loop {
        let now = now();
        let next = (now.as_secs() / INTERVAL + 1) * INTERVAL;
        tokio::time::sleep(Duration::from_secs(next).saturating_sub(now)).await;
        metrics.roll(next.max(self::now().as_secs()));
    }
}

/// The process's log, for `/v1/agent/monitor`.
pub struct ProcessLog(pub Telemetry);

impl LogSource for ProcessLog {
    fn follow(&self, level: &str, json: bool) -> Option<BoxStream<'static, String>> {
        let monitor = self.0.monitor(LogLevel::from_name(level)?, json);
        Some(unfold(monitor, |mut monitor| async { Some((monitor.next().await?, monitor)) }).boxed())
    }
}
