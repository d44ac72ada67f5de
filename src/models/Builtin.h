#pragma once
#include "athanor/core/Config.h"
#include "athanor/models/Model.h"

namespace athanor::models {

// The built-in models from their table of a configuration, each beside the other keys it reads.
Model mlp_from(const core::Config& table);
Model cnn_from(const core::Config& table);
Model resnet_from(const core::Config& table);
Model vit_from(const core::Config& table);
Model gpt_from(const core::Config& table);
Model llama_from(const core::Config& table);
Model torchscript_from(const core::Config& table);

/// An integer >= smallest, or the mistake at its key.
std::int64_t at_least(const core::Config& table, const std::string& key, std::int64_t smallest, std::int64_t fallback);
/// A list of integers >= 1.
std::vector<std::int64_t> widths_from(const core::Config& table, const std::string& key,
                                      const std::vector<std::int64_t>& fallback);
/// A probability in [0, 1).
double dropout_from(const core::Config& table);

}  // namespace athanor::models
