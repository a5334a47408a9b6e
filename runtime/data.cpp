// Splits: which reader, which files, whether all fields agree on the number of samples, ranges, slices.
#include "runtime/data.h"

#include <algorithm>
#include <fmt/format.h>

namespace gradc::runtime {

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

// What a file of `path` in `folder` is called: absolute names stay as they are.
static std::string join(const std::string& folder, const std::string& path) {
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
static Result<std::vector<Column>> read_table(const program::Split& split, const std::vector<FieldType>& fields) {
  int64_t width = 0;
  for (const FieldType& field : fields) width += field.type.elements();
  int64_t numbers = split.rows() ? split.rows()->size() : 0, samples = width ? numbers / width : 0;
  if (width == 0 || samples * width != numbers)
    return Error{GRADC_CORRUPT, fmt::format("the table has {} numbers, which are no whole samples of {}", numbers, width)};
  std::vector<Column> columns;
  int64_t start = 0;
  for (const FieldType& field : fields) {
    int64_t elements = field.type.elements();
    size_t element_bytes = info(field.type.element).bytes, bytes = size_t(samples) * field.type.bytes();
    std::unique_ptr<uint8_t[]> data(new uint8_t[bytes + 1]);
    for (int64_t s = 0; s < samples; ++s)
      for (int64_t e = 0; e < elements; ++e)
        write_number(field.type.element, data.get() + size_t(s * elements + e) * element_bytes, split.rows()->Get(uint32_t(s * width + start + e)));
    columns.push_back({field, Bytes::own(std::move(data), bytes), samples});
    start += elements;
  }
  return columns;
}

static Result<std::vector<Column>> read_files(const program::Split& split, const std::vector<FieldType>& fields, const std::string& folder) {
  std::vector<std::string> paths;
  if (split.files())
    for (auto* file : *split.files()) paths.push_back(join(folder, file->str()));
  size_t needed = split.kind() == program::SourceKind::csv ? 1 : fields.size();
  if (paths.size() != needed)
    return Error{GRADC_INVALID, fmt::format("{} files are named, {} are needed (one per field; one in all for csv)", paths.size(), needed)};
  std::vector<Column> columns;
  for (size_t i = 0; i < paths.size(); ++i) {
    auto content = read_data_file(paths[i]);
    if (!content) {
      if (content.error().code == GRADC_FILE) content.error().message += " (--data DIR says where the data is)";
      return content.error();
    }
    if (split.kind() == program::SourceKind::csv) {
      auto all = read_csv(*content, fields, paths[i]);
      if (all)
        for (Column& column : *all) column.file = paths[i];
      return all;
    }
    auto column = split.kind() == program::SourceKind::idx ? read_idx(*content, fields[i], paths[i]) : read_npy(*content, fields[i], paths[i]);
    if (!column) return column.error();
    column->file = paths[i];
    columns.push_back(std::move(*column));
  }
  for (size_t i = 1; i < columns.size(); ++i)
    if (columns[i].samples != columns[0].samples)
      return Error{GRADC_CORRUPT, fmt::format("'{}' has {} samples, '{}' has {}", paths[0], columns[0].samples, paths[i], columns[i].samples)};
  return columns;
}

Result<Samples> read_split(const program::Program& program, std::string_view data_name, std::string_view split_name,
                           const std::map<std::string, std::string>& directories) {
  const program::DataSet* data = find_data(program, data_name);
  const program::Split* split = data ? find_split(*data, split_name) : nullptr;
  if (!split) {
    std::vector<std::string> names;
    if (program.data())
      for (auto* set : *program.data())
        if (set->splits())
          for (auto* each : *set->splits()) names.push_back(set->name()->str() + "." + each->name()->str());
    std::string wanted = fmt::format("{}.{}", data_name, split_name);
    return Error{GRADC_UNKNOWN_NAME, fmt::format("no data are called '{}'{}", wanted, suggestion(wanted, names))};
  }
  std::vector<FieldType> fields;
  if (data->fields())
    for (auto* field : *data->fields()) fields.push_back(to_field(field));
  std::string folder = data->directory() ? data->directory()->str() : "";
  for (const std::string& key : {std::string(), std::string(data_name)})
    if (auto found = directories.find(key); found != directories.end()) folder = found->second;

  Samples samples;
  samples.name = fmt::format("{}.{}", data_name, split_name);
  auto columns = split->kind() == program::SourceKind::table ? read_table(*split, fields) : read_files(*split, fields, folder);
  std::string origin = fmt::format("data {}{}", samples.name, split->line() ? " (" + split->line()->str() + ")" : "");
  if (!columns) return Error{columns.error().code, fmt::format("{}: {}", origin, columns.error().message)};
  int64_t total = columns->empty() ? 0 : columns->front().samples, first = split->first(), last = split->last() < 0 ? total : split->last();
  if (first < 0 || last > total || first > last)
    return Error{GRADC_RANGE, fmt::format("{}: samples {} to {} are asked for, but there are {}", origin, first, last, total)};
  samples.count = last - first;
  for (Column& column : *columns) {
    std::string where = column.file.empty() ? origin : fmt::format("{}: '{}'", origin, column.file);
    GRADC_TRY(check_range(column.field, column.sample(first), last - first, where, first));
    column.bytes = column.bytes.slice(size_t(first) * column.sample_bytes(), size_t(last - first) * column.sample_bytes());
    column.samples = last - first;
    samples.columns.push_back(std::move(column));
  }
  return samples;
}

}  // namespace gradc::runtime
