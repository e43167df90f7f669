//! `/v1/agent/metrics`: what the agent counts and times, as JSON of the last finished interval or in the
//! text form of Prometheus.

use std::fmt::Write as _;

use actix_web::http::StatusCode;
use actix_web::http::header::HeaderValue;

use super::agent::{go_time, handle};
use super::reply::{ContentType, Reply};
use super::{Json, Request, WebError, agent_process};
use crate::endpoints::agent::{Agent, MemberStatus};
use crate::endpoints::operator::Operator;
use crate::metrics::{Gauge, Labels, Metrics, Stats};

/// A value as it is now: name without prefix, labels, value.
struct Reading {
    name: &'static str,
    labels: Labels,
    value: u64,
}

pub(super) fn show(request: &Request) -> Result<Reply, WebError> {
    let agent = handle::<Agent>(request)?;
    let metrics = &request.room().shared.metrics;
    let mut readings = readings(request, &agent, metrics);
    readings.sort_by_key(|reading| reading.name);
    if request.arg("format") == Some("prometheus") {
        if agent.facts.prometheus_retention.is_zero() {
            let text = "Prometheus is not enabled since its retention time is not positive";
            return Ok(Reply::text(StatusCode::UNSUPPORTED_MEDIA_TYPE, text));
        }
        let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
        return Ok(Reply::with_body(
            StatusCode::OK,
            ContentType::Other(kind),
            prometheus(metrics, &readings),
        ));
    }
    Ok(Reply::write_json(request.pretty(), |out| json(out, metrics, &readings)))
}

/// What is not kept by the registry but asked for.
fn readings(request: &Request, agent: &Agent, metrics: &Metrics) -> Vec<Reading> {
    let endpoints = request.endpoints();
    let raft = request.handle::<Operator>().map(|operator| operator.raft.raft_status()).unwrap_or_default();
    let memory = agent_process::Memory::read();
    let view = endpoints.state.view_full();
    let size = |size: usize| u64::try_from(size).unwrap_or(u64::MAX);
    let plain = [
        ("raft.applied_index", raft.applied_index),
        ("raft.last_index", raft.last_log_index),
        ("rpc.queries_blocking", endpoints.state.watches().parked()),
        ("runtime.alloc_bytes", memory.resident),
        ("runtime.num_goroutines", agent_process::threads()),
        ("runtime.sys_bytes", memory.resident),
        // There is no collector, and so nothing it ever took.
        ("runtime.total_gc_pause_ns", 0),
        ("runtime.total_gc_runs", 0),
    ];
    let of_datacenter =
        [("state.nodes", size(view.nodes.len())), ("state.services", size(view.services.len()))];
    let kept = [
        Gauge::AutopilotFailureTolerance,
        Gauge::AutopilotHealthy,
        Gauge::MemberlistHealthScore,
        Gauge::RaftCommitNumLogs,
        Gauge::RaftDispatchNumLogs,
        Gauge::SessionTtlActive,
    ];
    let mut readings: Vec<Reading> =
        plain.into_iter().map(|(name, value)| Reading { name, labels: Labels::new(), value }).collect();
    readings.extend(of_datacenter.into_iter().map(|(name, value)| {
        let labels = vec![("datacenter", agent.facts.datacenter.clone())];
        Reading { name, labels, value }
    }));
    for (wan, pool) in [(false, agent.members.lan()), (true, agent.members.wan())] {
        if wan && agent.members.figures(true).is_none() {
            continue;
        }
        for status in [MemberStatus::Alive, MemberStatus::Failed, MemberStatus::Left] {
            let count = pool.iter().filter(|member| member.status == status).count();
            let pool = if wan { "wan" } else { "lan" };
            let labels = vec![("pool", pool.to_owned()), ("status", status.as_str().to_owned())];
            readings.push(Reading { name: "serf.members", labels, value: size(count) });
        }
    }
    readings.extend(kept.into_iter().filter_map(|gauge| {
        let name = Gauge::ALL.get(gauge as usize)?;
        Some(Reading { name, labels: Labels::new(), value: metrics.gauge(gauge) })
    }));
    readings
}

