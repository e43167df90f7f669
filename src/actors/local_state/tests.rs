use actix::Actor;
use futures::future::BoxFuture;

use tokio::time::sleep;

use super::catalog::Here;
use super::rounds::{LocalStateActor, LocalStateLinks};
use super::sync::SERF_HEALTH;
use super::*;
use crate::actors::supervision::AliveToken;
use crate::endpoints::agent::LocalRegistry;
use crate::endpoints::agent::registration::{CheckRegistration, Registration, ServiceRegistration};
use crate::endpoints::{Applied, Leadership};
use crate::endpoints::{EndpointError, LeaderRead, Proposer};
use crate::state::command::Register;
use crate::state::record::{Check, Service};
use crate::state::store::MemoryStore;
use crate::state::{Command, Envelope, Outcome, StateMachine};

/// A state machine that applies at once, and fails as often as told.
struct Direct {
    machine: Mutex<StateMachine>,
    failing: Mutex<u32>,
    /// Registrations of this service are refused.
    refusing: Mutex<Option<&'static str>>,
    proposals: Mutex<u32>,
}

impl Direct {
    fn apply(&self, command: Command) -> u64 {
        let mut machine = self.machine.lock();
        let index = machine.applied_index() + 1;
        let data = Envelope { now_ms: 0, command }.encode().unwrap();
        machine.apply([(index, &data[..])]).unwrap();
        index
    }
}

impl Proposer for Direct {
    fn propose(&self, command: Command) -> BoxFuture<'_, Result<Applied, EndpointError>> {
        Box::pin(async move {
            *self.proposals.lock() += 1;
            let mut failing = self.failing.lock();
            if *failing > 0 {
                *failing -= 1;
                return Err(EndpointError::Busy);
            }
            if let Command::Register(register) = &command
                && let Some(service) = &register.service
                && Some(&*service.id) == *self.refusing.lock()
            {
                return Err(EndpointError::Refused("no".into()));
            }
            Ok(Applied { index: self.apply(command), outcome: Outcome::Done })
        })
    }
}

impl LeaderRead for Direct {
    fn leadership(&self) -> Arc<Leadership> {
        Arc::new(Leadership { leader_address: Some("x".into()), ..Leadership::default() })
    }

    fn check_lease(&self) -> Result<(), EndpointError> {
        Ok(())
    }

    fn barrier(&self) -> Result<Option<BoxFuture<'_, Result<(), EndpointError>>>, EndpointError> {
        Ok(None)
    }
}

fn facts() -> AgentFacts {
    AgentFacts {
        datacenter: "dc1".into(),
        node_name: "N1".into(),
        node_id: "11111111-2222-3333-4444-555555555555".into(),
        server: true,
        advertise_lan: "10.0.0.1".into(),
        advertise_wan: "10.0.0.1".into(),
        ..AgentFacts::default()
    }
}

fn start() -> (Arc<Direct>, LocalStateLinks) {
    let machine = StateMachine::open(Box::new(MemoryStore::default())).unwrap();
    let state = machine.reader();
    let direct = Arc::new(Direct {
        machine: Mutex::new(machine),
        failing: Mutex::default(),
        refusing: Mutex::default(),
        proposals: Mutex::default(),
    });
    let links = LocalStateLinks {
        local: Arc::new(LocalState::new(&facts(), LocalSettings::default(), None)),
        catalog: Arc::new(Here { state, leader: direct.clone() }),
        proposer: direct.clone(),
    };
    (direct, links)
}

fn leaders_entry() -> Command {
    Command::Register(Box::new(Register {
        node: crate::state::record::Node {
            node: "N1".into(),
            address: "10.0.0.1".into(),
            ..Default::default()
        },
        checks: vec![Check {
            node: "N1".into(),
            check_id: SERF_HEALTH.into(),
            status: "passing".into(),
            ..Check::default()
        }],
        ..Register::default()
    }))
}

async fn until(what: &str, done: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < deadline, "{what}");
        sleep(Duration::from_millis(2)).await;
    }
}

#[test]
fn the_catalog_follows_the_agent() {
    actix::System::new().block_on(async {
        let (direct, links) = start();
        let address = LocalStateActor::new(links.clone(), AliveToken::new(|_| ())).start();
        sleep(Duration::from_millis(20)).await;
        assert_eq!(*direct.proposals.lock(), 0, "the leader registers the node first");
        direct.apply(leaders_entry());
        let node = || direct.machine.lock().reader().view().node("n1").cloned();
        until("tagged addresses arrive", || {
            node().is_some_and(|found| found.node.tagged_addresses.is_some())
        })
        .await;
        assert_eq!(node().unwrap().checks.len(), 1, "serfHealth stays");

        *direct.failing.lock() = 3;
        links.local.set_node_maintenance(Some("why".into()));
        assert_eq!(links.local.local().checks.len(), 1, "seen at once");
        until("maintenance arrives in spite of failures", || {
            node().is_some_and(|found| found.checks.len() == 2)
        })
        .await;
        links.local.set_node_maintenance(None);
        until("and goes", || node().is_some_and(|found| found.checks.len() == 1)).await;

        direct.apply(Command::Register(Box::new(Register {
            node: crate::state::record::Node {
                node: "N1".into(),
                address: "10.9.9.9".into(),
                ..Default::default()
            },
            service: Some(Service { id: "stray".into(), service: "stray".into(), ..Service::default() }),
            ..Register::default()
        })));
        links.local.sync_all();
        until("what others wrote is put right", || {
            node().is_some_and(|found| found.services.is_empty() && found.node.address == "10.0.0.1")
        })
        .await;
        drop(address);
    });
}

