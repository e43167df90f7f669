//! The search for an order: Wing and Gong's, with Lowe's cache.
//!
//! A configuration is the set of operations that have been put in order, and the state they led to.
//! From each the search goes on with any operation that was asked for before the first answer that
//! is still to come; a configuration that was seen before is not entered again.
//!
//! Operations without an answer are what makes a search long, as each of them may stand anywhere.
//! Three things keep them in bounds. They are tried only where nothing else helps. Those that ask the
//! same are interchangeable, and values that no answer names count as the same. And it is enough to
//! have seen a configuration with fewer of them: those that are left can still happen, or never.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasherDefault, DefaultHasher, Hash, Hasher};

use super::history::{Answer, Call, Operation, Value};
use super::model::{Model, State, UNSEEN};

/// What a search found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// There is an order.
    Linearizable,
    /// There is none. The longest attempt: its operations in order, and the one whose answer came
    /// before it could be put anywhere.
    Violated { order: Vec<usize>, stuck: usize },
    /// Neither was found within the limits.
    Undecided,
}

/// How much a search may do.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Configurations entered.
    pub steps: usize,
    /// Words of memory in the cache.
    pub words: usize,
}

impl Default for Limits {
    /// Some seconds (unoptimized: tens of them) and some 300 MB at worst.
    fn default() -> Self {
        Self { steps: 1_000_000, words: 40_000_000 }
    }
}

impl Limits {
    /// For the few histories that need more: a minute or two, and some 3 GB at worst.
    pub const WIDE: Self = Self { steps: 10_000_000, words: 400_000_000 };
}

/// One place in the attempt.
struct Frame {
    /// The operation that was put here, and what it left.
    chosen: Option<usize>,
    state: State,
    candidates: Vec<usize>,
    next: usize,
    /// Those without an answer are among the candidates too.
    complete: bool,
}

/// Operations without an answer that ask the same, in order of invocation.
struct Class {
    members: Vec<usize>,
    done: u16,
}

struct Search<'a> {
    model: &'a Model<'a>,
    /// In order of invocation.
    operations: &'a [Operation],
    /// What they ask, with values that nobody names made one.
    calls: Vec<Call>,
    /// Those with an answer, in order of invocation.
    answered: Vec<usize>,
    done: Vec<bool>,
    /// All in `answered` before this place are done.
    first_open: usize,
    /// Sum of the marks of those that are done.
    mark: u128,
    open: usize,
    classes: Vec<Class>,
    class_of: Vec<usize>,
    seen: HashMap<u128, Vec<Box<[u16]>>, BuildHasherDefault<DefaultHasher>>,
    words: usize,
}

/// Looks for an order of `operations`, which are sorted by the time they were asked for.
pub fn search(model: &Model<'_>, operations: &[Operation], limits: Limits) -> Verdict {
    Search::new(model, operations).run(limits)
}

/// The values that answers name.
fn named(operations: &[Operation]) -> BTreeSet<Value> {
    let answers = operations.iter().filter_map(|operation| Some(&operation.answered.as_ref()?.1));
    let rows = answers.flat_map(|answer| match answer {
        Answer::Row(row) => row.iter().copied().collect(),
        Answer::Txn(Some(rows)) => rows.clone(),
        _ => Vec::new(),
    });
    rows.filter_map(|row| row.value).collect()
}

impl<'a> Search<'a> {
    fn new(model: &'a Model<'a>, operations: &'a [Operation]) -> Self {
        let named = named(operations);
        let known_or_unseen = |value| if named.contains(&value) { value } else { UNSEEN };
        let calls: Vec<Call> =
            operations.iter().map(|operation| operation.call.clone().with_values(&known_or_unseen)).collect();
        let mut by_call: BTreeMap<&Call, usize> = BTreeMap::new();
        let mut classes: Vec<Class> = Vec::new();
        let mut class_of = vec![0; operations.len()];
        for (at, call) in calls.iter().enumerate() {
            if operations[at].answered.is_none() {
                let class = *by_call.entry(call).or_insert(classes.len());
                if class == classes.len() {
                    classes.push(Class { members: Vec::new(), done: 0 });
                }
                classes[class].members.push(at);
                class_of[at] = class;
            }
        }
        let answered: Vec<usize> =
            (0..operations.len()).filter(|at| operations[*at].answered.is_some()).collect();
        Self {
            model,
            operations,
            done: vec![false; operations.len()],
            first_open: 0,
            mark: 0,
            open: answered.len(),
            answered,
            classes,
            class_of,
            calls,
            seen: HashMap::default(),
            words: 0,
        }
    }

    fn end(&self, at: usize) -> u64 {
        self.operations[at].answered.as_ref().map_or(u64::MAX, |(end, _)| *end)
    }

