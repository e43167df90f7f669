//! The order of answers: shuffled, fair, and by weight.

use std::collections::HashMap;

use super::*;

/// How often each first answer came first, by its data, in so many asked.
fn firsts(agent: &mut Agent, question: &str, times: usize) -> HashMap<String, usize> {
    let mut firsts = HashMap::new();
    let (packet, transport) = asked(question);
    for _ in 0..times {
        let (_, out) = agent.say(&packet, transport);
        let message = Message::from_vec(&out).unwrap();
        *firsts.entry(record(&message.answers[0])).or_default() += 1;
    }
    firsts
}

#[test]
fn even_weights_are_shuffled_evenly() {
    let mut agent = Agent::default();
    for at in 1..=10 {
        agent.service(&format!("n{at}"), &format!("10.2.0.{at}"), "db 80");
    }
    for question in ["db.service.consul A", "db.service.consul SRV", "db.service.consul A tcp"] {
        let firsts = firsts(&mut agent, question, 10_000);
        assert_eq!(firsts.len(), 10, "{question}");
        assert!(firsts.values().all(|first| (850..1150).contains(first)), "{question}: {firsts:?}");
    }
}

#[test]
fn heavy_ones_come_first_more_often() {
    let mut agent = Agent::default();
    agent.service("n1", "10.2.0.1", "db 80 *10/1");
    agent.service("n2", "10.2.0.2", "db 80 *1/1");
    agent.service("n3", "10.2.0.3", "db 80 *0/0");
    for (kind, heavy, light, least) in [
        ("A", "A 10.2.0.1", "A 10.2.0.2", "A 10.2.0.3"),
        (
            "SRV",
            "SRV 1 10 80 n1.node.dc1.consul",
            "SRV 1 1 80 n2.node.dc1.consul",
            "SRV 1 0 80 n3.node.dc1.consul",
        ),
    ] {
        let firsts = firsts(&mut agent, &format!("db.service.consul {kind}"), 22_000);
        let of = |data: &str| firsts.get(&format!("db.service.consul 0 {data}")).copied().unwrap_or(0);
        assert!((19_600..20_400).contains(&of(heavy)), "{firsts:?}");
        assert!((1_750..2_250).contains(&of(light)), "{firsts:?}");
        assert!(of(least) < 40, "{firsts:?}");
    }
}
