#pragma once
#include <cstddef>
#include <string>

namespace athanor::report {

/// Reads the i-th value of a tensor's bytes. Exact, but for 64-bit integers beyond 2^53; 8-bit floats are read as their
/// code, which tells whether they are equal but not by how much.
using ValueReader = double (*)(const std::byte* bytes, std::size_t i);

/// The reader of a dtype that core::element_size knows.
ValueReader reader_of(const std::string& dtype);

/// Whether values of the dtype may be nan or inf, as reader_of gives them.
bool is_floating(const std::string& dtype);

}  // namespace athanor::report
