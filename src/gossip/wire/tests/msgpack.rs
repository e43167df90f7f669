//! The dialect: what is accepted, what is written.

use proptest::prelude::*;

use super::{hex, unhex};
use crate::gossip::wire::msgpack::{Reader, Scanner, Writer};
use crate::gossip::wire::{Alive, Message, WireError};

fn written(write: impl FnOnce(&mut Writer<'_>)) -> String {
    let mut out = Vec::new();
    write(&mut Writer::new(&mut out));
    hex(&out)
}

#[test]
fn numbers_are_written_as_short_as_they_can_be() {
    for (number, bytes) in [
        (0_u64, "00"),
        (127, "7f"),
        (128, "cc80"),
        (255, "ccff"),
        (256, "cd0100"),
        (65_535, "cdffff"),
        (65_536, "ce00010000"),
        (u64::from(u32::MAX), "ceffffffff"),
        (1 << 32, "cf0000000100000000"),
        (u64::MAX, "cfffffffffffffffff"),
    ] {
        assert_eq!(written(|writer| _ = writer.unsigned(number)), bytes, "{number}");
    }
    for (number, bytes) in [
        (5_i64, "05"),
        (200, "ccc8"),
        (-1, "ff"),
        (-32, "e0"),
        (-33, "d0df"),
        (-128, "d080"),
        (-129, "d1ff7f"),
        (-32_769, "d2ffff7fff"),
        (i64::from(i32::MIN) - 1, "d3ffffffff7fffffff"),
    ] {
        assert_eq!(written(|writer| _ = writer.signed(number)), bytes, "{number}");
    }
    assert_eq!(written(|writer| _ = writer.float(1.5)), "cb3ff8000000000000");
}

#[test]
fn strings_and_groups_are_written_raw() {
    let long = vec![b'x'; 70_000];
    for (size, head) in [(0, "a0"), (31, "bf"), (32, "da0020"), (65_535, "daffff"), (65_536, "db00010000")] {
        let text = written(|writer| _ = writer.raw(&long[..size]));
        assert_eq!(&text[..text.len() - 2 * size], head);
    }
    for (size, map, array) in
        [(0, "80", "90"), (15, "8f", "9f"), (16, "de0010", "dc0010"), (65_536, "df00010000", "dd00010000")]
    {
        assert_eq!(written(|writer| _ = writer.map(size)), map);
        assert_eq!(written(|writer| _ = writer.array(size)), array);
    }
    // Today's msgpack, for Consul's events.
    assert_eq!(written(|writer| _ = writer.text(&long[..32]))[..4], *"d920");
    assert_eq!(written(|writer| _ = writer.binary(b"abc")), "c403616263");
    assert_eq!(written(|writer| _ = writer.binary(&long[..256]))[..6], *"c50100");
    assert_eq!(written(|writer| _ = writer.binary(&long))[..10], *"c600011170");
}

fn alive(body: &str) -> Result<(u32, Vec<u8>, Option<u16>), WireError> {
    let bytes = unhex(&format!("04{body}"));
    match Message::decode(&bytes)? {
        Message::Alive(Alive { incarnation, node, addr, .. }) => {
            Ok((incarnation, node.to_vec(), addr.map(|addr| addr.port())))
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_form_that_stock_agents_accept_is_accepted() {
    let inc = "ab496e6361726e6174696f6e";
    let (node, addr, port) = ("a44e6f6465", "a441646472", "a4506f7274");
    let expected = Ok((7, b"n".to_vec(), Some(5)));
    let forms = [
        format!("84{addr}a47f000001{inc}07{node}a16e{port}05"),
        // Any order, all widths and signs.
        format!("84{port}cd0005{node}a16e{inc}cf0000000000000007{addr}a47f000001"),
        format!("84{port}d10005{node}a16e{inc}d007{addr}a47f000001"),
        format!("84{port}d300000000000000 05{node}a16e{inc}d200000007{addr}a47f000001").replace(' ', ""),
        format!("de0004{port}05{node}a16e{inc}07{addr}a47f000001"),
        format!("df00000004{port}05{node}a16e{inc}07{addr}a47f000001"),
        // Strings as str8, str16, str32, bin8, bin16, bin32.
        format!("84{port}05{node}d9016e{inc}07{addr}c4047f000001"),
        format!("84{port}05{node}da00016e{inc}07{addr}c500047f000001"),
        format!("84{port}05{node}db000000016e{inc}07{addr}c6000000047f000001"),
        format!("84{port}05d9044e6f6465c4016e{inc}07c40441646472d9047f000001"),
        // Unknown keys with any value in between.
        format!("85{port}05a178c0{node}a16e{inc}07{addr}a47f000001"),
        format!("85{port}05a17893c382a161ca00000000a1629190d60000000001{node}a16e{inc}07{addr}a47f000001"),
        // A v4-mapped address of 16 bytes.
        format!("84{port}05{node}a16e{inc}07{addr}b000000000000000000000ffff7f000001"),
        // The struct as an array: Incarnation, Node, Addr, Port; then with more than there are fields.
        "9407a16ea47f00000105".to_owned(),
        "dc00080 7a16ea47f00000105c0c0c0c0".replace(' ', ""),
    ];
    for form in &forms {
        assert_eq!(alive(form), expected, "{form}");
    }
    assert_eq!(alive("80"), Ok((0, vec![], None)));
    assert_eq!(alive("c0"), Ok((0, vec![], None)));
    assert_eq!(alive(&format!("82{inc}c0{node}c0")), Ok((0, vec![], None)));
    assert_eq!(alive(&format!("82{inc}07{node}a1ff")), Ok((7, vec![0xff], None)));
}

#[test]
fn what_does_not_fit_is_malformed() {
    let inc = "ab496e6361726e6174696f6e";
    for value in ["ff", "cf0000000100000000", "d3ffffffffffffffff", "a161", "c3", "80", "c1", "ca3f800000"] {
        let result = alive(&format!("81{inc}{value}"));
        assert!(matches!(result, Err(WireError::Malformed(_))), "{value}: {result:?}");
    }
    assert!(matches!(alive("81a44e6f646507"), Err(WireError::Malformed("string"))));
    assert!(matches!(alive("8107"), Err(WireError::Malformed("string"))));
    assert!(matches!(alive("07"), Err(WireError::Malformed("map"))));
    assert!(matches!(alive("81a178c1"), Err(WireError::Malformed(_))));
}

#[test]
fn floats_and_truths_are_read_from_whole_numbers_too() {
    let floats = [("cb3ff8000000000000", 1.5), ("ca3fc00000", 1.5), ("02", 2.0), ("ff", -1.0), ("c0", 0.0)];
    for (bytes, number) in floats {
        assert_eq!(Reader::new(&unhex(bytes)).float().map(f64::to_bits), Ok(f64::to_bits(number)));
    }
    for (bytes, truth) in [("c2", false), ("c3", true), ("c0", false), ("00", false), ("01", true)] {
        assert_eq!(Reader::new(&unhex(bytes)).boolean(), Ok(truth));
    }
    assert!(Reader::new(&[2]).boolean().is_err());
}

#[test]
fn depth_and_claims_cost_nothing() {
    // A million arrays within each other.
    let mut deep = vec![0x91; 1 << 20];
    deep.push(0xc0);
    let mut reader = Reader::new(&deep);
    assert_eq!(reader.skip(), Ok(()));
    assert!(reader.rest().is_empty());
    assert_eq!(Reader::new(&deep[..1 << 20]).skip(), Err(WireError::Short));
    // Four thousand million keys of which none is there, over and over.
    let claims = unhex("dfffffffff").repeat(1_000);
    assert_eq!(Reader::new(&claims).skip(), Err(WireError::Short));
    assert_eq!(Reader::new(&unhex("dbffffffff")).skip(), Err(WireError::Short));
    assert_eq!(Reader::new(&unhex("dbffffffff")).bytes(), Err(WireError::Short));
}

proptest! {
    #[test]
    fn a_scan_in_pieces_ends_where_a_whole_one_does(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut whole = Reader::new(&bytes);
        let expected = whole.skip().map(|()| bytes.len() - whole.rest().len());
        let (mut scanner, mut at) = (Scanner::new(), 0);
        let mut found = Err(WireError::Short);
        for end in 0..=bytes.len() {
            match scanner.advance(&bytes[..end], &mut at) {
                Ok(false) => {}
                Ok(true) => {
                    found = Ok(at);
                    break;
                }
                Err(error) => {
                    found = Err(error);
                    break;
                }
            }
        }
        prop_assert_eq!(found, expected);
    }
}
