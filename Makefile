# What developers and CI run. `make` alone lists it.

OUT ?= out
PORT ?= 8080

.PHONY: help run demo test setup lint unit doc failover bench deny clean

help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: ## Serve on the embedded log, at http://localhost:8080/
	cargo run --release -- serve --listen 127.0.0.1:$(PORT)

demo: ## Publish this machine's own statistics to it, once a second
	examples/machine.sh | cargo run --release --quiet -- publish --input ndjson --url http://127.0.0.1:$(PORT)

test: setup lint unit doc ## Everything that CI checks; installs what it needs

setup: ## Install the servers and the browser that the tests run against (Debian, Ubuntu)
	scripts/setup

lint: ## Formatting and lints
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --all-features -- -D warnings

unit: ## Unit, property, conformance, HTTP, process and browser tests
	cargo build --workspace --bins
	scripts/tests

doc: ## Examples in the documentation
	cargo test --workspace --doc --quiet

failover: ## Kill gateways under 2,000 clients and 2,000 events a second; a report in out/failover
	cargo build --release -p tailwater -p loadtest
	target/release/loadtest failover --out $(OUT)/failover

bench: ## What a delivery costs, beside the floor and a naive gateway; a report in out/bench
	cargo build --release -p tailwater -p loadtest
	target/release/loadtest bench --out $(OUT)/bench

deny: ## Licences, sources and the direction of dependencies (needs cargo-deny)
	cargo deny check bans licenses sources

clean: ## Remove what was built and reported
	cargo clean
	rm -rf $(OUT)
