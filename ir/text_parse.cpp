// Parsing of the text form (text.h): a recursive descent over tokens. After an error it goes on at the next line; a node that
// could not be read is known but without value, so that its users add no errors of their own.
#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cctype>
#include <charconv>
#include <cmath>
#include <map>
#include <utility>

#include "ir/infer.h"
#include "ir/text.h"
#include "ir/text_lexer.h"
#include "ir/verify.h"

namespace gradc::ir {
namespace {
using Kind = Token::Kind;

const std::vector<std::string> declaration_words = {"module", "file", "parameter", "state", "slot", "accumulator", "session", "function"};

struct Failed {};   // unwinds one statement; never leaves this file

class Parser {
 public:
  Parser(FileId file, const Sources& sources, Diagnostics& diagnostics, bool whole_module)
      : diagnostics_(diagnostics), tokens_(lex(file, sources, diagnostics)), whole_module_(whole_module) {}

  Module module;

  void run() {
    int errors = diagnostics_.errors();
    while (token().kind != Kind::end) guarded(true, [&] { top_level(); });
    // What the parser does not look at itself.
    if (diagnostics_.errors() > errors) return;
    std::string findings = whole_module_ ? verify(module) : module.functions.empty() ? "" : verify(module.functions[0]);
    if (!findings.empty()) report(DiagnosticId::ir_invalid, tokens_[0].span, findings.substr(0, findings.find_last_not_of('\n') + 1));
  }

  Span start() const { return tokens_[0].span; }

 private:
  // ---- tokens and errors

  const Token& token(size_t ahead = 0) const { return tokens_[std::min(at_ + ahead, tokens_.size() - 1)]; }
  const Token& take() {
    const Token& t = token();
    if (at_ + 1 < tokens_.size()) ++at_;
    return t;
  }
  bool is(std::string_view text) const { return (token().kind == Kind::sign || token().kind == Kind::word) && token().text == text; }
  bool accept(std::string_view text) { return is(text) ? (take(), true) : false; }

  Diagnostic& report(DiagnosticId id, Span span, std::string message) { return diagnostics_.add(id, span, std::move(message)); }
  [[noreturn]] void fail(DiagnosticId id, Span span, std::string message) {
    report(id, span, std::move(message));
    throw Failed();
  }
  [[noreturn]] void expected_here(std::string_view what) {
    const Token& t = token();
    fail(DiagnosticId::ir_syntax, t.span, fmt::format("expected {}, found {}", what, t.kind == Kind::end ? "the end of the file" : fmt::format("`{}`", spelling(t))));
  }
  // What is missing at the end of a line is pointed at there, not at the beginning of the next.
  [[noreturn]] void expected(std::string_view what) {
    if (!token().starts_line || at_ == 0 || token().kind == Kind::end) expected_here(what);
    Span before = tokens_[at_ - 1].span;
    fail(DiagnosticId::ir_syntax, {before.file, before.end, before.end}, fmt::format("expected {}, found the end of the line", what));
  }
  [[noreturn]] void unknown(DiagnosticId id, Span span, std::string message, std::string_view name, const std::vector<std::string>& candidates) {
    Diagnostic& d = report(id, span, std::move(message));
    if (std::string near = nearest(name, candidates); !near.empty()) d.hints.push_back(fmt::format("did you mean `{}`?", near));
    throw Failed();
  }
  static std::string spelling(const Token& t) {
    std::string text = t.quoted ? "\"" + t.text + "\"" : t.text;
    return (t.kind == Kind::value ? "%" : t.kind == Kind::variable ? "@" : "") + text;
  }
  void expect(std::string_view sign) {
    if (!accept(sign)) expected(fmt::format("`{}`", sign));
  }

