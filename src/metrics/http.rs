//! How long the endpoints of the HTTP API take, by method and route.

use std::sync::OnceLock;
use std::time::Duration;

use super::Sample;
use super::series::Series;

/// A route to be timed: its pattern, and the methods it is made for.
pub type HttpRoute = (&'static str, &'static [&'static str]);

/// The methods that are told apart. Others are refused by every route and not timed.
const METHODS: [&str; 7] = ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"];

#[derive(Debug)]
struct Timed {
    pattern: &'static str,
    /// By method. Those the route is made for are there from the start, others from their first request.
    methods: [OnceLock<Box<Series>>; METHODS.len()],
}

/// The timers of all routes.
#[derive(Debug)]
pub struct HttpTimers {
    routes: Box<[Timed]>,
}

impl HttpTimers {
    pub(super) fn new(routes: &[HttpRoute]) -> Self {
        let timed = |(pattern, made_for): &HttpRoute| {
            let methods = METHODS.map(|method| {
                let cell = OnceLock::new();
                if made_for.contains(&method) {
                    cell.get_or_init(Box::<Series>::default);
                }
                cell
            });
            Timed { pattern, methods }
        };
        Self { routes: routes.iter().map(timed).collect() }
    }

    /// An answer of the route at this place of the list took so long.
    pub fn record(&self, route: usize, method: &str, elapsed: Duration) {
        let Some(at) = METHODS.iter().position(|known| *known == method) else { return };
        if let Some(cell) = self.routes.get(route).and_then(|timed| timed.methods.get(at)) {
            cell.get_or_init(Box::default).record(elapsed);
        }
    }

    fn series(&self) -> impl Iterator<Item = (&'static str, &'static str, &Series)> {
        self.routes.iter().flat_map(|timed| {
            METHODS
                .iter()
                .zip(&timed.methods)
                .filter_map(|(method, cell)| Some((timed.pattern, *method, &**cell.get()?)))
        })
    }

    pub(super) fn roll(&self) {
        self.series().for_each(|(_, _, series)| series.roll());
    }

    /// Each under the name of Consul 1.8, and under the one with labels that came after it.
    pub(super) fn show(&self, samples: &mut Vec<Sample>) {
        for (pattern, method, series) in self.series() {
            let path = pattern.strip_prefix('/').unwrap_or(pattern);
            let parts: Vec<&str> =
                path.split('/').map(|part| if part.is_empty() { "_" } else { part }).collect();
            let sample = series.show(format!("http.{method}.{}", parts.join(".")), Vec::new());
            let labels = vec![("method", method.to_owned()), ("path", path.replace('/', "_"))];
            samples.push(Sample { name: "api.http".to_owned(), labels, ..sample.clone() });
            samples.push(sample);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_have_consuls_names() {
        let timers = HttpTimers::new(&[("/v1/kv/", &["GET", "PUT"]), ("/v1/status/leader", &["GET"])]);
        timers.record(0, "POST", Duration::from_millis(1));
        timers.record(0, "BREW", Duration::from_millis(1));
        timers.record(1, "GET", Duration::from_millis(1));
        timers.record(7, "GET", Duration::from_millis(1));
        let mut samples = Vec::new();
        timers.show(&mut samples);
        let mut names: Vec<(&str, u64)> = samples
            .iter()
            .filter(|sample| sample.labels.is_empty())
            .map(|sample| (&*sample.name, sample.total.count))
            .collect();
        names.sort_unstable();
        assert_eq!(
            names,
            [
                ("http.GET.v1.kv._", 0),
                ("http.GET.v1.status.leader", 1),
                ("http.POST.v1.kv._", 1),
                ("http.PUT.v1.kv._", 0)
            ]
        );
        let newer: Vec<_> = samples
            .iter()
            .filter(|sample| sample.name == "api.http")
            .map(|sample| sample.labels[1].1.as_str())
            .collect();
        assert_eq!(newer, ["v1_kv_", "v1_kv_", "v1_kv_", "v1_status_leader"]);
    }
}
