#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <ostream>
#include <string>
#include <thread>
#include <vector>

#include "athanor/core/Bytes.h"
#include "cli/Context.h"
#include "cli/ReportFile.h"
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

int run(const Options& options, const Context& context) {
  const fs::path out = options.out.empty() ? fs::path(options.runs.front()) / "report.html" : fs::path(options.out);
  auto written = write_report(options.runs, out, options.interval_seconds);
  if (options.follow && written.running && !context.quiet)
    *context.err << fmt::format("writing {} every {:g} s until the run ends\n", out.string(), options.interval_seconds);
  while (options.follow && written.running) {
    std::this_thread::sleep_for(std::chrono::duration<double>(options.interval_seconds));
    written = write_report(options.runs, out, options.interval_seconds);
  }
  if (context.json)
    *context.out
        << nlohmann::json{{"file", out.string()}, {"bytes", written.bytes}, {"runs", options.runs.size()}}.dump(2)
        << '\n';
  else if (!context.quiet)
    *context.out << fmt::format("{}  {}\n", out.string(), Bytes{static_cast<std::int64_t>(written.bytes)}.text());
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