  // After an error, goes on at the next line; between functions, at the next one that begins a declaration.
  template <typename Body>
  void guarded(bool declarations, Body body) {
    size_t begin = at_;
    try {
      body();
    } catch (Failed) {
      if (at_ == begin) take();
      while (token().kind != Kind::end && !(token().starts_line && (!declarations || begins_declaration()))) take();
    }
  }
  bool begins_declaration() const { return std::find(declaration_words.begin(), declaration_words.end(), token().text) != declaration_words.end() && token().kind == Kind::word; }

  std::string name(std::string_view what) {
    if (token().kind != Kind::word && token().kind != Kind::text) expected(what);
    return take().text;
  }

  int64_t integer(int64_t low = INT64_MIN, int64_t high = INT64_MAX) {
    int64_t value = 0;
    const Token& t = token();
    auto [end, error] = std::from_chars(t.text.data(), t.text.data() + t.text.size(), value);
    if (t.kind != Kind::number || error != std::errc() || end != t.text.data() + t.text.size()) expected("an integer");
    if (value < low || value > high) fail(DiagnosticId::ir_syntax, t.span, fmt::format("{} is not between {} and {}", value, low, high));
    take();
    return value;
  }

  double number() {
    const Token& t = take();
    double value = 0;
    if (t.kind == Kind::word && t.text == "nan") {
      uint64_t bits = 0x7ff8000000000000;
      if (accept("(")) {
        const Token& code = take();
        bool hex = code.text.starts_with("0x");
        auto [end, error] = std::from_chars(code.text.data() + (hex ? 2 : 0), code.text.data() + code.text.size(), bits, 16);
        value = std::bit_cast<double>(bits);
        if (!hex || error != std::errc() || end != code.text.data() + code.text.size() || !std::isnan(value)) fail(DiagnosticId::ir_syntax, code.span, "expected the bits of a NaN, as in nan(0x7ff8000000000001)");
        expect(")");
      }
      return std::bit_cast<double>(bits);
    }
    auto [end, error] = std::from_chars(t.text.data(), t.text.data() + t.text.size(), value);
    if ((t.kind != Kind::number && t.kind != Kind::word) || error != std::errc() || end != t.text.data() + t.text.size())
      fail(DiagnosticId::ir_syntax, t.span, fmt::format("expected a number, found `{}`", spelling(t)));
    return value;
  }

  template <typename Item>
  auto list(Item item) {
    std::vector<decltype(item())> items;
    expect("[");
    while (!is("]")) {
      items.push_back(item());
      if (!accept(",")) break;
    }
    expect("]");
    return items;
  }

  ElementType element() {
    const Token& t = token();
    std::optional<ElementType> element = element_from_name(t.text);
    if (t.kind != Kind::word) expected("an element type");
    if (!element) unknown(DiagnosticId::ir_type, t.span, fmt::format("no element type is called `{}`", t.text), t.text, {"f32", "f64", "bf16", "i32", "i64", "u8", "bool"});
    take();
    return *element;
  }

  Type type() {
    Span begin = token().span;
    Type type;
    type.element = element();
    type.shape = list([&] { return integer(); });
    double size = 1;
    for (int64_t extent : type.shape) {
      size *= static_cast<double>(extent);
      if (extent < 0 || std::abs(size) > largest_size) fail(DiagnosticId::ir_type, until_here(begin), fmt::format("{} is no type: extents are at least 0 and their product at most 2^48", to_string(type)));
    }
    return type;
  }

  Span until_here(Span begin) const { return {begin.file, begin.begin, tokens_[at_ ? at_ - 1 : 0].span.end}; }

  // A location ends a line; what begins the next one is none.
  Loc location() {
    Loc loc;
    if (token().kind != Kind::variable || token().starts_line) return loc;
    const Token& file = take();
    loc.file = this->file(file);
    expect(":");
    loc.line = static_cast<uint32_t>(integer(0, UINT32_MAX));
    expect(":");
    loc.column = static_cast<uint16_t>(integer(0, UINT16_MAX));
    if (token().kind == Kind::word && !token().starts_line) {
      for (Loc::Role role : {Loc::Role::gradient, Loc::Role::update, Loc::Role::recomputation})
        if (is(role_name(role))) loc.role = role;
      if (loc.role == Loc::Role::source) expected("`gradient`, `update` or `recomputation`");
      take();
    }
    return loc;
  }

