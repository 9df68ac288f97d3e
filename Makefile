# What a machine needs: make, and Python 3.11 or newer with its venv module. Everything else goes into .venv,
# which is made on demand, kept, and brought up to date when pyproject.toml or requirements.lock change.

PYTHON      ?= python3
VENV        ?= .venv
PYTEST_ARGS ?=
TEST_JOBS   ?= 3
DEMO_ARGS   ?=
BENCH_ARGS  ?=
FUZZ_TIME   ?= 60
SOAK_TIME   ?= 5
SOAK_ARGS   ?=
INTEROP_ARGS ?=
IMAGE       ?= rtcpeer
IMAGE_ARGS  ?=

# `python -m` and not the scripts: it works in a folder whose path is too long for a #! line or has a blank in it.
python  := $(VENV)/bin/python
install := $(python) -m pip install --quiet --disable-pip-version-check --no-input --constraint requirements.lock
pinned  := pyproject.toml requirements.lock

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test check bench bench-audio bench-calls bench-reliability fuzz soak interop interop-full interop-parts image lock clean

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-17s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))
	@echo
	@echo "  Variables: PYTHON=python3.12 (when .venv is made)  VENV=.venv  TEST_JOBS=3  PYTEST_ARGS='-k opus -x'  DEMO_ARGS='--out DIR'  IMAGE=rtcpeer  IMAGE_ARGS='--build-arg …'"

demo: $(VENV)/.runtime  ## a real call on this machine: speech both ways, transcript, recording in rtcpeer-demo/
	@$(VENV)/bin/rtcpeer demo $(DEMO_ARGS)

# Calls take their time, so most tests wait rather than work: three at once are no slower than one on two cores.
test: check  ## everything that must be green: ruff, mypy --strict, pytest
	@$(python) -m pytest -n $(TEST_JOBS) $(PYTEST_ARGS)

check: $(VENV)/.dev  ## ruff and mypy --strict only
	@$(python) -m ruff check .
	@$(python) -m ruff format --check .
	@$(python) -m mypy

bench: $(VENV)/.dev  ## what a frame of audio costs here and in stock aiortc, side by side
	@$(python) tests/bench/audio_path.py

bench-audio: $(VENV)/.bench tests/interop/node_modules/.installed  ## what calls sound like beside aiortc's and libwebrtc's: 12 minutes, docs/audio-quality.md (BENCH_ARGS=--quick: two)
	@$(python) tests/bench/audio_quality.py $(or $(BENCH_ARGS),--docs docs)

bench-calls: $(VENV)/.dev tests/interop/node_modules/.installed  ## how many calls one core holds beside aiortc and libwebrtc: 13 minutes, docs/performance.md (BENCH_ARGS=--quick: two)
	@$(python) tests/bench/call_capacity.py $(or $(BENCH_ARGS),--docs docs)

bench-reliability: $(VENV)/.dev tests/interop/node_modules/.installed  ## what calls do when something breaks, beside aiortc and libwebrtc: nine minutes, docs/reliability.md (BENCH_ARGS=--quick: six)
	@$(python) tests/bench/fault_table.py $(or $(BENCH_ARGS),--docs docs)

fuzz: $(VENV)/.fuzz  ## hostile input to everything that reads any, guided by coverage, on Linux: FUZZ_TIME=60 s a target (FUZZ="sctp soca-client": these)
	@for target in $(or $(FUZZ),$$($(python) tests/fuzz/targets.py)); do \
		echo "fuzzing $$target for $(FUZZ_TIME) s" >&2; $(python) tests/fuzz/guided.py $$target $(FUZZ_TIME) || exit 1; done

soak: $(VENV)/.dev  ## calls come and go, networks break, servers are killed, and nothing may be left: SOAK_TIME=5 minutes (SOAK_ARGS='--seed 7 --docs docs')
	@$(python) tests/soak/soak.py --minutes $(SOAK_TIME) $(SOAK_ARGS)

interop: interop-parts  ## calls with code that is not ours: Chromium, libwebrtc in Node, PulseAudio (see tests/interop/apt-packages.txt)
	@$(python) -m pytest tests/interop $(PYTEST_ARGS)

