#include "athanor/train/Ema.h"

#include <stdexcept>

namespace athanor::train {

Ema::Ema(const torch::nn::Module& model, double decay) : decay_(decay) {
  if (!(decay >= 0 && decay < 1))
    throw std::invalid_argument("train::Ema: decay must be in [0, 1), got " + std::to_string(decay));
  const torch::NoGradGuard no_grad;
  for (const auto& parameter : model.named_parameters()) {
    names_.push_back(parameter.key());
    weights_.push_back(parameter.value());
    averages_.push_back(parameter.value().detach().clone());
  }
  for (const auto& buffer : model.named_buffers()) {
    if (!buffer.value().defined()) continue;
    names_.push_back(buffer.key());
    buffers_.push_back(buffer.value());
    buffer_copies_.push_back(buffer.value().clone());
  }
}

void Ema::update() {
  const torch::NoGradGuard no_grad;
  if (!averages_.empty()) at::_foreach_lerp_(averages_, weights_, 1.0 - decay_);
  for (std::size_t i = 0; i < buffers_.size(); ++i) buffer_copies_[i].copy_(buffers_[i]);
}

store::NamedTensors Ema::weights() const {
  store::NamedTensors named;
  for (std::size_t i = 0; i < averages_.size(); ++i) named.emplace_back(names_[i], averages_[i]);
  for (std::size_t i = 0; i < buffer_copies_.size(); ++i)
    named.emplace_back(names_[averages_.size() + i], buffer_copies_[i]);
  return named;
}

memory::Suspect Ema::suspect(std::string name) const {
  memory::Suspect result{std::move(name), weights_};
  for (const auto* list : {&buffers_, &averages_, &buffer_copies_})
    result.tensors.insert(result.tensors.end(), list->begin(), list->end());
  return result;
}

void Ema::exchange() {
  for (std::size_t i = 0; i < weights_.size(); ++i) {
    const auto weight = weights_[i].detach();
    weights_[i].set_data(averages_[i]);
    averages_[i] = weight;
  }
  for (std::size_t i = 0; i < buffers_.size(); ++i) {
    const auto buffer = buffers_[i].detach();
    buffers_[i].set_data(buffer_copies_[i]);
    buffer_copies_[i] = buffer;
  }
}

Ema::Applied::Applied(Ema& ema) : ema_(ema) {
  ema_.exchange();
}

Ema::Applied::~Applied() {
  ema_.exchange();
}

}  // namespace athanor::train
