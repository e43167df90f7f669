//! If two logs hold an entry with the same index and term, they are the same up to it (Raft paper,
//! figure 3: log matching).

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::node::Node;

type Log = BTreeMap<u64, (u64, Bytes)>;

pub fn check(nodes: &[Node]) {
    let logs: Vec<Log> = nodes.iter().map(log).collect();
    for (number, one) in logs.iter().enumerate() {
        for other in &logs[number + 1..] {
            let agree = one
                .iter()
                .rev()
                .find(|(index, (term, _))| other.get(*index).is_some_and(|(found, _)| found == term));
            let Some((last, _)) = agree else { continue };
            for (index, entry) in one.range(..=last) {
                if let Some(found) = other.get(index) {
                    assert_eq!(entry, found, "index {index}, though {last} agrees");
                }
            }
        }
    }
}

fn log(node: &Node) -> Log {
    let Some(driver) = &node.driver else { return Log::new() };
    let status = driver.status();
    let entries = driver.log_entries(status.first_index, status.last_index + 1);
    entries.into_iter().map(|(index, term, data)| (index, (term, data))).collect()
}
