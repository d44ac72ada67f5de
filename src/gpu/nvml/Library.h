#pragma once
#include <memory>
#include <string>
#include <vector>

#include "gpu/nvml/Api.h"

namespace athanor::gpu::nvml {

/// NVML, opened and initialised; shut down and closed when it goes.
class Library {
 public:
  /// Opens the first of `names` that can be. Where none can, or initialising fails, the result is null and `reason`
  /// says why in words for people.
  static std::unique_ptr<Library> open(const std::vector<std::string>& names, std::string& reason);
  ~Library();
  Library(const Library&) = delete;
  Library& operator=(const Library&) = delete;

  [[nodiscard]] const Api& api() const { return api_; }
  /// What a result means, for people: the library's own words where it has them.
  [[nodiscard]] std::string words(Return result) const;

 private:
  explicit Library(void* handle);

  void* handle_;
  Api api_;
  bool initialised_ = false;
};

}  // namespace athanor::gpu::nvml
