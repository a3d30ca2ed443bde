# find_package(swrcache) gives swrcache::swrcache (shared) and swrcache::swrcache_static.
set(swrcache_INCLUDE_DIRS "@PREFIX@/include")

if(NOT TARGET swrcache::swrcache)
  add_library(swrcache::swrcache SHARED IMPORTED)
  set_target_properties(swrcache::swrcache PROPERTIES
    IMPORTED_LOCATION "@LIBDIR@/libswrcache.so"
    IMPORTED_SONAME "@SONAME@"
    INTERFACE_INCLUDE_DIRECTORIES "${swrcache_INCLUDE_DIRS}")

  add_library(swrcache::swrcache_static STATIC IMPORTED)
  set_target_properties(swrcache::swrcache_static PROPERTIES
    IMPORTED_LOCATION "@LIBDIR@/libswrcache.a"
    IMPORTED_LINK_INTERFACE_LANGUAGES "C"
    INTERFACE_LINK_LIBRARIES "pthread;dl;m"
    INTERFACE_INCLUDE_DIRECTORIES "${swrcache_INCLUDE_DIRS}")
endif()
