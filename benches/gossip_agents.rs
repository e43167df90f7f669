//! How soon 200 agents on loopback know of one more, and of its end: real sockets, the actors of real agents, LAN
//! defaults, all in one process on one thread of gossip.
//!
//! `cargo bench --bench gossip_agents`. `TRIBUNE_AGENTS=<n>` takes another number of agents,
//! `TRIBUNE_ROUNDS=<n>` another number of newcomers (10).

#![allow(clippy::unwrap_used, clippy::panic, reason = "a bench that cannot go on ends")]

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_rt::Arbiter;
use tribune::actors::member_list::{Area, Plan, PoolHandle, start};
use tribune::actors::supervision::ExitProcess;
use tribune::gossip::effect::Everybody;
use tribune::gossip::{PoolConfig, SerfConfig, Status, SwimConfig};

/// Every agent has an address of its own and Consul's port.
const PORT: u16 = 18_301;
/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(60);

fn number(variable: &str, default: u32) -> u32 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// The address of the agent of this number: 127.1.0.1 and on.
fn address(agent: u32) -> SocketAddr {
    (Ipv4Addr::from_bits(Ipv4Addr::new(127, 1, 0, 1).to_bits() + agent), PORT).into()
}

fn agent(number: u32, arbiter: &Arbiter) -> PoolHandle {
    let config = PoolConfig {
        name: format!("agent-{number:03}"),
        advertise: address(number),
        tags: BTreeMap::from(
            [("role", "node"), ("dc", "dc1")].map(|(key, value)| (key.into(), value.into())),
        ),
        swim: SwimConfig::lan(),
        serf: SerfConfig::default(),
        keys: Vec::new(),
        verify_incoming: true,
        verify_outgoing: true,
        snapshot: None,
        seed: [0; 32],
    };
    let rules = Arc::new(|| -> Box<dyn tribune::gossip::Admission> { Box::new(Everybody) });
    let plan = Plan::new(Area::ClientLan, address(number), config, rules, Arc::default());
    start(plan, None, &arbiter.handle(), Arc::new(ExitProcess), Vec::new()).unwrap()
}

fn alive(agent: &PoolHandle) -> usize {
    agent.members().iter().filter(|member| member.status == Status::Alive).count()
}

/// Waits until all of them know of so many living members.
async fn all_know(agents: &[PoolHandle], members: usize) -> Duration {
    let begun = Instant::now();
    while agents.iter().any(|agent| alive(agent) != members) {
        assert!(begun.elapsed() < PATIENCE, "not all know of {members} members");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    begun.elapsed()
}

fn cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

fn report(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |share: usize| times.get(times.len() * share / 100).copied().unwrap_or_default().as_millis();
    let worst = times.last().copied().unwrap_or_default().as_millis();
    println!("{what}: median {} ms, 90 % {} ms, worst {worst} ms", at(50), at(90));
}

fn main() {
    let (size, rounds) = (number("TRIBUNE_AGENTS", 200), number("TRIBUNE_ROUNDS", 10));
    actix::System::new().block_on(async {
        let arbiter = Arbiter::new();
        let begun = Instant::now();
        let agents: Vec<PoolHandle> = (0..size).map(|number| agent(number, &arbiter)).collect();
        for agent in agents.iter().skip(1) {
            agent.join(address(0)).await.unwrap();
        }
        let members = agents.len();
        all_know(&agents, members).await;
        println!("{members} agents know each other after {} ms", begun.elapsed().as_millis());

        let (mut joins, mut leaves) = (Vec::new(), Vec::new());
        for round in 0..rounds {
            let newcomer = agent(size + round, &arbiter);
            let begun = Instant::now();
            newcomer.join(address(round % size)).await.unwrap();
            let mut all = agents.clone();
            all.push(newcomer.clone());
            all_know(&all, members + 1).await;
            joins.push(begun.elapsed());
            let begun = Instant::now();
            newcomer.leave().await.unwrap();
            newcomer.stop().await;
            all_know(&agents, members).await;
            leaves.push(begun.elapsed());
        }
        report("a newcomer, until all know it", joins);
        report("a goodbye, until all know it (the leaver stays 3 s to be sure)", leaves);

        let (used, begun) = (cpu(), Instant::now());
        tokio::time::sleep(Duration::from_secs(5)).await;
        let each = cpu().saturating_sub(used).as_secs_f64() / begun.elapsed().as_secs_f64() / f64::from(size);
        println!("idle: {:.0} us of CPU per agent and second", each * 1e6);
        for agent in &agents {
            agent.stop().await;
        }
    });
}
