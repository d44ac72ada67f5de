#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

/// The few entry points and numbers of cuDNN's graph API that asking for workspaces takes, by their documented values:
/// no header of cuDNN is needed to build this.
namespace athanor::cudnn {

enum class Kind : int {
  convolution = 1,
  engine = 2,
  configuration = 3,
  heuristics = 4,
  plan = 5,
  forward = 10,
  backward_filter = 11,
  backward_data = 12,
  graph = 15,
  tensor = 17,
  device = 38,
};

enum class Type : int {
  data_type = 1,
  int64 = 3,
  float32 = 4,
  float64 = 5,
  convolution_mode = 7,
  heuristics_mode = 8,
  numerical_note = 11,
  descriptor = 15,
  characters = 24,
};

enum class Attribute : int {
  convolution_compute_type = 100,
  convolution_mode = 101,
  convolution_dilations = 102,
  convolution_strides = 103,
  convolution_post_paddings = 104,
  convolution_pre_paddings = 105,
  convolution_spatial_dims = 106,
  heuristics_mode = 200,
  heuristics_graph = 201,
  heuristics_results = 202,
  heuristics_device = 204,
  configuration_engine = 300,
  plan_configuration = 401,
  plan_workspace = 402,
  plan_device = 407,
  graph_operations = 801,
  tensor_alignment = 900,
  tensor_data_type = 901,
  tensor_dimensions = 902,
  tensor_strides = 903,
  tensor_id = 906,
  engine_numerical_notes = 1303,
  device_json = 2702,
};

enum class DataType : int { float32 = 0, float64 = 1, float16 = 2, bfloat16 = 9 };
enum class ConvolutionMode : int { cross_correlation = 1 };
enum class HeuristicsMode : int { instant = 0, fallback = 2 };
enum class NumericalNote : int { tensor_core = 0, down_converted_inputs = 1, nondeterministic = 4 };

/// A libcudnn loaded at run time. Every failure of it is a std::runtime_error with the library's own words.
class Library {
 public:
  explicit Library(const std::string& path);

  [[nodiscard]] std::string version() const;  ///< "9.19.0"

 private:
  friend class Descriptor;
  void check(int status, const char* doing) const;

  std::size_t (*version_)() = nullptr;
  const char* (*error_string_)(int) = nullptr;
  void (*last_error_)(char*, std::size_t) = nullptr;
  int (*create_)(int, void**) = nullptr;
  int (*destroy_)(void*) = nullptr;
  int (*set_)(void*, int, int, std::int64_t, const void*) = nullptr;
  int (*get_)(void*, int, int, std::int64_t, std::int64_t*, void*) = nullptr;
  int (*finalize_)(void*) = nullptr;
};

/// One of the library's descriptors; goes with its owner.
class Descriptor {
 public:
  Descriptor(const Library& library, Kind kind);
  ~Descriptor();
  Descriptor(Descriptor&& other) noexcept;
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  Descriptor& operator=(Descriptor&&) = delete;

  template <typename Value>
  Descriptor& set(Attribute attribute, Type type, const Value& value) {
    return set(attribute, type, 1, &value);
  }
  Descriptor& set(Attribute attribute, const std::vector<std::int64_t>& values);
  Descriptor& set_text(Attribute attribute, const std::string& characters);
  Descriptor& set(Attribute attribute, const Descriptor& part);
  Descriptor& finalize();

  [[nodiscard]] std::int64_t integer(Attribute attribute) const;
  [[nodiscard]] std::vector<NumericalNote> notes() const;
  /// Descriptors of a kind that this one holds, in its order.
  [[nodiscard]] std::vector<Descriptor> parts(Attribute attribute, Kind kind) const;

 private:
  Descriptor& set(Attribute attribute, Type type, std::int64_t count, const void* values);

  const Library* library_;
  void* raw_ = nullptr;
};

}  // namespace athanor::cudnn