  uint16_t file(const Token& t) {
    if (t.text.empty()) return 0;
    auto known = files_.find(t.text);
    if (known != files_.end()) return known->second;
    uint16_t number = 0;
    auto [end, error] = std::from_chars(t.text.data() + std::min<size_t>(4, t.text.size()), t.text.data() + t.text.size(), number);
    if (!whole_module_ && t.text.starts_with("file") && error == std::errc() && end == t.text.data() + t.text.size()) return number;
    std::vector<std::string> labels;
    for (const auto& [name, index] : files_) labels.push_back(name);
    unknown(DiagnosticId::ir_unknown_value, t.span, fmt::format("no file is called `{}`", t.text), t.text, labels);
  }

  // ---- modules

  void top_level() {
    if (accept("module")) {
      module.name = name("the module's name");
    } else if (accept("file")) {
      std::string label = name("the file's name");
      expect("=");
      if (token().kind != Kind::text) expected("the file's path in quotes");
      if (!files_.emplace(label, static_cast<uint16_t>(module.files.size())).second) fail(DiagnosticId::ir_duplicate, token().span, fmt::format("two files are called `{}`", label));
      module.files.push_back(take().text);
    } else if (accept("function")) {
      function();
    } else {
      for (VariableKind kind : {VariableKind::parameter, VariableKind::state, VariableKind::slot, VariableKind::accumulator, VariableKind::session})
        if (accept(kind_name(kind))) return variable(kind);
      if (token().kind != Kind::word) expected_here(fmt::format("a declaration ({})", fmt::join(declaration_words, ", ")));
      unknown(DiagnosticId::ir_syntax, token().span, fmt::format("`{}` begins no declaration", token().text), token().text, declaration_words);
    }
  }

  void variable(VariableKind kind) {
    if (token().kind != Kind::variable) expected("the variable's name, as in @net.w");
    const Token& t = take();
    if (module.variable(t.text)) fail(DiagnosticId::ir_duplicate, t.span, fmt::format("two variables are called @{}", t.text));
    expect(":");
    Variable v{t.text, type(), kind};
    if (!token().starts_line) v.frozen = accept("frozen");
    v.loc = location();
    module.variables.push_back(std::move(v));
  }

  void function() {
    const Token& t = token();
    Function f = definition();
    if (module.function(f.name)) report(DiagnosticId::ir_duplicate, t.span, fmt::format("two functions are called `{}`", f.name));
    module.functions.push_back(std::move(f));
    expect("}");
  }

  // NAME { lines, up to the closing bracket. Bodies of loops stand within functions.
  Function definition() {
    Function f;
    f.name = name("the function's name");
    expect("{");
    Function* outer = std::exchange(f_, &f);
    std::map<std::string, Named> outer_values;
    outer_values.swap(values_);
    bool returned = false;
    while (!is("}") && token().kind != Kind::end) {
      guarded(false, [&] {
        if (returned) expected_here("`}` after the results");
        if (is("return"))
          returned = true, results();
        else
          node();
      });
    }
    if (!returned && token().kind != Kind::end) report(DiagnosticId::ir_syntax, token().span, fmt::format("function {} ends without `return`", f.name));
    f_ = outer;
    values_.swap(outer_values);
    return f;
  }

  // ---- functions

  struct Named {
    Value value;   // invalid if its line has an error
    Span span;
  };

  Value use() {
    if (token().kind != Kind::value && token().kind != Kind::variable) expected("a value, as in %3 or @net.w");
    const Token& t = take();
    auto known = values_.find(spelling(t));
    if (known != values_.end()) return known->second.value;
    Diagnostic& d = report(DiagnosticId::ir_unknown_value, t.span, fmt::format("no value is called {} here", spelling(t)));
    std::vector<std::string> names;
    for (const auto& [name, value] : values_)
      if (!std::isdigit(static_cast<unsigned char>(name[1]))) names.push_back(name.substr(1));   // numbers are never near each other
    std::string near = nearest(t.text, names);
    for (const char* sign : {"%", "@"})
      if (values_.contains(sign + near)) d.hints.push_back(fmt::format("did you mean `{}{}`?", sign, near));
    throw Failed();
  }

