#include <gtest/gtest.h>
#include <torch/torch.h>

#include <stdexcept>

#include "athanor/models/Gpt.h"
#include "athanor/models/Registry.h"
#include "athanor/nn/Blocks.h"

namespace athanor::models {
namespace {

// Small settings of every built-in model, and the shape of its input.
struct Small {
  const char* toml;
  std::vector<std::int64_t> input;
  bool tokens = false;
};

const std::vector<Small> kModels{
    {"kind = 'mlp'\ninputs = 12\nhidden = [6]\nclasses = 5", {3, 12}},
    {"kind = 'cnn'\nimage = 8\nwidths = [4, 6]\nhidden = 8\nclasses = 5", {3, 1, 8, 8}},
    {"kind = 'resnet'\ndepth = 20\nclasses = 5", {2, 3, 8, 8}},
    {"kind = 'resnet'\ndepth = 18\nclasses = 5", {2, 3, 32, 32}},
    {"kind = 'vit'\nimage = 8\npatch = 4\nlayers = 2\nheads = 2\nwidth = 8\nmlp = 16\nclasses = 5", {2, 3, 8, 8}},
    {"kind = 'gpt'\nlayers = 3\nheads = 2\nwidth = 8\nblock = 6\nvocabulary = 5\ndropout = 0.2", {2, 6}, true},
    {"kind = 'llama'\nlayers = 3\nheads = 4\nkv_heads = 2\nwidth = 16\nmlp = 20\nblock = 6\nvocabulary = 5",
     {2, 6},
     true},
};

class EveryModel : public testing::TestWithParam<Small> {
 protected:
  [[nodiscard]] static Model make() {
    torch::manual_seed(7);
    const auto table = core::Config::from_text(GetParam().toml, "test.toml");
    auto model = Registry::builtin().make(table);
    table.reject_unknown();
    return model;
  }
  [[nodiscard]] static at::Tensor input() {
    torch::manual_seed(8);
    return GetParam().tokens ? torch::randint(0, 5, GetParam().input, at::kLong) : torch::randn(GetParam().input);
  }
};

INSTANTIATE_TEST_SUITE_P(Builtin, EveryModel, testing::ValuesIn(kModels));

TEST_P(EveryModel, GivesOneRowOfClassesASampleAndAGradientToEveryParameter) {
  auto model = make();
  const auto outputs = model.forward(input());
  EXPECT_EQ(outputs.size(0), GetParam().input[0]);
  EXPECT_EQ(outputs.size(-1), 5);
  EXPECT_EQ(model.classes, 5);
  outputs.square().sum().backward();
  for (const auto& parameter : model.module->named_parameters())
    EXPECT_TRUE(parameter.value().grad().defined()) << parameter.key();
}

TEST_P(EveryModel, IsAFunctionOfTheSeed) {
  const auto first = make().module->parameters();
  const auto second = make().module->parameters();
  for (std::size_t i = 0; i < first.size(); ++i) EXPECT_TRUE(torch::equal(first[i], second[i]));
}

TEST_P(EveryModel, FitsTheDataItSaysItTakes) {
  const auto model = make();
  const std::vector<std::int64_t> sample(GetParam().input.begin() + 1, GetParam().input.end());
  EXPECT_NO_THROW(check_fits(model, sample, 5));
  EXPECT_THROW(check_fits(model, sample, 6), std::invalid_argument);
  if (model.sample_shape.empty()) return;
  EXPECT_THROW(check_fits(model, std::vector<std::int64_t>{7, 7}, 5), std::invalid_argument);
}

// Recomputing activations changes neither the gradients nor running statistics, by a single bit.
TEST_P(EveryModel, CheckpointingChangesNothing) {
  const auto run = [](const char* policy) {
    auto model = make();
    if (auto* blocks = nn::find_blocks(*model.module)) blocks->set_checkpointing(nn::Checkpointing::parse(policy));
    const auto x = input();
    torch::manual_seed(9);
    model.forward(x).square().sum().backward();
    std::vector<at::Tensor> results;
    for (const auto& parameter : model.module->parameters()) results.push_back(parameter.grad());
    for (const auto& buffer : model.module->buffers()) results.push_back(buffer);
    return results;
  };
  const auto plain = run("off");
  for (const char* policy : {"all", "every:2"}) {
    const auto checkpointed = run(policy);
    for (std::size_t i = 0; i < plain.size(); ++i) EXPECT_TRUE(torch::equal(plain[i], checkpointed[i])) << i;
  }
}

TEST(Models, ListTheirBlocks) {
  const auto blocks = [](const char* toml) {
    auto model = Registry::builtin().make(core::Config::from_text(toml, "test.toml"));
    auto* found = nn::find_blocks(*model.module);
    return found ? found->block_count() : 0;
  };
  EXPECT_EQ(blocks("kind = 'gpt'\nlayers = 3"), 3);
  EXPECT_EQ(blocks("kind = 'resnet'\ndepth = 50"), 16);
  EXPECT_EQ(blocks("kind = 'resnet'\ndepth = 56"), 27);
  EXPECT_EQ(blocks("kind = 'vit'\nlayers = 2\nwidth = 24"), 2);
}

// Table 1 of He et al.: parameters in millions, with 1000 classes (the counts torchvision documents).
TEST(Models, HaveThePublishedSizes) {
  const auto count = [](const std::string& toml) {
    std::int64_t parameters = 0;
    const auto model = Registry::builtin().make(core::Config::from_text(toml, "test.toml"));
    for (const auto& parameter : model.module->parameters()) parameters += parameter.numel();
    return parameters;
  };
  EXPECT_EQ(count("kind = 'resnet'\ndepth = 18\nclasses = 1000"), 11'689'512);
  EXPECT_EQ(count("kind = 'resnet'\ndepth = 50\nclasses = 1000"), 25'557'032);
  EXPECT_NEAR(static_cast<double>(count("kind = 'resnet'\ndepth = 20")), 0.27e6, 0.005e6);
  EXPECT_NEAR(static_cast<double>(count("kind = 'resnet'\ndepth = 56")), 0.85e6, 0.01e6);
  EXPECT_EQ(count("kind = 'vit'\nclasses = 1000"), 86'567'656);
  // GPT-2 small has 124,439,808.
  EXPECT_EQ(count("kind = 'gpt'\nlayers = 12\nheads = 12\nwidth = 768\nblock = 1024\nvocabulary = 50257\nbias = true"),
            124'439'808);
}

TEST(Gpt, NeverLooksAhead) {
  torch::manual_seed(3);
  Gpt gpt(GptOptions{.layers = 2, .heads = 2, .width = 16, .block = 8, .vocabulary = 11});
  gpt->eval();
  const auto tokens = torch::randint(0, 11, {1, 8}, at::kLong);
  auto changed = tokens.clone();
  changed[0][5] = (changed[0][5].item<std::int64_t>() + 1) % 11;
  const auto before = gpt->forward(tokens);
  const auto after = gpt->forward(changed);
  EXPECT_TRUE(torch::allclose(before.slice(1, 0, 5), after.slice(1, 0, 5)));
  EXPECT_FALSE(torch::allclose(before.slice(1, 5, 6), after.slice(1, 5, 6)));
  EXPECT_THROW(gpt->forward(torch::zeros({1, 9}, at::kLong)), c10::Error);
}

TEST(Gpt, OutputIsItsHeadOfItsFeatures) {
  Gpt gpt(GptOptions{.layers = 1, .heads = 2, .width = 16, .block = 8, .vocabulary = 11});
  const auto tokens = torch::randint(0, 11, {2, 8}, at::kLong);
  auto* split = nn::find_linear_head(*gpt);
  ASSERT_TRUE(split);
  EXPECT_TRUE(torch::equal(gpt->forward(tokens), torch::linear(split->features(tokens), split->head().weight)));
}

std::string refusal(const std::string& toml) {
  try {
    const auto table = core::Config::from_text(toml, "test.toml");
    static_cast<void>(Registry::builtin().make(table));
    table.reject_unknown();
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "accepted";
}

TEST(Registry, RefusesWithKeyAndNearestName) {
  const auto expect = [](const std::string& toml, const std::string& part) {
    EXPECT_NE(refusal(toml).find(part), std::string::npos) << toml << " -> " << refusal(toml);
  };
  expect("kind = 'resnt'", "'resnet'");
  expect("kind = 'mlp'\nwdith = 3", "wdith");
  expect("kind = 'mlp'\nhidden = [0]", "test.toml:2: hidden");
  expect("kind = 'mlp'\ninputs = -1", "must be >= 1");
  expect("kind = 'mlp'\ndropout = 1.0", "dropout");
  expect("kind = 'mlp'\nactivation = 'rleu'", "'relu'");
  expect("kind = 'cnn'\nkernel = 2", "odd");
  expect("kind = 'cnn'\nimage = 4\nwidths = [1, 1, 1]", "halved");
  expect("kind = 'resnet'\ndepth = 19", "one of 18, 20");
  expect("kind = 'vit'\nimage = 30", "must divide image");
  expect("kind = 'gpt'\nheads = 3", "must divide width");
  expect("kind = 'torchscript'", "torch.jit.save");
}

struct DoublingImpl : torch::nn::Module {
  at::Tensor forward(const at::Tensor& x) { return x * 2; }
};
TORCH_MODULE(Doubling);

TEST(Registry, TakesAModelOfOnesOwn) {
  auto registry = Registry::builtin();
  const auto before = registry.names().size();
  registry.add("doubling", [](const core::Config&) { return Doubling(); });
  const auto model = registry.make(core::Config::from_text("kind = 'doubling'", "test.toml"));
  EXPECT_EQ(model.forward(torch::ones({1})).item<float>(), 2);
  EXPECT_EQ(registry.names().size(), before + 1);
  EXPECT_NO_THROW(check_fits(model, std::vector<std::int64_t>{3}, 4)) << "it says nothing about its samples";
}

}  // namespace
}  // namespace athanor::models
