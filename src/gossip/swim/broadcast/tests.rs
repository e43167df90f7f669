use proptest::prelude::*;

use super::*;

/// A packet with so much room.
struct Packet {
    room: usize,
    messages: Vec<Bytes>,
}

impl Packet {
    fn new(room: usize) -> Self {
        Self { room, messages: Vec::new() }
    }
}

impl Sink for Packet {
    fn room(&self) -> usize {
        self.room
    }

    fn push(&mut self, message: &[u8]) {
        self.room = self.room.checked_sub(message.len()).expect("the message fits");
        self.messages.push(Bytes::copy_from_slice(message));
    }
}

fn give(queue: &mut Queue, transmits: u32, room: usize) -> Vec<Bytes> {
    let mut packet = Packet::new(room);
    let given = queue.give(transmits, &mut packet);
    assert_eq!(given, packet.messages.len());
    packet.messages
}

fn message(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

#[test]
fn longest_first_then_newest_then_those_already_sent() {
    let mut queue = Queue::new(1);
    queue.push(None, message("sent before"));
    assert_eq!(give(&mut queue, 9, 100), ["sent before"]);
    for text in ["older", "newer", "the longest of them"] {
        queue.push(None, message(text));
    }
    assert_eq!(give(&mut queue, 9, 100), ["the longest of them", "newer", "older", "sent before"]);
    assert_eq!(give(&mut queue, 9, 10), ["newer", "older"], "once sent, the one that waited longest");
}

#[test]
fn a_name_is_queued_once_and_counts_anew() {
    let mut queue = Queue::new(1);
    let first = queue.push(Some(Name::from("n")), message("dead"));
    give(&mut queue, 2, 100);
    let second = queue.push(Some(Name::from("n")), message("alive"));
    assert!(!queue.contains(first) && queue.contains(second));
    assert_eq!(queue.len(), 1);
    assert_eq!(give(&mut queue, 2, 100), ["alive"]);
    assert_eq!(give(&mut queue, 2, 100), ["alive"]);
    assert!(queue.is_empty() && !queue.contains(second));
}

#[test]
fn an_empty_queue_owns_nothing() {
    let mut queue = Queue::new(1);
    queue.push(None, message("x"));
    queue.push(Some(Name::from("n")), message("y"));
    assert!(queue.remove(b"n") && !queue.remove(b"n"));
    give(&mut queue, 1, 100);
    assert!(queue.piles.is_none());
    assert!(size_of::<Queue>() <= 24);
}

#[test]
fn what_no_packet_holds_is_not_given_out_but_pruned() {
    let mut queue = Queue::new(1);
    queue.push(None, Bytes::from(vec![0; 70_000]));
    queue.push(None, message("x"));
    assert_eq!(give(&mut queue, 9, 100_000), ["x"]);
    assert_eq!(queue.prune(1), 1, "the sent one goes first");
    assert_eq!(give(&mut queue, 9, 100_000), [""; 0]);
    assert_eq!(queue.prune(0), 1);
    assert!(queue.is_empty());
}

#[test]
fn messages_of_no_bytes_do_no_harm() {
    let mut queue = Queue::new(1);
    queue.push(None, Bytes::new());
    assert_eq!(give(&mut queue, 1, 0).len(), 0);
    assert_eq!(give(&mut queue, 1, 1).len(), 1);
}

/// The same queue, slowly: one list, searched.
#[derive(Default)]
struct Model {
    waiting: Vec<Waiting>,
    clock: i64,
}

#[derive(Clone)]
struct Waiting {
    name: Option<u8>,
    message: Bytes,
    sent: u32,
    /// Smaller goes first: falling at the first time, rising afterwards.
    turn: i64,
}

impl Model {
    fn order(waiting: &Waiting) -> (u32, std::cmp::Reverse<usize>, i64) {
        (waiting.sent, std::cmp::Reverse(waiting.message.len()), waiting.turn)
    }

    fn push(&mut self, name: Option<u8>, message: Bytes) {
        self.clock += 1;
        if name.is_some() {
            self.waiting.retain(|waiting| waiting.name != name);
        }
        self.waiting.push(Waiting { name, message, sent: 0, turn: -self.clock });
    }

    fn give(&mut self, transmits: u32, mut room: usize) -> Vec<Bytes> {
        let mut taken = Vec::new();
        self.waiting.sort_by_key(Self::order);
        // By tiers: within one, the longest that fits is looked for again and again.
        let mut sent = 0;
        while room > 0 && self.waiting.iter().any(|waiting| waiting.sent >= sent) {
            let fits = |waiting: &Waiting| waiting.sent == sent && waiting.message.len() <= room;
            let Some(at) = self.waiting.iter().position(fits) else {
                sent += 1;
                continue;
            };
            let waiting = self.waiting.remove(at);
            room -= waiting.message.len();
            taken.push(waiting);
        }
        let messages = taken.iter().map(|waiting| waiting.message.clone()).collect();
        for mut waiting in taken {
            waiting.sent += 1;
            self.clock += 1;
            waiting.turn = self.clock;
            if waiting.sent < transmits {
                self.waiting.push(waiting);
            }
        }
        messages
    }

    fn prune(&mut self, depth: usize) {
        self.waiting.sort_by_key(Self::order);
        self.waiting.truncate(depth);
    }
}

#[derive(Debug, Clone)]
enum Step {
    Push(Option<u8>, usize),
    Give(u32, usize),
    Prune(usize),
    Remove(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let length = prop_oneof![0..6usize, 60..70usize, 0..400usize];
    prop_oneof![
        6 => (proptest::option::of(0..8u8), length).prop_map(|(name, length)| Step::Push(name, length)),
        4 => (0..6u32, prop_oneof![0..20usize, 0..1_400usize]).prop_map(|(times, room)| Step::Give(times, room)),
        1 => (0..20usize).prop_map(Step::Prune),
        1 => (0..8u8).prop_map(Step::Remove),
    ]
}

proptest! {
    #[test]
    fn the_queue_does_what_a_searched_list_does(steps in proptest::collection::vec(step(), 1..200)) {
        let mut queue = Queue::new(3);
        let mut model = Model::default();
        let mut number = 0u32;
        for step in steps {
            match step {
                Step::Push(name, length) => {
                    number += 1;
                    // Told apart by content as far as it goes.
                    let message: Bytes = number.to_le_bytes().into_iter().cycle().take(length).collect();
                    let id = queue.push(name.map(|name| Name::from(&[name][..])), message.clone());
                    prop_assert!(queue.contains(id));
                    model.push(name, message);
                }
                Step::Give(transmits, room) => {
                    prop_assert_eq!(give(&mut queue, transmits, room), model.give(transmits, room));
                }
                Step::Prune(depth) => {
                    queue.prune(depth);
                    model.prune(depth);
                }
                Step::Remove(name) => {
                    let before = model.waiting.len();
                    model.waiting.retain(|waiting| waiting.name != Some(name));
                    prop_assert_eq!(queue.remove(&[name]), model.waiting.len() < before);
                }
            }
            prop_assert_eq!(queue.len(), model.waiting.len());
            prop_assert_eq!(queue.is_empty(), model.waiting.is_empty());
        }
    }
}
