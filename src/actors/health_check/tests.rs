//! Checks as they run: times, thresholds, news, aliases, and what a broken one does to the others.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::time::sleep;

use super::{AliasSource, AliasedCheck, CheckRunSettings, CheckUpdate, HealthChecks};
use crate::actors::mailbox::Sender;
use crate::definition::{CheckDefinition, Status};

type Updates = Arc<Mutex<Vec<CheckUpdate>>>;

#[derive(Default)]
struct Catalog {
    checks: Mutex<BTreeMap<String, Vec<AliasedCheck>>>,
    changed: Notify,
    panics: Mutex<u32>,
}

impl Catalog {
    fn set(&self, service: &str, checks: &[(&str, Status)]) {
        let checks = checks
            .iter()
            .map(|(name, status)| AliasedCheck {
                name: (*name).to_owned(),
                status: *status,
                output: format!("output of {name}"),
            })
            .collect();
        self.checks.lock().insert(service.to_owned(), checks);
        self.changed.notify_waiters();
    }
}

impl AliasSource for Catalog {
    fn statuses(&self, node: &str, service_id: &str) -> Option<Vec<AliasedCheck>> {
        assert_eq!(node, "n1");
        let mut panics = self.panics.lock();
        if *panics > 0 {
            *panics -= 1;
            drop(panics);
            panic!("broken on purpose");
        }
        self.checks.lock().get(service_id).cloned()
    }

    fn changed<'a>(&'a self, _: &'a str, _: &'a str) -> BoxFuture<'a, ()> {
        Box::pin(self.changed.notified())
    }
}

fn start() -> (HealthChecks, Updates, Arc<Catalog>) {
    let updates = Updates::default();
    let noted = Arc::clone(&updates);
    let catalog = Arc::new(Catalog::default());
    let settings = CheckRunSettings {
        node_name: "n1".to_owned(),
        min_interval: Duration::from_millis(10),
        ..CheckRunSettings::default()
    };
    let sender = Sender::new(move |update| noted.lock().push(update));
    let alias: Arc<dyn AliasSource> = Arc::<Catalog>::clone(&catalog);
    (HealthChecks::new(settings, sender, alias).unwrap(), updates, catalog)
}

async fn until(what: &str, done: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < deadline, "{what}");
        sleep(Duration::from_millis(2)).await;
    }
}

fn last(updates: &Updates, id: &str) -> Option<(Status, String)> {
    let updates = updates.lock();
    let found = updates.iter().rfind(|update| &*update.check_id == id)?;
    Some((found.status, found.output.clone()))
}

fn count(updates: &Updates, id: &str) -> usize {
    updates.lock().iter().filter(|update| &*update.check_id == id).count()
}

fn script(id: &str, script: &str) -> CheckDefinition {
    CheckDefinition {
        id: id.to_owned(),
        args: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
        interval: Duration::from_millis(50),
        timeout: Duration::from_secs(20),
        ..CheckDefinition::default()
    }
}

#[test]
fn a_service_comes_and_goes() {
    actix::System::new().block_on(async {
        let (checks, updates, _) = start();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let _ = stream.read(&mut [0; 1024]).await;
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
            }
        });
        let run = CheckDefinition {
            id: "web".to_owned(),
            http: format!("http://{address}/"),
            interval: Duration::from_millis(30),
            ..CheckDefinition::default()
        };
        checks.start(&run, Status::Critical, "");
        let passing = format!("HTTP GET http://{address}/: 200 OK Output: ok");
        until("passing", || last(&updates, "web") == Some((Status::Passing, passing.clone()))).await;
        until("again and again", || count(&updates, "web") >= 3).await;
        server.abort();
        until("critical", || last(&updates, "web").unwrap().0 == Status::Critical).await;

        checks.stop("web");
        sleep(Duration::from_millis(50)).await;
        let told = count(&updates, "web");
        sleep(Duration::from_millis(150)).await;
        assert_eq!(count(&updates, "web"), told, "a stopped check is silent");
        checks.stop("web");
        checks.stop("never heard of");
    });
}

