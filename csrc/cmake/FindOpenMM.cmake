# Finds OpenMM as pip installs it (site-packages/OpenMM.libs) or as conda does (prefix/include, prefix/lib).
# Sets OpenMM_FOUND, OpenMM_VERSION, OpenMM_ROOT_DIR and the target OpenMM::OpenMM.
# Hints: OpenMM_ROOT, OPENMM_DIR, the Python that CMake found.
if(Python_EXECUTABLE)
  execute_process(
    COMMAND ${Python_EXECUTABLE} -c "import sysconfig; print(sysconfig.get_paths()['platlib'])"
    OUTPUT_VARIABLE _openmm_site OUTPUT_STRIP_TRAILING_WHITESPACE)
endif()
find_path(OpenMM_INCLUDE_DIR NAMES OpenMM.h
  HINTS ${OpenMM_ROOT} ${OPENMM_DIR} $ENV{OPENMM_DIR} ${_openmm_site}/OpenMM.libs ${Python_PREFIX} $ENV{CONDA_PREFIX}
  PATH_SUFFIXES include)
get_filename_component(OpenMM_ROOT_DIR "${OpenMM_INCLUDE_DIR}" DIRECTORY)
find_library(OpenMM_LIBRARY NAMES OpenMM HINTS ${OpenMM_ROOT_DIR}/lib NO_DEFAULT_PATH)
if(Python_EXECUTABLE)
  execute_process(
    COMMAND ${Python_EXECUTABLE} -c "from importlib.metadata import version; print(version('openmm'))"
    OUTPUT_VARIABLE OpenMM_VERSION OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(OpenMM
  REQUIRED_VARS OpenMM_LIBRARY OpenMM_INCLUDE_DIR OpenMM_VERSION VERSION_VAR OpenMM_VERSION
  REASON_FAILURE_MESSAGE "Install OpenMM 8.6 (pip install 'openmm>=8.6,<8.7') or set OpenMM_ROOT.")

if(OpenMM_FOUND AND NOT TARGET OpenMM::OpenMM)
  add_library(OpenMM::OpenMM SHARED IMPORTED)
  set_target_properties(OpenMM::OpenMM PROPERTIES
    IMPORTED_LOCATION "${OpenMM_LIBRARY}" INTERFACE_INCLUDE_DIRECTORIES "${OpenMM_INCLUDE_DIR}")
endif()
