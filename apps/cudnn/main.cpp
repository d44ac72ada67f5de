// Asks a libcudnn which workspaces its convolutions would take on a GPU that is described, not there. A process of its
// own, so that a library that crashes or hangs takes no rehearsal with it; started by the rehearsal, which speaks with
// it a line at a time:
//   athanor-cudnn LIBRARY DEVICE     DEVICE: the properties of the GPU, the JSON that cuDNN itself reads and writes
//   < cudnn 9.19.0
//   > forward float32 ALIGNMENTS FORMAT N INPUT FILTER OUTPUT PADDING STRIDE DILATION DETERMINISTIC TF32
//   < workspaces 25837584 409856 0   of the plans in the order in which PyTorch tries them, in bytes
// A line that begins with "!" says what went wrong.
#include <unistd.h>

#include <algorithm>
#include <exception>
#include <iostream>
#include <iterator>
#include <map>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "Backend.h"

namespace athanor::cudnn {
namespace {

using Sizes = std::vector<std::int64_t>;

struct Question {
  std::string pass;  ///< "forward", "data", "filter"
  DataType type{};
  Sizes alignments;
  bool channels_last = false;
  Sizes input, filter, output, padding, stride, dilation;
  bool deterministic = false;
  bool tf32 = false;
};

Question parse(const std::string& line) {
  static const std::map<std::string, DataType> types{{"float32", DataType::float32},
                                                     {"float64", DataType::float64},
                                                     {"float16", DataType::float16},
                                                     {"bfloat16", DataType::bfloat16}};
  constexpr std::size_t spatial = 2;  // dimensions of a tensor that are not spatial
  std::istringstream text(line);
  Question question;
  std::string type;
  std::string format;
  std::size_t dims = 0;
  const auto read = [&](Sizes& sizes, std::size_t count) {
    sizes.resize(count);
    for (auto& size : sizes) text >> size;
  };
  text >> question.pass >> type;
  read(question.alignments, 3);
  text >> format >> dims;
  if (!text || dims <= spatial || dims > 8 || !types.contains(type)) throw std::runtime_error("no question: " + line);
  for (auto* sizes : {&question.input, &question.filter, &question.output}) read(*sizes, dims);
  for (auto* sizes : {&question.padding, &question.stride, &question.dilation}) read(*sizes, dims - spatial);
  text >> question.deterministic >> question.tf32;
  if (!text) throw std::runtime_error("no question: " + line);
  question.type = types.at(type);
  question.channels_last = format == "channels_last";
  return question;
}

// Of a tensor without gaps. Dimensions of size 1 get the stride that the format gives them, as PyTorch sees to.
Sizes strides_of(const Sizes& sizes, bool channels_last) {
  Sizes order;  // from the fastest
  if (channels_last) order.push_back(1);
  for (auto i = static_cast<std::int64_t>(sizes.size()) - 1; i > 0; --i)
    if (i > 1 || !channels_last) order.push_back(i);
  order.push_back(0);
  Sizes strides(sizes.size());
  std::int64_t stride = 1;
  for (const auto i : order) {
    strides[static_cast<std::size_t>(i)] = stride;
    stride *= sizes[static_cast<std::size_t>(i)];
  }
  return strides;
}

class Planner {
 public:
  Planner(const Library& library, const std::string& device) : library_(library), device_(library, Kind::device) {
    device_.set_text(Attribute::device_json, device).finalize();
  }

  // As run_single_conv does (aten/src/ATen/native/cudnn/Conv_v8.cpp): the instant heuristics, then the fallbacks.
  [[nodiscard]] Sizes workspaces(const Question& question) const {
    const auto operation = operation_of(question);
    Descriptor graph(library_, Kind::graph);
    graph.set(Attribute::graph_operations, operation).finalize();
    Sizes workspaces;
    for (const auto mode : {HeuristicsMode::instant, HeuristicsMode::fallback}) {
      Descriptor heuristics(library_, Kind::heuristics);
      heuristics.set(Attribute::heuristics_graph, graph)
          .set(Attribute::heuristics_mode, Type::heuristics_mode, mode)
          .set(Attribute::heuristics_device, device_)
          .finalize();
      for (const auto& configuration : heuristics.parts(Attribute::heuristics_results, Kind::configuration))
        if (allowed(configuration, question)) plan(configuration, workspaces);
    }
    return workspaces;
  }

 private:
  [[nodiscard]] Descriptor tensor(char id, const Sizes& sizes, std::int64_t alignment, const Question& question) const {
    Descriptor tensor(library_, Kind::tensor);
    tensor.set(Attribute::tensor_id, Sizes{id})
        .set(Attribute::tensor_data_type, Type::data_type, question.type)
        .set(Attribute::tensor_alignment, Sizes{alignment})
        .set(Attribute::tensor_dimensions, sizes)
        .set(Attribute::tensor_strides, strides_of(sizes, question.channels_last))
        .finalize();
    return tensor;
  }

