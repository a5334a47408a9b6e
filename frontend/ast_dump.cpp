// Prints the syntax tree (see ast_dump.h). Expressions are S-expressions: (call relu x), (+ a b), (|> x relu).
#include "frontend/ast_dump.h"

#include <fmt/format.h>

namespace gradc {
namespace {

using namespace ast;

std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    if (c == '\n') out += "\\n";
    else if (c == '\t') out += "\\t";
    else out += c;
  }
  return out + "\"";
}

constexpr std::string_view kind_words[] = {"fn", "layer", "model", "optimizer", "schedule", "export", "let"};
constexpr std::string_view source_words[] = {"idx", "csv", "npy", "cifar10", "images", "text", "table", "generate", "part", "share"};

class Dumper {
 public:
  std::string out;

  void file(const File& f) {
    for (const Item& item : f.items) std::visit([&](const auto& node) { this->item(node); }, item.node);
  }

  // ---- expressions

  static std::string show(const Expr& e) {
    return std::visit([](const auto& node) { return show_node(node); }, e.node);
  }
  static std::string show(const ExprPtr& e) { return e ? show(*e) : "_"; }

 private:
  static std::string list(std::string_view head, const std::vector<ExprPtr>& items) {
    std::string s = fmt::format("({}", head);
    for (const ExprPtr& e : items) s += " " + show(e);
    return s + ")";
  }

  static std::string show_node(const Invalid&) { return "<invalid>"; }
  static std::string show_node(const Number& n) { return n.integer ? fmt::format("{}", n.value) : fmt::format("{:#}", n.value); }
  static std::string show_node(const Text& n) { return quoted(n.value); }
  static std::string show_node(const Bool& n) { return n.value ? "true" : "false"; }
  static std::string show_node(const Name& n) { return n.text; }
  static std::string show_node(const List& n) { return list("list", n.items); }
  static std::string show_node(const Tuple& n) { return list("tuple", n.items); }
  static std::string show_node(const Pipe& n) { return fmt::format("(|> {} {})", show(n.value), show(n.stage)); }
  static std::string show_node(const Pinned& n) { return fmt::format("(as {} {})", n.name.text, show(n.value)); }
  static std::string show_node(const Member& n) { return fmt::format("(. {} {})", show(n.object), n.name.text); }
  static std::string show_node(const Substitute& n) { return fmt::format("(substitute {} {})", show(n.model), show(n.parameters)); }
  static std::string show_node(const Unary& n) { return fmt::format("({} {})", symbol(n.op), show(n.operand)); }
  static std::string show_node(const Binary& n) { return fmt::format("({} {} {})", symbol(n.op), show(n.left), show(n.right)); }
  static std::string show_node(const Range& n) { return fmt::format("(.. {} {})", show(n.begin), show(n.end)); }

  static std::string show_node(const Call& n) {
    std::string s = "(call " + show(n.callee);
    for (const Argument& a : n.arguments) {
      s += " ";
      if (a.name) s += a.name->text + ": ";
      s += show(a.value);
      for (const Override& o : a.overrides) s += fmt::format(" {{{}: {}}}", o.pattern, show(o.value));
    }
    return s + ")";
  }

  static std::string show_node(const Index& n) {
    std::string s = "(index " + show(n.object);
    for (const Subscript& i : n.subscripts)
      s += i.range ? fmt::format(" (: {} {} {})", show(i.begin), show(i.end), show(i.stride)) : " " + show(i.index);
    return s + ")";
  }

  static std::string show_node(const If& n) {
    return fmt::format("(if {} {}{})", show(n.condition), show(n.then), n.otherwise ? " " + show(*n.otherwise) : "");
  }

  /// Blocks inside of expressions stand on the same line.
  static std::string show(const Block& block) {
    Dumper inner;
    for (const StmtPtr& s : block.statements) std::visit([&](const auto& node) { inner.statement(node); }, s->node);
    std::string text;
    for (char c : inner.out) {
      if (c == '\n') text += "; ";
      else if (c != ' ' || (!text.empty() && text.back() != ' ')) text += c;
    }
    if (text.ends_with("; ")) text.resize(text.size() - 2);
    return "{" + text + "}";
  }

  static std::string show(const TypeExpr& type) {
    std::string s = type.element.text;
    if (!type.has_shape) return s;
    s += "[";
    for (size_t i = 0; i < type.shape.size(); ++i) s += (i ? ", " : "") + (type.shape[i].size ? show(type.shape[i].size) : "...");
    return s + "]";
  }
  static std::string annotation(const std::optional<TypeExpr>& type) { return type ? ": " + show(*type) : ""; }

  // ---- statements

  template <class... Args>
  void line(fmt::format_string<Args...> format, Args&&... args) {
    out.append(static_cast<size_t>(depth_) * 2, ' ');
    out += fmt::format(format, std::forward<Args>(args)...);
    out += "\n";
  }

  void block(const Block& b) {
    ++depth_;
    for (const StmtPtr& s : b.statements) std::visit([&](const auto& node) { statement(node); }, s->node);
    --depth_;
  }

