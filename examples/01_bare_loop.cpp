// A loop of one's own with Athanor's parts: a schedule, autocast, clipping, early stopping. No trainer.
#include <athanor/amp/Autocast.h>
#include <athanor/optim/Adam.h>
#include <athanor/optim/Clip.h>
#include <athanor/optim/Scheduler.h>
#include <athanor/schedule/Decay.h>
#include <athanor/train/EarlyStopping.h>
#include <torch/torch.h>

#include <cstdio>

using namespace athanor;

int main() {
  torch::manual_seed(1);
  const auto x = torch::randn({2000, 8});
  const auto y = (x.select(1, 0) * x.select(1, 1) > 0).to(torch::kLong);  // a saddle: no line separates it
  const auto train_x = x.slice(0, 0, 1600), train_y = y.slice(0, 0, 1600);
  const auto val_x = x.slice(0, 1600), val_y = y.slice(0, 1600);

  torch::nn::Sequential net(torch::nn::Linear(8, 64), torch::nn::ReLU(), torch::nn::Linear(64, 2));
  optim::AdamW optimizer(net->parameters(), {.lr = 1e-2, .weight_decay = 0.01});
  optim::Scheduler scheduler(optimizer, schedule::step({.step_size = 50, .gamma = 0.7}));
  train::EarlyStopping stopping({.patience = 5, .min_delta = 1e-3});

  for (int epoch = 0; epoch < 60; ++epoch) {
    net->train();
    for (std::int64_t begin = 0; begin < 1600; begin += 100) {
      torch::Tensor loss;
      {
        const amp::Autocast region(torch::kCPU, torch::kBFloat16);
        loss = torch::cross_entropy_loss(net->forward(train_x.slice(0, begin, begin + 100)),
                                         train_y.slice(0, begin, begin + 100));
      }
      optimizer.zero_grad();
      loss.backward();
      optim::clip_grad_norm(net->parameters(), 1.0);
      optimizer.step();
      scheduler.step();
    }
    net->eval();
    const torch::NoGradGuard no_grad;
    const auto output = net->forward(val_x);
    const double val_loss = torch::cross_entropy_loss(output, val_y).item<double>();
    const double accuracy = output.argmax(1).eq(val_y).to(torch::kFloat).mean().item<double>();
    const auto verdict = stopping.observe(val_loss, *net, epoch);
    if (epoch % 10 == 0 || verdict.stop)
      std::printf("epoch %2d  lr %.5f  val_loss %.4f  val_accuracy %.1f %%\n", epoch, scheduler.lr(), val_loss,
                  100 * accuracy);
    if (verdict.stop) {
      std::printf("%s\n", verdict.message.c_str());
      break;
    }
  }
  stopping.restore_best(*net);
  return *stopping.best() < 0.3 ? 0 : 1;
}
