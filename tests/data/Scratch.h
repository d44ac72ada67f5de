#pragma once
#include <gtest/gtest.h>
#include <unistd.h>
#include <zlib.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "athanor/core/Config.h"

namespace athanor::data {

/// A folder of its own for each test, removed after it.
class Scratch : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() / ("athanor-data-" + std::to_string(::getpid()) + "-" +
                                                        testing::UnitTest::GetInstance()->current_test_info()->name());
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  [[nodiscard]] std::filesystem::path write(const std::string& name, const std::string& content) const {
    std::ofstream(folder_ / name, std::ios::binary) << content;
    return folder_ / name;
  }

  /// A [data] table; FOLDER in it is the test's folder.
  [[nodiscard]] core::Config table(std::string toml) const {
    for (auto at = toml.find("FOLDER"); at != std::string::npos; at = toml.find("FOLDER"))
      toml.replace(at, 6, folder_.string());
    return core::Config::from_text(toml, "test.toml");
  }

  std::filesystem::path folder_;
};

/// An IDX file of bytes: the header for these sizes, then the data.
inline std::string idx(const std::vector<std::uint32_t>& sizes, const std::string& data, char type = 8) {
  std::string file{'\0', '\0', type, static_cast<char>(sizes.size())};
  for (const auto size : sizes)
    for (const int shift : {24, 16, 8, 0}) file += static_cast<char>(size >> shift);
  return file + data;
}

inline std::string gzipped(const std::string& content) {
  z_stream stream{};
  deflateInit2(&stream, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
  std::string result(deflateBound(&stream, content.size()) + 32, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(content.data()));
  stream.avail_in = static_cast<uInt>(content.size());
  stream.next_out = reinterpret_cast<Bytef*>(result.data());
  stream.avail_out = static_cast<uInt>(result.size());
  deflate(&stream, Z_FINISH);
  result.resize(stream.total_out);
  deflateEnd(&stream);
  return result;
}

/// What an exception of this type said, or "nothing thrown".
template <class Exception, class Function>
std::string message_of(Function&& function) {
  try {
    function();
  } catch (const Exception& exception) {
    return exception.what();
  }
  return "nothing thrown";
}

#define EXPECT_SAYS(message, part) \
  EXPECT_NE(std::string(message).find(part), std::string::npos) << "\"" << (message) << "\" lacks \"" << (part) << "\""

}  // namespace athanor::data
