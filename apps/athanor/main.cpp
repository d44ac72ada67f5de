#include "athanor/cli/App.h"

int main(int argc, char** argv) {
  return athanor::cli::App("athanor").run(argc, argv);
}
