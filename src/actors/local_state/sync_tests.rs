use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::super::entries::OutputRules;
use super::*;
use crate::definition::Status;
use crate::endpoints::agent::registration::{CheckRegistration, Source};
use crate::state::record::StringMap;
use crate::state::store::MemoryStore;
use crate::state::{Envelope, StateMachine};

fn node() -> Node {
    Node {
        id: "11111111-2222-3333-4444-555555555555".into(),
        node: "N1".into(),
        address: "10.0.0.1".into(),
        datacenter: "dc1".into(),
        tagged_addresses: Some(StringMap::from([("lan".into(), "10.0.0.1".into())])),
        meta: Some(StringMap::new()),
        indexes: Indexes::default(),
    }
}

fn entries() -> Entries {
    Entries::new(node(), true, OutputRules::default())
}

fn service(id: &str) -> Service {
    Service { id: id.into(), service: "web".into(), tags: vec!["a".into()], ..Service::default() }
}

fn check(id: &str, service_id: &str) -> CheckRegistration {
    let check = Check { check_id: id.into(), service_id: service_id.into(), ..Check::default() };
    CheckRegistration { check, run: crate::definition::CheckDefinition::default() }
}

fn put_check(entries: &mut Entries, id: &str, service_id: &str) {
    entries.put_check(Arc::new(check(id, service_id)), Source::Api, None, Instant::now());
}

fn put_service(entries: &mut Entries, service: Service) {
    entries.put_service(service, Source::Api, None);
}

/// A catalog, and what is proposed to it.
struct Catalog(StateMachine);

impl Catalog {
    fn new() -> Self {
        let mut catalog = Self(StateMachine::open(Box::new(MemoryStore::default())).unwrap());
        let serf = Check {
            node: "N1".into(),
            check_id: SERF_HEALTH.into(),
            status: "passing".into(),
            ..Check::default()
        };
        let consul =
            Service { id: CONSUL_SERVICE.into(), service: CONSUL_SERVICE.into(), ..Service::default() };
        let bare = Node { node: "N1".into(), address: "10.0.0.1".into(), id: node().id, ..Node::default() };
        catalog.apply(Command::Register(Box::new(Register {
            node: bare,
            service: Some(consul),
            checks: vec![serf],
            ..Register::default()
        })));
        catalog
    }

    fn apply(&mut self, command: Command) {
        let index = self.0.applied_index() + 1;
        let data = Envelope { now_ms: 0, command }.encode().unwrap();
        self.0.apply([(index, &data[..])]).unwrap();
    }

    fn entry(&self) -> Option<Arc<NodeEntry>> {
        self.0.reader().view().node("n1").cloned()
    }

    fn register(&mut self, service: Option<Service>, checks: Vec<Check>) {
        let register = Register { node: node(), skip_node_update: true, service, checks };
        self.apply(Command::Register(Box::new(register)));
    }

    fn deregister(&mut self, service_id: &str, check_id: &str) {
        self.apply(Command::Deregister(Deregister {
            node: "N1".into(),
            service_id: service_id.to_owned(),
            check_id: check_id.to_owned(),
        }));
    }

    /// Sends what is planned; gives what it was, in words.
    fn send(&mut self, entries: &mut Entries) -> Vec<String> {
        let plan = entries.plan();
        let steps: Vec<_> = plan.node.into_iter().chain(plan.gone).chain(plan.registered).collect();
        let mut words = Vec::new();
        for step in steps {
            words.push(match &step.settles {
                Settles::Node(_) => "node".to_owned(),
                Settles::Service(service, checks) if checks.is_empty() => format!("service {}", service.id),
                Settles::Service(service, checks) => {
                    let checks: Vec<_> = checks.iter().map(|check| &*check.check_id).collect();
                    format!("service {} with {}", service.id, checks.join(" "))
                }
                Settles::Check(check) => format!("check {}", check.check_id),
                Settles::GoneService(id) => format!("no service {id}"),
                Settles::GoneCheck(id) => format!("no check {id}"),
            });
            self.apply(step.command);
            entries.settle(&step.settles);
        }
        words
    }

    fn compare(&self, entries: &mut Entries) -> bool {
        entries.compare(self.entry().as_deref())
    }