  void node() {
    if (token().kind != Kind::value && token().kind != Kind::variable) expected_here("a line as in `%3 = add %1, %2 : f32[10]` or `return`");
    const Token& defined = take();
    auto [known, fresh] = values_.try_emplace(spelling(defined), Named{{}, defined.span});
    if (!fresh) {
      Diagnostic& d = report(DiagnosticId::ir_duplicate, defined.span, fmt::format("{} is defined twice", spelling(defined)));
      d.labels.push_back({known->second.span, "first here"});
      throw Failed();
    }
    expect("=");
    const Token operation = token();
    if (operation.kind != Kind::word) expected("an operation");
    std::optional<Op> op = op_from_name(operation.text);
    if (!op) {
      std::vector<std::string> names;
      for (Op o : all_ops()) names.emplace_back(info(o).name);
      unknown(DiagnosticId::ir_unknown_operation, operation.span, fmt::format("no operation is called `{}`", operation.text), operation.text, names);
    }
    take();

    Node node{*op};
    bool poisoned = false;
    if ((token().kind == Kind::value || token().kind == Kind::variable) && !token().starts_line) {
      do {
        if (spelling(token()) == spelling(defined)) fail(DiagnosticId::ir_unknown_value, token().span, fmt::format("{} is its own operand", spelling(defined)));
        node.operands.push_back(use());
        poisoned = poisoned || !node.operands.back().valid();
      } while (accept(","));
    }
    if (is("{")) attributes(node);

    std::optional<Type> written;
    Span type_span;
    if (accept(":")) {
      Span begin = token().span;
      written = type();
      type_span = until_here(begin);
      imply(node, *written);
    }
    if (defined.quoted || !std::isdigit(static_cast<unsigned char>(defined.text[0])))
      if (has_attribute(*op, Attr::name) && !node.attrs.has(Attr::name)) node.attrs.set(Attr::name, defined.text);
    node.loc = location();
    if (!token().starts_line && !is("}") && token().kind != Kind::end) expected("the end of the line");
    if (poisoned) return;

    std::vector<Type> types;
    for (Value operand : node.operands) types.push_back(f_->type(operand));
    Inferred inferred = infer_type(*op, types, node.attrs);
    if (auto* error = std::get_if<std::string>(&inferred)) fail(DiagnosticId::ir_type, operation.span, *error);
    node.type = std::get<Type>(inferred);
    if (written && *written != node.type) {
      report(DiagnosticId::ir_type, type_span, fmt::format("{} gives {}, but {} is written", operation.text, to_string(node.type), to_string(*written)));
      throw Failed();
    }
    if (*op == Op::variable && whole_module_) declared(node.attrs.text(Attr::name), node.type, defined.span);
    known->second.value = f_->append(std::move(node));
  }

  static bool has_attribute(Op op, Attr attr) {
    auto attributes = info(op).attributes;
    return std::find(attributes.begin(), attributes.end(), attr) != attributes.end();
  }

  // The type says what these attributes of sources and views repeat.
  static void imply(Node& node, const Type& written) {
    if (has_attribute(node.op, Attr::element) && !node.attrs.has(Attr::element)) node.attrs.set(Attr::element, written.element);
    if (has_attribute(node.op, Attr::shape) && !node.attrs.has(Attr::shape)) node.attrs.set(Attr::shape, written.shape);
  }

