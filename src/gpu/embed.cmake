# share/gpus.toml inside the program: no file to find at run time.
set(table ${PROJECT_SOURCE_DIR}/share/gpus.toml)
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${table})
file(READ ${table} ATHANOR_GPU_TABLE)
configure_file(${CMAKE_CURRENT_LIST_DIR}/BuiltinTable.cpp.in ${PROJECT_BINARY_DIR}/gpu/BuiltinTable.cpp @ONLY)
target_sources(athanor_gpu PRIVATE ${PROJECT_BINARY_DIR}/gpu/BuiltinTable.cpp)
