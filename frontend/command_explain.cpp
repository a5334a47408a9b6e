// gradc explain CODE: the longer text of a diagnostic. gradc ops: the table of operations. Both only print tables that
// the .def files hold.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cctype>

#include "frontend/command.h"
#include "ir/diagnostics.h"
#include "ir/ops.h"

namespace gradc::command {
namespace {

std::string_view severity_name(Severity severity) { return severity == Severity::error ? "error" : "warning"; }

int explain(std::string code) {
  if (code.empty()) {
    for (DiagnosticId id : all_diagnostics()) fmt::print("{}  {:<7}  {}\n", info(id).code, severity_name(info(id).severity), info(id).title);
    fmt::print("\n`gradc explain CODE` says more about one of them.\n");
    return Exit::ok;
  }
  std::string upper = code;
  std::transform(upper.begin(), upper.end(), upper.begin(), [](unsigned char c) { return std::toupper(c); });
  std::vector<std::string> codes;
  for (DiagnosticId id : all_diagnostics()) {
    const DiagnosticInfo& row = info(id);
    if (row.code == upper || row.name == code) {
      fmt::print("{} {}: {}\n\n{}", severity_name(row.severity), row.code, row.title, wrap(row.explanation, 100, 0));
      return Exit::ok;
    }
    codes.emplace_back(row.code);
  }
  std::string other = nearest(upper, codes);
  fmt::print(stderr, "gradc explain: there is no diagnostic `{}`{}\n", code,
             other.empty() ? "; `gradc explain` lists all" : fmt::format("; did you mean `{}`?", other));
  return Exit::usage;
}

int print_ops(bool markdown) {
  if (markdown) {
    fmt::print("{}", ir::operations_table());
    return Exit::ok;
  }
  for (ir::Op op : ir::all_ops()) {
    const ir::OpInfo& row = info(op);
    std::string attributes;
    for (ir::Attr attribute : row.attributes) attributes += fmt::format("{}{}", attributes.empty() ? "" : ", ", attr_name(attribute));
    fmt::print("{:<14} {:<9} {}  {}\n", row.name, kind_name(row.kind), row.operands, attributes.empty() ? row.doc : fmt::format("[{}] {}", attributes, row.doc));
  }
  return Exit::ok;
}

}  // namespace

void add_explain(CLI::App& app, int& exit_code) {
  auto code = std::make_shared<std::string>();
  CLI::App* command = app.add_subcommand("explain", "say more about a diagnostic, e.g. `gradc explain E0203`; without a code, list all");
  command->add_option("code", *code, "the code that the message shows");
  command->callback([code, &exit_code] { exit_code = explain(*code); });
}

void add_ops(CLI::App& app, int& exit_code) {
  auto markdown = std::make_shared<bool>(false);
  CLI::App* command = app.add_subcommand("ops", "list the operations of the graph");
  command->add_flag("--markdown", *markdown, "as a table for a document");
  command->callback([markdown, &exit_code] { exit_code = print_ops(*markdown); });
}

}  // namespace gradc::command
