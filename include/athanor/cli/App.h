#pragma once
#include <iosfwd>
#include <memory>
#include <string>

#include "athanor/models/Registry.h"

namespace athanor::cli {

struct Context;

/// The whole command line, usable from a user's own main(): every subcommand works on the models it is given.
///
///     athanor::cli::App app("my_net");
///     app.add_model("my_net", [](const athanor::core::Config& config) { return MyNet(config.integer("width", 64)); });
///     return app.run(argc, argv);
class App {
 public:
  explicit App(std::string name = "athanor");
  ~App();
  App(const App&) = delete;
  App& operator=(const App&) = delete;

  /// A model that configurations can name in model.kind; replaces a built-in one of that name. The factory is given the
  /// [model] table and returns any module holder, or shared_ptr to a module, with forward(Tensor).
  void add_model(std::string name, models::Factory factory);

  /// Runs one command line. Results go to standard output, messages to standard error. Returns the exit code:
  /// 0 done, 1 the run failed, 2 the caller's mistake, 3 does not fit the budget, 130/143 interrupted. For `train` and
  /// `find-lr` the program begins anew once, with the same arguments (docs/design/waiting.md): call it first in main().
  int run(int argc, const char* const* argv);
  /// The same with streams of one's own (tests).
  int run(int argc, const char* const* argv, std::ostream& out, std::ostream& err);

 private:
  std::unique_ptr<Context> context_;
};

}  // namespace athanor::cli
