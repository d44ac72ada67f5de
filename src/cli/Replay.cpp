#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <exception>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <thread>

#include "athanor/core/AtomicFile.h"
#include "athanor/core/Bytes.h"
#include "athanor/core/Error.h"
#include "athanor/core/Format.h"
#include "athanor/core/Terminal.h"
#include "athanor/core/TextTable.h"
#include "cli/Context.h"
#include "cli/ReplayPage.h"
#include "cli/commands.h"

namespace athanor::cli {
namespace {

using allocator::Outcome;
using allocator::Settings;

struct Options {
  std::string file;
  std::string conf;
  std::string capacity;
  std::string html;
  std::string svg;
  int device = -1;
  int top = 10;
  CLI::Option* conf_given = nullptr;
};

std::string text(std::int64_t bytes) {
  return Bytes{bytes}.text();
}

// Each run stands alone: two cores halve the wait.
std::vector<Outcome> outcomes(const allocator::History& history, const std::vector<Settings>& settings,
                              std::int64_t capacity) {
  std::vector<Outcome> out(settings.size());
  std::atomic<std::size_t> next{0};
  std::exception_ptr failure;
  std::atomic_flag failed;
  const auto work = [&] {
    for (std::size_t i = next++; i < settings.size(); i = next++) {
      try {
        out[i] = allocator::what_if(history, settings[i], capacity);
      } catch (...) {
        if (!failed.test_and_set()) failure = std::current_exception();
      }
    }
  };
  std::vector<std::jthread> others;
  const unsigned cores = std::min(4U, std::thread::hardware_concurrency());
  for (unsigned i = 1; i < cores; ++i) others.emplace_back(work);
  work();
  others.clear();
  if (failure) std::rethrow_exception(failure);
  return out;
}

std::vector<std::string> notes(const allocator::Snapshot& snapshot, const allocator::History& history,
                               const allocator::Fidelity& fidelity) {
  std::vector<std::string> out = snapshot.warnings;
  if (history.partial)
    out.push_back(fmt::format("Partial: the file is truncated after {} events; what is said holds up to there.{}",
                              core::grouped(static_cast<long long>(history.events)),
                              history.complete || !history.laid_out
                                  ? ""
                                  : " The state before them is rebuilt from the segments of a later moment: peaks and "
                                    "addresses are estimates."));
  out.insert(out.end(), history.warnings.begin(), history.warnings.end());
  if (!history.complete)
    out.emplace_back(
        history.laid_out
            ? "The history begins on a device in use: its first state is rebuilt from the segments at the end. "
              "Other settings start from an empty device that is given the older blocks first."
            : "Where the older blocks lay is not recorded: they are laid out anew, so figures are approximate.");
  if (history.ambiguous > 0)
    out.push_back(
        fmt::format("{} blocks older than the history may be up to 1 MiB larger than assumed.", history.ambiguous));
  if (const std::size_t orphans = std::max(history.orphans, fidelity.orphans); orphans > 0)
    out.push_back(fmt::format(
        "Partial: {} entries contradict the others (frees of what nobody holds, events out of order) and are left out.",
        orphans));
  std::string others;
  for (std::size_t i = 0; i < snapshot.traces.size(); ++i)
    if (!snapshot.traces[i].empty() && static_cast<std::int32_t>(i) != history.device) others += fmt::format(" {}", i);
  if (!others.empty()) out.push_back(fmt::format("There are histories of other devices too (--device):{}.", others));
  return out;
}

nlohmann::json json_of(const Outcome& outcome) {
  return {{"conf", outcome.settings.text()},
          {"peak_reserved", outcome.highest()},
          {"peak_reserved_range", {outcome.lowest(), outcome.highest()}},
          {"peak_allocated", outcome.peak_allocated},
          {"retries", outcome.retries},
          {"oom", outcome.out_of_memory}};
}

nlohmann::json json_of(const ReplayReport& report, std::size_t top) {
  const auto& replay = report.replay;
  const auto& fidelity = replay.fidelity;
  const Outcome& chosen = report.outcomes[report.asked ? 1 : 0];
  nlohmann::json json;
  json["file"] = report.file;
  json["device"] = report.history->device;
  json["events"] = report.history->events;
  json["complete"] = report.history->complete;
  json["partial"] = report.history->partial;
  json["exact"] = fidelity.exact();
  json["addresses"] = {{"recorded", fidelity.addresses.recorded}, {"matched", fidelity.addresses.matched}};
  json["segments"] = {{"recorded", fidelity.segment_allocs.recorded}, {"matched", fidelity.segment_allocs.matched}};
  json["releases"] = {{"recorded", fidelity.segment_frees.recorded}, {"matched", fidelity.segment_frees.matched}};
  json["layout_differences"] = fidelity.layout_differences;
  json["conf"] = {{"recorded", report.snapshot->conf ? nlohmann::json(*report.snapshot->conf) : nlohmann::json()},
                  {"simulated", report.asked ? chosen.settings.text() : report.history->settings.text()}};
  json["peak_reserved"] = {{"recorded", fidelity.recorded_peak_reserved},
                           {"simulated", report.asked ? chosen.highest() : replay.peak_reserved}};
  if (!report.history->laid_out) json["peak_reserved"]["recorded"] = report.snapshot->recorded_peak_reserved;
  json["peak_allocated"] = replay.peak_allocated;
  json["peak_requested"] = replay.peak_requested;
  json["peak"] = {{"event", replay.peak.step}, {"reserved", replay.peak.reserved}, {"stuck", replay.peak.stuck}};
  json["oom"] = report.asked ? chosen.out_of_memory : replay.recorded_ooms > 0;
  json["capacity"] = report.capacity == allocator::unlimited ? nlohmann::json() : nlohmann::json(report.capacity);
  json["holders"] = nlohmann::json::array();
  for (std::size_t i = 0; i < std::min(top, replay.holders.size()); ++i)
    json["holders"].push_back(
        {{"frame", replay.holders[i].frame}, {"bytes", replay.holders[i].bytes}, {"blocks", replay.holders[i].blocks}});
  json["what_if"] = nlohmann::json::array();
  for (const Outcome& outcome : report.outcomes) json["what_if"].push_back(json_of(outcome));
  json["advice"] = {{"sentence", report.advice.sentence}, {"conf", report.advice.conf}};
  json["notes"] = report.notes;
  return json;
}

std::string share(std::int64_t part, std::int64_t whole) {
  return whole > 0 ? fmt::format("{:.1f} %", 100.0 * static_cast<double>(part) / static_cast<double>(whole)) : "";
}

void print_people(const ReplayReport& report, std::size_t top, const Context& context) {
  const core::Terminal terminal = core::Terminal::of(*context.out);
  const auto head = [&](const char* word) { return core::paint(word, core::Ink::strong, terminal); };
  std::ostream& out = *context.out;
  const auto& replay = report.replay;
  const auto& fidelity = replay.fidelity;
  out << fmt::format("{}: device {}, {} events, {}{}\n", core::printable(report.file), report.history->device,
                     core::grouped(static_cast<long long>(report.history->events)),
                     report.history->complete ? "from an empty device" : "from a device in use",
                     report.history->partial ? ", partial: the file is truncated" : "");
  out << fmt::format("{}  {} of {} addresses, {} of {} segments taken, {} of {} given back: {}\n", head("faithful"),
                     core::grouped(static_cast<long long>(fidelity.addresses.matched)),
                     core::grouped(static_cast<long long>(fidelity.addresses.recorded)),
                     fidelity.segment_allocs.matched, fidelity.segment_allocs.recorded, fidelity.segment_frees.matched,
                     fidelity.segment_frees.recorded,
                     fidelity.exact() ? core::paint("exact", core::Ink::good, terminal)
                                      : core::paint("not exact", core::Ink::warning, terminal));
  out << fmt::format("{}      {} allocated ({} asked for), {} reserved\n", head("peak"), text(replay.peak_allocated),
                     text(replay.peak_requested), text(replay.peak_reserved));
  const std::int64_t unused = replay.peak.reserved - replay.peak.allocated;
  out << fmt::format(
      "          there, {} of the reserved are free{}\n", text(unused),
      replay.peak.stuck > 0 ? fmt::format(", {} of them stuck in segments in use", text(replay.peak.stuck)) : "");
  if (replay.recorded_ooms > 0)
    out << fmt::format(
        "{}      out of memory {} time{}{}\n", head("ends"), replay.recorded_ooms, replay.recorded_ooms == 1 ? "" : "s",
        report.capacity != allocator::unlimited ? fmt::format(", the device had {} for it", text(report.capacity))
                                                : "");

  out << '\n' << head("held at the peak") << '\n';
  using Align = core::TextTable::Align;
  core::TextTable holders(
      {{"bytes", Align::right}, {"share", Align::right}, {"blocks", Align::right}, {"where", Align::left}});
  for (std::size_t i = 0; i < std::min(top, replay.holders.size()); ++i) {
    const auto& holder = replay.holders[i];
    holders.add({text(holder.bytes), share(holder.bytes, replay.peak.allocated), std::to_string(holder.blocks),
                 core::clipped(core::printable(holder_name(holder)), 70, terminal)});
  }
  out << holders.text(terminal, 2);

  out << '\n' << head("under other settings");
  if (report.capacity != allocator::unlimited) out << fmt::format(" on {}", text(report.capacity));
  out << '\n';
  core::TextTable table(
      {{"settings", Align::left}, {"peak reserved", Align::left}, {"retries", Align::right}, {"fits", Align::left}});
  for (std::size_t i = 0; i < report.outcomes.size(); ++i) {
    const Outcome& outcome = report.outcomes[i];
    std::string name = outcome.settings.text().empty() ? "PyTorch's defaults" : outcome.settings.text();
    if (i == 0) name += " (recorded)";
    if (report.asked && i == 1) name += " (asked)";
    const std::string fits = outcome.out_of_memory ? core::paint(fmt::format("no: {} more", text(outcome.failed_size)),
                                                                 core::Ink::bad, terminal)
                                                   : "yes";
    table.add({name, peak_range(outcome), std::to_string(outcome.retries), fits});
  }
  out << table.text(terminal, 2);
  out << '\n' << report.advice.sentence << '\n';
  if (!report.advice.conf.empty()) out << "export PYTORCH_CUDA_ALLOC_CONF=" << report.advice.conf << '\n';
}

int run(const Options& options, const Context& context) {
  const Settings asked = Settings::parse(options.conf);  // mistakes before any work
  ReplayReport report;
  report.file = options.file;
  if (!options.capacity.empty()) {
    report.capacity = Bytes::parse(options.capacity).count;
    if (report.capacity <= 0) throw std::invalid_argument("replay: --capacity must be above 0");
  }
  const allocator::Snapshot snapshot = allocator::read_snapshot(options.file);
  allocator::History history;
  try {
    history =
        allocator::history_of(snapshot, options.device >= 0 ? options.device : allocator::busiest_device(snapshot));
    report.replay = allocator::replay(snapshot, history);
  } catch (const Error& error) {
    throw Error(fmt::format("{}: {}", options.file, error.what()));
  }
  report.snapshot = &snapshot;
  report.history = &history;
  if (options.capacity.empty()) report.capacity = history.capacity.value_or(allocator::unlimited);
  std::vector<Settings> settings = allocator::candidates(history, report.capacity);
  report.asked = options.conf_given->count() > 0;
  if (report.asked) {
    std::erase(settings, asked);
    if (settings.empty() || settings.front() != history.settings) settings.insert(settings.begin(), history.settings);
    settings.insert(settings.begin() + 1, asked);
  }
  report.outcomes = outcomes(history, settings, report.capacity);
  report.advice = allocator::advise(report.replay, report.outcomes, report.capacity);
  report.notes = notes(snapshot, history, report.replay.fidelity);

  if (!options.svg.empty()) core::write_atomically(options.svg, replay_picture(report));
  if (!options.html.empty()) core::write_atomically(options.html, replay_page(report));
  const auto top = static_cast<std::size_t>(options.top);
  if (context.json) {
    *context.out << json_of(report, top).dump(2, ' ', false, nlohmann::json::error_handler_t::replace) << '\n';
  } else {
    print_people(report, top, context);
    if (!context.quiet)
      for (const std::string& note : report.notes) *context.err << "note: " << note << '\n';
  }
  const bool fits = !report.outcomes[report.asked ? 1 : 0].out_of_memory;
  return fits || options.capacity.empty() ? 0 : 3;
}

}  // namespace

void add_replay(CLI::App& root, Context& context) {
  auto options = std::make_shared<Options>();
  CLI::App* command =
      root.add_subcommand("replay", "Replays a PyTorch memory snapshot; what would other settings have needed?");
  command
      ->add_option("SNAPSHOT", options->file,
                   "What torch.cuda.memory._dump_snapshot wrote (.pickle), a JSON dump of it, or "
                   "a profiler trace (.pt.trace.json); gzipped too")
      ->required();
  options->conf_given = command->add_option("--conf", options->conf, "Settings to try, as in PYTORCH_CUDA_ALLOC_CONF");
  command->add_option("--capacity", options->capacity,
                      "What the device can hand out, e.g. 22GiB; exit 3 if that is not enough");
  command->add_option("--device", options->device, "Which device's history; the longest by default")
      ->check(CLI::NonNegativeNumber);
  command->add_option("--top", options->top, "How many holders of the peak to list")->check(CLI::Range(1, 1000));
  command->add_option("--svg", options->svg, "Draws memory over time and the segments at the peak");
  command->add_option("--html", options->html, "Writes it all as one page");
  command->callback([options, &context] { context.exit_code = run(*options, context); });
}

}  // namespace athanor::cli
