#include "athanor/models/Model.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <stdexcept>

namespace athanor::models {

void check_fits(const Model& model, std::span<const std::int64_t> sample_shape, std::int64_t classes) {
  const auto& wanted = model.sample_shape;
  // One number alone is a count of elements: the model flattens.
  const auto elements = [](std::span<const std::int64_t> shape) {
    std::int64_t count = 1;
    for (const auto size : shape) count *= size;
    return count;
  };
  const bool same = wanted.size() == 1 ? elements(sample_shape) == wanted[0] : std::ranges::equal(wanted, sample_shape);
  if (!wanted.empty() && !sample_shape.empty() && !same)
    throw std::invalid_argument(
        fmt::format("the model takes samples of {}, the data gives {}: set the model's inputs, channels and image (or "
                    "block) to the data's",
                    fmt::join(wanted, "×"), fmt::join(sample_shape, "×")));
  if (model.classes > 0 && classes > model.classes)
    throw std::invalid_argument(fmt::format(
        "class {} stands in the data, but the model has {} outputs, for classes 0 to {}: set model.classes = "
        "{} (gpt, llama: vocabulary) or mend the labels",
        classes - 1, model.classes, model.classes - 1, classes));
}

}  // namespace athanor::models
