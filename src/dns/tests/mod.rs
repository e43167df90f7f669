//! The DNS interface against an independent reader of its packets: recorded answers of Consul 1.8.7, every
//! query anyone could send, and what must hold for all answers.

mod consul;
mod order;
mod stress;
mod trim;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use futures::future::BoxFuture;
use hickory_server::proto::op::{Edns, Message, MessageType, OpCode, Query as Asked};
use hickory_server::proto::rr::rdata::opt::{ClientSubnet, EdnsOption};
use hickory_server::proto::rr::{Name, Record, RecordType};
use rand::SeedableRng;
use rand::rngs::SmallRng;

use super::{Dns, DnsFacts, DnsSettings, Transport, Verdict};
use crate::endpoints::testing::Mirror;
use crate::endpoints::{EndpointError, LeaderRead, Leadership};
use crate::state::command::Register;
use crate::state::machine::StateMachine;
use crate::state::record::{Check, Node, ProxyConfig, Service, ServiceAddress, ServiceConnect, Weights};
use crate::state::store::MemoryStore;
use crate::state::{Command, Envelope, View, piece};

/// Up to so many nodes, client agents are asked the same.
const FEW: usize = 64;
/// Of each test's answers so many: those that ask thousands of times ask the same.
const MOST_COMPARED: u32 = 32;

/// This agent leads, or what it knows of who does.
type Lead = Result<(), Leadership>;

/// A leadership made up.
pub struct Led {
    lead: Lead,
    /// Whoever does not lead may ask who does, and is answered.
    answers: bool,
}

impl LeaderRead for Led {
    fn leadership(&self) -> Arc<Leadership> {
        Arc::new(self.lead.clone().err().unwrap_or_default())
    }

    fn check_lease(&self) -> Result<(), EndpointError> {
        self.lead.as_ref().copied().map_err(|_| EndpointError::NoLeader)
    }

    fn lease(&self) -> Result<Option<BoxFuture<'_, Result<(), EndpointError>>>, EndpointError> {
        let asked = if self.answers { Ok(()) } else { Err(EndpointError::NoLeader) };
        Ok(if self.lead.is_ok() { None } else { Some(Box::pin(std::future::ready(asked))) })
    }

    fn barrier(&self) -> Result<Option<BoxFuture<'_, Result<(), EndpointError>>>, EndpointError> {
        Ok(None)
    }
}

/// What is said once servers were asked for what is needed of them, and the leader.
fn settle(
    dns: &Dns,
    packet: &[u8],
    transport: Transport,
    mut told: Verdict,
    (rng, out): (&mut SmallRng, &mut Vec<u8>),
) -> Verdict {
    for _ in 0..8 {
        match told {
            Verdict::Chase(chase) if chase.questions.is_empty() => {
                let chase = futures::executor::block_on(dns.fetch(chase));
                told = dns.answer_chased(packet, transport, chase, Vec::new(), rng, out);
            }
            _ => break,
        }
    }
    told
}

/// An agent's DNS over a state of its own.
pub struct Agent {
    machine: StateMachine,
    index: u64,
    facts: DnsFacts,
    settings: DnsSettings,
    led: Lead,
    leader_answers: bool,
    made: Option<Dns>,
    rng: SmallRng,
    /// Answers that client agents were asked too.
    compared: u32,
}

impl Default for Agent {
    /// In `dc1`, with the server `agent-one`, under Consul's default settings.
    fn default() -> Self {
        let machine = StateMachine::open(Box::new(MemoryStore::default())).unwrap();
        let mut agent = Self {
            machine,
            index: 0,
            facts: DnsFacts::default(),
            settings: DnsSettings::default(),
            led: Ok(()),
            leader_answers: false,
            made: None,
            rng: SmallRng::seed_from_u64(1),
            compared: 0,
        };
        agent.service("agent-one", "127.0.0.1", "consul 8300");
        agent
    }
}

impl Agent {
    /// Changes the settings.
    pub fn with(mut self, change: impl FnOnce(&mut DnsSettings)) -> Self {
        change(&mut self.settings);
        self.made = None;
        self
    }

    /// Changes what no reload changes.
    pub fn of(mut self, change: impl FnOnce(&mut DnsFacts)) -> Self {
        change(&mut self.facts);
        self.made = None;
        self
    }

    pub fn register(&mut self, node: Node, service: Option<Service>, checks: Vec<Check>) {
        self.index += 1;
        let register = Register { node, service, checks, skip_node_update: false };
        let envelope = Envelope { now_ms: 0, command: Command::Register(Box::new(register)) };
        self.machine.apply([(self.index, &*envelope.encode().unwrap())]).unwrap();
    }

