#include <gtest/gtest.h>

#include <csignal>
#include <fstream>

#include "athanor/core/AtomicFile.h"
#include "athanor/core/Error.h"
#include "athanor/train/CsvLog.h"
#include "train/Tiny.h"

namespace athanor::train {
namespace {

// Everything that has a memory, at once: dropout's random stream, batch norm, momentum, average, plateau, patience.
struct Parts {
  torch::nn::Sequential net = tiny::net();
  optim::AdamW optimizer{net->parameters(), {.lr = 1e-2}};
  std::optional<optim::Scheduler> plateau;
  amp::GradScaler scaler{{.init_scale = 1024, .growth_interval = 3}};
  std::unique_ptr<Trainer> trainer;

  Parts(const std::filesystem::path& folder, std::int64_t max_steps, const Interrupt* interrupt = nullptr,
        std::vector<Observer> observers = {}) {
    plateau.emplace(optimizer, schedule::ReduceOnPlateauOptions{.factor = 0.5, .patience = 0, .threshold = 0.1});
    TrainerOptions options{.step = {.compute = torch::kBFloat16, .accumulate = 2, .clip_norm = 0.5, .scaler = &scaler},
                           .max_epochs = 4,
                           .max_steps = max_steps,
                           .early_stopping = EarlyStoppingOptions{.patience = 50},
                           .ema_decay = 0.9,
                           .scheduler = &*plateau,
                           .folder = folder};
    options.log_every_steps = 1;
    options.observers = std::move(observers);
    options.interrupt = interrupt;
    trainer = std::make_unique<Trainer>(tiny::model_of(net), cross_entropy(), optimizer, options);
  }
};

TEST(Resume, GivesTheBitsOfTheRunThatNeverStoppedWhereverItStopped) {
  tiny::Scratch straight("straight");
  auto train = tiny::loader(), val = tiny::loader(16, false);
  Parts whole(straight.path, 0);
  const auto expected = whole.trainer->fit(train, &val);
  ASSERT_EQ(expected.steps, 16);
  for (std::int64_t stop = 1; stop < 16; stop += 2) {
    tiny::Scratch broken("broken");
    {
      Parts first(broken.path, stop);
      first.trainer->fit(train, &val);
    }
    Parts second(broken.path, 0);
    torch::rand({100});  // the streams must not matter
    ASSERT_TRUE(second.trainer->resume());
    EXPECT_EQ(second.trainer->step_count(), stop);
    const auto outcome = second.trainer->fit(train, &val);
    EXPECT_EQ(outcome.steps, 16);
    EXPECT_TRUE(tiny::same_bits(*whole.net, *second.net)) << "stopped after step " << stop;
    EXPECT_EQ(outcome.final, expected.final) << stop;
    EXPECT_EQ(outcome.best->value, expected.best->value) << stop;
    EXPECT_EQ(second.plateau->lr(), whole.plateau->lr()) << stop;
    EXPECT_EQ(second.scaler.scale(), whole.scaler.scale()) << stop;
    EXPECT_EQ(core::read_file(straight.path / "best.safetensors"), core::read_file(broken.path / "best.safetensors"));
  }
}

TEST(Resume, ASignalInTheMiddleOfAnEpochOrAValidationWritesACheckpoint) {
  auto train = tiny::loader(), val = tiny::loader(16, false);
  tiny::Scratch straight("straight2");
  Parts whole(straight.path, 0);
  whole.trainer->fit(train, &val);
  for (const int signal : {SIGINT, SIGTERM}) {
    tiny::Scratch broken("signal");
    const bool in_validation = signal == SIGTERM;
    {
      const Interrupt interrupt;
      Parts first(broken.path, 0, &interrupt, {[&](const Event& event) {
                    // The logged step 4 is the last before the epoch's validation.
                    if (event.kind == Event::Kind::step && event.step == (in_validation ? 8 : 6)) std::raise(signal);
                  }});
      const auto outcome = first.trainer->fit(train, &val);
      EXPECT_EQ(outcome.status, Status::interrupted);
      EXPECT_EQ(interrupt.exit_code(), 128 + signal);
    }
    Parts second(broken.path, 0);
    ASSERT_TRUE(second.trainer->resume());
    second.trainer->fit(train, &val);
    EXPECT_TRUE(tiny::same_bits(*whole.net, *second.net));
  }
}

TEST(InterruptDeathTest, ASecondSignalLeavesAtOnce) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        const Interrupt interrupt;
        std::raise(SIGINT);
        std::raise(SIGINT);
      },
      testing::ExitedWithCode(130), "");
}

