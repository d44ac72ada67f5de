#include "models/Builtin.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>

#include "athanor/models/Cnn.h"
#include "athanor/models/Gpt.h"
#include "athanor/models/Llama.h"
#include "athanor/models/Mlp.h"
#include "athanor/models/Resnet.h"
#include "athanor/models/TorchScript.h"
#include "athanor/models/Vit.h"

namespace athanor::models {

std::int64_t at_least(const core::Config& table, const std::string& key, std::int64_t smallest, std::int64_t fallback) {
  const auto value = table.integer(key, fallback);
  if (value < smallest || value > (std::int64_t{1} << 40))
    table.reject(key, fmt::format("must be >= {}, got {}", smallest, value));
  return value;
}

std::vector<std::int64_t> widths_from(const core::Config& table, const std::string& key,
                                      const std::vector<std::int64_t>& fallback) {
  auto widths = table.integers(key, fallback);
  for (const auto width : widths)
    if (width < 1) table.reject(key, fmt::format("must be widths >= 1, got {}", width));
  return widths;
}

double dropout_from(const core::Config& table) {
  const auto dropout = table.number("dropout", 0.0);
  if (!(dropout >= 0 && dropout < 1)) table.reject("dropout", fmt::format("must be >= 0 and < 1, got {}", dropout));
  return dropout;
}

Model mlp_from(const core::Config& table) {
  const MlpOptions options{.inputs = at_least(table, "inputs", 1, 784),
                           .hidden = widths_from(table, "hidden", {256}),
                           .classes = at_least(table, "classes", 1, 10),
                           .activation = activation_from(table, "relu"),
                           .dropout = dropout_from(table)};
  Model model{Mlp(options)};
  model.sample_shape = {options.inputs};
  model.classes = options.classes;
  return model;
}

Model cnn_from(const core::Config& table) {
  const CnnOptions options{.channels = at_least(table, "channels", 1, 1),
                           .image = at_least(table, "image", 1, 28),
                           .classes = at_least(table, "classes", 1, 10),
                           .widths = widths_from(table, "widths", {32, 64}),
                           .kernel = at_least(table, "kernel", 1, 3),
                           .hidden = at_least(table, "hidden", 0, 128),
                           .batch_norm = table.boolean("batch_norm", true),
                           .dropout = dropout_from(table)};
  if (options.kernel % 2 == 0) table.reject("kernel", fmt::format("must be odd, got {}", options.kernel));
  if (options.widths.size() > 30 || options.image >> options.widths.size() == 0)
    table.reject("widths", fmt::format("has {} stages, more than an image of {} can be halved", options.widths.size(),
                                       options.image));
  Model model{Cnn(options)};
  model.sample_shape = {options.channels, options.image, options.image};
  model.classes = options.classes;
  return model;
}

Model resnet_from(const core::Config& table) {
  const ResnetOptions options{.depth = at_least(table, "depth", 1, 20),
                              .channels = at_least(table, "channels", 1, 3),
                              .classes = at_least(table, "classes", 1, 10)};
  static const std::array<std::int64_t, 10> depths{18, 20, 32, 34, 44, 50, 56, 101, 110, 152};
  if (std::ranges::find(depths, options.depth) == depths.end())
    table.reject("depth", fmt::format("must be one of {}, got {}", fmt::join(depths, ", "), options.depth));
  Model model{Resnet(options)};
  model.classes = options.classes;
  return model;
}

Model vit_from(const core::Config& table) {
  const VitOptions options{.channels = at_least(table, "channels", 1, 3),
                           .image = at_least(table, "image", 1, 224),
                           .patch = at_least(table, "patch", 1, 16),
                           .classes = at_least(table, "classes", 1, 10),
                           .layers = at_least(table, "layers", 1, 12),
                           .heads = at_least(table, "heads", 1, 12),
                           .width = at_least(table, "width", 1, 768),
                           .mlp = at_least(table, "mlp", 1, 3072),
                           .dropout = dropout_from(table)};
  if (options.image % options.patch != 0)
    table.reject("patch", fmt::format("must divide image = {}, got {}", options.image, options.patch));
  if (options.width % options.heads != 0)
    table.reject("heads", fmt::format("must divide width = {}, got {}", options.width, options.heads));
  Model model{Vit(options)};
  model.sample_shape = {options.channels, options.image, options.image};
  model.classes = options.classes;
  return model;
}

Model gpt_from(const core::Config& table) {
  const GptOptions options{.layers = at_least(table, "layers", 1, 4),
                           .heads = at_least(table, "heads", 1, 4),
                           .width = at_least(table, "width", 1, 128),
                           .block = at_least(table, "block", 1, 64),
                           .vocabulary = at_least(table, "vocabulary", 1, 256),
                           .dropout = dropout_from(table),
                           .bias = table.boolean("bias", false)};
  if (options.width % options.heads != 0)
    table.reject("heads", fmt::format("must divide width = {}, got {}", options.width, options.heads));
  Model model{Gpt(options)};
  model.sample_shape = {options.block};
  model.classes = options.vocabulary;
  return model;
}

Model llama_from(const core::Config& table) {
  LlamaOptions options{.layers = at_least(table, "layers", 1, 4),
                       .heads = at_least(table, "heads", 1, 4),
                       .width = at_least(table, "width", 1, 128),
                       .mlp = at_least(table, "mlp", 1, 344),
                       .block = at_least(table, "block", 1, 64),
                       .vocabulary = at_least(table, "vocabulary", 1, 256),
                       .rope_base = table.number("rope_base", 10000.0),
                       .rope_factor = table.number("rope_factor", 1.0),
                       .epsilon = table.number("epsilon", 1e-5),
                       .tied = table.boolean("tied", false)};
  options.kv_heads = at_least(table, "kv_heads", 1, options.heads);
  if (options.width % options.heads != 0 || options.width / options.heads % 2 != 0)
    table.reject("heads", fmt::format("must divide width = {} into even parts, got {}", options.width, options.heads));
  if (options.heads % options.kv_heads != 0)
    table.reject("kv_heads", fmt::format("must divide heads = {}, got {}", options.heads, options.kv_heads));
  if (!(options.rope_base > 0)) table.reject("rope_base", fmt::format("must be > 0, got {}", options.rope_base));
  if (!(options.rope_factor >= 1))
    table.reject("rope_factor", fmt::format("must be >= 1, got {}", options.rope_factor));
  if (!(options.epsilon > 0)) table.reject("epsilon", fmt::format("must be > 0, got {}", options.epsilon));
  Model model{Llama(options)};
  model.sample_shape = {options.block};
  model.classes = options.vocabulary;
  return model;
}

Model torchscript_from(const core::Config& table) {
  const auto path = table.text("path", "");
  if (path.empty()) table.reject("path", "must name a file that torch.jit.save wrote");
  return load_torchscript(path);
}

}  // namespace athanor::models