interop-full: interop-parts  ## every kind of call with every far end that others wrote, docs/interop.md: ten minutes, as root (INTEROP_ARGS='--only werift': some)
	@$(python) tests/interop/matrix.py $(or $(INTEROP_ARGS),--docs docs)

interop-parts: $(VENV)/.interop tests/interop/node_modules/.installed

image: Dockerfile  ## build the container image with docker, podman or buildah
	@if docker info >/dev/null 2>&1; then set -x; docker build $(IMAGE_ARGS) -t $(IMAGE) .; \
	elif command -v podman >/dev/null; then set -x; podman build --format docker $(IMAGE_ARGS) -t $(IMAGE) .; \
	elif command -v buildah >/dev/null; then set -x; buildah build --format docker $(IMAGE_ARGS) -t $(IMAGE) .; \
	else echo "make image needs a running docker, or podman, or buildah (Debian: apt-get install podman)" >&2; exit 1; fi

# uv resolves for every Python >= 3.11 and every platform at once; pip freeze and pip-compile only for the one they run
# on. --fork-strategy fewest: the same version everywhere, if one exists. It writes no index address into the file.
lock: $(VENV)/.made  ## renew requirements.lock: the newest versions that pyproject.toml allows
	@$(python) -m venv --clear $(VENV)/lock
	@$(VENV)/lock/bin/python -m pip install --quiet --disable-pip-version-check uv
	@$(VENV)/lock/bin/python -m uv pip compile --quiet --upgrade --universal --fork-strategy fewest --python-version 3.11 \
		--all-extras --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" \
		--output-file requirements.lock pyproject.toml
	@rm -rf $(VENV)/lock
	@git --no-pager diff --stat -- requirements.lock 2>/dev/null || true

clean:  ## remove .venv, caches, node_modules, what demo and builds wrote
	rm -rf $(VENV) build dist rtcpeer-demo .mypy_cache .ruff_cache .pytest_cache .hypothesis tests/interop/node_modules
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp is written when its step has succeeded, so that an interrupted installation starts again.
$(VENV)/.made:
	@command -v "$(PYTHON)" >/dev/null || { echo "$(PYTHON) is not there. Try: make PYTHON=python3.11 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "rtcpeer needs Python 3.11 or newer, and $(PYTHON) is `$(PYTHON) --version 2>&1`. Try: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "$(PYTHON) cannot make a virtual environment: its venv module is missing. Debian, Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@$(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(VENV)/.runtime: $(VENV)/.made $(pinned)
	@echo "installing rtcpeer into $(VENV) (once; about half a minute)" >&2
	@$(install) --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.made $(pinned)
	@echo "installing rtcpeer and its development tools into $(VENV) (once; about half a minute)" >&2
	@$(install) --editable '.[dev]'
	@touch $@ $(VENV)/.runtime

$(VENV)/.interop: $(VENV)/.made $(pinned)
	@echo "installing rtcpeer, its development tools, Playwright and sounddevice into $(VENV) (once; about half a minute)" >&2
	@$(install) --editable '.[dev,interop,devices,pulse]'
	@touch $@ $(VENV)/.dev $(VENV)/.runtime

$(VENV)/.bench: $(VENV)/.made $(pinned)
	@echo "installing rtcpeer and what measures sound into $(VENV) (once; about a minute)" >&2
	@$(install) --editable '.[bench]'
	@touch $@ $(VENV)/.runtime

$(VENV)/.fuzz: $(VENV)/.made $(pinned)
	@echo "installing rtcpeer and Atheris into $(VENV) (once; about half a minute)" >&2
	@$(install) --editable '.[fuzz]'
	@touch $@ $(VENV)/.runtime

tests/interop/node_modules/.installed: tests/interop/package.json tests/interop/package-lock.json
	@command -v npm >/dev/null || { echo "make interop needs Node and npm. Debian, Ubuntu: apt-get install nodejs npm" >&2; exit 1; }
	@cd tests/interop && npm ci --no-audit --no-fund --loglevel=error
	@touch $@
