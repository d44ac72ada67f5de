#include "rehearse/LineProcess.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "athanor/core/Error.h"

namespace athanor::rehearse {
namespace {

constexpr std::size_t longest_line = 1 << 20;

// Returns 0 or the error number.
int spawn(std::vector<std::string>& command, int socket, pid_t& child) {
  std::vector<char*> arguments;
  for (auto& argument : command) arguments.push_back(argument.data());
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, socket, STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, socket, STDOUT_FILENO);
  posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
  const int failure = posix_spawnp(&child, arguments.front(), &actions, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  return failure;
}

}  // namespace

LineProcess::LineProcess(std::string name, std::vector<std::string> command) : name_(std::move(name)) {
  std::array<int, 2> ends{};
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0)
    throw Error(fmt::format("{}: no way to speak with a process of its own: {}", name_, std::strerror(errno)));
  socket_ = ends[0];
  const int failure = spawn(command, ends[1], child_);
  close(ends[1]);
  if (failure == 0) return;
  close(socket_);
  throw Error(fmt::format("{}: {} does not start ({}): put its folder on PATH", name_, command.front(),
                          std::strerror(failure)));
}

LineProcess::~LineProcess() {
  close(socket_);
  kill(child_, SIGKILL);
  while (waitpid(child_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

void LineProcess::send(const std::string& line) {
  const auto text = line + '\n';
  for (std::size_t sent = 0; sent < text.size();) {
    const auto count = ::send(socket_, text.data() + sent, text.size() - sent, MSG_NOSIGNAL);
    if (count < 0 && errno != EINTR) throw Error(name_ + ": its process has ended");
    if (count > 0) sent += static_cast<std::size_t>(count);
  }
}

std::string LineProcess::receive(std::chrono::milliseconds limit) {
  using Clock = std::chrono::steady_clock;
  const auto until = Clock::now() + limit;
  for (;;) {
    if (const auto end = received_.find('\n'); end != std::string::npos) {
      auto line = received_.substr(0, end);
      received_.erase(0, end + 1);
      return line;
    }
    if (received_.size() > longest_line) throw Error(name_ + ": its answer has no end");
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - Clock::now()).count();
    pollfd answer{.fd = socket_, .events = POLLIN, .revents = 0};
    const int ready = left > 0 ? poll(&answer, 1, static_cast<int>(left)) : 0;
    if (ready == 0)
      throw Error(fmt::format("{}: no answer within {:g} s", name_, std::chrono::duration<double>(limit).count()));
    std::array<char, 4096> buffer{};
    const auto count = ready > 0 ? read(socket_, buffer.data(), buffer.size()) : -1;
    if (count == 0) throw Error(name_ + ": its process ended without an answer");
    if (count < 0 && errno != EINTR) throw Error(name_ + ": " + std::strerror(errno));
    if (count > 0) received_.append(buffer.data(), static_cast<std::size_t>(count));
  }
}

}  // namespace athanor::rehearse
