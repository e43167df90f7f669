use std::collections::BTreeMap;

use proptest::prelude::*;
use rand::SeedableRng;

use super::*;

fn entry(name: u16, state: NodeState) -> Entry {
    let node = Node {
        name: Name::from(name.to_string().as_str()),
        addr: SocketAddr::from(([127, 0, 0, 1], name)),
        meta: Bytes::new(),
        versions: None,
    };
    Entry { node: Arc::new(node), incarnation: u32::from(name), state, changed: Moment(0) }
}

const STATES: [NodeState; 4] = [NodeState::Alive, NodeState::Suspect, NodeState::Dead, NodeState::Left];

#[test]
fn entries_are_as_small_as_promised() {
    assert!(size_of::<Entry>() <= 32, "{}", size_of::<Entry>());
}

#[test]
fn picks_are_different_wanted_and_fair() {
    let mut rng = ChaCha12Rng::seed_from_u64(1);
    let mut table = Table::new(1);
    for name in 0..100 {
        let state = if name % 10 == 0 { NodeState::Alive } else { NodeState::Dead };
        table.insert(entry(name, state));
    }
    let alive = |entry: &Entry| entry.state == NodeState::Alive;
    let mut times = [0; 100];
    for _ in 0..10_000 {
        let places = table.pick(&mut rng, 3, alive);
        assert_eq!(places.len(), 3);
        for place in &places {
            times[*place as usize] += 1;
            assert_eq!(places.iter().filter(|other| *other == place).count(), 1);
        }
    }
    for (place, times) in times.iter().enumerate() {
        // Three in ten, give or take.
        let expected = if place % 10 == 0 { 2_700..3_300 } else { 0..1 };
        assert!(expected.contains(times), "{place}: {times}");
    }
    assert_eq!(table.pick(&mut rng, 50, alive).len(), 10);
    assert_eq!(table.pick(&mut rng, 0, alive).len(), 0);
    assert_eq!(Table::new(1).pick(&mut rng, 3, alive).len(), 0);
}

proptest! {
    #[test]
    fn the_table_does_what_a_sorted_map_does(
        steps in proptest::collection::vec((0..3u8, 0..40u16, 0..4usize), 1..200),
    ) {
        let mut table = Table::new(9);
        let mut model = BTreeMap::new();
        for (step, name, state) in steps {
            let text = name.to_string();
            let state = STATES[state];
            match step {
                0 => {
                    prop_assert!(table.insert(entry(name, state)).is_some());
                    model.insert(name, state);
                }
                1 => {
                    let removed = table.remove(text.as_bytes()).map(|entry| entry.state);
                    prop_assert_eq!(removed, model.remove(&name));
                }
                _ => {
                    if let Some(place) = table.place(text.as_bytes()) {
                        table.update(place, |entry| entry.state = state);
                        model.insert(name, state);
                    }
                }
            }
            prop_assert_eq!(table.len(), model.len());
            for name in 0..40u16 {
                let found = table.get(name.to_string().as_bytes());
                prop_assert_eq!(found.map(|entry| entry.state), model.get(&name).copied());
                prop_assert!(found.is_none_or(|entry| entry.incarnation == u32::from(name)));
            }
            for state in STATES {
                prop_assert_eq!(table.count(state), model.values().filter(|other| **other == state).count());
            }
        }
    }
}
