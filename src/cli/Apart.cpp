#include "cli/Apart.h"

#include <ATen/Parallel.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <stdexcept>
#include <utility>

#include "athanor/core/Error.h"

namespace athanor::cli {
namespace {

using nlohmann::json;

json answer_of(const std::function<json()>& work) {
  try {
    return {{"answer", work()}};
  } catch (const std::invalid_argument& mistake) {
    return {{"mistake", mistake.what()}};
  } catch (const std::exception& error) {
    return {{"error", error.what()}};
  }
}

// Never returns: what follows in the parent (destructors, buffers of streams) is the parent's.
[[noreturn]] void work_and_exit(int answers, const std::function<json()>& work) {
  at::set_num_threads(1);  // the parent's pool of threads did not come along
  const auto text = answer_of(work).dump(-1, ' ', false, json::error_handler_t::replace);
  for (std::size_t written = 0; written < text.size();) {
    const auto count = write(answers, text.data() + written, text.size() - written);
    if (count < 0 && errno != EINTR) _exit(1);
    if (count > 0) written += static_cast<std::size_t>(count);
  }
  _exit(0);
}

std::string read_all(int file) {
  std::string text;
  char buffer[4096];
  for (;;) {
    const auto count = read(file, buffer, sizeof buffer);
    if (count > 0) text.append(buffer, static_cast<std::size_t>(count));
    if (count == 0 || (count < 0 && errno != EINTR)) return text;
  }
}

}  // namespace

Apart::Apart(std::string name, const std::function<json()>& work) : name_(std::move(name)) {
  int ends[2];
  if (pipe(ends) != 0) throw Error(name_ + ": no pipe for a process of its own");
  child_ = fork();
  if (child_ == 0) {
    close(ends[0]);
    work_and_exit(ends[1], work);
  }
  close(ends[1]);
  answer_ = ends[0];
  if (child_ < 0) {
    end();
    throw Error(name_ + ": no process of its own");
  }
}

Apart::~Apart() {
  if (child_ > 0) kill(child_, SIGKILL);
  end();
}

void Apart::end() noexcept {
  if (answer_ >= 0) close(std::exchange(answer_, -1));
  if (child_ <= 0) return;
  while (waitpid(child_, nullptr, 0) < 0 && errno == EINTR) {
  }
  child_ = -1;
}

// An answer longer than the pipe is ready when it has begun: the rest follows as it is read.
bool Apart::ready() const {
  pollfd answer{.fd = answer_, .events = POLLIN, .revents = 0};
  return poll(&answer, 1, 0) > 0;
}

json Apart::wait() {
  if (answer_ < 0) throw std::logic_error("cli::Apart: the answer was taken already");
  const auto answer = json::parse(read_all(answer_), nullptr, /*allow_exceptions=*/false);
  end();
  if (!answer.is_object()) throw Error(name_ + ": its process ended without an answer");
  if (answer.contains("mistake")) throw std::invalid_argument(answer["mistake"].get<std::string>());
  if (answer.contains("error")) throw Error(answer["error"].get<std::string>());
  return answer.at("answer");
}

}  // namespace athanor::cli
