#include "rehearse/phantom/Reductions.h"

#include <ATen/OpMathType.h>
#include <ATen/TensorIterator.h>
#include <ATen/native/ReduceOpsUtils.h>

#include <algorithm>
#include <array>

#include "rehearse/phantom/Guard.h"
#include "rehearse/phantom/Install.h"
#include "rehearse/phantom/Memory.h"

namespace athanor::rehearse::phantom {
namespace {

constexpr std::int64_t warp = 32;
constexpr std::int64_t most_threads = 512;
constexpr std::int64_t fewest_values = 16;  // a thread should sum at least
constexpr std::int64_t most_values = 256;   // and at most

std::int64_t power_below(std::int64_t n) {
  std::int64_t power = 1;
  while (power * 2 <= n) power *= 2;
  return power;
}
std::int64_t up(std::int64_t n, std::int64_t d) {
  return (n + d - 1) / d;
}

// How many outputs a thread takes at once: 4, halved until shapes, strides and address allow it.
std::int64_t output_vector(const at::TensorIteratorBase& iterator, std::int64_t item) {
  std::int64_t vector = 4;
  const auto fit = [&](std::int64_t n) {
    while (n % vector != 0) vector /= 2;
  };
  const auto output = iterator.num_reduce_dims();
  fit(iterator.shape()[static_cast<std::size_t>(output)]);
  const auto strides = iterator.strides(iterator.noutputs());
  for (int i = 0; i < static_cast<int>(strides.size()); ++i)
    if (i != output) fit(strides[static_cast<std::size_t>(i)] / item);
  return vector;
}

// The launch of a reduction, with Reduce.cuh's names.
struct Launch {
  std::int64_t outputs = 1, inputs = 1;
  std::int64_t step_input = 1, step_output = 1;
  std::int64_t width = 1, height = 1, vector = 1;
  std::int64_t ctas_per_output = 1;
  bool block_x_reduce = false;

  [[nodiscard]] std::int64_t values_per_thread() const { return up(inputs, step_input); }
  [[nodiscard]] std::int64_t grid() const { return up(outputs / vector, step_output); }

  void set_block(std::int64_t dim0, std::int64_t dim1) {
    const auto limit = most_threads / vector;
    const auto power = [&](std::int64_t n) { return n < limit ? power_below(std::max<std::int64_t>(n, 1)) : limit; };
    const auto x = power(dim0);
    width = std::min(x, warp);
    height = std::min(power(dim1), limit / width);
    width = std::min(x, limit / height);
  }
};

Launch configure(const at::TensorIteratorBase& iterator, const ReductionKernel& kernel) {
  Launch launch;
  const int input = iterator.ntensors() - 1;
  const auto item = static_cast<std::int64_t>(iterator.element_size(input));
  launch.outputs = iterator.num_output_elements();
  launch.inputs = iterator.numel() / std::max<std::int64_t>(1, launch.outputs);
  std::int64_t dim0 = 1;
  std::int64_t dim1 = 1;
  bool fastest = true;
  if (iterator.ndim() > 0) {
    const auto strides = iterator.strides(input);
    const auto reduced = static_cast<std::size_t>(iterator.num_reduce_dims());
    fastest = iterator.num_reduce_dims() == iterator.ndim() || strides[0] < strides[reduced];
    dim0 = fastest ? launch.inputs : launch.outputs;
    dim1 = fastest ? launch.outputs : launch.inputs;
    if (fastest && strides[0] == item && dim0 > 128 && iterator.ndim() == 1) dim0 /= kernel.values_per_thread;
    if (!fastest && strides[reduced] == item) {
      launch.vector = output_vector(iterator, item);
      dim0 /= launch.vector;
    }
  }
  launch.set_block(dim0, dim1);
  launch.block_x_reduce = iterator.ndim() == 0 || fastest;
  (launch.block_x_reduce ? launch.step_input : launch.step_output) *= launch.width;
  const bool across_warps = launch.values_per_thread() >= std::min(launch.height * fewest_values, most_values);
  (across_warps ? launch.step_input : launch.step_output) *= launch.height;
  const auto blocks_per_sm = traits().threads_per_sm / (launch.width * launch.height);
  const auto target = traits().sm_count * blocks_per_sm;
  if (across_warps && launch.values_per_thread() >= most_values && launch.grid() <= target)
    launch.ctas_per_output =
        std::max(std::min(up(target, launch.grid()), up(launch.values_per_thread(), fewest_values)),
                 up(launch.values_per_thread(), most_values));
  return launch;
}

}  // namespace

void reduction_scratch(const at::Tensor& result, const at::Tensor& input, const std::vector<std::int64_t>& dims,
                       bool keep, const ReductionKernel& kernel) {
  if (input.numel() == 0 || input.dim() > 64) return;
  auto output = result;
  const auto iterator = at::native::make_reduction("reduce", output, input, dims, keep, result.scalar_type());
  const auto launch = configure(iterator, kernel);
  if (launch.ctas_per_output <= 1) return;
  auto bytes =
      launch.outputs * launch.ctas_per_output *
      (kernel.argument_bytes > 0 ? kernel.argument_bytes
                                 : static_cast<std::int64_t>(c10::elementSize(at::toOpMathType(input.scalar_type()))));
  if (!launch.block_x_reduce) bytes *= launch.width * launch.vector;
  auto& memory = Memory::instance();
  const auto staging = memory.allocate({bytes, Confidence::exact}, Guard::place());
  const auto semaphores = memory.allocate({4 * launch.grid(), Confidence::exact}, Guard::place());
}

}  // namespace athanor::rehearse::phantom
