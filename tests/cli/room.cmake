# The stand-in drivers of tests/gpu/room.cmake.
target_compile_definitions(test_cli PRIVATE ATHANOR_STANDINS="${PROJECT_BINARY_DIR}/tests/standin")
add_dependencies(test_cli nvml_one nvml_mig nvml_freeing)
