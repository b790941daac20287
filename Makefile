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

# Model families need packages that exclude each other: each has an environment of its own, on top of $(VENV).
families := aimnet2 mace metatomic nequip torchmdnet
packages := import sysconfig; print(sysconfig.get_paths()["purelib"])

.PHONY: help demo test test-long test-families lint install bench clean

help:
	@echo "make demo   install into $(VENV) and run a protein-ligand complex (15 minutes on 2 cores)"
	@echo "make test   install into $(VENV) and run all tests"
	@echo "make test-long  every figure in full, in one table: 2,000 damaged model files, 200 kills, model families ..."
	@echo "make bench  what NNPForce and its neighbor list cost beside a model, and of model families (an hour)"

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

test: install $(bin)/.tests lint
	$(bin)/mypy
	$(opencl_environment) $(bin)/python -m pytest

# Long tests, and all that measure a figure. One table at the end, also if something failed.
test-long: install $(bin)/.tests $(families:%=$(VENV)-%/.installed)
	rm -rf build/figures
	status=0; \
	$(MAKE) --keep-going test-families || status=1; \
	$(opencl_environment) $(bin)/python -m pytest -n 2 --dist worksteal -m "long or figure" \
	    --ignore tests/python/families --figures build/figures/main.json || status=1; \
	$(bin)/python tests/python/figures.py --table build/figures/table.md \
	    build/figures/main.json $(families:%=build/figures/%.json) || status=1; \
	exit $$status

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
	$(VENV)-$*/bin/python -m pytest -m long --figures build/figures/$*.json tests/python/families/test_$*.py

bench: install $(bin)/.tests
	OPENMM_CPU_THREADS=1 $(bin)/python tests/benchmarks/glue.py
	CL_CONFIG_CPU_TBB_NUM_WORKERS=1 $(opencl_environment) $(bin)/python tests/benchmarks/overlap.py
	CL_CONFIG_CPU_TBB_NUM_WORKERS=1 $(opencl_environment) $(bin)/python tests/benchmarks/neighbors.py
	OPENMM_CPU_THREADS=1 $(bin)/python tests/benchmarks/water.py
	OPENMM_CPU_THREADS=1 $(bin)/python tests/benchmarks/families.py message_passing
ifdef OPENMMNNP_TEST_DATA
	$(bin)/python tests/benchmarks/ani.py $(OPENMMNNP_TEST_DATA)/ani-2x/ani-2x_8x
	OPENMM_CPU_THREADS=1 $(bin)/python tests/benchmarks/families.py ani2x
endif

bench-family-%: $(VENV)-%/.installed install
	OPENMM_CPU_THREADS=1 $(VENV)-$*/bin/python tests/benchmarks/families.py $*

# Allegro comes with NequIP's environment.
bench-family-allegro: $(VENV)-nequip/.installed install
	OPENMM_CPU_THREADS=1 $(VENV)-nequip/bin/python tests/benchmarks/families.py allegro

clean:
	rm -rf $(VENV) $(families:%=$(VENV)-%) build
