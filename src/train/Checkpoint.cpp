#include "athanor/train/Checkpoint.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <stdexcept>

#include "athanor/core/AtomicFile.h"
#include "athanor/core/Error.h"
#include "athanor/core/Sha256.h"
#include "train/CheckpointWriter.h"

namespace athanor::train {
namespace fs = std::filesystem;
namespace {

constexpr const char* kManifest = "MANIFEST.json";
constexpr const char* kState = "state.json";
constexpr int kFormat = 1;

[[noreturn]] void fail(const char* what, const fs::path& path, const std::error_code& error) {
  throw Error(fmt::format("{} {}: {}", what, path.string(), error.message()));
}

void sync_file(const fs::path& path) {
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) fail("cannot open", path, {errno, std::generic_category()});
  const int failed = ::fsync(file) != 0 ? errno : 0;
  ::close(file);
  if (failed != 0) fail("cannot sync", path, {failed, std::generic_category()});
}

void link_or_copy(const fs::path& from, const fs::path& to) {
  std::error_code error;
  fs::create_hard_link(from, to, error);
  if (error) fs::copy_file(from, to, error);
  if (error) fail("cannot copy", from, error);
}

nlohmann::json manifest_entry(std::uintmax_t size, const std::string& sha256) {
  return {{"size", size}, {"sha256", sha256}};
}

// Live tensors by other handles: what exchanges a parameter's memory meanwhile does not change what is written.
void settle(store::NamedTensors& tensors, bool copy) {
  const at::NoGradGuard no_grad;
  for (auto& [name, tensor] : tensors)
    tensor = copy ? tensor.detach().to(at::kCPU, tensor.scalar_type(), /*non_blocking=*/false, /*copy=*/true)
                  : tensor.detach();
}

std::int64_t bytes_of(const store::NamedTensors& tensors) {
  std::int64_t bytes = 0;
  for (const auto& [name, tensor] : tensors) bytes += static_cast<std::int64_t>(tensor.nbytes());
  return bytes;
}

// What one checkpoint is on its way to the disk.
struct Writing {
  fs::path folder;
  Checkpoint checkpoint;
  fs::path beside;
  nlohmann::json files = {};

  void read() {
    std::error_code error;
    fs::remove_all(beside, error);
    fs::create_directory(beside, error);
    if (error) fail("cannot create", beside, error);
    try {
      for (const auto& [name, tensors] : checkpoint.files) {
        const auto saved = store::save_safetensors(beside / name, tensors, {{"step", std::to_string(checkpoint.step)}},
                                                   {.sync = false, .digest = true});
        files[name] = manifest_entry(saved.bytes, saved.sha256);
      }
    } catch (...) {
      fs::remove_all(beside, error);
      throw;
    }
  }

  void finish() {
    std::error_code error;
    try {
      for (const auto& [name, tensors] : checkpoint.files) sync_file(beside / name);
      for (const auto& [name, path] : checkpoint.links) {
        link_or_copy(path, beside / name);
        files[name] = manifest_entry(fs::file_size(beside / name), core::sha256_of_file(beside / name));
      }
      core::write_atomically(beside / kState, checkpoint.state.dump(1));
      files[kState] = manifest_entry(fs::file_size(beside / kState), core::sha256_of_file(beside / kState));
      nlohmann::json manifest{{"format", kFormat}, {"step", checkpoint.step}, {"files", files}};
      manifest["metric"] = checkpoint.metric ? nlohmann::json(*checkpoint.metric) : nlohmann::json();
      core::write_atomically(beside / kManifest, manifest.dump(1));
      move_into_place();
    } catch (...) {
      fs::remove_all(beside, error);
      throw;
    }
  }

