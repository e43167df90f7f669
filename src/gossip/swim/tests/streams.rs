//! Full exchanges and whatever else comes over streams.

use super::*;
use crate::gossip::effect::{CommandError, ExchangeError, ExchangeId, StreamId};
use crate::gossip::wire::{PushPull, StreamMessage, StreamReader, WireError};

fn node(name: &'static str, number: u16, incarnation: u32, state: NodeState) -> PushPullNode {
    PushPullNode {
        name: Bytes::from_static(name.as_bytes()),
        addr: Some(addr(number)),
        meta: Bytes::new(),
        incarnation,
        state,
        versions: Some(OUR_VERSIONS),
    }
}

fn everything(join: bool, nodes: Vec<PushPullNode>) -> PushPull {
    PushPull { join, nodes, user_state: Bytes::from_static(b"clocks") }
}

fn read(bytes: &[u8]) -> StreamMessage {
    StreamReader::new(Crypto::plain()).push(bytes).unwrap().unwrap()
}

impl Lab {
    fn asked(&mut self, message: StreamMessage) -> Option<StreamMessage> {
        self.swim.request(self.now, StreamId(1), addr(9), message, &mut self.log, &mut self.out);
        self.out.replies.pop().map(|reply| read(&reply.bytes))
    }

    fn joined_with(&mut self, theirs: PushPull) -> Result<(), CommandError> {
        self.swim.join(self.now, JoinKind(3), addr(9), &mut self.log, &mut self.out);
        let id = self.out.exchanges.pop().unwrap().id;
        let answer = Ok(StreamMessage::PushPull(theirs));
        let (kind, result) = self.swim.answer(self.now, id, answer, &mut self.log, &mut self.out).unwrap();
        assert_eq!(kind, JoinKind(3));
        result
    }
}

#[test]
fn a_join_sends_everything_and_takes_over_everything() {
    let mut lab = Lab::among(&["b"]);
    lab.log.state = b"my clocks".to_vec();
    lab.swim.join(lab.now, JoinKind(3), addr(9), &mut lab.log, &mut lab.out);
    let exchange = lab.out.exchanges.remove(0);
    assert_eq!((exchange.to, exchange.timeout), (addr(9), Duration::from_secs(10)));
    let StreamMessage::PushPull(mine) = read(&exchange.request) else { panic!() };
    assert!(mine.join && mine.user_state == "my clocks");
    let mut names: Vec<_> = mine.nodes.iter().map(|node| &node.name[..]).collect();
    names.sort_unstable();
    assert_eq!(names, [b"b".as_slice(), b"me"]);

    let theirs = everything(true, vec![node("c", 3, 7, NodeState::Alive)]);
    let answer = Ok(StreamMessage::PushPull(theirs));
    let ended = lab.swim.answer(lab.now, exchange.id, answer.clone(), &mut lab.log, &mut lab.out);
    assert_eq!(ended, Some((JoinKind(3), Ok(()))));
    assert_eq!(lab.told(), ["joined c 127.0.0.1:3", "merged clocks of a join"]);
    assert_eq!(lab.swim.answer(lab.now, exchange.id, answer, &mut lab.log, &mut lab.out), None, "ends once");
}

#[test]
fn a_newcomer_tells_a_large_pool_of_itself_only() {
    let pool = |members: u16| {
        let nodes = (0..members).map(|number| {
            let node = node("", 100 + number, 1, NodeState::Alive);
            PushPullNode { name: format!("n{number}").into(), ..node }
        });
        everything(true, nodes.collect())
    };
    let newcomer = || {
        let mut lab = Lab::new();
        lab.quiet();
        lab
    };
    let mut lab = newcomer();
    assert_eq!(lab.joined_with(pool(100)), Ok(()));
    assert_eq!((lab.swim.table().len(), lab.told().len(), lab.swim.queued()), (101, 101, 0));
    assert_eq!(lab.joined_with(pool(102)), Ok(()));
    assert_eq!(lab.swim.queued(), 2, "it knows a pool now, and these come from another one");

    let mut lab = newcomer();
    assert_eq!(lab.joined_with(pool(64)), Ok(()));
    assert_eq!(lab.swim.queued(), 64, "small");

    let mut lab = newcomer();
    lab.swim.join(lab.now, JoinKind(4), addr(8), &mut lab.log, &mut lab.out);
    assert_eq!(lab.joined_with(pool(100)), Ok(()));
    assert_eq!(lab.swim.queued(), 100, "the other join may lead into another pool");
}

#[test]
fn states_are_merged_by_their_rules() {
    let mut lab = Lab::among(&["b", "c", "d", "e"]);
    let states = vec![
        node("b", 2, 5, NodeState::Suspect),
        node("c", 3, 5, NodeState::Dead),
        node("d", 4, 5, NodeState::Left),
        node("e", 5, 6, NodeState::Alive),
        node("unknown", 6, 1, NodeState::Dead),
        node("me", 1, 9, NodeState::Dead),
    ];
    assert!(lab.joined_with(everything(false, states)).is_ok());
    assert_eq!(lab.state("b"), Some((NodeState::Suspect, 5)));
    assert_eq!(lab.state("c"), Some((NodeState::Suspect, 5)), "the dead may object");
    assert_eq!(lab.state("d"), Some((NodeState::Left, 5)));
    assert_eq!(lab.state("e"), Some((NodeState::Alive, 6)));
    assert_eq!(lab.state("unknown"), None);
    assert_eq!(lab.state("me"), Some((NodeState::Alive, 10)), "news of my death made me object");
    assert_eq!(lab.told(), ["left d Left", "merged clocks"]);
}