    fn sync(&mut self, entries: &mut Entries) -> Vec<String> {
        self.compare(entries);
        self.send(entries)
    }
}

#[test]
fn a_fresh_agent_sends_its_node_and_leaves_the_leaders_entries_alone() {
    let (mut entries, mut catalog) = (entries(), Catalog::new());
    assert_eq!(catalog.sync(&mut entries), ["node"]);
    assert_eq!(catalog.sync(&mut entries), [""; 0]);
    let mut client = Entries::new(node(), false, OutputRules::default());
    assert_eq!(catalog.sync(&mut client), ["no service consul"]);
}

#[test]
fn a_node_is_sent_when_anything_of_it_differs() {
    type Change = fn(&mut Node);
    let table: [(&str, Change, bool); 5] = [
        ("the same", |_| {}, false),
        ("another address", |node| node.address = "10.0.0.2".into(), true),
        ("no tagged addresses", |node| node.tagged_addresses = None, true),
        ("no metadata", |node| node.meta = None, true),
        ("only the datacenter is unset", |node| node.datacenter = String::new(), false),
    ];
    for (case, change, sent) in table {
        let mut catalog = Catalog::new();
        let mut known = node();
        change(&mut known);
        catalog.apply(Command::Register(Box::new(Register { node: known, ..Register::default() })));
        assert_eq!(catalog.sync(&mut entries()).len(), usize::from(sent), "{case}");
    }
}

#[test]
fn only_what_changed_is_sent_and_checks_travel_with_their_service() {
    let (mut entries, mut catalog) = (entries(), Catalog::new());
    catalog.sync(&mut entries);
    put_service(&mut entries, service("w1"));
    put_check(&mut entries, "c", "w1");
    put_check(&mut entries, "n", "");
    assert_eq!(catalog.send(&mut entries), ["service w1 with c", "check n"]);
    assert!(entries.plan().is_empty());
    put_check(&mut entries, "c", "w1");
    assert!(entries.plan().is_empty(), "an equal check is no change");
    entries.update_check("c", Status::Passing, "", Instant::now(), 0.0);
    assert_eq!(catalog.send(&mut entries), ["check c"]);
    entries.remove_service("w1");
    assert_eq!(catalog.send(&mut entries), ["no service w1"], "its check goes along");
    assert_eq!(catalog.sync(&mut entries), [""; 0]);
}

#[test]
fn what_only_the_catalog_has_goes_and_what_it_lost_comes_back() {
    let (mut entries, mut catalog) = (entries(), Catalog::new());
    put_service(&mut entries, service("mine"));
    put_check(&mut entries, "c", "mine");
    catalog.sync(&mut entries);
    let stray = |id: &str, service_id: &str| Check { node: "N1".into(), ..check(id, service_id).check };
    catalog.register(Some(service("old")), vec![stray("of-old", "old"), stray("stray", "")]);
    catalog.deregister("mine", "");
    assert_eq!(catalog.sync(&mut entries), ["no service old", "no check stray", "service mine with c"]);
    assert_eq!(catalog.sync(&mut entries), [""; 0]);
}

#[test]
fn tags_are_taken_over_where_that_is_allowed() {
    let (mut entries, mut catalog) = (entries(), Catalog::new());
    let open = Service { enable_tag_override: true, ..service("open") };
    put_service(&mut entries, open.clone());
    put_service(&mut entries, service("closed"));
    put_check(&mut entries, "c", "open");
    catalog.sync(&mut entries);
    for service in [open, service("closed")] {
        catalog.register(Some(Service { tags: vec!["z".into()], port: 9, ..service }), Vec::new());
    }
    assert!(catalog.compare(&mut entries), "something was taken over");
    assert_eq!(entries.snapshot().services["open"].tags, ["z"]);
    assert_eq!(entries.snapshot().checks["c"].service_tags, ["a"], "as when it was registered");
    assert_eq!(entries.service_facts("open").unwrap().defined.tags, ["a"], "as defined");
    assert_eq!(catalog.send(&mut entries), ["service closed", "service open"], "the port is ours");
    let entry = catalog.entry().unwrap();
    assert_eq!((&entry.services["open"].tags[..], entry.services["open"].port), (&["z".to_owned()][..], 0));
    assert_eq!(entry.services["closed"].tags, ["a"]);
    assert!(!catalog.compare(&mut entries));
    assert!(entries.plan().is_empty());
}

