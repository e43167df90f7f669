# A service with three kinds of checks that need something to run against: they turn critical until a
# web server listens on port 8080.

service {
  # Default of the id is the name.
  id   = "web-1"
  name = "web"
  port = 8080
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
      id       = "web-http"
      name     = "HTTP on port 8080"
      http     = "http://127.0.0.1:8080/health"
      method   = "GET"
      interval = "10s"
      timeout  = "1s"
    },
    {
      # Passing when a connection can be made.
      id       = "web-tcp"
      name     = "TCP on port 8080"
      tcp      = "127.0.0.1:8080"
      interval = "10s"
      timeout  = "1s"
    },
    {
      # Passing on exit 0, warning on 1, else critical. Needs enable_local_script_checks.
      id       = "web-disk"
      name     = "Disk space"
      args     = ["/bin/sh", "-c", "df -P / | awk 'NR == 2 { exit ($5 + 0 > 95) ? 2 : 0 }'"]
      interval = "30s"
      timeout  = "5s"
    },
  ]
}