fn web(id: &str) -> Registration {
    let service = Service { id: id.into(), service: "web".into(), ..Service::default() };
    let check = Check { check_id: format!("{id}-check").into(), service_id: id.into(), ..Check::default() };
    let run = crate::definition::CheckDefinition {
        id: format!("{id}-check"),
        ttl: Duration::from_secs(600),
        ..Default::default()
    };
    let checks = vec![CheckRegistration { check, run }];
    Registration { services: vec![ServiceRegistration { service, checks }], replace_existing_checks: false }
}

#[test]
fn a_refused_service_keeps_nothing_else_from_being_sent() {
    actix::System::new().block_on(async {
        let (direct, links) = start();
        direct.apply(leaders_entry());
        *direct.refusing.lock() = Some("a");
        let address = LocalStateActor::new(links.clone(), AliveToken::new(|_| ())).start();
        for id in ["a", "b"] {
            links.local.register_service(web(id), Source::Api).await.unwrap();
        }
        let node = || direct.machine.lock().reader().view().node("n1").cloned();
        until("the other one arrives", || node().is_some_and(|found| found.services.contains_key("b"))).await;
        *direct.refusing.lock() = None;
        links.local.sync_all();
        until("the refused one is tried again", || {
            node()
                .is_some_and(|found| found.services.contains_key("a") && found.checks.contains_key("a-check"))
        })
        .await;
        drop(address);
    });
}

#[test]
fn the_end_of_the_actor_loses_nothing() {
    actix::System::new().block_on(async {
        let (direct, links) = start();
        direct.apply(leaders_entry());
        links.local.register_service(web("a"), Source::Api).await.unwrap();
        let made = Arc::new(std::sync::atomic::AtomicU32::new(0));
        let (count, given) = (Arc::clone(&made), links.clone());
        let fail_stop: Arc<dyn crate::actors::supervision::FailStop> =
            Arc::new(crate::actors::supervision::ExitProcess);
        let supervised = crate::actors::supervision::supervise(
            "local state",
            &actix_rt::Arbiter::current(),
            crate::actors::supervision::RestartPolicy::default(),
            fail_stop,
            move |alive| {
                // The first one dies at once.
                if count.fetch_add(1, Ordering::SeqCst) == 0 {
                    drop(alive);
                    return LocalStateActor::new(given.clone(), AliveToken::new(|_| ())).start();
                }
                LocalStateActor::new(given.clone(), alive).start()
            },
        );
        until("a second one is made", || made.load(Ordering::SeqCst) > 1).await;
        let node = || direct.machine.lock().reader().view().node("n1").cloned();
        until("which sends what there is", || {
            node().is_some_and(|found| found.checks.contains_key("a-check"))
        })
        .await;
        supervised.release();
    });
}

fn on(home: &std::path::Path) -> LocalState {
    LocalState::new(&facts(), LocalSettings::default(), Some(Disk::open(home).unwrap()))
}

fn restore(local: &LocalState) {
    let kept = local.restore();
    local.configure_first(configured::Configured::default(), kept).unwrap();
}

#[test]
fn what_is_registered_over_http_is_there_after_a_kill_with_its_status() {
    actix::System::new().block_on(async {
        let home = tempfile::tempdir().unwrap();
        let before = on(home.path());
        before.register_service(web("a"), Source::Api).await.unwrap();
        before.register_service(web("b"), Source::Api).await.unwrap();
        before.register_service(web("configured"), Source::Config).await.unwrap();
        before.deregister_service("b").await.unwrap();
        assert!(matches!(before.deregister_service("b").await, Err(EndpointError::NotFound(_))));
        let news = CheckUpdate { check_id: "a-check".into(), status: Status::Passing, output: "fine".into() };
        before.check_updated(&news);
        before.check_updated(&CheckUpdate { check_id: "configured-check".into(), ..news });
        before.set_node_maintenance(Some("upgrade".into()));
        before.set_service_maintenance("a", Some("too".into()));
        before.keep_now();
        drop(before);

        let after = on(home.path());
        restore(&after);
        let local = after.local();
        assert_eq!(local.services.keys().map(|id| &**id).collect::<Vec<_>>(), ["a"]);
        let check = &local.checks["a-check"];
        assert_eq!((&*check.status, &*check.output, &*check.service_name), ("passing", "fine", "web"));
        assert_eq!(local.checks["_node_maintenance"].notes, "upgrade");
        assert_eq!(local.checks["_service_maintenance:a"].service_id, "a");
        after.set_node_maintenance(None);
        after.deregister_service("a").await.unwrap();
        after.keep_now();

        let last = on(home.path());
        restore(&last);
        assert!(last.local().services.is_empty() && last.local().checks.is_empty());
        let left = std::fs::read_dir(home.path().join("checks/state")).unwrap().count();
        assert_eq!(left, 0, "statuses of checks that are no more");
    });
}

