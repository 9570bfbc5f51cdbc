# An image of one static binary and the certificate authorities that it trusts, for any architecture
# that Rust and Debian support:
#   docker build -t tailwater:0.2.0 .
#   docker buildx build --platform linux/amd64,linux/arm64 -t tailwater:0.2.0 .

FROM rust:1-bookworm AS build
ARG TARGETARCH
# Shown by tailwater_build_info.
ARG REVISION=unknown
WORKDIR /src
# Downloads and the target folder are in cache mounts: a change compiles only the crates it touches, and
# no layer holds the target folder. With --target, crt-static does not apply to build scripts and
# procedural macros, which must be dynamic. jemalloc refuses pages larger than those that it was built for, and
# kernels of arm64 have up to 64 KiB.
RUN --mount=type=bind,target=. \
    --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/target,id=tailwater-target-$TARGETARCH,sharing=locked \
    host=$(rustc -vV | sed -n 's/^host: //p') \
    && case $host in aarch64-*) export JEMALLOC_SYS_WITH_LG_PAGE=16 ;; esac \
    && TAILWATER_REVISION=$REVISION CARGO_TARGET_DIR=/target RUSTFLAGS='-C target-feature=+crt-static' \
       cargo build --locked --profile dist --package tailwater --features full --target "$host" \
    && install -D "/target/$host/dist/tailwater" /image/tailwater \
    && install -D -m 644 /etc/ssl/certs/ca-certificates.crt -t /image/etc/ssl/certs

FROM scratch
ARG VERSION=0.2.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Tailwater" \
      org.opencontainers.image.description="Server-Sent Events that resume on any node" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
COPY --from=build /image /
# A numeric user, so that Kubernetes can verify that it is not root.
USER 65532:65532
EXPOSE 8080 8081 9090
# Shutdown takes --drain-delay, --drain-window and --shutdown-grace: 40 s. The stop timeout must be longer.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=4s --start-period=30s --start-interval=1s --retries=3 \
    CMD ["/tailwater", "check", "--url", "http://127.0.0.1:9090"]
# `gateway` and `ingest` listen on all addresses. `serve` listens on loopback addresses only, which nothing outside
# the container reaches, so it needs --listen.
ENV TAILWATER_ADMIN_LISTEN=[::]:9090
ENTRYPOINT ["/tailwater"]
CMD ["serve", "--listen", "[::]:8080"]
