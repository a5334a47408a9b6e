// Expressions. From loosest to tightest:
//
//   |>      or      and      not      == != < <= > >=      ..      + -      * / % @      -x      ^      f(x) x[i] x.y M{p} as
//
// `^` groups to the right and binds tighter than the minus before it (-x^2 is -(x^2)); its right side may carry a minus of
// its own. Comparisons and `..` do not chain.
#include <fmt/format.h>

#include <charconv>

#include "frontend/parser_core.h"

namespace gradc {
namespace {

using ast::BinaryOp;

struct OperatorRow {
  TokenKind kind;
  Level level;
  BinaryOp op;
};
constexpr OperatorRow operators[] = {
    {TokenKind::equal, compare_level, BinaryOp::equal},
    {TokenKind::not_equal, compare_level, BinaryOp::not_equal},
    {TokenKind::less, compare_level, BinaryOp::less},
    {TokenKind::less_equal, compare_level, BinaryOp::less_equal},
    {TokenKind::greater, compare_level, BinaryOp::greater},
    {TokenKind::greater_equal, compare_level, BinaryOp::greater_equal},
    {TokenKind::plus, sum_level, BinaryOp::add},
    {TokenKind::minus, sum_level, BinaryOp::subtract},
    {TokenKind::times, product_level, BinaryOp::multiply},
    {TokenKind::divide, product_level, BinaryOp::divide},
    {TokenKind::percent, product_level, BinaryOp::remainder},
    {TokenKind::at, product_level, BinaryOp::matmul},
};

const OperatorRow* find_operator(TokenKind kind, int level) {
  for (const OperatorRow& row : operators)
    if (row.kind == kind && row.level == level) return &row;
  return nullptr;
}

}  // namespace

std::string_view ast::symbol(UnaryOp op) { return op == UnaryOp::negate ? "-" : "not"; }

std::string_view ast::symbol(BinaryOp op) {
  constexpr std::string_view symbols[] = {"+", "-", "*", "/", "%", "@", "^", "==", "!=", "<", "<=", ">", ">=", "and", "or"};
  return symbols[static_cast<size_t>(op)];
}

Parser::Nest::Nest(Parser& parser) : parser_(parser) {
  if (++parser.depth_ == limit + 1)
    parser.fail(DiagnosticId::nested_too_deeply, parser.span(parser.peek()), fmt::format("more than {} levels of nesting", limit));
}

bool Parser::chain(int& links) {
  constexpr int limit = 1000;
  if (++links <= limit) return true;
  fail(DiagnosticId::nested_too_deeply, span(peek()), fmt::format("more than {} operators in a row", limit));
  return false;
}

ast::ExprPtr Parser::invalid() {
  auto e = std::make_unique<ast::Expr>();
  e->span = {file_, last_end_, last_end_};
  return e;
}

ast::ExprPtr Parser::parse_expr() {
  const Nest nest(*this);
  if (!nest.ok()) return invalid();
  const uint32_t begin = peek().begin;
  ast::ExprPtr value = parse_binary(or_level);
  for (int links = 0; at(TokenKind::pipe) && chain(links);) {
    take();
    ast::ExprPtr stage = parse_binary(or_level);
    value = expr(begin, ast::Pipe{std::move(value), std::move(stage)});
  }
  return value;
}

ast::ExprPtr Parser::parse_header_expr() {
  const bool outer = std::exchange(no_brace_, true);
  ast::ExprPtr value = parse_expr();
  no_brace_ = outer;
  return value;
}

ast::ExprPtr Parser::parse_binary(int level) {
  if (level > product_level) return parse_unary();
  const uint32_t begin = peek().begin;
  if (level == not_level) {
    if (!at_word("not")) return parse_binary(level + 1);
    const Nest nest(*this);
    take();
    if (!nest.ok()) return invalid();
    ast::ExprPtr operand = parse_binary(level);
    return expr(begin, ast::Unary{ast::UnaryOp::logical_not, std::move(operand)});
  }
  ast::ExprPtr left = parse_binary(level + 1);
  if (level == range_level) {
    if (at_line_end() || !at(TokenKind::dots)) return left;
    join_left(), join_right();
    take();
    ast::ExprPtr end = parse_binary(level + 1);
    return expr(begin, ast::Range{std::move(left), std::move(end)});
  }
  const std::string_view connective = level == or_level ? "or" : level == and_level ? "and" : "";
  for (int links = 0;;) {
    // A line that begins with `and` or `or` goes on with the one before: neither can begin a statement.
    const OperatorRow* row = at_line_end() ? nullptr : find_operator(peek().kind, level);
    if (!row && (connective.empty() || !at_word(connective))) return left;
    if (!chain(links)) return left;
    const Token sign = take();
    if (level == compare_level && links > 1) {
      fail(DiagnosticId::chained_comparison, span(sign), "comparisons cannot be chained").hints.push_back("write `a < b and b < c`");
      return left;
    }
    const BinaryOp op = row ? row->op : level == or_level ? BinaryOp::logical_or : BinaryOp::logical_and;
    ast::ExprPtr right = parse_binary(level + 1);
    left = expr(begin, ast::Binary{op, std::move(left), std::move(right), span(sign)});
  }
}

ast::ExprPtr Parser::parse_unary() {
  const Token sign = peek();
  if (sign.kind == TokenKind::minus) {
    const Nest nest(*this);
    join_right();
    take();
    if (!nest.ok()) return invalid();
    ast::ExprPtr operand = parse_unary();
    return expr(sign.begin, ast::Unary{ast::UnaryOp::negate, std::move(operand)});
  }
  if (sign.kind == TokenKind::plus) {
    fail_expected("an expression").hints.push_back("there is no `+` in front of an expression; if the line goes on the one before, end that with `+` or bracket it");
    return invalid();
  }
  return parse_power();
}

ast::ExprPtr Parser::parse_power() {
  const uint32_t begin = peek().begin;
  ast::ExprPtr base = parse_postfix();
  if (at_line_end() || !at(TokenKind::power)) return base;
  const Nest nest(*this);
  join_left(), join_right();
  const Token sign = take();
  if (!nest.ok()) return base;
  ast::ExprPtr exponent = parse_unary();
  return expr(begin, ast::Binary{BinaryOp::power, std::move(base), std::move(exponent), span(sign)});
}

ast::ExprPtr Parser::parse_postfix() {
  ast::ExprPtr value = parse_primary();
  for (int links = 0; !at_line_end();) {
    const size_t before = next_;
    value = parse_suffix(std::move(value));
    if (next_ == before || !chain(links)) break;
  }
  return value;
}

ast::ExprPtr Parser::parse_suffix(ast::ExprPtr value) {
  const uint32_t begin = value->span.begin;
  const Token sign = peek();
  const bool names_model = std::holds_alternative<ast::Name>(value->node) || std::holds_alternative<ast::Member>(value->node);
  if (sign.kind == TokenKind::left_paren) {
    join_left();
    std::vector<ast::Argument> arguments = parse_arguments();
    return expr(begin, ast::Call{std::move(value), std::move(arguments)});
  }
  if (sign.kind == TokenKind::left_bracket) {
    join_left();
    std::vector<ast::Subscript> subscripts = parse_subscripts();
    return expr(begin, ast::Index{std::move(value), std::move(subscripts)});
  }
  if (sign.kind == TokenKind::dot) {
    join_left(), join_right();
    take();
    if (at(TokenKind::number) && !std::holds_alternative<ast::Number>(value->node)) {   // net.dense.1.w: instances are told apart by their ordinal
      const Token t = take();
      return expr(begin, ast::Member{std::move(value), {std::string(text(t)), span(t)}});
    }
    ast::Ident name = expect_name("a name after `.`");
    return expr(begin, ast::Member{std::move(value), std::move(name)});
  }
  if (sign.kind == TokenKind::left_brace && names_model && sign.begin == last_end_ && !no_brace_) {
    join_left(), join_right();
    take();
    const Brackets inside(*this);
    ast::ExprPtr parameters = parse_expr();
    join_left();
    close(TokenKind::right_brace, sign);
    return expr(begin, ast::Substitute{std::move(value), std::move(parameters)});
  }
  if (at_word("as")) {
    take();
    ast::Ident name = expect_name("the name of this instance after `as`");
    return expr(begin, ast::Pinned{std::move(value), std::move(name)});
  }
  return value;
}

ast::ExprPtr Parser::parse_primary() {
  const Token t = peek();
  switch (t.kind) {
    case TokenKind::number: {
      take();
      double value = 0;
      std::from_chars(source_.data() + t.begin, source_.data() + t.end, value);
      return expr(t.begin, ast::Number{value, text(t).find_first_of(".eE") == std::string_view::npos});
    }
    case TokenKind::text: {
      take();
      return expr(t.begin, ast::Text{unquote(text(t))});
    }
    case TokenKind::name: return parse_word();
    case TokenKind::left_paren: return parse_parenthesised();
    case TokenKind::left_bracket: return parse_list();
    default: break;
  }
  Diagnostic& d = fail_expected("an expression");
  if (t.kind == TokenKind::times && next_ > 0 && tokens_[next_ - 1].kind == TokenKind::times) d.hints.push_back("a power is written `x^2`");
  if (t.kind == TokenKind::left_brace) d.hints.push_back("a block stands after `if`, `for` or the head of a function; values are grouped with `( )` or `[ ]`");
  return invalid();
}

ast::ExprPtr Parser::parse_word() {
  const Token t = peek();
  if (at_word("if")) return parse_if();
  if (at_word("true") || at_word("false")) {
    const bool value = at_word("true");
    take();
    return expr(t.begin, ast::Bool{value});
  }
  if (at_name() && !(t.line_start && last_end_ > 0 && at_item())) {
    take();
    return expr(t.begin, ast::Name{std::string(text(t))});
  }
  Diagnostic& d = fail_expected("an expression");
  if (!t.line_start) d.hints.push_back(fmt::format("`{}` belongs to the language and cannot name a value", text(t)));
  return invalid();
}

ast::ExprPtr Parser::parse_parenthesised() {
  const Token left = take();
  const Brackets inside(*this);
  bool comma = false;
  std::vector<ast::ExprPtr> items;
  while (!at(TokenKind::right_paren) && !at_end()) {
    items.push_back(parse_expr());
    if (!accept(TokenKind::comma)) break;
    comma = true;
  }
  close(TokenKind::right_paren, left);
  if (items.size() == 1 && !comma) {
    items[0]->span = from(left.begin);
    return std::move(items[0]);
  }
  return expr(left.begin, ast::Tuple{std::move(items)});
}

ast::ExprPtr Parser::parse_list() {
  const Token left = take();
  const Brackets inside(*this);
  ast::List list;
  parse_separated(TokenKind::right_bracket, [&] { list.items.push_back(parse_expr()); });
  close(TokenKind::right_bracket, left);
  return expr(left.begin, std::move(list));
}

ast::ExprPtr Parser::parse_if() {
  const Nest nest(*this);
  const Token word = take();
  if (!nest.ok()) return invalid();
  ast::If node;
  node.condition = parse_header_expr();
  node.then = parse_block(Place::body);
  if (accept_word("else")) {
    if (at_word("if")) {
      ast::Block block;
      auto statement = std::make_unique<ast::Stmt>();
      ast::ExprPtr inner = parse_if();
      block.span = statement->span = inner->span;
      statement->node = ast::Evaluate{std::move(inner)};
      block.statements.push_back(std::move(statement));
      node.otherwise = std::move(block);
    } else {
      node.otherwise = parse_block(Place::body);
    }
  }
  return expr(word.begin, std::move(node));
}

std::vector<ast::Argument> Parser::parse_arguments() {
  const Token left = take();
  const Brackets inside(*this);
  std::vector<ast::Argument> arguments;
  bool named = false;
  parse_separated(TokenKind::right_paren, [&] {
    arguments.push_back(parse_argument(named));
    named |= arguments.back().name.has_value();
  });
  close(TokenKind::right_paren, left);
  return arguments;
}

ast::Argument Parser::parse_argument(bool names_only) {
  const uint32_t begin = peek().begin;
  ast::Argument argument;
  if (at_name() && peek(1).kind == TokenKind::assign) {
    argument.name = expect_name("the name of an argument");
    take();
  }
  argument.value = parse_expr();
  if (at(TokenKind::left_brace)) argument.overrides = parse_overrides();
  argument.span = from(begin);
  if (names_only && !argument.name)
    fail(DiagnosticId::argument_order, argument.span, "an argument without a name stands after one with a name");
  return argument;
}

std::vector<ast::Override> Parser::parse_overrides() {
  const Token left = take();
  std::vector<ast::Override> overrides;
  parse_separated(TokenKind::right_brace, [&] { overrides.push_back(parse_override()); });
  close(TokenKind::right_brace, left);
  return overrides;
}

ast::Override Parser::parse_override() {
  ast::Override node;
  const uint32_t begin = peek().begin;
  while (at(TokenKind::name) || at(TokenKind::times) || at(TokenKind::dot) || at(TokenKind::number)) {
    if (!node.pattern.empty()) join_left();
    node.pattern += text(take());
  }
  if (node.pattern.empty()) fail_expected("a pattern of parameter names, such as `*.b`,");
  expect(TokenKind::colon, "after the pattern of parameter names");
  node.value = parse_expr();
  node.span = from(begin);
  return node;
}

std::vector<ast::Subscript> Parser::parse_subscripts() {
  const Token left = take();
  const Brackets inside(*this);
  std::vector<ast::Subscript> subscripts;
  parse_separated(TokenKind::right_bracket, [&] { subscripts.push_back(parse_subscript()); });
  close(TokenKind::right_bracket, left);
  return subscripts;
}

ast::Subscript Parser::parse_subscript() {
  ast::Subscript s;
  const uint32_t begin = peek().begin;
  const auto part = [&]() -> ast::ExprPtr {
    if (at(TokenKind::colon) || at(TokenKind::comma) || at(TokenKind::right_bracket)) return nullptr;
    return parse_expr();
  };
  const auto colon = [&] {
    if (at(TokenKind::colon)) join_left(), join_right();
    return accept(TokenKind::colon);
  };
  ast::ExprPtr first = part();
  if (colon()) {
    s.range = true;
    s.begin = std::move(first);
    s.end = part();
    if (colon()) s.stride = part();
  } else if (first) {
    s.index = std::move(first);
  } else {
    fail_expected("an index or a range such as `0:3`");
    s.index = invalid();
  }
  s.span = from(begin);
  return s;
}

}  // namespace gradc
