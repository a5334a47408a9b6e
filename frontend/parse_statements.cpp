// Statements, blocks, parameters and types.
#include <fmt/format.h>

#include "frontend/parser_core.h"

namespace gradc {

ast::Block Parser::parse_block(Place place) {
  ast::Block block;
  const Nest nest(*this);
  const Token left = peek();
  if (!expect(TokenKind::left_brace, "to open a block") || !nest.ok()) {
    block.span = from(left.begin);
    return block;
  }
  {
    const Brackets inside(*this, true);
    while (!at(TokenKind::right_brace) && !at_end() && !at_item()) {
      if (accept(TokenKind::semicolon)) continue;
      const size_t before = next_;
      ast::StmtPtr statement = parse_statement(place);
      if (statement) block.statements.push_back(std::move(statement));
      end_statement();
      if (panic_) {
        recover_statement();
        if (next_ == before) take();
      }
    }
  }
  close(TokenKind::right_brace, left);
  block.span = from(left.begin);
  return block;
}

void Parser::end_statement() {
  if (panic_ || at_line_end()) return;
  const std::string_view w = word();
  const std::string_view instead = next_ > 0 ? foreign_word(text(tokens_[next_ - 1])) : "";
  Diagnostic& d = fail_expected("the end of the statement");
  if (!instead.empty()) d.hints.emplace_back(instead);
  else if (w == "=") d.hints.push_back("equality is tested with `==`");
  else if (w == "{") d.hints.push_back("a block stands after `if`, `for` or the head of a function");
  else d.hints.push_back("statements stand on lines of their own or are separated by `;`");
}

/// Null for a setting of `train`, which is stored there.
ast::StmtPtr Parser::parse_statement(Place place) {
  auto statement = std::make_unique<ast::Stmt>();
  const Token first = peek();
  layout_.statements.insert(first.begin);
  if (place == Place::train && train_ && parse_setting(*train_)) return nullptr;
  if (at_word("let")) {
    parse_let(*statement);
  } else if (at_word("for")) {
    take();
    ast::For node;
    node.name = expect_name("the loop's variable");
    expect_word("in", "after the loop's variable");
    node.range = parse_header_expr();
    ast::Train* const outer = std::exchange(train_, nullptr);
    node.body = parse_block(place);
    train_ = outer;
    statement->node = std::move(node);
  } else if ((at_word("param") || at_word("state") || at_word("session")) && peek(1).kind == TokenKind::name && !peek(1).line_start) {
    ast::Declare node;
    node.kind = at_word("param") ? ast::DeclareKind::param : at_word("state") ? ast::DeclareKind::state : ast::DeclareKind::session;
    take();
    node.name = expect_name(node.kind == ast::DeclareKind::param ? "the name of the parameter" : fmt::format("the name of the {}", ast::word(node.kind)));
    if (accept(TokenKind::colon)) node.type = parse_type();
    if (expect(TokenKind::assign, "and a first value")) node.value = parse_expr();
    else node.value = invalid();
    statement->node = std::move(node);
  } else if (!parse_train_statement(*statement, place)) {
    ast::ExprPtr value = parse_expr();
    if (!at_line_end() || at(TokenKind::assign) || at(TokenKind::assign_later)) {
      if (at(TokenKind::assign) || at(TokenKind::assign_later)) {
        const bool update = at(TokenKind::assign_later);
        if (update) layout_.aligned.insert(peek().begin);
        take();
        const bool name = std::holds_alternative<ast::Name>(value->node);
        if (!name && !(update && std::holds_alternative<ast::Member>(value->node)))
          fail(DiagnosticId::bad_target, value->span, update ? "only a parameter or a state can stand left of `<-`" : "only a name can stand left of `=`");
        ast::ExprPtr right = parse_expr();
        statement->node = ast::Assign{std::move(value), update, std::move(right)};
        statement->span = from(first.begin);
        return statement;
      }
    }
    statement->node = ast::Evaluate{std::move(value)};
  }
  statement->span = from(first.begin);
  return statement;
}

/// minimize, report, load, freeze, step. Words of the language only where they begin a statement that fits.
bool Parser::parse_train_statement(ast::Stmt& statement, Place place) {
  constexpr std::string_view words[] = {"minimize", "report", "load", "freeze", "step"};
  bool known = false;
  for (std::string_view w : words) known |= at_word(w);
  const TokenKind next = peek(1).kind;
  const bool starts = !peek(1).line_start && (next == TokenKind::name || next == TokenKind::number || next == TokenKind::text);
  if (!known || (!starts && !(at_word("minimize") && next != TokenKind::assign && next != TokenKind::assign_later))) return false;
  if (place == Place::body || (place == Place::step && !at_word("minimize") && !at_word("report"))) {
    fail(DiagnosticId::misplaced_statement, span(peek()),
         place == Place::body ? fmt::format("`{}` stands in a `train` block", word()) : fmt::format("`{}` stands in `train`, outside of its steps", word()));
    return true;
  }
  if (at_word("minimize")) {
    take();
    statement.node = parse_minimize();
  } else if (accept_word("report")) {
    ast::Report node;
    node.name = expect_name("the name under which the figure is reported");
    expect(TokenKind::assign, "after the name of the report");
    node.value = parse_expr();
    statement.node = std::move(node);
  } else if (accept_word("load")) {
    ast::Load node;
    node.file = expect_text("the file to load weights from");
    if (accept_word("into")) node.into = parse_expr();
    if (accept_word("from")) node.prefix = expect_text("the prefix of the names in the file");
    statement.node = std::move(node);
  } else if (accept_word("freeze")) {
    ast::Freeze node;
    do node.targets.push_back(parse_expr());
    while (accept(TokenKind::comma));
    statement.node = std::move(node);
  } else {
    take();
    ast::Step node;
    node.name = expect_name("the name of the step");
    if (accept_word("repeat")) node.repeat = parse_header_expr();
    node.body = parse_block(Place::step);
    statement.node = std::move(node);
  }
  return true;
}

ast::Minimize Parser::parse_minimize() {
  ast::Minimize node;
  node.loss = parse_expr();
  if (accept_word("over")) {
    do node.over.push_back(parse_expr());
    while (accept(TokenKind::comma));
  }
  if (accept_word("with")) {
    // `a(...) or b(...)` lists what may be chosen at start: the operator `or` taken apart.
    do node.optimizers.push_back(parse_binary(and_level));
    while (accept_word("or"));
  }
  return node;
}

void Parser::parse_let(ast::Stmt& statement) {
  const Token let = take();
  if (at(TokenKind::name) && peek(1).kind == TokenKind::left_paren) {
    auto f = std::make_unique<ast::Function>();
    f->kind = ast::FunctionKind::local;
    f->name = expect_name("a name");
    f->parameters = parse_parameters();
    f->body = parse_body(f->short_form);
    f->span = from(let.begin);
    statement.node = ast::Define{std::move(f)};
    return;
  }
  statement.node = parse_let_rest();
}

/// After the word `let`: names, type, value.
ast::Let Parser::parse_let_rest() {
  ast::Let node;
  if (at(TokenKind::left_paren)) {
    const Token left = take();
    const Brackets inside(*this);
    node.tuple = true;
    parse_separated(TokenKind::right_paren, [&] { node.names.push_back(expect_name("a name")); });
    close(TokenKind::right_paren, left);
  } else {
    node.names.push_back(expect_name("a name, or names in `( )`, after `let`"));
  }
  if (accept(TokenKind::colon)) node.type = parse_type();
  if (expect(TokenKind::assign, "after what `let` introduces")) node.value = parse_expr();
  else node.value = invalid();
  return node;
}

ast::Block Parser::parse_body(bool& short_form) {
  short_form = accept(TokenKind::assign);
  if (!short_form) {
    if (!at(TokenKind::left_brace)) {
      fail_expected("`{` or `=` and the body");
      return {from(last_end_), {}};
    }
    ast::Train* const outer = std::exchange(train_, nullptr);
    ast::Block block = parse_block(Place::body);
    train_ = outer;
    return block;
  }
  ast::Block block;
  auto statement = std::make_unique<ast::Stmt>();
  ast::ExprPtr value = parse_expr();
  block.span = statement->span = value->span;
  statement->node = ast::Evaluate{std::move(value)};
  block.statements.push_back(std::move(statement));
  return block;
}

ast::TypeExpr Parser::parse_type() {
  ast::TypeExpr type;
  const Token first = peek();
  if (first.kind == TokenKind::name) {   // `layer` and `fn` are types too
    take();
    type.element = {std::string(text(first)), span(first)};
  } else {
    fail_expected("a type such as `f32[n, 10]` or `int`");
  }
  if (at(TokenKind::left_bracket) && !peek().line_start) {
    join_left();
    const Token left = take();
    const Brackets inside(*this);
    type.has_shape = true;
    parse_separated(TokenKind::right_bracket, [&] {
      ast::Dimension dimension;
      const uint32_t begin = peek().begin;
      if (!accept(TokenKind::ellipsis)) dimension.size = parse_expr();
      dimension.span = from(begin);
      type.shape.push_back(std::move(dimension));
    });
    close(TokenKind::right_bracket, left);
  }
  type.span = from(first.begin);
  return type;
}

std::vector<ast::Parameter> Parser::parse_parameters() {
  std::vector<ast::Parameter> parameters;
  const Token left = peek();
  join_left();
  if (!expect(TokenKind::left_paren, "and the list of parameters")) return parameters;
  const Brackets inside(*this);
  parse_separated(TokenKind::right_paren, [&] { parameters.push_back(parse_parameter()); });
  close(TokenKind::right_paren, left);
  return parameters;
}

ast::Parameter Parser::parse_parameter() {
  ast::Parameter parameter;
  const uint32_t begin = peek().begin;
  parameter.name = expect_name("the name of a parameter");
  if (accept(TokenKind::colon)) parameter.type = parse_type();
  if (accept(TokenKind::less)) {
    parameter.high = parse_binary(sum_level);   // a bound is no comparison
  } else if (accept_word("in")) {
    parameter.low = parse_binary(sum_level);
    join_left(), join_right();
    expect(TokenKind::dots, "between the bounds of the range");
    parameter.high = parse_binary(sum_level);
  }
  if (accept(TokenKind::assign)) parameter.value = parse_expr();
  parameter.span = from(begin);
  return parameter;
}

}  // namespace gradc