#[test]
fn files_win_and_keep_what_belongs_to_them() {
    use crate::definition::{CheckDefinition, ServiceDefinition};
    actix::System::new().block_on(async {
        let minutes = |count: u64| Duration::from_secs(60 * count);
        let check = |id: &str, ttl: Duration| CheckDefinition {
            id: id.into(),
            name: id.into(),
            ttl,
            ..Default::default()
        };
        let web = |checks: Vec<CheckDefinition>| ServiceDefinition {
            name: "web".into(),
            checks,
            ..Default::default()
        };
        let home = tempfile::tempdir().unwrap();
        let first = on(home.path());
        let configured = first.prepare(&[web(vec![check("own", minutes(9))])], &[]).unwrap();
        first.configure_first(configured, Vec::new()).unwrap();
        let added = CheckDefinition { service_id: "web".into(), ..check("added", minutes(9)) };
        let rules = Rules::default();
        let registered =
            crate::endpoints::agent::registration::check(&added, Source::Api, &rules, &first.local());
        first.register_check(registered.unwrap(), Source::Api).await.unwrap();
        for id in ["own", "added"] {
            first.check_updated(&CheckUpdate {
                check_id: id.into(),
                status: Status::Passing,
                output: "up".into(),
            });
        }
        first.keep_now();

        let second = on(home.path());
        let kept = second.restore();
        assert!(second.local().checks.is_empty());
        let lone = CheckDefinition { service_id: "web".into(), ..check("lone", minutes(9)) };
        let configured =
            second.prepare(&[web(vec![check("own", minutes(9))])], std::slice::from_ref(&lone)).unwrap();
        second.configure_first(configured, kept).unwrap();
        let statuses = |local: &LocalState| -> Vec<String> {
            local
                .local()
                .checks
                .values()
                .map(|check| format!("{} {}", check.check_id, check.status))
                .collect()
        };
        assert_eq!(statuses(&second), ["added passing", "lone critical", "own passing"]);

        let counted = *second.changes().borrow();
        let configured = second.prepare(&[web(vec![check("own", minutes(8))])], &[]).unwrap();
        second.configure(configured).await.unwrap();
        assert_eq!(statuses(&second), ["added passing", "own passing"]);
        assert!(*second.changes().borrow() > counted);
        assert!(second.prepare(&[], &[lone]).unwrap_err().to_string().contains("does not exist"));
        second.configure(configured::Configured::default()).await.unwrap();
        assert!(second.local().services.is_empty() && second.local().checks.is_empty());
        let third = on(home.path());
        assert!(third.restore().is_empty(), "what was added to the service went with it");
    });
}

#[test]
fn a_ttl_that_ran_out_meanwhile_is_not_restored() {
    let home = tempfile::tempdir().unwrap();
    let disk = Disk::open(home.path()).unwrap();
    let keeper = Keeper::new(disk);
    let now_ms = u64::try_from(
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis(),
    )
    .unwrap();
    let kept = |id: &str, ago: u64| disk::KeptStatus {
        check_id: id.into(),
        status: "passing".into(),
        output: String::new(),
        at_ms: now_ms - ago * 1000,
    };
    keeper.remember(vec![kept("fresh", 50), kept("old", 80), kept("probe", 80)]);
    let minute = Duration::from_secs(60);
    assert!(keeper.recall("fresh", minute).is_some());
    assert!(keeper.recall("old", minute).is_none());
    assert!(keeper.recall("probe", Duration::ZERO).is_some(), "a probe's last word stands until the next");
    assert!(keeper.recall("unknown", minute).is_none());
}

#[test]
fn checks_of_a_service_can_be_replaced() {
    actix::System::new().block_on(async {
        let home = tempfile::tempdir().unwrap();
        let local = on(home.path());
        local.register_service(web("a"), Source::Api).await.unwrap();
        let mut other = web("a");
        other.services[0].checks[0].check.check_id = "other".into();
        local.register_service(other.clone(), Source::Api).await.unwrap();
        assert_eq!(local.local().checks.len(), 2);
        other.replace_existing_checks = true;
        local.register_service(other, Source::Api).await.unwrap();
        assert_eq!(local.local().checks.keys().map(|id| &**id).collect::<Vec<_>>(), ["other"]);
        let lone = CheckRegistration {
            check: Check { check_id: "x".into(), service_id: "nope".into(), ..Check::default() },
            run: crate::definition::CheckDefinition::default(),
        };
        let refused = local.register_check(lone, Source::Api).await.unwrap_err();
        assert_eq!(refused.to_string(), "ServiceID \"nope\" does not exist");
        let unknown = local.update_ttl("nope", Status::Passing, String::new()).unwrap_err();
        assert_eq!(unknown.to_string(), "CheckID \"nope\" does not have associated TTL");
    });
}
