// Grid sampling, unfolding, rolling and flipping of images.
#include <ATen/ops/empty_like.h>
#include <ATen/ops/zeros_like.h>

#include "rehearse/phantom/Table.h"

namespace athanor::rehearse::phantom {
namespace {

using Sizes = std::vector<std::int64_t>;

// grid_sampler_2d(input, grid, …): the grid's image, the input's channels.
void sample(Call& call) {
  const auto& input = call.tensor(0);
  Sizes sizes{input.size(0), input.size(1)};
  for (std::int64_t i = 1; i + 1 < call.tensor(1).dim(); ++i) sizes.push_back(call.tensor(1).size(i));
  call.returns({call.empty(sizes, input.scalar_type())});
}

// grid_sampler_2d_backward(grad_output, input, grid, mode, padding, align, output_mask)
void sample_backward(Call& call) {
  at::Tensor grad_input;
  if (call.flags(6)[0]) grad_input = at::zeros_like(call.tensor(1), LEGACY_CONTIGUOUS_MEMORY_FORMAT);
  call.returns({grad_input, at::empty_like(call.tensor(2), LEGACY_CONTIGUOUS_MEMORY_FORMAT)});
}

// cudnn_grid_sampler_backward(self, grid, grad_output)
void cudnn_sample_backward(Call& call) {
  auto grad_input = at::empty_like(call.tensor(0), LEGACY_CONTIGUOUS_MEMORY_FORMAT);
  call.returns({grad_input, at::empty_like(call.tensor(1), LEGACY_CONTIGUOUS_MEMORY_FORMAT)});
}

// cudnn_affine_grid_generator(theta, N, C, H, W) and its backward(grad, N, C, H, W)
void affine_grid(Call& call) {
  call.returns({call.empty({call.integer(1), call.integer(3), call.integer(4), 2}, call.tensor(0).scalar_type())});
}
void affine_grid_backward(Call& call) {
  call.returns({call.empty({call.integer(1), 2, 3}, call.tensor(0).scalar_type())});
}

// im2col(self, kernel_size, dilation, padding, stride)
void unfold_image(Call& call) {
  const auto& self = call.tensor(0);
  const auto kernel = call.integers(1);
  const auto dilation = call.integers(2);
  const auto padding = call.integers(3);
  const auto stride = call.integers(4);
  std::int64_t blocks = 1;
  for (std::size_t i = 0; i < 2; ++i) {
    const auto length = self.size(static_cast<std::int64_t>(i) - 2);
    blocks *= (length + 2 * padding[i] - (dilation[i] * (kernel[i] - 1) + 1)) / stride[i] + 1;
  }
  auto sizes = self.dim() == 4 ? Sizes{self.size(0)} : Sizes{};
  sizes.push_back(self.size(-3) * kernel[0] * kernel[1]);
  sizes.push_back(blocks);
  call.returns({call.empty(sizes, self.scalar_type())});
}

// col2im(self, output_size, kernel_size, …)
void fold_image(Call& call) {
  const auto& self = call.tensor(0);
  const auto image = call.integers(1);
  const auto kernel = call.integers(2);
  auto sizes = self.dim() == 3 ? Sizes{self.size(0)} : Sizes{};
  sizes.insert(sizes.end(), {self.size(-2) / (kernel[0] * kernel[1]), image[0], image[1]});
  call.returns({call.empty(sizes, self.scalar_type())});
}

// roll(self, shifts, dims): one dimension at a time; no dimension means the flattened tensor.
void roll(Call& call) {
  const auto& self = call.tensor(0);
  auto rolled = call.empty_like(self.is_contiguous() ? self : self.contiguous());
  for (std::size_t i = 1; i < call.integers(2).size(); ++i) rolled = call.empty_like(rolled);
  call.returns({rolled});
}

void like(Call& call) {
  call.returns({call.empty_like(call.tensor(0))});
}

}  // namespace

void add_sampling(Table& table) {
  constexpr auto grid = "aten/src/ATen/native/cuda/GridSampler.cpp";
  constexpr auto cudnn = "aten/src/ATen/native/cudnn/GridSampler.cpp";
  table.rule("grid_sampler_2d grid_sampler_3d", &sample, grid);
  table.rule("grid_sampler_2d_backward grid_sampler_3d_backward", &sample_backward, grid);
  table.rule("cudnn_grid_sampler", &sample, cudnn);
  table.rule("cudnn_grid_sampler_backward", &cudnn_sample_backward, cudnn);
  table.rule("cudnn_affine_grid_generator", &affine_grid, "aten/src/ATen/native/cudnn/AffineGridGenerator.cpp");
  table.rule("cudnn_affine_grid_generator_backward", &affine_grid_backward,
             "aten/src/ATen/native/cudnn/AffineGridGenerator.cpp");
  table.rule("im2col", &unfold_image, "aten/src/ATen/native/cuda/Im2Col.cu");
  table.rule("col2im", &fold_image, "aten/src/ATen/native/cuda/Col2Im.cu");
  table.rule("roll", &roll, "aten/src/ATen/native/cuda/TensorTransformations.cu");
  table.rule("flip channel_shuffle", &like, "aten/src/ATen/native/TensorTransformations.cpp");
}

}  // namespace athanor::rehearse::phantom