  void move_into_place() const {
    const auto place = folder / fmt::format("step-{:08}", checkpoint.step);
    const auto old = folder / fmt::format(".old-{:08}", checkpoint.step);
    std::error_code error;
    const bool replaces = fs::exists(place);
    if (replaces) {
      fs::remove_all(old, error);
      fs::rename(place, old, error);
    }
    if (!error) fs::rename(beside, place, error);
    if (error) fail("cannot move the checkpoint to", place, error);
    core::sync_folder(folder);
    if (replaces) fs::remove_all(old, error);
  }
};

std::optional<double> metric_of(const fs::path& checkpoint) {
  try {
    const auto metric = nlohmann::json::parse(core::read_file(checkpoint / kManifest, 1 << 20)).at("metric");
    return metric.is_number() ? std::optional(metric.get<double>()) : std::nullopt;
  } catch (const std::exception&) {
    return std::nullopt;
  }
}

// Keeps the newest, and those of the rest with the best metric.
void prune(const fs::path& folder, const CheckpointOptions& options) {
  auto places = list_checkpoints(folder);
  if (places.size() <= static_cast<std::size_t>(options.keep_last)) return;
  std::vector<std::pair<double, fs::path>> ranked;
  for (const auto& place : places)
    if (const auto metric = metric_of(place.path))
      ranked.emplace_back(options.larger_is_better ? -*metric : *metric, place.path);
  std::stable_sort(ranked.begin(), ranked.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  ranked.resize(std::min(ranked.size(), static_cast<std::size_t>(options.keep_best)));
  for (auto place = places.begin() + options.keep_last; place != places.end(); ++place) {
    const bool best = std::any_of(ranked.begin(), ranked.end(), [&](const auto& r) { return r.second == place->path; });
    std::error_code ignored;  // what cannot be removed costs disk, not the run
    if (!best) fs::remove_all(place->path, ignored);
  }
}

}  // namespace

struct CheckpointFolder::Writer {
  CheckpointOptions options;
  BackgroundWriter thread;
};

CheckpointFolder::CheckpointFolder(fs::path folder, CheckpointOptions options)
    : folder_(std::move(folder)), writer_(std::make_unique<Writer>()) {
  if (options.keep_last < 1)
    throw std::invalid_argument(fmt::format("checkpoint: keep_last must be at least 1, got {}", options.keep_last));
  if (options.keep_best < 0)
    throw std::invalid_argument(fmt::format("checkpoint: keep_best must be >= 0, got {}", options.keep_best));
  writer_->options = options;
  std::error_code error;
  fs::create_directories(folder_, error);
  if (error) fail("cannot create", folder_, error);
  for (const auto& entry : fs::directory_iterator(folder_))  // what a killed run left half done
    if (entry.path().filename().string().starts_with(".new-")) fs::remove_all(entry.path(), error);
}

CheckpointFolder::~CheckpointFolder() = default;

void CheckpointFolder::write(Checkpoint checkpoint) {
  std::int64_t bytes = 0;
  for (const auto& [name, tensors] : checkpoint.files) bytes += bytes_of(tensors);
  for (auto& [name, tensors] : checkpoint.files) settle(tensors, bytes <= writer_->options.copy_below_bytes);
  auto writing = std::make_shared<Writing>();
  writing->folder = folder_;
  writing->beside = folder_ / fmt::format(".new-{:08}", checkpoint.step);
  writing->checkpoint = std::move(checkpoint);
  writer_->thread.add({.read = [writing] { writing->read(); },
                       .finish =
                           [writing, this] {
                             writing->finish();
                             prune(folder_, writer_->options);
                           }});
}

void CheckpointFolder::write_weights(fs::path path, store::NamedTensors weights,
                                     std::map<std::string, std::string> metadata) {
  settle(weights, bytes_of(weights) <= writer_->options.copy_below_bytes);
  writer_->thread.add({.read = [path = std::move(path), weights = std::move(weights),
                                metadata = std::move(metadata)] { store::save_safetensors(path, weights, metadata); },
                       .finish = [] {}});
}

void CheckpointFolder::wait_until_read() {
  writer_->thread.wait_until_read();
}

void CheckpointFolder::wait() {
  writer_->thread.wait();
}

std::vector<CheckpointPlace> list_checkpoints(const fs::path& folder) {
  std::vector<CheckpointPlace> places;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    const auto name = entry.path().filename().string();
    constexpr std::string_view kPrefix = "step-";
    if (!name.starts_with(kPrefix) || name.size() > 24) continue;
    const auto digits = name.substr(kPrefix.size());
    if (digits.empty() || digits.find_first_not_of("0123456789") != std::string::npos) continue;
    places.push_back({entry.path(), std::stoll(digits)});
  }
  std::sort(places.begin(), places.end(), [](const auto& a, const auto& b) { return a.step > b.step; });
  return places;
}

std::string damage(const fs::path& checkpoint) {
  try {
    const auto manifest = nlohmann::json::parse(core::read_file(checkpoint / kManifest, 1 << 20));
    if (manifest.at("format").get<int>() != kFormat)
      return fmt::format("its format is {}, this program reads {}", manifest.at("format").get<int>(), kFormat);
    for (const auto& [name, entry] : manifest.at("files").items()) {
      if (name.find('/') != std::string::npos) return fmt::format("the manifest names '{}'", name);
      std::error_code error;
      const auto size = fs::file_size(checkpoint / name, error);
      if (error) return fmt::format("{} is missing", name);
      if (size != entry.at("size").get<std::uintmax_t>())
        return fmt::format("{} has {} bytes, the manifest says {}", name, size, entry.at("size").get<std::uintmax_t>());
      if (core::sha256_of_file(checkpoint / name) != entry.at("sha256").get<std::string>())
        return fmt::format("{} has changed (SHA-256 differs from the manifest)", name);
    }
    if (!manifest.at("files").contains(kState)) return "the manifest lists no state.json";
    return "";
  } catch (const nlohmann::json::exception& error) {
    return fmt::format("{} cannot be read: {}", kManifest, error.what());
  } catch (const Error& error) {
    return error.what();
  }
}

Checkpoint read_checkpoint(const fs::path& checkpoint) {
  if (const auto wrong = damage(checkpoint); !wrong.empty())
    throw Error(fmt::format("{}: {}", checkpoint.string(), wrong));
  Checkpoint read;
  const auto manifest = nlohmann::json::parse(core::read_file(checkpoint / kManifest, 1 << 20));
  read.step = manifest.at("step").get<std::int64_t>();
  read.metric = metric_of(checkpoint);
  for (const auto& [name, entry] : manifest.at("files").items())
    if (name.ends_with(".safetensors")) read.files[name] = store::load_safetensors(checkpoint / name).tensors;
  try {
    read.state = nlohmann::json::parse(core::read_file(checkpoint / kState, std::size_t{64} << 20));
  } catch (const nlohmann::json::exception& error) {
    throw Error(fmt::format("{}: {}", (checkpoint / kState).string(), error.what()));
  }
  return read;
}

std::optional<Checkpoint> newest_good(const fs::path& folder, const std::function<void(const std::string&)>& warn) {
  for (const auto& place : list_checkpoints(folder)) {
    try {
      return read_checkpoint(place.path);
    } catch (const Error& error) {
      if (warn) warn(std::string("skipped a damaged checkpoint: ") + error.what());
    }
  }
  return std::nullopt;
}

}  // namespace athanor::train
