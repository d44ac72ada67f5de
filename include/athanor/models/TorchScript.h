#pragma once
#include <filesystem>

#include "athanor/models/Model.h"

namespace athanor::models {

/// A network that Python saved with torch.jit.save(torch.jit.script(net), path), as a model that trains: its parameters
/// and buffers have their names of Python, and train(), eval() and to(device) reach it.
/// Throws athanor::Error if the file is not TorchScript or has no forward.
Model load_torchscript(const std::filesystem::path& path);

}  // namespace athanor::models
