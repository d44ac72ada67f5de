# Optimizers that take sparse gradients are rehearsed, which the room itself does not know.
target_link_libraries(test_rehearse PRIVATE athanor_optim)

# A stand-in for libcudnn, and the program that asks it.
add_library(cudnn_standin MODULE ${CMAKE_CURRENT_LIST_DIR}/standin/Cudnn.cpp)
target_compile_features(cudnn_standin PRIVATE cxx_std_20)
target_compile_options(cudnn_standin PRIVATE -O0 -g0)
set_target_properties(cudnn_standin PROPERTIES PREFIX lib OUTPUT_NAME cudnn SUFFIX .so.9
  LIBRARY_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/tests/standin)
target_compile_definitions(test_rehearse PRIVATE ATHANOR_BUILD="${PROJECT_BINARY_DIR}"
  ATHANOR_STANDINS="${PROJECT_BINARY_DIR}/tests/standin")
add_dependencies(test_rehearse cudnn_standin athanor_cudnn_program)
