//! Answers recorded from Consul 1.8.7, as tables: questions and what it said.

use super::*;

const NOTHING: &str = "NXDOMAIN aa rd | | consul 0 SOA soa |";
const EMPTY: &str = "NOERROR aa rd | | consul 0 SOA soa |";
const NONE: &str = "NOERROR aa rd";

fn check_all(agent: &mut Agent, table: &[(&str, &str)]) {
    for (question, want) in table {
        // What the zones add to every record is left out of the tables.
        assert_eq!(agent.ask(question), *want, "{question}");
    }
}

#[test]
fn nodes() {
    let mut agent = Agent::default().with(|settings| settings.node_ttl = 10);
    agent.node("Foo", "10.1.0.1", "rack=r7 rfc1035-00=plain");
    agent.node("foo.bar", "10.1.0.6", "");
    agent.node("six", "2001:db8::1:42", "");
    agent.node("ext", "www.example.org", "");
    let tags = [("lan_ipv4", "10.9.0.7"), ("lan_ipv6", "2001:db8::7"), ("wan", "198.51.100.7")];
    let tags = tags.map(|(tag, address)| (tag.to_owned(), address.to_owned()));
    let dual = Node { tagged_addresses: Some(tags.into()), ..node("dual", "10.1.0.7", "") };
    agent.register(dual, None, Vec::new());
    check_all(
        &mut agent,
        &[
            (
                "fOo.nOdE.dC1.cOnSuL A",
                "NOERROR aa rd | fOo.nOdE.dC1.cOnSuL 10 A 10.1.0.1 | | fOo.nOdE.dC1.cOnSuL 10 TXT plain; \
                 fOo.nOdE.dC1.cOnSuL 10 TXT rack=r7",
            ),
            (
                "foo.node.consul AAAA",
                "NOERROR aa rd | | | foo.node.consul 10 TXT plain; foo.node.consul 10 TXT rack=r7",
            ),
            (
                "foo.node.consul ANY tcp",
                "NOERROR aa rd | foo.node.consul 10 A 10.1.0.1; foo.node.consul 10 TXT plain; foo.node.consul 10 \
                 TXT rack=r7 | |",
            ),
            (
                "foo.node.consul TXT",
                "NOERROR aa rd | foo.node.consul 10 TXT plain; foo.node.consul 10 TXT rack=r7 | |",
            ),
            ("foo.node.consul MX", NONE),
            ("nope.node.consul SRV", NONE),
            ("foo.bar.node.consul A", "NOERROR aa rd | foo.bar.node.consul 10 A 10.1.0.6 | |"),
            ("bar.node.consul A", NOTHING),
            ("six.node.consul A", NONE),
            ("six.node.consul ANY", "NOERROR aa rd | six.node.consul 10 AAAA 2001:db8::1:42 | |"),
            ("ext.node.consul AAAA", "NOERROR aa rd | ext.node.consul 10 CNAME www.example.org | |"),
            ("ext.node.consul TXT", NONE),
            ("dual.node.consul A", "NOERROR aa rd | dual.node.consul 10 A 10.9.0.7 | |"),
            ("dual.node.consul AAAA", "NOERROR aa rd | dual.node.consul 10 AAAA 2001:db8::7 | |"),
            ("dual.node.consul ANY", "NOERROR aa rd | dual.node.consul 10 AAAA 2001:db8::7 | |"),
            ("foo.node.dc9.consul A", NOTHING),
            ("foo.node.dc1.extra.consul A", NOTHING),
            ("nope.node.consul TXT", NOTHING),
            ("nope.node.consul A edns=1232", "NXDOMAIN aa rd | | consul 0 SOA soa | | edns 1232"),
        ],
    );
    let mut agent = agent.with(|settings| settings.node_meta_txt = false);
    check_all(&mut agent, &[("foo.node.consul A", "NOERROR aa rd | foo.node.consul 10 A 10.1.0.1 | |")]);
}

