#include "athanor/models/Resnet.h"

#include <ATen/ops/adaptive_avg_pool2d.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/max_pool2d.h>
#include <ATen/ops/relu.h>
#include <torch/nn/init.h>
#include <torch/nn/modules/container/modulelist.h>
#include <torch/nn/modules/container/sequential.h>

#include <stdexcept>
#include <string>
#include <vector>

namespace athanor::models {
namespace {

using torch::nn::BatchNorm2d;
using torch::nn::Conv2d;

Conv2d convolution(std::int64_t from, std::int64_t to, std::int64_t kernel, std::int64_t stride) {
  return Conv2d(torch::nn::Conv2dOptions(from, to, kernel).stride(stride).padding(kernel / 2).bias(false));
}

enum class Shortcut { projection, padding };

}  // namespace

// Two 3×3 convolutions, or a bottleneck of 1×1, 3×3 and a 1×1 that widens fourfold.
class ResnetBlockImpl : public torch::nn::Module {
 public:
  ResnetBlockImpl(std::int64_t from, std::int64_t width, std::int64_t stride, bool bottleneck, Shortcut shortcut)
      : to_(bottleneck ? 4 * width : width), stride_(stride) {
    if (bottleneck) {
      add(from, width, 1, 1);
      add(width, width, 3, stride);
      add(width, to_, 1, 1);
    } else {
      add(from, width, 3, stride);
      add(width, width, 3, 1);
    }
    if ((stride != 1 || from != to_) && shortcut == Shortcut::projection)
      downsample_ =
          register_module("downsample", torch::nn::Sequential(convolution(from, to_, 1, stride), BatchNorm2d(to_)));
  }

  at::Tensor forward(const at::Tensor& x) {
    auto y = x;
    for (std::size_t i = 0; i < convolutions_.size(); ++i) {
      y = norms_[i](convolutions_[i](y));
      if (i + 1 < convolutions_.size()) y = at::relu(y);
    }
    return at::relu(y + shortcut(x));
  }

 private:
  void add(std::int64_t from, std::int64_t to, std::int64_t kernel, std::int64_t stride) {
    const auto number = std::to_string(convolutions_.size() + 1);
    convolutions_.push_back(register_module("conv" + number, convolution(from, to, kernel, stride)));
    norms_.push_back(register_module("bn" + number, BatchNorm2d(to)));
  }

  // The paper's option A where there is no projection: every stride-th pixel, and zeros for the new channels.
  at::Tensor shortcut(const at::Tensor& x) {
    if (downsample_) return downsample_->forward(x);
    if (stride_ == 1 && x.size(1) == to_) return x;
    const auto picked = x.slice(2, 0, x.size(2), stride_).slice(3, 0, x.size(3), stride_);
    const auto missing = to_ - x.size(1);
    return at::constant_pad_nd(picked, {0, 0, 0, 0, missing / 2, missing - missing / 2});
  }

  std::int64_t to_;
  std::int64_t stride_;
  std::vector<Conv2d> convolutions_;
  std::vector<BatchNorm2d> norms_;
  torch::nn::Sequential downsample_{nullptr};
};

namespace {

struct Plan {
  bool small = false;
  bool bottleneck = false;
  std::vector<std::int64_t> blocks;  // of each stage
};

Plan plan_of(std::int64_t depth) {
  switch (depth) {
    case 18:
      return {.blocks = {2, 2, 2, 2}};
    case 34:
      return {.blocks = {3, 4, 6, 3}};
    case 50:
      return {.bottleneck = true, .blocks = {3, 4, 6, 3}};
    case 101:
      return {.bottleneck = true, .blocks = {3, 4, 23, 3}};
    case 152:
      return {.bottleneck = true, .blocks = {3, 8, 36, 3}};
    case 20:
    case 32:
    case 44:
    case 56:
    case 110:
      return {.small = true, .blocks = std::vector<std::int64_t>(3, (depth - 2) / 6)};
    default:
      throw std::invalid_argument(
          "resnet: depth must be 18, 34, 50, 101, 152 (large images) or 20, 32, 44, 56, 110 "
          "(small images), got " +
          std::to_string(depth));
  }
}

}  // namespace

ResnetImpl::ResnetImpl(ResnetOptions options) {
  const auto plan = plan_of(options.depth);
  small_ = plan.small;
  std::int64_t width = small_ ? 16 : 64;
  conv1_ = register_module(
      "conv1", small_ ? convolution(options.channels, width, 3, 1) : convolution(options.channels, width, 7, 2));
  bn1_ = register_module("bn1", BatchNorm2d(width));
  std::int64_t from = width;
  for (std::size_t stage = 0; stage < plan.blocks.size(); ++stage, width *= 2) {
    auto layer = register_module("layer" + std::to_string(stage + 1), torch::nn::ModuleList());
    for (std::int64_t i = 0; i < plan.blocks[stage]; ++i) {
      const std::int64_t stride = stage > 0 && i == 0 ? 2 : 1;
      blocks_.push_back(std::make_shared<ResnetBlockImpl>(from, width, stride, plan.bottleneck,
                                                          small_ ? Shortcut::padding : Shortcut::projection));
      layer->push_back(blocks_.back());
      from = plan.bottleneck ? 4 * width : width;
    }
  }
  fc_ = register_module("fc", torch::nn::Linear(from, options.classes));
  for (const auto& module : modules(/*include_self=*/false))
    if (auto* convolution = module->as<Conv2d>())
      torch::nn::init::kaiming_normal_(convolution->weight, 0.0, torch::kFanOut, torch::kReLU);
}

at::Tensor ResnetImpl::forward(at::Tensor x) {
  x = at::relu(bn1_(conv1_(x)));
  if (!small_) x = at::max_pool2d(x, 3, 2, 1);
  for (std::int64_t i = 0; i < block_count(); ++i) x = run_block(i, blocks_[static_cast<std::size_t>(i)], x);
  return fc_(at::adaptive_avg_pool2d(x, {1, 1}).flatten(1));
}

}  // namespace athanor::models
