#include "athanor/cli/App.h"

#include <CLI/CLI.hpp>

#include <algorithm>
#include <iostream>
#include <stdexcept>
#include <vector>

#include "athanor/core/Error.h"
#include "athanor/core/Nearest.h"
#include "cli/Context.h"
#include "cli/ShortWaits.h"
#include "cli/commands.h"

namespace athanor::cli {
namespace {

void add_common(CLI::App& app, Context& context) {
  app.add_flag("--json", context.json, "Print one JSON document on standard output and nothing else there");
  app.add_flag("--quiet", context.quiet, "No progress; warnings and errors only");
}

void add_commands(CLI::App& root, Context& context) {
  add_common(root, context);
  add_plan(root, context);
  add_train(root, context);
  add_rehearse(root, context);
  add_schedule(root, context);
  add_find_lr(root, context);
  add_gpus(root, context);
  add_report(root, context);
  add_inspect(root, context);
  add_replay(root, context);
  for (CLI::App* command : root.get_subcommands([](CLI::App*) { return true; })) add_common(*command, context);
}

// CLI11 knows what was wrong; this adds the nearest right name of the first word that is no name at all.
std::string explain(const CLI::App& root, const CLI::ParseError& error, int argc, const char* const* argv) {
  const std::string message = error.what();
  const CLI::App* active = &root;
  if (const auto chosen = root.get_subcommands(); !chosen.empty()) active = chosen.front();
  std::vector<std::string> flags, commands;
  for (const auto* option : active->get_options())
    for (const auto& name : option->get_lnames()) flags.push_back("--" + name);
  for (const auto* command : root.get_subcommands([](const CLI::App*) { return true; }))
    commands.push_back(command->get_name());
  for (int i = 1; i < argc; ++i) {
    const std::string word = std::string(argv[i]).substr(0, std::string_view(argv[i]).find('='));
    const bool flag = word.starts_with("--");
    if (!flag && (active != &root || i > 1)) continue;  // a value
    const auto& names = flag ? flags : commands;
    if (std::find(names.begin(), names.end(), word) != names.end()) continue;
    const auto suggestion = core::suggestion(word, names);
    return flag ? "unknown flag '" + word + "'" + suggestion : "unknown command '" + word + "'" + suggestion;
  }
  return message;
}

// Whether the command does arithmetic on the processor for long.
bool computes(int argc, const char* const* argv) {
  const auto* end = argv + argc;
  const auto* command =
      std::find_if(argv + std::min(argc, 1), end, [](std::string_view word) { return !word.starts_with('-'); });
  return command != end && (std::string_view(*command) == "train" || std::string_view(*command) == "find-lr");
}

}  // namespace

App::App(std::string name) : context_(std::make_unique<Context>()) {
  context_->name = std::move(name);
}
App::~App() = default;

void App::add_model(std::string name, models::Factory factory) {
  context_->models.add(std::move(name), std::move(factory));
}

int App::run(int argc, const char* const* argv) {
  if (computes(argc, argv)) start_with_short_waits(argv);
  return run(argc, argv, std::cout, std::cerr);
}

int App::run(int argc, const char* const* argv, std::ostream& out, std::ostream& err) {
  context_->out = &out;
  context_->err = &err;
  context_->json = context_->quiet = false;
  context_->exit_code = 0;
  CLI::App root("Trains on the GPU you have: knows before it runs, is the bare loop, loses nothing.", context_->name);
  root.set_version_flag("--version", std::string("athanor ") + ATHANOR_VERSION);
  root.require_subcommand(1);
  add_commands(root, *context_);
  try {
    root.parse(argc, argv);
    return context_->exit_code;
  } catch (const CLI::Success& success) {
    return root.exit(success, out, err);
  } catch (const CLI::ParseError& error) {
    err << context_->name << ": " << explain(root, error, argc, argv) << '\n';
    return 2;
  } catch (const std::invalid_argument& error) {
    err << context_->name << ": " << error.what() << '\n';
    return 2;
  } catch (const std::exception& error) {
    // LibTorch's errors bring a backtrace after their first line.
    err << context_->name << ": " << std::string_view(error.what()).substr(0, std::string_view(error.what()).find('\n'))
        << '\n';
    return 1;
  }
}

}  // namespace athanor::cli
