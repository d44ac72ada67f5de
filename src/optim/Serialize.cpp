// torch::save and torch::load of our optimizers.
#include <ATen/ATen.h>
#include <torch/serialize.h>

#include "athanor/core/Error.h"
#include "athanor/optim/Optimizer.h"
#include "athanor/optim/State.h"
#include "optim/FieldsJson.h"

namespace athanor::optim {

void AnyOptions::serialize(torch::serialize::OutputArchive& archive) const {
  ToJson to;
  const_cast<AnyOptions*>(this)->visit(to);  // visit() is for both directions
  archive.write("options", c10::IValue(to.json.dump()));
}

void AnyOptions::serialize(torch::serialize::InputArchive& archive) {
  c10::IValue text;
  archive.read("options", text);
  const auto json = nlohmann::json::parse(text.toStringRef());
  FromJson from(json);
  visit(from);
}

void Optimizer::save(torch::serialize::OutputArchive& archive) const {
  const State state = state_of(*this);
  archive.write("athanor_optimizer", c10::IValue(state.scalars.dump()));
  c10::List<std::string> names;
  for (std::size_t i = 0; i < state.tensors.size(); ++i) {
    names.push_back(state.tensors[i].first);
    archive.write("tensor" + std::to_string(i), state.tensors[i].second, /*is_buffer=*/true);
  }
  archive.write("names", c10::IValue(names));
}

void Optimizer::load(torch::serialize::InputArchive& archive) {
  c10::IValue text;
  c10::IValue names;
  if (!archive.try_read("athanor_optimizer", text) || !archive.try_read("names", names))
    throw Error("optimizer state: this archive was not saved by an athanor::optim optimizer");
  State state;
  state.scalars = nlohmann::json::parse(text.toStringRef());
  std::size_t i = 0;
  for (const auto& name : names.toList()) {
    at::Tensor tensor;
    archive.read("tensor" + std::to_string(i++), tensor, /*is_buffer=*/true);
    state.tensors.emplace_back(name.get().toStringRef(), tensor);
  }
  restore(*this, state);
}

}  // namespace athanor::optim
