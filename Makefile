# What a person or CI does here, one command each. `make` lists them.
# Run it as an ordinary user: sudo is asked only for packages and for what makes network namespaces.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

CARGO ?= cargo
TARGET := $(or $(CARGO_TARGET_DIR),target)
# Empty for root.
SUDO := $(if $(filter-out 0,$(shell id -u)),sudo)
# How long each fuzz target runs.
FUZZ_SECONDS ?= 60
# Crates whose tests in tests/ make namespaces, sockets or BPF maps.
ROOTED := -p millrace-dataplane -p millrace-control -p millrace-xsk -p millrace-lab

.PHONY: help demo lab test lint fmt fuzz bench soak ebpf setup clean

help: ## This list
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: setup ## Sets up what is missing, builds, and shows a router at work in a lab of namespaces
	@$(CARGO) build --release --workspace --bins
	$(SUDO) $(TARGET)/release/lab demo

lab: setup ## A lab to play with: client, router, server, and a shell; it goes when you leave
	@$(CARGO) build --release --workspace --bins
	$(SUDO) $(TARGET)/release/lab shell

test: setup ## The whole test suite: unit, property, and end to end in namespaces
	@export MILLRACE_SKIPPED=$(abspath $(TARGET))/skipped
	rm -f "$$MILLRACE_SKIPPED"
	$(CARGO) build --workspace --bins --tests
	if $(CARGO) nextest --version >/dev/null 2>&1
	then run=($(CARGO) nextest run) rooted=(-E 'kind(test) and not binary(workspace)')
	else run=($(CARGO) test --no-fail-fast) rooted=(--test '*')
	fi
	if [[ -z "$(SUDO)" ]] || ! command -v sudo >/dev/null
	then "$${run[@]}" --workspace
	else
		# First as who you are, where what needs root passes over itself; then that, by sudo.
		env -u CI -u MILLRACE_SKIPPED "$${run[@]}" --workspace
		triple=$$(rustc -vV | sed -n 's/^host: //p' | tr 'a-z-' 'A-Z_')
		export "CARGO_TARGET_$${triple}_RUNNER=sudo -E env PATH=$$PATH"
		"$${run[@]}" $(ROOTED) "$${rooted[@]}"
	fi
	if [[ -s "$$MILLRACE_SKIPPED" ]]
	then
		printf '\n%s tests were SKIPPED:\n' "$$(wc -l <"$$MILLRACE_SKIPPED")"
		cat "$$MILLRACE_SKIPPED"
	fi

lint: ## Formatting, clippy without a warning, and what may come in from outside
	@$(CARGO) fmt --all --check
	$(CARGO) fmt --manifest-path ebpf/Cargo.toml --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	if $(CARGO) deny --version >/dev/null 2>&1
	then $(CARGO) deny check bans licenses sources
	else echo 'cargo-deny is not installed: licences and sources of dependencies were not checked'
	fi

fmt: ## Formats everything
	@$(CARGO) fmt --all
	$(CARGO) fmt --manifest-path ebpf/Cargo.toml

# New inputs go to target/fuzz. A finding is written to */fuzz/artifacts: fix it, and keep it in */fuzz/regressions/TARGET,
# which tests replay. No sanitizer: what is fuzzed has no unsafe of its own.
fuzz: ## Fuzzes what reads octets from outside; FUZZ_TARGETS=bgp FUZZ_SECONDS=3600 for one, long
	@if ! $(CARGO) +nightly fuzz --version >/dev/null 2>&1
	then
		echo 'Fuzzing needs nightly and cargo-fuzz: rustup toolchain install nightly && cargo install cargo-fuzz --locked' >&2
		exit 1
	fi
	for manifest in */fuzz/Cargo.toml
	do
		fuzz=$$(dirname "$$manifest")
		for target in $(or $(FUZZ_TARGETS),$$($(CARGO) +nightly fuzz list --fuzz-dir "$$fuzz"))
		do
			[[ -f $$fuzz/fuzz_targets/$$target.rs ]] || continue
			found=$(abspath $(TARGET))/fuzz/$$fuzz/$$target
			mkdir -p "$$found"
			$(CARGO) +nightly fuzz run --sanitizer none --fuzz-dir "$$fuzz" "$$target" "$$found" "$$fuzz/corpus/$$target" -- \
				-max_total_time=$(FUZZ_SECONDS) -timeout=10 -print_final_stats=1
		done
	done

bench: setup ## The benchmarks, and the load time of the whole Internet's table into bench/results
	@$(CARGO) bench --workspace
	$(CARGO) build --release --workspace --bins
	$(SUDO) env MILLRACE_DATA="$${MILLRACE_DATA:-$(abspath ../shared/data)}" $(TARGET)/release/lab full-table >$(TARGET)/full-table.md
	mv $(TARGET)/full-table.md bench/results/full-table.md
	cat bench/results/full-table.md
	$(SUDO) $(TARGET)/release/lab nat >$(TARGET)/nat.md
	mv $(TARGET)/nat.md bench/results/nat.md
	cat bench/results/nat.md

soak: setup ## TCP and UDP through a router for a minute: no frame may be lost
	@$(CARGO) build --release --workspace --bins
	$(SUDO) $(TARGET)/release/lab soak --seconds 60

ebpf: setup ## The XDP program
	@$(CARGO) build --release -p millrace-dataplane

setup: ## Installs what a bare Debian or Ubuntu with Rust lacks; quick when nothing does
	@deploy/setup.sh

clean: ## Removes what was built, and what killed labs have left behind
	@if [[ -x $(TARGET)/release/lab ]]; then $(SUDO) $(TARGET)/release/lab clean; fi
	$(CARGO) clean
