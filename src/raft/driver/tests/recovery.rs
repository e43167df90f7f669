//! Members given by hand, after the others were lost for good.

use super::*;

/// A node that was stopped, started with other members.
fn recovered(node: &Node, members: Membership) -> Result<Driver<MemoryLog, Waiter>, RaftError> {
    let config = DriverConfig { recover: Some(members), ..node.config.clone() };
    Driver::open(config, node.log.clone(), node.applied, 77)
}

#[test]
fn the_last_server_goes_on_alone() {
    let mut group = Group::of(&["a", "b", "c"]);
    group.elect("a");
    group.propose("a", "kept").unwrap();
    group.settle();
    let term = group.node("a").driver.status().term;
    group.cut.extend([id_of("b"), id_of("c")]);
    // Neither of these is committed: the change of members counts no more, the write is kept.
    group.change("a", &MembershipChange::AddLearner(server("d"))).unwrap();
    group.propose("a", "maybe").unwrap();
    group.settle();
    assert_eq!(group.data("a"), ["kept"]);

    let alone = Membership::founding([server("a")]);
    let node = group.node("a");
    let driver = recovered(node, alone.clone()).unwrap();
    node.driver = driver;
    node.pump();
    assert!(node.driver.is_ready(), "it leads alone");
    assert!(node.driver.status().term > term, "in a term of its own");
    assert_eq!(
        (&node.driver.membership().voters, node.driver.membership().servers.len()),
        (&alone.voters, 1)
    );
    group.propose("a", "new").unwrap();
    group.settle();
    assert_eq!(group.data("a"), ["kept", "maybe", "new"]);

    // The next start finds them in the log.
    group.node("a").restart();
    group.settle();
    assert!(group.node("a").driver.is_ready());
    assert_eq!(group.node("a").driver.membership().voters, alone.voters);
}

#[test]
fn two_survivors_of_five_and_a_learner() {
    let mut group = Group::of(&["a", "b", "c", "d", "e"]);
    group.elect("a");
    group.propose("a", "kept").unwrap();
    group.settle();
    let mut members = Membership::founding([server("a"), server("b")]);
    members.servers.insert(id_of("c"), server("c"));
    members.learners.push(id_of("c"));
    for name in ["a", "b", "c"] {
        let node = group.node(name);
        node.driver = recovered(node, members.clone()).unwrap();
    }
    group.nodes.retain(|_, node| !["d", "e"].contains(&node.name));
    group.elect("b");
    group.propose("b", "new").unwrap();
    group.settle();
    group.ticks(3);
    for name in ["a", "b", "c"] {
        assert_eq!(group.data(name), ["kept", "new"], "{name}");
    }
    assert!(group.node("c").driver.membership().learners.contains(&id_of("c")));
}

#[test]
fn nonsense_is_refused() {
    let node = Node::new("a", None);
    let error = recovered(&node, Membership::founding([server("a")])).err().map(|error| error.to_string());
    assert!(error.as_ref().is_some_and(|text| text.contains("no log to recover")), "{error:?}");
    let mut group = Group::of(&["a"]);
    group.settle();
    let error = recovered(group.node("a"), Membership::default()).err().map(|error| error.to_string());
    assert!(error.as_ref().is_some_and(|text| text.contains("no sense")), "{error:?}");
}
