# Finds libmd (message digests of BSD), preferably as a static library.
find_path(LibMd_INCLUDE_DIR NAMES sha2.h)
find_library(LibMd_LIBRARY NAMES libmd.a md)
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(LibMd
  REQUIRED_VARS LibMd_LIBRARY LibMd_INCLUDE_DIR
  REASON_FAILURE_MESSAGE "Install it (Debian, Ubuntu: apt-get install libmd-dev).")
if(LibMd_FOUND AND NOT TARGET LibMd::LibMd)
  add_library(LibMd::LibMd UNKNOWN IMPORTED)
  set_target_properties(LibMd::LibMd PROPERTIES
    IMPORTED_LOCATION "${LibMd_LIBRARY}" INTERFACE_INCLUDE_DIRECTORIES "${LibMd_INCLUDE_DIR}")
endif()
