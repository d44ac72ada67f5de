// What kernels take inside, and kernels that only some GPUs, dtypes or modes take.
#include <ATen/autocast_mode.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <algorithm>
#include <functional>
#include <map>
#include <vector>

#include "athanor/rehearse/Rehearse.h"

namespace athanor::rehearse {
namespace {

bool took(const Forecast& forecast, std::int64_t bytes) {
  return std::any_of(forecast.ledger.blocks.begin(), forecast.ledger.blocks.end(), [&](const Block& block) {
    return block.category == Category::workspace && block.requested == bytes;
  });
}

Forecast on(const std::string& gpu, const std::function<void(torch::Device)>& step) {
  return rehearse({.gpu = gpu, .steps = 1}, [&](torch::Device device, Stage& stage) {
    while (stage.next_step()) step(device);
  });
}

void attend(torch::Device device, torch::Dtype dtype, std::int64_t heads, std::int64_t length) {
  const auto options = torch::TensorOptions().device(device).dtype(dtype).requires_grad(true);
  const auto query = torch::empty({1, heads, length, 64}, options);
  torch::scaled_dot_product_attention(query, query, query).sum().backward();
}

// Recorded on a GPU: 1 × 32 heads × 1,000 queries × 64, fp32; 16 tiles a head of 64 × 64 floats and 16 bytes.
TEST(Kernel, AttentionsBackwardTakesATileBufferAHead) {
  const auto forecast = on("A100 80GB", [](auto device) { attend(device, torch::kFloat, 32, 1000); });
  EXPECT_TRUE(took(forecast, 8396800));
}

// 8 blocks of queries are far fewer than an A100 has processors: flash attention splits the keys. 512 blocks are not.
TEST(Kernel, FlashAttentionSplitsKeysWhereThereAreFewQueries) {
  const auto partial_rows = [](std::int64_t heads) {
    const auto forecast = on("A100 80GB", [&](auto device) { attend(device, torch::kHalf, heads, 512); });
    return took(forecast, 2 * heads * 512 * 4);
  };
  EXPECT_TRUE(partial_rows(1));
  EXPECT_FALSE(partial_rows(64));
}

// Allocations and (negative) frees of one call on a permuted tensor of floats, the tensor's own at both ends.
std::vector<std::int64_t> events_of(const std::function<at::Tensor(const at::Tensor&)>& call, at::IntArrayRef sizes,
                                    at::IntArrayRef order) {
  const auto forecast = on("A100 80GB", [&](auto device) { call(torch::empty(sizes, device).permute(order)); });
  std::vector<std::int64_t> events;
  for (const auto& event : forecast.ledger.events) {
    const auto bytes = forecast.ledger.blocks[event.block].requested;
    events.push_back(event.free ? -bytes : bytes);
  }
  return events;
}

// As recorded on GPUs: the result first, then a copy of an operand that is not contiguous; nearest upsampling in three
// dimensions fills a contiguous result too; images that are channels-last are read as they are.
TEST(Kernel, PaddingAndUpsamplingMakeTheirOperandsContiguousInside) {
  namespace F = torch::nn::functional;
  using Events = std::vector<std::int64_t>;
  const std::int64_t image = 4 * 8 * 10 * 6;
  const std::int64_t volume = image * 5;
  const auto reflect = [](std::vector<std::int64_t> pad) {
    return [pad](const at::Tensor& x) { return F::pad(x, F::PadFuncOptions(pad).mode(torch::kReflect)); };
  };
  const auto nearest = [](std::vector<std::int64_t> size) {
    return [size](const at::Tensor& x) {
      return F::interpolate(x, F::InterpolateFuncOptions().size(size).mode(torch::kNearest));
    };
  };
  const std::int64_t padded_image = 4 * 8 * 12 * 8;
  EXPECT_EQ(events_of(reflect({1, 1, 1, 1}), {1, 10, 6, 8}, {0, 3, 1, 2}),
            (Events{image, padded_image, image, -image, -padded_image, -image}));
  const std::int64_t padded_volume = padded_image * 7;
  EXPECT_EQ(events_of(reflect({1, 1, 1, 1, 1, 1}), {1, 10, 6, 5, 8}, {0, 4, 1, 2, 3}),
            (Events{volume, padded_volume, volume, -volume, -padded_volume, -volume}));
  const std::int64_t large = 8 * volume;
  EXPECT_EQ(events_of(nearest({20, 12, 10}), {1, 10, 6, 5, 8}, {0, 4, 1, 2, 3}),
            (Events{volume, large, large, volume, -volume, -large, -large, -volume}));
  EXPECT_EQ(events_of(nearest({20, 12}), {1, 10, 6, 8}, {0, 3, 1, 2}), (Events{image, 4 * image, -4 * image, -image}));
}

// Recorded on an H100 with PyTorch 2.5: 1 MiB for as long as a product with a bias runs, beside cuBLAS's 32.
TEST(Kernel, ABiasCostsAWorkspaceInOlderReleases) {
  const auto blocks = [](allocator::Version version) {
    const auto forecast = rehearse({.gpu = "H100", .steps = 1, .version = version}, [](auto device, Stage& stage) {
      const torch::NoGradGuard no_gradients;
      torch::nn::Linear layer(64, 32);
      layer->to(device);
      while (stage.next_step())
        for (int i = 0; i < 3; ++i) layer->forward(torch::empty({16, 64}, device));
    });
    return std::count_if(forecast.ledger.blocks.begin(), forecast.ledger.blocks.end(), [](const Block& block) {
      return block.category == Category::workspace && block.requested == 1 << 20;
    });
  };
  EXPECT_EQ(blocks({2, 6}), 3);
  EXPECT_EQ(blocks({2, 15}), 0);
}

TEST(Kernel, AutocastGivesRecurrentLayersHalfWeightsAndTheGradientsTheirDtype) {
  on("A100 80GB", [](auto device) {
    torch::nn::LSTM lstm(torch::nn::LSTMOptions(16, 32).batch_first(true));
    lstm->to(device);
    at::autocast::set_autocast_enabled(torch::kCUDA, true);
    const auto output = std::get<0>(lstm->forward(torch::empty({4, 8, 16}, device)));
    at::autocast::set_autocast_enabled(torch::kCUDA, false);
    EXPECT_EQ(output.scalar_type(), torch::kHalf);
    output.to(torch::kFloat).sum().backward();
    for (const auto& parameter : lstm->parameters()) EXPECT_EQ(parameter.grad().scalar_type(), torch::kFloat);
  });
}

// cuDNN convolves bfloat16 from compute capability 8.0 on; a T4 unfolds columns, one sample's at a time.
TEST(Kernel, ConvolutionsThatCudnnLacksUnfoldColumns) {
  const auto columns = [](const std::string& gpu) {
    const auto forecast = on(gpu, [](auto device) {
      const auto options = torch::TensorOptions().device(device).dtype(torch::kBFloat16).requires_grad(true);
      const auto filter = torch::empty({8, 4, 3, 3}, options);
      torch::conv2d(torch::empty({2, 4, 10, 10}, options), filter).sum().backward();
      EXPECT_EQ(filter.grad().sizes(), filter.sizes());
    });
    return std::any_of(forecast.ledger.blocks.begin(), forecast.ledger.blocks.end(),
                       [](const Block& block) { return block.requested == 4 * 9 * 8 * 8 * 2; });
  };
  EXPECT_TRUE(columns("T4"));
  EXPECT_FALSE(columns("A100 80GB"));
}

TEST(Kernel, IndicesOfSeveralDimensionsAreSummedInPlace) {
  const auto forecast = on("A100 80GB", [](auto device) {
    const auto table = torch::empty({64, 32}, torch::TensorOptions().device(device).requires_grad(true));
    const auto places = torch::empty({100}, torch::TensorOptions().device(device).dtype(torch::kLong));
    table.index({places, places}).sum().backward();
    EXPECT_EQ(table.grad().sizes(), table.sizes());
  });
  // Two numbers an index wrapped and scaled, sorted, in their original order, and a range: 800 bytes each.
  const auto blocks = std::count_if(forecast.ledger.blocks.begin(), forecast.ledger.blocks.end(),
                                    [](const Block& block) { return block.requested == 800; });
  EXPECT_EQ(blocks, 1 + 4 + 3);
}

// cudnn/RNN.cpp: with the batch first, backward turns input and output's gradient to time first, and the input once
// more for the weights; states that nothing used have gradients of zeros.
TEST(Kernel, RecurrentBackwardCopiesWhatLiesTheWrongWay) {
  const auto blocks = [](bool batch_first) {
    const auto forecast = on("A100 80GB", [&](auto device) {
      torch::nn::LSTM lstm(torch::nn::LSTMOptions(24, 40).batch_first(batch_first));
      lstm->to(device);
      const auto x = torch::empty({6, 10, 24}, torch::TensorOptions().device(device).requires_grad(true));
      const auto output = std::get<0>(lstm->forward(x));
      output.backward(torch::empty({6, 10, 40}, device));
    });
    std::map<std::int64_t, std::int64_t> counts;
    for (const auto& block : forecast.ledger.blocks)
      if (block.phase == Phase::backward && block.category != Category::workspace) ++counts[block.requested];
    return counts;
  };
  auto first = blocks(true);
  auto second = blocks(false);
  // The third: autograd keeps a leaf's gradient in the leaf's layout.
  EXPECT_EQ(first[6 * 10 * 24 * 4], second[6 * 10 * 24 * 4] + 3);
  EXPECT_EQ(first[6 * 10 * 40 * 4], second[6 * 10 * 40 * 4] + 1);
  EXPECT_EQ(second[10 * 40 * 4], 4);  // zeros for the last output and cell, gradients of the first ones
}

TEST(Kernel, OneDropoutStateServesAllRecurrentLayersOfADevice) {
  const auto forecast = on("A100 80GB", [](auto device) {
    for (int i = 0; i < 2; ++i) {
      torch::nn::GRU gru(torch::nn::GRUOptions(8, 8).num_layers(2).dropout(0.5));
      gru->to(device);
      static_cast<void>(gru->forward(torch::empty({4, 2, 8}, device)));
    }
  });
  const auto& names = forecast.ledger.operators;
  EXPECT_EQ(std::count_if(
                forecast.ledger.blocks.begin(), forecast.ledger.blocks.end(),
                [&](const Block& block) { return names[block.operator_name] == "aten::_cudnn_init_dropout_state"; }),
            1);
}

// Nothing in torch::nn comes to these; programs of one's own do.
TEST(Kernel, SynchronisedNormsAndFakeQuantisationAreServed) {
  on("A100 80GB", [](auto device) {
    const auto x = torch::empty({4, 8, 5}, device);
    const auto channel = torch::empty({8}, device);
    const auto [sum, product, weight, bias] =
        at::batch_norm_backward_reduce(x, x, channel, channel, channel, true, true, true);
    EXPECT_EQ(sum.numel(), 8);
    EXPECT_EQ(at::batch_norm_backward_elemt(x, x, channel, channel, channel, sum, product, channel).sizes(), x.sizes());
    EXPECT_EQ(at::fake_quantize_per_tensor_affine(x, 0.1, 0, -128, 127).sizes(), x.sizes());
  });
}

}  // namespace
}  // namespace athanor::rehearse
