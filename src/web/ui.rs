//! `/ui/`: one page that shows nodes, services and keys by calling the HTTP API; nothing else is
//! loaded, from here or from elsewhere.

use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderValue};

use super::reply::ContentType;
use super::{Answer, Reply, Request, Route};

const PAGE: &str = include_str!("ui.html");
const ROBOTS: &str = "# nothing here is for crawlers\nUser-agent: *\nDisallow: /\n";

/// The routes of this family; they answer 404 on agents without a UI.
pub fn routes() -> Vec<Route> {
    vec![Route::bare("/ui/", page), Route::bare("/robots.txt", robots)]
}

/// Every path below `/ui/` is the page: what it shows is in the part of the address that stays in
/// the browser, and links from other UIs' paths still lead somewhere.
#[expect(clippy::needless_pass_by_value, reason = "the shape of a handler")]
fn page(request: Request) -> Answer {
    if !request.settings().ui {
        return Reply::not_found().into();
    }
    if request.rest() == b"robots.txt" {
        return robots_text();
    }
    let policy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'";
    Reply::with_body(StatusCode::OK, ContentType::Html, PAGE)
        .with_header(CACHE_CONTROL, HeaderValue::from_static("no-cache"))
        .with_header(CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy))
        .into()
}

#[expect(clippy::needless_pass_by_value, reason = "the shape of a handler")]
fn robots(request: Request) -> Answer {
    if request.settings().ui { robots_text() } else { Reply::not_found().into() }
}

fn robots_text() -> Answer {
    Reply::with_body(StatusCode::OK, ContentType::Text, ROBOTS).into()
}
