// One step's cost on Linear 4→2: the bare loop in C++, our Trainer alone, and with everything on.
//   bench_loop bare|bare-libtorch|trainer|everything STEPS     prints microseconds a step
// And what malloc's settings cost a CNN (batch 128, fp32, one thread):
//   bench_loop cnn-malloc-default|cnn-malloc-kept STEPS
#include <athanor/data/Loader.h>
#include <athanor/models/Cnn.h>
#include <athanor/optim/SGD.h>
#include <athanor/train/CsvLog.h>
#include <athanor/train/HostMemory.h>
#include <athanor/train/Progress.h>
#include <athanor/train/TensorBoardLog.h>
#include <athanor/train/Trainer.h>
#include <torch/torch.h>

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>

using namespace athanor;

namespace {

struct NetImpl : torch::nn::Module {
  NetImpl() : linear(register_module("linear", torch::nn::Linear(4, 2))) {}
  torch::Tensor forward(torch::Tensor x) { return linear(x); }
  torch::nn::Linear linear;
};
TORCH_MODULE(Net);

void bare(const Net& net, torch::optim::Optimizer& optimizer, data::Loader& loader) {
  loader.start_epoch(0);
  while (const auto batch = loader.next()) {
    const auto loss = torch::cross_entropy_loss(net.ptr()->forward(batch->inputs), batch->targets);
    loss.backward();
    optimizer.step();
    optimizer.zero_grad();
  }
}

train::TrainerOptions everything(const std::filesystem::path& folder, std::ofstream& progress) {
  train::TrainerOptions options{.max_epochs = 1, .metrics = {train::accuracy()}, .folder = folder};
  options.observers = {train::CsvLog(folder / "metrics.csv"), train::TensorBoardLog(folder),
                       train::Progress(progress, {.live = true})};
  return options;
}

double cnn_step(std::int64_t steps, bool keep) {
  if (keep) train::keep_freed_memory();
  models::Cnn net(models::CnnOptions{});
  optim::SGD optimizer(net->parameters(), {.lr = 0.01});
  const auto x = torch::randn({128, 1, 28, 28});
  const auto y = torch::randint(10, {128}, torch::kLong);
  std::chrono::steady_clock::time_point begin;
  for (std::int64_t step = -3; step < steps; ++step) {
    if (step == 0) begin = std::chrono::steady_clock::now();
    torch::cross_entropy_loss(net->forward(x), y).backward();
    optimizer.step();
    optimizer.zero_grad();
  }
  const std::chrono::duration<double, std::micro> taken = std::chrono::steady_clock::now() - begin;
  return taken.count() / static_cast<double>(steps);
}

}  // namespace

int main(int argc, char** argv) {
  const std::string what = argc > 1 ? argv[1] : "bare";
  const std::int64_t steps = argc > 2 ? std::stoll(argv[2]) : 20000;
  torch::set_num_threads(1);
  torch::manual_seed(1);
  if (what.starts_with("cnn-")) {
    std::printf("%.1f\n", cnn_step(steps, what == "cnn-malloc-kept"));
    return 0;
  }
  const auto points =
      std::make_shared<data::TensorDataset>(torch::randn({steps * 8, 4}), torch::randint(2, {steps * 8}, torch::kLong));
  data::Loader loader(points, {.batch_size = 8, .shuffle = false, .prefetch = false});
  const Net net;
  torch::optim::SGD theirs(net->parameters(), 0.01);
  optim::SGD ours(net->parameters(), {.lr = 0.01});
  const auto folder = std::filesystem::temp_directory_path() / "athanor-bench-loop";
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  std::ofstream progress(folder / "progress");
  const auto begin = std::chrono::steady_clock::now();
  if (what == "bare") {
    bare(net, ours, loader);
  } else if (what == "bare-libtorch") {
    bare(net, theirs, loader);
  } else {
    auto options = what == "everything" ? everything(folder, progress)
                                        : train::TrainerOptions{.max_epochs = 1, .log_every_steps = 0};
    train::Trainer(net, train::cross_entropy(), ours, options).fit(loader);
  }
  const std::chrono::duration<double, std::micro> taken = std::chrono::steady_clock::now() - begin;
  std::printf("%.3f\n", taken.count() / static_cast<double>(steps));
  std::filesystem::remove_all(folder);
}
