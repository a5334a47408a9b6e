#include "ir/dot.h"

#include <fmt/format.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <functional>
#include <map>
#include <optional>

#include "ir/check.h"
#include "ir/text.h"

namespace gradc::ir {
namespace {
// In the order of OpKind: map, view, contract, reduce, index, source, gradient, loop.
constexpr std::array<std::string_view, 8> fills = {"#fff6d5", "#eeeeee", "#ffc9b9", "#cfe3ff", "#c5eef0", "#d8f3dc", "#e8d7f7", "#fde2c8"};

std::string escaped(std::string_view text) {
  std::string result;
  for (char c : text) {
    if (c == '&') result += "&amp;";
    else if (c == '<') result += "&lt;";
    else if (c == '>') result += "&gt;";
    else if (c == '"') result += "&quot;";
    else if (static_cast<unsigned char>(c) >= 32) result += c;
  }
  return result;
}

// The number that every element of a value is, if it is a constant or a view or cast of one.
std::optional<std::string> constant_text(const Function& f, Value v) {
  while (is_view(f[v].op) ? f[v].op != Op::pad && f[v].op != Op::windows : f[v].op == Op::cast) v = f[v].operands[0];
  if (f[v].op != Op::constant) return std::nullopt;
  return print_number(f[v].attrs.number(Attr::value));
}

class Drawing {
 public:
  explicit Drawing(const Module* module) : module_(module) {}

  std::string finish(std::string_view title) {
    return fmt::format("digraph \"{}\" {{\n  fontname = \"Helvetica\"; rankdir = TB; nodesep = 0.25; ranksep = 0.35;\n"
                       "  node [fontname = \"Helvetica\", fontsize = 11, shape = box, style = \"rounded,filled\", color = \"#888888\", margin = \"0.1,0.05\"];\n"
                       "  edge [color = \"#666666\", arrowsize = 0.6];\n{}}}\n",
                       quoted(title), text_);
  }

  void open_box(std::string_view title, std::string_view color) {
    text_ += fmt::format("  subgraph cluster{} {{\n    label = \"{}\"; labeljust = l; fontname = \"Helvetica\"; color = \"{}\"; style = rounded;\n", boxes_++, quoted(title), color);
  }
  void close_box() { text_ += "  }\n"; }

  // The nodes of a function and the edges between them; `names[i]` becomes the drawing's name of node i. An input that `outer` gives a
  // name is that node.
  using Outer = std::function<std::optional<std::string>(Value)>;
  std::vector<std::string> function(const Function& f, const Outer& outer = [](Value) { return std::nullopt; }) {
    const std::vector<std::string> labels = ir::labels(f);
    std::vector<bool> drawn = needed(f);
    std::vector<std::string> names(f.size());
    for (uint32_t i = 0; i < f.size(); ++i) {
      if (auto name = f.nodes[i].op == Op::input ? outer(Value{i}) : std::nullopt) {
        names[i] = *name;
      } else if (drawn[i]) {
        names[i] = fmt::format("n{}", nodes_++);
        node(f, Value{i}, labels, names[i]);
      }
    }
    for (uint32_t i = 0; i < f.size(); ++i)
      for (Value operand : f.nodes[i].operands)
        if (!names[i].empty() && !constant_text(f, operand)) edges_ += fmt::format("  {} -> {};\n", names[operand.id], names[i]);
    return names;
  }

  void result(const Result& r, const std::string& from) {
    std::string name = fmt::format("r{}", results_++);
    text_ += fmt::format("  {} [label = \"{}{}\", shape = {}, fillcolor = \"{}\"];\n", name, r.write ? "write @" : "", quoted(r.name), r.write ? "house" : "ellipse", r.write ? "#e8d7f7" : "#ffffff");
    edges_ += fmt::format("  {} -> {}{};\n", from, name, r.write ? " [style = dashed]" : "");
  }

  // Edges come last, so that boxes hold nodes alone.
  void finish_edges() { text_ += edges_, edges_.clear(); }

 private:
  static std::string quoted(std::string_view text) {
    std::string result;
    for (char c : text) {
      if (c == '"' || c == '\\') result += '\\';
      if (static_cast<unsigned char>(c) >= 32) result += c;
    }
    return result;
  }

  // What is drawn: all but constants that stand inside their users.
  static std::vector<bool> needed(const Function& f) {
    std::vector<bool> drawn(f.size());
    for (uint32_t i = 0; i < f.size(); ++i) drawn[i] = !constant_text(f, Value{i});
    for (const Result& r : f.results) drawn[r.value.id] = true;
    return drawn;
  }

