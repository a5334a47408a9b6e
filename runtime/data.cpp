// Splits: which reader, which files, whether all fields agree on the number of samples, ranges, and which samples a split consists of.
#include "runtime/data.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fmt/format.h>

#include "runtime/batch.h"
#include "runtime/text.h"

namespace gradc::runtime {

constexpr int64_t split_stage = -1;   // of shuffled(): no train block has it

FieldType to_field(const program::Field* field) {
  return {field->name() ? field->name()->str() : "", to_type(field->type()), field->has_range(), field->low(), field->high()};
}

const Column* Samples::column(std::string_view field) const {
  for (const Column& column : columns)
    if (column.field.name == field) return &column;
  return nullptr;
}

const program::DataSet* find_data(const program::Program& program, std::string_view name) {
  if (program.data())
    for (auto* data : *program.data())
      if (data->name() && data->name()->string_view() == name) return data;
  return nullptr;
}

const program::Split* find_split(const program::DataSet& data, std::string_view name) {
  if (data.splits())
    for (auto* split : *data.splits())
      if (split->name() && split->name()->string_view() == name) return split;
  return nullptr;
}

std::string join_path(const std::string& folder, const std::string& path) {
  if (folder.empty() || path.starts_with('/')) return path;
  return folder.ends_with('/') ? folder + path : folder + "/" + path;
}

static std::string range_text(const FieldType& field) { return fmt::format("{} <= {} < {}", field.low, field.name, field.high); }

template <class T>
static int64_t first_outside(const uint8_t* values, int64_t count, double low, double high) {
  for (int64_t i = 0; i < count; ++i) {
    double value = double(load<T>(values + size_t(i) * sizeof(T)));
    if (!(value >= low && value < high)) return i;
  }
  return -1;
}

Status check_range(const FieldType& field, const uint8_t* values, int64_t samples, const std::string& origin, int64_t first) {
  if (!field.has_range) return {};
  int64_t per_sample = field.type.elements(), count = samples * per_sample, bad = -1;
  switch (field.type.element) {
    case ElementType::f32: bad = first_outside<float>(values, count, field.low, field.high); break;
    case ElementType::f64: bad = first_outside<double>(values, count, field.low, field.high); break;
    case ElementType::i32: bad = first_outside<int32_t>(values, count, field.low, field.high); break;
    case ElementType::i64: bad = first_outside<int64_t>(values, count, field.low, field.high); break;
    case ElementType::bf16: break;   // no file holds it
    default: bad = first_outside<uint8_t>(values, count, field.low, field.high); break;
  }
  if (bad < 0) return {};
  double value = read_number(field.type.element, values + size_t(bad) * info(field.type.element).bytes);
  return Error{GRADC_RANGE, fmt::format("{}: sample {}: '{}' is {}, but the model file says {}", origin, first + bad / per_sample, field.name, value, range_text(field))};
}

// Values of a `table` in the model file: sample by sample, field by field.
static Result<Contents> read_table(const program::Split& split, const std::vector<FieldType>& fields) {
  int64_t width = 0;
  for (const FieldType& field : fields) width += field.type.elements();
  int64_t numbers = split.rows() ? split.rows()->size() : 0, samples = width ? numbers / width : 0;
  if (width == 0 || samples * width != numbers)
    return Error{GRADC_CORRUPT, fmt::format("the table has {} numbers, which are no whole samples of {}", numbers, width)};
  Contents contents;
  int64_t start = 0;
  for (const FieldType& field : fields) {
    int64_t elements = field.type.elements();
    size_t element_bytes = info(field.type.element).bytes, bytes = size_t(samples) * field.type.bytes();
    std::unique_ptr<uint8_t[]> data(new uint8_t[bytes + 1]);
    for (int64_t s = 0; s < samples; ++s)
      for (int64_t e = 0; e < elements; ++e)
        write_number(field.type.element, data.get() + size_t(s * elements + e) * element_bytes, split.rows()->Get(uint32_t(s * width + start + e)));
    contents.columns.push_back({field, Bytes::own(std::move(data), bytes), samples});
    start += elements;
  }
  return contents;
}

static Result<Contents> read_files(const program::DataSet& data, const program::Split& split, const std::vector<FieldType>& fields, const std::string& folder) {
  using Kind = program::SourceKind;
  std::vector<std::string> paths, classes;
  if (split.files())
    for (auto* file : *split.files()) paths.push_back(join_path(folder, file->str()));
  if (data.classes())
    for (auto* name : *data.classes()) classes.push_back(name->str());
  if (split.kind() == Kind::images && paths.size() == 1)
    return read_images(paths[0], fields, {split.fit() ? split.fit()->str() : "", split.convert()}, std::move(classes));
  Contents contents;
  contents.classes = std::move(classes);
  if (split.kind() == Kind::cifar10) {
    auto all = read_cifar10(paths, fields);
    if (all) all->classes = std::move(contents.classes);
    return all;
  }
  size_t needed = split.kind() == Kind::csv || split.kind() == Kind::images ? 1 : fields.size();
  if (paths.size() != needed) return Error{GRADC_INVALID, fmt::format("{} files are named, {} are needed", paths.size(), needed)};
  std::vector<Column>& columns = contents.columns;
  for (size_t i = 0; i < paths.size(); ++i) {
    auto content = read_data_file(paths[i]);
    if (!content) return content.error();
    std::error_code unknown;
    if (auto bytes = std::filesystem::file_size(paths[i], unknown); !unknown) contents.file_bytes += bytes;
    if (split.kind() == Kind::csv) {
      auto all = read_csv(*content, fields, paths[i]);
      if (!all) return all.error();
      for (Column& column : *all) column.file = paths[i];
      columns = std::move(*all);
      break;
    }
    auto column = split.kind() == Kind::idx ? read_idx(*content, fields[i], paths[i]) : read_npy(*content, fields[i], paths[i]);
    if (!column) return column.error();
    column->file = paths[i];
    columns.push_back(std::move(*column));
  }
  for (size_t i = 1; i < columns.size(); ++i)
    if (columns[i].samples != columns[0].samples)
      return Error{GRADC_CORRUPT, fmt::format("'{}' has {} samples, '{}' has {}", paths[0], columns[0].samples, paths[i], columns[i].samples)};
  return contents;
}

namespace {
// Which samples of the files a split consists of: [first, first + count), or those in `order`.
struct Chosen {
  int64_t first = 0, count = 0;
  std::vector<uint32_t> order;
};
}  // namespace

static bool is_share(const program::Selection& selection) { return selection.shares() && selection.shares()->size() > 0; }

// Shares are dealt out in their order; each ends at the rounded sum of those up to it, so that together they are everything.
Result<std::pair<int64_t, int64_t>> selected_range(const program::Selection& selection, int64_t count) {
  if (!is_share(selection)) {
    int64_t first = selection.first(), last = selection.last() < 0 ? count : selection.last();
    if (first >= 0 && last <= count && first <= last) return std::pair(first, last);
    return Error{GRADC_RANGE, fmt::format("samples {} to {} are asked for, but there are {}", first, last, count)};
  }
  double end = 0, before = 0;
  uint32_t shares = selection.shares()->size();
  for (uint32_t i = 0; i <= selection.share(); ++i) {
    before = end;
    double share = i < shares ? selection.shares()->Get(i) : double(count);
    end = i < shares ? end + (share < 1 ? share * double(count) : share) : double(count);
  }
  auto first = int64_t(std::llround(before)), last = int64_t(std::llround(end));
  if (last <= count && first < last) return std::pair(first, last);
  return Error{GRADC_RANGE, fmt::format("share {} of {} samples would be {} to {}", selection.share() + 1, count, first, last)};
}

static Result<Chosen> choose(int64_t total, const program::Split& split) {
  Chosen chosen{0, total};
  if (!split.selections()) return chosen;
  for (auto* selection : *split.selections()) {
    auto range = selected_range(*selection, chosen.count);
    if (!range) return std::move(range.error());
    auto [first, last] = *range;
    if (is_share(*selection)) {
      std::vector<uint32_t> order = shuffled(chosen.count, selection->seed(), split_stage, 0);
      for (uint32_t& place : order) place = chosen.order.empty() ? uint32_t(chosen.first) + place : chosen.order[place];
      chosen.order.assign(order.begin() + first, order.begin() + last);
    } else if (chosen.order.empty()) {
      chosen.first += first;
    } else {
      chosen.order = {chosen.order.begin() + first, chosen.order.begin() + last};
    }
    chosen.count = last - first;
  }
  return chosen;
}

static Bytes gather(const Column& column, const std::vector<uint32_t>& order) {
  size_t bytes = column.sample_bytes();
  std::unique_ptr<uint8_t[]> rows(new uint8_t[bytes * order.size() + 1]);
  for (size_t i = 0; i < order.size(); ++i) std::memcpy(rows.get() + i * bytes, column.sample(order[i]), bytes);
  return Bytes::own(std::move(rows), bytes * order.size());
}

std::vector<std::string> split_names(const program::Program& program) {
  std::vector<std::string> names;
  if (program.data())
    for (auto* set : *program.data())
      if (set->splits())
        for (auto* each : *set->splits()) names.push_back(set->name()->str() + "." + each->name()->str());
  return names;
}

Result<Samples> read_split(const program::Program& program, std::string_view data_name, std::string_view split_name,
                           const std::map<std::string, std::string>& directories, Vocabularies* vocabularies) {
  const program::DataSet* data = find_data(program, data_name);
  const program::Split* split = data ? find_split(*data, split_name) : nullptr;
  if (!split) {
    std::string wanted = fmt::format("{}.{}", data_name, split_name);
    return Error{GRADC_UNKNOWN_NAME, fmt::format("no data are called '{}'{}", wanted, suggestion(wanted, split_names(program)))};
  }
  std::vector<FieldType> fields;
  if (data->fields())
    for (auto* field : *data->fields()) fields.push_back(to_field(field));
  std::string folder = data->directory() ? data->directory()->str() : "";
  for (const std::string& key : {std::string(), std::string(data_name)})
    if (auto found = directories.find(key); found != directories.end()) folder = found->second;

  Samples samples;
  samples.name = fmt::format("{}.{}", data_name, split_name);
  std::string origin = fmt::format("data {}{}", samples.name, split->line() ? " (" + split->line()->str() + ")" : "");
  auto fail = [&](Error error) {
    return Error{error.code, fmt::format("{}: {}{}", origin, error.message, error.code == GRADC_FILE ? " (--data DIR says where the data is)" : "")};
  };
  Vocabularies learned;
  auto contents = split->kind() == program::SourceKind::table  ? read_table(*split, fields)
                  : split->kind() == program::SourceKind::text ? read_text(*data, *split, fields, folder, vocabularies ? *vocabularies : learned)
                                                               : read_files(*data, *split, fields, folder);
  if (!contents) return fail(std::move(contents.error()));
  if (split->kind() == program::SourceKind::text) {
    samples.count = contents->columns.front().samples;
    samples.positions = contents->columns.front().positions;
    samples.file_bytes = contents->file_bytes;
    samples.columns = std::move(contents->columns);
    return samples;
  }
  auto chosen = choose(contents->columns.empty() ? 0 : contents->columns.front().samples, *split);
  if (!chosen) return fail(std::move(chosen.error()));
  samples.count = chosen->count;
  samples.classes = std::move(contents->classes);
  samples.file_bytes = contents->file_bytes;
  for (Column& column : contents->columns) {
    std::string where = column.file.empty() ? origin : fmt::format("{}: '{}'", origin, column.file);
    bool all = !chosen->order.empty();
    GRADC_TRY(check_range(column.field, column.sample(chosen->first), all ? column.samples : chosen->count, where, chosen->first));
    column.bytes = all ? gather(column, chosen->order) : column.bytes.slice(size_t(chosen->first) * column.sample_bytes(), size_t(chosen->count) * column.sample_bytes());
    column.samples = chosen->count;
    samples.columns.push_back(std::move(column));
  }
  return samples;
}

}  // namespace gradc::runtime
