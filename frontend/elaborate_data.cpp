// Data declarations: fields, where the samples come from, ranges that the reader checks.
#include <fmt/format.h>

#include <cmath>
#include <limits>

#include "frontend/elaborator.h"

namespace gradc::front {
namespace {
program::ElementType image_element(ir::ElementType t) { return static_cast<program::ElementType>(t); }   // same order, program.fbs says
}  // namespace

const ast::Data* Elaborator::find_data(const std::string& name) const {
  for (const ast::Data* data : data_)
    if (data->name.text == name) return data;
  return nullptr;
}

std::optional<ir::Type> Elaborator::field_type(const ast::Parameter& field, const ast::Data& data) {
  if (!field.type) {
    fail(DiagnosticId::bad_data, field.span, fmt::format("the field `{}` of `{}` has no type", field.name.text, data.name.text), "", {}, {"`image: u8[28, 28]`, `label: u8`"});
    return std::nullopt;
  }
  return declared_type(*field.type, *file_scope);
}

std::unique_ptr<program::FieldT> Elaborator::field_image(const ast::Parameter& field, const ir::Type& type) {
  auto image = std::make_unique<program::FieldT>();
  image->name = field.name.text;
  image->type = std::make_unique<program::TensorTypeT>();
  image->type->element = image_element(type.element);
  image->type->shape = type.shape;
  if (!field.low && !field.high) return image;
  image->has_range = true;
  image->low = type.element == ir::ElementType::u8 || ir::is_integer(type.element) ? 0 : -std::numeric_limits<double>::infinity();
  image->high = std::numeric_limits<double>::infinity();
  if (field.low)
    if (auto low = fix(eval(*field.low, *file_scope), field.low->span, "a range")) image->low = *low;
  if (field.high)
    if (auto high = fix(eval(*field.high, *file_scope), field.high->span, "a range")) image->high = *high;
  if (image->low >= image->high) fail(DiagnosticId::bad_data, field.span, fmt::format("nothing is in the range from {} up to {}", number_text(image->low), number_text(image->high)));
  return image;
}

int64_t Elaborator::known_samples(const DataSplit& wanted) const {
  for (const auto& data : program.image.data) {
    if (data->name != wanted.data) continue;
    int64_t size = 0;
    for (const auto& field : data->fields) size += ir::shape_size(field->type->shape);
    for (const auto& split : data->splits) {
      if (split->name != wanted.split) continue;
      if (split->kind != program::SourceKind::table) return 0;
      int64_t all = size ? static_cast<int64_t>(split->rows.size()) / size : 0;
      int64_t last = split->last < 0 ? all : std::min(split->last, all);
      return std::max<int64_t>(last - split->first, 0);
    }
  }
  return 0;
}

bool Elaborator::use_split(DataSplit& wanted, const Span& span) {
  if (wanted.first == 0 && wanted.last < 0) return true;
  for (const auto& data : program.image.data) {
    if (data->name != wanted.data) continue;
    std::string name = fmt::format("{}[{}:{}]", wanted.split, wanted.first, wanted.last < 0 ? "" : fmt::format("{}", wanted.last));
    const program::SplitT* source = nullptr;
    for (const auto& split : data->splits) {
      if (split->name == name) return wanted = {wanted.data, name}, true;
      if (split->name == wanted.split) source = split.get();
    }
    if (!source) return false;
    auto part = std::make_unique<program::SplitT>(*source);
    part->name = name;
    part->line = line_text(span);
    part->first = source->first + wanted.first;
    if (wanted.last >= 0) part->last = source->first + wanted.last;
    if (source->last >= 0 && (part->last > source->last || part->first >= source->last)) {
      fail(DiagnosticId::bad_data, span, fmt::format("samples {} are not in `{}`", name.substr(wanted.split.size()), wanted.split));
      return false;
    }
    if (part->last >= 0 && part->first >= part->last) {
      fail(DiagnosticId::bad_data, span, fmt::format("`{}` has no sample", name));
      return false;
    }
    data->splits.push_back(std::move(part));
    wanted = {wanted.data, name};
    int64_t all = known_samples({wanted.data, source->name});
    if (all && known_samples(wanted) < 1) {
      fail(DiagnosticId::bad_data, span, fmt::format("`{}` has no sample: there are {}", name, all));
      return false;
    }
    return true;
  }
  return false;
}

void Elaborator::declare_data(const ast::Data& data, Env& scope) {
  auto image = std::make_unique<program::DataSetT>();
  image->name = data.name.text;
  image->directory = data.directory ? data.directory->text : "";
  int64_t numbers = 0;
  std::set<std::string> names;
  for (const ast::Parameter& field : data.fields) {
    if (!names.insert(field.name.text).second) fail(DiagnosticId::duplicate_name, field.name.span, fmt::format("there are two fields `{}`", field.name.text));
    static const std::set<std::string> taken = {"seed", "step", "row", "valid", "t", "T", "epoch", "val_loss", "count"};
    if (taken.count(field.name.text)) fail(DiagnosticId::bad_data, field.name.span, fmt::format("`{}` means something else in a train block; the field needs another name", field.name.text));
    auto type = field_type(field, data);
    if (!type) continue;
    numbers += type->size();
    image->fields.push_back(field_image(field, *type));
  }
  names.clear();
  for (const ast::Split& split : data.splits) {
    if (!names.insert(split.name.text).second) fail(DiagnosticId::duplicate_name, split.name.span, fmt::format("there are two splits `{}`", split.name.text));
    auto out_split = std::make_unique<program::SplitT>();
    out_split->name = split.name.text;
    out_split->line = line_text(split.span);
    for (const ast::Ident& file : split.files) out_split->files.push_back(file.text);
    switch (split.kind) {
      case ast::SourceKind::idx:
      case ast::SourceKind::npy:
        out_split->kind = split.kind == ast::SourceKind::idx ? program::SourceKind::idx : program::SourceKind::npy;
        if (split.files.size() != data.fields.size())
          fail(DiagnosticId::bad_data, split.span, fmt::format("`{}` has {} fields and {} files: each field needs one", data.name.text, data.fields.size(), split.files.size()));
        break;
      case ast::SourceKind::csv:
        out_split->kind = program::SourceKind::csv;
        if (split.files.size() != 1) fail(DiagnosticId::bad_data, split.span, "csv takes one file; its columns fill the fields in order");
        break;
      case ast::SourceKind::table: {
        out_split->kind = program::SourceKind::table;
        Value rows = eval(*split.rows, scope);
        if (rows.is<Poison>()) break;
        auto* list = rows.get<List>();
        if (!list || list->items->empty()) {
          fail(DiagnosticId::bad_data, split.rows->span, "a table is a list of samples, each a list of numbers");
          break;
        }
        // A sample may be written flat or in the shapes of its fields.
        auto flat = [](auto&& self, const Value& v, std::vector<double>& numbers) -> bool {
          if (auto* n = v.get<Number>(); n && n->known) return numbers.push_back(n->value), true;
          if (auto* f = v.get<Flag>(); f && f->known) return numbers.push_back(f->value), true;
          if (auto* items = v.get<List>()) {
            for (const Value& item : *items->items)
              if (!self(self, item, numbers)) return false;
            return true;
          }
          return false;
        };
        for (size_t i = 0; i < list->items->size(); ++i) {
          std::vector<double> sample;
          if (!flat(flat, (*list->items)[i], sample) || static_cast<int64_t>(sample.size()) != numbers) {
            const auto* written = std::get_if<ast::List>(&split.rows->node);
            Span at = written && i < written->items.size() ? written->items[i]->span : split.rows->span;
            fail(DiagnosticId::bad_data, at, fmt::format("a sample of `{}` has {} numbers, this one has {}", data.name.text, numbers, sample.size()), "", {{data.name.span, "its fields are declared here"}});
            break;
          }
          size_t at = 0;
          for (const auto& field : image->fields)
            for (int64_t k = 0; k < ir::shape_size(field->type->shape); ++k, ++at)
              if (field->has_range && !(sample[at] >= field->low && sample[at] < field->high))
                fail(DiagnosticId::bad_data, split.rows->span, fmt::format("sample {} has {} in `{}`, which is from {} up to {}", i, number_text(sample[at]), field->name, number_text(field->low), number_text(field->high)));
          out_split->rows.insert(out_split->rows.end(), sample.begin(), sample.end());
        }
        break;
      }
      case ast::SourceKind::part: {
        // small = train[0:5000]: of a split before it.
        auto* index = std::get_if<ast::Index>(&split.rows->node);
        auto* name = index ? std::get_if<ast::Name>(&index->object->node) : nullptr;
        const program::SplitT* source = nullptr;
        for (const auto& s : image->splits)
          if (name && s->name == name->text) source = s.get();
        if (!source) {
          fail(DiagnosticId::bad_data, split.span, "a part is taken of a split that stands before it");
          break;
        }
        *out_split = *source;
        out_split->name = split.name.text;
        out_split->line = line_text(split.span);
        if (index->subscripts.size() != 1 || !index->subscripts[0].range || index->subscripts[0].stride) {
          fail(DiagnosticId::bad_subscript, split.span, "a part of a split is written `train[0:1000]`");
          break;
        }
        const ast::Subscript& s = index->subscripts[0];
        auto begin = s.begin ? fix_integer(eval(*s.begin, scope), s.begin->span, "a sample's number") : 0;
        auto end = s.end ? fix_integer(eval(*s.end, scope), s.end->span, "a sample's number") : -1;
        if (!begin || !end) break;
        out_split->first = source->first + *begin;
        if (*end >= 0) out_split->last = source->first + *end;
        if (out_split->last >= 0 && out_split->first >= out_split->last) fail(DiagnosticId::bad_data, split.span, fmt::format("`{}` has no sample", split.name.text));
        break;
      }
      case ast::SourceKind::generate:
        fail(DiagnosticId::not_supported, split.span, "`generate` is not there yet", "", {}, {"`table` holds small sets, files larger ones"});
        break;
    }
    image->splits.push_back(std::move(out_split));
  }
  data_.push_back(&data);
  program.image.data.push_back(std::move(image));
}

}  // namespace gradc::front
