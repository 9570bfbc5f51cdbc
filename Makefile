# The commands of developers and CI. `make` alone lists them.

OUT ?= out
PORT ?= 8080
PROMTOOL ?= $(or $(shell command -v promtool),$(CURDIR)/target/prometheus/usr/bin/promtool)

measure = target/release/loadtest $(1) --tailwater target/dist/tailwater --out $(OUT)/$(1)
beside = $(if $(BEFORE),--before $(abspath $(BEFORE)))

.PHONY: presence kafka relay scale sources access-long siege siege-quick release-dry lb skew servers vanish help run demo test setup lint unit doc chart images dashboards simulate failover drain chaos chaos-quick compose-chaos compose-roll compose-check k8s-chaos storm dist bench bench-micro bench-100k styles wire intake mixed soak deny fuzz sbom clean js js-browsers interop interop-quick openapi

help: ## List these targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: ## Serve from the embedded log, at http://localhost:8080/
	cargo run --release -- serve --listen 127.0.0.1:$(PORT)

demo: ## Publish the statistics of this machine to `make run`, once a second
	examples/machine.sh | cargo run --release --quiet -- publish --input ndjson --url http://127.0.0.1:$(PORT)

test: setup lint unit doc openapi js chart interop-quick chaos-quick siege-quick skew ## Run everything that CI checks; installs what the tests need

setup: ## Install the servers and the browsers that the tests use (Debian, Ubuntu)
	scripts/setup
	scripts/setup-promtool
	scripts/setup-deny

