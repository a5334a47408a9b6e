// Data declarations: fields, where the samples come from and which of them a split has, ranges that the reader checks.
#include <fmt/format.h>

#include <algorithm>
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

namespace {
// How many samples the selections of a split leave of `total` (-1: only the files know), or -1; nothing if a slice asks for more than there is, or for none.
std::optional<int64_t> selected(const program::SplitT& split, int64_t total) {
  const bool text = split.kind == program::SourceKind::text;   // whose selections count bytes: how many samples that are, only the file knows
  for (const auto& selection : split.selections) {
    if (!selection->shares.empty()) {
      size_t share = selection->share;
      total = share < selection->shares.size() && selection->shares[share] >= 1 ? static_cast<int64_t>(selection->shares[share]) : -1;
      continue;
    }
    int64_t last = selection->last < 0 ? total : selection->last;
    if ((last >= 0 && selection->first >= last) || (total >= 0 && last > total)) return std::nullopt;
    total = last < 0 ? -1 : last - selection->first;
  }
  return text ? -1 : total;
}

std::unique_ptr<program::SplitT> part_of(const program::SplitT& source, int64_t first, int64_t last) {
  auto part = std::make_unique<program::SplitT>(source);
  auto selection = std::make_unique<program::SelectionT>();
  selection->first = first;
  selection->last = last;
  part->selections.push_back(std::move(selection));
  return part;
}

int64_t table_samples(const program::DataSetT& data, const program::SplitT& split) {
  int64_t size = 0;
  for (const auto& field : data.fields) size += ir::shape_size(field->type->shape);
  return split.kind == program::SourceKind::table && size ? static_cast<int64_t>(split.rows.size()) / size : -1;
}

const program::SplitT* find_split(const program::DataSetT& data, const std::string& name) {
  for (const auto& split : data.splits)
    if (split->name == name) return split.get();
  return nullptr;
}
}  // namespace

int64_t Elaborator::known_samples(const DataSplit& wanted) const {
  for (const auto& data : program.image.data)
    if (const auto* split = data->name == wanted.data ? find_split(*data, wanted.split) : nullptr)
      return std::max<int64_t>(0, selected(*split, table_samples(*data, *split)).value_or(0));
  return 0;
}

bool Elaborator::use_split(DataSplit& wanted, const Span& span) {
  if (wanted.first == 0 && wanted.last < 0) return true;
  for (const auto& data : program.image.data) {
    if (data->name != wanted.data) continue;
    std::string range = fmt::format("[{}:{}]", wanted.first, wanted.last < 0 ? "" : fmt::format("{}", wanted.last)), name = wanted.split + range;
    if (find_split(*data, name)) return wanted = {wanted.data, name}, true;
    const program::SplitT* source = find_split(*data, wanted.split);
    if (!source) return false;
    auto part = part_of(*source, wanted.first, wanted.last);
    part->name = name;
    part->line = line_text(span);
    if (!selected(*part, table_samples(*data, *source))) {
      auto there = selected(*source, table_samples(*data, *source));
      fail(DiagnosticId::bad_data, span, there && *there >= 0 ? fmt::format("samples {} are not in `{}`, which has {}", range, wanted.split, *there) : fmt::format("`{}` has no sample", name));
      return false;
    }
    data->splits.push_back(std::move(part));
    wanted = {wanted.data, name};
    return true;
  }
  return false;
}

// small = train[0:5000]: of a split before it.
void Elaborator::declare_part(const ast::Split& split, const program::DataSetT& data, program::SplitT& out_split, Env& scope) {
  auto* index = std::get_if<ast::Index>(&split.rows->node);
  auto* name = index ? std::get_if<ast::Name>(&index->object->node) : nullptr;
  const program::SplitT* source = name ? find_split(data, name->text) : nullptr;
  if (!source) return void(fail(DiagnosticId::bad_data, split.span, "a part is taken of a split that stands before it"));
  if (index->subscripts.size() != 1 || !index->subscripts[0].range || index->subscripts[0].stride)
    return void(fail(DiagnosticId::bad_subscript, split.span, "a part of a split is written `train[0:1000]`"));
  const ast::Subscript& s = index->subscripts[0];
  auto begin = s.begin ? fix_integer(eval(*s.begin, scope), s.begin->span, "a sample's number") : 0;
  auto end = s.end ? fix_integer(eval(*s.end, scope), s.end->span, "a sample's number") : -1;
  if (!begin || !end) return;
  auto part = part_of(*source, *begin, *end);
  if (!selected(*part, table_samples(data, *source))) {
    auto there = selected(*source, table_samples(data, *source));
    fail(DiagnosticId::bad_data, split.span, there && *there >= 0 && *end > *there ? fmt::format("`{}` has {} samples, not {}", source->name, *there, *end) : fmt::format("`{}` has no sample", split.name.text));
  }
  part->name = out_split.name;
  part->line = out_split.line;
  out_split = *part;
}

