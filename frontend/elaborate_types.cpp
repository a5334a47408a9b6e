// Signatures: types with named dimensions are solved from the values that meet them and checked. A name binds at its first
// meeting, in the callee's scope; a name that is a number already, and an expression over such names, is checked.
#include <fmt/format.h>

#include "frontend/elaborator.h"

namespace gradc::front {
using ir::ElementType;

std::string Elaborator::type_text(const ast::TypeExpr& t) const { return sources.text(t.span.file).substr(t.span.begin, t.span.end - t.span.begin); }

std::optional<ElementType> Elaborator::element_type(const ast::TypeExpr& t) {
  if (t.element.text == "token") return ir::ElementType::i32;
  auto element = ir::element_from_name(t.element.text);
  if (!element) {
    std::vector<std::string> names = {"f32", "f64", "bf16", "i32", "i64", "u8", "bool", "token"};
    std::string near = nearest(t.element.text, names);
    fail(DiagnosticId::unknown_type, t.element.span, fmt::format("`{}` is no element type", t.element.text), "", {},
         {near.empty() ? "element types are f32, f64, bf16, i32, i64, u8 and bool" : fmt::format("did you mean `{}`?", near)});
  }
  return element;
}

namespace {
const char* as_name(const ast::Dimension& d) {
  if (!d.size) return nullptr;
  auto* name = std::get_if<ast::Name>(&d.size->node);
  return name ? name->text.c_str() : nullptr;
}
}  // namespace

bool Elaborator::match_shape(const ast::TypeExpr& t, const ir::Shape& shape, Env& names, const TypeUse& use) {
  size_t dots = 0;
  for (size_t i = 0; i < t.shape.size(); ++i)
    if (!t.shape[i].size) ++dots;
  std::string wanted = type_text(t);
  auto mismatch = [&](const std::string& why, const Span& from) {
    std::vector<Label> labels = {{t.span, fmt::format("{} is declared {}", use.what, wanted)}};
    if (from.known()) labels.push_back({from, "the dimension got its value here"});
    std::string element = t.element.text;
    fail(DiagnosticId::shape_mismatch, use.value, fmt::format("{} must be {}, this is {}{}{}", use.what, wanted, element, ir::to_string(shape), why), "", labels);
    return false;
  };
  size_t fixed_count = t.shape.size() - dots;
  if (!t.has_shape && !shape.empty()) return mismatch(": not a scalar", {});
  if (dots > 1) return fail(DiagnosticId::wrong_kind, t.span, "`...` can stand once in a type"), false;
  if (dots == 0 ? shape.size() != fixed_count : shape.size() < fixed_count)
    return mismatch(fmt::format(": rank {} is needed", dots == 0 ? fmt::format("{}", fixed_count) : fmt::format("{} or more", fixed_count)), {});
  size_t rest = shape.size() - fixed_count;
  for (size_t i = 0, axis = 0; i < t.shape.size(); ++i) {
    const ast::Dimension& d = t.shape[i];
    if (!d.size) {
      // `...` is the same list of dimensions wherever it stands in one signature.
      std::vector<int64_t> here(shape.begin() + axis, shape.begin() + axis + rest);
      auto [it, fresh] = names.names.try_emplace("...", Binding{make_list(here), use.value});
      if (!fresh) {
        auto before = fix_integers(it->second.value, d.span, "a dimension");
        if (before && *before != here) return mismatch(fmt::format(": `...` is {} here and was {}", ir::to_string(here), ir::to_string(*before)), it->second.span);
      }
      axis += rest;
      continue;
    }
    int64_t extent = shape[axis];
    if (const char* name = as_name(d)) {
      Binding* known = names.find(name);
      if (known && known->value.is<Poison>()) { ++axis; continue; }
      if (!known || !known->value.is<Number>()) {
        names.names[name] = Binding{static_cast<double>(extent), use.value};
        ++axis;
        continue;
      }
      auto value = fix_integer(known->value, d.span, fmt::format("dimension `{}`", name));
      if (!value) return false;
      if (*value != extent) return mismatch(fmt::format(": dimension {} is {}, but `{}` is {}", axis, extent, name, *value), known->span);
    } else {
      auto value = fix_integer(eval(*d.size, names), d.span, "a dimension");
      if (!value) return false;
      if (*value != extent) return mismatch(fmt::format(": dimension {} is {}, not {}", axis, extent, *value), {});
    }
    ++axis;
  }
  return true;
}

bool Elaborator::match(const ast::TypeExpr& t, Value& value, Env& names, const TypeUse& use) {
  if (value.is<Poison>()) return true;
  const std::string& element = t.element.text;
  auto wrong_kind = [&](const std::string& wanted) {
    fail(DiagnosticId::wrong_kind, use.value, fmt::format("{} must be {}, this is {}", use.what, wanted, kind_of(value)), "", {{t.span, fmt::format("declared {}", type_text(t))}});
    return false;
  };
  if (element == "int") {
    auto* number = value.get<Number>();
    if (!number) return wrong_kind("a whole number");
    if (number->known && number->value != static_cast<double>(static_cast<int64_t>(number->value))) return fix_integer(value, use.value, use.what).has_value();
    return true;
  }
  if (element == "float") return value.is<Number>() || wrong_kind("a number");
  if (element == "text") return value.is<Text>() || wrong_kind("a text");
  if (element == "layer") return value.is<Layer>() || value.is<LayerKind>() || value.is<Model>() || value.is<Closure>() || value.is<const Builtin*>() || wrong_kind("a layer");
  if (element == "fn") return value.is<Closure>() || value.is<const Builtin*>() || value.is<Layer>() || value.is<Model>() || value.is<LayerKind>() || wrong_kind("a function");
  if (element == "param") return value.is<Set>() || wrong_kind("like the parameters");
  if (element == "bool" && !t.has_shape && value.is<Flag>()) return true;
  auto wanted = element_type(t);
  if (!wanted) return false;
  if (!t.has_shape && value.is<Number>()) return true;   // stays weak
  if (value.is<List>()) {
    ir::Shape shape;
    auto numbers = list_numbers(value, shape, use.value);
    if (!numbers) return false;
    value = tensor(builder().literal(std::move(*numbers), {*wanted, shape}));
  }
  if (!value.is<Tensor>()) return wrong_kind(fmt::format("the tensor {}", type_text(t)));
  const ir::Type given = type(*value.get<Tensor>());
  if (given.element != *wanted) {
    std::vector<std::string> hints;
    if (ir::is_float(*wanted)) hints.push_back(fmt::format("`{}(x)` casts, `x / 255` gives f32", ir::element_name(*wanted)));
    else hints.push_back(fmt::format("`{}(x)` casts", ir::element_name(*wanted)));
    fail(DiagnosticId::wrong_element_type, use.value, fmt::format("{} must be {}, this is {}", use.what, type_text(t), ir::to_string(given)), "",
         {{t.span, fmt::format("declared {}", type_text(t))}}, hints);
    return false;
  }
  return match_shape(t, given.shape, names, use);
}

bool Elaborator::fits_memory(const std::vector<int64_t>& shape, const Span& span) {
  double elements = 1;   // as a double: the product may be beyond any integer
  for (int64_t extent : shape) elements *= static_cast<double>(extent);
  if (elements <= 68719476736.0) return true;   // 2^36
  fail(DiagnosticId::not_whole, span, fmt::format("a tensor of {} has more than 2^36 elements", ir::to_string(shape)));
  return false;
}

std::optional<ir::Type> Elaborator::declared_type(const ast::TypeExpr& t, Env& env) {
  auto element = element_type(t);
  if (!element) return std::nullopt;
  ir::Type result{*element, {}};
  for (const ast::Dimension& d : t.shape) {
    if (!d.size) {
      Binding* rest = env.find("...");
      if (!rest) {
        fail(DiagnosticId::wrong_kind, d.span, "`...` has no value here");
        return std::nullopt;
      }
      auto list = fix_integers(rest->value, d.span, "a dimension");
      if (!list) return std::nullopt;
      result.shape.insert(result.shape.end(), list->begin(), list->end());
      continue;
    }
    auto extent = fix_integer(eval(*d.size, env), d.span, "a dimension");
    if (!extent) return std::nullopt;
    if (*extent < 1) {
      fail(DiagnosticId::not_whole, d.span, fmt::format("the dimension is {}; dimensions are positive", *extent));
      return std::nullopt;
    }
    result.shape.push_back(*extent);
  }
  if (!fits_memory(result.shape, t.span)) return std::nullopt;
  return result;
}

}  // namespace gradc::front