#[test]
fn services() {
    let mut agent = Agent::default();
    agent.service("n1", "10.2.0.1", "db 5432 #Primary");
    agent.service("n2", "10.2.0.2", "db 5433 #replica");
    agent.service("n3", "10.2.0.3", "db 5434 #replica,v1.2");
    agent.service("n1", "10.2.0.1", "ovr 81 192.0.2.10");
    agent.service("n1", "10.2.0.1", "six 81 2001:db8:1:2:cafe::1337");
    let dual = tagged(service("dual 80 10.3.0.1"), &[("lan_ipv4", "10.4.0.1"), ("lan_ipv6", "2001:db8::4")]);
    agent.register(node("n1", "10.2.0.1", ""), Some(dual), Vec::new());
    let all =
        "db.service.consul 0 A 10.2.0.1; db.service.consul 0 A 10.2.0.2; db.service.consul 0 A 10.2.0.3";
    let all = format!("NOERROR aa rd | {all} | |");
    let replicas = |name: &str| {
        format!(
            "NOERROR aa rd | {name} 0 SRV 1 1 5433 n2.node.dc1.consul; {name} 0 SRV 1 1 5434 n3.node.dc1.consul | | \
             n2.node.dc1.consul 0 A 10.2.0.2; n3.node.dc1.consul 0 A 10.2.0.3"
        )
    };
    check_all(
        &mut agent,
        &[
            ("db.service.consul A", &all),
            ("db.service.consul ANY tcp", &all),
            ("db.service.consul TXT", &all),
            ("db.service.consul AAAA", EMPTY),
            ("db.service.consul MX", EMPTY),
            ("nope.service.consul MX", NOTHING),
            ("PRIMARY.db.service.consul A", "NOERROR aa rd | PRIMARY.db.service.consul 0 A 10.2.0.1 | |"),
            ("v1.2.db.service.consul A", "NOERROR aa rd | v1.2.db.service.consul 0 A 10.2.0.3 | |"),
            ("replica.db.service.consul SRV", &replicas("replica.db.service.consul")),
            ("_DB._Replica.service.dc1.consul SRV", &replicas("_DB._Replica.service.dc1.consul")),
            (
                "_db._replica.consul SRV edns=4096",
                &format!("{} | edns 4096", replicas("_db._replica.consul")),
            ),
            ("_db._udp.service.consul SRV", NOTHING),
            ("_._tcp.service.consul SRV", "SERVFAIL aa rd"),
            ("replica.v1.2.db.service.consul A", NOTHING),
            ("db.service.dc9.consul A", NOTHING),
            ("service.consul A", NOTHING),
            ("ovr.service.consul A", "NOERROR aa rd | ovr.service.consul 0 A 192.0.2.10 | |"),
            (
                "ovr.service.consul SRV",
                "NOERROR aa rd | ovr.service.consul 0 SRV 1 1 81 c000020a.addr.dc1.consul | | \
                 c000020a.addr.dc1.consul 0 A 192.0.2.10",
            ),
            ("six.service.consul A", EMPTY),
            (
                "six.service.consul SRV",
                "NOERROR aa rd | six.service.consul 0 SRV 1 1 81 \
                 20010db800010002cafe000000001337.addr.dc1.consul | | \
                 20010db800010002cafe000000001337.addr.dc1.consul 0 AAAA 2001:db8:1:2:cafe::1337",
            ),
            ("dual.service.consul A", "NOERROR aa rd | dual.service.consul 0 A 10.4.0.1 | |"),
            ("dual.service.consul ANY", "NOERROR aa rd | dual.service.consul 0 AAAA 2001:db8::4 | |"),
            (
                "dual.service.consul SRV",
                "NOERROR aa rd | dual.service.consul 0 SRV 1 1 80 \
                 20010db8000000000000000000000004.addr.dc1.consul | | \
                 20010db8000000000000000000000004.addr.dc1.consul 0 AAAA 2001:db8::4",
            ),
            ("web.query.consul A", NOTHING),
            ("web.ingress.consul A", NOTHING),
        ],
    );
}

#[test]
fn several_tags() {
    let mut agent = Agent::default();
    agent.service("n1", "10.2.0.1", "web 80 #v2,primary");
    agent.service("n2", "10.2.0.2", "web 80 #V2");
    agent.service("n3", "10.2.0.3", "web 80 #v2+primary");
    check_all(
        &mut agent,
        &[
            (
                "v2+primary.web.service.consul A",
                "NOERROR aa rd | v2+primary.web.service.consul 0 A 10.2.0.1; v2+primary.web.service.consul 0 A \
                 10.2.0.3 | |",
            ),
            (
                "_web._primary+v2.service.consul SRV",
                "NOERROR aa rd | _web._primary+v2.service.consul 0 SRV 1 1 80 n1.node.dc1.consul | | \
                 n1.node.dc1.consul 0 A 10.2.0.1",
            ),
            ("v2+nope.web.service.consul A", NOTHING),
        ],
    );
}