#[test]
fn replaced_by_one_of_the_same_id() {
    actix::System::new().block_on(async {
        let (checks, updates, _) = start();
        checks.start(&script("s", "echo old"), Status::Critical, "");
        until("old", || last(&updates, "s") == Some((Status::Passing, "old\n".to_owned()))).await;
        checks.start(&script("s", "echo new; exit 1"), Status::Passing, "");
        until("new", || last(&updates, "s") == Some((Status::Warning, "new\n".to_owned()))).await;
        let told = updates.lock().len();
        until("more", || updates.lock().len() > told + 3).await;
        assert!(updates.lock()[told..].iter().all(|update| update.output == "new\n"));
    });
}

#[test]
fn stopping_ends_what_runs() {
    actix::System::new().block_on(async {
        let (checks, _, _) = start();
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("pid");
        checks.start(&script("s", &format!("echo $$ > {}; sleep 600", file.display())), Status::Passing, "");
        let pid = || std::fs::read_to_string(&file).ok().filter(|text| text.ends_with('\n'));
        until("started", || pid().is_some()).await;
        let process = format!("/proc/{}", pid().unwrap().trim());
        drop(checks);
        until("gone", || !std::path::Path::new(&process).exists()).await;
    });
}

#[test]
fn thresholds() {
    actix::System::new().block_on(async {
        let (checks, updates, _) = start();
        let directory = tempfile::tempdir().unwrap();
        let (bad, runs) = (directory.path().join("bad"), directory.path().join("runs"));
        let body = format!("echo >> {}; test ! -e {} || exit 2", runs.display(), bad.display());
        let run =
            CheckDefinition { failures_before_critical: 3, success_before_passing: 2, ..script("s", &body) };
        let looks = || std::fs::read_to_string(&runs).map_or(0, |text| text.len());
        checks.start(&run, Status::Critical, "");
        until("the first success counts", || last(&updates, "s").is_some_and(|now| now.0 == Status::Passing))
            .await;
        std::fs::write(&bad, "").unwrap();
        let before = (looks(), count(&updates, "s"));
        until("critical", || last(&updates, "s").unwrap().0 == Status::Critical).await;
        let (looked, told) = (looks() - before.0, count(&updates, "s") - before.1);
        assert!(looked >= 3 && told < looked, "two failures are not told: {looked} looks, {told} updates");
        std::fs::remove_file(&bad).unwrap();
        until("passing again", || last(&updates, "s").unwrap().0 == Status::Passing).await;
    });
}

#[test]
fn news_and_their_age() {
    actix::System::new().block_on(async {
        let (checks, updates, _) = start();
        let ttl = |id: &str, ttl| CheckDefinition {
            id: id.to_owned(),
            ttl: Duration::from_millis(ttl),
            output_max_size: 10,
            ..CheckDefinition::default()
        };
        checks.start(&ttl("silent", 50), Status::Critical, "");
        checks.start(&ttl("restored", 50), Status::Passing, "from before");
        checks.start(&ttl("told", 300), Status::Critical, "");
        checks.start(&ttl("long", 600_000), Status::Critical, "");
        checks.update_ttl("long", Status::Warning, "0123456789abc".to_owned()).unwrap();
        let capped = "0123456789 ... (captured 10 of 13 bytes)".to_owned();
        assert_eq!(last(&updates, "long"), Some((Status::Warning, capped)), "told before the call returns");

        let start = Instant::now();
        for _ in 0..10 {
            checks.update_ttl("told", Status::Passing, "news".to_owned()).unwrap();
            sleep(Duration::from_millis(50)).await;
        }
        if start.elapsed() < Duration::from_millis(900) {
            assert_eq!(last(&updates, "told"), Some((Status::Passing, "news".to_owned())), "kept up");
        }
        let expired = "TTL expired (last output before timeout follows): news".to_owned();
        until("expired", || last(&updates, "told") == Some((Status::Critical, expired.clone()))).await;
        checks.update_ttl("told", Status::Passing, String::new()).unwrap();
        let bare = Some((Status::Critical, "TTL expired".to_owned()));
        until("and again", || last(&updates, "told") == bare).await;
        assert_eq!(last(&updates, "silent"), bare);
        assert_eq!(count(&updates, "silent"), 1, "said once");
        let before = "TTL expired (last output before timeout follows): from before".to_owned();
        assert_eq!(last(&updates, "restored"), Some((Status::Critical, before)));

        checks.start(&script("script", "true"), Status::Critical, "");
        for id in ["script", "unknown"] {
            let error = checks.update_ttl(id, Status::Passing, String::new()).unwrap_err();
            assert_eq!(error.to_string(), format!("CheckID \"{id}\" does not have associated TTL"));
        }
    });
}

