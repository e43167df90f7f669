//! Whatever is fed, the member stands.

use proptest::prelude::*;

use super::*;
use crate::gossip::effect::{ExchangeError, ExchangeId, StreamId};
use crate::gossip::wire::{Ack, IndirectPing, Ping, PushPull, StreamMessage};

#[test]
fn impossible_members_are_dropped_and_counted() {
    let mut lab = Lab::new();
    let long = "x".repeat(513);
    let fits = "y".repeat(512);
    let meta = [0; 513];
    let nowhere = Message::Alive(Alive { incarnation: 1, node: b"n", addr: None, meta: b"", versions: None });
    let oversized = Message::Alive(Alive {
        incarnation: 1,
        node: b"n",
        addr: Some(addr(2)),
        meta: &meta,
        versions: None,
    });
    lab.hear(&[alive(&long, 2, 1), alive("", 2, 1), nowhere, oversized, alive(&fits, 2, 1)]);
    assert_eq!((lab.swim.table().len(), lab.swim.stats().invalid_members), (2, 4));
}

#[test]
fn what_cannot_be_read_is_counted_by_its_reason() {
    let mut lab = Lab::new();
    let mut feed = |bytes: &[u8]| {
        lab.swim.packet(lab.now, addr(9), &mut bytes.to_vec(), &mut lab.log, &mut lab.out);
    };
    feed(&[]);
    feed(&[99, 1, 2]);
    feed(&[12, 0, 0, 0, 0, 8, 1]);
    feed(&[4, 0xc1]);
    // A compound whose second part is rubbish does not lose the first.
    feed(&[7, 2, 0, 3, 0, 1, 8, b'h', b'i', 200]);
    let stats = *lab.swim.stats();
    assert_eq!((stats.packets_in, stats.malformed, stats.unknown_type, stats.bad_checksum), (5, 3, 1, 1));
    assert_eq!(lab.told(), ["user hi"]);
}

#[test]
fn setups_that_cannot_be_are_refused() {
    let setup = |name: &str| setup(name, 1, 1, SwimConfig::lan());
    assert_eq!(Swim::new(setup(""), Moment(0)).err(), Some(SwimError::Name(0)));
    assert_eq!(Swim::new(setup(&"x".repeat(513)), Moment(0)).err(), Some(SwimError::Name(513)));
    let meta = Bytes::from(vec![0; 513]);
    assert_eq!(Swim::new(SwimSetup { meta, ..setup("a") }, Moment(0)).err(), Some(SwimError::Meta(513)));
    let config = SwimConfig { awareness_max: 0, ..SwimConfig::lan() };
    assert!(matches!(Swim::new(SwimSetup { config, ..setup("a") }, Moment(0)), Err(SwimError::Config(_))));
}

/// Something that may happen to a member.
#[derive(Debug, Clone)]
enum Happening {
    Said(Spoken),
    Rubbish(Vec<u8>),
    Exchanged(bool, Vec<(u8, u32, u8)>),
    Asked(Vec<(u8, u32, u8)>),
    Passed(u64),
    Left,
    Meta(u8),
}

#[derive(Debug, Clone)]
enum Spoken {
    Alive(u8, u16, u32, u8),
    Suspect(u8, u32, u8),
    Dead(u8, u32, u8),
    Ping(u32, u8),
    Indirect(u32, u8, bool),
    Ack(u32),
    Nack(u32),
    User,
}

const NAMES: [&str; 6] = ["me", "b", "c", "d", "e", ""];

fn name(number: u8) -> &'static str {
    NAMES[usize::from(number) % NAMES.len()]
}

fn incarnation() -> impl Strategy<Value = u32> {
    prop_oneof![0..8u32, Just(u32::MAX), Just(u32::MAX - 1)]
}

fn spoken() -> impl Strategy<Value = Spoken> {
    // Numbers close to those of the member's own pings.
    let seq = || 0..12u32;
    prop_oneof![
        4 => (0..6u8, 0..6u16, incarnation(), 0..4u8).prop_map(|(a, b, c, d)| Spoken::Alive(a, b, c, d)),
        3 => (0..6u8, incarnation(), 0..6u8).prop_map(|(a, b, c)| Spoken::Suspect(a, b, c)),
        3 => (0..6u8, incarnation(), 0..6u8).prop_map(|(a, b, c)| Spoken::Dead(a, b, c)),
        1 => (seq(), 0..6u8).prop_map(|(a, b)| Spoken::Ping(a, b)),
        1 => (seq(), 0..6u8, any::<bool>()).prop_map(|(a, b, c)| Spoken::Indirect(a, b, c)),
        2 => seq().prop_map(Spoken::Ack),
        1 => seq().prop_map(Spoken::Nack),
        1 => Just(Spoken::User),
    ]
}

fn happening() -> impl Strategy<Value = Happening> {
    let nodes = || proptest::collection::vec((0..6u8, incarnation(), 0..4u8), 0..5);
    prop_oneof![
        10 => spoken().prop_map(Happening::Said),
        1 => proptest::collection::vec(any::<u8>(), 0..40).prop_map(Happening::Rubbish),
        1 => (any::<bool>(), nodes()).prop_map(|(ok, nodes)| Happening::Exchanged(ok, nodes)),
        1 => nodes().prop_map(Happening::Asked),
        6 => prop_oneof![0..700u64, 0..40_000u64].prop_map(Happening::Passed),
        1 => any::<u8>().prop_map(Happening::Meta),
    ]
}

