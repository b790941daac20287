# Finds minizip, the zip reader that comes with zlib, preferably as a static library, with zlib itself.
find_package(ZLIB)
find_path(Minizip_INCLUDE_DIR NAMES minizip/unzip.h)
find_library(Minizip_LIBRARY NAMES libminizip.a minizip)
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(Minizip
  REQUIRED_VARS Minizip_LIBRARY Minizip_INCLUDE_DIR ZLIB_FOUND
  REASON_FAILURE_MESSAGE "Install it (Debian, Ubuntu: apt-get install libminizip-dev zlib1g-dev).")
if(Minizip_FOUND AND NOT TARGET Minizip::Minizip)
  add_library(Minizip::Minizip UNKNOWN IMPORTED)
  set_target_properties(Minizip::Minizip PROPERTIES
    IMPORTED_LOCATION "${Minizip_LIBRARY}" INTERFACE_INCLUDE_DIRECTORIES "${Minizip_INCLUDE_DIR}" INTERFACE_LINK_LIBRARIES ZLIB::ZLIB)
endif()