    /// A node; `extra` is its metadata, `key=value` by blanks.
    pub fn node(&mut self, name: &str, address: &str, meta: &str) {
        self.register(node(name, address, meta), None, Vec::new());
    }

    /// A service on a node: `name port [address] [#tag,tag] [@id] [*passing/warning]`.
    pub fn service(&mut self, on: &str, node_address: &str, spec: &str) {
        self.register(node(on, node_address, ""), Some(service(spec)), Vec::new());
    }

    /// A check on a node or, with an id, on that service.
    pub fn check(&mut self, on: &str, address: &str, service_id: &str, status: &str) {
        let check = Check {
            node: on.into(),
            check_id: format!("check-{service_id}").as_str().into(),
            status: status.into(),
            service_id: service_id.into(),
            ..Check::default()
        };
        self.register(node(on, address, ""), None, vec![check]);
    }

    fn dns(&mut self) -> &Dns {
        self.made.get_or_insert_with(|| {
            let settings = Arc::new(ArcSwap::from_pointee(self.settings.clone()));
            Dns::new(
                self.facts.clone(),
                self.machine.reader(),
                Arc::new(Led { lead: self.led.clone(), answers: self.leader_answers }),
                settings,
                Arc::default(),
            )
        })
    }

    /// What is said to a packet: the verdict and the bytes.
    pub fn say(&mut self, packet: &[u8], transport: Transport) -> (Verdict, Vec<u8>) {
        let mut rng = SmallRng::from_rng(&mut self.rng);
        let chance = rng.clone();
        let mut out = vec![0xee; 3];
        let dns = self.dns();
        let verdict = dns.answer(packet, transport, &mut rng, &mut out);
        let verdict = settle(dns, packet, transport, verdict, (&mut rng, &mut out));
        let small = self.machine.reader().view().nodes.len() < FEW;
        if self.led.is_ok() && small && self.compared < MOST_COMPARED {
            self.compared += 1;
            self.compare_with_client(packet, transport, chance, (&verdict, &out));
        }
        (verdict, out)
    }

    /// A client agent of servers with this state says the same.
    fn compare_with_client(
        &mut self,
        packet: &[u8],
        transport: Transport,
        mut chance: SmallRng,
        (verdict, answer): (&Verdict, &[u8]),
    ) {
        let settings = Arc::new(ArcSwap::from_pointee(self.settings.clone()));
        let nobody = Arc::new(Led { lead: Err(Leadership::default()), answers: false });
        let servers = Mirror::new(View::clone(&self.machine.reader().view()));
        let client = Dns::new(self.facts.clone(), piece::nothing(), nobody, settings, Arc::default())
            .asking(Arc::new(servers));
        let mut out = Vec::new();
        let told = client.answer(packet, transport, &mut chance, &mut out);
        let told = settle(&client, packet, transport, told, (&mut chance, &mut out));
        match (verdict, told) {
            (Verdict::Chase(wanted), Verdict::Chase(found)) => assert_eq!(wanted.questions, found.questions),
            (wanted, found) => assert_eq!(format!("{wanted:?}"), format!("{found:?}")),
        }
        if matches!(verdict, Verdict::Reply) {
            // A serial number may be a second older.
            let same = out.iter().zip(answer).filter(|(one, other)| one == other).count();
            assert!(out.len() == answer.len() && answer.len() - same <= 1, "{out:x?}\n{answer:x?}");
        }
    }

    /// The answer to a question, as text; see [`shown`].
    pub fn ask(&mut self, question: &str) -> String {
        let (packet, transport) = asked(question);
        let (verdict, out) = self.say(&packet, transport);
        match verdict {
            Verdict::Reply => {
                shown(&Message::from_vec(&out).unwrap_or_else(|error| panic!("{question}: {error}")))
            }
            other => format!("{other:?}"),
        }
    }
}

fn node(name: &str, address: &str, meta: &str) -> Node {
    let meta = meta.split_whitespace().filter_map(|pair| pair.split_once('='));
    let meta: std::collections::BTreeMap<_, _> =
        meta.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    Node {
        node: name.into(),
        address: address.into(),
        datacenter: "dc1".into(),
        meta: (!meta.is_empty()).then_some(meta),
        ..Node::default()
    }
}

