//! Answers kept for as long as their index stands.
//!
//! What a blocking read answers is a function of the question and of the answer's index: that is
//! the promise its clients rely on. So the bytes of a large answer can be given out again until
//! its index moves, and a thousand watchers of one service cost one rendering. Beside the index
//! stands a piece of the state the answer was made from, compared by identity: should the whole
//! state be replaced by another with the same indexes, nothing of the old one is given out.
//!
//! Also remembers which questions were asked with `?cached`. Servers answer those from the
//! published state, which is never older than a cache could be; the headers still say what
//! Consul's agent cache would say.

use std::collections::{HashMap, HashSet, VecDeque};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::state::view::{Folded, ServiceEntry};

/// Bytes of kept answers at most.
const MAX_BYTES: usize = 8 << 20;
/// Kept answers at most.
const MAX_ANSWERS: usize = 64;
/// Answers below this size are cheaper to write anew than to keep.
const MIN_SIZE: usize = 2 << 10;
/// Remembered questions at most.
const MAX_QUESTIONS: usize = 4096;

/// A piece of the state that a replaced state does not share.
pub type Identity = imbl::OrdSet<(Folded, Folded)>;

/// Kept answers, shared by all workers.
#[derive(Debug, Default)]
pub struct Answers {
    kept: Mutex<Kept>,
    asked: Mutex<Asked>,
}

#[derive(Debug, Default)]
struct Kept {
    answers: HashMap<String, Answer>,
    bytes: usize,
    clock: u64,
}

#[derive(Debug)]
struct Answer {
    index: u64,
    identity: Identity,
    body: Bytes,
    used: u64,
}

#[derive(Debug, Default)]
struct Asked {
    questions: HashSet<String>,
    order: VecDeque<String>,
}

impl Answers {
    /// The kept answer to a question, if it is for this index; else the one `write` makes, which is
    /// kept if it is large.
    ///
    /// # Errors
    /// What `write` says; then nothing is kept.
    pub fn answer<E>(
        &self,
        question: String,
        index: u64,
        identity: &Identity,
        write: impl FnOnce() -> Result<Bytes, E>,
    ) -> Result<Bytes, E> {
        if let Some(body) = self.kept.lock().find(&question, index, identity) {
            return Ok(body);
        }
        let body = write()?;
        if (MIN_SIZE..=MAX_BYTES / 4).contains(&body.len()) {
            self.kept.lock().keep(question, index, identity.clone(), body.clone());
        }
        Ok(body)
    }

    /// Remembers a question; true if it was asked before. Of many questions the oldest are forgotten.
    pub fn was_asked(&self, question: String) -> bool {
        let mut asked = self.asked.lock();
        if asked.questions.contains(&question) {
            return true;
        }
        if asked.order.len() >= MAX_QUESTIONS
            && let Some(oldest) = asked.order.pop_front()
        {
            asked.questions.remove(&oldest);
        }
        asked.order.push_back(question.clone());
        asked.questions.insert(question);
        false
    }
}

impl Kept {
    fn find(&mut self, question: &str, index: u64, identity: &Identity) -> Option<Bytes> {
        self.clock += 1;
        let answer = self.answers.get_mut(question)?;
        if answer.index != index || !answer.identity.ptr_eq(identity) {
            return None;
        }
        answer.used = self.clock;
        Some(answer.body.clone())
    }

    fn keep(&mut self, question: String, index: u64, identity: Identity, body: Bytes) {
        if let Some(known) = self.answers.get(&question)
            && known.index > index
            && known.identity.ptr_eq(&identity)
        {
            return; // another worker was faster and has seen more
        }
        self.bytes += body.len();
        let answer = Answer { index, identity, body, used: self.clock };
        if let Some(old) = self.answers.insert(question, answer) {
            self.bytes -= old.body.len();
        }
        while self.bytes > MAX_BYTES || self.answers.len() > MAX_ANSWERS {
            let oldest = self.answers.iter().min_by_key(|(_, answer)| answer.used);
            let Some(question) = oldest.map(|(question, _)| question.clone()) else { break };
            if let Some(answer) = self.answers.remove(&question) {
                self.bytes -= answer.body.len();
            }
        }
    }
}

/// The identity for the answer about one service; the empty one if it has no instances.
pub fn identity(entry: Option<&ServiceEntry>) -> Identity {
    entry.map(|entry| entry.instances.clone()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    fn ask(answers: &Answers, question: &str, index: u64, identity: &Identity, size: usize) -> bool {
        let mut written = false;
        let body = answers.answer(question.to_owned(), index, identity, || {
            written = true;
            Ok::<_, Infallible>(Bytes::from(vec![b'x'; size]))
        });
        assert_eq!(body.map(|body| body.len()), Ok(size));
        !written
    }

    #[test]
    fn keeps_an_answer_until_its_index_moves() {
        let (answers, state, other) = (
            Answers::default(),
            Identity::unit(("a".into(), "b".into())),
            Identity::unit(("a".into(), "b".into())),
        );
        let table = [
            ("first", "q", 1, &state, false),
            ("again", "q", 1, &state, true),
            ("another question", "r", 1, &state, false),
            ("another index", "q", 2, &state, false),
            ("that again", "q", 2, &state, true),
            ("an older one does not come back", "q", 1, &state, false),
            ("nor does it replace the newer", "q", 2, &state, true),
            ("another state", "q", 2, &other, false),
        ];
        for (name, question, index, identity, want) in table {
            assert_eq!(ask(&answers, question, index, identity, MIN_SIZE), want, "{name}");
        }
    }

    #[test]
    fn keeps_what_is_worth_it() {
        let (answers, state) = (Answers::default(), Identity::unit(("a".into(), "b".into())));
        for (size, want) in
            [(MIN_SIZE - 1, false), (MIN_SIZE, true), (MAX_BYTES / 4, true), (MAX_BYTES / 4 + 1, false)]
        {
            let question = size.to_string();
            ask(&answers, &question, 1, &state, size);
            assert_eq!(ask(&answers, &question, 1, &state, size), want, "{size}");
        }
    }

    #[test]
    fn is_bounded() {
        let (answers, state) = (Answers::default(), Identity::default());
        for question in 0..1000 {
            ask(&answers, &question.to_string(), 1, &state, MIN_SIZE);
            ask(&answers, "favourite", 1, &state, MIN_SIZE);
        }
        assert!(ask(&answers, "favourite", 1, &state, MIN_SIZE), "the one in use stays");
        assert_eq!(answers.kept.lock().answers.len(), MAX_ANSWERS);
        for question in 0..20 {
            ask(&answers, &format!("large {question}"), 1, &state, MAX_BYTES / 4);
        }
        let kept = answers.kept.lock();
        assert!(kept.bytes <= MAX_BYTES);
        assert_eq!(kept.bytes, kept.answers.values().map(|answer| answer.body.len()).sum::<usize>());
    }

    #[test]
    fn remembers_questions() {
        let answers = Answers::default();
        assert!(!answers.was_asked("q".into()));
        assert!(answers.was_asked("q".into()));
        for question in 0..MAX_QUESTIONS {
            answers.was_asked(question.to_string());
        }
        assert!(!answers.was_asked("q".into()));
        assert_eq!(answers.asked.lock().questions.len(), MAX_QUESTIONS);
    }
}
