# `make` prints what there is. Every target is one line that CI could run too.
.DEFAULT_GOAL := help
.PHONY: help up up-tls up-monitoring stop down status logs images test unit integration check fix venv lock hostile chaos abuse bench bench-failover doctor clean fuzz sbom scan audit
SHELL := /bin/bash

NODES ?= 3
PYTEST ?= .venv/bin/python -m pytest
PYTHONPATH := services/broker:services/node
export PYTHONPATH
# Settings of one's own count with overlays, too; and whatever runs, with overlays or without, is found again.
OWN := $(if $(wildcard compose.override.yaml),:compose.override.yaml)
EVERYTHING = COMPOSE_FILE=$${COMPOSE_FILE:-compose.yaml:deploy/tls.yaml:deploy/monitoring.yaml$(OWN)}

help: ## Print this
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n\033[1m%s\033[0m\n", substr($$0, 5)} /^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ Run it
up: ## Build, start NODES=3 nodes, run a first job (installs what is missing when root)
	@NODES=$(NODES) deploy/up.sh

up-tls: ## The same with TLS in front and keys required (docs/tls.md)
	@NODES=$(NODES) deploy/up-tls.sh

up-monitoring: ## The bundle with Prometheus on 127.0.0.1:9090 (docs/operations.md); with TLS: make up-tls MONITORING=1
	@deploy/secrets.sh && COMPOSE_FILE=compose.yaml:deploy/monitoring.yaml$(OWN) NODES=$(NODES) deploy/up.sh

stop: ## Stop the bundle; jobs and results stay
	@$(EVERYTHING) docker compose stop

down: ## Remove the bundle: containers, networks and the volumes with its jobs
	@$(EVERYTHING) docker compose down --volumes --remove-orphans

status: ## Show containers and nodes
	@export $(EVERYTHING); docker compose ps && \
	if [ -n "$$(docker compose ps --quiet caddy)" ]; then deploy/up-tls.sh --first-job --nodes; else python3 deploy/first_job.py --nodes; fi

logs: ## Follow the logs
	@$(EVERYTHING) docker compose logs --follow --tail 50

##@ Test it
test: ## All tests, on a machine with nothing prepared
	@deploy/test.sh

check: venv ## Lint, types, layers
	.venv/bin/ruff check services tests bench deploy
	.venv/bin/ruff format --check services tests bench deploy
	.venv/bin/mypy services/broker/broker services/node/agent services/node/sandrun services/node/supervisor tests
	.venv/bin/lint-imports

unit: venv ## Tests that need no Docker
	$(PYTEST) -m "not docker"

integration: export SANDRUN_ALL_IMAGES := 1
integration: venv images ## Tests on the real images (needs Docker)
	$(PYTEST) -m docker

fuzz: venv ## Hold the OpenAPI document against a broker: make fuzz MINUTES=5
	PYTHONPATH=tests:$(PYTHONPATH) .venv/bin/python -m api.fuzz --minutes $(or $(MINUTES),5)

chaos: export CHAOS_MINUTES := $(or $(MINUTES),10)
chaos: export CHAOS_SEED := $(SEED)
chaos: venv images ## Break nodes, network and broker at random under load: make chaos MINUTES=10 SEED=7
	$(PYTEST) tests/failover/test_chaos.py -s

hostile: venv images ## The attacks of the catalogue on the real node image (4 minutes)
	$(PYTEST) tests/hostile

abuse: venv ## Attack a running deployment and print a report: make abuse URL=http://127.0.0.1:8000
	PYTHONPATH=tests .venv/bin/python -m hostile $(or $(URL),http://127.0.0.1:8000)

bench: venv images ## Measure; ARGS="--help" says what
	@deploy/bootstrap/browser.sh
	.venv/bin/pip install --quiet --disable-pip-version-check --require-hashes --requirement bench/requirements.txt
	PYTHONPATH=.:tests:$(PYTHONPATH) .venv/bin/python -m bench $(ARGS)

bench-failover: venv images ## Kill 20 nodes and 20 brokers, write the recovery table (README, docs/benchmarks.md)
	PYTHONPATH=.:tests:$(PYTHONPATH) .venv/bin/python -m bench.failover --write $(ARGS)

doctor: ## Prove every layer of the sandbox on this host, in a node container
	@docker compose run --rm --no-deps --entrypoint sandrun node doctor

##@ Ship it
sbom: ## What is in the images, as CycloneDX documents in build/
	@mkdir -p build; for image in broker node caddy prometheus; do \
	python3 deploy/sbom.py sandrun-$$image:$${SANDRUN_TAG:-latest} >build/sbom-$$image.json && echo build/sbom-$$image.json; done

scan: ## Look for secrets in every layer of the images
	@python3 deploy/image_secrets.py $(foreach image,broker node caddy prometheus,sandrun-$(image):$${SANDRUN_TAG:-latest})

audit: ## Ask PyPI for known holes in the locked requirements (pip-audit, in an environment of its own)
	@deploy/audit.sh

##@ Develop it
venv: .venv/.complete ## Make .venv from the locked requirements

.venv/.complete: tests/requirements.txt
	@deploy/bootstrap/venv.sh

images: ## Build all images
	@SANDRUN_ALL_IMAGES=1 deploy/images.sh

fix: venv ## Format, and mend what ruff can
	.venv/bin/ruff check --fix services tests bench deploy
	.venv/bin/ruff format services tests bench deploy

lock: ## Write the requirements files anew (needs uv)
	deploy/lock.sh

clean: down ## Remove also the images and .venv
	@docker image rm -f sandrun-broker:$${SANDRUN_TAG:-latest} sandrun-node:$${SANDRUN_TAG:-latest} sandrun-caddy:$${SANDRUN_TAG:-latest} sandrun-prometheus:$${SANDRUN_TAG:-latest}; rm -rf .venv
