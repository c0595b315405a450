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
.PHONY: help install demo check mypy test test-fast docs site pictures readme-figures bench bench-more bench-speed \
	bench-compare bench-qc bench-names bench-sample soak golden study scaling clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-15s %s\n", $$1, $$2}'

install: $(VENV)/installed ## create a virtual environment with everything, in locked versions

$(VENV)/installed: pyproject.toml $(CONSTRAINTS)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --quiet $$(grep -E '^torch==' $(CONSTRAINTS))
	$(BIN)/python -m pip install --quiet --quiet --constraint $(CONSTRAINTS) --editable '.[dev,docs,report,h5ad,compare,baselines,workflow]'
	touch $@

demo: $(VENV)/installed ## train on sample_data, assign every cell, print the scores, compare the conditions
	mkdir -p $(OUT)
	$(BIN)/cytovae train sample_data/*.fcs --output $(OUT)/model --force
	$(BIN)/cytovae assign $(OUT)/model sample_data/*.fcs --output $(OUT)/cells.parquet --force
	$(BIN)/cytovae benchmark score $(OUT)/cells.parquet --gates sample_data/
	$(BIN)/cytovae compare $(OUT)/cells.parquet --samples sample_data/samples.csv --condition condition \
		--files sample_data --model $(OUT)/model --output $(OUT)/comparison --force
	@echo "The model is in $(OUT)/model, every cell's cluster and probabilities in $(OUT)/cells.parquet, and what"
	@echo "differs between the conditions in $(OUT)/comparison."

check: $(VENV)/installed mypy ## run ruff and mypy --strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

mypy: $(VENV)/installed ## run mypy --strict on the package
	@# mypy must see cli/ where it is installed: as cytovae.cli
	rm -rf .typing && mkdir .typing && cp -rs $(CURDIR)/cytovae .typing/cytovae && cp -rs $(CURDIR)/cli .typing/cytovae/cli
	cd .typing && MYPYPATH=. $(abspath $(BIN))/mypy --config-file ../pyproject.toml --cache-dir ../.mypy_cache -p cytovae

test: check ## run the checks, then every test (under ten minutes on two cores)
	$(BIN)/python -m pytest -n $(CORES) --dist loadfile --no-loadscope-reorder

test-fast: $(VENV)/installed ## run the tests that are neither slow nor need a browser or shared data (under 90 seconds)
	$(BIN)/python -m pytest -q -n $(CORES) --dist loadfile --no-loadscope-reorder -m "not slow and not browser and not corpus"

docs: $(VENV)/installed ## write docs/cli.md, the list of modules and the drawing of the wings
	$(BIN)/python docs/make_cli.py
	$(BIN)/python docs/make_modules.py
	$(BIN)/python docs/make_architecture.py

site: docs ## build the documentation as a site in site/; any broken link is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

pictures: demo ## make docs/pictures again from the demo (the picture of the report needs Chromium)
	$(BIN)/python docs/make_pictures.py $(OUT)

readme-figures: $(VENV)/installed ## make the plot of quality and speed from the tables in docs/results
	$(BIN)/python docs/make_figures.py

bench: $(VENV)/installed ## score against FlowSOM on the gated public data in $(DATA) (25 minutes on two cores)
	$(BIN)/cytovae benchmark run --datasets public --data $(DATA) --methods cytovae,flowsom --seeds 5 --threads 1 --output $(BENCH)

bench-more: $(VENV)/installed ## score against all methods on 20,000 cells of each set
	$(BIN)/cytovae benchmark run --datasets public --data $(DATA) --methods cytovae,flowsom,phenograph,kmeans,gmm,umap+hdbscan --seeds 1 --max-events 20000 --threads 1 --output $(BENCH)-more

bench-speed: $(VENV)/installed ## measure speed beside FlowSOM, PhenoGraph and fcsparser (half an hour, quiet machine)
	$(BIN)/python docs/scaling/speed.py --data $(DATA) --output docs/results/speed.md

bench-qc: $(VENV)/installed ## check quality control on simulated files and on those of the corpus (ten minutes on one core)
	OMP_NUM_THREADS=1 $(BIN)/python docs/measurements/qc.py --data $(DATA)/fcs_corpus --output docs/results/qc.md

bench-compare: $(VENV)/installed ## check the statistics of compare on simulated studies (half an hour on one core)
	$(BIN)/python docs/measurements/compare.py --data $(DATA) --output docs/results/compare.md

bench-names: $(VENV)/installed ## score names by marker tables and by labels of other files (an hour on one core; NAMES="--seeds 5 --jobs 16" for more)
	OMP_NUM_THREADS=1 $(BIN)/python docs/measurements/marker_table_page.py --data $(DATA) --cache $(BENCH)-trees --output docs/results/marker_tables.md $(NAMES)
	OMP_NUM_THREADS=1 $(BIN)/python docs/measurements/label_transfer.py --data $(DATA) --output docs/results/label_transfer.md $(NAMES)

bench-sample: $(VENV)/installed ## measure how often the differences in sample_data are found in studies of its kind (a minute)
	$(BIN)/python docs/measurements/sample_study.py --output docs/results/sample_study.md

soak: $(VENV)/installed ## try to break it: bad files, kill -9, full disks (half an hour; SOAK="--times 5" for more)
	$(BIN)/python tests/soak --output docs/results/soak.md $(SOAK)

golden: $(VENV)/installed ## write tests/golden, the model that later versions must still read
	$(BIN)/python tests/golden/make_golden.py

study: $(VENV)/installed ## run FILES simulated files of CELLS cells through the study workflow
	$(BIN)/python docs/scaling/study.py --files $(FILES) --cells $(CELLS) --cores $(CORES) --output docs/results/study.md

scaling: $(VENV)/installed ## measure the cost per cell, and carry it forward to 10^9 cells (ten minutes)
	$(BIN)/python docs/scaling/measure.py --output docs/results/scaling.md

clean: ## remove outputs and caches, but not the virtual environment
	rm -rf $(OUT) $(BENCH) $(BENCH)-more build dist site .typing .pytest_cache .mypy_cache .ruff_cache