#[test]
fn health() {
    let mut agent = Agent::default();
    for (on, address) in [("n1", "10.2.0.1"), ("n2", "10.2.0.2"), ("n3", "10.2.0.3")] {
        agent.service(on, address, "db 80 *10/3");
        agent.service(on, address, "web 81");
    }
    agent.check("n1", "10.2.0.1", "DB", "critical");
    agent.check("n2", "10.2.0.2", "", "warning");
    agent.check("n3", "10.2.0.3", "web", "critical");
    let want = "NOERROR aa rd | db.service.consul 0 SRV 1 10 80 n3.node.dc1.consul; db.service.consul 0 SRV 1 3 80 \
                n2.node.dc1.consul | | n2.node.dc1.consul 0 A 10.2.0.2; n3.node.dc1.consul 0 A 10.2.0.3";
    check_all(&mut agent, &[("db.service.consul SRV", want)]);
    let mut agent = agent.with(|settings| settings.only_passing = true);
    check_all(&mut agent, &[("db.service.consul A", "NOERROR aa rd | db.service.consul 0 A 10.2.0.3 | |")]);
    agent.check("n3", "10.2.0.3", "", "critical");
    check_all(
        &mut agent,
        &[
            ("db.service.consul A", NOTHING),
            ("n3.node.consul A", "NOERROR aa rd | n3.node.consul 0 A 10.2.0.3 | |"),
        ],
    );
    agent.check("n3", "10.2.0.3", "", "passing");
    check_all(&mut agent, &[("db.service.consul A", "NOERROR aa rd | db.service.consul 0 A 10.2.0.3 | |")]);
}

#[test]
fn duplicates() {
    let mut agent = Agent::default();
    agent.service("n1", "10.2.0.1", "db 5432 @db1");
    agent.service("n1", "10.2.0.1", "db 5433 @db2");
    agent.service("n1", "10.2.0.1", "db 5433 @db3");
    check_all(
        &mut agent,
        &[
            ("db.service.consul A", "NOERROR aa rd | db.service.consul 0 A 10.2.0.1 | |"),
            (
                "db.service.consul SRV",
                "NOERROR aa rd | db.service.consul 0 SRV 1 1 5432 n1.node.dc1.consul; db.service.consul 0 SRV 1 1 \
                 5433 n1.node.dc1.consul | | n1.node.dc1.consul 0 A 10.2.0.1",
            ),
        ],
    );
}

#[test]
fn host_names() {
    let mut agent = Agent::default();
    agent.node("meta", "10.2.0.9", "zone=z1");
    agent.service("n1", "10.2.0.1", "db 5432");
    agent.service("n2", "10.2.0.2", "alias 99 db.service.consul");
    agent.service("n3", "10.2.0.3", "nodes 98 n1.node.consul");
    agent.service("n4", "10.2.0.4", "self 97 self.service.consul");
    agent.service("n5", "10.2.0.5", "aa 80 bb.service.consul");
    agent.service("n6", "10.2.0.6", "bb 80 aa.service.consul");
    agent.service("n1", "10.2.0.1", "mix 80");
    agent.service("n7", "10.2.0.7", "mix 81 a.example.org");
    agent.service("ext", "www.example.org", "search 443");
    check_all(
        &mut agent,
        &[
            (
                "alias.service.consul A",
                "NOERROR aa rd | alias.service.consul 0 CNAME db.service.consul; db.service.consul 0 A 10.2.0.1 | |",
            ),
            (
                "alias.service.consul SRV",
                "NOERROR aa rd | alias.service.consul 0 SRV 1 1 99 db.service.consul | | db.service.consul 0 A \
                 10.2.0.1",
            ),
            (
                "nodes.service.consul SRV",
                "NOERROR aa rd | nodes.service.consul 0 SRV 1 1 98 n1.node.consul | | n1.node.consul 0 A 10.2.0.1",
            ),
            ("self.service.consul A", "NOERROR aa rd | self.service.consul 0 A 10.2.0.4 | |"),
            ("mix.service.consul A", "NOERROR aa rd | mix.service.consul 0 A 10.2.0.1 | |"),
            (
                "mix.service.consul SRV",
                "NOERROR aa rd | mix.service.consul 0 SRV 1 1 80 n1.node.dc1.consul; mix.service.consul 0 SRV 1 1 \
                 81 a.example.org | | n1.node.dc1.consul 0 A 10.2.0.1",
            ),
            (
                "search.service.consul AAAA",
                "NOERROR aa rd | search.service.consul 0 CNAME www.example.org | |",
            ),
            (
                "search.service.consul SRV",
                "NOERROR aa rd | search.service.consul 0 SRV 1 1 443 www.example.org | |",
            ),
        ],
    );
    // Two that point at each other come to an end.
    let loops = agent.ask("aa.service.consul A");
    assert!(loops.starts_with("NOERROR aa rd | aa.service.consul 0 CNAME bb.service.consul"), "{loops}");
}

