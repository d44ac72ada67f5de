// What every optimizer must do, over all kinds.
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <sstream>

#include "athanor/core/Config.h"
#include "athanor/core/Error.h"
#include "athanor/optim/Adam.h"
#include "athanor/optim/AveragedWeights.h"
#include "athanor/optim/Factory.h"
#include "athanor/optim/Groups.h"
#include "athanor/optim/LBFGS.h"
#include "athanor/optim/SGD.h"
#include "athanor/optim/State.h"
#include "athanor/rehearse/Rehearse.h"
#include "optim/Method.h"

namespace athanor::optim {
namespace {

core::Config config(const std::string& toml) {
  return core::Config::from_text(toml, "test.toml");
}

// Rates at which the small problems below converge.
const std::map<std::string, std::string> settings = {
    {"adam", "lr = 0.1"},
    {"adamw", "lr = 0.1"},
    {"adamw8bit", "lr = 0.1"},
    {"sgd", "lr = 0.1\nmomentum = 0.9"},
    {"rmsprop", "lr = 0.02"},
    {"adagrad", "lr = 1.0"},
    {"adadelta", "lr = 20.0"},
    {"adamax", "lr = 0.1"},
    {"nadam", "lr = 0.1"},
    {"radam", "lr = 0.1"},
    {"asgd", "lr = 1.0"},
    {"rprop", "lr = 0.05"},
    {"lion", "lr = 0.02"},
    {"lion8bit", "lr = 0.02"},
    {"ademamix", "lr = 0.03"},
    {"lamb", "lr = 0.05"},
    {"lars", "lr = 1.0\ntrust_coefficient = 0.02"},
    {"adam_mini", "lr = 0.1"},
    {"adafactor", "lr = 0.1"},
    {"muon", "lr = 0.1\nweight_decay = 0.0"},
    {"schedule_free_adamw", "lr = 0.1"},
    {"schedule_free_sgd", "lr = 1.0"},
    {"lbfgs", "line_search_fn = 'strong_wolfe'"},
};

struct Net : torch::nn::Module {
  torch::nn::Linear first, second;
  explicit Net(std::int64_t width = 16) : first(2, width), second(width, 1) {
    register_module("first", first);
    register_module("second", second);
  }
  at::Tensor forward(const at::Tensor& x) { return second(torch::tanh(first(x))).squeeze(1); }
};

struct Problem {
  std::shared_ptr<Net> net = std::make_shared<Net>();
  at::Tensor inputs = torch::tensor({{0., 0.}, {0., 1.}, {1., 0.}, {1., 1.}}, torch::kFloat);
  at::Tensor targets = torch::tensor({0., 1., 1., 0.}, torch::kFloat);
  at::Tensor loss() { return torch::binary_cross_entropy_with_logits(net->forward(inputs), targets); }
};

class EveryKind : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override { torch::manual_seed(3); }
  std::unique_ptr<torch::optim::Optimizer> make(torch::nn::Module& net) const {
    return make_optimizer(config("kind = '" + GetParam() + "'\n" + settings.at(GetParam())), net);
  }
  static at::Tensor train(Problem& problem, torch::optim::Optimizer& optimizer, int steps) {
    at::Tensor loss;
    for (int i = 0; i < steps; ++i)
      loss = optimizer.step([&] {
        optimizer.zero_grad();
        at::Tensor value = problem.loss();
        value.backward();
        return value;
      });
    return loss;
  }
};

TEST_P(EveryKind, LearnsXor) {
  Problem problem;
  const auto optimizer = make(*problem.net);
  train(problem, *optimizer, 400);
  static_cast<Optimizer&>(*optimizer).eval();
  EXPECT_LT(problem.loss().item<float>(), 0.1) << GetParam();
}

TEST_P(EveryKind, GoesOnToTheSameBitsFromSavedState) {
  Problem problem;
  const auto optimizer = make(*problem.net);
  train(problem, *optimizer, 5);
  const auto names = names_of(*optimizer, *problem.net);
  const State state = state_of(*optimizer, names);

  std::stringstream archive;
  torch::save(*optimizer, archive);
  Problem copy;
  Problem copy_of_archive;
  const auto take_over = [&](Problem& to) {
    const at::NoGradGuard no_grad;
    for (const auto& item : problem.net->named_parameters()) to.net->named_parameters()[item.key()].copy_(item.value());
  };
  take_over(copy);
  take_over(copy_of_archive);
  const auto from_state = make(*copy.net);
  restore(*from_state, State{state.tensors, nlohmann::json::parse(state.scalars.dump())});
  const auto from_archive = make(*copy_of_archive.net);
  torch::load(*from_archive, archive);

  train(problem, *optimizer, 5);
  train(copy, *from_state, 5);
  train(copy_of_archive, *from_archive, 5);
  for (const auto& item : problem.net->named_parameters()) {
    EXPECT_TRUE(at::equal(item.value(), copy.net->named_parameters()[item.key()])) << item.key();
    EXPECT_TRUE(at::equal(item.value(), copy_of_archive.net->named_parameters()[item.key()])) << item.key();
  }
}

TEST_P(EveryKind, AveragedWeightsComeAndGoWithoutATrace) {
  Problem problem;
  const auto optimizer = make(*problem.net);
  train(problem, *optimizer, 20);
  const at::Tensor before = problem.net->first->weight.detach().clone();
  {
    const AveragedWeights averaged(*optimizer);
    EXPECT_EQ(at::equal(before, problem.net->first->weight), !GetParam().starts_with("schedule_free"));
  }
  EXPECT_TRUE(at::equal(before, problem.net->first->weight));
}

TEST_P(EveryKind, SkipsAParameterWithoutGradient) {
  if (GetParam() == "lbfgs") GTEST_SKIP() << "takes it for 0";
  Problem problem;
  const auto optimizer = make(*problem.net);
  problem.loss().backward();
  problem.net->second->weight.mutable_grad() = at::Tensor();
  const at::Tensor before = problem.net->second->weight.detach().clone();
  optimizer->step();
  EXPECT_TRUE(at::equal(before, problem.net->second->weight));
  EXPECT_EQ(optimizer->state().size(), 3);
}

// Reading a value makes a GPU's program wait for all that was asked of it before.
TEST_P(EveryKind, ReadsNoValueOffAGpu) {
  if (GetParam() == "lbfgs") GTEST_SKIP() << "its line search looks at the loss";
  struct Weights : torch::nn::Module {
    explicit Weights(torch::Device device) {
      register_parameter("matrix", torch::zeros({8, 16}, device));
      register_parameter("vector", torch::zeros({8}, device));
      register_parameter("large", torch::zeros({100, 100}, device));
    }
  };
  const auto forecast = rehearse::rehearse({.steps = 4}, [&](torch::Device device, rehearse::Stage& stage) {
    Weights net(device);
    const auto optimizer = make(net);
    const at::Tensor number = torch::ones({}, device);
    for (int i = 0; stage.next_step(); ++i) {
      for (auto& param : net.parameters()) param.mutable_grad() = at::empty_like(param.detach());
      if (i < 2) {
        optimizer->step();
      } else {
        static_cast<Optimizer&>(*optimizer).step(Scaling{.scale = number, .found_inf = number});
      }
    }
  });
  for (const auto& read : forecast.ledger.reads) ADD_FAILURE() << read.where;
}

// On a GPU nobody reads found_inf: the device itself takes back a step that overflowed. Parameters with gaps take the
// same way on the CPU.
TEST_P(EveryKind, TheDeviceTakesBackAStepThatOverflowed) {
  if (GetParam() == "lbfgs") GTEST_SKIP() << "takes no gradient scaler";
  struct Gaps : torch::nn::Module {
    at::Tensor weight;
    Gaps() {
      weight = register_parameter("weight", torch::linspace(-1, 1, 2 * 80 * 80).view({80, 80, 2}).select(2, 0));
    }
  } told, untold;
  const auto host = make(told);
  const auto device = make(untold);
  const auto gradient = [](int i) { return torch::cos(torch::linspace(0, 7 + i, 80 * 80)).view({80, 80}); };
  Group group;
  for (int i = 0; i < 8; ++i) {
    const bool overflow = i == 3 || i == 5;
    told.weight.mutable_grad() = gradient(i);
    if (!overflow) host->step();
    untold.weight.mutable_grad() = gradient(i) * 4;
    if (i == 0) {
      untold.weight.grad().div_(4);
      device->step();
      group.entries.push_back(
          {.param = untold.weight,
           .state = static_cast<ParamState*>(device->state().at(untold.weight.unsafeGetTensorImpl()).get())});
      continue;
    }
    if (overflow) untold.weight.grad()[0][0] = i == 3 ? INFINITY : NAN;
    const at::Tensor before = untold.weight.detach().clone();
    const at::NoGradGuard no_grad;
    static_cast<Optimizer&>(*device).method().step(
        group, static_cast<AnyOptions&>(device->param_groups()[0].options()),
        {.device_scale = torch::tensor(4.0F), .device_found_inf = torch::tensor(overflow ? 1.0F : 0.0F)});
    EXPECT_EQ(at::equal(before, untold.weight), overflow) << i;
  }
  const double apart = (told.weight - untold.weight).abs().max().item<double>();
  EXPECT_LT(apart, GetParam().ends_with("8bit") ? 0.1 : 1e-5);
  const State saved = state_of(*device);
  for (const auto& [name, tensor] : saved.tensors) EXPECT_TRUE(name != "state.0.step" || tensor.item<float>() == 6);
}

TEST_P(EveryKind, RefusesStateOfOtherShapes) {
  Problem problem;
  const auto optimizer = make(*problem.net);
  train(problem, *optimizer, 1);
  const State state = state_of(*optimizer);
  if (GetParam() == "lbfgs") GTEST_SKIP() << "one vector";
  Net wider(24);
  const auto other = make(wider);
  try {
    restore(*other, state);
    FAIL() << "taken over";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("shape"), std::string::npos) << error.what();
  }
  State lacking = state;
  lacking.tensors.pop_back();
  Problem same;
  EXPECT_THROW(restore(*make(*same.net), lacking), Error);
}