lint: ## Check formatting, lints, dependencies, words, links; rules, dashboards, metrics and runbook
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --all-features -- -D warnings
	cd deploy/prometheus && $(PROMTOOL) check rules tailwater.rules.yml
	cd deploy/prometheus/tests && $(PROMTOOL) test rules *.test.yml
	scripts/dashboards --check
	scripts/check-dashboards
	scripts/check-imports crates/* fuzz loadtest
	scripts/deny
	scripts/check-words --self-test
	scripts/check-words
	scripts/pin-images --self-test
	scripts/check-links --self-test
	scripts/check-links
	scripts/check-commands --self-test
	scripts/check-commands

unit: ## Run unit, property, conformance, HTTP, process and browser tests
	cargo build --workspace --bins --all-features
	scripts/tests

dashboards: ## Write the Grafana dashboards from deploy/grafana/src, and the chart's copies of deploy
	scripts/dashboards
	cp deploy/grafana/dashboards/*.json helm/tailwater/files/dashboards/
	cp deploy/prometheus/tailwater.rules.yml helm/tailwater/files/

doc: ## Run the examples in the documentation
	cargo test --workspace --doc --quiet

openapi: ## Check docs/openapi.yaml against the code and, with schemathesis, against running nodes
	scripts/setup-openapi
	cargo build --package tailwater
	scripts/check-openapi

chart: ## Test what the Helm chart renders and refuses (skipped without helm); HELM=... names helm
	scripts/test-chart

images: ## Pin the base images of Dockerfile, compose and chart by digest (needs docker and a registry)
	scripts/pin-images

simulate: ## Run 10,000 schedules of the simulated cluster; SEED=7 SCHEDULES=1 TRACE=out/trace repeats one
	SEED=$(or $(SEED),0) SCHEDULES=$(or $(SCHEDULES),10000) $(if $(TRACE),TRACE=$(abspath $(TRACE))) \
		cargo test --release --package gateway --test simulation harms -- --nocapture

scale: ## Count what 1,000 gateways and 100,000 topics cost the servers, and compare it with docs/scale.md
	cargo test --release --package event-log --features conformance --test scale -- --ignored --nocapture

failover: ## Kill gateways under 2,000 clients and 2,000 events a second; report in out/failover
	cargo build --release -p tailwater -p loadtest
	target/release/loadtest failover --out $(OUT)/failover

drain: ## Stop a gateway that has 5,000 clients; report in out/drain
	cargo build --release -p tailwater -p loadtest
	target/release/loadtest drain --out $(OUT)/drain

chaos: ## Cause every fault of the lab, on Redis and on Valkey 9; report in out/chaos
	scripts/setup chaos
	scripts/setup-valkey
	cargo build --release -p tailwater -p loadtest
	target/release/loadtest chaos --server redis,valkey --out $(OUT)/chaos

chaos-quick: ## Cause the quick faults, on Redis; report in out/chaos-quick
	cargo build --workspace --bins
	target/debug/loadtest chaos --quick --out $(OUT)/chaos-quick

kafka: ## Copy a topic of a real Kafka while relay and broker are killed, trimmed and rewritten (Java 17, Maven)
	scripts/setup-kafka
	cargo test -p sources --features kafka --lib -- kafka --include-ignored --test-threads=2

servers: ## Try seven servers of the Redis family with every eviction policy, and print what a user sees
	scripts/setup-servers
	cargo test -p tailwater --test e2e servers:: -- --ignored --nocapture

skew: ## Replace every node by the release before and back, in both orders, under load; report in out/skew
	OUT=$(OUT) scripts/skew

siege: dist ## Attack a node in fifteen ways, on both logs; report in out/siege (Node.js 20)
	interop/setup npm
	$(call measure,siege)

vanish: dist ## Cut the network of subscribers over each transport (root, iproute2); report in out/vanish
	$(call measure,vanish)

siege-quick: ## Attack a node in four ways, for a few seconds; report in out/siege-quick
	cargo build --workspace --bins
	target/debug/loadtest siege --quick --out $(OUT)/siege-quick

access-long: ## Rotate the keys of tokens under load while their server is away; five minutes
	cargo test -p tailwater --test e2e access::rotation -- --ignored --nocapture

interop: ## Break the cluster under real clients of other projects; writes docs/interop.md, report in out/interop
	interop/pages --check
	interop/setup
	cargo build --release -p tailwater -p loadtest
	target/release/loadtest interop --page docs/interop.md --out $(OUT)/interop
	cargo test -p tailwater --test e2e relay::sdk -- --ignored

interop-quick: ## Kill gateways and end a topic under some of these clients; report in out/interop-quick
	interop/pages --check
	cargo build --workspace --bins
	scripts/with-node 20 sh -c 'interop/setup --quick && target/debug/loadtest interop --quick --out $(OUT)/interop-quick'

lb: ## Run every load balancer of Debian and PyPI; writes docs/load-balancers.md, report in out/lb; 8 minutes
	interop/pages --check
	scripts/setup-lb
	cargo build --release -p tailwater -p loadtest
	target/release/loadtest lb --page docs/load-balancers.md --out $(OUT)/lb

compose-chaos: ## Break the cluster of docker-compose.yml under 1,000 clients; report in out/compose-chaos
	cargo build --release -p loadtest
	docker compose up --build --wait
	OUT=$(OUT)/compose-chaos scripts/compose-chaos

compose-roll: ## Replace the nodes of docker-compose.yml one after the other, after a change of flags or of the image
	scripts/compose-roll

compose-check: ## Start docker-compose.yml, and again, and after compose-roll: `up` recreates nothing that runs
	scripts/compose-check

k8s-chaos: ## Break a release on Kubernetes under 1,000 clients; URL=, INGEST_URL=; report in out/k8s-chaos
	cargo build --release -p loadtest
	scripts/k8s-chaos --url $(URL) --ingest-url $(INGEST_URL) --out $(OUT)/k8s-chaos

copies: ## Copy 100,000 records each of an event stream, Postgres, NATS, Kafka and MQTT, while everything is killed in turn
	scripts/setup
	scripts/setup-kafka
	cargo build --release -p tailwater -p loadtest --features tailwater/full,loadtest/nats
	target/release/loadtest copies --source gateway,postgres,nats,kafka,mosquitto --out $(OUT)/copies

sources: ## Measure what an event costs a primary and its replica, by gateways and the server that they read from
	cargo build --release -p tailwater -p loadtest
	target/release/loadtest sources --out $(OUT)/sources

presence: ## Kill a gateway under 4,000 members and compare every list; report in out/presence
	cargo build --release -p tailwater -p loadtest
	target/release/loadtest presence --out $(OUT)/presence

storm: ## Reconnect 20,000 subscribers within 2 s, 100 events behind; report in out/storm
	cargo build --release -p tailwater -p loadtest
	target/release/loadtest storm --out $(OUT)/storm

dist: ## Build target/dist/tailwater as in images (with jemalloc), and the program that measures it
	cargo build --profile dist -p tailwater --features full
	cargo build --release -p loadtest

bench: dist ## Measure costs beside a floor, nginx with nchan and BEFORE=another build; report in out/bench
	scripts/setup bench
	$(call measure,bench) $(beside)

styles: dist ## Compare polling, long-polling, SSE and WebSocket; report in out/styles
	$(call measure,styles)

wire: dist ## Compare HTTP/1.1 and HTTP/2, clear and TLS, one core and two, BEFORE=another build; report in out/wire
	$(call measure,wire) $(beside)

intake: dist ## Measure how much one Redis takes in, through one ingest and two; report in out/intake
	$(call measure,intake)

relay: dist ## Measure what a token costs the relay beside nginx, and its delay; then 1,000 answers; reports in out/relay*
	scripts/setup bench
	$(call measure,relay)
	$(call measure,relay)-1000 --ways relay --answers 1000 --rounds 1 --rate 20
	$(call measure,relay)-1000-full --ways relay --answers 1000 --rounds 1

mixed: dist ## Run fan-out, topics, resumes, slow readers and churn together; report in out/mixed
	$(call measure,mixed)

soak: dist ## Replace readers for half an hour and measure growth; report in out/soak
	$(call measure,soak)

bench-100k: dist ## Hold 100,000 connections in a network namespace (root, iproute2); report in out/hold
	$(call measure,hold)

bench-micro: ## Measure time and allocations of a cursor's step and of a delivery, without sockets
	cargo bench -p event-log -p gateway --bench cursor --bench fanout

deny: ## Check licences, sources, direction of dependencies and, if GitHub is reached, advisories
	scripts/setup-deny
	scripts/deny

fuzz: ## Fuzz every parser for FUZZ_SECONDS (60), FUZZ_JOBS (2) at a time; findings in out/fuzz (nightly)
	FUZZ_SECONDS=$(FUZZ_SECONDS) FUZZ_JOBS=$(FUZZ_JOBS) OUT=$(OUT) scripts/fuzz $(TARGETS)

sbom: ## Write the bill of materials of tailwater as CycloneDX; in out/tailwater.cdx.json
	OUT=$(OUT) scripts/sbom

release-dry: ## Make every file of a release in out/release, and serve an event from each binary
	OUT=$(OUT) scripts/release-dry

clean: ## Remove builds and reports
	cargo clean
	rm -rf $(OUT)

js: ## Check the JavaScript client: types, lints, units, real nodes, size, package (Node.js 20 or later)
	cargo build -p tailwater
	cd clients/js && ../../scripts/with-node 20 sh -c 'npm ci --ignore-scripts --no-audit --no-fund --silent && npm run --silent check'

js-browsers: ## Run the JavaScript client in Chromium, Firefox, Deno and Bun
	cargo build -p tailwater
	cd clients/js && npm ci --ignore-scripts --no-audit --no-fund --silent && npm run --silent build && npm run --silent runtimes && npm run --silent test:browsers
