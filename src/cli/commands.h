#pragma once

namespace CLI {
class App;
}

namespace athanor::cli {

struct Context;

// One line and one file a subcommand: each adds itself to the command line and runs from its callback.
void add_train(CLI::App& root, Context& context);
void add_rehearse(CLI::App& app, Context& context);
void add_schedule(CLI::App& root, Context& context);
void add_find_lr(CLI::App& root, Context& context);
void add_gpus(CLI::App& root, Context& context);
void add_report(CLI::App& root, Context& context);
void add_inspect(CLI::App& root, Context& context);
void add_replay(CLI::App& root, Context& context);
void add_plan(CLI::App& root, Context& context);

}  // namespace athanor::cli