/// See [`Agent::service`].
pub fn service(spec: &str) -> Service {
    let mut parts = spec.split_whitespace();
    let name = parts.next().unwrap();
    let mut service = Service {
        id: name.into(),
        service: name.into(),
        port: parts.next().map_or(0, |port| port.parse().unwrap()),
        ..Service::default()
    };
    for part in parts {
        if let Some(tags) = part.strip_prefix('#') {
            service.tags = tags.split(',').map(str::to_owned).collect();
        } else if let Some(id) = part.strip_prefix('@') {
            service.id = id.into();
        } else if let Some(weights) = part.strip_prefix('*') {
            let (passing, warning) = weights.split_once('/').unwrap();
            service.weights =
                Weights { passing: passing.parse().unwrap(), warning: warning.parse().unwrap() };
        } else {
            part.clone_into(&mut service.address);
        }
    }
    service
}

/// A proxy in front of a service.
pub fn proxy(spec: &str, of: &str) -> Service {
    let proxy = ProxyConfig { destination_service_name: of.to_owned(), ..ProxyConfig::default() };
    Service { kind: "connect-proxy".into(), proxy, ..service(spec) }
}

/// A service that speaks Connect itself.
pub fn native(spec: &str) -> Service {
    Service { connect: ServiceConnect { native: true, ..ServiceConnect::default() }, ..service(spec) }
}

/// Tagged addresses of a service.
pub fn tagged(mut service: Service, addresses: &[(&str, &str)]) -> Service {
    let address = |text: &&str| ServiceAddress { address: (*text).to_owned(), port: 9 };
    service.tagged_addresses =
        Some(addresses.iter().map(|(tag, text)| ((*tag).to_owned(), address(text))).collect());
    service
}

/// A packet from `name TYPE [tcp] [edns=SIZE] [ecs=NET/LENGTH] [nord]`.
pub fn asked(question: &str) -> (Vec<u8>, Transport) {
    let mut parts = question.split_whitespace();
    // Not `from_ascii`: a `+` is fine here.
    let labels = parts.next().unwrap().split('.').filter(|label| !label.is_empty());
    let name = Name::from_labels(labels.map(str::as_bytes)).unwrap();
    let rtype: RecordType = parts.next().unwrap().parse().unwrap();
    let mut message = Message::new(0x1234, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Asked::query(name, rtype));
    let mut transport = Transport::Udp;
    let mut edns: Option<Edns> = None;
    for part in parts {
        match part.split_once('=') {
            None if part == "tcp" => transport = Transport::Tcp,
            None if part == "nord" => message.metadata.recursion_desired = false,
            Some(("edns", size)) => {
                edns.get_or_insert_with(Edns::new).set_max_payload(size.parse().unwrap());
            }
            Some(("ecs", net)) => {
                let subnet: ClientSubnet = net.parse().unwrap();
                edns.get_or_insert_with(Edns::new).options_mut().insert(EdnsOption::Subnet(subnet));
            }
            _ => panic!("{part}"),
        }
    }
    message.edns = edns;
    (message.to_vec().unwrap(), transport)
}

/// `RCODE flags` and, where there are any, `| answers | authority | additional` with the records sorted,
/// joined by `;`. The serial of SOA records is left out.
pub fn shown(message: &Message) -> String {
    let head = &message.metadata;
    let mut text = format!("{:?}", head.response_code).to_uppercase();
    for (flag, name) in [
        (head.authoritative, "aa"),
        (head.truncation, "tc"),
        (head.recursion_desired, "rd"),
        (head.recursion_available, "ra"),
    ] {
        if flag {
            text.push(' ');
            text.push_str(name);
        }
    }
    let sections = [&message.answers, &message.authorities, &message.additionals];
    if sections.iter().any(|section| !section.is_empty()) {
        for section in sections {
            let mut records: Vec<_> = section.iter().map(record).collect();
            records.sort();
            text.push_str(" |");
            if !records.is_empty() {
                text.push(' ');
                text.push_str(&records.join("; "));
            }
        }
    }
    if let Some(edns) = &message.edns {
        text.push_str(" | edns ");
        text.push_str(&edns.max_payload().to_string());
    }
    text
}

/// `owner ttl TYPE data`, names without their final dot.
pub fn record(record: &Record) -> String {
    let data = match record.record_type() {
        RecordType::SOA => "soa".to_owned(),
        _ => record.data.to_string().replace(". ", " "),
    };
    // The reader escapes more than it must.
    let trim = |text: &str| text.strip_suffix('.').unwrap_or(text).replace("\\+", "+");
    format!("{} {} {} {}", trim(&record.name.to_ascii()), record.ttl, record.record_type(), trim(&data))
}

/// A leader was heard so long ago.
pub fn heard(seconds: u64) -> Lead {
    let leader_address = Some("10.0.0.1:8300".to_owned());
    Err(Leadership {
        leader_address,
        last_contact: Duration::from_secs(seconds),
        heard: true,
        ..Leadership::default()
    })
}

/// An address no test sends anything to.
pub fn recursor() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 9))
}
