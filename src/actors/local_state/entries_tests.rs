use super::*;
use crate::state::record::Indexes;

const AFTER: Duration = Duration::from_secs(60);

fn node() -> Node {
    Node { node: "n1".into(), address: "10.0.0.1".into(), indexes: Indexes::default(), ..Node::default() }
}

pub(in super::super) fn service(id: &str, tag: &str) -> Service {
    Service { id: id.into(), service: "web".into(), tags: vec![tag.to_owned()], ..Service::default() }
}

pub(in super::super) fn check(id: &str, service_id: &str) -> CheckRegistration {
    CheckRegistration {
        check: Check { check_id: id.into(), service_id: service_id.to_owned(), ..Check::default() },
        run: CheckDefinition { id: id.to_owned(), ttl: AFTER, ..CheckDefinition::default() },
    }
}

fn entries(update_interval: Duration) -> Entries {
    Entries::new(node(), true, OutputRules { update_interval, discard: false })
}

fn put(entries: &mut Entries, registration: CheckRegistration, now: Instant) {
    entries.put_check(Arc::new(registration), Source::Api, None, now);
}

#[test]
fn checks_carry_their_service() {
    let mut entries = entries(Duration::ZERO);
    let now = Instant::now();
    entries.put_service(service("w1", "a"), Source::Api, None);
    put(&mut entries, check("c", "w1"), now);
    let found = Arc::clone(&entries.snapshot().checks["c"]);
    assert_eq!(
        (&*found.node, &*found.service_name, &found.service_tags[..]),
        ("n1", "web", &["a".to_owned()][..])
    );
    assert_eq!(found.status, "critical", "until something else is known");
    entries.put_service(service("w1", "b"), Source::Api, None);
    assert_eq!(entries.snapshot().checks["c"].service_tags, ["a"], "until it is registered again");
    put(&mut entries, check("c", "w1"), now);
    assert_eq!(entries.snapshot().checks["c"].service_tags, ["b"]);
    entries.put_service(service("w2", "x"), Source::Api, None);
    put(&mut entries, check("c", "w2"), now);
    assert_eq!(entries.checks_of("w1").count(), 0, "it moved");
    assert_eq!(entries.remove_service("w2"), Some(vec!["c".into()]));
    assert_eq!(entries.remove_service("w2"), None);
    assert!(entries.snapshot().checks.is_empty());
}

#[test]
fn a_check_defined_again_keeps_its_status() {
    let mut entries = entries(Duration::ZERO);
    let now = Instant::now();
    put(&mut entries, check("c", ""), now);
    assert_eq!(entries.update_check("c", Status::Passing, "fine", now, 0.0), Change::Status);
    let mut other = check("c", "");
    other.check.notes = "new".into();
    other.check.status = "warning".into();
    put(&mut entries, other, now);
    let found = Arc::clone(&entries.snapshot().checks["c"]);
    assert_eq!((&*found.notes, &*found.status, &*found.output), ("new", "passing", "fine"));

    let remembered = Some((Status::Warning, "so so".to_owned()));
    entries.put_check(Arc::new(check("d", "")), Source::Config, remembered, now);
    let found = Arc::clone(&entries.snapshot().checks["d"]);
    assert_eq!((&*found.status, &*found.output), ("warning", "so so"));
}