  void attributes(Node& node) {
    const OpInfo& row = info(node.op);
    expect("{");
    while (!is("}")) {
      if (token().kind != Kind::word) expected("an attribute's name");
      const Token t = take();
      std::optional<Attr> attr = attr_from_name(t.text);
      if (!attr || !has_attribute(node.op, *attr)) {
        std::vector<std::string> names;
        for (Attr a : row.attributes) names.emplace_back(attr_name(a));
        unknown(DiagnosticId::ir_unknown_attribute, t.span, fmt::format("{} has no attribute `{}`", row.name, t.text), t.text, names);
      }
      if (node.attrs.has(*attr)) fail(DiagnosticId::ir_duplicate, t.span, fmt::format("attribute {} is given twice", t.text));
      expect("=");
      node.attrs.set(*attr, attribute_value(attr_kind(*attr)));
      if (!accept(",")) break;
    }
    expect("}");
  }

  AttrValue attribute_value(AttrKind kind) {
    switch (kind) {
      case AttrKind::integer: return integer();
      case AttrKind::number: return number();
      case AttrKind::integers: return list([&] { return integer(); });
      case AttrKind::element: return element();
      case AttrKind::dense: return std::make_shared<const Dense>(list([&] { return number(); }));
      case AttrKind::function: {
        int errors = diagnostics_.errors();
        Function f = definition();
        if (diagnostics_.errors() > errors) throw Failed();   // they say it all
        expect("}");
        return std::make_shared<const Function>(std::move(f));
      }
      case AttrKind::text: break;
    }
    if (token().kind != Kind::text) expected("a text in quotes");
    return take().text;
  }

  void results() {
    take();   // return
    if (token().starts_line) return;
    do {
      Result r;
      r.write = accept("write");
      Span span = token().span;
      if (r.write) {
        if (token().kind != Kind::variable) expected("a variable, as in @net.w");
        r.name = take().text;
      } else {
        r.name = name("a result's name or `write`");
      }
      for (const Result& other : f_->results)
        if (other.name == r.name && other.write == r.write) report(DiagnosticId::ir_duplicate, span, fmt::format("two results are called {}{}", r.write ? "@" : "", r.name));
      expect("=");
      r.value = use();
      if (!r.value.valid()) continue;
      if (r.write && whole_module_) declared(r.name, f_->type(r.value), span);
      f_->results.push_back(std::move(r));
    } while (accept(","));
  }

  // Reads and writes name declared variables of the same type.
  void declared(const std::string& name, const Type& type, Span span) {
    const Variable* variable = module.variable(name);
    if (!variable) {
      std::vector<std::string> names;
      for (const Variable& v : module.variables) names.push_back(v.name);
      unknown(DiagnosticId::ir_unknown_value, span, fmt::format("the module declares no variable @{}", name), name, names);
    }
    if (variable->type != type) fail(DiagnosticId::ir_type, span, fmt::format("variable @{} is {}, not {}", name, to_string(variable->type), to_string(type)));
  }

  Diagnostics& diagnostics_;
  std::vector<Token> tokens_;
  size_t at_ = 0;
  bool whole_module_;
  std::map<std::string, uint16_t> files_;
  Function* f_ = nullptr;
  std::map<std::string, Named> values_;
};
}  // namespace

std::optional<Module> parse_module(FileId file, const Sources& sources, Diagnostics& diagnostics) {
  int errors = diagnostics.errors();
  Parser parser(file, sources, diagnostics, true);
  parser.run();
  if (diagnostics.errors() > errors) return std::nullopt;
  return std::move(parser.module);
}

std::optional<Function> parse_function(FileId file, const Sources& sources, Diagnostics& diagnostics) {
  int errors = diagnostics.errors();
  Parser parser(file, sources, diagnostics, false);
  parser.run();
  if (diagnostics.errors() == errors && parser.module.functions.size() != 1)
    diagnostics.add(DiagnosticId::ir_syntax, parser.start(), fmt::format("expected one function, found {}", parser.module.functions.size()));
  if (diagnostics.errors() > errors) return std::nullopt;
  return std::move(parser.module.functions[0]);
}
}  // namespace gradc::ir
