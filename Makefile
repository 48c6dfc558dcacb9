# One set-up for everything: `make demo` and `make test` work from a clean clone.
PYTHON ?= python3.11
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.PHONY: demo test check format proto reference bench bench-peers tables clean

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt torch
	$(BIN)/python -m pip install --quiet -c constraints.txt --editable ".[dev]"
	touch $(STAMP)

demo: $(STAMP)
	$(BIN)/intact demo --out build/demo

test: $(STAMP)
	$(BIN)/python -m pytest -n 2

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# The gRPC messages as the server reads them; a test compares the file with its source.
PROTOCOL := src/intact/serve/protocol
proto: $(STAMP)
	$(BIN)/python -m grpc_tools.protoc -I $(PROTOCOL) --descriptor_set_out=$(PROTOCOL)/open_inference.binpb open_inference.proto

reference: $(STAMP)
	$(BIN)/python docs/generate_reference.py

# The benchmarks on real models need INTACT_DATA; peers take part where `make bench-peers` was run before.
bench: $(VENV)/.examples
	$(BIN)/intact bench import_time opening resnet20 minilm widths_resnet20 widths_minilm widths_stories

bench-peers: build/nncf/bin/python build/peers/.installed build/serving_peers/.installed

tables: $(STAMP)
	$(BIN)/python benchmarks/tables.py

$(VENV)/.examples: $(STAMP)
	$(BIN)/python -m pip install --quiet -c constraints.txt --editable ".[dev,examples]"
	touch $@

build/nncf/bin/python:
	$(PYTHON) -m venv build/nncf
	build/nncf/bin/python -m pip install --quiet nncf openvino

build/serving_peers/.installed: benchmarks/serving_peers.txt
	$(PYTHON) -m venv build/serving_peers
	build/serving_peers/bin/python -m pip install --quiet -r benchmarks/serving_peers.txt
	touch $@

# torch first, and the same; the rest is what `benchmarks/peer_*.py` compare with
build/peers/.installed: benchmarks/peers.txt constraints.txt
	$(PYTHON) -m venv build/peers
	build/peers/bin/python -m pip install --quiet -c constraints.txt torch
	build/peers/bin/python -m pip install --quiet -c constraints.txt -r benchmarks/peers.txt
	touch $@

clean:
	rm -rf build dist $(VENV)