TEST(Checkpoint, ADamagedOneIsSkippedWithItsNameAndTheOneBeforeIsUsed) {
  tiny::Scratch scratch("damage");
  auto train = tiny::loader();
  Parts parts(scratch.path, 0);
  parts.trainer->fit(train);
  auto places = list_checkpoints(scratch.path / "checkpoints");
  ASSERT_EQ(places.size(), 2U) << "keep_last";
  {  // one flipped bit
    std::fstream file(places[0].path / "model.safetensors", std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(-1, std::ios::end);
    const char byte = static_cast<char>(file.get() ^ 1);
    file.seekp(-1, std::ios::end);
    file.put(byte);
  }
  std::vector<std::string> warnings;
  const auto warn = [&](const std::string& text) { warnings.push_back(text); };
  auto found = newest_good(scratch.path / "checkpoints", warn);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->step, places[1].step);
  ASSERT_EQ(warnings.size(), 1U);
  EXPECT_NE(warnings[0].find(places[0].path.filename().string()), std::string::npos) << warnings[0];
  EXPECT_NE(warnings[0].find("model.safetensors"), std::string::npos) << warnings[0];

  std::filesystem::resize_file(places[1].path / "optimizer.safetensors", 10);  // cut short
  EXPECT_FALSE(newest_good(scratch.path / "checkpoints", warn));
  EXPECT_THROW(read_checkpoint(places[1].path), Error);
  std::filesystem::remove(places[0].path / "MANIFEST.json");
  EXPECT_NE(damage(places[0].path), "");
}

TEST(Checkpoint, KeepsTheNewestAndTheBest) {
  tiny::Scratch scratch("keep");
  CheckpointFolder folder(scratch.path, {.keep_last = 2, .keep_best = 1});
  const auto weights = store::NamedTensors{{"w", torch::ones({3})}};
  for (std::int64_t step = 1; step <= 6; ++step)
    folder.write({.step = step,
                  .files = {{"model.safetensors", weights}},
                  .metric = std::vector<double>{9, 5, 1, 4, 6, 7}[static_cast<std::size_t>(step - 1)]});
  folder.wait();
  std::vector<std::int64_t> steps;
  for (const auto& place : list_checkpoints(scratch.path)) steps.push_back(place.step);
  EXPECT_EQ(steps, (std::vector<std::int64_t>{6, 5, 3}));
}

TEST(Checkpoint, ADiskThatTakesNothingLeavesTheLastGoodOneAsItWas) {
  tiny::Scratch scratch("full");
  const auto weights = store::NamedTensors{{"w", torch::ones({3})}};
  CheckpointFolder folder(scratch.path, {});
  folder.write({.step = 1, .files = {{"model.safetensors", weights}}});
  folder.wait();
  std::ofstream(scratch.path / ".new-00000002") << "a file where the folder should go";
  std::filesystem::permissions(scratch.path / ".new-00000002", std::filesystem::perms::none);
  folder.write({.step = 2, .files = {{"no/such/folder.safetensors", weights}}});
  EXPECT_THROW(folder.wait(), Error);
  const auto found = newest_good(scratch.path, {});
  ASSERT_TRUE(found);
  EXPECT_EQ(found->step, 1);
}

// A large state is not copied: what is written is what was there when the checkpoint was taken, if the loop waits.
TEST(Checkpoint, WritesLiveTensorsWithoutCopyingThem) {
  tiny::Scratch scratch("live");
  CheckpointFolder folder(scratch.path, {.copy_below_bytes = 0});
  auto weight = torch::zeros({1 << 20});
  for (int step = 1; step <= 3; ++step) {
    folder.wait_until_read();
    weight.fill_(step);
    folder.write({.step = step, .files = {{"model.safetensors", {{"w", weight}}}}});
  }
  folder.wait();
  for (const auto& place : list_checkpoints(scratch.path))
    EXPECT_TRUE(read_checkpoint(place.path).files.at("model.safetensors")[0].second.eq(place.step).all().item<bool>());
}

TEST(CsvLog, AResumeDropsWhatTheLostStepsLogged) {
  tiny::Scratch scratch("csv");
  const auto path = scratch.path / "metrics.csv";
  const auto log = [](CsvLog& csv, std::int64_t step) {
    csv({.kind = Event::Kind::step, .step = step, .lr = 0.1, .metrics = {{"train_loss", 1.0 / 3.0}}});
  };
  {
    CsvLog csv(path);
    for (const std::int64_t step : {10, 20, 30}) log(csv, step);
  }
  std::ofstream(path, std::ios::app) << "40,0,tr";
  {
    CsvLog csv(path, 20);
    log(csv, 30);
  }
  const auto text = core::read_file(path);
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1 + 3 * 4);  // loss, lr, items_per_second, elapsed_seconds
  EXPECT_NE(text.find("\n30,0,train,loss,0.3333333333333333\n"), std::string::npos) << text;
  EXPECT_EQ(text.find("40,"), std::string::npos);
}

}  // namespace
}  // namespace athanor::train
