#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <nlohmann/json.hpp>
#include <optional>
#include <ostream>
#include <stdexcept>
#include <string>
#include <thread>

#include "athanor/core/Error.h"
#include "athanor/core/Format.h"
#include "athanor/core/Terminal.h"
#include "athanor/gpu/Display.h"
#include "athanor/gpu/Nvml.h"
#include "athanor/gpu/Table.h"
#include "cli/Context.h"
#include "cli/LiveScreen.h"
#include "cli/commands.h"

namespace athanor::cli {
namespace {

struct Options {
  bool table = false;
  bool watch = false;
  std::string wait;
  double interval_seconds = 1.0;
  double timeout_seconds = 0.0;
  std::string table_file;
};

void print(const gpu::Reading& reading, const Context& context) {
  if (context.json)
    *context.out << gpu::to_json(reading).dump(2) << '\n';
  else if (reading.cards.empty())
    *context.err << reading.message << '\n';
  else
    *context.out << gpu::describe(reading, core::Terminal::of(*context.out));
}

void show_table(const Options& options, const Context& context) {
  gpu::Table table = gpu::Table::standard();
  if (!options.table_file.empty()) table.add(gpu::Table::from_file(options.table_file));
  if (context.json)
    *context.out << gpu::to_json(table).dump(2) << '\n';
  else
    *context.out << gpu::describe(table, core::Terminal::of(*context.out));
}

std::string clock_text() {
  return core::local_time("%H:%M:%S");
}

// A log wants a line an event: time, card, the figures that move.
void watch_as_log(const gpu::Nvml& nvml, const Options& options, const Context& context) {
  while (true) {
    for (const auto& card : nvml.read().cards) {
      *context.out << fmt::format("{} card {} {}: memory {} of {}, busy {} %, {} C, {:.0f} W{}\n", clock_text(),
                                  card.index, card.name, card.memory_used.value_or(Bytes{}).text(),
                                  card.memory_total.value_or(Bytes{}).text(), card.busy_percent.value_or(0),
                                  card.celsius.value_or(0), card.watts.value_or(0),
                                  card.problem.empty() ? "" : ", " + card.problem);
    }
    context.out->flush();
    if (!*context.out) return;  // the reader of the pipe is gone
    std::this_thread::sleep_for(std::chrono::duration<double>(options.interval_seconds));
  }
}

int watch(const Options& options, const Context& context) {
  const gpu::Nvml nvml;
  if (!nvml.available()) {
    print(nvml.read(), context);
    return 0;
  }
  if (!core::Terminal::of(*context.out).interactive) {
    watch_as_log(nvml, options, context);
    return 0;
  }
  LiveScreen screen(*context.out);
  while (true) {
    const auto terminal = core::Terminal::of(*context.out);
    const std::string head = core::paint(clock_text() + "  q or Ctrl-C ends", core::Ink::quiet, terminal);
    screen.show(head + "\n\n" + gpu::describe(nvml.read(), terminal), terminal.rows);
    switch (screen.wait(options.interval_seconds)) {
      case LiveScreen::Event::quit:
        return 0;
      case LiveScreen::Event::interrupted:
        return 130;
      case LiveScreen::Event::terminated:
        return 143;
      case LiveScreen::Event::elapsed:
      case LiveScreen::Event::resized:
        break;
    }
  }
}

// What a program would be given: a card, or a part of one where MIG is on.
struct Place {
  std::string name;  ///< As CUDA_VISIBLE_DEVICES takes it (with CUDA_DEVICE_ORDER=PCI_BUS_ID).
  Bytes free, total;
};

std::vector<Place> places(const gpu::Reading& reading) {
  std::vector<Place> all;
  for (const auto& card : reading.cards) {
    for (const auto& slice : card.slices)
      all.push_back({slice.uuid, slice.memory_total - slice.memory_used, slice.memory_total});
    if (card.slices.empty() && card.memory_free && card.memory_total)
      all.push_back({std::to_string(card.index), *card.memory_free, *card.memory_total});
  }
  return all;
}

int found(const Place& place, double waited, const Context& context) {
  if (context.json)
    *context.out << nlohmann::json{{"device", place.name},
                                   {"free", place.free.count},
                                   {"total", place.total.count},
                                   {"seconds", waited}}
                        .dump(2)
                 << '\n';
  else
    *context.out << place.name << '\n';
  return 0;
}

// Prints the card with most room once one has enough; 3 where none is large enough ever, 1 where time runs out.
int wait_for_room(const Options& options, const Context& context) {
  const Bytes wanted = Bytes::parse(options.wait);
  if (wanted.count <= 0) throw std::invalid_argument("--wait " + options.wait + ": must be more than 0");
  const gpu::Nvml nvml;
  const auto start = std::chrono::steady_clock::now();
  bool told = false;
  while (true) {
    const gpu::Reading reading = nvml.read();
    std::optional<Place> most_free, largest;
    for (const Place& place : places(reading)) {
      if (!most_free || place.free > most_free->free) most_free = place;
      if (!largest || place.total > largest->total) largest = place;
    }
    if (!most_free)
      throw Error(reading.message.empty() ? "no card tells its memory: nothing to wait for"
                                          : reading.message + ": nothing to wait for");
    const double waited = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    if (most_free->free >= wanted) return found(*most_free, waited, context);
    if (largest->total < wanted) {
      *context.err << fmt::format("{}: no card has {}: the largest, card {}, has {} in all\n", context.name,
                                  wanted.text(), largest->name, largest->total.text());
      return 3;
    }
    if (options.timeout_seconds > 0 && waited >= options.timeout_seconds)
      throw Error(fmt::format("no card had {} free within {} s: the most was {} on {}", wanted.text(),
                              options.timeout_seconds, most_free->free.text(), most_free->name));
    if (!told && !context.quiet)
      *context.err << fmt::format("waiting for {}: the most free now is {} on card {}\n", wanted.text(),
                                  most_free->free.text(), most_free->name);
    told = true;
    std::this_thread::sleep_for(std::chrono::duration<double>(options.interval_seconds));
  }
}

int run(const Options& options, const Context& context) {
  if (options.watch && context.json)
    throw std::invalid_argument("gpus: --watch is for people and --json one document: use one of them");
  if (options.table) {
    show_table(options, context);
    return 0;
  }
  if (!options.wait.empty()) return wait_for_room(options, context);
  if (options.watch) return watch(options, context);
  print(gpu::Nvml().read(), context);
  return 0;
}

}  // namespace

void add_gpus(CLI::App& root, Context& context) {
  auto options = std::make_shared<Options>();
  CLI::App* command = root.add_subcommand("gpus", "What the cards here do now, or what is known of cards elsewhere");
  command->add_flag("--watch", options->watch, "Redraw until q or Ctrl-C; in a pipe one line a card and reading");
  command->add_option("--wait", options->wait, "Wait until a card has SIZE free (12GiB) and print its number");
  command->add_option("--interval", options->interval_seconds, "Seconds between readings")
      ->check(CLI::Range(0.05, 86400.0));
  command->add_option("--timeout", options->timeout_seconds, "Give up --wait after so many seconds; 0 never")
      ->check(CLI::NonNegativeNumber);
  command->add_flag("--table", options->table, "List the GPUs that rehearse and plan know");
  command->add_option("--gpu-table", options->table_file,
                      "TOML with GPUs of your own, in the format of share/gpus.toml");
  command->callback([options, &context] { context.exit_code = run(*options, context); });
}

}  // namespace athanor::cli
