// The trainer: validation, early stopping, checkpoints, an average of the weights, logs; and a second trainer that goes
// on where the first one stopped.
#include <athanor/data/Loader.h>
#include <athanor/optim/Adam.h>
#include <athanor/train/CsvLog.h>
#include <athanor/train/Trainer.h>
#include <torch/torch.h>

#include <cstdio>
#include <filesystem>

using namespace athanor;

struct NetImpl : torch::nn::Module {
  NetImpl()
      : hidden(register_module("hidden", torch::nn::Linear(8, 64))),
        out(register_module("out", torch::nn::Linear(64, 2))) {}
  torch::Tensor forward(torch::Tensor x) { return out(torch::relu(hidden(x))); }
  torch::nn::Linear hidden, out;
};
TORCH_MODULE(Net);

train::Outcome part(const std::filesystem::path& folder, std::int64_t max_steps, bool resume) {
  torch::manual_seed(1);
  const auto x = torch::randn({2000, 8});
  const auto y = (x.select(1, 0) * x.select(1, 1) > 0).to(torch::kLong);
  const auto train_set = std::make_shared<data::TensorDataset>(x.slice(0, 0, 1600), y.slice(0, 0, 1600));
  const auto val_set = std::make_shared<data::TensorDataset>(x.slice(0, 1600), y.slice(0, 1600));
  data::Loader train(train_set, {.batch_size = 100, .seed = 7});
  data::Loader val(val_set, {.batch_size = 100, .shuffle = false});

  const Net net;
  optim::AdamW optimizer(net->parameters(), {.lr = 1e-2});
  train::TrainerOptions options{.max_epochs = 20,
                                .max_steps = max_steps,
                                .metrics = {train::accuracy()},
                                .early_stopping = train::EarlyStoppingOptions{.monitor = "val_loss", .patience = 5},
                                .ema_decay = 0.99,
                                .folder = folder};
  options.observers.push_back([](const train::Event& event) {
    if (event.kind == train::Event::Kind::validated)
      std::printf("epoch %ld  val_accuracy %.1f %%\n", event.epoch, 100 * event.metrics.at("val_accuracy"));
  });
  train::Trainer trainer(net, train::cross_entropy(), optimizer, options);
  if (resume) trainer.resume();
  return trainer.fit(train, &val);
}

int main() {
  const auto folder = std::filesystem::temp_directory_path() / "athanor-example-02";
  std::filesystem::remove_all(folder);
  part(folder, /*max_steps=*/150, /*resume=*/false);  // ends in the middle of an epoch
  const auto outcome = part(folder, 0, /*resume=*/true);
  std::printf("%s after %ld steps; best %s = %.4f\n", train::to_string(outcome.status).c_str(), outcome.steps,
              outcome.best->metric.c_str(), outcome.best->value);
  std::filesystem::remove_all(folder);
  return outcome.final.at("val_accuracy") > 0.9 ? 0 : 1;
}
