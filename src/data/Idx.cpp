#include "athanor/data/Idx.h"

#include <ATen/ops/empty.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <string>

#include "athanor/core/Error.h"

namespace athanor::data {
namespace {

constexpr std::uint64_t kLargestRatio = 1032;  // of deflate: what a gzipped file can grow to at most
constexpr std::size_t kDimensionLimit = 8;

class IdxFile {
 public:
  explicit IdxFile(const std::filesystem::path& path) : path_(path) {
    if (std::filesystem::is_directory(path)) fail("it is a folder");
    errno = 0;
    file_.reset(gzopen(path.c_str(), "rb"));  // reads a file that is not gzipped as it is
    if (!file_) fail(errno ? std::strerror(errno) : "out of memory");
    gzbuffer(file_.get(), 1 << 18);
  }

  [[noreturn]] void fail(const std::string& why) const { throw Error("cannot read " + path_.string() + ": " + why); }

  void read(void* to, std::uint64_t size, const char* what) {
    auto* at = static_cast<char*>(to);
    while (size > 0) {
      const auto piece = static_cast<unsigned>(std::min<std::uint64_t>(size, 1U << 30));
      const int got = gzread(file_.get(), at, piece);
      if (got < 0) fail("it is damaged: " + problem());
      if (got == 0) fail(std::string("it is cut short, in its ") + what);
      at += got;
      size -= static_cast<std::uint64_t>(got);
    }
  }

  // Also what tells a gzip file whose end (checksum, length) is missing or wrong.
  void expect_end() {
    char byte = 0;
    const int got = gzread(file_.get(), &byte, 1);
    if (got > 0) fail("it goes on after the data its header announces");
    int code = Z_OK;
    gzerror(file_.get(), &code);
    if (got < 0 || code != Z_OK) fail("it is cut short or damaged: " + problem());
  }

  [[nodiscard]] std::uint64_t largest_content() const {
    return std::filesystem::file_size(path_) * (gzdirect(file_.get()) ? 1 : kLargestRatio);
  }

 private:
  struct Close {
    void operator()(gzFile file) const { gzclose(file); }
  };
  [[nodiscard]] std::string problem() const {
    int code = 0;
    const std::string text = gzerror(file_.get(), &code);
    return text.empty() ? "read error" : text;
  }

  std::filesystem::path path_;
  std::unique_ptr<gzFile_s, Close> file_;
};

at::ScalarType type_of(const IdxFile& file, unsigned char code) {
  switch (code) {
    case 0x08:
      return at::kByte;
    case 0x09:
      return at::kChar;
    case 0x0B:
      return at::kShort;
    case 0x0C:
      return at::kInt;
    case 0x0D:
      return at::kFloat;
    case 0x0E:
      return at::kDouble;
    default:
      file.fail("it is not an IDX file (the third byte is no IDX type)");
  }
}

struct Header {
  at::ScalarType type;
  std::vector<std::int64_t> shape;
  std::uint64_t bytes;  // of the data
};

Header read_header(IdxFile& file) {
  std::array<unsigned char, 4> magic{};
  file.read(magic.data(), magic.size(), "header");
  if (magic[0] != 0 || magic[1] != 0) file.fail("it is not an IDX file (it must begin with two zero bytes)");
  const auto type = type_of(file, magic[2]);
  const std::size_t dimensions = magic[3];
  if (dimensions == 0 || dimensions > kDimensionLimit)
    file.fail("it is not an IDX file of 1 to 8 dimensions (the fourth byte is " + std::to_string(dimensions) + ")");

  const auto largest = file.largest_content();
  Header header{type, {}, c10::elementSize(type)};
  for (std::size_t i = 0; i < dimensions; ++i) {
    std::array<unsigned char, 4> size{};
    file.read(size.data(), size.size(), "header");
    const std::uint64_t count =
        (std::uint64_t{size[0]} << 24) | (std::uint64_t{size[1]} << 16) | (std::uint64_t{size[2]} << 8) | size[3];
    if (count != 0 && header.bytes > largest / count)
      file.fail("it is cut short or its header is wrong: more data is announced than the file can hold");
    header.bytes *= count;
    header.shape.push_back(static_cast<std::int64_t>(count));
  }
  return header;
}

}  // namespace

std::vector<std::int64_t> idx_shape(const std::filesystem::path& path) {
  IdxFile file(path);
  return read_header(file).shape;
}

at::Tensor read_idx(const std::filesystem::path& path) {
  IdxFile file(path);
  const auto [type, shape, bytes] = read_header(file);
  const std::uint64_t width = c10::elementSize(type);
  auto tensor = at::empty(shape, at::TensorOptions().dtype(type));
  auto* const data = static_cast<char*>(tensor.mutable_data_ptr());
  file.read(data, bytes, "data");
  file.expect_end();
  if (width > 1)  // the format is big-endian
    for (std::uint64_t at = 0; at < bytes; at += width) std::reverse(data + at, data + at + width);
  return tensor;
}

}  // namespace athanor::data
