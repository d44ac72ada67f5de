#include "athanor/gpu/Display.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "athanor/core/Format.h"
#include "athanor/core/TextTable.h"

namespace athanor::gpu {
namespace {

using core::Ink;
using core::Terminal;
using core::TextTable;
constexpr auto kRight = TextTable::Align::right;
constexpr int kWide = 132;  // columns from which the second table's figures fit beside the first's

std::string short_name(const Card& card) {
  const std::string_view maker = "NVIDIA ";
  if (card.name.empty()) return "?";
  return card.name.starts_with(maker) ? card.name.substr(maker.size()) : card.name;
}

template <class Value, class Text>
std::string known(const std::optional<Value>& value, Text text) {
  return value ? text(*value) : "-";
}

std::string used_of_total(Bytes used, Bytes total) {
  return core::significant(used.gib()) + "/" + core::significant(total.gib()) + " GiB";
}

std::string memory_cell(const Card& card, int bar_width, const Terminal& terminal) {
  if (!card.memory_total || !card.memory_used) return "-";
  const double share = static_cast<double>(card.memory_used->count) / static_cast<double>(card.memory_total->count);
  const std::string text = fmt::format("{:>14}", used_of_total(*card.memory_used, *card.memory_total));
  if (!terminal.interactive || bar_width == 0) return text;
  return core::paint(core::bar(share, bar_width, terminal), Ink::accent, terminal) + " " + text;
}

std::string heat_cell(const Card& card, const Terminal& terminal) {
  if (!card.celsius) return "-";
  const Ink ink = *card.celsius >= 95 ? Ink::bad : *card.celsius >= 85 ? Ink::warning : Ink::plain;
  return core::paint(fmt::format("{}{}", *card.celsius, terminal.unicode ? " °C" : " C"), ink, terminal);
}

std::string power_cell(const Card& card) {
  if (!card.watts) return "-";
  if (!card.watts_limit) return fmt::format("{:.0f} W", *card.watts);
  return fmt::format("{:.0f}/{:.0f} W", *card.watts, *card.watts_limit);
}

std::string pcie_cell(const Card& card) {
  if (!card.pcie_generation || !card.pcie_width) return "-";
  std::string text = fmt::format("{}.0 x{}", *card.pcie_generation, *card.pcie_width);
  if (card.pcie_generation_max && card.pcie_width_max &&
      (card.pcie_generation_max != card.pcie_generation || card.pcie_width_max != card.pcie_width))
    text += fmt::format(" of {}.0 x{}", *card.pcie_generation_max, *card.pcie_width_max);
  return text;
}

std::string ecc_cell(const Card& card, const Terminal& terminal) {
  if (!card.ecc) return "-";
  if (!*card.ecc) return "off";
  if (card.ecc_uncorrected.value_or(0) == 0) return "on";
  return core::paint(fmt::format("on, {} errors", *card.ecc_uncorrected), Ink::bad, terminal);
}

std::string joined(const std::vector<std::string>& words) {
  return words.empty() ? "-" : fmt::format("{}", fmt::join(words, ", "));
}

std::vector<std::string> link_cells(const Card& card, const Terminal& terminal) {
  return {card.bus_id.empty() ? "-" : card.bus_id, pcie_cell(card), ecc_cell(card, terminal),
          known(card.memory_megahertz, [](int mhz) { return fmt::format("{} MHz", mhz); }), joined(card.slowed_by)};
}

const std::vector<TextTable::Column> kLinkColumns = {
    {"bus"}, {"PCIe"}, {"ECC"}, {"memory clock", kRight}, {"slowed by"}};

std::string cards_table(const Reading& reading, const Terminal& terminal) {
  const bool wide = terminal.columns >= kWide;
  const int name_width = std::clamp(terminal.columns - 61, 8, 24);
  const int bar_width = wide ? 16 : std::clamp(terminal.columns - 72, 0, 8);
  std::vector<TextTable::Column> columns = {{"", kRight},     {"card"},          {"memory", kRight}, {"busy", kRight},
                                            {"heat", kRight}, {"power", kRight}, {"clock", kRight}};
  if (wide) columns.insert(columns.end(), kLinkColumns.begin(), kLinkColumns.end());
  TextTable table(columns);
  for (const Card& card : reading.cards) {
    std::vector<std::string> cells = {
        std::to_string(card.index),
        core::clipped(short_name(card), name_width, terminal),
        memory_cell(card, bar_width, terminal),
        known(card.busy_percent, [](int percent) { return fmt::format("{} %", percent); }),
        heat_cell(card, terminal),
        power_cell(card),
        known(card.sm_megahertz, [](int mhz) { return fmt::format("{} MHz", mhz); })};
    if (wide)
      for (auto& cell : link_cells(card, terminal)) cells.push_back(std::move(cell));
    table.add(std::move(cells));
  }
  std::string text = table.text(terminal);
  if (wide) return text;
  columns = {{"", kRight}};
  columns.insert(columns.end(), kLinkColumns.begin(), kLinkColumns.end());
  TextTable links(columns);
  for (const Card& card : reading.cards) {
    std::vector<std::string> cells = {std::to_string(card.index)};
    for (auto& cell : link_cells(card, terminal)) cells.push_back(std::move(cell));
    links.add(std::move(cells));
  }
  return text + "\n" + links.text(terminal);
}

std::string problems(const Reading& reading, const Terminal& terminal) {
  std::string text;
  for (const Card& card : reading.cards)
    if (!card.problem.empty())
      text += core::paint(fmt::format("card {}: {}", card.index, card.problem), Ink::bad, terminal) + "\n";
  return text.empty() ? "" : "\n" + text;
}

std::string slices_table(const Reading& reading, const Terminal& terminal) {
  TextTable table({{"card", kRight}, {"MIG", kRight}, {"part"}, {"memory", kRight}, {"UUID"}});
  bool any = false;
  for (const Card& card : reading.cards)
    for (const MigSlice& slice : card.slices) {
      any = true;
      table.add({std::to_string(card.index), std::to_string(slice.index),
                 core::clipped(slice.name.substr(slice.name.find("MIG ") + 1 == 0 ? 0 : slice.name.find("MIG ") + 4),
                               16, terminal),
                 used_of_total(slice.memory_used, slice.memory_total), slice.uuid});
    }
  return any ? "\n" + table.text(terminal) : "";
}

std::string processes_table(const Reading& reading, const Terminal& terminal) {
  TextTable table({{"card", kRight}, {"pid", kRight}, {"user"}, {"memory", kRight}, {"command"}});
  const int command_width = terminal.interactive ? std::max(terminal.columns - 44, 10) : 1024;
  bool any = false;
  for (const Card& card : reading.cards)
    for (const Process& process : card.processes) {
      any = true;
      std::string command = process.command.empty() ? "(not visible from here)" : process.command;
      if (process.graphics) command = "[graphics] " + command;
      if (process.mig_instance) command = fmt::format("[MIG {}] ", *process.mig_instance) + command;
      table.add({std::to_string(card.index), std::to_string(process.pid),
                 process.user.empty() ? "-" : core::clipped(process.user, 12, terminal),
                 known(process.memory, [](Bytes memory) { return memory.text(); }),
                 core::clipped(command, command_width, terminal)});
    }
  return any ? "\n" + table.text(terminal) : "";
}

std::string meaning(const Reading& reading, const Terminal& terminal) {
  std::string text = "busy: part of the last sample in which a kernel ran; 100 % does not mean full.\n";
  if (reading.cards.size() > 1)
    text +=
        "Numbered in PCI order, as nvidia-smi does. CUDA puts the fastest first unless\n"
        "CUDA_DEVICE_ORDER=PCI_BUS_ID is set.\n";
  if (const char* visible = std::getenv("CUDA_VISIBLE_DEVICES"); visible != nullptr)
    text += fmt::format("CUDA_VISIBLE_DEVICES={}: programs started here see those alone, counted from 0.\n",
                        core::printable(visible));
  std::string painted;
  for (std::size_t begin = 0; begin < text.size();) {
    const auto end = text.find('\n', begin);
    painted += core::paint(text.substr(begin, end - begin), Ink::quiet, terminal) + "\n";
    begin = end + 1;
  }
  return "\n" + painted;
}

}  // namespace

std::string describe(const Reading& reading, const Terminal& terminal) {
  if (reading.cards.empty()) return reading.message + "\n";
  const char* dot = terminal.unicode ? " · " : ", ";
  std::string text = "driver " + (reading.driver.empty() ? std::string("?") : reading.driver);
  if (!reading.cuda.empty()) text += dot + ("up to CUDA " + reading.cuda);
  text += dot + fmt::format("{} {}", reading.cards.size(), reading.cards.size() == 1 ? "card" : "cards") + "\n\n";
  text += cards_table(reading, terminal) + problems(reading, terminal) + slices_table(reading, terminal) +
          processes_table(reading, terminal) + meaning(reading, terminal);
  return text;
}

std::string describe(const Table& table, const Terminal& terminal) {
  TextTable text({{"GPU"},
                  {"GiB", kRight},
                  {"usable", kRight},
                  {"cc", kRight},
                  {"SMs", kRight},
                  {"GB/s", kRight},
                  {"fp32", kRight},
                  {"tf32", kRight},
                  {"16 bit", kRight},
                  {"fp8", kRight},
                  {"PCIe"}});
  const auto tera = [](double rate) { return rate > 0 ? core::significant(rate / 1e12) : std::string("-"); };
  std::string family;
  for (const Gpu& gpu : table.gpus()) {
    if (!family.empty() && gpu.architecture != family) text.add_gap();
    family = gpu.architecture;
    text.add({gpu.name, core::significant(gpu.memory.gib()),
              (gpu.usable_is_seen ? "" : "~") + core::significant(gpu.usable.gib()), gpu.compute_capability(),
              std::to_string(gpu.sm_count), fmt::format("{:.0f}", gpu.bandwidth_bytes_per_second / 1e9),
              tera(gpu.peak.fp32), tera(gpu.peak.tf32), tera(gpu.peak.fp16), tera(gpu.peak.fp8),
              gpu.host_link.generation > 0 ? fmt::format("{} x{}", gpu.host_link.generation, gpu.host_link.lanes)
                                           : "shared"});
  }
  return text.text(terminal) +
         core::paint(
             "\nusable: what CUDA reports, ~ estimated. Rates: dense peak TFLOP/s with fp32 accumulation; 16 bit is\n"
             "fp16, and bf16 from cc 8.0 on. Sources: --json, or share/gpus.toml. Your own cards: ATHANOR_GPUS=FILE.\n",
             Ink::quiet, terminal);
}

}  // namespace athanor::gpu
