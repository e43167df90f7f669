//! temporary
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
use std::time::Duration;
use tribune::agent::options::AgentOptions;
fn main() -> std::process::ExitCode {
    let args: Vec<String> = std::env::args().collect();
    tracing_subscriber::fmt().with_max_level(tracing::Level::INFO).init();
    let dev = args.iter().any(|a| a == "-dev");
    let mut cfg = serde_json::Map::new();
    for w in args.windows(2) {
        if w[0] == "-config-file" || w[0]=="-config-dir" {
            let p = std::path::Path::new(&w[1]);
            let files: Vec<_> = if p.is_dir() { std::fs::read_dir(p).unwrap().map(|e| e.unwrap().path()).collect() } else { vec![p.to_owned()] };
            for f in files {
            let v: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(f).unwrap()).unwrap();
            cfg.extend(v.as_object().unwrap().clone());
            }
        }
    }
    let g = |k: &str| cfg.get(k).cloned();
    let port = |k: &str, d: u16| cfg.get("ports").and_then(|p| p.get(k)).and_then(|v| v.as_i64()).map_or(d, |v| if v < 0 {0} else {v as u16});
    let client = g("client_addr").and_then(|v| v.as_str().map(str::to_owned)).unwrap_or("127.0.0.1".into());
    let mut web = tribune::web::WebSettings::default();
    web.listen = vec![format!("{client}:{}", port("http", 8500)).parse().unwrap()];
    web.always_pretty = dev;
    web.ui = g("ui").and_then(|v| v.as_bool()).unwrap_or(dev);
    let lim = |k: &str, d: u64| cfg.get("limits").and_then(|p| p.get(k)).and_then(|v| v.as_u64()).unwrap_or(d);
    web.max_connections_per_client = lim("http_max_conns_per_client", 200) as usize;
    if let Some(h) = cfg.get("http_config") {
        if let Some(o) = h.get("response_headers") { web.response_headers = o.as_object().unwrap().iter().map(|(k,v)| (k.clone(), v.as_str().unwrap().to_owned())).collect(); }
        if let Some(o) = h.get("block_endpoints") { web.block_endpoints = o.as_array().unwrap().iter().map(|v| v.as_str().unwrap().to_owned()).collect(); }
        if let Some(o) = h.get("allow_write_http_from") { web.allow_write_http_from = o.as_array().unwrap().iter().map(|v| tribune::web::settings::Network::parse(v.as_str().unwrap()).unwrap()).collect(); }
    }
    web.translate_wan_addrs = g("translate_wan_addrs").and_then(|v| v.as_bool()).unwrap_or(false);
    web.disable_unprintable_filter = g("disable_http_unprintable_char_filter").and_then(|v| v.as_bool()).unwrap_or(false);
    if let Ok(w) = std::env::var("WORKERS") { web.workers = w.parse().unwrap(); }
    let o = AgentOptions {
        dev,
        data_dir: g("data_dir").and_then(|v| v.as_str().map(Into::into)),
        node_id: g("node_id").and_then(|v| v.as_str().map(Into::into)),
        node_name: g("node_name").and_then(|v| v.as_str().map(Into::into)).unwrap_or("node1".into()),
        datacenter: "dc1".into(), server: true, bootstrap: true,
        advertise_lan: "127.0.0.1".into(), advertise_wan: "127.0.0.1".into(),
        ports: tribune::endpoints::agent::AgentPorts { http: port("http", 8500), https: 0, dns: port("dns", 8600), grpc: 0, serf_lan: port("serf_lan", 8301), serf_wan: port("serf_wan", 8302), server: port("server", 8300) },
        client_addresses: vec![client], node_meta: Default::default(), web,
        kv_max_value_size: lim("kv_max_value_size", 524288) as usize, txn_max_req_len: lim("txn_max_req_len", 524288) as usize,
        session_ttl_min: Duration::from_nanos(g("session_ttl_min").and_then(|v| tribune::endpoints::decode::duration::parse(v.as_str().unwrap()).ok()).unwrap_or(10_000_000_000) as u64),
        default_query_time: Duration::from_secs(300), max_query_time: Duration::from_secs(600),
        disable_coordinates: g("disable_coordinates").and_then(|v| v.as_bool()).unwrap_or(false),
        rpc_hold_timeout: Duration::from_secs(7), raft_multiplier: 1, raft_snapshot_threshold: 16384, raft_trailing_logs: 10240,
        leave_on_terminate: false, skip_leave_on_interrupt: true, pid_file: None, prometheus_retention: Duration::ZERO, debug_config: Default::default(),
    };
    tribune::agent::run(o, Box::new(|| Ok(())))
}