// train, valid = split(all, 0.9, seed = 1): each name its share, the last one the rest.
void Elaborator::declare_share(const ast::Split& split, const program::DataSetT& data, program::SplitT& out_split, Env& scope) {
  const auto& call = std::get<ast::Call>(split.rows->node);
  const program::SplitT* source = nullptr;
  auto selection = std::make_unique<program::SelectionT>();
  selection->share = static_cast<uint32_t>(split.share);
  double fractions = 0;
  size_t positional = 0;
  for (const ast::Argument& argument : call.arguments) {
    const Span& at = argument.span;
    if (argument.name && argument.name->text != "seed")
      return void(split.share == 0 ? fail(DiagnosticId::bad_data, at, fmt::format("`split` has no `{}`", argument.name->text), "", {}, {"`train, valid = split(all, 0.9, seed = 1)`"}) : Value());
    if (!argument.name && positional++ == 0) {
      auto* name = std::get_if<ast::Name>(&argument.value->node);
      source = name ? find_split(data, name->text) : nullptr;
      if (!source) return void(fail(DiagnosticId::bad_data, at, "what is split must stand before it, under a name"));
      continue;
    }
    auto number = fix(eval(*argument.value, scope), at, argument.name ? "the seed" : "a share");
    if (!number) return;
    if (argument.name) {
      selection->seed = static_cast<int64_t>(*number);
      continue;
    }
    if (*number <= 0 || (*number >= 1 && *number != std::floor(*number)))
      return void(fail(DiagnosticId::bad_data, at, "a share is a part of all samples, such as 0.9, or their number"));
    if (*number < 1) fractions += *number;
    selection->shares.push_back(*number);
  }
  if (source && source->kind == program::SourceKind::text && std::any_of(call.arguments.begin(), call.arguments.end(), [](const ast::Argument& a) { return a.name; }))
    return void(split.share == 0 ? fail(DiagnosticId::bad_data, split.span, "a text is not shuffled and needs no seed: its parts stay in one piece") : Value());
  if (selection->shares.size() + 1 != split.shares)
    return void(fail(DiagnosticId::bad_data, split.span, fmt::format("{} names need {} share{}, here are {}: the last name gets the rest", split.shares, split.shares - 1, split.shares == 2 ? "" : "s", selection->shares.size()), "",
                     {}, {"`train, valid = split(all, 0.9)`"}));
  if (fractions >= 1 - 1e-9) return void(fail(DiagnosticId::bad_data, split.span, "nothing is left for the last name"));
  if (!source) return void(fail(DiagnosticId::bad_data, split.span, "`split` does not say what to split", "", {}, {"`train, valid = split(all, 0.9)`"}));
  std::string name = std::move(out_split.name), line = std::move(out_split.line);
  out_split = *source;
  out_split.name = name;
  out_split.line = line;
  out_split.selections.push_back(std::move(selection));
}

