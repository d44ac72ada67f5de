// An operator of one's own, and the rule that tells a rehearsal what it allocates on a GPU.
#include <fmt/format.h>
#include <torch/library.h>
#include <torch/torch.h>

#include "athanor/core/Bytes.h"
#include "athanor/rehearse/Rehearse.h"

namespace {

// y = x·sigmoid(x) and the mask of positive x, which a CUDA kernel would write in one pass.
std::tuple<at::Tensor, at::Tensor> gate(const at::Tensor& x) {
  return {x * x.sigmoid(), x > 0};
}

TORCH_LIBRARY(mine, library) {
  library.def("gate(Tensor x) -> (Tensor, Tensor)");
}
TORCH_LIBRARY_IMPL(mine, CPU, library) {
  library.impl("gate", &gate);
}

std::tuple<at::Tensor, at::Tensor> call_gate(const at::Tensor& x) {
  static const auto op = c10::Dispatcher::singleton()
                             .findSchemaOrThrow("mine::gate", "")
                             .typed<std::tuple<at::Tensor, at::Tensor>(const at::Tensor&)>();
  return op.call(x);
}

}  // namespace

int main() {
  namespace rehearse = athanor::rehearse;
  // What the CUDA kernel would allocate, in its order: two results and 1 KiB that it needs inside.
  const rehearse::Rule rule{.op = "mine::gate",
                            .rule =
                                [](rehearse::Call& call) {
                                  auto y = call.empty_like(call.tensor(0));
                                  auto mask = call.empty_like(call.tensor(0), torch::kBool);
                                  const auto scratch = call.scratch(1024);
                                  call.returns({y, mask});
                                },
                            .source = "gate.cu of this program"};
  const auto forecast = rehearse::rehearse({.gpu = "RTX 4090", .steps = 1, .rules = {rule}},
                                           [](torch::Device device, rehearse::Stage& stage) {
                                             while (stage.next_step()) {
                                               const auto x = torch::randn({1024, 1024}, device);
                                               const auto [y, mask] = call_gate(x);
                                             }
                                           });
  // x and y in fp32, the mask a byte each, the scratch.
  constexpr std::int64_t expected = 1024 * 1024 * (4 + 4 + 1) + 1024;
  fmt::print("peak {}, as expected: {}\n", athanor::Bytes{forecast.peak.allocated.value}.text(),
             forecast.peak.allocated.value == expected);
  return forecast.peak.allocated.value == expected ? 0 : 1;
}
