# Finds OpenMM as pip installs it (site-packages/OpenMM.libs) or as conda does (prefix/include, prefix/lib).
# Sets OpenMM_FOUND, OpenMM_VERSION (which the library is asked for), OpenMM_ROOT_DIR and the target OpenMM::OpenMM.
# Hints: OpenMM_ROOT, OPENMM_DIR, the Python that CMake found.
if(Python_EXECUTABLE)
  execute_process(
    COMMAND ${Python_EXECUTABLE} -c "import importlib.util as u; s = u.find_spec('openmm'); print(s.submodule_search_locations[0] if s else '')"
    OUTPUT_VARIABLE _openmm_package OUTPUT_STRIP_TRAILING_WHITESPACE)
endif()
find_path(OpenMM_INCLUDE_DIR NAMES OpenMM.h
  HINTS ${OpenMM_ROOT} ${OPENMM_DIR} $ENV{OPENMM_DIR} ${_openmm_package}/../OpenMM.libs ${Python_PREFIX} $ENV{CONDA_PREFIX}
  PATH_SUFFIXES include)
get_filename_component(OpenMM_ROOT_DIR "${OpenMM_INCLUDE_DIR}" DIRECTORY)
find_library(OpenMM_LIBRARY NAMES OpenMM HINTS ${OpenMM_ROOT_DIR}/lib NO_DEFAULT_PATH)

if(OpenMM_INCLUDE_DIR AND OpenMM_LIBRARY)
  set(_openmm_source ${CMAKE_CURRENT_BINARY_DIR}/openmm_version.cpp)
  file(WRITE ${_openmm_source} "#include <cstdio>
#include <openmm/Platform.h>
int main() { std::fputs(OpenMM::Platform::getOpenMMVersion().c_str(), stdout); }
")
  unset(_openmm_runs CACHE)
  try_run(_openmm_runs _openmm_compiles ${CMAKE_CURRENT_BINARY_DIR}/openmm_version ${_openmm_source}
    CMAKE_FLAGS "-DINCLUDE_DIRECTORIES=${OpenMM_INCLUDE_DIR}" LINK_LIBRARIES ${OpenMM_LIBRARY}
    COMPILE_OUTPUT_VARIABLE _openmm_errors RUN_OUTPUT_VARIABLE OpenMM_VERSION)
  if(NOT _openmm_compiles OR NOT _openmm_runs EQUAL 0)
    message(WARNING "${OpenMM_LIBRARY} can't be asked for its version:\n${_openmm_errors}")
  endif()
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(OpenMM
  REQUIRED_VARS OpenMM_LIBRARY OpenMM_INCLUDE_DIR OpenMM_VERSION VERSION_VAR OpenMM_VERSION HANDLE_VERSION_RANGE
  REASON_FAILURE_MESSAGE "Install OpenMM 8.6 (pip install 'openmm>=8.6,<8.7') or set OpenMM_ROOT.")

if(OpenMM_FOUND AND NOT TARGET OpenMM::OpenMM)
  add_library(OpenMM::OpenMM SHARED IMPORTED)
  set_target_properties(OpenMM::OpenMM PROPERTIES
    IMPORTED_LOCATION "${OpenMM_LIBRARY}" INTERFACE_INCLUDE_DIRECTORIES "${OpenMM_INCLUDE_DIR}")
endif()