  [[nodiscard]] Descriptor convolution(const Question& question) const {
    const auto computed = question.type == DataType::float64 ? DataType::float64 : DataType::float32;
    Descriptor convolution(library_, Kind::convolution);
    convolution.set(Attribute::convolution_compute_type, Type::data_type, computed)
        .set(Attribute::convolution_mode, Type::convolution_mode, ConvolutionMode::cross_correlation)
        .set(Attribute::convolution_spatial_dims, Sizes{static_cast<std::int64_t>(question.stride.size())})
        .set(Attribute::convolution_pre_paddings, question.padding)
        .set(Attribute::convolution_post_paddings, question.padding)
        .set(Attribute::convolution_strides, question.stride)
        .set(Attribute::convolution_dilations, question.dilation)
        .finalize();
    return convolution;
  }

  // The three passes number their attributes alike: alpha, beta, convolution, then the three tensors in an order of
  // their own.
  [[nodiscard]] Descriptor operation_of(const Question& question) const {
    struct Pass {
      Kind kind;
      int alpha, input, filter, output;
    };
    static const std::map<std::string, Pass> passes{{"forward", {Kind::forward, 700, 704, 703, 705}},
                                                    {"data", {Kind::backward_data, 706, 710, 709, 711}},
                                                    {"filter", {Kind::backward_filter, 712, 716, 715, 717}}};
    const auto found = passes.find(question.pass);
    if (found == passes.end()) throw std::runtime_error("no pass of a convolution: " + question.pass);
    const auto& pass = found->second;
    const auto attribute = [](int number) { return static_cast<Attribute>(number); };
    Descriptor operation(library_, pass.kind);
    operation.set(attribute(pass.alpha + 2), convolution(question))
        .set(attribute(pass.input), tensor('x', question.input, question.alignments[0], question))
        .set(attribute(pass.filter), tensor('w', question.filter, question.alignments[1], question))
        .set(attribute(pass.output), tensor('y', question.output, question.alignments[2], question));
    if (question.type == DataType::float64)
      operation.set(attribute(pass.alpha), Type::float64, 1.0).set(attribute(pass.alpha + 1), Type::float64, 0.0);
    else
      operation.set(attribute(pass.alpha), Type::float32, 1.0F).set(attribute(pass.alpha + 1), Type::float32, 0.0F);
    operation.finalize();
    return operation;
  }

  // What PyTorch leaves out.
  [[nodiscard]] static bool allowed(const Descriptor& configuration, const Question& question) {
    const auto engines = configuration.parts(Attribute::configuration_engine, Kind::engine);
    if (engines.empty()) return false;
    const auto notes = engines.front().notes();
    const auto has = [&](NumericalNote note) { return std::find(notes.begin(), notes.end(), note) != notes.end(); };
    if (question.deterministic && has(NumericalNote::nondeterministic)) return false;
    if (question.type == DataType::float32 && !question.tf32 && has(NumericalNote::tensor_core)) return false;
    return !has(NumericalNote::down_converted_inputs);
  }

  // A configuration that cannot be planned is passed over, as in PyTorch.
  void plan(const Descriptor& configuration, Sizes& workspaces) const {
    try {
      Descriptor plan(library_, Kind::plan);
      plan.set(Attribute::plan_configuration, configuration).set(Attribute::plan_device, device_).finalize();
      workspaces.push_back(plan.integer(Attribute::plan_workspace));
    } catch (const std::runtime_error&) {
    }
  }

  const Library& library_;
  Descriptor device_;
};

void say(int to, std::string line) {
  std::replace(line.begin(), line.end(), '\n', ' ');
  line += '\n';
  for (std::size_t written = 0; written < line.size();) {
    const auto count = write(to, line.data() + written, line.size() - written);
    if (count < 0) _exit(1);
    written += static_cast<std::size_t>(count);
  }
}

std::string answer(const Planner& planner, const std::string& line) {
  try {
    std::string text = "workspaces";
    for (const auto bytes : planner.workspaces(parse(line))) text += ' ' + std::to_string(bytes);
    return text;
  } catch (const std::exception& error) {
    return std::string("! ") + error.what();
  }
}

}  // namespace
}  // namespace athanor::cudnn

int main(int argc, char** argv) {
  if (argc != 3) {
    std::cerr << "athanor-cudnn: a part of athanor, started by `athanor rehearse --cudnn LIBRARY`\n";
    return 2;
  }
  const int answers = dup(STDOUT_FILENO);  // what the library prints must not come among them
  dup2(STDERR_FILENO, STDOUT_FILENO);
  try {
    const athanor::cudnn::Library library(argv[1]);
    const athanor::cudnn::Planner planner(library, argv[2]);
    athanor::cudnn::say(answers, "cudnn " + library.version());
    for (std::string line; std::getline(std::cin, line);)
      athanor::cudnn::say(answers, athanor::cudnn::answer(planner, line));
  } catch (const std::exception& error) {
    athanor::cudnn::say(answers, std::string("! ") + error.what());
    return 1;
  }
  return 0;
}
