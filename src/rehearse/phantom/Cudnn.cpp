#include "rehearse/phantom/Cudnn.h"

#include <ATen/Context.h>
#include <ATen/native/ConvUtils.h>
#include <dlfcn.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <chrono>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>
#include <stdexcept>
#include <tuple>

#include "athanor/core/Error.h"
#include "rehearse/LineProcess.h"

namespace athanor::rehearse::phantom {
namespace {

constexpr auto file_of_cudnn = "libcudnn.so.9";
constexpr std::chrono::seconds patience{60};  // a cold disk reads a gigabyte of libraries in that time

std::filesystem::path first_there(const std::vector<std::filesystem::path>& files) {
  for (const auto& file : files)
    if (std::error_code none; std::filesystem::is_regular_file(file, none)) return file;
  return {};
}

// A wheel of LibTorch has cuDNN as a neighbour, an archive of it in the same folder.
std::filesystem::path beside_libtorch() {
  Dl_info torch{};
  dladdr(reinterpret_cast<void*>(&at::globalContext), &torch);
  const auto folder = std::filesystem::path(torch.dli_fname != nullptr ? torch.dli_fname : "").parent_path();
  auto found = first_there({folder / file_of_cudnn, folder / "../../nvidia/cudnn/lib" / file_of_cudnn});
  if (found.empty())
    throw std::invalid_argument(
        fmt::format("cudnn: no {} beside LibTorch ({}); name one instead of auto", file_of_cudnn, folder.string()));
  return found.lexically_normal();
}

// What asks is installed beside athanor; other programs find it on PATH.
std::string asker() {
  std::error_code none;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", none);
  const auto beside = first_there({self.parent_path() / "athanor-cudnn"});
  return beside.empty() ? "athanor-cudnn" : beside.string();
}

// CUDA C Programming Guide, technical specifications per compute capability.
struct Specifications {
  int shared_per_block_kib;  // that a kernel may opt in to
  int blocks_per_sm;
};

Specifications specifications_of(int capability) {
  if (capability >= 120) return {99, 24};
  if (capability >= 90) return {227, 32};
  if (capability == 89) return {99, 24};
  if (capability == 86) return {99, 16};
  if (capability == 87) return {163, 16};
  if (capability >= 80) return {163, 32};
  if (capability >= 75) return {64, 16};
  if (capability >= 70) return {96, 32};
  return {48, 32};
}

std::string_view name_of(Pass pass) {
  switch (pass) {
    case Pass::data:
      return "data";
    case Pass::filter:
      return "filter";
    case Pass::forward:
      break;
  }
  return "forward";
}

std::string_view name_of(at::ScalarType type) {
  switch (type) {
    case at::kDouble:
      return "float64";
    case at::kHalf:
      return "float16";
    case at::kBFloat16:
      return "bfloat16";
    case at::kFloat:
      return "float32";
    default:
      return "";
  }
}

// getAlignment of aten/src/ATen/native/cudnn/Conv_v8.cpp.
std::uintptr_t alignment_of(const at::Tensor& tensor) {
  constexpr std::uintptr_t most = 32;
  const auto address = std::bit_cast<std::uintptr_t>(tensor.const_data_ptr());
  return std::min(most, address == 0 ? most : address & (~address + 1));
}

std::string question_of(const Convolution& asked) {
  const auto& settings = asked.settings;
  const auto format = at::native::cudnn_conv_suggest_memory_format(asked.input, asked.filter);
  return fmt::format(
      "{} {} {} {} {} {} {} {} {} {} {} {} {} {} {}", name_of(asked.pass), name_of(asked.input.scalar_type()),
      alignment_of(asked.input), alignment_of(asked.filter), alignment_of(asked.output),
      format == at::MemoryFormat::Contiguous ? "contiguous" : "channels_last", asked.input.dim(),
      fmt::join(asked.input.sizes(), " "), fmt::join(asked.filter.sizes(), " "), fmt::join(asked.output.sizes(), " "),
      fmt::join(settings.padding, " "), fmt::join(settings.stride, " "), fmt::join(settings.dilation, " "),
      int{settings.deterministic}, int{settings.tf32});
}

// "workspaces 25837584 0"; "! …" is the library's refusal of this one convolution, as PyTorch might meet it.
std::vector<std::int64_t> workspaces_in(const std::string& answer, const std::string& asked) {
  std::istringstream text(answer);
  std::string word;
  text >> word;
  std::vector<std::int64_t> sizes;
  if (word == "!") return sizes;
  for (std::int64_t size = 0; text >> size;)
    if (size >= 0) sizes.push_back(size);
  if (word != "workspaces" || !text.eof()) throw Error(fmt::format("{}: no answer: '{:.80}'", asked, answer));
  return sizes;
}

}  // namespace

std::filesystem::path library_of_cudnn(const std::string& where) {
  if (where == "auto") return beside_libtorch();
  const std::filesystem::path path(where);
  auto found = first_there({path, path / file_of_cudnn, path / "lib" / file_of_cudnn});
  if (found.empty())
    throw std::invalid_argument(
        fmt::format("cudnn: '{}' is neither a library nor a folder with {}", where, file_of_cudnn));
  return std::filesystem::absolute(found);
}

// What the table of GPUs does not have (clock of the memory, level-2 cache) gets a value; none of the answers was seen
// to depend on it (docs/design/cudnn-workspaces.md).
std::string device_properties(const gpu::Gpu& gpu) {
  constexpr int kib = 1024;
  constexpr double per_kilo = 1000;
  const int capability = gpu.compute_capability_major * 10 + gpu.compute_capability_minor;
  const auto specifications = specifications_of(capability);
  return nlohmann::json{{"cudaDeviceId", 0},
                        {"deviceName", gpu.name},
                        {"deviceVer", capability * 10},
                        {"driverVer", 13000},
                        {"isTccDriver", 0},
                        {"l2CacheSize", 4 * kib * kib},
                        {"maxBlockSize", {1024, 1024, 64}},
                        {"maxCtasPerSM", specifications.blocks_per_sm},
                        {"maxGridSize", {2147483647, 65535, 65535}},
                        {"maxRegistersPerSM", 65536},
                        {"maxSharedMemoryPerBlock", 48 * kib},
                        {"maxSharedMemoryPerBlockOptin", specifications.shared_per_block_kib * kib},
                        {"maxThreadsPerBlock", 1024},
                        {"maxThreadsPerSM", gpu.threads_per_sm},
                        {"memClockRateKHz", 1000000},
                        {"multiProcessorCount", gpu.sm_count},
                        {"pciDeviceId", 0},
                        {"regsPerBlock", 65536},
                        {"reservedSharedMemoryPerBlock", capability >= 80 ? kib : 0},
                        {"smClockRateKHz", static_cast<std::int64_t>(gpu.boost_hertz / per_kilo)},
                        {"supportCoopLaunch", 1},
                        {"totalGlobalMem", gpu.usable.count},
                        {"warpSize", 32}}
      .dump();
}

// Leaked on purpose, to serve every rehearsal of this process; it ends with its end of the line. One that was forked
// off has a process of its own.
class Cudnn::Process {
 public:
  static std::shared_ptr<Process> of(const std::filesystem::path& library, const std::string& device) {
    static auto* all = new std::map<std::tuple<pid_t, std::string, std::string>, std::shared_ptr<Process>>;
    static auto* mutex = new std::mutex;
    const std::scoped_lock lock(*mutex);
    auto& process = (*all)[{getpid(), library.string(), device}];
    if (!process) process = std::make_shared<Process>(library, device);
    return process;
  }

