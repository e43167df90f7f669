//! Whatever is sent: no panic, nothing longer than it may be, and only answers that others can read.

use proptest::prelude::*;

use super::*;

/// A catalog with a bit of everything.
pub fn busy() -> Agent {
    let mut agent = Agent::default();
    for at in 1..=40 {
        let on = format!("n{at}");
        let address = format!("10.2.0.{at}");
        agent.service(&on, &address, &format!("db {} #t{},all *{at}/1", 5000 + at, at % 3));
        agent.service(&on, &address, &format!("far 80 host{}.example.org", at % 20));
    }
    agent.node("meta", "10.3.0.1", &format!("zone=a rack=b long={}", "x".repeat(400)));
    agent.node("Six", "2001:db8::1", "");
    agent.node("ext", "www.example.org", "");
    agent.service("n1", "10.2.0.1", "loop 80 pool.service.consul");
    agent.service("n2", "10.2.0.2", "pool 80 loop.service.consul");
    agent.service("n3", "10.2.0.3", "ovr 80 2001:db8::9");
    agent
}

/// Asks everything that depends on how the question came, and looks at what is said.
fn sound(agent: &mut Agent, packet: &[u8]) -> Result<(), TestCaseError> {
    for transport in [Transport::Udp, Transport::Tcp] {
        let (verdict, mut out) = agent.say(packet, transport);
        let mut verdict = verdict;
        if let Verdict::Chase(chase) = verdict {
            prop_assert!(out.is_empty() && !chase.questions.is_empty() && chase.questions.len() <= 16);
            let found = chase.questions.iter().map(|question| Some(question.clone())).collect();
            let mut rng = SmallRng::seed_from_u64(0);
            verdict = agent.dns().answer_chased(packet, transport, chase, found, &mut rng, &mut out);
        }
        match verdict {
            Verdict::Reply => {
                prop_assert!(out.len() >= 12 && out[..2] == packet[..2] && out[2] & 0x80 != 0);
                let message = Message::from_vec(&out);
                prop_assert!(message.is_ok(), "{:?}: {:02x?}", message, out);
                let size = message.unwrap().edns.map_or(512, |edns| usize::from(edns.max_payload()).max(512));
                let most = if transport == Transport::Tcp { 65535 } else { size };
                prop_assert!(out.len() <= most, "{} of {most} bytes", out.len());
            }
            Verdict::Drop | Verdict::Forward => prop_assert!(out.is_empty()),
            Verdict::Chase(_) => prop_assert!(false, "a second chase"),
        }
    }
    Ok(())
}

fn label() -> impl Strategy<Value = Vec<u8>> {
    const KNOWN: &[&str] = &[
        "service", "node", "connect", "query", "ingress", "addr", "consul", "dc1", "db", "far", "loop",
        "meta", "six", "ext", "ovr", "n1", "t1", "t1+all", "_db", "_tcp", "_t1", "arpa", "in-addr", "ip6",
        "10", "0", "2", "7f000001", "example", "org",
    ];
    prop_oneof![
        6 => prop::sample::select(KNOWN).prop_map(|label| label.as_bytes().to_vec()),
        1 => "[A-Za-z0-9_.-]{1,63}".prop_map(String::into_bytes),
        1 => prop::collection::vec(any::<u8>(), 1..64),
    ]
}

/// Well-formed in most parts, so that it gets past the first look.
fn likely() -> impl Strategy<Value = Vec<u8>> {
    let name = (prop::collection::vec(label(), 0..8), any::<bool>());
    let qtype =
        prop_oneof![prop::sample::select(&[1_u16, 2, 5, 6, 12, 16, 28, 33, 252, 255][..]), any::<u16>()];
    let opt = prop::option::of((any::<u16>(), prop::collection::vec(any::<u8>(), 0..30)));
    (any::<[u8; 2]>(), name, qtype, opt, prop::collection::vec(any::<u8>(), 0..4)).prop_map(
        |(flags, (labels, below), qtype, opt, tail)| {
            let mut packet =
                vec![7, 7, flags[0] & 0x07, flags[1], 0, 1, 0, 0, 0, 0, 0, u8::from(opt.is_some())];
            for label in labels {
                packet.push(u8::try_from(label.len()).unwrap());
                packet.extend_from_slice(&label);
            }
            packet.extend_from_slice(if below { b"\x06ConSul\0" } else { b"\0" });
            packet.extend_from_slice(&qtype.to_be_bytes());
            packet.extend_from_slice(&[0, 1]);
            if let Some((size, options)) = opt {
                packet.extend_from_slice(&[0, 0, 41]);
                packet.extend_from_slice(&size.to_be_bytes());
                packet.extend_from_slice(&[0; 4]);
                packet.extend_from_slice(&u16::try_from(options.len()).unwrap().to_be_bytes());
                packet.extend_from_slice(&options);
            }
            packet.extend_from_slice(&tail);
            packet
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_bytes(packets in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..600), 20)) {
        let mut agent = busy();
        for packet in packets {
            sound(&mut agent, &packet)?;
        }
    }

    #[test]
    fn likely_queries(
        packets in prop::collection::vec(likely(), 40),
        switches: [bool; 4],
        udp_answer_limit in 0_usize..12,
        a_record_limit in 0_usize..6,
    ) {
        let [compress, truncate, passing, recursors] = switches;
        let mut agent = busy().with(|settings| {
            settings.disable_compression = !compress;
            settings.enable_truncate = truncate;
            settings.only_passing = passing;
            settings.udp_answer_limit = udp_answer_limit;
            settings.a_record_limit = a_record_limit;
            if recursors {
                settings.recursors.push(recursor());
            }
        });
        for packet in packets {
            sound(&mut agent, &packet)?;
        }
    }
}

/// The stress the fuzzer would give, on the stable toolchain: as long as `DNS_STRESS_SECONDS` says. What is
/// sent are likely queries with bytes turned over.
#[test]
fn turned_over_bytes() {
    use proptest::strategy::ValueTree;
    use rand::RngExt;

    let seconds = std::env::var("DNS_STRESS_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    let until = std::time::Instant::now() + Duration::from_secs(seconds);
    let mut agent = busy().with(|settings| settings.recursors.push(recursor()));
    let mut rng = SmallRng::seed_from_u64(seconds);
    let mut runner = proptest::test_runner::TestRunner::default();
    let mut sent = 0_u64;
    while std::time::Instant::now() < until {
        let mut packet = likely().new_tree(&mut runner).unwrap().current();
        for _ in 0..rng.random_range(0..6) {
            sound(&mut agent, &packet).unwrap_or_else(|error| panic!("{error}: {packet:02x?}"));
            let at = rng.random_range(0..packet.len());
            packet[at] = rng.random();
            if rng.random_range(0..8) == 0 {
                packet.truncate(at);
                packet.push(0);
            }
            sent += 2;
        }
    }
    assert!(sent > 100, "{sent}");
}
