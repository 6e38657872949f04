# Kuzet. `make run` and `make test` need Python ≥ 3.11, make and git, nothing else.

SHELL := /bin/sh
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin

# The real servers that the tests talk to.
PEER_PACKAGES := mosquitto mosquitto-clients ffmpeg strace openssl chromium chromium-driver \
	python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-base gstreamer1.0-plugins-good \
	gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly gstreamer1.0-libav

.PHONY: run test check unit prove bench peers lock clean help

help: ## what there is
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-7s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: .venv/.ready ## the whole thing on embedded defaults: broker, district, center, gateway, console
	@exec $(BIN)/kuzet demo

test: .venv/.ready peers check unit ## every check and test against the real servers

check: .venv/.ready ## lint, types, import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

unit: .venv/.ready ## the tests alone
	$(BIN)/pytest -q

prove: .venv/.ready ## the long proofs: kill matrices, fuzzing, soak
	$(BIN)/pytest -q -s -m prove tests/prove

bench: .venv/.ready ## measurements beside peers
	$(BIN)/python -m benchmarks

lock: ## renew the hashed lock files after a change of pyproject.toml
	$(PYTHON) -m venv .venv-lock
	.venv-lock/bin/pip install --quiet 'uv>=0.5,<1'
	for set in 'product:pyproject.toml' 'all:--extra simulators --extra dev pyproject.toml' \
		'peers:requirements/peers.in'; do \
		.venv-lock/bin/uv pip compile --quiet --universal --python-version 3.11 \
			--generate-hashes --no-emit-index-url --no-annotate --no-header \
			$${set#*:} --output-file requirements/$${set%%:*}.txt || exit 1; \
	done
	rm -rf .venv-lock

clean: ## remove what the other targets made
	rm -rf .venv .venv-peers .venv-lock var build dist *.egg-info

# --- environments ---------------------------------------------------------------------------------

.venv/.ready: requirements/all.txt pyproject.toml
	@if [ -z "$(PYTHON)" ]; then echo "make: Python 3.11 or newer is needed" >&2; exit 2; fi
	@if [ ! -x $(BIN)/python ]; then $(call venv,.venv); fi
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/all.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

.venv-peers/.ready: requirements/peers.txt
	@if [ ! -x .venv-peers/bin/python ]; then $(call venv,.venv-peers); fi
	.venv-peers/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/peers.txt
	@touch $@

# Debian ships `python3 -m venv` in a package of its own.
define venv
	$(PYTHON) -m venv $(1) || { rm -rf $(1); \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update -qq && apt-get install -y -qq python3-venv >/dev/null && $(PYTHON) -m venv $(1); \
	else echo "make: 'python3 -m venv' does not work: install the package python3-venv" >&2; exit 2; fi; }
endef

# As root, missing servers are installed; otherwise they are named, and their tests are skipped.
peers: .venv-peers/.ready
	@missing=; for package in $(PEER_PACKAGES); do \
		dpkg-query -W -f '$${Status}' $$package 2>/dev/null | grep -q 'ok installed' || missing="$$missing $$package"; \
	done; \
	if [ -n "$$missing" ]; then \
		if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
			echo "installing:$$missing"; \
			apt-get update -qq && \
			DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
		else \
			echo "missing (their tests are skipped):$$missing"; \
		fi; \
	fi
