//! **Incarnations never go backwards**: as long as a member stays in a table, its incarnation there only
//! rises. Otherwise an old accusation could win against a newer objection.
//!
//! Source: SWIM section 4.2. Looked at after every step of every node, in all worlds of this test.

use std::sync::Arc;
use std::time::Duration;

use tribune::gossip::swim::Node;

use crate::world::{Host, Watcher};

/// What was in a table after the last step.
#[derive(Debug, Default)]
struct Seen {
    life: u32,
    rows: Vec<(Arc<Node>, u32)>,
}

/// Watches the tables of all nodes.
#[derive(Debug, Default)]
pub struct Incarnations {
    seen: Vec<Seen>,
}

impl<H: Host> Watcher<H> for Incarnations {
    fn saw(&mut self, at: Duration, node: usize, life: u32, host: &H) {
        if self.seen.len() <= node {
            self.seen.resize_with(node + 1, Seen::default);
        }
        let seen = &mut self.seen[node];
        if seen.life != life {
            *seen = Seen { life, rows: Vec::new() };
        }
        let table = host.table();
        let same = seen.rows.len() == table.len()
            && seen.rows.iter().zip(table).all(|((known, incarnation), entry)| {
                // A row that only got a higher number is looked at below.
                Arc::ptr_eq(known, &entry.node) && *incarnation == entry.incarnation
            });
        if same {
            return;
        }
        for (known, incarnation) in &seen.rows {
            let Some(entry) = table.get(known.name.as_bytes()) else { continue };
            assert!(
                entry.incarnation >= *incarnation,
                "at {at:?} node {node} went back from incarnation {incarnation} to {} of {}",
                entry.incarnation,
                known.name
            );
        }
        seen.rows.clear();
        seen.rows.extend(table.iter().map(|entry| (entry.node.clone(), entry.incarnation)));
    }
}