struct Tensors : torch::nn::Module {
  explicit Tensors(const std::vector<at::Tensor>& values) {
    for (std::size_t i = 0; i < values.size(); ++i)
      register_parameter("t" + std::to_string(i), values[i].detach().clone());
  }
};

// Many small tensors and some that several threads share; between steps gradients are missing, laid out otherwise, new
// or the same as before, and parameters are given new memory.
TEST_P(EveryKind, ATensorDoesNotFeelItsNeighbours) {
  if (GetParam() == "lbfgs") GTEST_SKIP() << "one vector";
  if (GetParam().ends_with("8bit")) GTEST_SKIP() << "each parameter draws noise of its own";
  std::vector<at::Tensor> values = {torch::randn({300, 200}), torch::randn({70000}), torch::randn({0, 3})};
  for (std::int64_t i = 0; i < 40; ++i) values.push_back(i % 2 == 0 ? torch::randn({7 + i, 5}) : torch::randn({i}));
  Tensors all(values);
  const auto together = make(all);
  std::vector<std::unique_ptr<Tensors>> single;
  std::vector<std::unique_ptr<torch::optim::Optimizer>> alone;
  for (const auto& value : values) {
    single.push_back(std::make_unique<Tensors>(std::vector<at::Tensor>{value}));
    alone.push_back(make(*single.back()));
  }
  at::set_num_threads(3);
  for (int step = 0; step < 8; ++step) {
    for (std::size_t i = 0; i < values.size(); ++i) {
      at::Tensor params[] = {all.parameters()[i], single[i]->parameters()[0]};
      const auto fate = torch::randint(6, {}).item<int>();
      const at::Tensor grad = torch::randn_like(values[i]);
      for (at::Tensor& param : params) {
        if (fate == 0) param.mutable_grad().reset();
        if (fate == 1 && grad.dim() == 2) param.mutable_grad() = grad.t().contiguous().t();
        if (fate == 2) param.set_data(param.detach().clone());
        if (fate >= 3 || step == 0) param.mutable_grad() = grad.clone();
      }
    }
    together->step();
    for (const auto& each : alone) each->step();
    for (std::size_t i = 0; i < values.size(); ++i)
      ASSERT_TRUE(at::equal(all.parameters()[i], single[i]->parameters()[0])) << "step " << step << ", tensor " << i;
  }
  at::set_num_threads(2);
}

