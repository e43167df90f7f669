//! `/v1/catalog`: nodes and services over HTTP.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::http::header::{AGE, HeaderName, HeaderValue};

use super::answers::{Answers, Identity, identity};
use super::json_catalog::{self, NoTags};
use super::reply::ContentType;
use super::{Answer, Json, MetaStyle, Reply, Request, Route, WebError, blocking};
use crate::endpoints::EndpointError;
use crate::endpoints::catalog::{self, GatewayServices, NodeServices, NodeWithServices, Nodes, ServiceNames};
use crate::endpoints::decode::{Decoded, Json as Body, records};
use crate::endpoints::filter::{CatalogInstanceFields, Fields};
use crate::endpoints::query::QueryOptions;
use crate::endpoints::registration;
use crate::endpoints::service_query::{Narrowing, ServiceQuery, Snapshot, Target};
use crate::state::record::StringMap;
use crate::state::view::{Instance, fold};

/// Largest body of a registration.
pub(super) const BODY_LIMIT: usize = 1 << 20;

static X_CACHE: HeaderName = HeaderName::from_static("x-cache");

/// The routes of this family.
pub fn routes() -> Vec<Route> {
    vec![
        Route::new("/v1/catalog/register", &["PUT"], |request| Answer::later(register(request))),
        Route::new("/v1/catalog/deregister", &["PUT"], |request| Answer::later(deregister(request))),
        Route::new("/v1/catalog/datacenters", &["GET"], |request| Answer::later(datacenters(request))),
        Route::new("/v1/catalog/nodes", &["GET"], nodes),
        Route::new("/v1/catalog/services", &["GET"], services),
        Route::new("/v1/catalog/service/", &["GET"], |request| listed(request, Target::Service)),
        Route::new("/v1/catalog/connect/", &["GET"], |request| listed(request, Target::Connect)),
        Route::new("/v1/catalog/node/", &["GET"], node),
        Route::new("/v1/catalog/node-services/", &["GET"], node_services),
        Route::new("/v1/catalog/gateway-services/", &["GET"], gateway_services),
    ]
}

/// Reads a body as one of Go's structs; the error is worded as Consul does.
pub(super) async fn decoded<T>(request: &mut Request, decode: fn(Body) -> Decoded<T>) -> Result<T, WebError> {
    let body = request.body(BODY_LIMIT).await?;
    Body::parse(&body)
        .and_then(decode)
        .map_err(|error| WebError::bad_request(format!("Request decode failed: {error}")))
}

async fn register(mut request: Request) -> Result<Reply, WebError> {
    request.refuse_namespace()?;
    let wanted = decoded(&mut request, records::register).await?;
    registration::register(request.endpoints(), wanted).await?;
    Ok(Reply::bool(request.pretty(), true))
}

async fn deregister(mut request: Request) -> Result<Reply, WebError> {
    request.refuse_namespace()?;
    let wanted = decoded(&mut request, records::deregister).await?;
    registration::deregister(request.endpoints(), wanted).await?;
    Ok(Reply::bool(request.pretty(), true))
}

async fn datacenters(request: Request) -> Result<Reply, WebError> {
    let names = catalog::known_datacenters(request.endpoints()).await?;
    Ok(Reply::write_json(request.pretty(), |json| json.texts(&names)))
}

fn nodes(request: Request) -> Answer {
    let options = match request.options() {
        Ok(options) => options,
        Err(error) => return error.into(),
    };
    let read = Nodes::new(node_meta(&request), &near(&request), filter(&request));
    blocking::answer(request, options, MetaStyle::Catalog, read, |nodes, pretty| {
        let mut json = Json::with_capacity(pretty, 64 + nodes.len() * 320);
        json.array(|json| nodes.iter().for_each(|node| json_catalog::node(json, node)));
        Reply::json(json)
    })
}

fn services(request: Request) -> Answer {
    let options = match parameters(&request) {
        Ok(options) => options,
        Err(error) => return error.into(),
    };
    let meta = node_meta(&request);
    let mut question = Question::new("services", &options, "");
    question.add_map(&meta);
    let kept = Kept::of(&request, question);
    let read = Arc::new(ServiceNames::new(meta));
    let names = Arc::clone(&read);
    blocking::answer(request, options, MetaStyle::Catalog, read, move |found, pretty| {
        let identity = identity(found.view.services.values().next());
        kept.reply(&found, &identity, pretty, |json| {
            json.object(|json| {
                for (name, tags) in names.list(&found.view) {
                    json.key_text(name).texts(tags);
                }
            });
            Ok(())
        })
    })
}

