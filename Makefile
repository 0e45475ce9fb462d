# Everything sets itself up in .venv; nothing is installed globally. PYTHON picks the interpreter.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INPUT ?=
SIM_MINUTES ?= 5
TARGET ?=
RUNS ?= 100000
ARGS ?=

.PHONY: demo test sim torture soak fuzz lint types bench proto check-proto clean

$(VENV)/.base: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "trioraft needs Python 3.11 or newer; try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.test: $(VENV)/.base
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $@

$(VENV)/.lint: $(VENV)/.test
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[lint]'
	@touch $@

$(VENV)/.bench: $(VENV)/.base
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[bench]'
	@touch $@

demo: $(VENV)/.base  ## three durable nodes, a leader killed under load, nothing lost
	@$(BIN)/trioraft demo $(if $(INPUT),--input '$(INPUT)') $(ARGS)

test: $(VENV)/.test  ## all tests that this machine can run
	$(BIN)/pytest -n 2 $(ARGS)

torture: $(VENV)/.base  ## ten minutes of real faults on real processes; `make torture ARGS='--seconds 60'`
	$(BIN)/python tests/interop/_torture $(ARGS)

soak: $(VENV)/.test  ## half an hour of mixed calls, after which nothing is left; `make soak ARGS='--minutes 1'`
	$(BIN)/python tests/rpc/soak $(ARGS)

$(VENV)/.fuzz: $(VENV)/.test
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[fuzz]'
	@touch $@

fuzz: $(VENV)/.fuzz  ## coverage-guided fuzzing of all that parses bytes; `make fuzz TARGET=server RUNS=100000`
	$(BIN)/python tests/fuzz $(TARGET) --runs $(RUNS) $(ARGS)

sim: $(VENV)/.test  ## fresh seeds of both levels for SIM_MINUTES, and every planted bug found
	$(BIN)/trioraft sim --level core --fresh --minutes $$(awk 'BEGIN {print $(SIM_MINUTES) * 0.2}')
	$(BIN)/trioraft sim --level stack --fresh --minutes $$(awk 'BEGIN {print $(SIM_MINUTES) * 0.4}')
	$(BIN)/trioraft sim --planted

lint: $(VENV)/.lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.lint
	$(BIN)/mypy

bench: $(VENV)/.bench  ## against grpcio, grpclib, etcd and PySyncObj; `make bench ARGS=--quick`
	$(BIN)/python bench/rpc.py $(ARGS)
	$(BIN)/python bench/kv.py $(ARGS)
	$(BIN)/python bench/engine.py $(ARGS)

proto: $(VENV)/.test  ## regenerate trioraft/_proto from schema/
	$(BIN)/python tools/make_proto.py

check-proto: $(VENV)/.test
	$(BIN)/python tools/make_proto.py --check

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