#[test]
fn connect() {
    let mut agent = Agent::default();
    agent.service("n1", "10.2.0.1", "web 80");
    check_all(&mut agent, &[("web.connect.consul A", NOTHING)]);
    agent.register(node("n2", "10.2.0.2", ""), Some(proxy("web-proxy 20000", "web")), Vec::new());
    agent.register(node("n3", "10.2.0.3", ""), Some(native("web 8443 @native")), Vec::new());
    let want = "NOERROR aa rd | tag.web.connect.consul 0 SRV 1 1 20000 n2.node.dc1.consul; tag.web.connect.consul 0 \
                SRV 1 1 8443 n3.node.dc1.consul | | n2.node.dc1.consul 0 A 10.2.0.2; n3.node.dc1.consul 0 A 10.2.0.3";
    check_all(&mut agent, &[("tag.web.connect.consul SRV", want), ("connect.consul A", NOTHING)]);
}

#[test]
fn the_zone_itself() {
    let mut agent = Agent::default();
    let soa = "NOERROR aa rd | consul 0 SOA soa | consul 0 NS agent-one.node.dc1.consul | agent-one.node.dc1.consul 0 \
               A 127.0.0.1";
    let servers =
        "NOERROR aa rd | consul 0 NS agent-one.node.dc1.consul | | agent-one.node.dc1.consul 0 A 127.0.0.1";
    check_all(
        &mut agent,
        &[
            ("CONSUL SOA", soa),
            ("what.ever.consul SOA", soa),
            ("nope.service.consul NS", servers),
            ("consul A", NOTHING),
            ("consul ANY", NOTHING),
            ("ns.consul A", NOTHING),
            ("consul AXFR", "NOTIMP aa rd"),
            ("7F00000A.addr.a.b.consul SRV", "NOERROR aa rd | 7f00000a.addr.a.b.consul 0 A 127.0.0.10 | |"),
            ("7f0000.addr.consul A", NONE),
            ("zzzzzzzz.addr.consul A", NOTHING),
            ("xconsul A", "REFUSED rd"),
            ("example.org A edns=1232 nord", "REFUSED"),
            (
                "1.0.0.127.IN-ADDR.ARPA A",
                "NOERROR aa rd | 1.0.0.127.IN-ADDR.ARPA 0 PTR agent-one.node.dc1.consul | |",
            ),
            (
                "1.0.0.127.in-addr.arpa SOA",
                "NOERROR aa rd | 1.0.0.127.in-addr.arpa 0 PTR agent-one.node.dc1.consul | consul 0 SOA soa |",
            ),
            ("9.9.9.9.in-addr.arpa PTR tcp edns=1232", "SERVFAIL rd ra | edns 1232"),
            ("arpa NS", "SERVFAIL rd ra"),
        ],
    );
}

#[test]
fn reverse_services() {
    let mut agent = Agent::default();
    agent.service("n1", "10.2.0.1", "db 80 192.0.2.7");
    agent.service("n2", "2001:DB8:0::2", "six 80 2001:db8::7");
    let name =
        |last: &str| format!("{last}.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa");
    let (seven, two) = (name("7"), name("2"));
    check_all(
        &mut agent,
        &[
            (
                "7.2.0.192.in-addr.arpa PTR",
                "NOERROR aa rd | 7.2.0.192.in-addr.arpa 0 PTR db.service.dc1.consul | |",
            ),
            (&format!("{seven} PTR"), &format!("NOERROR aa rd | {seven} 0 PTR six.service.dc1.consul | |")),
            (&format!("{two} PTR"), &format!("NOERROR aa rd | {two} 0 PTR n2.node.dc1.consul | |")),
        ],
    );
}

