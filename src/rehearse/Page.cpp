#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "athanor/core/Bytes.h"
#include "athanor/core/Markup.h"
#include "athanor/rehearse/Picture.h"
#include "rehearse/PageTemplate.h"

namespace athanor::rehearse {
namespace {

nlohmann::json data_of(const Forecast& forecast) {
  const auto& ledger = forecast.ledger;
  nlohmann::json blocks = nlohmann::json::array();
  std::vector<int> place(ledger.blocks.size(), -1);
  for (std::size_t i = 0; i < ledger.blocks.size(); ++i) {
    const auto& block = ledger.blocks[i];
    if (block.device != forecast.device) continue;
    place[i] = static_cast<int>(blocks.size());
    blocks.push_back({block.size, static_cast<int>(block.category), block.operator_name, block.module,
                      static_cast<int>(block.phase), block.step});
  }
  nlohmann::json events = nlohmann::json::array();
  nlohmann::json steps = nlohmann::json::array();
  int step = 0;
  std::size_t peak = 0;
  for (std::size_t i = 0; i < ledger.events.size(); ++i) {
    const auto& event = ledger.events[i];
    if (place[event.block] < 0) continue;
    if (i == forecast.peak_event) peak = events.size();
    if (event.step != step && event.step <= forecast.steps) steps.push_back({events.size(), event.step});
    step = event.step;
    // A free is the block's index below zero, counted from -1.
    events.push_back(event.free ? -place[event.block] - 1 : place[event.block]);
  }
  nlohmann::json categories = nlohmann::json::array();
  for (std::size_t i = 0; i < category_count; ++i) categories.push_back(name(static_cast<Category>(i)));
  nlohmann::json phases = nlohmann::json::array();
  for (const auto phase : {Phase::setup, Phase::forward, Phase::backward, Phase::optimizer, Phase::validation})
    phases.push_back(name(phase));
  return {{"blocks", blocks},
          {"events", events},
          {"steps", steps},
          {"peak", peak},
          {"categories", categories},
          {"phases", phases},
          {"operators", ledger.operators},
          {"modules", ledger.modules}};
}

// "</script>" inside a name must not end the script.
std::string inside_script(const nlohmann::json& data) {
  auto text = data.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
  for (std::size_t at = 0; (at = text.find("</", at)) != std::string::npos;) text.replace(at, 2, "<\\/");
  return text;
}

void fill(std::string& page, const std::string& mark, const std::string& with) {
  const auto at = page.find(mark);
  if (at != std::string::npos) page.replace(at, mark.size(), with);
}

}  // namespace

std::string page(const Forecast& forecast, const std::string& title) {
  const auto& peak = forecast.peak;
  std::string html = page_template;
  for (int i = 0; i < 2; ++i) fill(html, "@TITLE@", core::escaped(title));
  fill(html, "@VERDICT@",
       fmt::format("{}: needs {} of {} usable &mdash; {}", core::escaped(forecast.gpu.name),
                   Bytes{peak.process.value}.text(), forecast.gpu.usable.text(), core::escaped(verdict(forecast))));
  fill(html, "@PEAKS@",
       fmt::format("peak requested {}, allocated {}, reserved {}; in step {}, {}, {} {}", sizes(peak.requested),
                   sizes(peak.allocated), sizes(peak.reserved), forecast.peak_step, name(forecast.peak_phase),
                   core::escaped(forecast.peak_operator), core::escaped(forecast.peak_module)));
  std::string notes;
  for (const auto& note : forecast.notes) notes += "<p>" + core::escaped(note) + "</p>";
  fill(html, "@NOTES@", notes);
  fill(html, "@DATA@", inside_script(data_of(forecast)));
  return html;
}

}  // namespace athanor::rehearse