impl Lab {
    fn say(&mut self, spoken: &Spoken) {
        let own = |seq: u32| self.seq.wrapping_add(seq);
        let metas: [&[u8]; 4] = [b"", b"x", &[7; 512], &[7; 600]];
        let message = match *spoken {
            Spoken::Alive(node, port, incarnation, meta) => Message::Alive(Alive {
                incarnation,
                node: name(node).as_bytes(),
                addr: Some(addr(port)),
                meta: metas[usize::from(meta)],
                versions: [None, Some(OUR_VERSIONS), Some([0; 6])][usize::from(meta % 3)],
            }),
            Spoken::Suspect(node, incarnation, from) => suspect(name(node), incarnation, name(from)),
            Spoken::Dead(node, incarnation, from) => dead(name(node), incarnation, name(from)),
            Spoken::Ping(seq, node) => {
                Message::Ping(Ping { seq, node: name(node).as_bytes(), source: None, source_node: b"" })
            }
            Spoken::Indirect(seq, node, nack) => Message::IndirectPing(IndirectPing {
                seq,
                target: addr(3),
                node: name(node).as_bytes(),
                nack,
                source: None,
                source_node: b"",
            }),
            Spoken::Ack(seq) => Message::Ack(Ack { seq: own(seq), payload: None }),
            Spoken::Nack(seq) => Message::Nack(own(seq)),
            Spoken::User => Message::User(b"hello"),
        };
        self.hear(&[message]);
    }

    fn everything_of(nodes: &[(u8, u32, u8)]) -> PushPull {
        let states = [NodeState::Alive, NodeState::Suspect, NodeState::Dead, NodeState::Left];
        let nodes = nodes.iter().map(|(node, incarnation, state)| PushPullNode {
            name: Bytes::from_static(name(*node).as_bytes()),
            addr: Some(addr(u16::from(*node))),
            meta: Bytes::new(),
            incarnation: *incarnation,
            state: states[usize::from(*state)],
            versions: Some(OUR_VERSIONS),
        });
        PushPull { join: false, nodes: nodes.collect(), user_state: Bytes::new() }
    }

    fn live_through(&mut self, happening: &Happening) {
        match happening {
            Happening::Said(spoken) => self.say(spoken),
            Happening::Rubbish(bytes) => {
                self.swim.packet(self.now, addr(9), &mut bytes.clone(), &mut self.log, &mut self.out);
            }
            Happening::Exchanged(ok, nodes) => {
                self.swim.join(self.now, JoinKind(1), addr(9), &mut self.log, &mut self.out);
                let id = ExchangeId(self.swim.state.next_exchange - 1);
                let answer = StreamMessage::PushPull(Self::everything_of(nodes));
                let result = if *ok { Ok(answer) } else { Err(ExchangeError::Timeout) };
                assert!(self.swim.answer(self.now, id, result, &mut self.log, &mut self.out).is_some());
            }
            Happening::Asked(nodes) => {
                let message = StreamMessage::PushPull(Self::everything_of(nodes));
                self.swim.request(self.now, StreamId(1), addr(9), message, &mut self.log, &mut self.out);
            }
            Happening::Passed(millis) => self.pass(Duration::from_millis(*millis)),
            Happening::Left => {
                self.swim.leave(self.now, Duration::from_secs(5), &mut self.log, &mut self.out);
            }
            Happening::Meta(byte) => {
                let meta = Bytes::copy_from_slice(&[*byte]);
                self.swim.set_meta(self.now, meta, &mut self.log, &mut self.out).unwrap();
            }
        }
    }

    /// What must hold at any time.
    fn check(&self) {
        let state = &self.swim.state;
        let me = state.table.get(b"me").unwrap();
        assert!(Arc::ptr_eq(&me.node, &state.me.node) && me.incarnation == state.me.incarnation);
        assert_eq!(me.state == NodeState::Left, state.leaving.is_some(), "nobody else decides on my life");
        let mut places = state.order.places().to_vec();
        places.sort_unstable();
        assert!(
            places.into_iter().eq(0..u32::try_from(state.table.len()).unwrap()),
            "everybody is in the round"
        );
        let suspects = state.table.count(NodeState::Suspect);
        assert_eq!(state.suspicions.len(), suspects, "every suspicion has its timer, and no other has");
        assert!(state.table.iter().all(|entry| entry.node.meta.len() <= MAX_META));
        assert!(state.queue.len() <= 6, "one piece of news of a member at a time");
        assert!(state.awareness.score() < 8);
        assert!(self.swim.deadline(&self.log) > self.now);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_member_stays_consistent(
        happenings in proptest::collection::vec(happening(), 1..120),
        leaves_at in 0..240usize,
    ) {
        let mut lab = Lab::new();
        let mut living = BTreeSet::new();
        for (at, happening) in happenings.iter().enumerate() {
            if at == leaves_at {
                lab.live_through(&Happening::Left);
            }
            lab.live_through(happening);
            lab.pass(Duration::ZERO);
            lab.check();
            lab.out.clear();
            // The layer above hears of coming and going by turns.
            for line in lab.told() {
                let mut words = line.split(' ');
                match (words.next().unwrap(), words.next().unwrap_or_default()) {
                    ("joined", name) => prop_assert!(living.insert(name.to_owned()), "{}", line),
                    ("left", "me") => {}
                    ("left", name) => prop_assert!(living.remove(name), "{}", line),
                    ("updated", name) => prop_assert!(name == "me" || living.contains(name), "{}", line),
                    _ => {}
                }
            }
        }
    }
}
