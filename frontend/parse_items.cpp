// Declarations: what stands at the outermost level of a file.
#include <fmt/format.h>

#include <algorithm>

#include "frontend/parser.h"
#include "frontend/parser_core.h"

namespace gradc {
namespace {

struct KindRow {
  std::string_view word;
  ast::FunctionKind kind;
};
constexpr KindRow function_kinds[] = {
    {"fn", ast::FunctionKind::fn},
    {"layer", ast::FunctionKind::layer},
    {"model", ast::FunctionKind::model},
    {"optimizer", ast::FunctionKind::optimizer},
    {"schedule", ast::FunctionKind::schedule},
    {"export", ast::FunctionKind::export_},
};

struct SourceRow {
  std::string_view word;
  ast::SourceKind kind;
};
constexpr SourceRow file_sources[] = {{"idx", ast::SourceKind::idx}, {"csv", ast::SourceKind::csv}, {"npy", ast::SourceKind::npy},
                                      {"cifar10", ast::SourceKind::cifar10}, {"images", ast::SourceKind::images}, {"text", ast::SourceKind::text}};

}  // namespace

ast::File Parser::parse_file() {
  ast::File file;
  file.file = file_;
  file.doc = file_doc_;
  while (!at_end()) {
    const size_t before = next_;
    parse_item(file);
    if (!panic_ && !at_line_end()) end_statement();
    accept(TokenKind::semicolon);
    if (panic_) {
      recover_item();
      if (next_ == before && !at_end()) {   // an item that fails at its first word
        take();
        recover_item();
      }
    }
  }
  return file;
}

void Parser::parse_item(ast::File& file) {
  ast::Item item;
  const Token first = peek();
  layout_.statements.insert(first.begin);
  std::string doc = std::move(docs_[next_]);
  for (const KindRow& row : function_kinds) {
    if (!at_word(row.word)) continue;
    item.node = parse_function(row.kind, std::move(doc));
    item.span = std::get<ast::Function>(item.node).span;
    file.items.push_back(std::move(item));
    return;
  }
  if (accept_word("import")) {
    item.node = ast::Import{expect_text("the file to import")};
  } else if (accept_word("config")) {
    ast::Config node{expect_name("the name of the value"), {}, nullptr, std::move(doc)};
    if (accept(TokenKind::colon)) node.type = parse_type();
    if (expect(TokenKind::assign, "and a value")) node.value = parse_expr();
    else node.value = invalid();
    item.node = std::move(node);
  } else if (accept_word("precision")) {
    item.node = ast::PrecisionMode{expect_name("f32, bf16 or bf16x3")};
  } else if (accept_word("let")) {
    item.node = ast::Constant{parse_let_rest(), std::move(doc)};
  } else if (accept_word("data")) {
    item.node = parse_data();
    std::get<ast::Data>(item.node).doc = std::move(doc);
  } else if (accept_word("train")) {
    item.node = parse_train();
  } else {
    constexpr std::string_view statements[] = {"param", "state", "session", "for", "if", "minimize", "report", "batch", "epochs", "step", "freeze", "load"};
    std::vector<std::string> words = {"config", "data", "let", "train", "import", "precision"};
    for (const KindRow& row : function_kinds) words.emplace_back(row.word);
    const bool statement = std::find(std::begin(statements), std::end(statements), word()) != std::end(statements);
    const std::string_view instead = foreign_word(word());
    const std::string suggestion = at(TokenKind::name) ? nearest(word(), words) : "";
    if (statement) {
      fail(DiagnosticId::misplaced_statement, span(peek()), fmt::format("`{}` cannot stand outside of a declaration", word()));
    } else {
      Diagnostic& d = fail(DiagnosticId::unexpected_token, span(peek()), fmt::format("expected a declaration, found {}", at_end() ? found() : fmt::format("`{}`", word())));
      if (!instead.empty()) d.hints.emplace_back(instead);
      else if (!suggestion.empty()) d.hints.push_back(fmt::format("did you mean `{}`?", suggestion));
      else d.hints.push_back("a file consists of import, config, precision, let, data, fn, layer, model, optimizer, schedule, train and export");
    }
    return;
  }
  item.span = from(first.begin);
  file.items.push_back(std::move(item));
}

ast::Function Parser::parse_function(ast::FunctionKind kind, std::string doc) {
  ast::Function f;
  const Token first = take();
  f.kind = kind;
  f.doc = std::move(doc);
  f.name = expect_name(fmt::format("a name after `{}`", text(first)));
  f.parameters = parse_parameters();
  if (kind == ast::FunctionKind::layer && at(TokenKind::left_paren)) {
    f.has_config = true;
    f.config = std::move(f.parameters);
    f.parameters = parse_parameters();
  } else if (at(TokenKind::left_paren)) {
    fail(DiagnosticId::unexpected_token, span(peek()), fmt::format("`{}` has one list of parameters", text(first)))
        .hints.push_back("only a `layer` has two: what configures it, and what flows through");
  }
  if (accept(TokenKind::arrow)) f.results = parse_results();
  if (kind == ast::FunctionKind::export_ && accept_word("for")) {
    f.steps = parse_header_expr();
    expect_word("steps", "after their number");
  }
  f.body = parse_body(f.short_form);
  f.span = from(first.begin);
  return f;
}

std::vector<ast::TypeExpr> Parser::parse_results() {
  std::vector<ast::TypeExpr> results;
  if (!at(TokenKind::left_paren)) {
    results.push_back(parse_type());
    return results;
  }
  const Token left = take();
  const Brackets inside(*this);
  parse_separated(TokenKind::right_paren, [&] { results.push_back(parse_type()); });
  close(TokenKind::right_paren, left);
  return results;
}

// ---- data

ast::Data Parser::parse_data() {
  ast::Data data;
  data.name = expect_name("the name of the data set");
  data.fields = parse_parameters();
  const Token left = peek();
  if (!expect(TokenKind::left_brace, "and where the samples come from")) return data;
  {
    const Brackets inside(*this, true);
    while (!at(TokenKind::right_brace) && !at_end() && !at_item()) {
      if (accept(TokenKind::semicolon)) continue;
      const size_t before = next_;
      layout_.statements.insert(peek().begin);
      if (at_word("from") && peek(1).kind != TokenKind::assign) {
        once(data.directory.has_value(), take(), "from");
        data.directory = expect_text("the folder where the files are");
      } else if (at_word("classes") && peek(1).kind == TokenKind::text) {
        once(!data.classes.empty(), take(), "classes");
        do data.classes.push_back(expect_text("the name of a class"));
        while (accept(TokenKind::comma));
      } else if (at_word("augment") && peek(1).kind == TokenKind::left_brace) {
        once(data.augment.has_value(), take(), "augment");
        data.augment = parse_block(Place::body);
      } else {
        parse_splits(data.splits);
      }
      end_statement();
      if (panic_) {
        recover_statement();
        if (next_ == before) take();
      }
    }
  }
  close(TokenKind::right_brace, left);
  return data;
}

// One split, or the several that `split(...)` makes.
void Parser::parse_splits(std::vector<ast::Split>& splits) {
  const Token first = peek();
  std::vector<ast::Ident> names;
  do names.push_back(expect_name("the name of a split, such as `train`,"));
  while (accept(TokenKind::comma));
  layout_.aligned.insert(peek().begin);
  expect(TokenKind::assign, "and where the samples of this split come from");
  ast::Split split;
  split.kind = ast::SourceKind::part;
  parse_source(split);
  split.span = from(first.begin);
  const bool shared = split.kind == ast::SourceKind::share;
  if (!shared && names.size() > 1 && !panic_)
    fail(DiagnosticId::unexpected_token, names[1].span, "only `split` gives several names their samples").hints.push_back("`train, valid = split(all, 0.9)`");
  for (size_t i = 0; shared && i + 1 < names.size(); ++i) {
    ast::Split other{split.span, names[i], split.kind};
    other.rows = split.rows;
    other.share = i;
    other.shares = names.size();
    splits.push_back(std::move(other));
  }
  split.name = names.back();
  split.share = names.size() - 1;
  split.shares = names.size();
  splits.push_back(std::move(split));
}

void Parser::parse_source(ast::Split& split) {
  for (const SourceRow& row : file_sources) {
    if (!at_word(row.word) || peek(1).kind != TokenKind::left_paren) continue;
    take();
    join_left();
    const Token left = take();
    const Brackets inside(*this);
    split.kind = row.kind;
    parse_separated(TokenKind::right_paren, [&] {
      if (peek().kind != TokenKind::name || peek(1).kind != TokenKind::assign) {
        split.files.push_back(expect_text("the name of a file"));
        return;
      }
      ast::Argument option;
      const Token begin = peek();
      option.name = expect_name("an option");
      take();
      option.value = parse_expr();
      option.span = from(begin.begin);
      split.options.push_back(std::move(option));
    });
    close(TokenKind::right_paren, left);
    return;
  }
  if (at_word("table") && peek(1).kind == TokenKind::left_bracket) {
    take();
    split.kind = ast::SourceKind::table;
    split.rows = parse_list();
    return;
  }
  if (at_word("generate") && peek(1).kind == TokenKind::left_paren) {
    take();
    split.kind = ast::SourceKind::generate;
    join_left();
    const Token left = take();
    {
      const Brackets inside(*this);
      split.index = expect_name("a name for the sample's number");
      expect(TokenKind::less, "and the number of samples, as in `generate(i < 1000)`,");
      split.count = parse_expr();
      close(TokenKind::right_paren, left);
    }
    split.body = parse_block(Place::body);
    return;
  }
  split.rows = parse_expr();
  const auto* index = std::get_if<ast::Index>(&split.rows->node);
  const auto* call = std::get_if<ast::Call>(&split.rows->node);
  const auto* called = call ? std::get_if<ast::Name>(&call->callee->node) : nullptr;
  if (called && called->text == "split") {
    split.kind = ast::SourceKind::share;
    return;
  }
  const bool part = index && std::holds_alternative<ast::Name>(index->object->node) && index->subscripts.size() == 1 && index->subscripts[0].range;
  if (!part)
    fail(DiagnosticId::unexpected_token, split.rows->span, "this is not a source of samples")
        .hints.push_back("sources are idx(...), csv(...), npy(...), cifar10(...), images(...), text(...), table [[...]], generate(i < n) {...}, a part of another split, train[0:5000], and split(all, 0.9)");
}

// ---- train

ast::Train Parser::parse_train() {
  ast::Train train;
  if (at_name() && !at_word("on")) train.name = expect_name("a name");
  if (accept_word("on")) train.on = parse_header_expr();
  if (accept(TokenKind::comma) || at_word("validate")) {
    if (expect_word("validate", "on a second split")) {
      expect_word("on", "after `validate`");
      train.validate = parse_header_expr();
    }
  }
  if (at_word("for")) parse_steps_setting(train);
  ast::Train* const outer = std::exchange(train_, &train);
  train.body = parse_block(Place::train);
  train_ = outer;
  return train;
}

void Parser::once(bool seen, const Token& at, std::string_view what) {
  if (seen) fail(DiagnosticId::repeated_setting, span(at), fmt::format("`{}` is given twice", what));
}

ast::ExprPtr Parser::parse_setting_value() {
  if (!at_line_end()) return parse_expr();
  fail_expected("a number");
  return invalid();
}

/// `for 1000 steps`
void Parser::parse_steps_setting(ast::Train& train) {
  const Token first = take();
  once(train.steps != nullptr, first, "for ... steps");
  train.steps = parse_header_expr();
  expect_word("steps", "after their number");
}

void Parser::parse_stop(ast::Train& train) {
  const Token first = take();
  once(train.stop.has_value(), first, "stop early");
  ast::StopEarly stop;
  expect_word("early", "after `stop`");
  if (accept_word("on")) stop.step = expect_name("the name of a step");
  expect_word("after", "and a number of epochs");
  stop.epochs = parse_setting_value();
  expect_word("epochs", "after their number");
  for (std::string_view w : {"without", "lower", "loss"}) expect_word(w, "(`stop early after 3 epochs without lower loss`)");
  stop.span = from(first.begin);
  train.stop = std::move(stop);
}

void Parser::parse_watch(ast::Train& train) {
  const Token first = take();
  once(train.watch.has_value(), first, "watch gradients");
  ast::Watch watch;
  expect_word("gradients", "after `watch`");
  if (accept_word("every")) {
    watch.every = parse_setting_value();
    expect_word("steps", "after their number");
  }
  watch.span = from(first.begin);
  train.watch = std::move(watch);
}

bool Parser::parse_setting(ast::Train& train) {
  const Token first = peek();
  const TokenKind next = peek(1).kind;
  if (first.kind != TokenKind::name) return false;
  if (next == TokenKind::assign || next == TokenKind::assign_later || next == TokenKind::dot || next == TokenKind::left_bracket) return false;
  if (at_word("batch")) {
    take();
    once(train.batch_all || train.batch, first, "batch");
    train.batch_all = accept_word("all");
    if (!train.batch_all) train.batch = parse_setting_value();
  } else if (at_word("accumulate")) {
    take();
    once(train.accumulate != nullptr, first, "accumulate");
    train.accumulate = parse_setting_value();
  } else if (at_word("epochs")) {
    take();
    once(train.epochs != nullptr, first, "epochs");
    train.epochs = parse_setting_value();
  } else if (at_word("stop")) {
    parse_stop(train);
  } else if (at_word("watch") && next == TokenKind::name) {
    parse_watch(train);
  } else if (at_word("for") && !(next == TokenKind::name && at_word("in", 2))) {
    parse_steps_setting(train);
  } else {
    return false;
  }
  return true;
}

ast::File parse(FileId file, const Sources& sources, Diagnostics& diagnostics) { return Parser(file, sources, diagnostics).parse_file(); }

}  // namespace gradc
