# Everything one does with this repository; `make` lists it.
# The targets install what they need: scripts/setup* do nothing when nothing changed.

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev setup-broker demo rocketmq up down status test test-full check bench-compute bench-queue faults generate format lint lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' Makefile

setup: ## install what running needs (Python packages; Julia, if there is one in reach)
	@scripts/setup
	@scripts/setup-julia image

setup-dev:
	@scripts/setup dev
	@scripts/setup-julia
	@scripts/setup-web
	@scripts/setup-rocketmq || echo "setup-rocketmq: the tests of RocketMQ will be skipped"

setup-broker: setup
	@$(if $(filter rocketmq,$(BROKER)),scripts/setup-rocketmq)

demo: setup-broker ## start everything, plan a week of a real site, show it, stop (BROKER=rocketmq)
	@.venv/bin/gridpact demo $(if $(BROKER),--broker $(BROKER))

up: setup-broker ## start the platform and keep it running; Ctrl-C stops it (BROKER=rocketmq)
	@.venv/bin/gridpact up $(if $(BROKER),--broker $(BROKER))

rocketmq: setup ## run a RocketMQ 5 alone, without Docker; Ctrl-C stops it
	@scripts/setup-rocketmq
	@.venv/bin/python -m gridpact.platform.rocketmq

down: setup ## stop the platform that `make up` started
	@.venv/bin/gridpact down

status: setup ## what is running, and where
	@.venv/bin/gridpact status

test: setup-dev ## run every test suite
	@scripts/setup-julia image
	@.venv/bin/python scripts/test

test-full: setup-dev ## the same with the long tests and new random examples
	@.venv/bin/python scripts/test --full

check: setup-dev ## formatter, linter, types, imports, contracts, generated files
	@scripts/check

bench-compute: setup ## measure the compute engines beside their peers (CASES=…, ARGS=--help)
	@scripts/setup-bench
	@.venv/bin/python -m bench.compute $(if $(CASES),--cases "$(CASES)") $(ARGS)

bench-queue: setup ## measure tasks a second through the queue beside Celery and taskiq (ARGS=--help)
	@scripts/setup-rocketmq || echo "setup-rocketmq: RocketMQ will be missing"
	@scripts/setup-bench
	@.venv/bin/python -m bench.queue $(ARGS)

faults: setup ## break everything and check that nothing is lost (SEEDS=30, FAULTS="4 5", BROKER=redis, ENGINE=julia)
	@scripts/setup-rocketmq || echo "setup-rocketmq: the faults of RocketMQ will be missing"
	@.venv/bin/python -m bench.faults $(if $(SEEDS),--seeds $(SEEDS)) $(if $(FAULTS),--faults "$(FAULTS)") \
		$(if $(BROKER),--broker $(BROKER)) $(if $(ENGINE),--engine $(ENGINE)) $(ARGS)

generate: setup-dev ## write the code that the contracts define
	@.venv/bin/python -m gridpact.codegen

format: setup-dev ## format the Python code and the proto files
	@.venv/bin/ruff check --quiet --select I --fix .
	@.venv/bin/ruff format .
	@cd contracts && ../.venv/bin/buf format --write

lint: setup-dev ## the checks that a change fails most often
	@scripts/check format lint types imports

lock: setup-dev ## lock the Python packages that python/pyproject.toml asks for
	@scripts/lock

clean: ## remove what set-up, tests and checks made; .gridpact, the platform's state, stays
	rm -rf .venv .tools .setup.lock bench/.venv web/node_modules
	find . -name .git -prune -o -type d \( -name __pycache__ -o -name '.*_cache' -o -name .hypothesis \) \
		-exec rm -rf {} +
