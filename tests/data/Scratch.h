#pragma once
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>

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

  std::filesystem::path write(const std::string& name, const std::string& content) const {
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

#define EXPECT_SAYS(message, part) EXPECT_NE((message).find(part), std::string::npos) << (message)

}  // namespace athanor::data
