# SPDX-License-Identifier: MIT
# Every target installs or prepares what it needs first; nothing is done twice.
SHELL := /bin/bash
PYTHON := .venv/bin/python
VM := $(PYTHON) -m fusebpf.vm

# Tests to run in the guest (make test-vm T=tests/vm/test_attach.py) and pytest's options for it.
T ?= tests/vm
ARGS ?=
# Kernel of the guest: stock (Debian 13's), debian12 (Debian 12's 6.12) and backports (7.3) with the
# module, patched or debug with fuse-bpf in its own FUSE.
KERNEL ?= stock
# Kernel of the matrix; empty: all.
K ?=
# Columns of the benchmark; empty: all.
C ?=
# Machine of vagrant/Vagrantfile, patched or stock; empty: both.
NAME ?=
# Kernel release to build the module for on this machine; empty: the guest's kernel.
KVER ?=
IN_GUEST := $(VM) run --kernel $(KERNEL) --rw build/junit --
GUEST_PYTEST := python -m pytest -p no:cacheprovider -p no:hypothesispytest
RACES := tests/vm/test_kernel_races.py tests/vm/test_kernel_races_names.py

# A script that shows a difference between a mount and a directory (docs/testing.md); LOWER and MOUNT
# are the file's own when empty.
SCRIPT ?=
LOWER ?=
MOUNT ?=

.PHONY: help dev lint test test-long test-unit test-vm replay demo vm kernel module man docs wheel deb test-deb
.PHONY: bench bench-check test-matrix vagrant-box vagrant-test clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "%-12s %s\n", $$1, $$2}' Makefile

dev: ## install Debian packages and make .venv (the CLI is .venv/bin/fusebpf)
	@scripts/setup.sh

lint: dev ## ruff, mypy, codespell, shellcheck, licences; checkpatch and sparse once `make vm` ran
	@scripts/lint.sh

test: dev ## everything that CI runs
	@$(PYTHON) scripts/check.py

test-long: vm ## everything with a big count, and all tests on the other kernels (hours; docs/testing.md)
	FUSEBPF_PROGRAMS=20000 FUSEBPF_MUTATIONS=100000 FUSEBPF_CARETS=2000 FUSEBPF_FAULTS=all $(PYTHON) -m pytest -s -o timeout=0 tests/property $(ARGS)
	FUSEBPF_GUARD_CASES=500000 $(PYTHON) -m pytest -o timeout=0 tests/unit/test_guard_match.py tests/unit/test_guard_automaton.py tests/unit/test_guard_tags.py $(ARGS)
	$(PYTHON) scripts/costliest.py
	rm -rf build/generated && $(PYTHON) -m tests.property.objects build/generated 4000
	@mkdir -p build/junit
	$(IN_GUEST) env FUSEBPF_OBJECTS=build/generated $(GUEST_PYTEST) -s tests/vm/test_generated.py
	$(IN_GUEST) env FUSEBPF_STRESS_SECONDS=10 $(GUEST_PYTEST) -o timeout=900 \
		--junitxml=build/junit/programs-long.xml tests/vm/test_programs.py tests/vm/test_programs_load.py \
		tests/vm/test_filters_views.py tests/vm/test_filters_examples.py $(ARGS)
	$(IN_GUEST) env FUSEBPF_DIFF_OPS=200000 $(GUEST_PYTEST) -s \
		--junitxml=build/junit/differential-long.xml tests/vm/test_differential.py $(ARGS)
	$(IN_GUEST) env FUSEBPF_GUARD_OPS=100000 $(GUEST_PYTEST) -s \
		--junitxml=build/junit/guard-long.xml tests/vm/test_guard_oracle.py $(ARGS)
	$(IN_GUEST) env FUSEBPF_REPLIES=1000000 $(GUEST_PYTEST) -s \
		--junitxml=build/junit/replies-long.xml tests/vm/test_daemon_fuzz.py $(ARGS)
	$(IN_GUEST) env FUSEBPF_HOSTILE=10000 $(GUEST_PYTEST) -s \
		--junitxml=build/junit/hostile-long.xml tests/vm/test_kernel_hostile.py $(ARGS)
	$(IN_GUEST) env FUSEBPF_REPLACEMENTS=1000 FUSEBPF_KILLS=50 FUSEBPF_CYCLES=200 FUSEBPF_EVENTS=1000000 \
		$(GUEST_PYTEST) -s -o timeout=0 --junitxml=build/junit/attach-long.xml \
		tests/vm/test_replace.py tests/vm/test_any_moment.py tests/vm/test_attach.py tests/vm/test_watch.py $(ARGS)
	FUSEBPF_BOOT=1 $(PYTHON) -m pytest tests/vm_host/test_boot.py
	$(MAKE) test-deb
	$(MAKE) test-matrix K="debian12 patched debug backports"
	for mode in voluntary full; do \
		$(VM) run --cpus 4 --append preempt=$$mode -- env FUSEBPF_RACE_SECONDS=60 $(GUEST_PYTEST) -o timeout=0 $(RACES) || exit; done

