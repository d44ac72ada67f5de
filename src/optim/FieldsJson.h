#pragma once
#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <string>

#include "athanor/core/Error.h"
#include "athanor/optim/Fields.h"

namespace athanor::optim {

/// Settings to JSON.
class ToJson : public Fields {
 public:
  nlohmann::json json = nlohmann::json::object();
  void field(const char* name, double& value) override { json[name] = value; }
  void field(const char* name, bool& value) override { json[name] = value; }
  void field(const char* name, std::int64_t& value) override { json[name] = value; }
  void field(const char* name, std::string& value) override { json[name] = value; }
  void field(const char* name, double* values, std::size_t size) override {
    json[name] = std::vector<double>(values, values + size);
  }
};

/// JSON to settings: what is absent or null stays as it is, so state written by another version or by PyTorch's Python
/// fits.
class FromJson : public Fields {
 public:
  explicit FromJson(const nlohmann::json& json) : json_(json) {}
  void field(const char* name, double& value) override { take(name, value); }
  void field(const char* name, bool& value) override { take(name, value); }
  void field(const char* name, std::int64_t& value) override { take(name, value); }
  void field(const char* name, std::string& value) override { take(name, value); }
  void field(const char* name, double* values, std::size_t size) override {
    const auto found = json_.find(name);
    if (found == json_.end() || found->is_null()) return;
    if (!found->is_array() || found->size() != size)
      throw Error(fmt::format("optimizer state: {} must be {} numbers, got {}", name, size, found->dump()));
    for (std::size_t i = 0; i < size; ++i) {
      if (!(*found)[i].is_null()) values[i] = (*found)[i].get<double>();  // JSON writes NaN as null
    }
  }

 private:
  template <class Value>
  void take(const char* name, Value& value) {
    const auto found = json_.find(name);
    if (found != json_.end() && !found->is_null()) value = found->get<Value>();
  }
  const nlohmann::json& json_;
};

}  // namespace athanor::optim
