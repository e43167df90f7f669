//! What is applied was handed out, what is handed out is committed, what is committed is in the log,
//! and no entry goes before it is applied (but for those a snapshot stands in for).

use tribune::raft::Status;

pub fn check(status: &Status) {
    let order = [status.applied, status.handed, status.commit, status.last_index];
    assert!(order.is_sorted(), "applied, handed, committed, last: {order:?}");
    let kept = status.first_index <= status.applied.max(1) + 1;
    assert!(kept || status.installing, "entries gone before they were applied: {status:?}");
}
