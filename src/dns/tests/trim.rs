//! How many answers fit, against the counts recorded from Consul 1.8.7.

use super::*;

fn many(count: u32) -> Agent {
    let mut agent = Agent::default();
    for at in 1..=count {
        let address = format!("10.100.{}.{}", at >> 8, at & 0xff);
        agent.service(&format!("n{at:03}"), &address, "db 5432");
    }
    agent
}

/// (answers, additional, truncated, bytes)
fn counted(agent: &mut Agent, question: &str) -> (usize, usize, bool, usize) {
    let (packet, transport) = asked(question);
    let (_, out) = agent.say(&packet, transport);
    let message = Message::from_vec(&out).unwrap();
    let limit = match (transport, &message.edns) {
        (Transport::Tcp, _) => 65535,
        (_, Some(edns)) => usize::from(edns.max_payload()).max(512),
        _ => 512,
    };
    assert!(out.len() <= limit, "{question}: {} bytes", out.len());
    (message.answers.len(), message.additionals.len(), message.metadata.truncation, out.len())
}

#[test]
fn by_edns_size() {
    let mut agent = many(150).with(|settings| settings.enable_truncate = true);
    let table = [
        ("A edns=513", 29, 0, true),
        ("A edns=768", 45, 0, true),
        ("A edns=1024", 61, 0, true),
        ("A edns=1232", 74, 0, true),
        ("A edns=1400", 84, 0, true),
        ("A edns=2048", 125, 0, true),
        ("SRV edns=1024", 17, 17, true),
        ("SRV edns=1400", 24, 24, true),
        ("SRV edns=4096", 72, 72, true),
        ("A edns=4096", 150, 0, false),
        ("A tcp", 150, 0, false),
        ("SRV tcp", 150, 150, false),
        ("A", 3, 0, true),
        ("SRV edns=512", 3, 3, true),
        ("AAAA", 0, 0, false),
    ];
    for (question, answers, additional, truncated) in table {
        let found = counted(&mut agent, &format!("db.service.consul {question}"));
        assert_eq!((found.0, found.1, found.2), (answers, additional, truncated), "{question}");
    }
}

#[test]
fn by_the_plain_limits() {
    let table = [(1, 1, 1), (3, 3, 3), (5, 5, 5), (8, 8, 5), (100, 8, 5)];
    for (limit, addresses, services) in table {
        let mut agent = many(12).with(|settings| settings.udp_answer_limit = limit);
        let mut count = |question: &str| counted(&mut agent, &format!("db.service.consul {question}")).0;
        assert_eq!((count("A"), count("SRV")), (addresses, services), "{limit}");
        assert_eq!((count("A tcp"), count("SRV edns=4096")), (12, 12), "{limit}");
    }
    let mut agent = many(4).with(|settings| settings.udp_answer_limit = 0);
    assert_eq!(agent.ask("db.service.consul A"), "NOERROR aa rd | | consul 0 SOA soa |");
    let mut agent = agent.with(|settings| settings.enable_truncate = true);
    assert_eq!(agent.ask("db.service.consul A"), "NOERROR aa tc rd");
    let mut agent = many(10).with(|settings| settings.a_record_limit = 2);
    for (question, answers) in [("A", 2), ("A tcp", 2), ("ANY edns=4096", 2), ("SRV", 3), ("SRV tcp", 10)] {
        assert_eq!(counted(&mut agent, &format!("db.service.consul {question}")).0, answers, "{question}");
    }
}

#[test]
fn without_compression() {
    let mut agent = many(3).with(|settings| settings.disable_compression = true);
    let table = [
        ("db.service.consul A", 134),
        ("db.service.consul SRV tcp", 314),
        ("n001.node.consul A", 66),
        ("1.0.100.10.in-addr.arpa PTR", 98),
    ];
    for (question, bytes) in table {
        assert_eq!(counted(&mut agent, question).3, bytes, "{question}");
    }
    let mut agent = many(150).with(|settings| settings.disable_compression = true);
    for (question, answers) in [("A edns=1024", 29), ("A edns=1500", 44)] {
        assert_eq!(counted(&mut agent, &format!("db.service.consul {question}")).0, answers, "{question}");
    }
}

#[test]
fn thousands_by_tcp() {
    let mut agent = many(5000).with(|settings| settings.enable_truncate = true);
    let (answers, _, truncated, bytes) = counted(&mut agent, "db.service.consul A tcp");
    assert_eq!((answers, truncated), (4093, true), "{bytes}");
    let (answers, additional, truncated, bytes) = counted(&mut agent, "db.service.consul SRV tcp edns=4096");
    assert_eq!((answers, additional, truncated), (1024, 1024, true), "{bytes}");
}

#[test]
fn long_names() {
    let mut agent = Agent::default().with(|settings| {
        settings.udp_answer_limit = 8;
        settings.enable_truncate = true;
    });
    for at in 1..=8 {
        let name = format!("node-with-a-rather-long-name-to-fill-the-message-up-{at:02}");
        agent.service(&name, &format!("10.2.0.{at}"), "service-with-a-long-name 5432");
    }
    let name = "service-with-a-long-name.service.consul";
    let (answers, additional, truncated, _) = counted(&mut agent, &format!("{name} SRV"));
    assert!((3..=5).contains(&answers) && additional == answers && truncated, "{answers} {additional}");
    assert_eq!(counted(&mut agent, &format!("{name} A")).0, 8);
    let (answers, additional, truncated, _) = counted(&mut agent, &format!("{name} SRV edns=1000"));
    assert!((6..=10).contains(&answers) && additional == answers && !truncated, "{answers} {additional}");
}

#[test]
fn one_that_does_not_fit_says_so() {
    let mut agent = Agent::default();
    let host = ["a"; 4].map(|letter| letter.repeat(60)).join(".");
    let tag = [60, 60, 50].map(|length| "t".repeat(length)).join(".");
    let name = "s".repeat(63);
    agent.service("n1", "10.2.0.1", &format!("{name} 80 {host} #{tag}"));
    let long = format!("{tag}.{name}.service.consul");
    let (answers, _, truncated, _) = counted(&mut agent, &format!("{long} SRV"));
    assert_eq!((answers, truncated), (0, true));
    assert_eq!(counted(&mut agent, &format!("{long} SRV tcp")).0, 1);
    // Texts that do not fit are left out, one by one.
    let meta: Vec<String> = (0..9).map(|at| format!("key{at}={}", "v".repeat(90))).collect();
    agent.node("wordy", "10.2.0.3", &meta.join(" "));
    let (answers, additional, truncated, _) = counted(&mut agent, "wordy.node.consul A");
    assert_eq!((answers, additional, truncated), (1, 4, false));
    assert_eq!(counted(&mut agent, "wordy.node.consul A tcp").1, 9);
}
