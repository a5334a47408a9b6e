// The parser's state and what all of its parts use: looking at tokens, line ends, diagnostics, recovery.
//
// Line ends: a token that is first on its line ends the statement before it, unless a `(` or `[` is open or it is a sign
// that can only continue one (`|>`, `+`, see signs.def). Where an operand is expected line ends do not matter.
//
// Recovery: after the first mistake of a statement the parser panics: every look at the next token says `end`, so all loops
// finish and nothing more is reported, until `recover` skips to where the next statement begins.
#pragma once
#include <set>
#include <utility>

#include "frontend/ast.h"
#include "frontend/lexer.h"

namespace gradc {

/// How tightly operators bind, from loose to tight; the table is in parse_expressions.cpp.
enum Level : int { or_level = 1, and_level, not_level, compare_level, range_level, sum_level, product_level };

/// What the formatter needs to know and cannot see from tokens alone: where tokens begin that play these parts.
struct Layout {
  std::set<uint32_t> statements;      // first tokens of declarations, statements and settings
  std::set<uint32_t> joins_left;      // no blank before: the ( of a call, the [ of an index, the { of M{p}, : in x[0:3]
  std::set<uint32_t> joins_right;     // no blank after: the minus sign in -x, the { of M{p}, : in x[0:3]
  std::set<uint32_t> aligned;         // `<-` of updates and `=` of splits, which line up from line to line
};

class Parser {
 public:
  Parser(FileId, const Sources&, Diagnostics&);
  ast::File parse_file();
  const Layout& layout() const { return layout_; }

 private:
  // ---- tokens (parser_core.cpp)
  const Token& peek(size_t ahead = 0) const;
  std::string_view word(size_t ahead = 0) const;   // the text of a coming token; "" at the end
  bool at(TokenKind kind) const { return peek().kind == kind; }
  bool at_end() const { return at(TokenKind::end); }
  bool at_word(std::string_view w, size_t ahead = 0) const { return peek(ahead).kind == TokenKind::name && word(ahead) == w; }
  bool at_name() const;                            // a name that is not a reserved word
  bool at_line_end() const;                        // nothing, or the next token begins another statement
  bool at_item() const;                            // a declaration at the beginning of a line
  Token take();
  bool accept(TokenKind);
  bool accept_word(std::string_view);
  bool expect(TokenKind, std::string_view where);
  bool expect_word(std::string_view, std::string_view where);
  ast::Ident expect_name(std::string_view what);
  ast::Ident expect_text(std::string_view what);
  std::string_view text(const Token& t) const { return std::string_view(source_).substr(t.begin, t.end - t.begin); }
  Span span(const Token& t) const { return {file_, t.begin, t.end}; }
  Span from(uint32_t begin) const { return {file_, begin, std::max(begin, last_end_)}; }   // to the end of the last token taken

  // ---- mistakes
  Diagnostic& fail(DiagnosticId, Span, std::string message);   // panics; the message is dropped if it already did
  Diagnostic& fail_expected(std::string_view what);            // at the next token
  std::string found() const;                                   // "`)`", "`foo`", "the end of the line"
  void join_left() { layout_.joins_left.insert(peek().begin); }     // the next token, when it is known to be taken
  void join_right() { layout_.joins_right.insert(peek().begin); }
  static std::string_view foreign_word(std::string_view);      // what to write instead of `return`; "" for most words
  void close(TokenKind right, const Token& left);              // takes the partner of a bracket or fails at the missing one
  void recover_statement();
  void recover_item();

