#include "athanor/rehearse/Ledger.h"

#include <algorithm>
#include <map>

namespace athanor::rehearse {

std::string_view name(Category category) {
  static constexpr std::array<std::string_view, category_count> names{
      "parameters", "gradients", "optimizer", "activations", "inputs", "temporaries", "workspace"};
  return names[static_cast<std::size_t>(category)];
}

std::string_view name(Phase phase) {
  static constexpr std::array<std::string_view, 5> names{"setup", "forward", "backward", "optimizer", "validation"};
  return names[static_cast<std::size_t>(phase)];
}

std::uint32_t Ledger::peak_event(int device) const {
  std::uint32_t peak = 0;
  std::int64_t highest = -1;
  for (std::uint32_t i = 0; i < events.size(); ++i) {
    if (blocks[events[i].block].device != device || events[i].allocated <= highest) continue;
    highest = events[i].allocated;
    peak = i;
  }
  return peak;
}

std::vector<std::uint32_t> Ledger::alive_at(std::uint32_t event, int device) const {
  std::vector<std::uint32_t> alive;
  for (std::uint32_t i = 0; i < blocks.size(); ++i)
    if (blocks[i].device == device && blocks[i].born <= event && blocks[i].died > event) alive.push_back(i);
  std::sort(alive.begin(), alive.end(), [&](auto a, auto b) { return blocks[a].address < blocks[b].address; });
  return alive;
}

ByCategory Ledger::by_category(std::uint32_t event, int device) const {
  ByCategory bytes{};
  for (const auto i : alive_at(event, device)) bytes[static_cast<std::size_t>(blocks[i].category)] += blocks[i].size;
  return bytes;
}

namespace {

// "layers.3.attention.query" cut to 2 parts: "layers.3".
std::string cut(const std::string& path, int depth) {
  if (depth <= 0) return path;
  std::size_t end = 0;
  for (int part = 0; part < depth; ++part) {
    end = path.find('.', part == 0 ? 0 : end + 1);
    if (end == std::string::npos) return path;
  }
  return path.substr(0, end);
}

std::vector<Share> largest_first(std::map<std::string, Share>&& shares) {
  std::vector<Share> rows;
  for (auto& [key, share] : shares) {
    share.name = key;
    rows.push_back(std::move(share));
  }
  std::stable_sort(rows.begin(), rows.end(), [](const Share& a, const Share& b) { return a.bytes > b.bytes; });
  return rows;
}

void add(Share& share, const Block& block) {
  share.bytes += block.size;
  share.by_category[static_cast<std::size_t>(block.category)] += block.size;
}

}  // namespace

std::vector<Share> Ledger::by_module(std::uint32_t event, int depth, int device) const {
  std::map<std::string, Share> shares;
  for (const auto i : alive_at(event, device)) add(shares[cut(modules[blocks[i].module], depth)], blocks[i]);
  return largest_first(std::move(shares));
}

std::vector<Share> Ledger::by_operator(std::uint32_t event, int device) const {
  std::map<std::string, Share> shares;
  for (const auto i : alive_at(event, device)) add(shares[operators[blocks[i].operator_name]], blocks[i]);
  return largest_first(std::move(shares));
}

void Ledger::categorise(const std::vector<bool>& marked) {
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    auto& block = blocks[i];
    if (i < marked.size() && marked[i]) continue;
    const bool alive = block.died == still_alive;
    const Phase end = alive ? block.phase : events[block.died].phase;
    const bool left_its_step = alive || events[block.died].step != block.step;
    switch (block.phase) {
      case Phase::setup:
        block.category = left_its_step ? Category::parameters : Category::temporaries;
        break;
      case Phase::forward:
        block.category = end != Phase::forward || left_its_step ? Category::activations : Category::temporaries;
        break;
      case Phase::optimizer:
        block.category = left_its_step ? Category::optimizer : Category::temporaries;
        break;
      case Phase::backward:
        block.category = end != Phase::backward || left_its_step ? Category::gradients : Category::temporaries;
        break;
      case Phase::validation:
        block.category = Category::temporaries;
        break;
    }
  }
}

}  // namespace athanor::rehearse
