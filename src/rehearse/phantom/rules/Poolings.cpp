// Pooling and padding whose CUDA kernels size their results themselves.
#include <ATen/native/Pool.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/zeros_like.h>

#include "rehearse/phantom/Table.h"

namespace athanor::rehearse::phantom {
namespace {

using Sizes = std::vector<std::int64_t>;

// Replaces the last sizes of a tensor: of its image, not of its batch and channels.
Sizes with_image(const at::Tensor& self, const Sizes& image) {
  auto sizes = self.sizes().vec();
  std::copy(image.begin(), image.end(), sizes.end() - static_cast<std::ptrdiff_t>(image.size()));
  return sizes;
}

// _adaptive_avg_pool2d(self, output_size) and 3d: channels-last is kept, anything else is made contiguous.
void adaptive_average(Call& call) {
  const auto& self = call.tensor(0);
  const auto sizes = with_image(self, call.integers(1));
  const auto format = self.suggest_memory_format();
  if (self.dim() == 4 && format == at::MemoryFormat::ChannelsLast)
    return call.returns({call.empty(sizes, self.scalar_type(), format)});
  auto output = call.empty(sizes, self.scalar_type());
  const auto contiguous = self.contiguous();
  call.returns({output});
}

// …_backward(grad_output, self, …): a gradient of self's shape, zeroed or not.
void gradient_like_self(Call& call) {
  const auto gradient = call.tensor(0).contiguous(call.tensor(0).suggest_memory_format());
  call.returns({at::empty_like(call.tensor(1))});
}
void contiguous_gradient_like_self(Call& call) {
  auto result = call.empty(call.tensor(1).sizes(), call.tensor(1).scalar_type());
  const auto gradient = call.tensor(0).contiguous();
  call.returns({result});
}

std::int64_t at_or(const Sizes& values, std::size_t i, std::int64_t otherwise) {
  if (values.empty()) return otherwise;
  return values.size() == 1 ? values[0] : values[i];
}

// max_pool3d_with_indices(self, kernel_size, stride, padding, dilation, ceil_mode)
void max_pool_3d(Call& call) {
  const auto& self = call.tensor(0);
  const auto kernel = call.integers(1);
  const auto stride = call.integers(2);
  const auto padding = call.integers(3);
  const auto dilation = call.integers(4);
  Sizes image;
  for (std::size_t i = 0; i < 3; ++i) {
    const auto k = at_or(kernel, i, 1);
    image.push_back(at::native::pooling_output_shape<std::int64_t>(self.size(static_cast<std::int64_t>(i) - 3), k,
                                                                   at_or(padding, i, 0), at_or(stride, i, k),
                                                                   at_or(dilation, i, 1), call.flag(5)));
  }
  const auto sizes = with_image(self, image);
  const bool last = self.dim() == 5 && self.suggest_memory_format() == at::MemoryFormat::ChannelsLast3d;
  const auto format = last ? at::MemoryFormat::ChannelsLast3d : at::MemoryFormat::Contiguous;
  const auto input = self.contiguous(format);
  auto output = call.empty(sizes, self.scalar_type(), format);
  call.returns({output, call.empty(sizes, at::kLong, format)});
}

// max_unpool2d(self, indices, output_size), max_unpool3d(…)
void max_unpool(Call& call) {
  const auto& self = call.tensor(0);
  auto output = call.empty(with_image(self, call.integers(2)), self.scalar_type());
  const auto input = self.contiguous();
  const auto indices = call.tensor(1).contiguous();
  call.returns({output});
}

// reflection_pad2d(self, padding): left, right, top, bottom.
void pad(Call& call) {
  const auto& self = call.tensor(0);
  const auto padding = call.integers(1);
  auto sizes = self.sizes().vec();
  for (std::size_t i = 0; i < padding.size() / 2; ++i)
    sizes[sizes.size() - 1 - i] += padding[2 * i] + padding[2 * i + 1];
  auto output = call.empty(sizes, self.scalar_type());
  const auto input = self.contiguous();
  call.returns({output});
}

// Kernels that are given their result, and then make their first argument contiguous.
void contiguous_inside(Call& call) {
  const auto argument = call.tensor(0);
  call.by_shape_alone();
  const auto contiguous = argument.contiguous();
}

// upsample_nearest…(self, …), upsample_nearest…_backward(grad_output, …): images that are channels-last stay so,
// anything else is contiguous inside, the result too.
void upsample_nearest(Call& call) {
  const auto argument = call.tensor(0);
  call.by_shape_alone();
  const auto& result = call.stack().back().toTensor();
  const bool is_image = argument.dim() == 4;
  constexpr std::int64_t fewest_channels = 4;
  if (is_image && argument.sizes() == result.sizes()) return;
  if (is_image && argument.size(1) >= fewest_channels &&
      argument.suggest_memory_format() == at::MemoryFormat::ChannelsLast &&
      result.is_contiguous(at::MemoryFormat::ChannelsLast)) {
    const auto input = argument.contiguous(at::MemoryFormat::ChannelsLast);
    return;
  }
  at::Tensor output;
  if (!result.is_contiguous()) output = call.empty(result.sizes(), result.scalar_type());
  const auto input = argument.contiguous();
}

}  // namespace

void add_poolings(Table& table) {
  constexpr auto adaptive = "aten/src/ATen/native/cuda/AdaptiveAveragePooling.cu";
  constexpr auto dilated = "aten/src/ATen/native/cuda/DilatedMaxPool3d.cu";
  constexpr auto unpool = "aten/src/ATen/native/cuda/MaxUnpooling.cu";
  table.rule("_adaptive_avg_pool2d _adaptive_avg_pool3d", &adaptive_average, adaptive);
  table.rule("_adaptive_avg_pool2d_backward _adaptive_avg_pool3d_backward", &gradient_like_self, adaptive);
  table.rule("max_pool3d_with_indices", &max_pool_3d, dilated);
  table.rule("max_pool3d_with_indices_backward", &gradient_like_self, dilated);
  table.rule("fractional_max_pool3d_backward", &contiguous_gradient_like_self,
             "aten/src/ATen/native/cuda/FractionalMaxPool3d.cu");
  table.rule("max_unpool2d max_unpool3d", &max_unpool, unpool);
  constexpr auto reflection = "aten/src/ATen/native/cuda/ReflectionPad.cu";
  table.rule("reflection_pad2d", &pad, reflection);
  table.rule("reflection_pad2d_backward", &contiguous_gradient_like_self, reflection);
  table.rule("reflection_pad1d reflection_pad1d_backward reflection_pad3d reflection_pad3d_backward",
             &contiguous_inside, reflection);
  for (const std::string dimensions : {"1d", "2d", "3d"}) {
    const auto source = "aten/src/ATen/native/cuda/UpSampleNearest" + dimensions + ".cu";
    for (const std::string name : {"upsample_nearest", "_upsample_nearest_exact"})
      table.rule(name + dimensions + " " + name + dimensions + "_backward", &upsample_nearest, source);
  }
  table.rule("replication_pad2d_backward replication_pad3d_backward", &contiguous_gradient_like_self,
             "aten/src/ATen/native/cuda/ReplicationPadding.cu");
}

}  // namespace athanor::rehearse::phantom
