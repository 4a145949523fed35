# make demo: install, compare seven strategies on the built-in data set, print where report and curves are
# make check: lint, types and unit tests, to run after each change (two minutes)
# make test: install, lint, type check, all tests
# make bench: time steps, metrics and long streams against other implementations; writes benchmarks/results.md (one part: python -m benchmarks images)
# make soak: disturb runs and comparisons (kills, signals, clocks, full disks, environments) for an hour; writes benchmarks/soak.md
# make gpu-sim: run every strategy, loss and augmentation on a second device written in Python, without a GPU
# make gpu: run the tests that need an NVIDIA GPU, and time training on it; writes benchmarks/gpu.md
# make long: run the tests that take minutes, which make test leaves out
# make engines: run real jobs on Ray and Slurm on this machine and kill some of them; make test leaves this out
# make ranks: train the same run on two ranks and in one process, stop and kill ranks (minutes)
# make audit: ask pip-audit about the pinned packages
# make leaderboard: run every method on small streams; writes docs/leaderboard.md; takes hours, and continues where it was stopped
# make docs: build the documentation site, strictly, in build/site
# make versions: run the tests of make check, and those in the same folders that train, with the lowest and the newest versions that pyproject.toml allows (downloads gigabytes); PYTHONS="python3.11 python3.12" names interpreters
# make ci-times: measure how long CI takes on a fresh clone; writes the table of docs/contributing.md
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
UNITS := $(addprefix tests/,data evaluation models scenario strategies training)

.PHONY: demo check test docs leaderboard gpu-sim gpu long engines ranks lint bench soak audit ci-times versions clean

demo: $(INSTALLED)
	$(BIN)/python docs/examples/compare.py --out runs/demo --overwrite

test: lint
	$(BIN)/python -m pytest --numprocesses=auto --maxprocesses=2 --dist=loadfile

check: lint
	$(BIN)/python -m pytest --quiet --numprocesses=auto --maxprocesses=2 --dist=loadfile \
		-m "not slow and not long and not engines and not trains" $(UNITS)

gpu-sim: $(INSTALLED)
	CLSIM_GPU_SIM=1 $(BIN)/python -m pytest tests/gpu_sim -m "" --numprocesses=auto --maxprocesses=2

gpu: $(INSTALLED)
	$(BIN)/python -m pytest tests/cuda -m ""
	$(BIN)/python -m benchmarks.gpu

long: $(INSTALLED)
	$(BIN)/python -m pytest -m long --numprocesses=auto --maxprocesses=2 --dist=loadfile

engines: $(INSTALLED)
	$(BIN)/python -m pytest -m engines

ranks: $(INSTALLED)
	$(BIN)/python -m pytest -m 'long or not long' tests/training/test_ranks.py tests/behaviour/test_ranks_stopped.py

leaderboard: $(INSTALLED)
	$(BIN)/python -m benchmarks.leaderboard

docs: $(INSTALLED)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	@echo "build/site/index.html"

ci-times: $(INSTALLED)
	$(BIN)/python -m benchmarks.ci_times

versions: $(INSTALLED)
	$(BIN)/python -m benchmarks.versions $(UNITS) $(if $(PYTHONS),--python $(PYTHONS))

bench: $(INSTALLED)
	$(BIN)/python -m benchmarks

soak: $(INSTALLED)
	$(BIN)/python -m benchmarks.soak

audit: $(INSTALLED)
	$(BIN)/python -m pip_audit -r constraints.txt --no-deps --disable-pip

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy clsim strategies benchmarks

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt pip setuptools wheel
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --editable ".[dev]"
	rm -rf clsim.egg-info  # left by the build; found first from here, it would hide strategies that are added later
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info