#[test]
fn what_changes_while_it_is_sent_is_sent_again() {
    let (mut entries, mut catalog) = (entries(), Catalog::new());
    catalog.sync(&mut entries);
    put_check(&mut entries, "c", "");
    let sent = entries.plan();
    entries.update_check("c", Status::Passing, "", Instant::now(), 0.0);
    entries.settle(&sent.registered[0].settles);
    assert_eq!(catalog.send(&mut entries), ["check c"]);
}

#[test]
fn what_is_refused_waits_for_the_next_comparison() {
    let (mut entries, mut catalog) = (entries(), Catalog::new());
    catalog.sync(&mut entries);
    put_service(&mut entries, service("w1"));
    put_check(&mut entries, "c", "w1");
    let plan = entries.plan();
    entries.give_up(&plan.registered[0].settles);
    let plan = entries.plan();
    assert!(matches!(plan.registered[0].settles, Settles::Check(_)), "its check is tried on its own");
    entries.give_up(&plan.registered[0].settles);
    assert!(entries.plan().is_empty());
    assert_eq!(catalog.sync(&mut entries), ["service w1 with c"]);
}

#[test]
fn deferred_output_makes_no_difference_until_its_time_has_come() {
    let (mut entries, mut catalog) = (entries(), Catalog::new());
    let now = Instant::now();
    put_check(&mut entries, "c", "");
    catalog.sync(&mut entries);
    entries.update_check("c", Status::Critical, "new", now, 0.0);
    assert_eq!(catalog.sync(&mut entries), [""; 0]);
    entries.expire(now + Duration::from_secs(150));
    assert_eq!(catalog.send(&mut entries), ["check c"]);
    assert_eq!(catalog.entry().unwrap().checks["c"].output, "new");
    entries.update_check("c", Status::Critical, "newer", now, 0.0);
    catalog
        .register(None, vec![Check { node: "N1".into(), status: "passing".into(), ..check("c", "").check }]);
    assert_eq!(catalog.sync(&mut entries), ["check c"], "a status that differs is put right at once");
}

/// Something that happens, here or to the catalog.
#[derive(Debug, Clone)]
enum Event {
    PutService(u8, u8, bool),
    RemoveService(u8),
    PutCheck(u8, u8),
    RemoveCheck(u8),
    Update(u8, u8, u8),
    Expire(u16),
    Maintenance(Option<u8>, bool),
    /// Sends what is planned; `false`: the answer to the last step is lost.
    Send(bool),
    Sync,
    TamperService(u8, u8, bool),
    TamperCheck(u8, u8, u8),
    DropService(u8),
    DropCheck(u8),
    DropNode,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let id = || 0_u8..4;
    let event = prop_oneof![
        (id(), 0_u8..3, any::<bool>()).prop_map(|(id, tag, open)| Event::PutService(id, tag, open)),
        id().prop_map(Event::RemoveService),
        (id(), 0_u8..5).prop_map(|(id, service)| Event::PutCheck(id, service)),
        id().prop_map(Event::RemoveCheck),
        (id(), 0_u8..3, 0_u8..3).prop_map(|(id, status, output)| Event::Update(id, status, output)),
        (0_u16..400).prop_map(Event::Expire),
        (proptest::option::of(id()), any::<bool>()).prop_map(|(id, on)| Event::Maintenance(id, on)),
        any::<bool>().prop_map(Event::Send),
        Just(Event::Sync),
        (id(), 0_u8..3, any::<bool>()).prop_map(|(id, tag, open)| Event::TamperService(id, tag, open)),
        (id(), 0_u8..5, 0_u8..3).prop_map(|(id, service, status)| Event::TamperCheck(id, service, status)),
        id().prop_map(Event::DropService),
        id().prop_map(Event::DropCheck),
        Just(Event::DropNode),
    ];
    proptest::collection::vec(event, 0..60)
}

