# The stand-in drivers of tests/gpu/room.cmake, and one of CUDA's.
add_library(cuda_standin MODULE ${CMAKE_CURRENT_LIST_DIR}/standin/Cuda.cpp)
target_compile_options(cuda_standin PRIVATE -O0 -g0)
set_target_properties(cuda_standin PROPERTIES LIBRARY_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/tests/standin)
target_compile_definitions(test_cli PRIVATE ATHANOR_STANDINS="${PROJECT_BINARY_DIR}/tests/standin")
add_dependencies(test_cli cuda_standin nvml_one nvml_mig nvml_freeing)
