# Optimizers that take sparse gradients are rehearsed, which the room itself does not know.
target_link_libraries(test_rehearse PRIVATE athanor_optim)
