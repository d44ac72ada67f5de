#pragma once
#include <array>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>

namespace athanor::allocator {

/// A size no block or device reaches: "no limit".
inline constexpr std::int64_t unlimited = std::numeric_limits<std::int64_t>::max();

/// The PyTorch release whose rules are modelled: 2.6 to 2.15.
struct Version {
  int major = 2;
  int minor = 15;

  auto operator<=>(const Version&) const = default;
};

/// What PYTORCH_CUDA_ALLOC_CONF sets, in bytes, with PyTorch's defaults. Settings of the pinned host allocator and of
/// locking change no device memory; they are accepted and not kept.
/// Source: c10/core/AllocatorConfig.h and c10/cuda/CUDAAllocatorConfig.h of PyTorch 2.15.
struct Settings {
  bool expandable_segments = false;         ///< Segments grow in pages instead of being one driver allocation each.
  std::int64_t max_split_size = unlimited;  ///< Blocks at least this large are never split.
  std::int64_t max_non_split_rounding = 20 << 20;  ///< How much larger an unsplittable block may be than the request.
  double garbage_collection_threshold = 0;         ///< Of the memory allowed; acts only if memory_fraction is below 1.
  std::array<std::uint32_t, 16> roundup_power2_divisions{};  ///< For sizes from 2^i MiB on; 0: multiples of 512 bytes.
  std::int64_t large_segment_size = 20 << 20;                ///< Segment for requests of 1 to 10 MiB.
  double memory_fraction = 1;                                ///< per_process_memory_fraction: of the device's memory.

  /// Reads the syntax of PYTORCH_CUDA_ALLOC_CONF ("" gives the defaults). Throws std::invalid_argument that names the
  /// key, what was given, what is allowed, and the nearest known key.
  static Settings parse(std::string_view conf);

  /// The shortest text that `parse` reads back to these settings; "" for the defaults.
  [[nodiscard]] std::string text() const;

  /// The block size a request of `requested` bytes gets (requested > 0).
  [[nodiscard]] std::int64_t rounded(std::int64_t requested) const;

  /// What is asked of the driver when no cached block fits a rounded size.
  [[nodiscard]] std::int64_t segment_size(std::int64_t rounded_size) const;

  bool operator==(const Settings&) const = default;
};

}  // namespace athanor::allocator