  Process(const std::filesystem::path& library, const std::string& device)
      : name_(fmt::format("cudnn: {}", library.string())), line_(name_, {asker(), library.string(), device}) {
    const auto greeting = line_.receive(patience);
    if (greeting.starts_with("! ")) throw Error(fmt::format("{}: {:.300}", name_, greeting.substr(2)));
    if (!greeting.starts_with("cudnn ")) throw Error(fmt::format("{}: no greeting: '{:.80}'", name_, greeting));
    version_ = greeting.substr(greeting.find(' ') + 1);
  }

  [[nodiscard]] const std::string& version() const { return version_; }

  const std::vector<std::int64_t>& workspaces(const std::string& question) {
    const std::scoped_lock lock(mutex_);
    if (const auto known = answers_.find(question); known != answers_.end()) return known->second;
    line_.send(question);
    return answers_.emplace(question, workspaces_in(line_.receive(patience), name_)).first->second;
  }

 private:
  std::string name_;
  LineProcess line_;
  std::string version_;
  std::mutex mutex_;
  std::map<std::string, std::vector<std::int64_t>> answers_;
};

Cudnn::Cudnn(const std::string& where, const gpu::Gpu& gpu)
    : library_(library_of_cudnn(where)), device_(device_properties(gpu)), usable_(gpu.usable.count) {}

std::vector<std::int64_t> Cudnn::workspaces(const Convolution& convolution) {
  const std::scoped_lock lock(mutex_);
  try {
    if (!process_) process_ = Process::of(library_, device_);
    auto answer = process_->workspaces(question_of(convolution));
    std::erase_if(answer, [&](std::int64_t bytes) { return bytes > usable_; });
    return answer;
  } catch (const Error& error) {
    throw Error(std::string(error.what()) + "; without --cudnn (ATHANOR_CUDNN) workspaces are bounded");
  }
}

bool Cudnn::first_trial(const Convolution& convolution) {
  const std::scoped_lock lock(mutex_);
  return tried_.insert(question_of(convolution)).second;
}

std::string Cudnn::description() const {
  const std::scoped_lock lock(mutex_);
  return process_ ? fmt::format("cuDNN {} ({})", process_->version(), library_.string()) : "";
}

}  // namespace athanor::rehearse::phantom
