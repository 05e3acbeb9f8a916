# Two commands: `make demo` sets up and runs the main job, `make test` sets up and runs the tests.
PYTHON ?= python3
BIN = .venv/bin

.PHONY: demo test slow night determinism clients bench speed conformance lint docs clean

demo: .venv/runtime
	$(BIN)/defocal demo

# A process of one thread for each core.
test: .venv/dev
	OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --dist worksteal

slow: .venv/dev
	$(BIN)/pytest -m slow

# Whole reproductions: more than every change needs.
night: .venv/dev
	$(BIN)/pytest -m night

# A part of `make slow`: every kind of recipe on emulated processors.
determinism: .venv/dev
	$(BIN)/pytest -m "slow or not slow" tests/test_determinism.py

clients: .venv/dev tests/clients/node_modules/.package-lock.json
	DEFOCAL_NODE_MODULES=tests/clients/node_modules $(BIN)/pytest tests/test_clients.py

bench: .venv/dev
	$(BIN)/python -m pytest tests/benchmarks -m bench -s

# On a machine that does nothing else; FILES names some of tests/benchmarks, all if left out.
speed: .venv/dev
	$(BIN)/python tests/speed.py $(FILES)

conformance: .venv/dev
	$(BIN)/python tests/conformance.py

lint: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy -p defocal.synth -p defocal.train -p defocal.evaluate -p defocal.pipelines

.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "defocal needs Python 3.11 or newer; run make PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv .venv

.venv/runtime: .venv/bin/python setup.cfg constraints.txt
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[synth]'
	touch $@

.venv/dev: .venv/runtime
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[all,dev]'
	touch $@

tests/clients/node_modules/.package-lock.json: tests/clients/package.json tests/clients/package-lock.json
	cd tests/clients && npm ci --no-audit --no-fund
	touch $@

clean:
	rm -rf tests/clients/node_modules .venv build dist *.egg-info demo-out

docs: .venv/dev
	DEFOCAL_WRITE_DOCS=1 $(BIN)/pytest -q tests/test_docs.py
