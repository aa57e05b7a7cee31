# Two commands do everything on a fresh Debian machine: `make demo` shows the main job, `make test` runs the tests.
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
export PYTHONDONTWRITEBYTECODE = 1

.PHONY: help demo test check format bench clean
help:           ## what can be made here
	@grep -hE '^[a-z]+:.*##' Makefile | sed 's/:.*##/\t/'

$(VENV)/.ready: pyproject.toml
	@echo 'Installing into $(VENV): a minute or two.'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

demo: $(VENV)/.ready ## the main job, on simulated homes and a recorded water meter, in under two minutes
	@bash .ci/install 2>/dev/null || bash .ci/fetch-mosquitto .cache/mosquitto || true
	$(BIN)/python -m simulators.demo

test: $(VENV)/.ready ## all tests: real mosquitto, real InfluxDB, a strict stand-in for Twilio
	bash .ci/install
	bash .ci/fetch-influxdb .cache/influxdb
	$(BIN)/python -m pytest $(PYTEST)
	$(BIN)/sensor-guard test rules/

check: $(VENV)/.ready ## style, types and layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.ready ## put the code into its form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.ready ## measure the whole line beside a bare paho subscriber; prints a table
	$(BIN)/python -m benchmarks.line

clean:          ## remove what was made here
	rm -rf $(VENV) .cache build dist