#[test]
fn other_domains() {
    let mut agent = Agent::default().of(|facts| {
        facts.domain = "Corp.Example.".into();
        facts.alt_domain = Some("alt.test.".into());
        facts.datacenter = "eu-west".into();
    });
    agent.service("Srv", "10.1.0.1", "web 80");
    agent.service("n2", "10.1.0.2", "ovr 81 192.0.2.2");
    check_all(
        &mut agent,
        &[
            (
                "Web.Service.Alt.Test SRV",
                "NOERROR aa rd | Web.Service.Alt.Test 0 SRV 1 1 80 Srv.node.eu-west.corp.example | | \
                 Srv.node.eu-west.corp.example 0 A 10.1.0.1",
            ),
            (
                "ovr.service.alt.test SRV",
                "NOERROR aa rd | ovr.service.alt.test 0 SRV 1 1 81 c0000202.addr.eu-west.corp.example | | \
                 c0000202.addr.eu-west.corp.example 0 A 192.0.2.2",
            ),
            ("c0000202.addr.alt.test A", "NOERROR aa rd | c0000202.addr.corp.example 0 A 192.0.2.2 | |"),
            ("nope.node.ALT.test A", "NXDOMAIN aa rd | | corp.example 0 SOA soa |"),
            ("srv.node.consul A", "REFUSED rd"),
            ("test A", "REFUSED rd"),
        ],
    );
}

#[test]
fn times_to_live() {
    let mut agent = Agent::default().with(|settings| {
        let given = [("*", 5), ("web", 30)].map(|(name, ttl)| (name.to_owned(), Duration::from_secs(ttl)));
        settings.service_ttl = super::super::ServiceTtls::new(given.iter().map(|(name, ttl)| (name, ttl)));
        settings.soa.min_ttl = 15;
    });
    agent.service("n1", "10.2.0.1", "web 80");
    agent.service("n1", "10.2.0.1", "db 80 a.example");
    check_all(
        &mut agent,
        &[
            ("web.service.consul A", "NOERROR aa rd | web.service.consul 30 A 10.2.0.1 | |"),
            (
                "_web._tcp.service.consul SRV",
                "NOERROR aa rd | _web._tcp.service.consul 30 SRV 1 1 80 n1.node.dc1.consul | | n1.node.dc1.consul 30 \
                 A 10.2.0.1",
            ),
            ("db.service.consul A", "NOERROR aa rd | db.service.consul 5 CNAME a.example | |"),
            ("web.service.consul AAAA", "NOERROR aa rd | | consul 15 SOA soa |"),
        ],
    );
}

#[test]
fn subnets_are_echoed_with_scope_0() {
    let mut agent = Agent::default();
    agent.service("n1", "10.2.0.1", "web 80");
    let (packet, transport) = asked("web.service.consul A edns=4096 ecs=192.0.2.0/24");
    let (_, out) = agent.say(&packet, transport);
    let opt = packet.len() - (11 + 4 + 7);
    assert_eq!(&out[out.len() - 22..], &packet[opt..]);
}

#[test]
fn without_a_leader() {
    let nobody = || Err(Leadership::default());
    let table: [(&str, Lead, bool, u64, bool); 6] = [
        ("leads", Ok(()), false, 0, true),
        ("follows", heard(1), true, 5, true),
        ("follows too far behind", heard(6), true, 5, false),
        ("follows but may not be stale", heard(1), false, 5, false),
        ("never heard a leader", nobody(), true, 5, false),
        (
            "lost its leader",
            Err(Leadership { last_contact: Duration::from_secs(4), heard: true, ..Leadership::default() }),
            true,
            5,
            true,
        ),
    ];
    let asked = [false, true].map(|leader_answers| table.clone().map(|row| (leader_answers, row)));
    for (leader_answers, (name, led, allow_stale, max_stale, alone)) in asked.into_iter().flatten() {
        // What the own state is too old for, the leader decides.
        let answers = alone || leader_answers;
        let mut agent = Agent::default().with(|settings| {
            settings.allow_stale = allow_stale;
            settings.max_stale = Duration::from_secs(max_stale);
        });
        (agent.led, agent.leader_answers) = (led, leader_answers);
        let want = if answers {
            "NOERROR aa rd | consul.service.consul 0 A 127.0.0.1 | |"
        } else {
            "SERVFAIL aa rd"
        };
        assert_eq!(agent.ask("consul.service.consul A"), want, "{name}");
        assert_eq!(
            agent.ask("7f000001.addr.consul A"),
            "NOERROR aa rd | 7f000001.addr.consul 0 A 127.0.0.1 | |"
        );
        let soa = agent.ask("consul SOA");
        assert_eq!(soa.contains("NS agent-one"), answers, "{name}: {soa}");
    }
}