INSTANTIATE_TEST_SUITE_P(Optimizers, EveryKind, testing::ValuesIn([] {
                           std::vector<std::string> names;
                           for (const auto& name : optimizer_kinds())
                             if (name != "sparse_adam") names.push_back(name);
                           return names;
                         }()),
                         [](const auto& each) { return each.param; });

TEST(Optimizers, LbfgsMinimisesRosenbrock) {
  at::Tensor x = torch::tensor({-1.5, 2.0}, torch::kDouble).requires_grad_();
  LBFGS optimizer({x}, {.line_search_fn = "strong_wolfe"});
  for (int i = 0; i < 10; ++i)
    optimizer.step([&] {
      optimizer.zero_grad();
      at::Tensor loss = (1 - x[0]).square() + 100 * (x[1] - x[0].square()).square();
      loss.backward();
      return loss;
    });
  EXPECT_NEAR(x[0].item<double>(), 1, 1e-5);
  EXPECT_NEAR(x[1].item<double>(), 1, 1e-5);
}

TEST(Optimizers, DevicesLayoutsAndDtypesMayBeMixedInOneGroup) {
  torch::manual_seed(1);
  std::vector<at::Tensor> params = {torch::randn({5000}),
                                    torch::randn({3, 4}, torch::kDouble),
                                    torch::randn({40, 40}).to(torch::kBFloat16),
                                    torch::randn({4, 6}).slice(1, 0, 6, 2),
                                    torch::randn({4}, torch::kHalf),
                                    torch::empty({0, 3})};
  std::vector<at::Tensor> alone;
  for (auto& param : params) {
    alone.push_back(param.detach().clone().requires_grad_());
    param = param.detach().requires_grad_();
  }
  AdamW together(params, {.lr = 0.1});
  for (int step = 0; step < 3; ++step) {
    for (std::size_t i = 0; i < params.size(); ++i) {
      params[i].mutable_grad() = torch::randn(params[i].sizes()).to(params[i].scalar_type());
      alone[i].mutable_grad() = params[i].grad().clone();
    }
    together.step();
  }
  EXPECT_EQ(together.state().size(), params.size());
  for (const auto& param : params) EXPECT_TRUE(param.isfinite().all().item<bool>());
}