fn tagged(id: u8, tag: u8, open: bool) -> Service {
    let tags = vec![format!("t{tag}")];
    Service { tags, enable_tag_override: open, ..service(&format!("s{id}")) }
}

/// Service ids 0 to 3; 4 stands for none.
fn owner(id: u8) -> String {
    if id == 4 { String::new() } else { format!("s{id}") }
}

const STATUSES: [Status; 3] = [Status::Passing, Status::Warning, Status::Critical];

fn happen(event: &Event, entries: &mut Entries, catalog: &mut Catalog, now: &mut Instant) {
    let name = |id: u8| format!("c{id}");
    match event {
        Event::PutService(id, tag, open) => put_service(entries, tagged(*id, *tag, *open)),
        Event::RemoveService(id) => drop(entries.remove_service(&owner(*id))),
        Event::PutCheck(id, service) => {
            let service = owner(*service);
            if service.is_empty() || entries.service_facts(&service).is_some() {
                entries.put_check(Arc::new(check(&name(*id), &service)), Source::Api, None, *now);
            }
        }
        Event::RemoveCheck(id) => drop(entries.remove_check(&name(*id))),
        Event::Update(id, status, output) => {
            entries.update_check(&name(*id), STATUSES[usize::from(*status)], &output.to_string(), *now, 0.5);
        }
        Event::Expire(seconds) => {
            *now += Duration::from_secs((*seconds).into());
            entries.expire(*now);
        }
        Event::Maintenance(None, on) => {
            entries.set_node_maintenance(on.then(String::new), *now);
        }
        Event::Maintenance(Some(id), on) => {
            entries.set_service_maintenance(&owner(*id), on.then(String::new), *now);
        }
        Event::Send(true) => drop(catalog.send(entries)),
        Event::Send(false) => {
            let before = entries.clone();
            catalog.send(entries);
            // Applied, but this agent never heard of it.
            *entries = before;
        }
        Event::Sync => drop(catalog.sync(entries)),
        Event::TamperService(id, tag, open) => catalog.register(Some(tagged(*id, *tag, *open)), Vec::new()),
        Event::TamperCheck(id, service, status) => {
            let status = STATUSES[usize::from(*status)].as_str().to_owned();
            let check = Check { node: "N1".into(), status, ..check(&name(*id), &owner(*service)).check };
            catalog.register(None, vec![check]);
        }
        Event::DropService(id) => catalog.deregister(&owner(*id), ""),
        Event::DropCheck(id) => catalog.deregister("", &name(*id)),
        Event::DropNode => catalog.deregister("", ""),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_catalog_ends_up_as_the_agent_is(events in events()) {
        let (mut entries, mut catalog) = (entries(), Catalog::new());
        let mut now = Instant::now();
        for event in &events {
            happen(event, &mut entries, &mut catalog, &mut now);
        }
        // No output is put off any more.
        entries.expire(now + Duration::from_secs(3600));
        catalog.sync(&mut entries);
        let local = entries.snapshot();
        let entry = catalog.entry().unwrap();
        let services = entry.services.values().filter(|found| &*found.id != CONSUL_SERVICE);
        let services: Vec<_> = services.map(|found| Service { indexes: Indexes::default(), ..(**found).clone() }).collect();
        let wanted: Vec<_> = local.services.values().map(|found| (**found).clone()).collect();
        prop_assert_eq!(services, wanted);
        let checks = entry.checks.values().filter(|found| &*found.check_id != SERF_HEALTH);
        // What a check shows of its service is of when it was last registered, here and there.
        let own = |found: &Arc<Check>| Check {
            indexes: Indexes::default(),
            service_name: String::new(),
            service_tags: Vec::new(),
            ..(**found).clone()
        };
        let checks: Vec<_> = checks.map(own).collect();
        let wanted: Vec<_> = local.checks.values().map(own).collect();
        prop_assert_eq!(checks, wanted);
        prop_assert!(same_node(&entry.node, &node()));
        prop_assert_eq!(catalog.sync(&mut entries), Vec::<String>::new(), "nothing is left to send");
        for (id, service) in &local.services {
            let defined = &entries.service_facts(id).unwrap().defined;
            prop_assert!(service.enable_tag_override || service.tags == defined.tags);
        }
    }
}
