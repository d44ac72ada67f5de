# Thin by design: the work is in scripts/ and CMake.
.PHONY: setup build demo test bench install format clean
PRESET ?= release
TOPIC ?= all
PREFIX ?= /usr/local

setup:
	@scripts/setup

build: setup
	@scripts/build $(PRESET)

demo: build
	@scripts/demo

test: setup
	@scripts/test $(PRESET)

bench: setup
	@scripts/bench $(TOPIC)

install: build
	@cmake --install build/$(PRESET) --prefix $(PREFIX)

format:
	@git ls-files '*.h' '*.cpp' | xargs clang-format -i

clean:
	rm -rf build
