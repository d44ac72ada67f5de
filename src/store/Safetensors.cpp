#include "athanor/store/Safetensors.h"

#include <ATen/ops/from_blob.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <functional>
#include <memory>
#include <numeric>
#include <optional>
#include <stdexcept>

#include "athanor/core/Error.h"
#include "athanor/core/MappedFile.h"
#include "athanor/core/Nearest.h"
#include "athanor/core/SafetensorsHeader.h"
#include "store/FileWriter.h"

namespace athanor::store {
namespace {

constexpr std::int64_t kPieceBytes = 16 << 20;

constexpr std::array<std::pair<at::ScalarType, const char*>, 15> kNames{{{at::kBool, "BOOL"},
                                                                         {at::kByte, "U8"},
                                                                         {at::kChar, "I8"},
                                                                         {at::kFloat8_e5m2, "F8_E5M2"},
                                                                         {at::kFloat8_e4m3fn, "F8_E4M3"},
                                                                         {at::kShort, "I16"},
                                                                         {at::kUInt16, "U16"},
                                                                         {at::kHalf, "F16"},
                                                                         {at::kBFloat16, "BF16"},
                                                                         {at::kInt, "I32"},
                                                                         {at::kUInt32, "U32"},
                                                                         {at::kFloat, "F32"},
                                                                         {at::kDouble, "F64"},
                                                                         {at::kLong, "I64"},
                                                                         {at::kUInt64, "U64"}}};

std::string dtype_name(const std::string& name, const at::Tensor& tensor) {
  if (!tensor.defined() || tensor.layout() != at::kStrided)
    throw std::invalid_argument("save_safetensors: tensor '" + name + "' is undefined or not dense");
  for (const auto& [type, text] : kNames)
    if (type == tensor.scalar_type()) return text;
  throw std::invalid_argument("save_safetensors: tensor '" + name + "' has dtype " + toString(tensor.scalar_type()) +
                              ", which the format does not have");
}

std::span<const std::byte> bytes_of(const at::Tensor& contiguous) {
  return {static_cast<const std::byte*>(contiguous.const_data_ptr()), static_cast<std::size_t>(contiguous.nbytes())};
}

using Sink = std::function<void(std::span<const std::byte>, const at::Tensor& copy)>;

// Gives a tensor's bytes in row-major order, in pieces; only what is not already so in host memory is copied, a piece
// at a time.
void for_each_piece(const at::Tensor& tensor, const Sink& sink) {
  const auto bytes = static_cast<std::int64_t>(tensor.nbytes());
  if (bytes == 0) return;
  if (tensor.is_cpu() && tensor.is_contiguous()) {
    const auto all = bytes_of(tensor);
    for (std::size_t at = 0; at < all.size(); at += kPieceBytes)
      sink(all.subspan(at, std::min<std::size_t>(kPieceBytes, all.size() - at)), {});
  } else if (bytes <= kPieceBytes) {
    const auto staged = tensor.cpu().contiguous();
    sink(bytes_of(staged), staged);
  } else {
    const auto rows = tensor.size(0);
    const auto step = std::max<std::int64_t>(1, kPieceBytes / (bytes / rows));
    for (std::int64_t row = 0; row < rows; row += step)
      for_each_piece(step == 1 ? tensor.select(0, row) : tensor.narrow(0, row, std::min(step, rows - row)), sink);
  }
}

at::ScalarType scalar_type(const std::string& dtype, const std::filesystem::path& path) {
  for (const auto& [type, text] : kNames)
    if (dtype == text) return type;
  throw Error("cannot read " + path.string() + ": dtype " + dtype + " has no counterpart in LibTorch");
}

}  // namespace

Saved save_safetensors(const std::filesystem::path& path, const NamedTensors& tensors,
                       const std::map<std::string, std::string>& metadata, SaveOptions options) {
  std::vector<std::size_t> order(tensors.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::vector<core::SafetensorsEntry> entries;
  for (const auto& [name, tensor] : tensors) {
    entries.push_back({.name = name, .dtype = dtype_name(name, tensor), .shape = tensor.sizes().vec()});
  }
  // The data has no holes, so wide elements go first: then each tensor is aligned to its element.
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return tensors[a].second.element_size() > tensors[b].second.element_size();
  });
  std::vector<core::SafetensorsEntry> ordered;
  for (const auto index : order) ordered.push_back(std::move(entries[index]));
  const std::string header = core::format_safetensors_header(ordered, metadata);

  FileWriter file(path);
  std::optional<DigestThread> digest;
  if (options.digest) digest.emplace();
  Saved saved;
  const Sink put = [&](std::span<const std::byte> bytes, const at::Tensor& copy) {
    if (digest) digest->feed(bytes, copy);
    file.write(bytes);
    saved.bytes += bytes.size();
  };
  put(std::as_bytes(std::span(header)), {});
  for (const auto index : order) for_each_piece(tensors[index].second.detach(), put);
  if (options.sync) file.sync();
  if (digest) saved.sha256 = digest->finish();
  file.commit(options.sync);
  return saved;
}

const at::Tensor& Loaded::at(const std::string& name) const {
  std::vector<std::string> names;
  for (const auto& [key, tensor] : tensors) {
    if (key == name) return tensor;
    names.push_back(key);
  }
  const auto near = core::nearest(name, names);
  throw Error("no tensor '" + name + "' in the file" + (near.empty() ? "" : "; there is '" + near + "'"));
}

bool Loaded::contains(const std::string& name) const {
  return std::any_of(tensors.begin(), tensors.end(), [&](const auto& tensor) { return tensor.first == name; });
}

Loaded load_safetensors(const std::filesystem::path& path) {
  const auto mapping = std::make_shared<core::MappedFile>(path);
  auto* const begin = mapping->bytes().data();
  auto header = core::parse_safetensors_header(mapping->bytes(), path.string());
  Loaded loaded;
  loaded.metadata = std::move(header.metadata);
  for (const auto& entry : header.entries) {
    const auto type = scalar_type(entry.dtype, path);
    auto* const data = begin + header.data_offset + entry.begin;
    auto tensor = at::from_blob(
        data, entry.shape, [mapping](void*) {}, at::TensorOptions().dtype(type));
    // A file of another writer may have odd alignment; such a tensor gets memory of its own.
    if ((header.data_offset + entry.begin) % c10::elementSize(type) != 0) {
      auto aligned = at::Tensor(tensor.new_empty(entry.shape));
      std::memcpy(aligned.mutable_data_ptr(), data, entry.bytes());
      tensor = std::move(aligned);
    }
    loaded.tensors.emplace_back(entry.name, std::move(tensor));
  }
  return loaded;
}

}  // namespace athanor::store
