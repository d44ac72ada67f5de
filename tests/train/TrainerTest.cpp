#include "athanor/train/Trainer.h"

#include <gtest/gtest.h>

#include <csignal>

#include "athanor/schedule/Decay.h"
#include "athanor/train/Ema.h"
#include "train/Tiny.h"

namespace athanor::train {
namespace {

std::vector<double> losses_of(TrainerOptions options, torch::nn::Sequential net, data::Loader& train) {
  std::vector<double> losses;
  options.log_every_steps = 1;
  options.observers.push_back([&](const Event& event) {
    if (event.kind == Event::Kind::step) losses.push_back(event.metrics.at("train_loss"));
  });
  optim::AdamW optimizer(net->parameters(), {.lr = 1e-2});
  Trainer trainer(tiny::model_of(net), cross_entropy(), optimizer, options);
  trainer.fit(train);
  return losses;
}

TEST(Trainer, IsTheBareLoopToTheBit) {
  auto train = tiny::loader();
  const auto net = tiny::net();
  const auto ours = losses_of({.max_epochs = 3}, net, train);

  auto bare = tiny::net();
  optim::AdamW optimizer(bare->parameters(), {.lr = 1e-2});
  std::vector<double> losses;
  bare->train();
  for (int epoch = 0; epoch < 3; ++epoch) {
    train.start_epoch(epoch);
    while (const auto batch = train.next()) {
      optimizer.zero_grad();
      const auto loss = torch::cross_entropy_loss(bare->forward(batch->inputs), batch->targets);
      loss.backward();
      optimizer.step();
      losses.push_back(static_cast<double>(loss.item<float>()));
    }
  }
  EXPECT_EQ(ours, losses);
  EXPECT_TRUE(tiny::same_bits(*net, *bare));
}

// The gradient is that of the mean over all items: also where the last window and the last batch are not full.
TEST(Trainer, AccumulationWeighsByItems) {
  const auto data = tiny::points(10);
  for (const std::int64_t batch_size : {3, 4}) {
    torch::nn::Sequential net(torch::nn::Linear(4, 3)), whole(torch::nn::Linear(4, 3));
    net->to(torch::kDouble);
    whole->to(torch::kDouble);
    for (std::size_t i = 0; i < 2; ++i) whole->parameters()[i].data().copy_(net->parameters()[i]);
    const auto loss = [](const at::Tensor& output, const at::Tensor& targets) {
      return torch::cross_entropy_loss(output, targets);
    };
    models::Model model;
    model.module = net.ptr();
    model.forward = [net](at::Tensor x) mutable { return net->forward(x.to(torch::kDouble)); };
    torch::optim::SGD optimizer(net->parameters(), 0.5), plain(whole->parameters(), 0.5);
    data::Loader loader(data, {.batch_size = batch_size, .shuffle = false});
    Trainer trainer(model, loss, optimizer, {.step = {.accumulate = 5}, .max_epochs = 1});
    EXPECT_EQ(trainer.fit(loader).steps, 1);

    const std::vector<std::int64_t> all{0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
    const auto batch = data::gather(*data, all);
    torch::cross_entropy_loss(whole->forward(batch.inputs.to(torch::kDouble)), batch.targets).backward();
    plain.step();
    for (std::size_t i = 0; i < 2; ++i)
      EXPECT_TRUE(torch::allclose(net->parameters()[i], whole->parameters()[i], 1e-12, 1e-14)) << batch_size;
  }
}

TEST(Trainer, StepsTheSchedulePerOptimizerStepOrEpoch) {
  for (const bool by_epoch : {false, true}) {
    auto train = tiny::loader();  // 7 batches
    auto net = tiny::net();
    optim::AdamW optimizer(net->parameters(), {.lr = 1.0});
    optim::Scheduler scheduler(optimizer, schedule::step({.step_size = 1, .gamma = 0.5}));
    std::vector<double> rates;
    TrainerOptions options{.step = {.accumulate = 2}, .max_epochs = 2, .scheduler = &scheduler};
    options.interval = by_epoch ? schedule::Interval::epoch : schedule::Interval::step;
    options.log_every_steps = 1;
    options.observers.push_back([&](const Event& event) {
      if (event.kind == Event::Kind::step) rates.push_back(event.lr);
    });
    Trainer(tiny::model_of(net), cross_entropy(), optimizer, options).fit(train);
    ASSERT_EQ(rates.size(), 8U) << "4 steps an epoch: the last of one batch";
    EXPECT_EQ(rates[3], by_epoch ? 1.0 : 0.0625);
    EXPECT_EQ(rates[7], by_epoch ? 0.5 : 0.00390625);
  }
}

TEST(Trainer, StopsEarlyWithTheBestWeights) {
  auto train = tiny::loader(), val = tiny::loader(16, false);
  auto net = tiny::net();
  optim::AdamW optimizer(net->parameters(), {.lr = 1e-2});
  // A metric that is best in epoch 2.
  int epoch = 0;
  const Metric scripted{
      "scripted", [&](const at::Tensor&, const at::Tensor&, const at::Tensor&) {
        return torch::tensor(std::vector<double>{5, 4, 1, 2, 3, 4, 5, 6, 7, 8}[static_cast<std::size_t>(epoch)]);
      }};
  at::Tensor best;
  TrainerOptions options{.max_epochs = 10,
                         .metrics = {scripted},
                         .early_stopping = EarlyStoppingOptions{.monitor = "val_scripted", .patience = 3}};
  options.observers.push_back([&](const Event& event) {
    if (event.kind != Event::Kind::validated) return;
    if (epoch++ == 2) best = net->parameters()[0].detach().clone();
  });
  const auto outcome = Trainer(tiny::model_of(net), cross_entropy(), optimizer, options).fit(train, &val);
  EXPECT_EQ(outcome.status, Status::early_stopped);
  EXPECT_EQ(outcome.best->epoch, 2);
  EXPECT_EQ(outcome.best->value, 1.0);
  EXPECT_EQ(epoch, 6);
  EXPECT_TRUE(torch::equal(net->parameters()[0], best));
}

TEST(Trainer, ALossThatIsNotFiniteEndsTheRunAndIsNamed) {
  tiny::Scratch scratch("nan");
  auto train = tiny::loader();
  auto net = tiny::net();
  optim::AdamW optimizer(net->parameters(), {.lr = 1e-2});
  auto model = tiny::model_of(net);
  int calls = 0;
  model.forward = [net, &calls](at::Tensor x) mutable {
    auto output = net->forward(x);
    return ++calls > 10 ? output.mul(0).log().mul(0) : output;  // log(0) = -inf, times 0 = nan
  };
  Trainer trainer(model, cross_entropy(), optimizer, {.max_epochs = 5, .folder = scratch.path});
  const auto outcome = trainer.fit(train);
  EXPECT_EQ(outcome.status, Status::diverged);
  EXPECT_NE(outcome.reason.find("at step 11"), std::string::npos) << outcome.reason;
  EXPECT_NE(outcome.reason.find("log"), std::string::npos) << outcome.reason;
  const auto places = list_checkpoints(scratch.path / "checkpoints");
  ASSERT_EQ(places.size(), 1U) << "the last good state is kept, the bad one is not written";
  EXPECT_EQ(places[0].step, 7);
  EXPECT_EQ(damage(places[0].path), "");
}

TEST(Trainer, NamesTheWeightThatWasAlreadyBad) {
  auto train = tiny::loader();
  auto net = tiny::net();
  {
    const torch::NoGradGuard no_grad;
    net->parameters()[0].index_put_({0, 0}, NAN);
  }
  optim::AdamW optimizer(net->parameters(), {.lr = 1e-2});
  const auto outcome = Trainer(tiny::model_of(net), cross_entropy(), optimizer).fit(train);
  EXPECT_EQ(outcome.status, Status::diverged);
  EXPECT_NE(outcome.reason.find("0.weight"), std::string::npos) << outcome.reason;
}

TEST(Ema, IsTheFormulaAndExchangesMemoryWithTheModel) {
  auto net = tiny::net();
  Ema ema(*net, 0.9);
  auto expected = net->parameters()[0].detach().clone();
  for (int i = 0; i < 3; ++i) {
    {
      const torch::NoGradGuard no_grad;
      net->parameters()[0].add_(1.0);
    }
    ema.update();
    expected = 0.9 * expected + 0.1 * net->parameters()[0].detach();
  }
  const auto own = net->parameters()[0].detach().clone();
  const void* memory = net->parameters()[0].data_ptr();
  {
    const Ema::Applied applied(ema);
    EXPECT_TRUE(torch::allclose(net->parameters()[0], expected, 1e-6));
  }
  EXPECT_TRUE(torch::equal(net->parameters()[0], own));
  EXPECT_EQ(net->parameters()[0].data_ptr(), memory);
}

TEST(Trainer, RefusesSettingsThatMeanNothing) {
  auto net = tiny::net();
  optim::AdamW optimizer(net->parameters(), {});
  const auto make = [&](TrainerOptions options) { Trainer(tiny::model_of(net), cross_entropy(), optimizer, options); };
  EXPECT_THROW(make({.max_epochs = 0}), std::invalid_argument);
  EXPECT_THROW(make({.step = {.accumulate = 0}}), std::invalid_argument);
  EXPECT_THROW(make({.step = {.clip_norm = -1}}), std::invalid_argument);
  EXPECT_THROW(make({.ema_decay = 1}), std::invalid_argument);
}

}  // namespace
}  // namespace athanor::train
