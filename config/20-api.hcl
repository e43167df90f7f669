# A service and its checks. It is this agent's own HTTP API, so that all of it passes on a machine where
# nothing else runs; put the address of your service in its place.

service {
  # Default of the id is the name.
  id   = "api-1"
  name = "api"
  port = 8500
  tags = ["primary", "v1"]

  meta {
    version = "1.0"
  }

  # Share of the traffic by health, for DNS SRV records. Defaults: 1 and 1.
  weights {
    passing = 10
    warning = 1
  }

  checks = [
    {
      # Passing on 2xx, warning on 429, else critical.
      id       = "api-http"
      name     = "Answers on port 8500"
      http     = "http://127.0.0.1:8500/v1/status/leader"
      method   = "GET"
      interval = "5s"
      timeout  = "1s"
    },
    {
      # Passing when a connection can be made.
      id       = "api-tcp"
      name     = "Port 8500 is open"
      tcp      = "127.0.0.1:8500"
      interval = "5s"
      timeout  = "1s"
    },
    {
      # Passing on exit 0, warning on 1, else critical. Needs enable_local_script_checks. The root file
      # system warns from 90 % on and is critical from 98 % on.
      id       = "api-disk"
      name     = "Disk space"
      args     = ["/bin/sh", "-c", "df -P / | awk 'NR == 2 { print $5 \" used\"; exit ($5 + 0 >= 98) ? 2 : ($5 + 0 >= 90) }'"]
      interval = "10s"
      timeout  = "5s"

      # Runs that must fail in a row before the check does. Default: 0, the first one counts.
      failures_before_critical = 2
    },
  ]
}
