#include <gtest/gtest.h>
#include <torch/torch.h>

#include "athanor/amp/GradScaler.h"
#include "athanor/optim/Adam.h"
#include "athanor/optim/SGD.h"

namespace athanor::amp {
namespace {

struct Model {
  at::Tensor x = torch::tensor({1.F, 2.F}).requires_grad_();
  at::Tensor loss() const { return (x * x).sum(); }
};

template <class Optimizer>
bool step(GradScaler& scaler, Model& model, Optimizer& optimizer, bool overflow = false) {
  optimizer.zero_grad();
  scaler.scale(model.loss()).backward();
  if (overflow) model.x.mutable_grad()[0] = INFINITY;
  const bool stepped = scaler.step(optimizer);
  scaler.update();
  return stepped;
}

TEST(GradScaler, StepsAsIfThereWereNoScale) {
  Model plain, scaled, theirs, unscaled;
  optim::AdamW a({plain.x}, {}), b({scaled.x}, {}), d({unscaled.x}, {});
  torch::optim::AdamW c({theirs.x}, torch::optim::AdamWOptions(1e-3));
  GradScaler scaler, scaler_c, scaler_d;
  for (int i = 0; i < 10; ++i) {
    a.zero_grad();
    plain.loss().backward();
    a.step();
    EXPECT_TRUE(step(scaler, scaled, b));
    EXPECT_TRUE(step(scaler_c, theirs, c));
    d.zero_grad();
    scaler_d.scale(unscaled.loss()).backward();
    scaler_d.unscale(d);
    EXPECT_TRUE(at::allclose(unscaled.x.grad(), 2 * unscaled.x));
    EXPECT_TRUE(scaler_d.step(d));
    scaler_d.update();
  }
  EXPECT_TRUE(at::equal(plain.x, scaled.x));  // 65536 is a power of two
  EXPECT_TRUE(at::equal(plain.x, unscaled.x));
  EXPECT_TRUE(at::allclose(plain.x, theirs.x));
}

TEST(GradScaler, SkipsAndBacksOffThenGrows) {
  Model model;
  optim::SGD optimizer({model.x}, {.lr = 0.1, .momentum = 0.9});
  GradScaler scaler({.init_scale = 8, .growth_interval = 3});
  const at::Tensor before = model.x.detach().clone();
  EXPECT_FALSE(step(scaler, model, optimizer, true));
  EXPECT_TRUE(at::equal(before, model.x));
  EXPECT_NE(scaler.explain(optimizer, {"x"}).find("gradient of x"), std::string::npos);
  EXPECT_EQ(scaler.scale(), 4);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(step(scaler, model, optimizer));
  EXPECT_EQ(scaler.scale(), 8);
  const auto state = scaler.state();
  EXPECT_EQ(state["scale"], 8);
  EXPECT_EQ(state["_growth_tracker"], 0);
  step(scaler, model, optimizer);
  GradScaler other({.init_scale = 1, .growth_interval = 3});
  other.restore(scaler.state());
  EXPECT_EQ(other.scale(), 8);
  step(other, model, optimizer);
  step(other, model, optimizer);
  EXPECT_EQ(other.scale(), 16) << "two good steps after the one that was restored";
}

TEST(GradScaler, WrongOrdersAreErrors) {
  Model model;
  optim::SGD optimizer({model.x}, {});
  GradScaler scaler;
  EXPECT_THROW(scaler.unscale(optimizer), std::logic_error);
  EXPECT_THROW((void)static_cast<bool>(scaler.step(optimizer)), std::logic_error);
  EXPECT_THROW(scaler.update(), std::logic_error);
  scaler.scale(model.loss()).backward();
  scaler.unscale(optimizer);
  EXPECT_THROW(scaler.unscale(optimizer), std::logic_error);
  EXPECT_TRUE(scaler.step(optimizer));
  EXPECT_THROW((void)static_cast<bool>(scaler.step(optimizer)), std::logic_error);
  EXPECT_THROW(scaler.unscale(optimizer), std::logic_error);
  scaler.update();
  EXPECT_THROW(GradScaler({.growth_factor = 1}), std::invalid_argument);
  EXPECT_THROW(GradScaler({.backoff_factor = 1}), std::invalid_argument);
  EXPECT_THROW(GradScaler({.init_scale = -1}), std::invalid_argument);
}

TEST(GradScaler, NamesTheModelWhenTheScaleIsNotToBlame) {
  Model model;
  optim::SGD optimizer({model.x}, {});
  GradScaler scaler({.init_scale = 1});
  step(scaler, model, optimizer, true);
  EXPECT_NE(scaler.explain(optimizer).find("below 1"), std::string::npos);
}

TEST(GradScaler, DisabledPassesThrough) {
  Model model;
  optim::SGD optimizer({model.x}, {.lr = 0.5});
  GradScaler scaler({.enabled = false});
  scaler.scale(model.loss()).backward();
  EXPECT_TRUE(scaler.step(optimizer));
  EXPECT_TRUE(at::allclose(model.x, torch::zeros({2})));
  EXPECT_EQ(scaler.scale(), 1);
}

}  // namespace
}  // namespace athanor::amp
