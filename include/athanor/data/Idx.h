#pragma once
#include <ATen/core/Tensor.h>

#include <filesystem>

namespace athanor::data {

/// Reads an IDX file (the format of MNIST), plain or gzipped, into a tensor of its shape and type (bytes, signed bytes,
/// 16- and 32-bit integers, floats, doubles). Source: http://yann.lecun.com/exdb/mnist/, "The IDX file format".
/// Throws athanor::Error: no such file, not IDX, cut short, damaged, or longer than its header says.
at::Tensor read_idx(const std::filesystem::path& path);

/// The shape that its header announces; nothing else is read.
std::vector<std::int64_t> idx_shape(const std::filesystem::path& path);

}  // namespace athanor::data
