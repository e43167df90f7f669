//! Reads of the catalog, from the published state to the bytes of the answer: what
//! `/v1/catalog/services`, `/v1/health/service` and its filter cost without sockets.

#![expect(clippy::expect_used, reason = "a benchmark may end where something breaks")]

use std::hint::black_box;
use std::sync::Arc;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tribune::endpoints::catalog::ServiceNames;
use tribune::endpoints::filter::{Filter, HealthInstanceFields};
use tribune::endpoints::service_query::{Narrowing, ServiceQuery, Target};
use tribune::state::command::Register;
use tribune::state::machine::StateMachine;
use tribune::state::record::{Check, Node, Service, StringMap};
use tribune::state::store::MemoryStore;
use tribune::state::{Command, Envelope, View};
use tribune::web::answers::{Answers, identity};
use tribune::web::{Json, json_catalog};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const FILTER: &str = "\"v1\" in Service.Tags and Service.Meta.zone == \"a\"";

fn instance(node: &str, name: &str, number: usize) -> Register {
    let id = format!("{name}-{number}");
    let meta = StringMap::from([("rev".into(), "17".into()), ("zone".into(), ["a", "b"][number % 2].into())]);
    Register {
        node: Node {
            node: node.into(),
            address: "10.6.0.1".into(),
            datacenter: "dc1".into(),
            ..Node::default()
        },
        service: Some(Service {
            id: id.as_str().into(),
            service: name.into(),
            tags: vec!["v1".into(), "prod".into()],
            meta: Some(meta),
            port: 8080,
            ..Service::default()
        }),
        checks: vec![Check {
            node: node.into(),
            check_id: format!("service:{id}").into(),
            name: "alive".into(),
            status: "passing".into(),
            service_id: id,
            output: "HTTP GET http://127.0.0.1:8080/health: 200 OK".into(),
            ..Check::default()
        }],
        skip_node_update: false,
    }
}

/// One node with 1,000 services, and 200 nodes with an instance of `web` each.
fn state() -> Arc<View> {
    let mut machine = StateMachine::open(Box::new(MemoryStore::default())).expect("an empty store opens");
    let bulk = (0..1000).map(|number| instance("bulk", &format!("bulk-{number:012}"), number));
    let web = (0..200).map(|number| instance(&format!("web-n{number}"), "web", number));
    for (index, register) in (1..).zip(bulk.chain(web)) {
        let command = Command::Register(Box::new(register));
        let entry = Envelope { now_ms: 0, command }.encode().expect("a registration can be encoded");
        machine.apply([(index, &*entry)]).expect("a registration can be applied");
    }
    Arc::clone(machine.view())
}

fn health(view: &View, narrowing: Narrowing) -> Bytes {
    let query = ServiceQuery::<HealthInstanceFields>::new("web", Target::Service, true, narrowing);
    let instances = query.instances(view).expect("the filter is sound");
    let mut json = Json::with_capacity(false, instances.len() * 1024);
    json.array(|json| instances.iter().for_each(|instance| json_catalog::health_instance(json, instance)));
    json.finish()
}

fn services(view: &View) -> Bytes {
    let mut json = Json::new(false);
    json.object(|json| {
        for (name, tags) in ServiceNames::new(StringMap::new()).list(view) {
            json.key_text(name).texts(tags);
        }
    });
    json.finish()
}

fn catalog_read(criterion: &mut Criterion) {
    let view = state();
    let passing = || Narrowing { passing: true, ..Narrowing::default() };
    let filtered = || Narrowing { filter: FILTER.into(), ..passing() };
    let mut group = criterion.benchmark_group("catalog_read");
    group.throughput(Throughput::Bytes(services(&view).len() as u64));
    group.bench_function("services-1000", |bencher| bencher.iter(|| services(black_box(&view))));
    group.throughput(Throughput::Bytes(health(&view, passing()).len() as u64));
    group.bench_function("health-200", |bencher| bencher.iter(|| health(black_box(&view), passing())));
    group.bench_function("health-200-kept", |bencher| {
        let (answers, entry) = (Answers::default(), view.services.get("web"));
        let (index, identity) = (view.service_index("web", true), identity(entry));
        bencher.iter(|| {
            answers.answer("web".to_owned(), index, &identity, || Ok::<_, ()>(health(&view, passing())))
        });
    });
    group.throughput(Throughput::Bytes(health(&view, filtered()).len() as u64));
    group
        .bench_function("health-200-filter", |bencher| bencher.iter(|| health(black_box(&view), filtered())));
    group.finish();
    criterion.bench_function("catalog_read/compile-filter", |bencher| {
        bencher.iter(|| Filter::<HealthInstanceFields>::compile(black_box(FILTER)));
    });
}

criterion_group!(benches, catalog_read);
criterion_main!(benches);
