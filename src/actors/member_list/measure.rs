//! What a pool counts, under the names Consul documents.

use crate::gossip::serf::{self, Pool};
use crate::gossip::swim;
use crate::metrics::{Counter, Gauge, Metrics};

/// What the core had counted when it was last looked at.
#[derive(Debug, Default)]
pub(super) struct Measure {
    swim: swim::Stats,
    serf: serf::Stats,
    score: u32,
}

impl Measure {
    /// Adds what was counted since the last time.
    pub fn take(&mut self, pool: &Pool, metrics: &Metrics) {
        let (swim, serf) = (*pool.swim_stats(), *pool.stats());
        let add = |counter, now: u64, before: u64| {
            if now > before {
                metrics.add(counter, now - before);
            }
        };
        if swim != self.swim {
            let before = std::mem::replace(&mut self.swim, swim);
            add(Counter::MemberlistUdpReceived, swim.bytes_in, before.bytes_in);
            add(Counter::MemberlistUdpSent, swim.bytes_out, before.bytes_out);
            add(Counter::MemberlistSuspect, swim.suspicions, before.suspicions);
            add(Counter::MemberlistDead, swim.deaths, before.deaths);
            add(Counter::MemberlistDegraded, swim.failed_probes, before.failed_probes);
        }
        if serf != self.serf {
            let before = std::mem::replace(&mut self.serf, serf);
            add(Counter::MemberlistAlive, serf.joined, before.joined);
            add(Counter::SerfMemberJoin, serf.joined, before.joined);
            add(Counter::SerfMemberUpdate, serf.updated, before.updated);
            add(Counter::SerfMemberFailed, serf.failed, before.failed);
            add(Counter::SerfMemberLeft, serf.left, before.left);
            add(Counter::SerfEvents, serf.events, before.events);
            add(Counter::SerfQueries, serf.queries, before.queries);
        }
        let score = pool.health_score();
        if score != self.score {
            // The pools share it, as in Consul: it shows the one that moved last.
            self.score = score;
            metrics.set(Gauge::MemberlistHealthScore, score.into());
        }
    }
}
