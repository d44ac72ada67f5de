#include <nlohmann/json.hpp>

#include "athanor/gpu/Display.h"

namespace athanor::gpu {
namespace {

using nlohmann::json;

template <class Value>
json maybe(const std::optional<Value>& value) {
  return value ? json(*value) : json(nullptr);
}

json maybe(const std::optional<Bytes>& value) {
  return value ? json(value->count) : json(nullptr);
}

json to_json(const Process& process) {
  return {{"pid", process.pid},
          {"user", process.user},
          {"command", process.command},
          {"memory", maybe(process.memory)},
          {"kind", process.graphics ? "graphics" : "compute"},
          {"mig_instance", maybe(process.mig_instance)}};
}

json to_json(const MigSlice& slice) {
  return {{"index", slice.index},
          {"gpu_instance", slice.gpu_instance},
          {"compute_instance", slice.compute_instance},
          {"name", slice.name},
          {"uuid", slice.uuid},
          {"memory", {{"total", slice.memory_total.count}, {"used", slice.memory_used.count}}}};
}

json to_json(const Card& card) {
  json processes = json::array(), slices = json::array();
  for (const auto& process : card.processes) processes.push_back(to_json(process));
  for (const auto& slice : card.slices) slices.push_back(to_json(slice));
  return {{"index", card.index},
          {"name", card.name},
          {"uuid", card.uuid},
          {"bus_id", card.bus_id},
          {"memory",
           {{"total", maybe(card.memory_total)},
            {"used", maybe(card.memory_used)},
            {"free", maybe(card.memory_free)},
            {"reserved", maybe(card.memory_reserved)}}},
          {"busy_percent", maybe(card.busy_percent)},
          {"memory_busy_percent", maybe(card.memory_busy_percent)},
          {"celsius", maybe(card.celsius)},
          {"watts", maybe(card.watts)},
          {"watts_limit", maybe(card.watts_limit)},
          {"sm_megahertz", maybe(card.sm_megahertz)},
          {"sm_megahertz_max", maybe(card.sm_megahertz_max)},
          {"memory_megahertz", maybe(card.memory_megahertz)},
          {"pcie",
           {{"generation", maybe(card.pcie_generation)},
            {"width", maybe(card.pcie_width)},
            {"generation_max", maybe(card.pcie_generation_max)},
            {"width_max", maybe(card.pcie_width_max)}}},
          {"ecc", maybe(card.ecc)},
          {"ecc_uncorrected", maybe(card.ecc_uncorrected)},
          {"slowed_by", card.slowed_by},
          {"mig", maybe(card.mig)},
          {"slices", slices},
          {"processes", processes},
          {"problem", card.problem}};
}

json to_json(const Gpu& gpu) {
  return {{"name", gpu.name},
          {"aliases", gpu.aliases},
          {"architecture", gpu.architecture},
          {"memory", gpu.memory.count},
          {"usable", gpu.usable.count},
          {"usable_is_seen", gpu.usable_is_seen},
          {"compute_capability", gpu.compute_capability()},
          {"sm_count", gpu.sm_count},
          {"threads_per_sm", gpu.threads_per_sm},
          {"boost_hertz", gpu.boost_hertz},
          {"bandwidth_bytes_per_second", gpu.bandwidth_bytes_per_second},
          {"peak",
           {{"fp32", gpu.peak.fp32},
            {"tf32", gpu.peak.tf32},
            {"fp16", gpu.peak.fp16},
            {"bf16", gpu.peak.bf16},
            {"fp8", gpu.peak.fp8}}},
          {"pcie", {{"generation", gpu.host_link.generation}, {"lanes", gpu.host_link.lanes}}},
          {"context_bytes", gpu.context_bytes.count},
          {"context_source", gpu.context_source},
          {"confidence", gpu.confidence},
          {"source", gpu.source},
          {"note", gpu.note}};
}

}  // namespace

json to_json(const Reading& reading) {
  json gpus = json::array();
  for (const auto& card : reading.cards) gpus.push_back(to_json(card));
  return {{"driver", reading.driver}, {"cuda", reading.cuda}, {"message", reading.message}, {"gpus", gpus}};
}

json to_json(const Table& table) {
  json gpus = json::array();
  for (const auto& gpu : table.gpus()) gpus.push_back(to_json(gpu));
  return {{"gpus", gpus}};
}

}  // namespace athanor::gpu