// Pictures of files or folders: the options, and whether the fields are what such a source fills.
void Elaborator::declare_pictures(const ast::Split& split, const ast::Data& data, const program::DataSetT& image, program::SplitT& out_split, Env& scope) {
  const bool folder = split.kind == ast::SourceKind::images;
  out_split.kind = folder ? program::SourceKind::images : program::SourceKind::cifar10;
  if (folder ? split.files.size() != 1 : split.files.empty())
    fail(DiagnosticId::bad_data, split.span, folder ? "images takes one folder, with a folder for each class in it" : "cifar10 takes one file or several");
  for (const ast::Argument& option : split.options) {
    const std::string& name = option.name->text;
    Value value = folder && (name == "fit" || name == "convert") ? eval(*option.value, scope) : Value(Nothing{});
    if (auto* text = value.get<Text>(); text && name == "fit" && (text->text == "stretch" || text->text == "crop")) out_split.fit = text->text;
    else if (auto* flag = value.get<Flag>(); flag && flag->known && name == "convert") out_split.convert = flag->value;
    else if (!value.is<Poison>())
      fail(DiagnosticId::bad_data, option.span, "this is no option here", "", {}, {folder ? "images has `fit = \"stretch\"`, `fit = \"crop\"` and `convert = true`" : "cifar10 has none"});
  }
  int pictures = 0, labels = 0;
  bool fits = true;
  for (const auto& field : image.fields) {
    const auto& shape = field->type->shape;
    if (shape.empty()) fits = fits && ir::is_integer(static_cast<ir::ElementType>(field->type->element)) && ++labels <= 1;
    else if (folder) fits = fits && field->type->element == program::ElementType::u8 && (shape.size() == 2 || (shape.size() == 3 && (shape[2] == 1 || shape[2] == 3))) && ++pictures <= 1;
    else fits = fits && field->type->element == program::ElementType::u8 && shape == std::vector<int64_t>{32, 32, 3} && ++pictures <= 1;
  }
  if (image.fields.size() != data.fields.size()) return;   // one has no type: told already
  if (!fits || pictures != 1 || (!folder && labels != 1))
    fail(DiagnosticId::bad_data, split.span, folder ? "images fills a picture and, if there is a field for it, a label" : "cifar10 fills a picture of 32 x 32 pixels with 3 channels, and a label", "",
         {{data.name.span, "its fields are declared here"}},
         {folder ? "`image: u8[64, 64, 3], label: u8 < 10`; grey pictures are `u8[64, 64]` or `u8[64, 64, 1]`" : "`image: u8[32, 32, 3], label: u8 < 10`"});
}

// A text: what its tokens are, and how many there can be, which the shapes depend on. All texts of a data set have the same ones.
void Elaborator::declare_text(const ast::Split& split, const ast::Data& data, program::DataSetT& image, program::SplitT& out_split, Env& scope) {
  out_split.kind = program::SourceKind::text;
  const std::vector<std::string> usage = {"`text(\"tale.txt\", tokens = \"characters\", vocabulary = 128)`; tokens are \"bytes\", \"characters\" or \"pairs\""};
  auto wrong = [&](const Span& at, std::string message) { fail(DiagnosticId::bad_data, at, std::move(message), "", {}, usage); };
  if (split.files.size() != 1) wrong(split.span, "a text is one file");
  struct KindRow {
    const char* name;
    program::TokenKind kind;
    int64_t least;   // size of a vocabulary
  };
  constexpr KindRow kinds[] = {{"bytes", program::TokenKind::bytes, 256}, {"characters", program::TokenKind::characters, 1}, {"pairs", program::TokenKind::pairs, 256}};
  const KindRow* kind = nullptr;
  int64_t size = 0;
  Span size_at = split.span;
  for (const ast::Argument& option : split.options) {
    const std::string& name = option.name->text;
    Value value = name == "tokens" || name == "vocabulary" ? eval(*option.value, scope) : Value(Nothing{});
    if (value.is<Poison>()) return;
    if (name == "vocabulary") {
      auto number = fix_integer(value, option.span, "the size of a vocabulary");
      if (!number) return;
      if (*number < 1 || *number > 65536) return wrong(option.span, fmt::format("a vocabulary has 1 to 65536 tokens, not {}", *number));
      size = *number, size_at = option.span;
      continue;
    }
    if (auto* text = value.get<Text>(); text && name == "tokens")
      for (const KindRow& row : kinds)
        if (row.name == text->text) kind = &row;
    if (name != "tokens" || !kind) return wrong(option.span, name == "tokens" ? "there are no such tokens" : "this is no option of a text");
  }
  if (split.options.empty() && image.tokens) return;   // like the text before
  if (!kind) return wrong(split.span, "the text does not say what its tokens are");
  if (kind->kind == program::TokenKind::bytes && size == 0) size = kind->least;
  if (size == 0) return wrong(split.span, fmt::format("the text does not say how many {} there may be", kind->name));
  if (size < kind->least) return wrong(size_at, fmt::format("a vocabulary of {} has at least {} tokens, the bytes", kind->name, kind->least));
  if (kind->kind == program::TokenKind::bytes && size != kind->least) return wrong(size_at, "there are 256 bytes");
  if (image.tokens && (image.tokens->kind != kind->kind || image.tokens->size != size)) return wrong(split.span, fmt::format("the texts of `{}` have one vocabulary, the first of them says which", data.name.text));
  if (image.fields.size() != data.fields.size()) return;   // one has no type: told already
  // A window of tokens; and, if there is a field for it, how many bytes each of them is.
  int windows = 0, lengths = 0;
  for (const auto& field : image.fields) {
    const bool token = field->type->element == program::ElementType::i32 && ++windows <= 1, length = field->type->element == program::ElementType::u8 && ++lengths <= 1;
    if (field->type->shape.size() != 1 || (!token && !length) || field->type->shape != image.fields[0]->type->shape) windows = 2;
    if (!token) continue;
    field->has_range = true;
    field->low = 0;
    field->high = static_cast<double>(size);
  }
  if (windows != 1)
    return void(fail(DiagnosticId::bad_data, split.span, "a text fills windows of tokens", "", {{data.name.span, "its fields are declared here"}},
                     {"`window: token[65]`; a second field of the same length, `bytes: u8[65]`, gets how many bytes each token is"}));
  if (image.tokens) return;
  image.tokens = std::make_unique<program::TokensT>();
  image.tokens->kind = kind->kind;
  image.tokens->size = size;
}

