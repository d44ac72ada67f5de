#include <fmt/chrono.h>
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <ctime>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <ostream>
#include <string>
#include <thread>
#include <vector>

#include "athanor/core/AtomicFile.h"
#include "athanor/core/Bytes.h"
#include "athanor/report/Page.h"
#include "cli/Context.h"
#include "cli/commands.h"

namespace athanor::cli {
namespace {

namespace fs = std::filesystem;

struct Options {
  std::vector<std::string> runs;
  std::string out;
  bool follow = false;
  double interval_seconds = 5.0;
};

// One name for two runs would make their lines one.
void tell_apart(std::vector<report::Run>& runs) {
  for (std::size_t i = 0; i < runs.size(); ++i)
    for (std::size_t j = 0; j < i; ++j)
      if (runs[i].name == runs[j].name) {
        runs[i].name = fmt::format("{} ({})", runs[i].name, i + 1);
        break;
      }
}

bool write_page(const Options& options, const fs::path& out, std::size_t& bytes) {
  std::vector<report::Run> runs;
  bool running = false;
  for (const auto& folder : options.runs) {
    runs.push_back(report::read_run(folder));
    running = running || runs.back().status() == "running";
  }
  tell_apart(runs);
  const std::string made = fmt::format("{:%Y-%m-%d %H:%M:%S}", fmt::localtime(std::time(nullptr)));
  const std::string page =
      report::page(runs, {.refresh_seconds = running ? options.interval_seconds : 0.0, .made = made});
  core::write_atomically(out, page);
  bytes = page.size();
  return running;
}

int run(const Options& options, const Context& context) {
  const fs::path out = options.out.empty() ? fs::path(options.runs.front()) / "report.html" : fs::path(options.out);
  std::size_t bytes = 0;
  bool running = write_page(options, out, bytes);
  if (options.follow && running && !context.quiet)
    *context.err << fmt::format("writing {} every {:g} s until the run ends\n", out.string(), options.interval_seconds);
  while (options.follow && running) {
    std::this_thread::sleep_for(std::chrono::duration<double>(options.interval_seconds));
    running = write_page(options, out, bytes);
  }
  if (context.json)
    *context.out << nlohmann::json{{"file", out.string()}, {"bytes", bytes}, {"runs", options.runs.size()}}.dump(2)
                 << '\n';
  else if (!context.quiet)
    *context.out << fmt::format("{}  {}\n", out.string(), Bytes{static_cast<std::int64_t>(bytes)}.text());
  return 0;
}

}  // namespace

void add_report(CLI::App& root, Context& context) {
  auto options = std::make_shared<Options>();
  CLI::App* command = root.add_subcommand("report", "One HTML page of a run, or of several laid over each other");
  command->add_option("RUN", options->runs, "Run directories")->required();
  command->add_option("--out", options->out, "The page; report.html in the first run directory by default");
  command->add_flag("--follow", options->follow, "Go on until the run ends; the page reloads itself meanwhile");
  command->add_option("--interval", options->interval_seconds, "Seconds between pages with --follow")
      ->check(CLI::Range(0.2, 86400.0));
  command->callback([options, &context] { context.exit_code = run(*options, context); });
}

}  // namespace athanor::cli
