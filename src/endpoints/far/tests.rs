//! Reads through servers that are made up, against the same reads of the state they hold.

use std::sync::Arc;
use std::time::Duration;

use super::super::blocking::{BlockingRead, Drain, read, read_now};
use super::super::catalog::{NodeServices, Nodes, ServiceNames};
use super::super::filter::HealthInstanceFields;
use super::super::health::{Checks, ChecksOf};
use super::super::service_query::{Narrowing, ServiceQuery};
use super::super::testing::{Mirror, Scene, endpoints, endpoints_with, names};
use super::*;
use crate::state::View;

fn scene() -> View {
    Scene::default()
        .node("one", &[("rack", "1")])
        .node("two", &[])
        .service("one", "a", "web", &["v1"])
        .service("two", "b", "web", &["v2"])
        .proxy("two", "p", "proxy", "web")
        .check("one", "c", "a", "passing")
        .check("two", "d", "b", "critical")
        .view()
}

/// The endpoints of a client agent of servers with this state.
fn client(mirror: &Arc<Mirror>) -> Endpoints {
    Endpoints { far: Some(Arc::<Mirror>::clone(mirror)), ..endpoints() }
}

async fn through<R: BlockingRead>(
    endpoints: &Endpoints,
    options: &QueryOptions,
    wanted: &R,
) -> Result<(QueryMeta, R::Found), EndpointError> {
    read(endpoints, options, wanted, std::future::pending(), &Drain::default()).await
}

#[tokio::test]
async fn what_a_client_finds_is_what_the_servers_have() {
    let there = endpoints_with(scene());
    let mirror = Arc::new(Mirror::new(scene()));
    let here = client(&mirror);
    let options = QueryOptions::default();
    let view = there.state.view_full();

    let nodes = Nodes::new(StringMap::new(), "", "");
    assert_eq!(through(&here, &options, &nodes).await.unwrap().1, nodes.find(&there, &view).unwrap().1);
    let on = |endpoints: &Endpoints| NodeServices::new(endpoints, "TWO", "Port == 0");
    let (_, found) = through(&here, &options, &on(&here)).await.unwrap();
    let (_, wanted) = on(&there).find(&there, &view).unwrap();
    assert_eq!(found.unwrap().services, wanted.unwrap().services);
    let service_names = Arc::new(ServiceNames::new(StringMap::new()));
    let (_, found) = through(&here, &options, &service_names).await.unwrap();
    assert_eq!(service_names.list(&found.view), service_names.list(&view));
    assert!(found.piece);
    for of in [ChecksOf::Node("one".into()), ChecksOf::Service("web".into()), ChecksOf::Status("any".into())]
    {
        let checks = Checks::new(of, StringMap::new(), "", "");
        assert_eq!(through(&here, &options, &checks).await.unwrap().1, checks.find(&there, &view).unwrap().1);
    }
    for (target, passing, wanted) in
        [(Target::Service, false, "a b"), (Target::Service, true, "a"), (Target::Connect, false, "p")]
    {
        let narrowing = Narrowing { passing, ..Narrowing::default() };
        let query = Arc::new(ServiceQuery::<HealthInstanceFields>::new("Web", target, true, narrowing));
        let (_, found) = through(&here, &options, &query).await.unwrap();
        assert_eq!(names(&query.instances(&found.view).unwrap()), wanted);
    }
}

#[tokio::test]
async fn index_and_age_are_the_servers_and_nothing_is_answered_at_once() {
    let mirror = Arc::new(Mirror::new(scene()));
    let here = client(&mirror);
    let nodes = Nodes::new(StringMap::new(), "", "");
    let options = QueryOptions { min_index: 5, ..QueryOptions::default() };
    assert!(read_now(&here, &options, &nodes).unwrap().is_none());
    let (meta, _) = through(&here, &options, &nodes).await.unwrap();
    assert_eq!((meta.index, meta.known_leader), (7, true));
    assert_eq!(mirror.asked().last().unwrap().1, options);
}

#[tokio::test]
async fn answers_that_are_too_old_are_asked_for_again() {
    let mut mirror = Mirror::new(scene());
    mirror.last_contact = Duration::from_secs(9);
    let mirror = Arc::new(mirror);
    let here = client(&mirror);
    let nodes = Nodes::new(StringMap::new(), "", "");
    let asked =
        |mirror: &Mirror| mirror.asked().iter().map(|(_, options)| options.consistency).collect::<Vec<_>>();
    let stale = QueryOptions { consistency: Consistency::Stale, ..QueryOptions::default() };
    through(&here, &stale, &nodes).await.unwrap();
    assert_eq!(asked(&mirror), [Consistency::Stale]);
    let bounded = QueryOptions { max_stale: Duration::from_secs(5), ..stale };
    let (meta, _) = through(&here, &bounded, &nodes).await.unwrap();
    assert_eq!(asked(&mirror), [Consistency::Stale, Consistency::Stale, Consistency::Default]);
    assert_eq!(meta.consistency, Consistency::Stale);
}

#[test]
fn what_servers_would_refuse_is_told_as_theirs() {
    let here = client(&Arc::new(Mirror::new(View::default())));
    assert_eq!(refusal(&here, "no"), EndpointError::Refused("rpc error making call: no".into()));
    assert_eq!(refusal(&endpoints(), "no"), EndpointError::Refused("no".into()));
}