fn listed(request: Request, target: Target) -> Answer {
    match named(&request, "Missing service name") {
        Ok((options, name)) => instances::<CatalogInstanceFields>(
            &name,
            Listing { target, with_checks: false, passing: false, write: json_catalog::catalog_instance },
            options,
            request,
        ),
        Err(error) => error.into(),
    }
}

/// How the instances of a service are listed.
#[derive(Clone, Copy)]
pub(super) struct Listing {
    /// What the name stands for.
    pub target: Target,
    /// The answer holds checks.
    pub with_checks: bool,
    /// Only instances all of whose checks pass.
    pub passing: bool,
    /// Writes one instance.
    pub write: fn(&mut Json, &Instance),
}

/// Answers with the instances of a service: the common part of the catalog and health families.
pub(super) fn instances<F>(name: &str, listing: Listing, options: QueryOptions, request: Request) -> Answer
where
    F: Fields<Record = Instance> + 'static,
{
    let Listing { target, with_checks, passing, write } = listing;
    let narrowing = Narrowing {
        tags: request.query().map_or_else(Vec::new, |query| query.all("tag").map(str::to_owned).collect()),
        node_meta: node_meta(&request),
        near: near(&request),
        passing,
        filter: filter(&request).to_owned(),
    };
    let kind = match (target, with_checks) {
        (Target::Service, false) => "catalog service",
        (Target::Connect, false) => "catalog connect",
        (Target::Ingress, false) => "catalog ingress",
        (Target::Service, true) => "health service",
        (Target::Connect, true) => "health connect",
        (Target::Ingress, true) => "health ingress",
    };
    let mut question = Question::new(kind, &options, name);
    narrowing.tags.iter().for_each(|tag| question.add(tag));
    question.add_map(&narrowing.node_meta);
    question.add(&narrowing.filter);
    let mut kept = Kept::of(&request, question);
    kept.detail = if passing { "passing" } else { "all" };
    let read = Arc::new(ServiceQuery::<F>::new(name, target, with_checks, narrowing));
    let query = Arc::clone(&read);
    let name = fold(name);
    // What is sorted by distance, or found by way of other names, is written anew each time.
    kept.lasting = target == Target::Service && !query.is_sorted();
    blocking::answer(request, options, MetaStyle::Catalog, read, move |found: Snapshot, pretty| {
        let identity = identity(found.view.services.get(&name));
        kept.reply(&found, &identity, pretty, |json| {
            let instances = query.instances(&found.view)?;
            json.reserve(instances.len() * if with_checks { 1024 } else { 640 });
            json.array(|json| instances.iter().for_each(|instance| write(json, instance)));
            Ok(())
        })
    })
}

fn node(request: Request) -> Answer {
    lives_on(request, |found, pretty| {
        Reply::write_json(pretty, |json| {
            let Some(NodeWithServices { node, services, .. }) = found else { return json.null() };
            json.object(|json| {
                json_catalog::node(json.key("Node"), &node);
                json.key("Services").object(|json| {
                    for service in &services {
                        json_catalog::service(json.key_text(&service.id), service, NoTags::Empty);
                    }
                });
            });
        })
    })
}

fn node_services(request: Request) -> Answer {
    lives_on(request, |found, pretty| {
        Reply::write_json(pretty, |json| {
            json.object(|json| {
                let Some(NodeWithServices { node, services, bare }) = found else {
                    json.key("Node").null();
                    return json.key("Services").null();
                };
                json_catalog::node(json.key("Node"), &node);
                if bare {
                    return json.key("Services").null();
                }
                json.key("Services").array(|json| {
                    for service in &services {
                        json_catalog::service(json, service, NoTags::Empty);
                    }
                });
            });
        })
    })
}

fn lives_on(request: Request, write: fn(Option<NodeWithServices>, bool) -> Reply) -> Answer {
    match named(&request, "Missing node name") {
        Ok((options, name)) => {
            let read = NodeServices::new(request.endpoints(), &name, filter(&request));
            blocking::answer(request, options, MetaStyle::Catalog, read, write)
        }
        Err(error) => error.into(),
    }
}

