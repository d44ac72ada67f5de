// Why is memory not free after the model is gone? `memory::release` lets go, counts, and names who still holds the
// rest.
#include <fmt/format.h>
#include <torch/torch.h>

#include "athanor/memory/Release.h"
#include "athanor/optim/Adam.h"
#include "athanor/train/Ema.h"

namespace memory = athanor::memory;

struct Training {
  torch::nn::Linear net{1024, 1024};
  athanor::optim::AdamW optimizer{net->parameters(), {.lr = 1e-3}};
  torch::Tensor step() {
    auto loss = net(torch::randn({8, 1024})).square().mean();
    loss.backward();
    optimizer.step();
    return loss;
  }
};

void say(const char* what, const memory::Released& released) {
  fmt::print("{}:\n  {}\n", what, released.text());
}

int main() {
  {
    Training training;
    training.step();
    say("the optimizer goes with it", memory::release(std::move(training.net), {.optimizer = &training.optimizer}));
  }
  {
    Training training;
    training.step();
    say("the optimizer was forgotten", memory::release(std::move(training.net)));
  }
  {
    Training training;
    training.step();
    const auto second = training.net;
    say("a second handle to the model", memory::release(std::move(training.net), {.optimizer = &training.optimizer}));
  }
  {
    Training training;
    const athanor::train::Ema ema(*training.net, 0.999);
    training.step();
    say("an average of the weights",
        memory::release(std::move(training.net), {.optimizer = &training.optimizer, .suspects = {ema.suspect()}}));
  }
  {
    Training training;
    const auto loss = training.step();
    const auto gradient = training.net->weight.grad();
    say("a kept loss and a kept gradient",
        memory::release(std::move(training.net), {.optimizer = &training.optimizer}));
  }
}
