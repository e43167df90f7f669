//! The endpoints of Consul's API that this version does not have yet: their paths and methods are
//! known, so wrong methods and `OPTIONS` are answered as ever, and everything else says honestly
//! what is missing.

use actix_web::http::header::{ALLOW as ALLOW_HEADER, HeaderValue};
use actix_web::http::{Method, StatusCode};

use super::route::Handler;
use super::{Answer, Reply, Request, Route};

/// Path, methods in the order of `Allow`, and who says what is missing.
const LATER: &[(&str, &[&str], Handler)] = &[
    ("/v1/acl/bootstrap", &["PUT"], acl),
    ("/v1/acl/login", &["POST"], acl),
    ("/v1/acl/logout", &["POST"], acl),
    ("/v1/acl/replication", &["GET"], acl),
    ("/v1/acl/policies", &["GET"], acl),
    ("/v1/acl/policy", &["PUT"], acl),
    ("/v1/acl/policy/", &["GET", "PUT", "DELETE"], acl),
    ("/v1/acl/policy/name/", &["GET"], acl),
    ("/v1/acl/roles", &["GET"], acl),
    ("/v1/acl/role", &["PUT"], acl),
    ("/v1/acl/role/", &["GET", "PUT", "DELETE"], acl),
    ("/v1/acl/role/name/", &["GET"], acl),
    ("/v1/acl/binding-rules", &["GET"], acl),
    ("/v1/acl/binding-rule", &["PUT"], acl),
    ("/v1/acl/binding-rule/", &["GET", "PUT", "DELETE"], acl),
    ("/v1/acl/auth-methods", &["GET"], acl),
    ("/v1/acl/auth-method", &["PUT"], acl),
    ("/v1/acl/auth-method/", &["GET", "PUT", "DELETE"], acl),
    ("/v1/acl/rules/translate", &["POST"], acl),
    ("/v1/acl/rules/translate/", &["GET"], acl),
    ("/v1/acl/tokens", &["GET"], acl),
    ("/v1/acl/token", &["PUT"], acl),
    ("/v1/acl/token/", &["GET", "PUT", "DELETE"], acl),
    ("/v1/acl/token/self", &["GET"], acl),
    ("/v1/acl/create", &["PUT"], acl),
    ("/v1/acl/update", &["PUT"], acl),
    ("/v1/acl/destroy/", &["PUT"], acl),
    ("/v1/acl/info/", &["GET"], acl),
    ("/v1/acl/clone/", &["PUT"], acl),
    ("/v1/acl/list", &["GET"], acl),
    ("/v1/config/", &["GET", "DELETE"], config_entries),
    ("/v1/config", &["PUT"], config_entries),
    ("/v1/connect/ca/configuration", &["GET", "PUT"], connect),
    ("/v1/connect/ca/roots", &["GET"], connect),
    ("/v1/connect/intentions", &["GET", "POST"], connect),
    ("/v1/connect/intentions/match", &["GET"], connect),
    ("/v1/connect/intentions/check", &["GET"], connect),
    ("/v1/connect/intentions/", &["GET", "PUT", "DELETE"], connect),
    ("/v1/discovery-chain/", &["GET", "POST"], connect),
    ("/v1/internal/federation-states", &["GET"], federation_states),
    ("/v1/internal/federation-states/mesh-gateways", &["GET"], federation_states),
    ("/v1/internal/federation-state/", &["GET"], federation_states),
    ("/v1/internal/ui/nodes", &["GET"], ui_data),
    ("/v1/internal/ui/node/", &["GET"], ui_data),
    ("/v1/internal/ui/services", &["GET"], ui_data),
    ("/v1/internal/ui/gateway-services-nodes/", &["GET"], ui_data),
    ("/v1/internal/acl/authorize", &["POST"], acl),
];

/// The routes of what is still to come.
pub fn routes() -> Vec<Route> {
    let mut routes: Vec<Route> =
        LATER.iter().map(|(path, methods, handler)| Route::new(path, methods, *handler)).collect();
    routes.push(Route::new("/v1/query", &["GET", "POST"], queries));
    routes.push(Route::new("/v1/query/", &[], |request| query(&request)));
    routes.push(Route::new("/debug/pprof/", &[], |request| profile(&request)));
    routes
}

fn acl(_: Request) -> Answer {
    not_built("access control lists")
}

fn config_entries(_: Request) -> Answer {
    not_built("configuration entries")
}

fn connect(_: Request) -> Answer {
    not_built("Connect")
}

fn federation_states(_: Request) -> Answer {
    not_built("federation states")
}

fn ui_data(_: Request) -> Answer {
    not_built("the data of Consul's own UI")
}

fn queries(_: Request) -> Answer {
    not_built(QUERIES)
}

const QUERIES: &str = "prepared queries";

/// Consul's handler of single queries answers `OPTIONS` with an empty object.
fn query(request: &Request) -> Answer {
    const ALLOW: HeaderValue = HeaderValue::from_static("OPTIONS,GET,PUT,DELETE");
    let method = request.method();
    if *method == Method::OPTIONS {
        let reply = Reply::write_json(request.pretty(), |json| json.object(|_| ()));
        reply.with_header(ALLOW_HEADER, ALLOW).into()
    } else if [Method::GET, Method::PUT, Method::DELETE].contains(method) {
        not_built(QUERIES)
    } else {
        let text = format!("method {method} not allowed");
        Reply::text(StatusCode::METHOD_NOT_ALLOWED, text).with_header(ALLOW_HEADER, ALLOW).into()
    }
}

fn not_built(what: &str) -> Answer {
    let text = format!("{what}: not implemented by this version of tribune");
    Reply::text(StatusCode::NOT_IMPLEMENTED, text).into()
}

/// Profiles are for those who switched debugging on; there are none to give yet.
fn profile(request: &Request) -> Answer {
    if request.settings().enable_debug {
        not_built("profiles over HTTP")
    } else {
        // Consul asks who may see them, and without access control nobody can be asked.
        Reply::text(StatusCode::UNAUTHORIZED, "ACL support disabled").into()
    }
}
