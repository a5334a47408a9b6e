// Operations and attributes as enums and tables, all expanded from ops.def.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace gradc::ir {

enum class Op : uint8_t {
#define OP(name, ...) name,
#include "ir/ops.def"
};

enum class Attr : uint8_t {
#define ATTR(name, kind) name,
#include "ir/ops.def"
};

enum class OpKind : uint8_t { map, view, contract, reduce, index, source, gradient, loop };
enum class AttrKind : uint8_t { integer, number, text, integers, element, dense, function };

enum Traits : uint32_t {
  none = 0,
  elementwise = 1,    // result element i depends on operand elements i alone
  commutative = 2,
  associative = 4,    // up to rounding
  tuple = 8,          // has several results, and no value itself
  part = 16,          // its value is the result `index` of its operand, a tuple
};

struct OpInfo {
  std::string_view name;
  OpKind kind;
  int operands;   // -1: any number
  std::span<const Attr> attributes;
  uint32_t traits;
  std::string_view doc;
};

const OpInfo& info(Op);
std::string_view attr_name(Attr);
AttrKind attr_kind(Attr);
bool is_optional(Attr);
std::span<const Op> all_ops();
std::optional<Op> op_from_name(std::string_view);
std::optional<Attr> attr_from_name(std::string_view);
std::string_view kind_name(OpKind);        // "map", ...
std::string_view attr_kind_name(AttrKind); // "integer", ...
/// ops.def as a table in Markdown: what OPERATIONS.md holds.
std::string operations_table();

inline bool is_map(Op op) { return info(op).kind == OpKind::map; }
inline bool is_view(Op op) { return info(op).kind == OpKind::view; }
inline bool is_reduce(Op op) { return info(op).kind == OpKind::reduce; }
inline bool is_source(Op op) { return info(op).kind == OpKind::source; }

}  // namespace gradc::ir
