// How much memory will this training step need on a GPU? Any program's own step, rehearsed without the GPU.
#include <fmt/format.h>
#include <torch/torch.h>

#include "athanor/core/Terminal.h"
#include "athanor/rehearse/Picture.h"
#include "athanor/rehearse/Rehearse.h"

using namespace torch::nn;

int main() {
  namespace rehearse = athanor::rehearse;
  const auto forecast = rehearse::rehearse({.gpu = "RTX 4090"}, [](torch::Device device, rehearse::Stage& stage) {
    Sequential net(Conv2d(Conv2dOptions(3, 64, 3).padding(1)), BatchNorm2d(64), ReLU(),
                   Conv2d(Conv2dOptions(64, 128, 3).stride(2).padding(1)), ReLU(), AdaptiveAvgPool2d(1), Flatten(),
                   Linear(128, 10));
    net->to(device);
    stage.watch(*net);  // names in the forecast; everything works without
    torch::optim::AdamW optimizer(net->parameters(), torch::optim::AdamWOptions(1e-3));
    while (stage.next_step()) {
      const auto images = torch::randn({128, 3, 64, 64}).to(device);
      const auto labels = torch::randint(10, {128}, torch::kLong).to(device);
      optimizer.zero_grad();
      const auto loss = functional::cross_entropy(net->forward(images), labels);
      loss.backward();
      optimizer.step();
    }
  });
  fmt::print("{}\n{}", describe(forecast, {.unicode = true}), timeline(forecast).terminal());
  return forecast.fits ? 0 : 1;
}
