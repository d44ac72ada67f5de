#include "athanor/core/Config.h"

#include <gtest/gtest.h>

#include <functional>
#include <stdexcept>

namespace athanor::core {
namespace {

constexpr const char* kText = R"([train]
max_epochs = 20
clip_norm = 1
deterministic = false
[schedule]
kind = "sequential"
milestones = [500, 700]
[[schedule.parts]]
kind = "linear_warmup"
steps = 500
[[schedule.parts]]
kind = "step"
)";

std::string message_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "nothing was thrown";
}

void ask_all(const Config& config) {
  const Config train = config.table("train");
  static_cast<void>(train.integer("max_epochs", 10));
  static_cast<void>(train.number("clip_norm", 0.0));
  static_cast<void>(train.boolean("deterministic", true));
  static_cast<void>(train.number("ema_decay", 0.0));
  const Config schedule = config.table("schedule");
  static_cast<void>(schedule.text("kind", "constant"));
  static_cast<void>(schedule.integers("milestones", {}));
  for (const auto& part : schedule.tables("parts")) {
    static_cast<void>(part.text("kind", "constant"));
    static_cast<void>(part.integer("steps", 100));
  }
}

TEST(Config, GivesWhatIsWrittenAndTheDefaultOtherwise) {
  const Config config = Config::from_text(kText, "x.toml");
  EXPECT_EQ(config.table("train").integer("max_epochs", 1), 20);
  EXPECT_EQ(config.table("train").number("clip_norm", 0.0), 1.0);
  EXPECT_EQ(config.table("train").number("ema_decay", 0.25), 0.25);
  EXPECT_EQ(config.table("absent").integer("key", 7), 7);
  EXPECT_EQ(config.table("schedule").integers("milestones", {}), (std::vector<std::int64_t>{500, 700}));
  ASSERT_EQ(config.table("schedule").tables("parts").size(), 2U);
  EXPECT_EQ(config.table("schedule").tables("parts")[0].integer("steps", 0), 500);
  EXPECT_FALSE(config.table("train").optional_integer("max_steps").has_value());
}

TEST(Config, AWrongTypeNamesFileLineKeyAndBothTypes) {
  const Config config = Config::from_text(kText, "x.toml");
  EXPECT_EQ(message_of([&] { static_cast<void>(config.table("schedule").integer("kind", 0)); }),
            "x.toml:6: schedule.kind must be an integer, got 'sequential'");
}

TEST(Config, OverridesWinAndAreNamedInErrors) {
  const std::vector<std::string> overrides{"optimizer.lr=3e-4", "optimizer.kind=adamw", "schedule.parts.0.steps=9",
                                           "train.max_epochs=ten"};
  const Config config = Config::from_text(kText, "x.toml", overrides);
  EXPECT_EQ(config.table("optimizer").number("lr", 0.0), 3e-4);
  EXPECT_EQ(config.table("optimizer").text("kind", ""), "adamw");
  EXPECT_EQ(config.table("schedule").tables("parts")[0].integer("steps", 0), 9);
  EXPECT_EQ(message_of([&] { static_cast<void>(config.table("train").integer("max_epochs", 0)); }),
            "--set train.max_epochs: must be an integer, got 'ten'");
  EXPECT_THROW(Config::from_text(kText, "x.toml", std::vector<std::string>{"schedule.parts.2.steps=9"}),
               std::invalid_argument);
  EXPECT_THROW(Config::from_text(kText, "x.toml", std::vector<std::string>{"no-equals"}), std::invalid_argument);
}

TEST(Config, AnUnknownKeyNamesTheNearestKnownOne) {
  const Config config = Config::from_text("[train]\nmax_epoch = 3\n", "x.toml");
  ask_all(config);
  EXPECT_EQ(message_of([&] { config.reject_unknown(); }),
            "x.toml:2: train.max_epoch is not a known key (did you mean 'max_epochs'?)");
}

TEST(Config, UnknownKeysAreFoundInElementsOfArrays) {
  const Config config = Config::from_text("[[schedule.parts]]\nkind = 'step'\nstps = 3\n", "x.toml");
  ask_all(config);
  EXPECT_EQ(message_of([&] { config.reject_unknown(); }),
            "x.toml:3: schedule.parts.0.stps is not a known key (did you mean 'steps'?)");
}

TEST(Config, ResolvedParsesBackToTheSameAndNamesSources) {
  const std::vector<std::string> overrides{"train.clip_norm=0.1"};
  const Config config = Config::from_text(kText, "x.toml", overrides);
  ask_all(config);
  EXPECT_NO_THROW(config.reject_unknown());
  const std::string text = config.resolved();
  EXPECT_NE(text.find("clip_norm = 0.1  # --set"), std::string::npos) << text;
  EXPECT_NE(text.find("ema_decay = 0.0  # default"), std::string::npos) << text;
  const Config again = Config::from_text(text, "resolved");
  ask_all(again);
  EXPECT_NO_THROW(again.reject_unknown());
  EXPECT_EQ(again.table("schedule").tables("parts")[1].text("kind", ""), "step");
  EXPECT_EQ(again.table("train").number("clip_norm", 0.0), 0.1);
}

TEST(Config, ASyntaxErrorNamesTheLine) {
  EXPECT_NE(message_of([] { Config::from_text("[a]\nb = \n", "x.toml"); }).find("x.toml:2:"), std::string::npos);
}

}  // namespace
}  // namespace athanor::core
