#include "athanor/train/FindLr.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include "athanor/core/Config.h"
#include "train/Tiny.h"

namespace athanor::train {
namespace {

constexpr const char* kConfig = R"([run]
seed = 5
[model]
kind = "mlp"
inputs = 4
hidden = [8]
classes = 3
dropout = 0.2
[optimizer]
kind = "adamw"
lr = 1e-2
)";

std::vector<at::Tensor> copies(torch::nn::Module& module) {
  std::vector<at::Tensor> all;
  for (const auto& tensor : module.parameters()) all.push_back(tensor.detach().clone());
  for (const auto& tensor : module.buffers()) all.push_back(tensor.detach().clone());
  return all;
}

bool same(const std::vector<at::Tensor>& a, const std::vector<at::Tensor>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](const auto& x, const auto& y) { return at::equal(x, y); });
}

TEST(FindLr, PutsEverythingBackToTheBit) {
  const auto config = core::Config::from_text(kConfig, "find.toml");
  data::Loader loader = tiny::loader(8);
  const SampleForm form{.input = {.shape = {4}}, .target = {.shape = {}, .dtype = at::kLong}, .classes = 3};
  const auto train_twice = [&](bool test_between) {
    Session session(config, models::Registry::builtin(), {.form = form});
    session.model.module->train();
    loader.start_epoch(0);
    for (int i = 0; i < 3; ++i) (void)session.step(*loader.next());
    if (test_between) {
      const auto before = copies(*session.model.module);
      const auto result = find_lr(session, loader, 0, {.lr_max = 1e3, .steps = 40});
      EXPECT_GT(result.points.size(), 5U);
      EXPECT_TRUE(same(before, copies(*session.model.module)));
      EXPECT_EQ(loader.position(), 3);
      EXPECT_DOUBLE_EQ(session.optimizer->param_groups()[0].options().get_lr(), 1e-2);
    }
    for (int i = 0; i < 3; ++i) (void)session.step(*loader.next());
    return copies(*session.model.module);
  };
  // Dropout draws from the random stream, AdamW has moments, the loader a place: all must be as if nothing had been.
  EXPECT_TRUE(same(train_twice(false), train_twice(true)));
}

}  // namespace
}  // namespace athanor::train