  void node(const Function& f, Value v, const std::vector<std::string>& labels, const std::string& name) {
    const Node& node = f[v];
    std::string expression, operands;
    if (node.op == Op::input || node.op == Op::variable) {
      expression = node.attrs.text(Attr::name);
    } else {
      for (Value operand : node.operands) operands += (operands.empty() ? "" : ", ") + constant_text(f, operand).value_or(labels[operand.id]);
      std::string attributes = print_attributes(node);
      constexpr size_t longest = 60;
      if (attributes.size() > longest) attributes = attributes.substr(0, longest) + "...";
      expression = fmt::format("{}{}{}", info(node.op).name, operands.empty() ? "" : "(" + operands + ")", attributes.empty() ? "" : " {" + attributes + "}");
    }
    std::string type = fmt::format("{}{}", is_source(node.op) && node.op != Op::random ? "" : labels[v.id] + " : ", to_string(node.type));
    std::string place = module_ && node.loc.known() ? fmt::format("<br/><font point-size=\"9\" color=\"#777777\">{}</font>", escaped(module_->describe(node.loc))) : "";
    std::string_view fill = node.op == Op::variable ? "#e8d7f7" : fills[static_cast<size_t>(info(node.op).kind)];
    text_ += fmt::format("    {} [label = <<b>{}</b><br/>{}{}>, fillcolor = \"{}\"];\n", name, escaped(expression), escaped(type), place, fill);
  }

  const Module* module_;
  std::string text_, edges_;
  int nodes_ = 0, results_ = 0, boxes_ = 0;
};

void draw(Drawing& drawing, const Function& f) {
  std::vector<std::string> names = drawing.function(f);
  for (const Result& r : f.results) drawing.result(r, names[r.value.id]);
}
}  // namespace

std::string dot(const Function& f, const Module* module) {
  Drawing drawing(module);
  draw(drawing, f);
  drawing.finish_edges();
  return drawing.finish(f.name);
}

std::string dot(const Module& module) {
  Drawing drawing(&module);
  for (const Function& f : module.functions) {
    drawing.open_box(f.name, "#bbbbbb");
    draw(drawing, f);
    drawing.close_box();
  }
  drawing.finish_edges();
  return drawing.finish(module.name);
}

std::string dot(const Function& f, std::span<const KernelCall> calls, const Module* module) {
  Drawing drawing(module);
  std::map<Value, std::string> computed;
  // What no kernel computes: arguments that are sources of the function.
  Function sources = f;
  std::vector<bool> wanted(f.size());
  for (const KernelCall& call : calls)
    for (Value v : call.arguments) wanted[v.id] = true;
  for (const Result& r : f.results) wanted[r.value.id] = true;
  for (const KernelCall& call : calls)
    for (Value v : call.results) wanted[v.id] = false;
  Function outside;
  for (uint32_t i = 0; i < f.size(); ++i) {
    if (!wanted[i] || !f.nodes[i].operands.empty()) continue;
    outside.results.push_back({fmt::format("{}", i), outside.append(f.nodes[i])});
  }
  std::vector<std::string> names = drawing.function(outside);
  for (const Result& r : outside.results) computed[Value{static_cast<uint32_t>(std::stoul(r.name))}] = names[r.value.id];

  for (const KernelCall& call : calls) {
    drawing.open_box(describe(call.kernel), "#5588cc");
    const Function& body = call.kernel.body;
    std::map<Value, Value> arguments;   // of body inputs, in their order
    size_t next = 0;
    for (uint32_t i = 0; i < body.size(); ++i)
      if (body.nodes[i].op == Op::input && next < call.arguments.size()) arguments[Value{i}] = call.arguments[next++];
    std::vector<std::string> inside = drawing.function(body, [&](Value input) -> std::optional<std::string> {
      auto at = computed.find(arguments[input]);
      return at == computed.end() ? std::nullopt : std::optional(at->second);
    });
    for (size_t i = 0; i < call.results.size(); ++i) computed[call.results[i]] = inside[body.results[i].value.id];
    drawing.close_box();
  }
  for (const Result& r : f.results)
    if (computed.contains(r.value)) drawing.result(r, computed[r.value]);
  drawing.finish_edges();
  return drawing.finish(f.name);
}

Svg svg(const std::string& dot_text) {
  // dot reads the graph from a file and writes the drawing to a pipe: with two pipes each side could wait for the other.
  char path[] = "/tmp/gradc-dot-XXXXXX";
  int file = mkstemp(path);
  if (file < 0) return {"", "cannot write a temporary file for `dot`"};
  bool written = write(file, dot_text.data(), dot_text.size()) == static_cast<ssize_t>(dot_text.size());
  close(file);
  Svg result;
  FILE* pipe = written ? popen(fmt::format("dot -Tsvg {} 2>/dev/null", path).c_str(), "r") : nullptr;
  if (pipe) {
    char buffer[65536];
    while (size_t count = fread(buffer, 1, sizeof buffer, pipe)) result.text.append(buffer, count);
    int status = pclose(pipe);
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    constexpr int no_such_command = 127;
    if (code == no_such_command) result = {"", "drawing SVG needs Graphviz: install the package graphviz, or ask for the format dot"};
    else if (code != 0) result = {"", fmt::format("`dot` failed with status {}", code)};
  } else {
    result.error = "cannot run `dot`";
  }
  unlink(path);
  return result;
}
}  // namespace gradc::ir