#[test]
fn a_request_is_answered_with_what_was_known_before() {
    for join in [true, false] {
        let mut lab = Lab::among(&["b"]);
        let theirs = everything(join, vec![node("c", 3, 7, NodeState::Alive)]);
        let Some(StreamMessage::PushPull(mine)) = lab.asked(StreamMessage::PushPull(theirs)) else {
            panic!()
        };
        assert_eq!((mine.join, mine.nodes.len()), (join, 2));
        assert_eq!(lab.told().len(), 2);
        assert_eq!(lab.swim.table().len(), 3);
    }
}

#[test]
fn the_unwelcome_are_refused_as_a_whole_but_in_joins_only() {
    let nodes = vec![node("c", 3, 7, NodeState::Alive), node("x", 4, 7, NodeState::Alive)];
    let mut lab = Lab::new();
    lab.log.unwelcome.insert(b"x".to_vec());
    let refused = lab.joined_with(everything(true, nodes.clone()));
    assert_eq!(refused, Err(CommandError::Refused("x is not welcome".to_owned())));
    assert!(lab.asked(StreamMessage::PushPull(everything(true, nodes.clone()))).is_some(), "sent before");
    assert_eq!((lab.told().len(), lab.swim.table().len()), (0, 1));
    lab.asked(StreamMessage::PushPull(everything(false, nodes)));
    assert_eq!(lab.told(), ["joined c 127.0.0.1:3", "merged clocks"], "then each by itself");
}

#[test]
fn versions_must_agree() {
    let odd = |state, versions| PushPullNode { versions, ..node("c", 3, 7, state) };
    let old = Some([1, 1, 1, 2, 5, 4]);
    let new = Some([3, 5, 3, 2, 5, 4]);
    for (node, fits) in [
        (odd(NodeState::Alive, Some(OUR_VERSIONS)), true),
        (odd(NodeState::Alive, old), false),
        (odd(NodeState::Dead, old), true),
        (odd(NodeState::Alive, new), false),
        (odd(NodeState::Dead, Some([1, 5, 6, 2, 5, 4])), false),
        (odd(NodeState::Alive, Some([1, 5, 2, 2, 5, 6])), false),
        (odd(NodeState::Alive, None), true),
    ] {
        let mut lab = Lab::among(&["b"]);
        let versions = node.versions;
        let result = lab.joined_with(everything(true, vec![node]));
        assert_eq!(result.is_ok(), fits, "{versions:?}: {result:?}");
        assert_eq!(lab.swim.stats().incompatible, u64::from(!fits));
        assert!(fits || lab.told().is_empty());
    }
}

#[test]
fn failures_end_a_join_and_change_nothing() {
    let remote = ExchangeError::Wire(WireError::Remote("no".to_owned()));
    let odd = ExchangeError::Wire(WireError::Malformed("answer to a full exchange"));
    for (answer, error) in [
        (Err(ExchangeError::Timeout), ExchangeError::Timeout),
        (Ok(StreamMessage::Error("no".to_owned())), remote),
        (Ok(StreamMessage::Ack { seq: 1 }), odd),
    ] {
        let mut lab = Lab::new();
        lab.swim.join(lab.now, JoinKind(8), addr(9), &mut lab.log, &mut lab.out);
        let id = lab.out.exchanges[0].id;
        let ended = lab.swim.answer(lab.now, id, answer, &mut lab.log, &mut lab.out);
        assert_eq!(ended, Some((JoinKind(8), Err(CommandError::Exchange(error)))));
        assert_eq!((lab.swim.table().len(), lab.swim.stats().failed_exchanges), (1, 1));
    }
    let mut lab = Lab::new();
    let unknown =
        lab.swim.answer(lab.now, ExchangeId(77), Err(ExchangeError::Timeout), &mut lab.log, &mut lab.out);
    assert_eq!(unknown, None);
}

#[test]
fn everything_is_exchanged_with_a_random_living_member_now_and_then() {
    let mut lab = Lab::among(&["b", "c"]);
    lab.hear(&[dead("c", 5, "c")]);
    lab.swim.state.probe_ticks.next = Moment::NEVER;
    lab.pass(Duration::from_secs(300));
    let exchanges = std::mem::take(&mut lab.out.exchanges);
    assert!((9..=10).contains(&exchanges.len()), "{}", exchanges.len());
    for exchange in exchanges {
        assert_eq!(exchange.to, addr(2));
        let StreamMessage::PushPull(mine) = read(&exchange.request) else { panic!() };
        assert!(!mine.join);
    }
}

#[test]
fn pings_and_user_messages_come_over_streams_too() {
    let mut lab = Lab::among(&["b"]);
    let ping = |node: &'static str| StreamMessage::Ping { seq: 4, node: Bytes::from_static(node.as_bytes()) };
    assert_eq!(lab.asked(ping("me")), Some(StreamMessage::Ack { seq: 4 }));
    assert_eq!(lab.asked(ping("")), Some(StreamMessage::Ack { seq: 4 }));
    assert_eq!(lab.asked(ping("b")), None);
    assert_eq!(lab.asked(StreamMessage::User(Bytes::from_static(b"hello"))), None);
    assert_eq!(lab.told(), ["user hello"]);
    assert_eq!(lab.asked(StreamMessage::Ack { seq: 4 }), None);
    assert_eq!(lab.asked(StreamMessage::Error("no".to_owned())), None);
}