  void statement(const Evaluate& s) { line("{}", show(s.value)); }
  void statement(const Let& s) {
    std::string names;
    for (const Ident& n : s.names) names += (names.empty() ? "" : ", ") + n.text;
    line("let {}{} = {}", s.tuple ? "(" + names + ")" : names, annotation(s.type), show(s.value));
  }
  void statement(const Define& s) { function(*s.function); }
  void statement(const Declare& s) { line("{} {}{} = {}", word(s.kind), s.name.text, annotation(s.type), show(s.value)); }
  void statement(const Assign& s) { line("{} {} {}", show(s.target), s.update ? "<-" : "=", show(s.value)); }
  void statement(const For& s) {
    line("for {} in {}", s.name.text, show(s.range));
    block(s.body);
  }
  void statement(const Minimize& s) {
    const std::string over = s.over.empty() ? "" : " over " + list("list", s.over);
    const std::string with = s.optimizers.empty() ? "" : " with " + list("list", s.optimizers);
    line("minimize {}{}{}", show(s.loss), over, with);
  }
  void statement(const Report& s) { line("report {} = {}", s.name.text, show(s.value)); }
  void statement(const Load& s) { line("load {} into {} from {}", quoted(s.file.text), show(s.into), s.prefix ? quoted(s.prefix->text) : "_"); }
  void statement(const Freeze& s) { line("freeze {}", list("list", s.targets)); }
  void statement(const Step& s) {
    line("step {} repeat {}", s.name.text, show(s.repeat));
    block(s.body);
  }

  // ---- declarations

  void parameters(std::string_view word, const std::vector<Parameter>& list) {
    for (const Parameter& p : list) {
      std::string s = fmt::format("{} {}{}", word, p.name.text, annotation(p.type));
      if (p.low || p.high) s += fmt::format(" in {} .. {}", show(p.low), show(p.high));
      if (p.value) s += " = " + show(p.value);
      line("{}", s);
    }
  }

  void function(const Function& f) {
    std::string results;
    for (const TypeExpr& t : f.results) results += (results.empty() ? " -> " : ", ") + show(t);
    line("{} {}{}{}{}", kind_words[static_cast<size_t>(f.kind)], f.name.text, f.has_config ? " (configured)" : "", results, f.steps ? fmt::format(" for {} steps", show(f.steps)) : "");
    ++depth_;
    documentation(f.doc);
    parameters("configured by", f.config);
    parameters("takes", f.parameters);
    line("body");
    block(f.body);
    --depth_;
  }

  void documentation(const std::string& doc) {
    if (!doc.empty()) line("documented {}", quoted(doc));
  }

  void item(const Import& n) { line("import {}", quoted(n.file.text)); }
  void item(const Config& n) {
    line("config {}{} = {}", n.name.text, annotation(n.type), show(n.value));
    ++depth_;
    documentation(n.doc);
    --depth_;
  }
  void item(const PrecisionMode& n) { line("precision {}", n.mode.text); }
  void item(const Constant& n) {
    statement(n.let);
    ++depth_;
    documentation(n.doc);
    --depth_;
  }
  void item(const Function& n) { function(n); }

  void item(const Data& n) {
    line("data {}", n.name.text);
    ++depth_;
    documentation(n.doc);
    parameters("field", n.fields);
    for (const Split& s : n.splits) {
      std::string source = fmt::format("{}", source_words[static_cast<size_t>(s.kind)]);
      for (const Ident& f : s.files) source += " " + quoted(f.text);
      for (const Argument& o : s.options) source += fmt::format(" {}={}", o.name ? o.name->text : "_", show(o.value));
      if (s.shares > 1) source += fmt::format(" {} of", s.share + 1);
      if (s.rows) source += " " + show(*s.rows);
      if (s.count) source += fmt::format(" {} < {}", s.index.text, show(s.count));
      line("split {} = {}", s.name.text, source);
      if (s.body) block(*s.body);
    }
    for (const Ident& name : n.classes) line("class {}", quoted(name.text));
    if (n.directory) line("from {}", quoted(n.directory->text));
    if (n.augment) {
      line("augment");
      block(*n.augment);
    }
    --depth_;
  }

  void item(const Train& n) {
    line("train{} on {} validate {}", n.name ? " " + n.name->text : "", show(n.on), show(n.validate));
    ++depth_;
    if (n.batch || n.batch_all) line("batch {}", n.batch_all ? "all" : show(n.batch));
    if (n.accumulate) line("accumulate {}", show(n.accumulate));
    if (n.epochs) line("epochs {}", show(n.epochs));
    if (n.steps) line("for {} steps", show(n.steps));
    if (n.stop) line("stop early on {} after {}", n.stop->step ? n.stop->step->text : "_", show(n.stop->epochs));
    if (n.watch) line("watch gradients every {}", show(n.watch->every));
    line("body");
    block(n.body);
    --depth_;
  }

  int depth_ = 0;
};

}  // namespace

std::string dump(const ast::File& file) {
  Dumper d;
  d.file(file);
  return d.out;
}

std::string dump(const ast::Expr& e) { return Dumper::show(e); }

}  // namespace gradc