#[test]
fn aliases_follow() {
    actix::System::new().block_on(async {
        let (checks, updates, catalog) = start();
        let alias = |id: &str, service: &str| CheckDefinition {
            id: id.to_owned(),
            alias_service: service.to_owned(),
            ..CheckDefinition::default()
        };
        checks.start(&alias("a", "web"), Status::Critical, "");
        let unknown = (Status::Critical, "Service web could not be found on node ".to_owned());
        until("unknown", || last(&updates, "a") == Some(unknown.clone())).await;
        catalog.set("web", &[]);
        until("no checks", || last(&updates, "a") == Some((Status::Passing, "No checks found.".into())))
            .await;
        catalog.set("web", &[("one", Status::Passing), ("two", Status::Warning)]);
        let warning = (Status::Warning, "Aliased check \"two\" failing: output of two".to_owned());
        until("warning", || last(&updates, "a") == Some(warning.clone())).await;
        let told = count(&updates, "a");
        catalog.set("other", &[("x", Status::Critical)]);
        sleep(Duration::from_millis(100)).await;
        assert_eq!(count(&updates, "a"), told, "nothing new");

        *catalog.panics.lock() = 1;
        catalog.set("web", &[("one", Status::Passing)]);
        let passing = (Status::Passing, "All checks passing.".to_owned());
        until("made anew after a panic", || last(&updates, "a") == Some(passing.clone())).await;
    });
}

#[test]
fn a_bad_one_harms_only_itself() {
    actix::System::new().block_on(async {
        let (checks, updates, _) = start();
        for number in 0..20 {
            checks.start(&script(&format!("hangs-{number}"), "sleep 600"), Status::Passing, "");
        }
        checks.start(&script("loud", "yes"), Status::Passing, "");
        let run = CheckDefinition { interval: Duration::from_millis(20), ..script("good", "echo fine") };
        checks.start(&run, Status::Critical, "");
        until("the good one goes on", || count(&updates, "good") >= 5).await;
        assert_eq!(last(&updates, "good"), Some((Status::Passing, "fine\n".to_owned())));
        assert_eq!(count(&updates, "hangs-0"), 0, "one at a time, until its time is up");
    });
}

#[test]
fn spread_over_the_interval() {
    actix::System::new().block_on(async {
        let (checks, updates, _) = start();
        let start = Instant::now();
        for number in 0..50 {
            let run = CheckDefinition {
                id: format!("c{number}"),
                tcp: "127.0.0.1:nosuch".to_owned(),
                interval: Duration::from_secs(2),
                ..CheckDefinition::default()
            };
            checks.start(&run, Status::Passing, "");
        }
        until("some have looked", || updates.lock().len() >= 20).await;
        let took = start.elapsed();
        assert!(took > Duration::from_millis(500), "20 of 50 after {took:?}");
        until("all have looked", || updates.lock().len() >= 50).await;
    });
}
