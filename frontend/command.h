// The subcommands of gradc. Each adds itself to the command line and, when it is the one that was typed, runs and leaves
// its exit code: 0 well, 1 diagnostics were printed, 2 the command line itself was wrong.
#pragma once
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace CLI {
class App;
}

namespace gradc {

class Diagnostics;
class Sources;

namespace command {

enum Exit : int { ok = 0, failed = 1, usage = 2 };

void add_build(CLI::App&, int& exit_code);
void add_run(CLI::App&, int& exit_code);
void add_dump(CLI::App&, int& exit_code);
void add_check(CLI::App&, int& exit_code);
void add_opt(CLI::App&, int& exit_code);
void add_fmt(CLI::App&, int& exit_code);
void add_explain(CLI::App&, int& exit_code);
void add_plot(CLI::App&, int& exit_code);
void add_ops(CLI::App&, int& exit_code);

// ---- what they share (command_io.cpp)

/// The whole of a file, or of standard input for "-"; if it cannot be read, a diagnostic with the reason.
std::optional<std::string> read_file(const std::string& path, Diagnostics&);
/// Writes a file whole or not at all (through a temporary file beside it), or standard output for "-" and "".
bool write_file(const std::string& path, std::string_view text, Diagnostics&);
/// Prints diagnostics to standard error, in colour on a terminal, and gives the exit code.
int report(const Diagnostics&);
/// Text broken into lines of at most `width` characters, each starting with `indent` spaces.
std::string wrap(std::string_view text, size_t width, size_t indent);
/// "a,b" -> {"a", "b"}; empty parts vanish.
std::vector<std::string> split_list(std::string_view, char separator = ',');

/// The NAME=VALUE of --set; nothing, after a message, if one is malformed.
std::optional<std::map<std::string, double>> parse_settings(const std::vector<std::string>&);

}  // namespace command
}  // namespace gradc