#[test]
fn recursors() {
    let mut agent = Agent::default().with(|settings| settings.recursors = vec![recursor()]);
    agent.node("n1", "10.2.0.1", "");
    check_all(
        &mut agent,
        &[
            ("n1.node.consul A", "NOERROR aa rd ra | n1.node.consul 0 A 10.2.0.1 | |"),
            ("nope.node.consul A", "NXDOMAIN aa rd ra | | consul 0 SOA soa |"),
            ("example.org A", "Forward"),
            ("9.9.9.9.in-addr.arpa PTR", "Forward"),
        ],
    );
    let (packet, _) = asked("example.org A edns=1232");
    let mut out = Vec::new();
    agent.dns().recursion_failed(&packet, &mut out);
    assert_eq!(shown(&Message::from_vec(&out).unwrap()), "SERVFAIL rd ra | edns 1232");
}

/// What a recursor says: `www` at an address, `alias` an alias of it, `many` at seven.
fn recursor_says(question: &[u8]) -> Option<Vec<u8>> {
    let mut message = Message::from_vec(question).unwrap();
    let name = message.queries[0].name().to_ascii();
    let record = |owner: &str, ttl, data| Record::from_rdata(Name::from_ascii(owner).unwrap(), ttl, data);
    let ip = |last| hickory_server::proto::rr::RData::A(std::net::Ipv4Addr::new(203, 0, 113, last).into());
    message.answers = match name.split('.').next().unwrap() {
        "www" => vec![record(&name, 55, ip(5))],
        "alias" => {
            let target = Name::from_ascii("www.example.org.").unwrap();
            let alias = hickory_server::proto::rr::rdata::CNAME(target);
            vec![
                record(&name, 30, hickory_server::proto::rr::RData::CNAME(alias)),
                record("www.example.org.", 55, ip(5)),
            ]
        }
        "many" => (1..=7).map(|last| record(&name, 41, ip(last))).collect(),
        "silent" => return None,
        _ => Vec::new(),
    };
    message.metadata.message_type = MessageType::Response;
    Some(message.to_vec().unwrap())
}

/// Asks, and follows the chase if there is one.
fn ask_through(agent: &mut Agent, question: &str) -> (Vec<String>, String) {
    let (packet, transport) = asked(question);
    let (verdict, mut out) = agent.say(&packet, transport);
    let Verdict::Chase(chase) = verdict else {
        return (Vec::new(), shown(&Message::from_vec(&out).unwrap()));
    };
    assert!(out.is_empty(), "nothing is written before the chase");
    let names = chase.questions.iter().map(|question| {
        let question = Message::from_vec(question).unwrap();
        assert!(question.metadata.recursion_desired);
        question.queries[0].to_string()
    });
    let names = names.collect();
    let found = chase.questions.iter().map(|question| recursor_says(question)).collect();
    let mut rng = SmallRng::seed_from_u64(99);
    let verdict = agent.dns().answer_chased(&packet, transport, chase, found, &mut rng, &mut out);
    assert!(matches!(verdict, Verdict::Reply));
    (names, shown(&Message::from_vec(&out).unwrap()))
}

