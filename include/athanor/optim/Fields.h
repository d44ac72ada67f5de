#pragma once
#include <array>
#include <cstdint>
#include <string>

namespace athanor::optim {

/// Visits the settings of an optimizer by name. One list of fields serves saving, loading, TOML, and the state that is
/// exchanged with PyTorch's Python (whose names these are).
class Fields {
 public:
  virtual ~Fields() = default;
  virtual void field(const char* name, double& value) = 0;
  virtual void field(const char* name, bool& value) = 0;
  virtual void field(const char* name, std::int64_t& value) = 0;
  virtual void field(const char* name, std::string& value) = 0;
  /// `size` numbers in a row: betas, etas.
  virtual void field(const char* name, double* values, std::size_t size) = 0;

  template <std::size_t N>
  void field(const char* name, std::array<double, N>& values) {
    field(name, values.data(), N);
  }
};

}  // namespace athanor::optim
