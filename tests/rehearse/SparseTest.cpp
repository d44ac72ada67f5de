// Sparse gradients: what an embedding's backward makes, and what optimizers do with it.
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <algorithm>
#include <functional>

#include "athanor/core/Error.h"
#include "athanor/optim/Adaptive.h"
#include "athanor/optim/Clip.h"
#include "athanor/optim/SGD.h"
#include "athanor/optim/SparseAdam.h"
#include "athanor/rehearse/Coverage.h"
#include "athanor/rehearse/Rehearse.h"

namespace athanor::rehearse {
namespace {

constexpr std::int64_t rows = 100'000;
constexpr std::int64_t width = 16;
constexpr std::int64_t batch = 3000;

torch::nn::Embedding embedding(std::int64_t of_rows = rows) {
  return torch::nn::Embedding(torch::nn::EmbeddingOptions(of_rows, width).sparse(true));
}

at::Tensor indices(torch::Device device, std::int64_t count = batch) {
  return torch::zeros({count}, torch::TensorOptions(torch::kLong)).to(device);
}

using Make = std::function<std::unique_ptr<torch::optim::Optimizer>(std::vector<at::Tensor>)>;

Forecast train(const Make& make, int steps = 3) {
  return rehearse({.steps = steps}, [&](torch::Device device, Stage& stage) {
    auto table = embedding();
    stage.watch(*table);
    table->to(device);
    const auto optimizer = make(table->parameters());
    while (stage.next_step()) {
      optimizer->zero_grad();
      table->forward(indices(device)).square().sum().backward();
      optimizer->step();
    }
  });
}

std::int64_t largest_after_setup(const Forecast& forecast) {
  std::int64_t largest = 0;
  for (const auto& block : forecast.ledger.blocks)
    if (block.step > 0) largest = std::max(largest, block.requested);
  return largest;
}

bool says(const Forecast& forecast, const std::string& what) {
  return std::any_of(forecast.notes.begin(), forecast.notes.end(),
                     [&](const auto& note) { return note.find(what) != std::string::npos; });
}

TEST(Sparse, AnEmbeddingsGradientHoldsARowForEachIndex) {
  static_cast<void>(rehearse({.steps = 1}, [](torch::Device device, Stage&) {
    auto table = embedding();
    table->to(device);
    table->forward(indices(device)).sum().backward();
    const auto& gradient = table->weight.grad();
    EXPECT_TRUE(gradient.is_sparse());
    EXPECT_FALSE(gradient.is_coalesced());
    EXPECT_EQ(gradient.sizes(), torch::IntArrayRef({rows, width}));
    EXPECT_EQ(gradient._indices().sizes(), torch::IntArrayRef({1, batch}));
    EXPECT_EQ(gradient._indices().scalar_type(), torch::kLong);
    EXPECT_EQ(gradient._values().sizes(), torch::IntArrayRef({batch, width}));
    table->forward(indices(device)).sum().backward();  // gradients meet end to end
    EXPECT_EQ(table->weight.grad()._nnz(), 2 * batch);
  }));
}

TEST(Sparse, NothingOfTheTablesSizeIsMadeByPlainSgd) {
  const auto ours = train([](auto p) { return std::make_unique<optim::SGD>(p, optim::SGDOptions{.lr = 0.1}); });
  const auto theirs = train([](auto p) { return std::make_unique<torch::optim::SGD>(p, 0.1); });
  EXPECT_EQ(largest_after_setup(ours), batch * width * 4);
  EXPECT_EQ(largest_after_setup(theirs), batch * width * 4);
  EXPECT_FALSE(says(ours, "different rows"));  // index_add_ needs nothing sorted
}

TEST(Sparse, GradientsAreTheirValues) {
  const auto forecast = train([](auto p) { return std::make_unique<optim::SGD>(p, optim::SGDOptions{.lr = 0.1}); });
  const auto gradients = std::count_if(
      forecast.ledger.blocks.begin(), forecast.ledger.blocks.end(),
      [](const Block& block) { return block.category == Category::gradients && block.requested == batch * width * 4; });
  EXPECT_EQ(gradients, 3);  // one a step
}

// Sorting wants the indices' own copy, their places and offsets, and copies of keys and places in thrust's merge sort.
TEST(Sparse, OptimizersThatCoalesceSortTheIndicesAndSayWhatWasAssumed) {
  const std::vector<std::pair<std::string, Make>> kinds{
      {"SparseAdam",
       [](auto p) { return std::make_unique<optim::SparseAdam>(p, optim::SparseAdamOptions{.lr = 0.1}); }},
      {"Adagrad", [](auto p) { return std::make_unique<optim::Adagrad>(p, optim::AdagradOptions{.lr = 0.1}); }},
      {"torch::optim::Adagrad", [](auto p) { return std::make_unique<torch::optim::Adagrad>(p, 0.1); }}};
  for (const auto& [name, make] : kinds) {
    const auto forecast = train(make);
    EXPECT_TRUE(says(forecast, "as many different rows as they have indices")) << name;
    const auto sorts =
        std::count_if(forecast.ledger.blocks.begin(), forecast.ledger.blocks.end(), [](const Block& block) {
          return block.category == Category::workspace && block.low == 16 * batch && block.high > block.low;
        });
    EXPECT_EQ(sorts, 3) << name;
    EXPECT_GE(forecast.peak.requested.value, 2 * rows * width * 4) << name;  // state is dense, as the parameter
  }
}

TEST(Sparse, ManyIndicesOfFewRowsAreSummedToNoMoreThanThose) {
  static_cast<void>(rehearse({.steps = 1}, [](torch::Device device, Stage&) {
    auto table = embedding(40);
    table->to(device);
    table->forward(indices(device)).sum().backward();
    const auto sum = table->weight.grad().coalesce();
    EXPECT_TRUE(sum.is_coalesced());
    EXPECT_EQ(sum._nnz(), 40);
  }));
}

TEST(Sparse, PaddingIsTakenToBeAbsentAndThatIsSaid) {
  const auto forecast = rehearse({.steps = 1}, [](torch::Device device, Stage&) {
    torch::nn::Embedding table(torch::nn::EmbeddingOptions(rows, width).sparse(true).padding_idx(0));
    table->to(device);
    table->forward(indices(device)).sum().backward();
    EXPECT_EQ(table->weight.grad()._nnz(), batch);
  });
  EXPECT_TRUE(says(forecast, "padding"));
}

TEST(Sparse, NormsAreOfTheCoalescedValues) {
  static_cast<void>(rehearse({.steps = 1}, [](torch::Device device, Stage&) {
    auto table = embedding();
    table->to(device);
    table->forward(indices(device)).sum().backward();
    static_cast<void>(optim::clip_grad_norm(table->parameters(), 1.0));
    EXPECT_TRUE(table->weight.grad().is_coalesced());
    EXPECT_EQ(table->weight.grad()._nnz(), batch);
  }));
}

// A tied output layer gives the embedding a dense gradient as well: they meet in a dense one.
TEST(Sparse, WithADenseGradientItBecomesDense) {
  static_cast<void>(rehearse({.steps = 1}, [](torch::Device device, Stage&) {
    auto table = embedding(1000);
    table->to(device);
    table->forward(indices(device)).matmul(table->weight.t()).sum().backward();
    EXPECT_FALSE(table->weight.grad().is_sparse());
  }));
}

TEST(Sparse, WhatNobodyKnowsIsNamed) {
  const auto square = [](torch::Device device, Stage&) {
    auto table = embedding();
    table->to(device);
    table->forward(indices(device)).sum().backward();
    static_cast<void>(table->weight.grad() * table->weight.grad());
  };
  try {
    static_cast<void>(rehearse({}, square));
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("two sparse tensors"), std::string::npos) << error.what();
  }
}

TEST(Coverage, WhatIsNotKnownHasAReason) {
  for (const auto& rows_of : {coverage(), sparse_coverage()})
    for (const auto& row : rows_of) {
      if (row.service == Service::unknown) {
        EXPECT_FALSE(row.source.empty()) << row.op;
      }
    }
}

// The kernel writes where it is told to: nothing is allocated for a result that is there.
TEST(Out, FormsAllocateNoResults) {
  const auto blocks = [](std::int64_t given) {
    const auto forecast = rehearse({.steps = 1}, [&](torch::Device device, Stage& stage) {
      const auto x = torch::empty({64, 1000}, device);
      const auto places = torch::empty({500}, torch::TensorOptions(torch::kLong).device(device));
      auto out = torch::empty({given, given == 0 ? 0 : 500}, device);
      static_cast<void>(stage.next_step());
      torch::index_select_out(out, x, 1, places);
      EXPECT_EQ(out.sizes(), torch::IntArrayRef({64, 500}));
      EXPECT_EQ(out.storage().nbytes(), std::size_t{64} * 500 * 4);
    });
    return std::count_if(forecast.ledger.blocks.begin(), forecast.ledger.blocks.end(),
                         [](const Block& block) { return block.step == 1; });
  };
  EXPECT_EQ(blocks(64), 0);
  EXPECT_EQ(blocks(0), 1);
}

// What the kernel takes inside is there in both forms: multinomial draws its chances.
TEST(Out, FormsTakeWhatTheKernelTakesInside) {
  const auto inside = [](bool out) {
    const auto forecast = rehearse({.steps = 1}, [&](torch::Device device, Stage& stage) {
      const auto chances = torch::empty({1000}, device);
      auto drawn = torch::empty({3}, torch::TensorOptions(torch::kLong).device(device));
      static_cast<void>(stage.next_step());
      out ? torch::multinomial_out(drawn, chances, 3) : torch::multinomial(chances, 3);
    });
    return std::count_if(forecast.ledger.blocks.begin(), forecast.ledger.blocks.end(),
                         [](const Block& block) { return block.step == 1; });
  };
  EXPECT_EQ(inside(true), inside(false) - 1);
}

}  // namespace
}  // namespace athanor::rehearse