fn gateway_services(request: Request) -> Answer {
    match named(&request, "Missing gateway name") {
        Ok((options, _)) => {
            blocking::answer(request, options, MetaStyle::Catalog, GatewayServices, |(), pretty| {
                Reply::write_json(pretty, Json::null)
            })
        }
        Err(error) => error.into(),
    }
}

/// What most endpoints check before anything else: no namespaces, sound parameters.
pub(super) fn parameters(request: &Request) -> Result<QueryOptions, WebError> {
    request.refuse_namespace()?;
    request.options()
}

/// [`parameters`], and the name behind the pattern of the route.
pub(super) fn named(request: &Request, missing: &'static str) -> Result<(QueryOptions, String), WebError> {
    let options = parameters(request)?;
    match request.rest_text() {
        name if name.is_empty() => Err(WebError::BadRequest(Cow::Borrowed(missing))),
        name => Ok((options, name.into_owned())),
    }
}

/// `?node-meta=key:value`; of two with the same key the last one counts.
pub(super) fn node_meta(request: &Request) -> StringMap {
    request.node_meta().into_iter().collect()
}

/// `?near=`, with the own node's name for `_agent`.
pub(super) fn near(request: &Request) -> String {
    match request.arg("near").unwrap_or_default() {
        "_agent" => request.endpoints().settings.node_name.clone(),
        name => name.to_owned(),
    }
}

/// `?filter=`, empty for none.
pub(super) fn filter(request: &Request) -> &str {
    request.arg("filter").unwrap_or_default()
}

/// A question to keep the answer of, as text: parts that mean something, each with its length, so
/// that no two questions look the same.
struct Question(String);

impl Question {
    fn new(kind: &str, options: &QueryOptions, name: &str) -> Self {
        let mut question = Self(String::with_capacity(128));
        question.add(kind);
        question.add(options.datacenter.as_deref().unwrap_or_default());
        question.add(&fold(name));
        question
    }

    fn add(&mut self, part: &str) {
        // Writing into a string cannot fail.
        let _ = write!(self.0, "{}:{part}", part.len());
    }

    fn add_map(&mut self, map: &StringMap) {
        self.add(if map.is_empty() { "" } else { "meta" });
        for (key, value) in map {
            self.add(key);
            self.add(value);
        }
    }
}

/// Where the answer to a question may be found, and what `?cached` has to say about it.
struct Kept {
    answers: Option<Arc<Answers>>,
    question: String,
    /// What distinguishes this answer from others to the same question.
    detail: &'static str,
    /// The answer depends on nothing but its index.
    lasting: bool,
    /// The client asked for a cached answer.
    cached: bool,
}

impl Kept {
    fn of(request: &Request, question: Question) -> Self {
        let cached = request.has_arg("cached") && request.settings().http_use_cache;
        Self { answers: request.handle(), question: question.0, detail: "", lasting: true, cached }
    }

    fn reply(
        self,
        found: &Snapshot,
        identity: &Identity,
        pretty: bool,
        write: impl FnOnce(&mut Json) -> Result<(), EndpointError>,
    ) -> Reply {
        let document = || {
            let mut json = Json::new(pretty);
            write(&mut json).map(|()| json.finish())
        };
        let body = match &self.answers {
            Some(answers) if self.lasting && !found.piece => {
                let form = if pretty { "pretty" } else { "compact" };
                let question = format!("{} {} {form}", self.question, self.detail);
                answers.answer(question, found.index, identity, document)
            }
            _ => document(),
        };
        let reply = match body {
            Ok(body) => Reply::with_body(StatusCode::OK, ContentType::Json, body),
            // Reading has already refused what is wrong with the question.
            Err(error) => return WebError::from(error).into_reply(),
        };
        if !self.cached {
            return reply;
        }
        if self.answers.is_some_and(|answers| answers.was_asked(self.question)) {
            let reply = reply.with_header(X_CACHE.clone(), HeaderValue::from_static("HIT"));
            reply.with_header(AGE, HeaderValue::from_static("0"))
        } else {
            reply.with_header(X_CACHE.clone(), HeaderValue::from_static("MISS"))
        }
    }
}
