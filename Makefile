# Each target is one command; all of them first see to it that .venv holds what requirements.lock pins.
.DEFAULT_GOAL := help
.PHONY: help demo test soak up check bench migrate
.DELETE_ON_ERROR:
PY := .venv/bin/python
# A .venv works only where it was made: the stamp names the place, so a copied checkout makes its own.
READY := .venv/.installed-$(shell pwd | cksum | cut -d' ' -f1)

help:     ## show this list
	@awk -F':.*## ' '/^[a-z]+:.*## /{printf "  make %-9s %s\n", $$1, $$2}' Makefile

demo: $(READY)     ## run the main job end to end on the embedded stack and verify its receipt offline
	@exec .venv/bin/lucid demo

test: $(READY)     ## run the tests; they start what they need
	@exec $(PY) -m pytest

soak: $(READY)     ## run the tests and campaigns at full counts
	@LUCID_SOAK=1 exec $(PY) -m pytest

up: $(READY)     ## run the whole stack until Ctrl-C on http://127.0.0.1:${PORT:-3001}
	@exec .venv/bin/lucid up

check: $(READY)     ## lint, types, import contracts, migrations lint, generated documents
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	.venv/bin/lint-imports
	.venv/bin/squawk migrations/*.sql
	.venv/bin/lucid diagrams --check

bench: $(READY)     ## run the benchmarks, peers side by side
	@exec $(PY) -m benchmarks

migrate: $(READY)     ## bring the database up to the version that the code asks for
	@exec .venv/bin/lucid migrate

$(READY): requirements.lock devstack/bootstrap.sh devstack/entrypoint.py
	@exec sh devstack/bootstrap.sh $@