    fn run(mut self, limits: Limits) -> Verdict {
        let mut best: (usize, Vec<usize>) = (usize::MAX, Vec::new());
        let mut frames = vec![self.frame(None, self.model.start())];
        let mut steps = 0;
        while self.open > 0 {
            let Some(frame) = frames.last_mut() else {
                let stuck = self.stuck(&best.1);
                return Verdict::Violated { order: best.1, stuck };
            };
            let Some(candidate) = frame.candidates.get(frame.next).copied() else {
                if !frame.complete {
                    frame.complete = true;
                    let deadline = self.deadline();
                    frame.candidates.extend(self.unanswered(deadline));
                    continue;
                }
                if self.open < best.0 {
                    best = (self.open, frames.iter().filter_map(|frame| frame.chosen).collect());
                }
                if let Some(chosen) = frames.pop().and_then(|frame| frame.chosen) {
                    self.undo(chosen);
                }
                continue;
            };
            frame.next += 1;
            let answer = self.operations[candidate].answered.as_ref().map(|(_, answer)| answer);
            let Some(state) = self.model.step(&frame.state, &self.calls[candidate], answer) else { continue };
            // Without an effect there is nothing to choose: it may as well never happen.
            if answer.is_none() && state == frame.state {
                continue;
            }
            // Nor if the next one wipes the effect out: the place before has the same way on.
            if let [.., before, last] = &frames[..]
                && last.chosen.is_some_and(|chosen| self.operations[chosen].answered.is_none())
                && self.model.step(&before.state, &self.calls[candidate], answer).as_ref() == Some(&state)
            {
                continue;
            }
            self.choose(candidate);
            if self.is_new(&state) {
                steps += 1;
                if steps > limits.steps || self.words > limits.words {
                    return Verdict::Undecided;
                }
                frames.push(self.frame(Some(candidate), state));
            } else {
                self.undo(candidate);
            }
        }
        Verdict::Linearizable
    }

    /// The first answer still to come.
    fn deadline(&self) -> u64 {
        let mut deadline = u64::MAX;
        for at in self.answered[self.first_open..].iter().copied() {
            if self.operations[at].invoked > deadline {
                break;
            }
            if !self.done[at] {
                deadline = deadline.min(self.end(at));
            }
        }
        deadline
    }

    /// Where to go from here: what has an answer and was asked for before the first one still to
    /// come, the earliest answer first.
    fn frame(&mut self, chosen: Option<usize>, state: State) -> Frame {
        while self.answered.get(self.first_open).is_some_and(|at| self.done[*at]) {
            self.first_open += 1;
        }
        let deadline = self.deadline();
        let open = self.answered[self.first_open..].iter().copied();
        let mut candidates: Vec<usize> = open
            .take_while(|at| self.operations[*at].invoked <= deadline)
            .filter(|at| !self.done[*at])
            .collect();
        candidates.sort_by_key(|at| (self.end(*at), *at));
        Frame { chosen, state, candidates, next: 0, complete: false }
    }

    /// Of those without an answer the first of every class.
    fn unanswered(&self, deadline: u64) -> impl Iterator<Item = usize> + '_ {
        let first = |class: &Class| class.members.get(usize::from(class.done)).copied();
        self.classes.iter().filter_map(first).filter(move |at| self.operations[*at].invoked <= deadline)
    }

    fn choose(&mut self, at: usize) {
        if self.operations[at].answered.is_some() {
            self.done[at] = true;
            self.mark = self.mark.wrapping_add(mark(at));
            self.open -= 1;
        } else {
            self.classes[self.class_of[at]].done += 1;
        }
    }

    fn undo(&mut self, at: usize) {
        if self.operations[at].answered.is_some() {
            self.done[at] = false;
            self.mark = self.mark.wrapping_sub(mark(at));
            self.open += 1;
            let place = self.answered.partition_point(|other| *other < at);
            self.first_open = self.first_open.min(place);
        } else {
            self.classes[self.class_of[at]].done -= 1;
        }
    }

    fn is_new(&mut self, state: &State) -> bool {
        let half = |salt: u64| {
            let mut hasher = DefaultHasher::new();
            (salt, state).hash(&mut hasher);
            u128::from(hasher.finish())
        };
        let key = self.mark ^ (half(1) << 64 | half(2));
        let used: Box<[u16]> = self.classes.iter().map(|class| class.done).collect();
        let seen = self.seen.entry(key).or_default();
        let covers = |fewer: &[u16], more: &[u16]| fewer.iter().zip(more).all(|(fewer, more)| fewer <= more);
        if seen.iter().any(|before| covers(before, &used)) {
            return false;
        }
        seen.retain(|before| !covers(&used, before));
        self.words += 8 + used.len() / 4;
        seen.push(used);
        true
    }

    /// The operation whose answer came first among those an attempt leaves out.
    fn stuck(&self, order: &[usize]) -> usize {
        let mut done = vec![false; self.operations.len()];
        for at in order {
            done[*at] = true;
        }
        (0..self.operations.len()).filter(|at| !done[*at]).min_by_key(|at| self.end(*at)).unwrap_or(0)
    }
}

/// A number for an operation, such that sums of them tell sets apart.
fn mark(at: usize) -> u128 {
    let mix = |mut word: u64| {
        word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    };
    u128::from(mix(at as u64)) << 64 | u128::from(mix(!(at as u64)))
}
