# Two commands do everything on a fresh Debian machine: `make demo` shows the main job, `make test` runs the tests.
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
export PYTHONDONTWRITEBYTECODE = 1

.PHONY: help demo test check lock format bench soak faults sim fuzz clean
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
	bash .ci/test $(BIN)/python $(PYTEST)
	$(BIN)/sensor-guard test rules/

check: $(VENV)/.ready ## style, types and layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

lock: $(VENV)/.ready ## what is locked can be installed, with the hashes that are written down
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes --dry-run -r requirements.lock

format: $(VENV)/.ready ## put the code into its form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.ready ## every benchmark, and the page of results; half an hour, on a machine that does nothing else
	bash .ci/install
	bash .ci/fetch-influxdb .cache/influxdb
	$(BIN)/python -m benchmarks --page benchmarks/RESULTS.md $(BENCH)

soak: $(VENV)/.ready ## 14 virtual days, then one real hour: does the daemon stay as small as it was?
	bash .ci/fetch-influxdb .cache/influxdb
	$(BIN)/python -m benchmarks.soak virtual --days 14
	$(BIN)/python -m benchmarks.soak real --hours 1

faults: $(VENV)/.ready ## kill everything on purpose and count what is lost; an hour or more
	bash .ci/install
	bash .ci/fetch-influxdb .cache/influxdb
	$(BIN)/python -m tests.faults --full --report docs/reports/faults.md $(FAULTS)

sim: $(VENV)/.ready ## 10,000 seeded worlds of seven virtual days; hours
	$(BIN)/python -m tests.sim --seeds 10000 --days 7 --jobs 2 $(SIM)

fuzz: $(VENV)/.ready ## a million broken payloads and 100,000 odd times; a quarter of an hour
	$(BIN)/python -m tests.fuzz --payloads 1000000 --timestamps 100000 $(FUZZ)

clean:          ## remove what was made here
	rm -rf $(VENV) .cache build dist
