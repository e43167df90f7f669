# A server that works alone; the files beside it define two services. For three servers, set
# bootstrap_expect to 3 on each and name the others in retry_join. Every key shown here has Consul's name
# and meaning; those set to their default say so.

# --- what this agent is ----------------------------------------------------------------------------

# Keeps state and takes part in Raft. Default: false, a client agent.
server = true

# Elects a leader once so many servers are there. Default: 0, not at all.
bootstrap_expect = 1

# Name of the datacenter, in lower case. This is the default.
datacenter = "dc1"

# Name of this node, unique in the cluster. Default: the host's name.
node_name = "server-1"

# Free metadata of this node, at most 64 pairs.
node_meta {
  rack = "a1"
}

# Where Raft's log, the state and the node's id are kept. Required. Relative to the working directory.
data_dir = "./tribune-data"

# --- addresses and ports ---------------------------------------------------------------------------

# For gossip and server RPC. Default: 0.0.0.0. On one machine of a network, use a template such as
# "{{ GetPrivateIP }}" or "{{ GetInterfaceIP \"eth0\" }}".
bind_addr = "127.0.0.1"

# What other agents are told. Default: bind_addr, or the only private IPv4 address with 0.0.0.0.
advertise_addr = "127.0.0.1"

# For HTTP and DNS; several addresses are separated by blanks. This is the default.
client_addr = "127.0.0.1"

# -1 switches an interface off. These are the defaults.
ports {
  http     = 8500
  https    = -1
  grpc     = -1
  dns      = 8600
  dns_tls  = -1
  server   = 8300
  serf_lan = 8301
  serf_wan = 8302
}

# --- finding others --------------------------------------------------------------------------------

# Tried until one of them answers. Default: none.
retry_join = []

# Pause between two attempts. This is the default.
retry_interval = "30s"

# Gossip key, 16, 24 or 32 bytes in base64, from the command `keygen`. Default: none, gossip is readable.
# encrypt = "…"

# --- DNS -------------------------------------------------------------------------------------------

# Names end in this. This is the default.
domain = "consul."

# Who is asked for other names. Default: none, such questions are refused.
# recursors = ["8.8.8.8"]

dns_config {
  # TTL of answers about nodes. Default: 0s.
  node_ttl = "10s"

  # TTL of answers about services, by name; "*" stands for any ending.
  service_ttl {
    "*" = "5s"
  }

  # Leave instances out whose checks warn. This is the default.
  only_passing = false

  # Answers of a plain UDP reply, at most 8. This is the default.
  udp_answer_limit = 3

  # Serve DNS over HTTPS too, as /dns-query of the HTTP API. This is the default.
  enable_doh = false
}

# --- checks ----------------------------------------------------------------------------------------

# Scripts named in these files may run; scripts sent over HTTP may not (enable_script_checks).
# Default: false.
enable_local_script_checks = true

# Output that changes while the state does not reaches the catalog this late. This is the default.
check_update_interval = "5m"

# --- limits and timing -----------------------------------------------------------------------------

performance {
  # Factor of Raft's timeouts, 1 to 10: small finds a dead leader sooner, large tolerates slow machines.
  # Default: 5.
  raft_multiplier = 1
}

limits {
  # Bytes of a key's value. This is the default.
  kv_max_value_size = 524288

  # Connections per client address. This is the default.
  http_max_conns_per_client = 200
}

# --- logging ---------------------------------------------------------------------------------------

# trace, debug, info, warn or err. Follows a reload. This is the default.
log_level = "INFO"

# One JSON object a line instead of text. This is the default.
log_json = false

# A copy of the log in files that begin like this. Default: stdout only.
# log_file = "/var/log/tribune/"
