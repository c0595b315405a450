# Everything a checkout needs. `make` alone lists the targets.

PYTHON ?= python3
VENV   ?= .venv
BIN     = $(VENV)/bin
CONSTRAINTS = .ci/constraints.txt
OUT    ?= demo-output
BENCH  ?= bench-output
DATA   ?= ../shared/data
FILES  ?= 100
CELLS  ?= 100000
CORES  ?= 2

.DEFAULT_GOAL := help
.PHONY: help install demo check test docs bench bench-more bench-speed soak golden study scaling clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

install: $(VENV)/installed ## make a virtual environment with everything in it

$(VENV)/installed: pyproject.toml $(CONSTRAINTS)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --quiet $$(grep -E '^torch==' $(CONSTRAINTS))
	$(BIN)/python -m pip install --quiet --quiet --constraint $(CONSTRAINTS) --editable '.[dev,report,h5ad,baselines,workflow]'
	touch $@

demo: $(VENV)/installed ## train on sample_data, assign every cell, print the F-measures
	mkdir -p $(OUT)
	$(BIN)/cytovae train sample_data/*.fcs --output $(OUT)/model --force
	$(BIN)/cytovae assign $(OUT)/model sample_data/*.fcs --output $(OUT)/cells.parquet --force
	$(BIN)/cytovae benchmark score $(OUT)/cells.parquet $(foreach f,$(wildcard sample_data/*.fcs),--gates $(f))
	@echo "The model is in $(OUT)/model, every cell's cluster and probabilities in $(OUT)/cells.parquet."

check: $(VENV)/installed ## ruff and mypy --strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@# mypy must see cli/ where it is installed: as cytovae.cli
	rm -rf .typing && mkdir .typing && cp -rs $(CURDIR)/cytovae .typing/cytovae && cp -rs $(CURDIR)/cli .typing/cytovae/cli
	cd .typing && MYPYPATH=. $(abspath $(BIN))/mypy --config-file ../pyproject.toml --cache-dir ../.mypy_cache -p cytovae

test: check ## check, then every test (under ten minutes on two cores)
	$(BIN)/python -m pytest

docs: $(VENV)/installed ## docs/cli.md and the usage lines of the README, from --help
	$(BIN)/python docs/make_cli.py

bench: $(VENV)/installed ## the table of the README, on gated public data in $(DATA) (25 minutes on two cores)
	$(BIN)/cytovae benchmark run --datasets public --data $(DATA) --methods cytovae,flowsom --seeds 5 --threads 1 --output $(BENCH)

bench-more: $(VENV)/installed ## the other methods on 20,000 cells of each set
	$(BIN)/cytovae benchmark run --datasets public --data $(DATA) --methods cytovae,flowsom,phenograph,kmeans,gmm,umap+hdbscan --seeds 1 --max-events 20000 --threads 1 --output $(BENCH)-more

bench-speed: $(VENV)/installed ## how fast it is beside FlowSOM, PhenoGraph and fcsparser, in docs/results (half an hour, quiet machine)
	$(BIN)/python docs/scaling/speed.py --data $(DATA) --output docs/results/speed.md

soak: $(VENV)/installed ## try to break it: bad files, kill -9, full disks (half an hour; SOAK="--times 5" for more)
	$(BIN)/python tests/soak --output docs/results/soak.md $(SOAK)

golden: $(VENV)/installed ## make tests/golden again, the model that later versions must still read
	$(BIN)/python tests/golden/make_golden.py

study: $(VENV)/installed ## FILES simulated files of CELLS cells through the study workflow, the table in docs/results
	$(BIN)/python docs/scaling/study.py --files $(FILES) --cells $(CELLS) --cores $(CORES) --output docs/results/study.md

scaling: $(VENV)/installed ## what a cell costs, carried forward to 10^9 cells, in docs/results (ten minutes)
	$(BIN)/python docs/scaling/measure.py --output docs/results/scaling.md

clean: ## remove what the targets above made, but not the virtual environment
	rm -rf $(OUT) $(BENCH) $(BENCH)-more build dist .typing .pytest_cache .mypy_cache .ruff_cache
