// The whole command line for a model of one's own: my_net train | rehearse | plan | …
//
//     example_03_own_model train CONFIG        where CONFIG says  [model] kind = "my_net"  width = 64
//
// Without arguments it writes such a configuration and trains it for a moment.
#include <athanor/cli/App.h>
#include <torch/torch.h>

#include <filesystem>
#include <fstream>
#include <string>

struct MyNetImpl : torch::nn::Module {
  explicit MyNetImpl(std::int64_t width)
      : first(register_module("first", torch::nn::Linear(784, width))),
        last(register_module("last", torch::nn::Linear(width, 10))) {}
  torch::Tensor forward(torch::Tensor x) { return last(torch::gelu(first(x.flatten(1)))); }
  torch::nn::Linear first, last;
};
TORCH_MODULE(MyNet);

int main(int argc, char** argv) {
  athanor::cli::App app("my_net");
  app.add_model("my_net", [](const athanor::core::Config& config) { return MyNet(config.integer("width", 64)); });
  if (argc > 1) return app.run(argc, argv);

  const auto folder = std::filesystem::temp_directory_path() / "athanor-example-03";
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  const std::string config = (folder / "my_net.toml").string(), out = (folder / "run").string();
  std::ofstream(config)
      << "[data]\nkind = \"idx-images\"\n[model]\nkind = \"my_net\"\nwidth = 32\n[train]\nmax_steps = 200\n";
  const char* arguments[] = {"my_net", "train", config.c_str(), "--out", out.c_str()};
  const int code = app.run(5, arguments);
  std::filesystem::remove_all(folder);
  return code;
}
