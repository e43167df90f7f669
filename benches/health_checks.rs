//! 2,000 HTTP checks at 10s: CPU time per second, resident memory, and how evenly the looks are spread.
//!
//! First the checks alone, run by a process of their own, so that server and measuring cost nothing of what is
//! printed; then a whole agent with the same checks, registered over HTTP. `TRIBUNE_BENCH_SECONDS` (30) is
//! how long is measured, `TRIBUNE_BENCH_CHECKS` (2,000) how many checks there are.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a bench fails by panicking"
)]

mod support;

use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use support::agents::{Setup, process};
use support::{measuring, setting};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tribune::actors::health_check::{AliasSource, AliasedCheck, CheckRunSettings, HealthChecks};
use tribune::actors::mailbox::Sender;
use tribune::definition::{CheckDefinition, Status};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Tells the process that runs the checks where the server is.
const SERVER: &str = "TRIBUNE_BENCH_CHECKED_SERVER";
const INTERVAL: Duration = Duration::from_secs(10);
const BUCKET: Duration = Duration::from_millis(100);

fn count() -> u64 {
    setting("TRIBUNE_BENCH_CHECKS", 2_000)
}

/// When requests came.
type Arrivals = Arc<Mutex<Vec<Instant>>>;

/// An HTTP server that notes when it is asked.
fn serve() -> (SocketAddr, Arrivals) {
    let arrivals = Arrivals::default();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("a socket");
    let address = listener.local_addr().expect("an address");
    let noted = Arc::clone(&arrivals);
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
            loop {
                let Ok((mut stream, _)) = listener.accept().await else { continue };
                noted.lock().expect("no panic").push(Instant::now());
                tokio::spawn(async move {
                    let mut request = [0; 1024];
                    let _ = stream.read(&mut request).await;
                    let _ = stream
                        .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
                        .await;
                });
            }
        });
    });
    (address, arrivals)
}

struct NoAliases;

impl AliasSource for NoAliases {
    fn statuses(&self, _: &str, _: &str) -> Option<Vec<AliasedCheck>> {
        None
    }

    fn changed<'a>(&'a self, _: &'a str, _: &'a str) -> BoxFuture<'a, ()> {
        Box::pin(std::future::pending())
    }
}

/// The process that runs the checks; until it is killed.
fn run_checks(server: &str) {
    actix::System::new().block_on(async {
        let updates = Sender::new(|update| {
            std::hint::black_box(update);
        });
        let checks =
            HealthChecks::new(CheckRunSettings::default(), updates, Arc::new(NoAliases)).expect("checks");
        for number in 0..count() {
            let run = CheckDefinition {
                id: format!("service:web-{number}"),
                http: format!("http://{server}/health?check={number}"),
                interval: INTERVAL,
                timeout: Duration::from_secs(1),
                ..CheckDefinition::default()
            };
            checks.start(&run, Status::Critical, "");
        }
        std::future::pending::<()>().await;
    });
}

/// Measures a process that runs the checks.
#[expect(clippy::cast_precision_loss, reason = "small numbers")]
fn measure(name: &str, pid: u32, arrivals: &Arrivals) {
    let length = Duration::from_secs(setting("TRIBUNE_BENCH_SECONDS", 30));
    // Every check has looked once before counting begins.
    std::thread::sleep(INTERVAL + Duration::from_secs(2));
    arrivals.lock().expect("no panic").clear();
    let (start, cpu) = (Instant::now(), process::cpu_time(pid));
    std::thread::sleep(length);
    let took = start.elapsed();
    let cpu = process::cpu_time(pid).saturating_sub(cpu);
    let resident = process::resident_kib(pid);
    let mut buckets = vec![0_u32; usize::try_from(length.as_millis() / BUCKET.as_millis()).expect("few")];
    for arrival in arrivals.lock().expect("no panic").iter() {
        let place = usize::try_from(arrival.duration_since(start).as_millis() / BUCKET.as_millis());
        if let Some(bucket) = place.ok().and_then(|place| buckets.get_mut(place)) {
            *bucket += 1;
        }
    }
    let total: u32 = buckets.iter().sum();
    println!(
        "{name:<22}{:>10.1}{:>9.1}{:>9.1}{:>8}{:>8.1}{:>6}",
        f64::from(total) / took.as_secs_f64(),
        cpu.as_secs_f64() / took.as_secs_f64() * 100.0,
        resident as f64 / 1024.0,
        buckets.iter().min().copied().unwrap_or(0),
        f64::from(total) / buckets.len() as f64,
        buckets.iter().max().copied().unwrap_or(0),
    );
}

fn main() {
    if let Ok(server) = std::env::var(SERVER) {
        run_checks(&server);
        return;
    }
    if !measuring() {
        return;
    }
    let (address, arrivals) = serve();
    println!("{} HTTP checks at {INTERVAL:?}", count());
    println!("{:<22}{:>10}{:>9}{:>9}{:>22}", "", "looks/s", "CPU %", "MiB", "per 100 ms min/mean/max");
    let mut alone = Command::new(std::env::current_exe().expect("this program"))
        .env(SERVER, address.to_string())
        .stdin(Stdio::null())
        .spawn()
        .expect("a process");
    measure("the checks alone", alone.id(), &arrivals);
    let _ = alone.kill();
    let _ = alone.wait();

    let agent = Setup::server().start();
    println!("{:<22}{:>28}", "an idle agent", agent.resident_kib() / 1024);
    let mut client = agent.client();
    for number in 0..count() {
        let body = format!(
            r#"{{"Name":"web-{number}","Port":80,"Check":{{"HTTP":"http://{address}/health?check={number}","Interval":"10s","Timeout":"1s"}}}}"#
        );
        let answer = client.put("/v1/agent/service/register", body).expect("an answer");
        if answer.status == 501 {
            println!("this agent does not register services yet");
            return;
        }
        answer.expect(200);
    }
    measure("a whole agent", agent.pid(), &arrivals);
}