#[test]
fn chases() {
    let mut agent = Agent::default().with(|settings| {
        settings.recursors = vec![recursor()];
        settings.node_ttl = 8;
        settings.service_ttl = super::super::ServiceTtls::new([(&"*".to_owned(), &Duration::from_secs(6))]);
    });
    agent.node("ext", "alias.example.org", "");
    agent.node("many", "many.example.org", "");
    agent.node("silent", "silent.example.org", "");
    agent.service("n1", "10.2.0.1", "al 81 alias.example.org");
    agent.service("n1", "10.2.0.1", "many 81 many.example.org");
    agent.service("n1", "10.2.0.1", "far 82 ext.node.consul");
    let table = [
        (
            "ext.node.consul AAAA",
            "alias.example.org. IN A",
            "NOERROR aa rd ra | alias.example.org 30 CNAME www.example.org; ext.node.consul 8 CNAME \
             alias.example.org; www.example.org 55 A 203.0.113.5 | |",
        ),
        (
            "al.service.consul SRV",
            "alias.example.org. IN A",
            "NOERROR aa rd ra | al.service.consul 6 SRV 1 1 81 alias.example.org | | alias.example.org 6 CNAME \
             www.example.org; www.example.org 6 A 203.0.113.5",
        ),
        (
            "al.service.consul A",
            "alias.example.org. IN A",
            "NOERROR aa rd ra | al.service.consul 6 CNAME alias.example.org; alias.example.org 6 CNAME \
             www.example.org; www.example.org 6 A 203.0.113.5 | |",
        ),
        (
            "far.service.consul A tcp",
            "alias.example.org. IN A",
            "NOERROR aa rd ra | alias.example.org 6 CNAME www.example.org; ext.node.consul 6 CNAME \
             alias.example.org; far.service.consul 6 CNAME ext.node.consul; www.example.org 6 A 203.0.113.5 | |",
        ),
        (
            "silent.node.consul A",
            "silent.example.org. IN A",
            "NOERROR aa rd ra | silent.node.consul 8 CNAME silent.example.org | |",
        ),
        ("ext.node.consul TXT", "", "NOERROR aa rd ra"),
    ];
    for (question, asks, want) in table {
        let (names, answer) = ask_through(&mut agent, question);
        assert_eq!((names.join(" "), answer.as_str()), (asks.to_owned(), want), "{question}");
    }
    let count = |answer: &str| answer.matches(" A 203.").count();
    assert_eq!(count(&ask_through(&mut agent, "many.node.consul A").1), 7);
    assert_eq!(count(&ask_through(&mut agent, "many.service.consul A tcp").1), 5);
    assert_eq!(count(&ask_through(&mut agent, "many.service.consul A edns=4096").1), 7);
    // By datagram and without EDNS the alias itself counts among the three.
    assert_eq!(count(&ask_through(&mut agent, "many.service.consul A").1), 2);
}

#[test]
fn opcodes_and_garbage() {
    let mut agent = Agent::default();
    agent.node("foo", "10.1.0.1", "");
    let question = b"\x03foo\x04node\x06consul\0\0\x01\0\x01";
    let table: [(&str, &[u8], &str); 6] = [
        (
            "flags and class",
            b"\x12\x34\x07\xf0\0\x01\0\0\0\0\0\0",
            "NOERROR aa rd | foo.node.consul 0 A 10.1.0.1 | |",
        ),
        (
            "a notification",
            b"\x12\x34\x21\0\0\x01\0\0\0\0\0\0",
            "NOERROR aa rd | foo.node.consul 0 A 10.1.0.1 | |",
        ),
        ("an update", b"\x12\x34\x29\0\0\x01\0\0\0\0\0\0", "NOTIMP rd"),
        ("two questions", b"\x12\x34\x01\0\0\x02\0\0\0\0\0\0", "FORMERR rd"),
        ("no question", b"\x12\x34\0\0\0\0\0\0\0\0\0\0", "FORMERR"),
        ("an answer", b"\x12\x34\x81\0\0\x01\0\0\0\0\0\0", "Drop"),
    ];
    for (name, head, want) in table {
        let packet = [head, question].concat();
        let (verdict, out) = agent.say(&packet, Transport::Udp);
        let said = match verdict {
            Verdict::Reply => shown(&Message::from_vec(&out).unwrap()),
            other => format!("{other:?}"),
        };
        assert_eq!(said, want, "{name}");
        assert!(out.is_empty() || (out[..2] == [0x12, 0x34] && out[3] & 0x60 == 0), "{name}");
    }
    let short = agent.say(b"\x12\x34\x01", Transport::Udp);
    assert!(matches!(short.0, Verdict::Drop) && short.1.is_empty());
}