#[test]
fn output_alone_is_put_off_and_status_is_not() {
    let mut entries = entries(AFTER);
    let now = Instant::now();
    let at = |seconds| now + Duration::from_secs(seconds);
    put(&mut entries, check("c", ""), now);
    entries.pending.checks.clear();
    let critical = Status::Critical;
    assert_eq!(entries.update_check("c", critical, "1", now, 0.5), Change::Status, "the first news of it");
    assert_eq!(entries.update_check("c", critical, "2", at(1), 0.0), Change::Output { wake: false });
    assert_eq!(entries.update_check("c", critical, "2", at(1), 0.0), Change::Nothing);
    assert_eq!(entries.update_check("unknown", critical, "2", at(1), 0.0), Change::Nothing);
    assert_eq!(entries.snapshot().checks["c"].output, "2", "seen here at once");
    assert!(entries.pending.checks.is_empty());
    assert_eq!(entries.next_deadline(), Some(at(60)), "half the interval and half of it by chance");
    entries.expire(at(59));
    assert!(entries.pending.checks.is_empty());
    entries.expire(at(60));
    assert!(entries.pending.checks.contains("c"));

    entries.pending.checks.clear();
    entries.update_check("c", critical, "3", at(61), 0.5);
    assert_eq!(entries.update_check("c", Status::Passing, "4", at(62), 0.5), Change::Status);
    assert!(entries.pending.checks.contains("c"));
    assert_eq!(entries.next_deadline(), None, "the output goes along");

    entries.set_discard_output(true);
    assert_eq!(entries.update_check("c", Status::Passing, "5", at(63), 0.5), Change::Output { wake: false });
    assert_eq!(entries.snapshot().checks["c"].output, "");
}

#[test]
fn a_check_that_is_critical_for_too_long_takes_its_service_along() {
    let mut entries = entries(Duration::ZERO);
    let now = Instant::now();
    let at = |seconds| now + Duration::from_secs(seconds);
    let impatient = |id: &str, service_id: &str| {
        let mut found = check(id, service_id);
        found.run.deregister_critical_service_after = Duration::from_secs(3);
        found
    };
    entries.put_service(service("w1", "a"), Source::Api, None);
    put(&mut entries, impatient("c", "w1"), now);
    put(&mut entries, impatient("of the node", ""), now);
    assert_eq!(entries.next_deadline(), None, "nothing was said of it yet");
    entries.update_check("c", Status::Critical, "", now, 0.0);
    assert_eq!(entries.next_deadline(), Some(at(3)));
    entries.update_check("c", Status::Warning, "", at(2), 0.0);
    assert_eq!(entries.next_deadline(), None);
    entries.update_check("c", Status::Critical, "", at(10), 0.0);
    entries.update_check("c", Status::Critical, "still", at(12), 0.0);
    put(&mut entries, impatient("c", "w1"), at(12));
    assert_eq!(entries.expire(at(12)), []);
    let due = Overdue { service_id: "w1".into(), check_id: "c".into(), timeout: Duration::from_secs(3) };
    assert_eq!(entries.expire(at(13)), std::slice::from_ref(&due));
    assert_eq!(entries.expire(at(13)), [], "once");
    assert_eq!(entries.expire(at(16)), [due], "again if that did not help");
    entries.remove_service("w1");
    assert_eq!(entries.next_deadline(), None);
}

#[test]
fn maintenance() {
    let mut entries = entries(Duration::ZERO);
    let now = Instant::now();
    assert!(entries.set_node_maintenance(Some("upgrade".into()), now));
    assert!(!entries.set_node_maintenance(Some("another reason".into()), now));
    let found = Arc::clone(&entries.snapshot().checks[NODE_MAINTENANCE]);
    assert_eq!((&*found.notes, &*found.status, &*found.kind), ("upgrade", "critical", "maintenance"));
    assert!(entries.run(NODE_MAINTENANCE).is_none());
    assert!(entries.set_node_maintenance(None, now));
    assert!(!entries.set_node_maintenance(None, now));

    assert_eq!(entries.set_service_maintenance("w1", Some("x".into()), now), None, "unknown service");
    entries.put_service(service("w1", "a"), Source::Api, None);
    let id = entries.set_service_maintenance("w1", Some("broken".into()), now).unwrap();
    assert!(is_maintenance(&id));
    let found = Arc::clone(&entries.snapshot().checks["_service_maintenance:w1"]);
    assert_eq!((&*found.service_id, &*found.service_name), ("w1", "web"));
    assert!(entries.set_service_maintenance("w1", None, now).is_some());
    assert!(entries.snapshot().checks.is_empty());
}
