# Finds OpenMM's OpenCL platform and OpenCL's headers.  Needs OpenMM.  Sets OpenMMOpenCL_FOUND and the target
# OpenMM::OpenCL.
find_library(OpenMMOpenCL_LIBRARY NAMES OpenMMOpenCL HINTS ${OpenMM_ROOT_DIR}/lib/plugins NO_DEFAULT_PATH)
find_path(OpenCL_HEADERS NAMES CL/cl.h)

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(OpenMMOpenCL REQUIRED_VARS OpenMMOpenCL_LIBRARY OpenCL_HEADERS)

if(OpenMMOpenCL_FOUND AND NOT TARGET OpenMM::OpenCL)
  add_library(OpenMM::OpenCL SHARED IMPORTED)
  set_target_properties(OpenMM::OpenCL PROPERTIES
    IMPORTED_LOCATION "${OpenMMOpenCL_LIBRARY}" INTERFACE_INCLUDE_DIRECTORIES "${OpenCL_HEADERS}")
endif()
