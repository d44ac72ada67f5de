#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <cerrno>
#include <cstring>
#include <functional>
#include <memory>

#include "allocator/Json.h"
#include "allocator/Pickle.h"
#include "athanor/allocator/Snapshot.h"
#include "athanor/core/Error.h"

namespace athanor::allocator {
namespace {

/// A file mapped for reading.
class Mapping {
 public:
  explicit Mapping(const std::filesystem::path& path) {
    const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (file < 0) throw Error(fmt::format("{}: cannot be read: {}", path.string(), std::strerror(errno)));
    struct stat info {};
    const bool regular = ::fstat(file, &info) == 0 && S_ISREG(info.st_mode);
    if (regular && info.st_size > 0) {
      void* data = ::mmap(nullptr, static_cast<std::size_t>(info.st_size), PROT_READ, MAP_PRIVATE, file, 0);
      if (data != MAP_FAILED) {
        ::madvise(data, static_cast<std::size_t>(info.st_size), MADV_SEQUENTIAL);
        bytes_ = {static_cast<const char*>(data), static_cast<std::size_t>(info.st_size)};
      }
    }
    ::close(file);
    if (!regular) throw Error(fmt::format("{}: not a file", path.string()));
    if (info.st_size == 0) throw Error(fmt::format("{}: the file is empty", path.string()));
    if (bytes_.empty()) throw Error(fmt::format("{}: cannot be read: {}", path.string(), std::strerror(errno)));
  }
  ~Mapping() { ::munmap(const_cast<char*>(bytes_.data()), bytes_.size()); }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;

  [[nodiscard]] std::string_view bytes() const { return bytes_; }

  /// The first `count` bytes have been read: their pages need no longer count as this process's memory.
  void forget(std::size_t count) {
    const std::size_t until = count / page_ * page_;
    if (until <= forgotten_) return;
    ::madvise(const_cast<char*>(bytes_.data()) + forgotten_, until - forgotten_, MADV_DONTNEED);
    forgotten_ = until;
  }

 private:
  std::string_view bytes_;
  std::size_t forgotten_ = 0;
  std::size_t page_ = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
};

/// Unpacks gzip; what ends too early as far as it goes. Profiler traces shrink 30-fold, no honest one 200-fold.
std::string unzip(std::string_view packed) {
  constexpr std::size_t most = std::size_t{4} << 30;
  const std::size_t limit = std::min(most, packed.size() * 200 + (1 << 20));
  z_stream stream{};
  if (::inflateInit2(&stream, 15 + 16) != Z_OK) throw Error("zlib cannot be started");
  const std::unique_ptr<z_stream, decltype(&::inflateEnd)> ended(&stream, &::inflateEnd);
  std::string out;
  std::string piece(1 << 16, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.data()));
  std::size_t left = packed.size();
  int status = Z_OK;
  while (status == Z_OK) {
    if (stream.avail_in == 0) {
      stream.avail_in = static_cast<uInt>(std::min<std::size_t>(left, 1 << 30));
      left -= stream.avail_in;
    }
    stream.next_out = reinterpret_cast<Bytef*>(piece.data());
    stream.avail_out = static_cast<uInt>(piece.size());
    status = ::inflate(&stream, Z_NO_FLUSH);
    out.append(piece, 0, piece.size() - stream.avail_out);
    if (out.size() > limit) throw Error(fmt::format("it unpacks to more than {} bytes: refused", limit));
  }
  // Z_BUF_ERROR: nothing is left to unpack, and the end was not seen.
  if ((status != Z_STREAM_END && status != Z_BUF_ERROR) || out.empty())
    throw Error("its gzip data are damaged or truncated");
  return out;
}

bool begins(std::string_view bytes, std::string_view with) {
  return bytes.substr(0, with.size()) == with;
}

using Consumed = std::function<void(std::size_t)>;

Snapshot parse(std::string_view bytes, const Consumed& consumed) {
  constexpr std::string_view what =
      "A memory snapshot is what torch.cuda.memory._dump_snapshot(\"snapshot.pickle\") writes";
  if (begins(bytes, "\x1f\x8b")) {
    const std::string unpacked = unzip(bytes);
    if (begins(unpacked, "\x1f\x8b")) throw Error("it is gzipped twice");
    return parse(unpacked, nullptr);
  }
  if (begins(bytes,
             "\xfd"
             "7zXZ"))
    throw Error("it is packed with xz: unpack it first (unxz FILE)");
  if (begins(bytes, "\x28\xb5\x2f\xfd")) throw Error("it is packed with zstd: unpack it first (unzstd FILE)");
  if (begins(bytes, "PK\x03\x04"))
    throw Error(fmt::format("it is a zip file, as torch.save writes: a checkpoint, not a memory snapshot. {}", what));
  const auto first = bytes.find_first_not_of(" \t\r\n\xef\xbb\xbf");
  if (first == std::string_view::npos) throw Error("the file is empty");
  if (bytes[first] == '<') throw Error("it is an HTML page: give the .pickle the page was made from");
  const bool json = (bytes[first] == '{' || bytes[first] == '[');
  if (json) return parse_json(bytes.substr(first));
  const auto opcode = static_cast<unsigned char>(bytes[0]);
  if (opcode == 0x80 || opcode == '(' || opcode == '}' || opcode == ']' || opcode == 'c')
    return parse_pickle(bytes, consumed);
  throw Error(fmt::format("it is neither a pickle nor JSON. {}", what));
}

Snapshot parse_named(std::string_view bytes, const std::string& name, const Consumed& consumed) {
  try {
    return parse(bytes, consumed);
  } catch (const Error& error) {
    throw Error(fmt::format("{}: {}", name, error.what()));
  } catch (const std::bad_alloc&) {
    throw Error(fmt::format("{}: it needs more memory than there is", name));
  }
}

}  // namespace

Snapshot parse_snapshot(std::string_view bytes, const std::string& name) {
  return parse_named(bytes, name, nullptr);
}

Snapshot read_snapshot(const std::filesystem::path& path) {
  Mapping mapping(path);
  return parse_named(mapping.bytes(), path.string(), [&](std::size_t count) { mapping.forget(count); });
}

}  // namespace athanor::allocator
