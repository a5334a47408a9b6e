// The syntax tree of a model file or a library file: what the parser gives and the elaborator runs. One small struct per
// construct; the comment above each shows it as written. Nothing here is resolved: whether `dense(10)` configures a layer,
// calls a function or names an optimizer is the elaborator's to say. Spans are the bytes of the whole construct.
//
// The parser never leaves a pointer null that is not called optional here; after a syntax error it leaves `Invalid`.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "ir/diagnostics.h"

namespace gradc::ast {

struct Expr;
struct Stmt;
using ExprPtr = std::unique_ptr<Expr>;
using StmtPtr = std::unique_ptr<Stmt>;

/// A name where it is introduced or used, with its place.
struct Ident {
  std::string text;
  Span span;
};

/// { a; b; c }. Its value is that of its last statement, if that is an expression. `= e` makes a block of that one expression.
struct Block {
  Span span;
  std::vector<StmtPtr> statements;
};

// ---- types

/// One dimension of a type: an expression over names (`n`, `d`, `28`, `width / 2`), or `...`, which binds leading dimensions.
struct Dimension {
  Span span;
  ExprPtr size;   // null for `...`
};

/// f32[n, d]   f32   int   u8[28, 28]   param[10]   (`f32[...]`: any shape). A scalar or a compile-time type has no brackets.
struct TypeExpr {
  Span span;
  Ident element;             // f32 f64 bf16 i32 i64 u8 bool | int float text layer fn | param (like the parameters)
  bool has_shape = false;    // brackets were written
  std::vector<Dimension> shape;
};

// ---- expressions

struct Invalid {};                                       // after a syntax error
struct Number { double value = 0; bool integer = false; };   // 3 (integer)   0.5   1e-3
struct Text { std::string value; };                      // "train.gz", without quotes and escapes
struct Bool { bool value = false; };                     // true   false
struct Name { std::string text; };                       // x   relu   training   inf   param   grad
struct List { std::vector<ExprPtr> items; };             // [a, b]
struct Tuple { std::vector<ExprPtr> items; };            // (a, b)   (a,)   ()

/// `*.b: 0` in `decay = 0.01 { *.b: 0 }`: another value for the parameters whose path matches.
struct Override {
  Span span;
  std::string pattern;   // "*.b", "net.head.*", as written but without blanks
  ExprPtr value;
};
/// An argument: `x`, `axis = -1`, or `decay = 0.01 { *.b: 0, *.gain: 0 }`.
struct Argument {
  Span span;
  std::optional<Ident> name;
  ExprPtr value;
  std::vector<Override> overrides;
};
struct Call { ExprPtr callee; std::vector<Argument> arguments; };   // f(x, axis = 1)   dense(10)(x)
struct Pipe { ExprPtr value, stage; };                   // x |> relu   x |> dense(10)   x |> flatten(from = 2)
struct Pinned { ExprPtr value; Ident name; };            // dense(10) as head
struct Member { ExprPtr object; Ident name; };           // net.w   fashion.train
struct Substitute { ExprPtr model, parameters; };        // net{p}   (then called: net{p}(x))

/// One subscript: `3` (index only), `0:3`, `:`, `::2`, `a:b:s`. Each part of a range may be missing (null).
struct Subscript {
  Span span;
  bool range = false;
  ExprPtr index;                // of no range
  ExprPtr begin, end, stride;   // of a range
};
struct Index { ExprPtr object; std::vector<Subscript> subscripts; };   // x[:, 0:3]   normal[n, 4]   bernoulli(p)[n]

enum class UnaryOp : uint8_t { negate, logical_not };    // -x   not x
enum class BinaryOp : uint8_t {
  add, subtract, multiply, divide, remainder, matmul, power,                  // + - * / % @ ^
  equal, not_equal, less, less_equal, greater, greater_equal,                 // == != < <= > >=
  logical_and, logical_or                                                     // and or
};
std::string_view symbol(UnaryOp);    // "-"
std::string_view symbol(BinaryOp);   // "+"
struct Unary { UnaryOp op; ExprPtr operand; };
struct Binary { BinaryOp op; ExprPtr left, right; Span sign; };   // sign: where the operator stands
struct Range { ExprPtr begin, end; };                    // 0..6: from 0 up to, without, 6 (`axis = 0..-1`: all axes but the last)

/// if c { a } else { b }. `else if` is a block whose one statement is an If.
struct If { ExprPtr condition; Block then; std::optional<Block> otherwise; };

struct Expr {
  Span span;
  std::variant<Invalid, Number, Text, Bool, Name, List, Tuple, Call, Pipe, Pinned, Member, Substitute, Index, Unary, Binary, Range, If> node;
};

// ---- functions of every kind

/// x: f32[n, d]   units: int   axis = -1   label: u8 < 10   id: i32 in 1..11
struct Parameter {
  Span span;
  Ident name;
  std::optional<TypeExpr> type;
  ExprPtr low, high;   // low <= value < high; each null if not written
  ExprPtr value;       // the default; null if there is none
};

enum class FunctionKind : uint8_t { fn, layer, model, optimizer, schedule, export_, local };   // local: let f(x) = e

/// fn softmax(x, axis = -1) { ... }      layer dense(units: int)(x: f32[..., d]) -> f32[..., units] { ... }
/// model net(x: f32[n, 4]) = ...         optimizer sgd(lr = 0.1) { ... }     export predict(x: f32[n, 4]) = ...     export next(t: token[n]) for 64 steps = ...
struct Function {
  Span span;
  FunctionKind kind;
  Ident name;
  std::vector<Parameter> config;       // layer: the first list; others: empty
  bool has_config = false;             // layer: two lists were written. `layer f(x) {}` has none: `x |> f`
  std::vector<Parameter> parameters;
  std::vector<TypeExpr> results;       // after ->; several for a tuple; empty if not written
  ExprPtr steps;                       // export ... for 64 steps: how long its sessions last; else null
  Block body;
  bool short_form = false;             // = e
  std::string doc;                     // the /// lines above, without the slashes
};

// ---- statements

/// let y = e      let (m, v) = e      let y: f32[n, 4] = e
struct Let { std::vector<Ident> names; bool tuple = false; std::optional<TypeExpr> type; ExprPtr value; };
/// let split(y) = e
struct Define { std::unique_ptr<Function> function; };
enum class DeclareKind : uint8_t { param, state, session };
inline const char* word(DeclareKind kind) { return kind == DeclareKind::param ? "param" : kind == DeclareKind::state ? "state" : "session"; }
/// param w: f32[d, units] = init()      state mu: f32[c] = zeros()      state v = 0      session keys: f32[steps, d] = 0
struct Declare { DeclareKind kind = DeclareKind::param; Ident name; std::optional<TypeExpr> type; ExprPtr value; };
/// y = e (only inside `for`)      v <- e      net.w <- e
struct Assign { ExprPtr target; bool update = false; ExprPtr value; };   // update: <-
/// for i in 0..6 { ... }
struct For { Ident name; ExprPtr range; Block body; };
/// An expression by itself; the value of the block if it is the last one. `if` without `else` is one too.
struct Evaluate { ExprPtr value; };

// Only in a train block:
/// minimize loss over net, net.head with adam(lr = 1e-3) or sgd()
struct Minimize { ExprPtr loss; std::vector<ExprPtr> over; std::vector<ExprPtr> optimizers; };   // both may be empty
/// report accuracy = e
struct Report { Ident name; ExprPtr value; };
/// load "weights.safetensors" into net.body from "encoder."
struct Load { Ident file; ExprPtr into; std::optional<Ident> prefix; };   // into may be null: everything
/// freeze net.body, net.embed
struct Freeze { std::vector<ExprPtr> targets; };
/// step critic_step repeat 5 { ... }
struct Step { Ident name; ExprPtr repeat; Block body; };   // repeat may be null: once

struct Stmt {
  Span span;
  std::variant<Evaluate, Let, Define, Declare, Assign, For, Minimize, Report, Load, Freeze, Step> node;
};

// ---- files

/// import "blocks.grad"
struct Import { Ident file; };
/// config width = 256      config depth: int = 2
struct Config { Ident name; std::optional<TypeExpr> type; ExprPtr value; std::string doc; };
/// precision bf16
struct PrecisionMode { Ident mode; };
/// let pi = 3.14159 (a constant of the file)
struct Constant { Let let; std::string doc; };

enum class SourceKind : uint8_t { idx, csv, npy, cifar10, images, text, table, generate, part, share };
/// train = idx("images.gz", "labels.gz")     all = csv("iris.csv")     x = npy("x.npy", "y.npy")
/// xor = table [[0, 0, 0], [0, 1, 1]]        noise = generate(i < 1000) { ... }        small = train[0:5000]
/// pets = images("pets", fit = "crop")       train, valid = split(all, 0.9)       tale = text("tale.txt", tokens = "characters", vocabulary = 100)
struct Split {
  Span span;
  Ident name;
  SourceKind kind;
  std::vector<Ident> files;         // of the kinds that read files: the texts, without quotes
  std::vector<Argument> options;    // behind them, each with a name
  std::shared_ptr<Expr> rows;       // table: a List of Lists; part: an Index of a Name; share: a Call, the same for all its names; otherwise null
  size_t share = 0, shares = 1;     // share: which of how many names
  Ident index; ExprPtr count;       // generate: i and 1000
  std::optional<Block> body;        // generate: gives the fields, as a tuple
};
/// data fashion(image: u8[28, 28], label: u8 < 10) { train = ...  test = ...  from "/usr/share/..." }
struct Data {
  Ident name;
  std::vector<Parameter> fields;
  std::vector<Split> splits;
  std::optional<Ident> directory;
  std::vector<Ident> classes;       // classes "cat", "dog": names of the labels 0, 1, ...
  std::optional<Block> augment;     // augment { image <- random_flip(image) }
  std::string doc;
};

/// stop early on critic_step after 3 epochs without lower loss
struct StopEarly { Span span; std::optional<Ident> step; ExprPtr epochs; };
/// watch gradients every 20 steps
struct Watch { Span span; ExprPtr every; };   // null if not written
/// train NAME on d.train, validate on d.test { batch 128  epochs 10 ... }       train for 1000 steps { ... }
struct Train {
  std::optional<Ident> name;
  ExprPtr on, validate;             // fashion.train, fashion.train[0:50000]; each may be null
  ExprPtr batch;                    // null with `batch all`, and if not written
  bool batch_all = false;
  ExprPtr accumulate, epochs, steps;   // each null if not written
  std::optional<StopEarly> stop;
  std::optional<Watch> watch;
  Block body;                       // everything else, in order
};

struct Item {
  Span span;
  std::variant<Import, Config, PrecisionMode, Constant, Data, Function, Train> node;
};

struct File {
  FileId file = 0;
  std::string doc;                  // the comment that opens the file, without slashes
  std::vector<Item> items;
};

}  // namespace gradc::ast
