# Tribune as an image, used as one uses Consul's: the arguments are a command of the binary, data lives in
# /consul/data and configuration in /consul/config. Apache, curl and dig are in it to try things with; Apache
# is not started (`httpd` does that).
#
#   docker build --tag tribune .
#   docker run --rm tribune agent -dev -client 0.0.0.0

FROM rust:1-bookworm AS build
RUN apt-get update \
    && apt-get install --yes --no-install-recommends clang libclang-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /tribune
COPY . .
# The cache outlives the layer; the binary must not stay in it.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/tribune/target \
    cargo build --release --locked --bin tribune \
    && cp target/release/tribune /usr/local/bin/tribune

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install --yes --no-install-recommends apache2 ca-certificates curl dnsutils jq \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --user-group --no-create-home consul \
    && mkdir -p /consul/data /consul/config \
    && chown consul:consul /consul/data /consul/config
COPY --from=build /usr/local/bin/tribune /usr/local/bin/tribune
COPY docker/entrypoint /usr/local/bin/docker-entrypoint
COPY docker/httpd /usr/local/bin/httpd
# Those who know the original type its name.
RUN ln -s tribune /usr/local/bin/consul
VOLUME /consul/data
# Servers among themselves, gossip in the datacenter and beyond, HTTP, DNS; and Apache.
EXPOSE 8300 8301 8301/udp 8302 8302/udp 8500 8600 8600/udp 80
ENTRYPOINT ["docker-entrypoint"]
CMD ["agent", "-dev", "-client", "0.0.0.0"]
