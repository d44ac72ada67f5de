#pragma once
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "athanor/cli/App.h"

namespace athanor::cli::harness {

/// What one command line came to.
struct Result {
  int code = 0;
  std::string out, err;
};

inline Result run(const std::vector<std::string>& words) {
  App app("athanor");
  std::vector<const char*> argv{"athanor"};
  for (const auto& word : words) argv.push_back(word.c_str());
  std::ostringstream out, err;
  const int code = app.run(static_cast<int>(argv.size()), argv.data(), out, err);
  return {code, out.str(), err.str()};
}

/// A folder of its own with a configuration that trains a tiny network on a CSV table in no time.
struct Desk {
  std::filesystem::path folder;

  explicit Desk(const std::string& name)
      : folder(std::filesystem::temp_directory_path() / ("athanor-cli-" + name + std::to_string(::getpid()))) {
    std::filesystem::remove_all(folder);
    std::filesystem::create_directories(folder);
    std::string table = "a,b,label\n";
    for (int i = 0; i < 60; ++i)
      table += std::to_string(i % 7) + "," + std::to_string(i % 5) + "," + std::to_string(i % 3) + "\n";
    write("table.csv", table);
    write("tiny.toml", config());
  }
  ~Desk() {
    std::filesystem::permissions(folder, std::filesystem::perms::owner_all, std::filesystem::perm_options::add);
    std::filesystem::remove_all(folder);
  }

  [[nodiscard]] std::string config() const {
    return "[run]\nthreads = 1\n[data]\nkind = \"csv\"\npath = \"" + (folder / "table.csv").string() +
           "\"\ntarget = \"label\"\nbatch_size = 10\nvalidation_fraction = 0.2\n"
           "[model]\nkind = \"mlp\"\ninputs = 2\nhidden = [8]\nclasses = 3\n"
           "[optimizer]\nkind = \"adamw\"\nlr = 1e-2\n[train]\nmax_epochs = 2\n";
  }
  void write(const std::string& name, const std::string& text) const { std::ofstream(folder / name) << text; }
  [[nodiscard]] std::string path(const std::string& name) const { return (folder / name).string(); }

  [[nodiscard]] Result train(std::vector<std::string> more = {}) const {
    std::vector<std::string> words{"train", path("tiny.toml"), "--out", path("run")};
    words.insert(words.end(), more.begin(), more.end());
    return run(words);
  }
};

}  // namespace athanor::cli::harness