fn json(out: &mut Json, metrics: &Metrics, readings: &[Reading]) {
    let naming = metrics.naming();
    out.object(|out| {
        out.key("Timestamp").text(&go_time(metrics.shown_interval()));
        out.key("Gauges").array(|out| {
            for reading in readings {
                let Some(name) = naming.gauge(reading.name) else { continue };
                out.object(|out| {
                    out.key("Name").text(&name);
                    out.key("Value").u64(reading.value);
                    json_labels(out, &reading.labels);
                });
            }
        });
        out.key("Points").array(|_| {});
        out.key("Counters").array(|out| {
            for count in metrics.counts() {
                let Some(name) = naming.name(count.name) else { continue };
                json_stats(out, &name, &Stats::of_ones(count.interval), &[]);
            }
        });
        out.key("Samples").array(|out| {
            for sample in metrics.samples() {
                let Some(name) = naming.name(&sample.name) else { continue };
                json_stats(out, &name, &sample.interval, &sample.labels);
            }
        });
    });
}

fn json_stats(out: &mut Json, name: &str, stats: &Stats, labels: &[(&'static str, String)]) {
    out.object(|out| {
        out.key("Name").text(name);
        out.key("Count").u64(stats.count);
        out.key("Rate").f64(stats.rate());
        out.key("Sum").f64(stats.sum);
        out.key("Min").f64(stats.least);
        out.key("Max").f64(stats.most);
        out.key("Mean").f64(stats.mean());
        out.key("Stddev").f64(stats.deviation());
        json_labels(out, labels);
    });
}

fn json_labels(out: &mut Json, labels: &[(&'static str, String)]) {
    out.key("Labels").text_map(labels.iter().map(|(name, value)| (name, value)));
}

/// Writes the text form. Series of one name stand together, under one head.
struct Exposition {
    text: String,
    last: String,
}

impl Exposition {
    fn head(&mut self, name: &str, kind: &str) {
        if self.last != name {
            let _ = write!(self.text, "# HELP {name} {name}\n# TYPE {name} {kind}\n");
            name.clone_into(&mut self.last);
        }
    }

    fn value(&mut self, name: &str, labels: &[(&'static str, String)], value: impl std::fmt::Display) {
        let labels: Vec<String> =
            labels.iter().map(|(key, value)| format!("{key}=\"{}\"", escape(value))).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let _ = writeln!(self.text, "{name}{labels} {value}");
    }
}

/// A label's value in that form.
fn escape(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// A name in that form.
fn flat(name: &str) -> String {
    name.replace([' ', '.', '=', '-', '/'], "_")
}

fn prometheus(metrics: &Metrics, readings: &[Reading]) -> String {
    const QUANTILES: [&str; 3] = ["0.5", "0.9", "0.99"];
    let naming = metrics.naming();
    let mut out = Exposition { text: String::with_capacity(64 << 10), last: String::new() };
    for reading in readings {
        let Some(name) = naming.gauge(reading.name) else { continue };
        let name = flat(&name);
        out.head(&name, "gauge");
        out.value(&name, &reading.labels, reading.value);
    }
    for count in metrics.counts() {
        let Some(name) = naming.name(count.name) else { continue };
        let name = flat(&name);
        out.head(&name, "counter");
        out.value(&name, &[], count.total);
    }
    for sample in metrics.samples() {
        let Some(name) = naming.name(&sample.name) else { continue };
        let name = flat(&name);
        out.head(&name, "summary");
        for (quantile, value) in QUANTILES.iter().zip(sample.quantiles) {
            let mut labels = sample.labels.clone();
            labels.push(("quantile", (*quantile).to_owned()));
            out.value(&name, &labels, value);
        }
        out.value(&format!("{name}_sum"), &sample.labels, sample.total.sum);
        out.value(&format!("{name}_count"), &sample.labels, sample.total.count);
    }
    agent_process::write(&mut out.text);
    out.text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_labels_are_made_to_fit() {
        assert_eq!(flat("consul.fsm.coordinate.batch-update"), "consul_fsm_coordinate_batch_update");
        assert_eq!(escape("a\"b\\c\n"), "a\\\"b\\\\c\\n");
    }

    #[test]
    fn every_series_has_one_head() {
        let metrics = Metrics::default();
        metrics.http(&[("/v1/kv/", &["GET", "PUT"])]);
        let text = prometheus(&metrics, &[]);
        let mut heads: Vec<&str> = text.lines().filter(|line| line.starts_with("# TYPE")).collect();
        let count = heads.len();
        heads.sort_unstable();
        heads.dedup();
        assert_eq!(heads.len(), count, "{text}");
        for line in [
            "consul_raft_apply 0",
            "consul_kvs_apply_count 0",
            "consul_kvs_apply{quantile=\"0.5\"} NaN",
            "consul_fsm_kvs_sum{op=\"set\"} 0",
            "consul_http_GET_v1_kv___count 0",
            "consul_api_http_count{method=\"GET\",path=\"v1_kv_\"} 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is missing in {text}");
        }
    }
}