test-unit: dev ## unit and golden tests: no guest, two minutes
	@$(PYTHON) -m pytest -q tests/unit tests/golden examples/tests $(ARGS)

test-vm: vm ## run tests in the guest: T=path of tests, ARGS=pytest options, KERNEL=debian12, backports, patched or debug
	@mkdir -p build/junit
	@$(IN_GUEST) $(GUEST_PYTEST) --junitxml=build/junit/test-vm.xml $(T) $(ARGS)

replay: vm ## replay a script of the differential test in the guest: SCRIPT=file [LOWER=tmpfs]
	@$(VM) run --kernel $(KERNEL) -- python -m tests.differential $(SCRIPT) $(if $(LOWER),--lower $(LOWER)) $(if $(MOUNT),--mount $(MOUNT))

bench: vm ## count what operations cost, in guest instructions, into docs/performance.md; C="bind guard": these alone
	@$(PYTHON) -c "import matplotlib" 2>/dev/null || $(PYTHON) -m pip install --quiet --disable-pip-version-check -e '.[bench]'
	@$(PYTHON) scripts/bench.py $(C)

bench-check: vm ## count, and fail where it is more than docs/performance.json and a band of 2 to 4 % say
	@$(PYTHON) scripts/bench.py --check

demo: vm ## boot the guest and show the examples at work on a real tree
	@scripts/demo.sh

vm: dev ## prepare guest root, kernel and module (cached)
	@$(VM) prepare --kernel $(KERNEL)

kernel: dev ## build the patched kernel, or with KERNEL=debug the one with sanitizers (cached)
	@$(VM) prepare --kernel $(KERNEL:stock=patched)

module: dev ## build fusebpf.ko and print its path: for the guest, or for this machine with KVER=
ifeq ($(KVER),)
	@$(VM) prepare --print-module
else
	@$(PYTHON) kernel/build.py module --root / --kver $(KVER)
endif

man: dev ## write man pages and shell completion, made from the commands' help, into build/
	@$(PYTHON) -m fusebpf.cli.pages build && echo "build/man build/completion"

docs: dev ## build the documents as a site in build/docs; a broken link or anchor is an error
	@[ -x .venv/bin/mkdocs ] || $(PYTHON) -m pip install --quiet --disable-pip-version-check -e '.[docs]'
	@$(PYTHON) scripts/docs.py

wheel: dev ## build the wheel, into build/dist
	@rm -rf build/dist && $(PYTHON) -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir build/dist . && ls build/dist/*

deb: man wheel ## build the Debian packages (docs/packages.md), into build/deb
	@scripts/deb.sh

test-deb: vm deb ## install, boot with, upgrade and purge the Debian packages in a Debian 13
	@$(PYTHON) scripts/test_deb.py

test-matrix: vm ## try every kernel of docs/kernels.md and write the results there (hours); K=sid tries that one
	@$(PYTHON) scripts/matrix.py $(K)

vagrant-box: vm deb ## make the boxes of vagrant/Vagrantfile (docs/vagrant.md); NAME=stock makes that one
	@scripts/install.sh "make vagrant-box" openssh-client qemu-utils
	@$(PYTHON) vagrant/box.py $(NAME)

vagrant-test: vagrant-box ## boot the machines by Vagrant, use them over ssh, destroy them; INTERRUPT=5 kills runs first
	@scripts/install.sh "make vagrant-test" dnsmasq-base iproute2 iptables libvirt-clients \
		libvirt-daemon-system openssh-client vagrant vagrant-libvirt
	@$(PYTHON) vagrant/test.py $(NAME) $(if $(INTERRUPT),--interrupt $(INTERRUPT)) -- $(ARGS)

clean: ## remove what was built in this tree (the cache in ~/.cache/fusebpf stays)
	rm -rf build .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
