#include "athanor/train/FindLr.h"

#include <ATen/Context.h>

#include <nlohmann/json.hpp>
#include <stdexcept>
#include <utility>
#include <vector>

#include "athanor/optim/Optimizer.h"
#include "athanor/train/Weights.h"

namespace athanor::train {
namespace {

// What a training step moves, taken before it and put back after it.
class Snapshot {
 public:
  Snapshot(Session& session, data::Loader& loader, std::int64_t epoch)
      : session_(session), loader_(loader), epoch_(epoch), batch_(loader.position()) {
    const at::NoGradGuard no_grad;
    for (const auto& [name, tensor] : weights_of(*session.model.module)) weights_.emplace_back(name, tensor.clone());
    training_ = session.model.module->is_training();
    for (const auto& group : session.optimizer->param_groups()) rates_.push_back(group.options().get_lr());
    // The state itself is set aside, not copied: the test begins with none.
    state_ = std::exchange(session.optimizer->state(), {});
    refresh();
    if (session.scaler) scaler_ = session.scaler->state();
    for (auto& generator : generators()) {
      const std::lock_guard lock(generator.mutex());
      streams_.push_back(generator.get_state());
    }
  }

  void restore() {
    {
      const at::NoGradGuard no_grad;
      copy_weights(weights_, *session_.model.module, "find_lr");
    }
    session_.optimizer->zero_grad();
    session_.optimizer->state() = std::move(state_);
    refresh();
    for (std::size_t i = 0; i < rates_.size(); ++i) session_.optimizer->param_groups()[i].options().set_lr(rates_[i]);
    if (session_.scaler) session_.scaler->restore(scaler_);
    session_.model.module->train(training_);
    loader_.start_epoch(epoch_, batch_);
    // Last, since nothing above may draw from them afterwards.
    auto all = generators();
    for (std::size_t i = 0; i < all.size(); ++i) {
      const std::lock_guard lock(all[i].mutex());
      all[i].set_state(streams_[i].clone());
    }
  }

  [[nodiscard]] const std::vector<double>& rates() const { return rates_; }

 private:
  [[nodiscard]] std::vector<at::Generator> generators() const {
    std::vector<at::Generator> all{at::globalContext().defaultGenerator(c10::Device(c10::kCPU))};
    const auto device = session_.step_options.device;
    if (!device.is_cpu()) all.push_back(at::globalContext().defaultGenerator(device));
    return all;
  }
  void refresh() {
    if (auto* ours = dynamic_cast<optim::Optimizer*>(session_.optimizer.get())) ours->refresh();
  }

  Session& session_;
  data::Loader& loader_;
  std::int64_t epoch_, batch_;
  store::NamedTensors weights_;
  bool training_ = true;
  std::vector<double> rates_;
  ska::flat_hash_map<void*, std::unique_ptr<torch::optim::OptimizerParamState>> state_;
  nlohmann::json scaler_;
  std::vector<at::Tensor> streams_;
};

// Batches without end, from one epoch into the next.
class Batches {
 public:
  Batches(data::Loader& loader, std::int64_t epoch) : loader_(loader), epoch_(epoch) {
    loader_.start_epoch(epoch_, loader_.position());
  }
  data::Batch next() {
    if (auto batch = loader_.next()) return *batch;
    loader_.start_epoch(++epoch_);
    if (auto batch = loader_.next()) return *batch;
    throw std::invalid_argument("train::find_lr: the loader gives no batch");
  }

 private:
  data::Loader& loader_;
  std::int64_t epoch_;
};

void set_rates(torch::optim::Optimizer& optimizer, const std::vector<double>& own, double lr) {
  for (std::size_t i = 0; i < own.size(); ++i)
    optimizer.param_groups()[i].options().set_lr(own[0] > 0.0 ? lr * (own[i] / own[0]) : lr);
}

}  // namespace

schedule::RangeTestResult find_lr(Session& session, data::Loader& loader, std::int64_t epoch,
                                  schedule::RangeTestOptions options) {
  std::optional<Snapshot> before;
  std::optional<Batches> batches;
  std::optional<Step> step;
  schedule::RangeTestSubject subject;
  subject.save = [&] {
    before.emplace(session, loader, epoch);
    batches.emplace(loader, epoch);
    step.emplace(session.model, session.loss, *session.optimizer, session.step_options);
    session.model.module->train();
  };
  subject.step = [&](double lr) {
    set_rates(*session.optimizer, before->rates(), lr);
    double loss = 0.0;
    double items = 0.0;
    do {
      const auto batch = batches->next();
      loss += step->backward(batch).item<double>() * static_cast<double>(batch.items);
      items += static_cast<double>(batch.items);
    } while (!step->ready());
    (void)step->update();
    return loss / items;
  };
  subject.restore = [&] { before->restore(); };
  return schedule::range_test(subject, options);
}

}  // namespace athanor::train
