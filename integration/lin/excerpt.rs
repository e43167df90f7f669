//! The verdict on a whole history, and what is shown of one that is not linearizable.
//!
//! A violation is cut down before it is shown: to the shortest beginning that is one already (what
//! comes later does not matter), and without the reads that are not needed for it. What is left is
//! still a proof, and mostly a handful of operations.

use std::fmt::{self, Write as _};

use super::groups::{Group, groups};
use super::history::{History, Key, Operation, SessionKind};
use super::model::Model;
use super::search::{Limits, Verdict, search};

/// How many operations of an attempt are shown before the place where it stops.
const SHOWN: usize = 12;

/// Why a history is not accepted.
#[derive(Debug)]
pub enum Violation {
    /// There is no order.
    NotLinearizable {
        keys: Vec<Key>,
        /// Operations of the cut down history.
        operations: Vec<Operation>,
        /// Text for people.
        excerpt: String,
    },
    /// The search gave up.
    Undecided { keys: Vec<Key>, operations: usize },
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotLinearizable { keys, excerpt, .. } => {
                write!(f, "the history of keys {keys:?} is not linearizable\n{excerpt}")
            }
            Self::Undecided { keys, operations } => write!(
                f,
                "whether the history of keys {keys:?} ({operations} operations) is linearizable was not found \
                 out within the limits: too many operations without an answer at once"
            ),
        }
    }
}

/// Whether a history is linearizable.
pub fn check(history: &History) -> Result<(), Violation> {
    check_within(history, &[Limits::default(), Limits::WIDE])
}

/// As [`check`], within the first limits that are enough.
pub(super) fn check_within(history: &History, limits: &[Limits]) -> Result<(), Violation> {
    let mut undecided = Ok(());
    for group in groups(history) {
        let mut verdicts = limits.iter().map(|limits| (*limits, examine(&group, &history.sessions, *limits)));
        match verdicts.find(|(_, verdict)| *verdict != Verdict::Undecided) {
            Some((_, Verdict::Linearizable)) => {}
            Some((limits, _)) => return Err(cut_down(&group, &history.sessions, limits)),
            None => {
                let operations = group.operations.len();
                undecided = Err(Violation::Undecided { keys: group.keys, operations });
            }
        }
    }
    undecided
}

/// As [`check`]; whatever is not shown to be linearizable is a panic that names the seed.
#[track_caller]
pub fn require(history: &History, seed: &str) {
    if let Err(violation) = check(history) {
        panic!("{seed}: {violation}");
    }
}

fn examine(group: &Group, sessions: &[SessionKind], limits: Limits) -> Verdict {
    search(&Model { keys: group.keys.clone(), sessions }, &group.operations, limits)
}

/// What was known at a time: later questions are not asked yet, later answers not there yet.
fn until(group: &Group, time: u64) -> Group {
    let asked = group.operations.iter().filter(|operation| operation.invoked <= time);
    let operations = asked.map(|operation| {
        let answered = operation.answered.clone().filter(|(at, _)| *at <= time);
        Operation { answered, ..operation.clone() }
    });
    Group { keys: group.keys.clone(), operations: operations.collect() }
}

fn cut_down(group: &Group, sessions: &[SessionKind], limits: Limits) -> Violation {
    let violated = |group: &Group| matches!(examine(group, sessions, limits), Verdict::Violated { .. });
    let mut times: Vec<u64> =
        group.operations.iter().filter_map(|operation| Some(operation.answered.as_ref()?.0)).collect();
    times.sort_unstable();
    // The longer a beginning, the less it allows: the first violated one can be halved for.
    let (mut low, mut high) = (0, times.len().saturating_sub(1));
    while low < high {
        let middle = usize::midpoint(low, high);
        if violated(&until(group, times[middle])) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    let mut least = until(group, times.get(low).copied().unwrap_or(u64::MAX));
    least.operations.retain(|operation| operation.answered.is_some() || !operation.call.only_reads());
    // Reads change nothing, so a history without one allows more: if it is still violated, fine.
    let mut size = least.operations.len();
    while size > 0 {
        let mut at = 0;
        while at < least.operations.len() {
            let end = (at + size).min(least.operations.len());
            let kept = |(place, operation): (usize, &Operation)| {
                (!(at..end).contains(&place) || !operation.call.only_reads()).then(|| operation.clone())
            };
            let fewer: Vec<Operation> = least.operations.iter().enumerate().filter_map(kept).collect();
            let without = Group { keys: least.keys.clone(), operations: fewer };
            if without.operations.len() < least.operations.len() && violated(&without) {
                least = without;
            } else {
                at = end;
            }
        }
        size /= 2;
    }
    let excerpt = text(&least, sessions, limits);
    Violation::NotLinearizable { keys: least.keys, operations: least.operations, excerpt }
}

fn text(group: &Group, sessions: &[SessionKind], limits: Limits) -> String {
    let mut text = format!("{} operations are enough to show it; ", group.operations.len());
    let Verdict::Violated { order, stuck } = examine(group, sessions, limits) else { return text };
    let model = Model { keys: group.keys.clone(), sessions };
    let mut state = model.start();
    for at in &order {
        let operation = &group.operations[*at];
        let answer = operation.answered.as_ref().map(|(_, answer)| answer);
        state = model.step(&state, &operation.call, answer).unwrap_or(state);
    }
    let skipped = order.len().saturating_sub(SHOWN);
    writeln!(
        text,
        "the longest attempt at an order (its last {} of {}):",
        order.len() - skipped,
        order.len()
    )
    .ok();
    for at in &order[skipped..] {
        writeln!(text, "  {}", group.operations[*at]).ok();
    }
    writeln!(text, "leaves\n  {state:?}\nwhere this has no place any more:").ok();
    writeln!(text, "  {}", group.operations[stuck]).ok();
    writeln!(text, "nor one of these before it:").ok();
    let answered = group.operations[stuck].answered.as_ref().map_or(u64::MAX, |(at, _)| *at);
    let others = (0..group.operations.len()).filter(|at| *at != stuck && !order.contains(at));
    for at in others.filter(|at| group.operations[*at].invoked <= answered).take(SHOWN) {
        writeln!(text, "  {}", group.operations[at]).ok();
    }
    text
}