  // ---- expressions (parse_expressions.cpp)
  ast::ExprPtr parse_expr();
  ast::ExprPtr parse_header_expr();   // before a block: no `M{p}` outside of brackets
  ast::ExprPtr parse_binary(int level);
  ast::ExprPtr parse_unary();
  ast::ExprPtr parse_power();
  ast::ExprPtr parse_postfix();
  ast::ExprPtr parse_suffix(ast::ExprPtr);         // null if there is none
  ast::ExprPtr parse_primary();
  ast::ExprPtr parse_word();
  ast::ExprPtr parse_parenthesised();
  ast::ExprPtr parse_list();
  ast::ExprPtr parse_if();
  std::vector<ast::Argument> parse_arguments();
  std::vector<ast::Override> parse_overrides();
  ast::Override parse_override();
  ast::Argument parse_argument(bool names_only);
  std::vector<ast::Subscript> parse_subscripts();
  ast::Subscript parse_subscript();
  /// item, item, ... up to the closing bracket, which stays.
  template <class ParseItem>
  void parse_separated(TokenKind right, ParseItem item) {
    while (!at(right) && !at_end()) {
      item();
      if (!accept(TokenKind::comma)) break;
    }
  }
  template <class Node>
  ast::ExprPtr expr(uint32_t begin, Node node) {
    auto e = std::make_unique<ast::Expr>();
    e->span = from(begin);
    e->node = std::move(node);
    return e;
  }
  ast::ExprPtr invalid();

  // ---- statements (parse_statements.cpp)
  enum class Place : uint8_t { body, train, step };   // which statements may occur
  ast::Block parse_block(Place);
  ast::StmtPtr parse_statement(Place);
  bool parse_train_statement(ast::Stmt&, Place);
  void end_statement();
  ast::Block parse_body(bool& short_form);         // { ... } or = e
  void parse_let(ast::Stmt&);
  ast::Let parse_let_rest();
  ast::Minimize parse_minimize();
  ast::TypeExpr parse_type();
  std::vector<ast::Parameter> parse_parameters();
  ast::Parameter parse_parameter();

  // ---- declarations (parse_items.cpp)
  void parse_item(ast::File&);
  ast::Function parse_function(ast::FunctionKind, std::string doc);
  std::vector<ast::TypeExpr> parse_results();
  ast::Data parse_data();
  void parse_splits(std::vector<ast::Split>&);
  void parse_source(ast::Split&);
  ast::Train parse_train();
  bool parse_setting(ast::Train&);
  ast::ExprPtr parse_setting_value();
  void parse_steps_setting(ast::Train&);
  void parse_stop(ast::Train&);
  void parse_watch(ast::Train&);
  void once(bool seen, const Token& at, std::string_view what);

  FileId file_;
  const std::string& source_;
  Diagnostics& diagnostics_;
  std::vector<Token> tokens_;          // without comments
  std::vector<std::string> docs_;      // the doc comment directly before each token
  std::string file_doc_;
  Token end_token_;                    // what a panicking parser sees
  size_t next_ = 0;
  uint32_t last_end_ = 0;
  bool panic_ = false;
  Diagnostic dropped_;                 // takes the hints of diagnostics that are not reported
  int brackets_ = 0;                   // open ( and [ since the last {
  int open_at_failure_ = 0;            // brackets_ when the parser panicked
  int depth_ = 0;                      // nesting of expressions and blocks
  bool no_brace_ = false;              // in the header of a block
  Layout layout_;
  ast::Train* train_ = nullptr;        // the block whose outermost level is being parsed

  /// Counts nesting for as long as it lives; ok() is false, and the parser panics, when there is too much of it.
  class Nest {
   public:
    explicit Nest(Parser&);
    ~Nest() { --parser_.depth_; }
    bool ok() const { return parser_.depth_ <= limit; }
    static constexpr int limit = 200;

   private:
    Parser& parser_;
  };
  /// The inside of ( ) and [ ], where line ends mean nothing; or of a block, where they do.
  class Brackets {
   public:
    explicit Brackets(Parser& p, bool block = false)
        : parser_(p), brackets_(std::exchange(p.brackets_, block ? 0 : p.brackets_ + 1)), no_brace_(std::exchange(p.no_brace_, false)) {}
    ~Brackets() { parser_.brackets_ = brackets_, parser_.no_brace_ = no_brace_; }

   private:
    Parser& parser_;
    int brackets_;
    bool no_brace_;
  };
  bool chain(int& links);              // the same for operators in a row
};

}  // namespace gradc
