#include "ir/ops.h"

#include <array>

namespace gradc::ir {
namespace {
// A row's attribute list "(a, b)" becomes an initializer list of Attr within this scope.
namespace lists {
using enum Attr;
template <Attr... attrs>
struct List {
  static constexpr std::array<Attr, sizeof...(attrs)> items = {attrs...};
};
#define UNPACK(...) List<__VA_ARGS__>
#define OP(name, kind, operands, attributes, rule, traits, doc) using name##_attributes = UNPACK attributes;
#include "ir/ops.def"
}  // namespace lists

constexpr OpInfo infos[] = {
#define OP(name, kind, operands, attributes, rule, traits, doc) \
  {#name, OpKind::kind, operands, lists::name##_attributes::items, static_cast<uint32_t>(traits), doc},
#include "ir/ops.def"
};

constexpr Op ops[] = {
#define OP(name, ...) Op::name,
#include "ir/ops.def"
};

struct AttrInfo {
  std::string_view name;
  AttrKind kind;
  bool optional;
};
constexpr AttrInfo attrs[] = {
#define ATTR(name, kind) {#name, AttrKind::kind, false},
#define OPTIONAL_ATTR(name, kind) {#name, AttrKind::kind, true},
#include "ir/ops.def"
};

// Names that C++ reserves carry an underscore in ops.def and none in the text form.
constexpr std::string_view plain(std::string_view name) {
  return name.ends_with('_') ? name.substr(0, name.size() - 1) : name;
}
constexpr auto named_infos = [] {
  std::array<OpInfo, std::size(infos)> rows{};
  for (size_t i = 0; i < rows.size(); ++i) rows[i] = infos[i], rows[i].name = plain(infos[i].name);
  return rows;
}();
}  // namespace

const OpInfo& info(Op op) { return named_infos[static_cast<size_t>(op)]; }
std::string_view attr_name(Attr attr) { return attrs[static_cast<size_t>(attr)].name; }
AttrKind attr_kind(Attr attr) { return attrs[static_cast<size_t>(attr)].kind; }
bool is_optional(Attr attr) { return attrs[static_cast<size_t>(attr)].optional; }
std::span<const Op> all_ops() { return ops; }

std::optional<Op> op_from_name(std::string_view name) {
  for (Op op : ops)
    if (info(op).name == name) return op;
  return std::nullopt;
}
std::optional<Attr> attr_from_name(std::string_view name) {
  for (size_t i = 0; i < std::size(attrs); ++i)
    if (attrs[i].name == name) return static_cast<Attr>(i);
  return std::nullopt;
}
}  // namespace gradc::ir
