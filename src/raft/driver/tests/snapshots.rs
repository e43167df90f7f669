use super::group::{Group, id_of};

#[test]
fn a_snapshot_that_takes_its_time_is_still_of_use() {
    let mut group = Group::of(&["a", "b", "c"]);
    group.elect("a");
    group.cut.insert(id_of("c"));
    group.propose("a", "one").unwrap();
    group.ticks(12);
    let first_index = |group: &mut Group| group.node("a").driver.status().first_index;
    let compact = |group: &mut Group| {
        let applied = group.node("a").applied;
        group.node("a").driver.compact(applied).unwrap();
        group.settle();
    };
    compact(&mut group);
    group.node("a").makes_none = true;
    group.cut.clear();
    group.ticks(5);
    assert!(group.node("a").snapshots_wanted > 0);
    let snapshot = group.node("a").snapshot();
    for data in ["two", "three", "four"] {
        group.propose("a", data).unwrap();
        group.ticks(5);
        compact(&mut group);
        assert!(first_index(&mut group) <= snapshot.index + 1, "what follows the snapshot is kept");
    }
    assert!(group.node("a").driver.snapshot_ready(snapshot).unwrap().is_some());
    group.ticks(10);
    assert_eq!(group.data("c"), ["one", "two", "three", "four"]);
    // Nobody wants another: the log goes on.
    group.ticks(110);
    compact(&mut group);
    assert_eq!(first_index(&mut group), group.node("a").applied + 1);
}
