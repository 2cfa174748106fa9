# Verbs. Each makes .venv if it is not there. PYTHON=python3.12 picks another interpreter; PROVIDER=kind another provider.
PYTHON ?= python3
PROVIDER ?= embedded
LAB := .venv/bin/lab --provider $(PROVIDER)

.PHONY: help compare test test-kind lint lab-up lab-down doctor clean bench bench-peers experiment-stall experiment-invalid experiment-aa

help:           ## these lines
	@grep -hE '^[a-z-]+: .*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/' | expand -t 12

compare: .venv/light  ## the main job: three architectures compared, report below reports/runs
	@cat .venv/light
	$(LAB) run compare

test: .venv/dev  ## every test; what needs a missing extra is skipped with the reason
	.venv/bin/python -m pytest

test-kind: .venv/dev  ## only what needs a kind cluster; KIND_IMAGE=kindest/node:v1.34.4 names another node image
	$(if $(KIND_IMAGE),LAB_KIND_IMAGE=$(KIND_IMAGE) )LAB_TEST_EXTRAS=all .venv/bin/python -m pytest -m kind

lint: .venv/dev  ## ruff, mypy, import contracts
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports

lab-up: .venv/light  ## stand the cloud up
	$(LAB) up

lab-down: .venv/light  ## stop it, keep its data
	$(LAB) down

doctor: .venv/light  ## what this machine can and cannot do
	$(LAB) doctor

clean: .venv/light  ## delete every Lab and what killed processes left
	$(LAB) clean --all

bench: .venv/dev  ## the lab's own hot paths beside those of commit BASE (default HEAD~1) on this machine, in turn, judged
	PATH="$(CURDIR)/.venv/bin:$$PATH" .venv/bin/python benchmarks/against.py $(or $(BASE),HEAD~1)

bench-peers: .venv/dev  ## the driver beside hey, vegeta and the official MLPerf LoadGen, as far as they are installed
	.venv/bin/uv pip install --quiet --python .venv/bin/python -e '.[peers]'
	PYTHONPATH=. .venv/bin/python benchmarks/peers.py --rates 100,200 --rounds 5

experiment-stall: .venv/dev  ## a frozen server in an open and a closed loop, beside theory: 3 minutes
	.venv/bin/python -m benchmarks.experiment_stall

experiment-invalid: .venv/dev  ## what must end INVALID: overloaded driver, noisy neighbour, cold wave, fast and wrong: 3 minutes
	.venv/bin/python -m benchmarks.experiment_invalid

experiment-aa: .venv/dev  ## hours: a gate of one commit against itself, and against +10 %; TRIALS=40 DEPLOYMENTS=20; goes on where it was
	.venv/bin/python -m benchmarks.experiment_aa --trials $(or $(TRIALS),40) --deployments $(or $(DEPLOYMENTS),20)

# uv installs five times faster than pip; it comes from the package index like everything else.
.venv/bin/uv:
	$(PYTHON) -c 'import sys; sys.exit("lab needs Python 3.11 or newer; found " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check uv==0.13.9

.venv/light: pyproject.toml .venv/bin/uv
	.venv/bin/python .ci/install.py . $@

.venv/dev: pyproject.toml .venv/bin/uv
	.venv/bin/python .ci/install.py '.[dev$(if $(filter all,$(LAB_TEST_EXTRAS)),$(comma)train)]' $@
	@touch .venv/light

comma := ,