TEST(Optimizers, BadSettingsAreRefusedByName) {
  const auto refused = [](const std::string& toml, const std::string& part) {
    Net net;
    try {
      make_optimizer(config(toml), net);
      FAIL() << toml << " was taken";
    } catch (const std::invalid_argument& error) {
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
    }
  };
  refused("kind = 'adamw'\nlr = -1.0", "lr must be >= 0, got -1");
  refused("kind = 'adamw'\neps = -1e-8", "eps");
  refused("kind = 'adamw'\nbetas = [0.9, 1.0]", "betas[1] must be in [0, 1), got 1");
  refused("kind = 'adamw'\nbetas = [0.9]", "2 numbers");
  refused("kind = 'adamw'\nlr = nan", "lr");
  refused("kind = 'adamw'\n\neps = -1.0", "test.toml:3: eps: adamw: eps must be >= 0");
  refused("kind = 'adamw'\n\nbetas = [0.9, 2.0]", "test.toml:3: betas: adamw: betas[1]");
  refused("kind = 'sgd'\n\nnesterov = true", "test.toml:3: nesterov: sgd: nesterov wants");
  refused("kind = 'adanw'", "adamw");
  refused("kind = 'sgd'\nnesterov = true", "momentum");
  refused("kind = 'adamw'\nstates = '4bit'", "8bit");
  refused("kind = 'rprop'\netas = [1.5, 0.5]", "etas[0]");
  refused("kind = 'adamw'\nlayer_decay = 0.0", "layer_decay");
}

TEST(Optimizers, ASettingOfTheCommandLineIsRefusedAsThat) {
  Net net;
  const std::vector<std::string> overrides = {"eps=-1.0"};
  try {
    make_optimizer(core::Config::from_text("kind = 'adamw'", "test.toml", overrides), net);
    FAIL() << "taken";
  } catch (const std::invalid_argument& error) {
    EXPECT_STREQ(error.what(), "--set eps: adamw: eps must be >= 0, got -1");
  }
}

TEST(Optimizers, AParameterTwiceIsRefused) {
  const at::Tensor x = torch::zeros({2}, torch::requires_grad());
  EXPECT_THROW(SGD({x, x}, {.lr = 1}), std::invalid_argument);
  std::vector<torch::optim::OptimizerParamGroup> groups = {group({x}, SGDOptions{}), group({x}, SGDOptions{})};
  EXPECT_THROW(SGD(groups, {}), std::invalid_argument);
  EXPECT_THROW(SGD(std::vector<at::Tensor>{x * 2}, {}), std::invalid_argument);
}

TEST(Groups, NormsAndBiasesWithoutDecayAndLayersWithLowerRates) {
  Net net;
  const auto made = make_optimizer(
      config("kind = 'adamw'\nlr = 1.0\nweight_decay = 0.1\ndecay_norms_and_biases = false\nlayer_decay = 0.5"), net);
  ASSERT_EQ(made->param_groups().size(), 4);
  for (auto& each : made->param_groups()) {
    const auto& options = static_cast<GroupOptions<AdamWOptions>&>(each.options()).value;
    for (const auto& param : each.params()) {
      EXPECT_EQ(options.weight_decay, param.dim() < 2 ? 0 : 0.1);
      const bool last = param.is_same(net.second->weight) || param.is_same(net.second->bias);
      EXPECT_EQ(options.lr, last ? 1.0 : 0.5);
    }
  }
}

}  // namespace
}  // namespace athanor::optim
