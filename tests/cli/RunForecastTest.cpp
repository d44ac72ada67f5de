// What train expects of its card's memory, and the process of its own in which it is rehearsed.
#include "cli/RunForecast.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "Harness.h"
#include "athanor/core/Error.h"
#include "cli/Apart.h"
#include "cli/MemoryLog.h"

namespace athanor::cli {
namespace {

using harness::Desk;
using harness::run;
using nlohmann::json;

TEST(Apart, AnswersFromAnotherProcess) {
  Apart elsewhere("test", [] { return json{{"pid", ::getpid()}, {"much", std::string(1 << 20, 'x')}}; });
  const json answer = elsewhere.wait();
  EXPECT_NE(answer.at("pid"), ::getpid());
  EXPECT_EQ(answer.at("much").get<std::string>().size(), std::size_t{1} << 20);
}

TEST(Apart, WhatTheWorkThrowsComesThrough) {
  const auto message_of = [](auto wait) {
    try {
      wait();
    } catch (const std::invalid_argument& mistake) {
      return std::string("mistake: ") + mistake.what();
    } catch (const Error& error) {
      return std::string("error: ") + error.what();
    }
    return std::string();
  };
  EXPECT_EQ(message_of([] { Apart("a", []() -> json { throw std::invalid_argument("no such card"); }).wait(); }),
            "mistake: no such card");
  EXPECT_EQ(message_of([] { Apart("a", []() -> json { throw std::runtime_error("broke"); }).wait(); }), "error: broke");
  EXPECT_EQ(message_of([] { Apart("work", []() -> json { std::_Exit(3); }).wait(); }),
            "error: work: its process ended without an answer");
}

TEST(Apart, NobodyWaitingEndsTheWork) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  {
    const Apart unwanted("test", [&] {
      close(ends[0]);
      for (;;) sleep(60);
      return json();
    });
    close(ends[1]);
  }
  char nothing = 0;
  EXPECT_EQ(read(ends[0], &nothing, 1), 0) << "its end of the pipe closed with it";
  close(ends[0]);
}

// A driver that knows one card, an A100 SXM4 80GB, as its second.
const std::string driver = std::string(ATHANOR_STANDINS) + "/libcuda_standin.so";

// Autograd's threads do not come along into a copy of a process that used it, so these tests begin in a process of
// their own, as a training does.
template <class Body>
void afresh(Body body) {
  ::testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_EXIT(
      {
        body();
        std::exit(testing::Test::HasFailure() ? 1 : 0);
      },
      testing::ExitedWithCode(0), "");
}

struct Trained : Desk {
  Trained() : Desk("run-forecast") {}
  [[nodiscard]] std::optional<MemoryForecast> forecast(const std::vector<std::string>& overrides,
                                                       const std::string& library = driver) const {
    return RunForecast(path("tiny.toml"), overrides, models, library).wait();
  }
  models::Registry models = models::Registry::builtin();
};

TEST(RunForecast, IsTheRehearsalOfTheCardThatTheDriverNames) {
  afresh([] {
    const Trained desk;
    const auto forecast = desk.forecast({"run.device=\"cuda:1\""});
    ASSERT_TRUE(forecast);
    EXPECT_EQ(forecast->gpu, "A100 SXM4 80GB");
    const auto rehearsed = run({"rehearse", desk.path("tiny.toml"), "--gpu", "A100 SXM4 80GB", "--json"});
    ASSERT_EQ(rehearsed.code, 0) << rehearsed.err;
    const json peak = json::parse(rehearsed.out).at("peak");
    EXPECT_EQ(forecast->reserved.count, peak.at("reserved"));
    EXPECT_EQ(forecast->process.count, peak.at("process"));
    EXPECT_GT(forecast->process, forecast->reserved) << "the context counts";
  });
}

TEST(RunForecast, ThereIsNoneWithoutACard) {
  const Trained desk;
  EXPECT_FALSE(desk.forecast({"run.device=\"cpu\""}));
  EXPECT_FALSE(desk.forecast({}, "/nowhere/libcuda.so.1"));
  EXPECT_FALSE(desk.forecast({"run.device=\"cuda:7\""}));
}

TEST(RunForecast, ACardThatIsNotInTheTableIsNamedAndMemoryGpuStandsIn) {
  afresh([] {
    const Trained desk;
    EXPECT_THROW(desk.forecast({}), std::invalid_argument);  // the driver's first card is one of a kind
    const auto forecast = desk.forecast({"memory.gpu=\"RTX 4090\""});
    ASSERT_TRUE(forecast);
    EXPECT_EQ(forecast->gpu, "GeForce RTX 4090");
  });
}

// A card's memory as the allocator and the driver would tell it: the context and what is reserved.
gpu::MemoryWatch card(const std::int64_t& reserved, bool driver_tells) {
  return gpu::MemoryWatch(
      [&reserved] {
        return gpu::MemoryWatch::Allocator{Bytes{reserved / 2}, Bytes{reserved}};
      },
      [&reserved, driver_tells]() -> std::optional<Bytes> {
        if (!driver_tells) return std::nullopt;
        return Bytes{reserved + (512 << 20)};
      });
}

// One training on the stand-in's second card: two logged steps, and the end.
struct Lived {
  std::vector<std::string> said;
  double forecast = 0;
  json facts;
  std::string verdict;
};
Lived live(const Trained& desk, double reserved_of_forecast, bool driver_tells) {
  const auto expected = desk.forecast({"run.device=\"cuda:1\""});
  auto reserved = static_cast<std::int64_t>(reserved_of_forecast * static_cast<double>(expected->reserved.count));
  auto rehearsal = std::make_unique<RunForecast>(
      desk.path("tiny.toml"), std::vector<std::string>{"run.device=\"cuda:1\""}, desk.models, driver);
  const RunForecast& pending = *rehearsal;
  Lived lived;
  MemoryLog log(card(reserved, driver_tells), Bytes{}, std::move(rehearsal),
                [&](const std::string& text) { lived.said.push_back(text); });
  train::Event event;
  while (!pending.ready()) usleep(1000);
  EXPECT_TRUE(log.add_to(event));
  EXPECT_EQ(event.metrics.at("train_memory_reserved"), static_cast<double>(reserved));
  lived.forecast = event.metrics.at("train_memory_forecast");
  EXPECT_FALSE(log.add_to(event)) << "it came in once";
  log.finish();
  lived.facts = log.facts();
  lived.verdict = log.verdict();
  return lived;
}

TEST(MemoryLog, HoldsTheForecastAgainstWhatTheAllocatorReserved) {
  afresh([] {
    const Trained desk;
    const Lived right = live(desk, 1.04, /*driver_tells=*/false);
    ASSERT_EQ(right.said.size(), 1u);
    EXPECT_NE(right.said[0].find("expected on A100 SXM4 80GB"), std::string::npos) << right.said[0];
    EXPECT_EQ(right.facts.at("forecast"), right.forecast);
    EXPECT_EQ(right.facts.at("forecast"), right.facts.at("rehearsed").at("reserved"));
    EXPECT_EQ(right.verdict, "") << "4 % is not worth a word";
    const Lived wrong = live(desk, 1.07, /*driver_tells=*/false);
    EXPECT_NE(wrong.verdict.find("7 % more"), std::string::npos) << wrong.verdict;
  });
}

TEST(MemoryLog, WhereTheDriverTellsTheContextCounts) {
  afresh([] {
    const Trained desk;
    const Lived lived = live(desk, 1.0, /*driver_tells=*/true);
    EXPECT_EQ(lived.facts.at("forecast"), lived.facts.at("rehearsed").at("process"));
  });
}

TEST(MemoryLog, AForecastThatComesLateIsWaitedForAtTheEndAlone) {
  const Trained desk;
  std::vector<std::string> said;
  const std::int64_t reserved = 1;
  MemoryLog log(card(reserved, false), Bytes{},
                std::make_unique<RunForecast>(desk.path("tiny.toml"), std::vector<std::string>{}, desk.models, driver),
                [&](const std::string& text) { said.push_back(text); });
  log.finish();
  ASSERT_EQ(said.size(), 1u) << "the stand-in's first card is in no table";
  EXPECT_NE(said[0].find("no forecast: "), std::string::npos) << said[0];
  EXPECT_NE(said[0].find("One Of A Kind"), std::string::npos) << said[0];
  EXPECT_FALSE(log.facts().contains("forecast"));
  EXPECT_EQ(log.verdict(), "");
}

}  // namespace
}  // namespace athanor::cli
