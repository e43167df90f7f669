use super::super::health::{Measure, Sign};
use super::*;

/// A group of servers named by digits: who votes, who learns, and what gossip says of each.
struct World {
    members: Membership,
    seen: BTreeMap<u64, Seen>,
    quiet: BTreeSet<u64>,
    health: Health,
    rules: Rules,
}

fn record(name: &str) -> ServerRecord {
    ServerRecord { node_id: format!("id-{name}"), name: name.into(), address: format!("10.0.0.{name}:8300") }
}

fn id(name: &str) -> u64 {
    record(name).raft_id()
}

fn seen(name: &str, standing: Standing) -> Seen {
    Seen { server: record(name), standing, version: "1.8.7".into(), non_voter: false, bootstrap: false }
}

/// Server 1 leads. In `gossip` a `+` is alive, `!` failed, `-` left, `~` leaving, `x` reaped, in front of each name.
fn world(voters: &[&str], learners: &[&str], gossip: &[&str]) -> World {
    let all = voters.iter().chain(learners);
    let members = Membership {
        voters: voters.iter().map(|name| id(name)).collect(),
        learners: learners.iter().map(|name| id(name)).collect(),
        servers: all.map(|name| (id(name), record(name))).collect(),
        ..Membership::default()
    };
    let seen = gossip.iter().map(|text| {
        let (mark, name) = text.split_at(1);
        let standing = match mark {
            "+" => Standing::Alive,
            "!" => Standing::Failed,
            "-" => Standing::Left,
            "x" => Standing::Reaped,
            _ => Standing::Leaving,
        };
        (id(name), seen(name, standing))
    });
    let rules =
        Rules { cleanup: true, contact_ms: 200, trailing: 250, min_quorum: 0, stabilization_ms: 10_000 };
    World { members, seen: seen.collect(), quiet: BTreeSet::new(), health: Health::default(), rules }
}

impl World {
    fn quiet(mut self, names: &[&str]) -> Self {
        self.quiet = names.iter().map(|name| id(name)).collect();
        self
    }

    fn scene(&self, now_ms: u64) -> Scene<'_> {
        Scene {
            me: id("1"),
            members: &self.members,
            seen: &self.seen,
            quiet: &self.quiet,
            health: &self.health,
            rules: &self.rules,
            now_ms,
        }
    }
}

fn text(steps: &[Step]) -> String {
    let one = |step: &Step| match step {
        Step::Add(server) => format!("add {}", server.name),
        Step::Promote(server) => format!("promote {}", server.name),
        Step::Update(server) => format!("update {} {}", server.name, server.address),
        Step::Remove { name, .. } => format!("remove {name}"),
        Step::ForceLeave(name) => format!("force {name}"),
        Step::Conflict(name) => format!("conflict {name}"),
    };
    let mut steps: Vec<_> = steps.iter().map(one).collect();
    steps.sort_unstable();
    steps.join(", ")
}

#[test]
fn members_follow_gossip() {
    let table: [(&str, World, &str); 9] = [
        ("nothing to do", world(&["1", "2", "3"], &[], &["+1", "+2", "+3"]), ""),
        ("newcomers", world(&["1"], &[], &["+1", "+2", "+3"]), "add 2, add 3"),
        ("only those that live", world(&["1"], &[], &["+1", "!2", "-3", "~4", "x5"]), ""),
        ("one left", world(&["1", "2"], &["3"], &["+1", "-2", "-3"]), "remove 2, remove 3"),
        ("the leader leaves", world(&["1", "2"], &[], &["-1", "+2"]), ""),
        ("leaving is not left", world(&["1", "2"], &[], &["+1", "~2"]), ""),
        ("reaped but heard", world(&["1", "2"], &[], &["+1", "x2"]), ""),
        ("reaped", world(&["1", "2"], &[], &["+1", "x2"]).quiet(&["2"]), "remove 2"),
        ("failed ones wait for the cleanup", world(&["1", "2", "3"], &[], &["+1", "+2", "!3"]), ""),
    ];
    for (name, world, want) in table {
        assert_eq!(text(&follow(&world.scene(0))), want, "{name}");
    }
}

#[test]
fn a_moved_server_keeps_its_vote() {
    let mut world = world(&["1", "2"], &[], &["+1", "+2"]);
    for server in ["1", "2"] {
        world.seen.get_mut(&id(server)).unwrap().server.address = "10.0.0.9:8300".into();
    }
    assert_eq!(text(&follow(&world.scene(0))), "update 2 10.0.0.9:8300", "the leader's own record is raft's");
}

