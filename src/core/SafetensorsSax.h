#pragma once
#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <unordered_set>
#include <utility>

#include "athanor/core/SafetensorsHeader.h"

namespace athanor::core {

/// Reads a safetensors header as it is parsed and stops at the first thing the format does not allow, so that a hostile
/// header never becomes a document in memory.
class SafetensorsSax {
 public:
  explicit SafetensorsSax(SafetensorsHeader& header) : header_(header) {}
  [[nodiscard]] const std::string& problem() const { return problem_; }

  bool start_object(std::size_t /*size*/) {
    if (place_ == Place::outside) return go(Place::top);
    if (place_ == Place::top_value) {
      if (key_ == "__metadata__") return go(Place::metadata);
      header_.entries.push_back({});
      header_.entries.back().name = key_;
      seen_ = 0;
      return go(Place::tensor);
    }
    return refuse("an object where none belongs");
  }
  bool end_object() {
    if (place_ == Place::tensor && seen_ != (kDtype | kShape | kOffsets))
      return refuse("tensor '" + header_.entries.back().name + "' lacks dtype, shape or data_offsets");
    return go(place_ == Place::top ? Place::outside : Place::top);
  }
  bool key(std::string& text) {
    if (place_ == Place::top) {
      if (!names_.insert(text).second) return refuse("the name '" + text + "' stands twice");
      key_ = text;
      return go(Place::top_value);
    }
    if (place_ == Place::metadata) {
      key_ = text;
      return header_.metadata.emplace(text, "").second || refuse("the metadata '" + text + "' stands twice");
    }
    const unsigned field = text == "dtype" ? kDtype : text == "shape" ? kShape : text == "data_offsets" ? kOffsets : 0;
    if (field == 0 || (seen_ & field) != 0) return refuse("the field '" + text + "' is unknown or stands twice");
    seen_ |= field;
    return go(field == kDtype ? Place::dtype : field == kShape ? Place::shape : Place::offsets);
  }
  bool string(std::string& text) {
    if (place_ == Place::metadata) {
      header_.metadata[key_] = text;
      return true;
    }
    if (place_ != Place::dtype) return refuse("a text where none belongs");
    header_.entries.back().dtype = text;
    return go(Place::tensor);
  }
  bool start_array(std::size_t /*size*/) {
    if (place_ == Place::shape) return go(Place::in_shape);
    if (place_ == Place::offsets) {
      offsets_ = 0;
      return go(Place::in_offsets);
    }
    return refuse("an array where none belongs");
  }
  bool end_array() {
    if (place_ == Place::in_offsets && offsets_ != 2) return refuse("data_offsets must be two numbers");
    return go(Place::tensor);
  }
  bool number_unsigned(std::uint64_t value) {
    if (place_ == Place::in_offsets && offsets_ < 2) {
      (offsets_++ == 0 ? header_.entries.back().begin : header_.entries.back().end) = value;
      return true;
    }
    if (place_ != Place::in_shape || header_.entries.back().shape.size() > 64)
      return refuse("a number where none belongs");
    if (value > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()))
      return refuse("a dimension that is too large");
    header_.entries.back().shape.push_back(static_cast<std::int64_t>(value));
    return true;
  }
  bool null() { return refuse("null"); }
  bool boolean(bool /*value*/) { return refuse("true or false"); }
  bool number_integer(std::int64_t /*value*/) { return refuse("a negative number"); }
  bool number_float(double /*value*/, const std::string& /*text*/) { return refuse("a number with a fraction"); }
  bool binary(nlohmann::json::binary_t& /*value*/) { return refuse("binary data"); }
  bool parse_error(std::size_t position, const std::string& /*token*/, const nlohmann::json::exception& /*error*/) {
    return refuse("not JSON at byte " + std::to_string(position));
  }

 private:
  enum class Place { outside, top, top_value, metadata, tensor, dtype, shape, in_shape, offsets, in_offsets };
  static constexpr unsigned kDtype = 1;
  static constexpr unsigned kShape = 2;
  static constexpr unsigned kOffsets = 4;

  bool go(Place place) {
    place_ = place;
    return true;
  }
  bool refuse(std::string what) {
    if (problem_.empty()) problem_ = std::move(what);
    return false;
  }

  SafetensorsHeader& header_;
  Place place_ = Place::outside;
  std::unordered_set<std::string> names_;
  std::string key_;
  std::string problem_;
  unsigned seen_ = 0;
  int offsets_ = 0;
};

}  // namespace athanor::core
