# What a GPU would be asked for is asked of the phantom.
target_link_libraries(test_optim PRIVATE athanor_rehearse)