void Elaborator::declare_table(const ast::Split& split, const ast::Data& data, const program::DataSetT& image, program::SplitT& out_split, Env& scope) {
  out_split.kind = program::SourceKind::table;
  int64_t numbers = 0;
  for (const auto& field : image.fields) numbers += ir::shape_size(field->type->shape);
  Value rows = eval(*split.rows, scope);
  if (rows.is<Poison>()) return;
  auto* list = rows.get<List>();
  if (!list || list->items->empty()) return void(fail(DiagnosticId::bad_data, split.rows->span, "a table is a list of samples, each a list of numbers"));
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
      return void(fail(DiagnosticId::bad_data, at, fmt::format("a sample of `{}` has {} numbers, this one has {}", data.name.text, numbers, sample.size()), "", {{data.name.span, "its fields are declared here"}}));
    }
    size_t at = 0;
    for (const auto& field : image.fields)
      for (int64_t k = 0; k < ir::shape_size(field->type->shape); ++k, ++at)
        if (field->has_range && !(sample[at] >= field->low && sample[at] < field->high))
          fail(DiagnosticId::bad_data, split.rows->span, fmt::format("sample {} has {} in `{}`, which is from {} up to {}", i, number_text(sample[at]), field->name, number_text(field->low), number_text(field->high)));
    out_split.rows.insert(out_split.rows.end(), sample.begin(), sample.end());
  }
}

void Elaborator::declare_data(const ast::Data& data, Env& scope) {
  auto image = std::make_unique<program::DataSetT>();
  image->name = data.name.text;
  image->directory = data.directory ? data.directory->text : "";
  for (const ast::Ident& name : data.classes) image->classes.push_back(name.text);
  std::set<std::string> names;
  for (const ast::Parameter& field : data.fields) {
    if (!names.insert(field.name.text).second) fail(DiagnosticId::duplicate_name, field.name.span, fmt::format("there are two fields `{}`", field.name.text));
    static const std::set<std::string> taken = {"seed", "step", "row", "valid", "t", "T", "epoch", "val_loss", "count"};
    if (taken.count(field.name.text)) fail(DiagnosticId::bad_data, field.name.span, fmt::format("`{}` means something else in a train block; the field needs another name", field.name.text));
    auto type = field_type(field, data);
    if (!type) continue;
    image->fields.push_back(field_image(field, *type));
  }
  names.clear();
  for (const ast::Ident& name : data.classes)
    if (!names.insert(name.text).second) fail(DiagnosticId::duplicate_name, name.span, fmt::format("there are two classes \"{}\"", name.text));
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
      case ast::SourceKind::cifar10:
      case ast::SourceKind::images: declare_pictures(split, data, *image, *out_split, scope); break;
      case ast::SourceKind::text: declare_text(split, data, *image, *out_split, scope); break;
      case ast::SourceKind::table: declare_table(split, data, *image, *out_split, scope); break;
      case ast::SourceKind::part: declare_part(split, *image, *out_split, scope); break;
      case ast::SourceKind::share: declare_share(split, *image, *out_split, scope); break;
      case ast::SourceKind::generate:
        fail(DiagnosticId::not_supported, split.span, "`generate` is not there yet", "", {}, {"`table` holds small sets, files larger ones"});
        break;
    }
    if (!split.options.empty() && split.kind != ast::SourceKind::images && split.kind != ast::SourceKind::cifar10 && split.kind != ast::SourceKind::text)
      fail(DiagnosticId::bad_data, split.options[0].span, "this source has no options");
    image->splits.push_back(std::move(out_split));
  }
  data_.push_back(&data);
  data_scopes_[&data] = &scope;
  program.image.data.push_back(std::move(image));
}

}  // namespace gradc::front
