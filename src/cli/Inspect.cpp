#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>
#include <ostream>
#include <set>
#include <string>
#include <vector>

#include "athanor/core/Error.h"
#include "athanor/core/Format.h"
#include "athanor/core/Terminal.h"
#include "athanor/core/TextTable.h"
#include "athanor/report/Inspect.h"
#include "cli/Context.h"
#include "cli/commands.h"

namespace athanor::cli {
namespace {

using core::Ink;
using core::Terminal;
using core::TextTable;
using nlohmann::json;
using report::Inspection;
constexpr auto kRight = TextTable::Align::right;

struct Options {
  std::vector<std::string> paths;
  bool all = false;
};

std::string shape_text(const std::vector<std::int64_t>& shape) {
  return shape.empty() ? "scalar" : fmt::format("{}", fmt::join(shape, "x"));
}

std::string dtypes_of(const report::InspectedFile& file) {
  std::set<std::string> dtypes;
  for (const auto& tensor : file.tensors) dtypes.insert(tensor.dtype);
  return fmt::format("{}", fmt::join(dtypes, " "));
}

std::string verdict(const Inspection& inspection, const Terminal& terminal) {
  return inspection.whole() ? core::paint("whole", Ink::good, terminal) : core::paint("damaged", Ink::bad, terminal);
}

std::string files_table(const Inspection& inspection, const Terminal& terminal) {
  TextTable table(
      {{"file"}, {"size", kRight}, {"tensors", kRight}, {"elements", kRight}, {"dtypes"}, {"not finite", kRight}});
  for (const auto& file : inspection.files) {
    const bool tensors = !file.tensors.empty();
    table.add({file.name, file.size.text(), tensors ? core::grouped(static_cast<long long>(file.tensors.size())) : "",
               tensors ? core::grouped(file.elements) : "", dtypes_of(file),
               !tensors               ? ""
               : file.not_finite == 0 ? "0"
                                      : core::paint(core::grouped(file.not_finite), Ink::bad, terminal)});
  }
  return table.text(terminal);
}

std::string tensors_table(const report::InspectedFile& file, bool all, const Terminal& terminal) {
  constexpr std::size_t kFew = 20;
  TextTable table({{file.name}, {"dtype"}, {"shape"}, {"size", kRight}});
  const std::size_t shown = all ? file.tensors.size() : std::min(file.tensors.size(), kFew);
  for (std::size_t i = 0; i < shown; ++i) {
    const auto& tensor = file.tensors[i];
    table.add({core::printable(tensor.name), tensor.dtype, shape_text(tensor.shape),
               Bytes{static_cast<std::int64_t>(tensor.bytes())}.text()});
  }
  std::string text = "\n" + table.text(terminal);
  if (shown < file.tensors.size())
    text += core::paint(fmt::format("{} more; --all shows them\n", file.tensors.size() - shown), Ink::quiet, terminal);
  return text;
}

std::string describe(const Inspection& inspection, bool all, const Terminal& terminal) {
  std::string text = inspection.path.string() + "  " + verdict(inspection, terminal);
  if (inspection.step) text += fmt::format("  step {}", core::grouped(*inspection.step));
  if (inspection.metric) text += "  metric " + core::significant(*inspection.metric, 4);
  text += "  " + inspection.bytes().text() + "\n";
  for (const auto& problem : inspection.problems) text += core::paint(problem, Ink::bad, terminal) + "\n";
  if (!inspection.files.empty()) text += "\n" + files_table(inspection, terminal);
  for (const auto& file : inspection.files)
    if (!file.tensors.empty() && (all || file.name != "optimizer.safetensors"))
      text += tensors_table(file, all, terminal);
  return text;
}

std::string describe_run(const Inspection& run, const Terminal& terminal) {
  TextTable table({{"checkpoint"}, {"step", kRight}, {"size", kRight}, {"metric", kRight}, {""}});
  for (const auto& checkpoint : run.checkpoints)
    table.add({checkpoint.path.filename().string(), checkpoint.step ? core::grouped(*checkpoint.step) : "-",
               checkpoint.bytes().text(), checkpoint.metric ? core::significant(*checkpoint.metric, 4) : "-",
               verdict(checkpoint, terminal)});
  std::string text = run.path.string() + "  " + run.bytes().text() + "\n";
  text += run.checkpoints.empty() ? "no checkpoints yet\n" : "\n" + table.text(terminal);
  for (const auto& checkpoint : run.checkpoints)
    for (const auto& problem : checkpoint.problems)
      text += core::paint(checkpoint.path.filename().string() + ": " + problem, Ink::bad, terminal) + "\n";
  if (!run.files.empty()) text += "\n" + files_table(run, terminal);
  return text;
}

json tensor_json(const core::SafetensorsEntry& tensor, const std::string& file) {
  return {{"name", core::printable(tensor.name)},
          {"file", file},
          {"dtype", tensor.dtype},
          {"shape", tensor.shape},
          {"bytes", tensor.bytes()}};
}

json to_json(const Inspection& inspection) {
  static constexpr const char* kinds[] = {"safetensors", "checkpoint", "run"};
  json tensors = json::array(), files = json::array(), checkpoints = json::array();
  for (const auto& file : inspection.files) {
    for (const auto& tensor : file.tensors) tensors.push_back(tensor_json(tensor, file.name));
    files.push_back({{"name", file.name},
                     {"bytes", file.size.count},
                     {"elements", file.elements},
                     {"not_finite", file.not_finite},
                     {"problem", file.problem}});
  }
  for (const auto& checkpoint : inspection.checkpoints) checkpoints.push_back(to_json(checkpoint));
  json result = {{"kind", kinds[static_cast<int>(inspection.kind)]},
                 {"path", inspection.path.string()},
                 {"tensors", tensors},
                 {"files", files},
                 {"step", inspection.step ? json(*inspection.step) : json(nullptr)},
                 {"metric", inspection.metric ? json(*inspection.metric) : json(nullptr)},
                 {"whole", inspection.whole()},
                 {"problems", inspection.problems},
                 {"bytes", inspection.bytes().count}};
  if (inspection.kind == Inspection::Kind::run) result["checkpoints"] = checkpoints;
  return result;
}

json to_json(const report::Comparison& comparison) {
  json differences = json::array();
  for (const auto& one : comparison.differences)
    differences.push_back({{"file", one.file},
                           {"name", core::printable(one.name)},
                           {"unlike", one.unlike},
                           {"dtypes", one.dtypes},
                           {"largest", one.largest},
                           {"relative", one.relative},
                           {"differing", one.differing},
                           {"elements", one.elements}});
  return {{"equal", comparison.equal()},
          {"equal_tensors", comparison.equal_tensors},
          {"differences", differences},
          {"state", comparison.state}};
}

std::string describe(const report::Comparison& comparison, bool all, const Terminal& terminal) {
  constexpr std::size_t kFew = 30;
  if (comparison.equal())
    return core::paint("equal", Ink::good, terminal) +
           fmt::format(": {} tensors, bit by bit\n", core::grouped(static_cast<long long>(comparison.equal_tensors)));
  std::string text =
      fmt::format("{} tensors equal, {} differ\n", comparison.equal_tensors, comparison.differences.size());
  TextTable table({{"tensor"}, {"relative", kRight}, {"largest", kRight}, {"values", kRight}, {""}});
  const std::size_t shown = all ? comparison.differences.size() : std::min(comparison.differences.size(), kFew);
  for (std::size_t i = 0; i < shown; ++i) {
    const auto& one = comparison.differences[i];
    if (!one.unlike.empty())
      table.add({core::printable(one.name), "", "", "", one.unlike});
    else
      table.add({core::printable(one.name), core::significant(one.relative), core::significant(one.largest),
                 fmt::format("{} of {}", core::grouped(one.differing), core::grouped(one.elements)), one.dtypes});
  }
  if (shown > 0) text += "\n" + table.text(terminal);
  if (shown < comparison.differences.size())
    text += core::paint(fmt::format("{} more; --all shows them\n", comparison.differences.size() - shown), Ink::quiet,
                        terminal);
  if (shown > 0)
    text +=
        core::paint("relative: |a - b| / |a|; largest: of one value; values: how many differ\n", Ink::quiet, terminal);
  if (!comparison.state.empty()) text += "\nstate.json\n";
  for (const auto& line : comparison.state) text += "  " + core::printable(line) + "\n";
  return text;
}

int run(const Options& options, const Context& context) {
  const auto terminal = Terminal::of(*context.out);
  const Inspection first = report::inspect(options.paths.front());
  if (options.paths.size() == 2) {
    const auto comparison = report::compare(first, report::inspect(options.paths.back()));
    *context.out << (context.json ? to_json(comparison).dump(2) + "\n" : describe(comparison, options.all, terminal));
    return 0;
  }
  // A file that is none is a failure, not a thing with contents.
  if (first.kind == Inspection::Kind::safetensors && !first.whole() && !context.json)
    throw Error(first.problems.front());
  if (context.json)
    *context.out << to_json(first).dump(2) << '\n';
  else
    *context.out << (first.kind == Inspection::Kind::run ? describe_run(first, terminal)
                                                         : describe(first, options.all, terminal));
  return first.whole() ? 0 : 1;
}

}  // namespace

void add_inspect(CLI::App& root, Context& context) {
  auto options = std::make_shared<Options>();
  CLI::App* command = root.add_subcommand(
      "inspect", "What a checkpoint, safetensors file or run holds, whether it is whole, or how two differ");
  command->add_option("PATH", options->paths, "One to look into, or two to compare")->required()->expected(1, 2);
  command->add_flag("--all", options->all, "Every tensor, however many");
  command->callback([options, &context] { context.exit_code = run(*options, context); });
}

}  // namespace athanor::cli