#[test]
fn a_server_built_anew_takes_the_place_of_the_old_one() {
    let mut world = world(&["1", "2", "3"], &[], &["+1", "+2"]);
    let mut newcomer = seen("4", Standing::Alive);
    newcomer.server.address = record("3").address;
    world.seen.insert(id("4"), newcomer.clone());
    let steps = follow(&world.scene(0));
    assert_eq!(steps.len(), 2);
    assert!(matches!(&steps[0], Step::Remove { name, .. } if name == "3"), "first: {steps:?}");
    assert_eq!(text(&steps), "add 4, remove 3");
    // Two that live and claim one address: no vote is taken away.
    world.seen.insert(id("3"), seen("3", Standing::Alive));
    assert_eq!(text(&follow(&world.scene(0))), "add 4");
}

#[test]
fn two_founders_are_two_groups() {
    let mut world = world(&["1"], &[], &["+1", "+2", "+3"]);
    for server in ["1", "2"] {
        world.seen.get_mut(&id(server)).unwrap().bootstrap = true;
    }
    assert_eq!(text(&follow(&world.scene(0))), "add 3, conflict 2");
}

#[test]
fn votes_come_with_stability() {
    let measure =
        |rules| Measure { rules, last_index: 100, last_term: 2, heartbeat_ms: 50, unreachable_ms: 2_000 };
    let good = Sign { silent_ms: Some(0), last_index: 100, last_term: 2 };
    let mut world = world(&["1"], &["2", "3", "4", "5"], &["+1", "+2", "+3", "+4", "!5"]);
    world.seen.get_mut(&id("3")).unwrap().non_voter = true;
    let signs = |fourth: Sign| {
        ["1", "2", "3", "4"]
            .map(|name| (id(name), Some(Standing::Alive), if name == "4" { fourth } else { good }))
    };
    let rules = world.rules;
    world.health.observe(signs(Sign { last_index: 0, last_term: 0, ..good }), &measure(rules), 1_000);
    assert_eq!(text(&promote(&world.scene(10_999))), "", "not yet");
    assert_eq!(text(&promote(&world.scene(11_000))), "promote 2", "4 is behind, 3 never votes, 5 failed");
    world.health.observe(signs(good), &measure(rules), 12_000);
    assert_eq!(text(&promote(&world.scene(22_000))), "promote 2, promote 4");
}

#[test]
fn the_dead_are_removed_while_they_are_few() {
    let few = |dead, voters| Err(Kept::Majority { dead, voters });
    let ok = |text: &str| Ok(text.to_owned());
    let table: [(&str, World, Result<String, Kept>); 10] = [
        ("none", world(&["1", "2", "3"], &[], &["+1", "+2", "+3"]), ok("")),
        ("one of three", world(&["1", "2", "3"], &[], &["+1", "+2", "!3"]), ok("force 3")),
        ("one of two", world(&["1", "2"], &[], &["+1", "!2"]), few(1, 2)),
        ("two of three", world(&["1", "2", "3"], &[], &["+1", "!2", "!3"]), few(2, 3)),
        ("two of four", world(&["1", "2", "3", "4"], &[], &["+1", "+2", "!3", "!4"]), few(2, 4)),
        (
            "two of five",
            world(&["1", "2", "3", "4", "5"], &[], &["+1", "+2", "+3", "!4", "!5"]),
            ok("force 4, force 5"),
        ),
        ("without a vote", world(&["1"], &["2"], &["+1", "!2"]), ok("force 2")),
        ("no member", world(&["1", "2", "3"], &[], &["+1", "+2", "+3", "!4"]), ok("force 4")),
        ("unknown to gossip, but heard", world(&["1", "2", "3"], &[], &["+1", "+2"]), ok("")),
        ("unknown to gossip", world(&["1", "2", "3"], &[], &["+1", "+2"]).quiet(&["3"]), ok("remove 3")),
    ];
    for (name, world, want) in table {
        assert_eq!(clean(&world.scene(0)).map(|steps| text(&steps)), want, "{name}");
    }
    let mut off = world(&["1", "2", "3"], &[], &["+1", "+2", "!3"]);
    off.rules.min_quorum = 3;
    let kept = Kept::MinQuorum { dead: 1, voters: 3, min_quorum: 3 };
    assert_eq!(clean(&off.scene(0)), Err(kept));
    off.rules.cleanup = false;
    assert_eq!(clean(&off.scene(0)), Ok(Vec::new()), "switched off");
}

#[test]
fn all_at_once_after_a_restart_is_not_a_death() {
    // The leader has found nobody yet: two of three are unknown.
    let world = world(&["1", "2", "3"], &[], &["+1"]).quiet(&["2", "3"]);
    assert_eq!(clean(&world.scene(0)), Err(Kept::Majority { dead: 2, voters: 3 }));
}
