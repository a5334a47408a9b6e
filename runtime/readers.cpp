// IDX, NPY and CSV. A file's element type may differ from the field's where no value is lost; everything else is an error that says what is there.
#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <fmt/format.h>

#include "runtime/data.h"

namespace gradc::runtime {

namespace {
enum class Number : uint8_t { u8, i8, u16, i16, i32, i64, f32, f64, boolean };
struct NumberInfo {
  std::string_view name;
  size_t bytes;
  bool is_float, is_signed;
};
constexpr NumberInfo number_infos[] = {{"u8", 1, false, false}, {"i8", 1, false, true}, {"u16", 2, false, false}, {"i16", 2, false, true},
                                       {"i32", 4, false, true}, {"i64", 8, false, true}, {"f32", 4, true, true},   {"f64", 8, true, true},
                                       {"bool", 1, false, false}};
}  // namespace

static bool same_bits(Number from, ElementType to) { return number_infos[size_t(from)].name == info(to).name; }

// Whether every value of `from` has an equal one of type `to`.
static bool fits(Number from, ElementType to) {
  const NumberInfo& n = number_infos[size_t(from)];
  switch (to) {
    case ElementType::f64: return from != Number::i64;
    case ElementType::f32: return n.bytes <= 2 || from == Number::f32;
    case ElementType::i64: return !n.is_float;
    case ElementType::i32: return !n.is_float && n.bytes <= 4;
    case ElementType::u8: return from == Number::boolean || from == Number::u8;
    case ElementType::boolean: return from == Number::boolean;
    case ElementType::bf16: return false;
  }
  return false;
}

static double read(Number from, const uint8_t* at, bool swap) {
  uint8_t bytes[8] = {};
  size_t size = number_infos[size_t(from)].bytes;
  for (size_t i = 0; i < size; ++i) bytes[i] = at[swap ? size - 1 - i : i];
  switch (from) {
    case Number::i8: return load<int8_t>(bytes);
    case Number::u16: return load<uint16_t>(bytes);
    case Number::i16: return load<int16_t>(bytes);
    case Number::i32: return load<int32_t>(bytes);
    case Number::i64: return double(load<int64_t>(bytes));
    case Number::f32: return load<float>(bytes);
    case Number::f64: return load<double>(bytes);
    default: return bytes[0];
  }
}

// Content of a file with `dims` (samples first) to a column: as it lies if the bits agree.
static Result<Column> to_column(const Bytes& content, size_t offset, Number from, bool swap, const std::vector<int64_t>& dims, const FieldType& field,
                                const std::string& path) {
  if (dims.empty()) return Error{GRADC_CORRUPT, fmt::format("'{}' holds a single number, not samples", path)};
  std::vector<int64_t> sample(dims.begin() + 1, dims.end());
  if (sample != field.type.shape && !(field.type.shape.empty() && sample == std::vector<int64_t>{1}) &&
      !(sample.empty() && field.type.shape == std::vector<int64_t>{1}))
    return Error{GRADC_INVALID, fmt::format("'{}' has samples of {}, but the model file declares {}: {}", path, shape_text(sample), field.name,
                                            to_string(field.type))};
  if (!fits(from, field.type.element))
    return Error{GRADC_INVALID, fmt::format("'{}' holds {} numbers, but the model file declares {}: {}", path, number_infos[size_t(from)].name, field.name,
                                            to_string(field.type))};
  size_t size = number_infos[size_t(from)].bytes, available = (content.size() - offset) / size;
  size_t wanted = 1;
  for (int64_t extent : dims)
    if (extent < 0 || __builtin_mul_overflow(wanted, size_t(extent), &wanted)) return Error{GRADC_CORRUPT, fmt::format("'{}' is corrupt: impossible dimensions", path)};
  if (wanted > available)
    return Error{GRADC_CORRUPT, fmt::format("'{}' is truncated: {} samples of {} are announced, {} bytes of {} are there", path, dims[0], shape_text(sample),
                                            content.size() - offset, wanted * size)};
  if (wanted * size != content.size() - offset)
    return Error{GRADC_CORRUPT, fmt::format("'{}' is corrupt: {} bytes follow after the announced {} samples", path, content.size() - offset - wanted * size, dims[0])};
  Column column{field, {}, dims[0]};
  if (same_bits(from, field.type.element) && (!swap || size == 1)) {
    column.bytes = content.slice(offset, wanted * size);
    return column;
  }
  size_t to_size = info(field.type.element).bytes;
  std::unique_ptr<uint8_t[]> data(new uint8_t[wanted * to_size + 1]);
  for (size_t i = 0; i < wanted; ++i) {
    const uint8_t* at = content.data() + offset + i * size;
    if (from == Number::i64 && field.type.element == ElementType::i64) {   // not by way of a double, which would lose bits
      uint64_t bits = load<uint64_t>(at);
      store(data.get() + i * 8, swap ? __builtin_bswap64(bits) : bits);
    } else {
      write_number(field.type.element, data.get() + i * to_size, read(from, at, swap));
    }
  }
  column.bytes = Bytes::own(std::move(data), wanted * to_size);
  return column;
}

Result<Column> read_idx(const Bytes& content, const FieldType& field, const std::string& path) {
  auto corrupt = [&](std::string_view why) { return Error{GRADC_CORRUPT, fmt::format("'{}' is no IDX file: {}", path, why)}; };
  const uint8_t* at = content.data();
  if (content.size() < 4) return corrupt(content.size() == 0 ? "it is empty" : "it is shorter than a header");
  if (at[0] != 0 || at[1] != 0) return corrupt("it does not begin with two zero bytes");
  struct { uint8_t code; Number number; } codes[] = {{8, Number::u8}, {9, Number::i8}, {11, Number::i16}, {12, Number::i32}, {13, Number::f32}, {14, Number::f64}};
  for (auto& [code, number] : codes) {
    if (code != at[2]) continue;
    size_t header = 4 + 4 * size_t(at[3]);
    if (at[3] == 0) return corrupt("it announces no dimensions");
    if (content.size() < header) return Error{GRADC_CORRUPT, fmt::format("'{}' is truncated: it ends inside its header", path)};
    std::vector<int64_t> dims;
    for (size_t i = 0; i < at[3]; ++i) dims.push_back(int64_t(at[4 + 4 * i]) << 24 | at[5 + 4 * i] << 16 | at[6 + 4 * i] << 8 | at[7 + 4 * i]);
    return to_column(content, header, number, true, dims, field, path);
  }
  return corrupt(fmt::format("unknown element type 0x{:02x}", at[2]));
}

// The value behind 'key': in the header's Python dictionary, up to the comma or bracket that ends it.
static std::string_view header_value(std::string_view header, std::string_view key) {
  size_t at = header.find(key);
  if (at == std::string_view::npos || (at = header.find(':', at)) == std::string_view::npos) return {};
  std::string_view rest = header.substr(at + 1);
  while (rest.starts_with(' ')) rest.remove_prefix(1);
  if (rest.starts_with('(')) return rest.substr(0, rest.find(')') + 1);
  return rest.substr(0, rest.find_first_of(",}"));
}

Result<Column> read_npy(const Bytes& content, const FieldType& field, const std::string& path) {
  auto corrupt = [&](std::string_view why) { return Error{GRADC_CORRUPT, fmt::format("'{}' is no NPY file: {}", path, why)}; };
  std::string_view text = content.text();
  if (text.size() < 12 || !text.starts_with("\x93NUMPY")) return corrupt("it does not begin with \\x93NUMPY");
  bool old = text[6] == 1;
  size_t start = old ? 10 : 12, length = old ? load<uint16_t>(content.data() + 8) : load<uint32_t>(content.data() + 8);
  if (text.size() < start + length) return Error{GRADC_CORRUPT, fmt::format("'{}' is truncated: it ends inside its header", path)};
  std::string_view header = text.substr(start, length);
  std::string_view type = header_value(header, "'descr'"), order = header_value(header, "'fortran_order'"), shape = header_value(header, "'shape'");
  if (order.starts_with("True")) return Error{GRADC_INVALID, fmt::format("'{}' is in Fortran order: save it with numpy.ascontiguousarray", path)};
  if (type.size() < 4 || shape.size() < 2) return corrupt("its header lacks the type or the shape");
  std::vector<int64_t> dims;
  for (size_t i = 1; i < shape.size();) {
    int64_t extent = 0;
    auto [end, error] = std::from_chars(shape.data() + i, shape.data() + shape.size(), extent);
    if (error == std::errc()) dims.push_back(extent), i = size_t(end - shape.data());
    else ++i;
  }
  struct { std::string_view code; Number number; } codes[] = {{"u1", Number::u8}, {"i1", Number::i8}, {"u2", Number::u16}, {"i2", Number::i16}, {"i4", Number::i32},
                                                              {"i8", Number::i64}, {"f4", Number::f32}, {"f8", Number::f64}, {"b1", Number::boolean}};
  for (auto& [code, number] : codes)
    if (type.substr(2, 2) == code) return to_column(content, start + length, number, type[1] == '>', dims, field, path);
  return Error{GRADC_INVALID, fmt::format("'{}' holds elements of type {}, which no field can have", path, type)};
}

// One number of a line; moves `line` past it and its separator. False: no number there.
static bool next_number(std::string_view& line, double& value) {
  while (!line.empty() && (line[0] == ' ' || line[0] == '\t')) line.remove_prefix(1);
  std::string_view digits = line;
  bool quoted = digits.starts_with('"');
  if (quoted) digits.remove_prefix(1);
  if (digits.starts_with('+')) digits.remove_prefix(1);
  auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (error != std::errc()) return false;
  line.remove_prefix(size_t(end - line.data()));
  if (quoted && line.starts_with('"')) line.remove_prefix(1);
  while (!line.empty() && (line[0] == ' ' || line[0] == '\t')) line.remove_prefix(1);
  if (!line.empty() && (line[0] == ',' || line[0] == ';')) line.remove_prefix(1);
  return true;
}

Result<std::vector<Column>> read_csv(const Bytes& content, const std::vector<FieldType>& fields, const std::string& path) {
  int64_t width = 0, samples = 0;
  for (const FieldType& field : fields) width += field.type.elements();
  std::vector<std::vector<uint8_t>> values(fields.size());
  std::string_view rest = content.text();
  for (int64_t number = 1; !rest.empty(); ++number) {
    size_t length = rest.find('\n');
    std::string_view line = rest.substr(0, length);
    rest.remove_prefix(length == std::string_view::npos ? rest.size() : length + 1);
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.find_first_not_of(" \t") == std::string_view::npos || line[0] == '#') continue;
    double value = 0;
    if (std::string_view probe = line; samples == 0 && number == 1 && !next_number(probe, value)) continue;   // a header
    int64_t column = 0;
    for (size_t f = 0; f < fields.size(); ++f) {
      ElementType element = fields[f].type.element;
      for (int64_t e = 0; e < fields[f].type.elements(); ++e, ++column) {
        if (line.empty())
          return Error{GRADC_CORRUPT, fmt::format("'{}', line {}: {} numbers, but a sample has {}", path, number, column, width)};
        std::string_view before = line;
        if (!next_number(line, value))
          return Error{GRADC_CORRUPT, fmt::format("'{}', line {}, column {}: '{}' is no number", path, number, column + 1, before.substr(0, before.find_first_of(",;\t ")))};
        if (!info(element).is_float && (value != std::floor(value) || ((element == ElementType::u8 || element == ElementType::boolean) && (value < 0 || value > 255)) ||
                                        std::fabs(value) > (element == ElementType::i32 ? 2147483647. : 9e15)))
          return Error{GRADC_RANGE, fmt::format("'{}', line {}, column {}: {} does not fit {}: {}", path, number, column + 1, value, fields[f].name,
                                                to_string(fields[f].type))};
        size_t at = values[f].size();
        values[f].resize(at + info(element).bytes);
        write_number(element, values[f].data() + at, value);
      }
    }
    if (line.find_first_not_of(" \t") != std::string_view::npos)
      return Error{GRADC_CORRUPT, fmt::format("'{}', line {}: more numbers than the {} of a sample", path, number, width)};
    ++samples;
  }
  if (samples == 0) return Error{GRADC_CORRUPT, fmt::format("'{}' holds no samples", path)};
  std::vector<Column> columns;
  for (size_t f = 0; f < fields.size(); ++f) {
    std::unique_ptr<uint8_t[]> data(new uint8_t[values[f].size() + 1]);
    std::memcpy(data.get(), values[f].data(), values[f].size());
    columns.push_back({fields[f], Bytes::own(std::move(data), values[f].size()), samples});
  }
  return columns;
}

static bool holds_pictures(const std::string& path) {
  std::error_code ignored;
  std::string ending = std::filesystem::path(path).extension().string();
  std::transform(ending.begin(), ending.end(), ending.begin(), [](char c) { return char(std::tolower(uint8_t(c))); });
  return ending == ".png" || ending == ".jpg" || ending == ".jpeg" || std::filesystem::is_directory(path, ignored);
}

Result<Column> read_any(const std::string& path, const FieldType& field, const PictureOptions& options) {
  if (holds_pictures(path)) {
    auto contents = read_images(path, {field}, options, {});
    if (!contents) return std::move(contents.error());
    return std::move(contents->columns.front());
  }
  std::string_view name = path;
  if (name.ends_with(".gz")) name.remove_suffix(3);
  auto content = read_data_file(path);
  if (!content) return content.error();
  if (name.ends_with(".npy")) return read_npy(*content, field, path);
  if (!name.ends_with(".csv") && !name.ends_with(".tsv") && !name.ends_with(".txt")) return read_idx(*content, field, path);
  auto columns = read_csv(*content, {field}, path);
  if (!columns) return columns.error();
  return std::move(columns->front());
}

}  // namespace gradc::runtime
