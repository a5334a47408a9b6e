// predict: inputs from files, or samples of a split by index; outputs as text, JSON or NPY.
#include <algorithm>
#include <charconv>
#include <fmt/format.h>

#include "runtime/command.h"
#include "runtime/file.h"
#include "runtime/json.h"
#include "runtime/picture.h"
#include "runtime/predict.h"

namespace gradc::runtime {

// "7" or "3:8".
static bool parse_range(const std::string& text, int64_t& first, int64_t& last) {
  const char* end = text.data() + text.size();
  auto [at, error] = std::from_chars(text.data(), end, first);
  if (error != std::errc()) return false;
  if (at == end) return last = first + 1, true;
  if (*at != ':') return false;
  auto [stop, second] = std::from_chars(at + 1, end, last);
  return second == std::errc() && stop == end;
}

// Rows of a split that match the export's inputs by name.
static Result<Samples> rows_of_split(Model& model, const Predictor& predictor, const CommandOptions& options) {
  std::string name = options.split;
  for (uint32_t i = 0; i < size(model.program()->trains()) && options.split.empty(); ++i) {
    const program::Train* train = model.program()->trains()->Get(i);
    if (!text(train->validate_data()).empty()) name = text(train->validate_data()) + "." + text(train->validate_split());
    else if (!text(train->data()).empty()) name = text(train->data()) + "." + text(train->split());
  }
  if (auto known = split_names(*model.program()); name.empty() && known.size() == 1) name = known[0];
  else if (name.empty()) return Error{GRADC_INVALID, fmt::format("say which data the --index is of: --split DATA.SPLIT; there are: {}", fmt::join(known, ", "))};
  auto samples = read_named_split(model, name, options);
  if (!samples) return samples;
  int64_t first = 0, last = samples->count;
  if (!options.index.empty() && !parse_range(options.index, first, last)) return Error{GRADC_INVALID, fmt::format("--index takes a number or FIRST:LAST, not '{}'", options.index)};
  if (first < 0 || first >= last || last > samples->count)
    return Error{GRADC_RANGE, fmt::format("--index {}: data {} have samples 0 to {}", options.index, samples->name, samples->count - 1)};
  std::vector<Column> columns;
  for (const FieldType& field : predictor.inputs()) {
    const Column* column = samples->column(field.name);
    if (!column || !(column->field.type == field.type))
      return Error{GRADC_INVALID, fmt::format("data {} have no field '{}' of type {}, which '{}' reads", samples->name, field.name, to_string(field.type), predictor.name())};
    Column part{field, column->bytes.slice(size_t(first) * column->sample_bytes(), size_t(last - first) * column->sample_bytes()), last - first};
    columns.push_back(std::move(part));
  }
  samples->columns = std::move(columns);
  samples->count = last - first;
  return samples;
}

// Pictures are fitted as those of the data that have this field.
static PictureOptions picture_options(const program::Program& program, const FieldType& field) {
  if (program.data())
    for (auto* data : *program.data())
      for (uint32_t i = 0; data->fields() && i < size(data->splits()); ++i)
        if (auto* split = data->splits()->Get(i); split->kind() == program::SourceKind::images)
          for (auto* each : *data->fields())
            if (FieldType known = to_field(each); known.name == field.name && known.type == field.type) return {split->fit() ? split->fit()->str() : "", split->convert()};
  return {};
}

static Result<Samples> rows_of_files(const Model& model, const Predictor& predictor, const CommandOptions& options) {
  Samples samples;
  samples.name = "inputs";
  std::vector<std::string> names, paths(predictor.inputs().size());
  for (const FieldType& field : predictor.inputs()) names.push_back(field.name);
  size_t next = 0;
  for (const std::string& input : options.inputs) {
    size_t equals = input.find('='), at = next;
    if (equals != std::string::npos) {
      std::string name = input.substr(0, equals);
      at = size_t(std::find(names.begin(), names.end(), name) - names.begin());
      if (at == names.size()) return Error{GRADC_UNKNOWN_NAME, fmt::format("'{}' has no input '{}'{}", predictor.name(), name, suggestion(name, names))};
    } else if (next++ >= names.size()) {
      return Error{GRADC_INVALID, fmt::format("'{}' has {} inputs ({}), more files are named", predictor.name(), names.size(), fmt::join(names, ", "))};
    }
    paths[at] = equals == std::string::npos ? input : input.substr(equals + 1);
  }
  for (size_t i = 0; i < names.size(); ++i) {
    if (paths[i].empty()) {
      auto splits = split_names(*model.program());
      std::string also = splits.empty() ? "" : fmt::format(", or take samples of the program's data, as --split {} --index 0", splits.back());
      return Error{GRADC_INVALID, fmt::format("'{}' reads '{}', {} for each sample: name a file with samples{}", predictor.name(), names[i], to_string(predictor.inputs()[i].type), also)};
    }
    auto column = read_any(paths[i], predictor.inputs()[i], picture_options(*model.program(), predictor.inputs()[i]));
    if (!column) return std::move(column.error());
    if (auto status = check_range(column->field, column->bytes.data(), column->samples, paths[i]); !status) return std::move(status.error());
    if (i > 0 && column->samples != samples.count)
      return Error{GRADC_INVALID, fmt::format("'{}' has {} samples, '{}' has {}", paths[0], samples.count, paths[i], column->samples)};
    samples.count = column->samples;
    samples.columns.push_back(std::move(*column));
  }
  return samples;
}

static std::string number_text(ElementType element, const char* at) {
  if (element == ElementType::f32) return fmt::format("{}", load<float>(at));
  if (element == ElementType::i64) return fmt::format("{}", load<int64_t>(at));
  return fmt::format("{}", read_number(element, at));
}

static std::string row_text(const FieldType& field, const char* row, const char* separator, bool json) {
  std::string out;
  for (int64_t e = 0; e < field.type.elements(); ++e) {
    const char* at = row + size_t(e) * info(field.type.element).bytes;
    if (e) out += separator;
    out += json && !all_finite(field.type.element, at, 1) ? "null" : number_text(field.type.element, at);
  }
  return json && !field.type.shape.empty() ? "[" + out + "]" : out;
}

static Status write_npy(const std::string& path, const FieldType& field, const char* data, int64_t rows) {
  static constexpr const char* codes[] = {"<f4", "<f8", "<u2", "<i4", "<i8", "|u1", "|b1"};   // in the order of ElementType; bf16 as its bits
  std::string shape = fmt::format("{},", rows);
  for (int64_t extent : field.type.shape) shape += fmt::format(" {},", extent);
  std::string header = fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': ({}), }}", codes[size_t(field.type.element)], shape);
  header.append(63 - (10 + header.size()) % 64, ' ');
  header += '\n';
  std::string magic("\x93NUMPY\x01\x00", 8);
  magic += char(header.size() & 0xff);
  magic += char(header.size() >> 8);
  return write_whole(path, {magic, header, {data, field.type.bytes() * size_t(rows)}});
}

// A sample's results stand side by side.
static Status write_pictures(const Predictor& predictor, const std::vector<char*>& outputs, int64_t rows, const std::string& path) {
  if (path.empty()) return Error{GRADC_INVALID, "pictures need --out FILE.png"};
  std::vector<Picture> pictures;
  for (int64_t row = 0; row < rows; ++row)
    for (size_t o = 0; o < outputs.size(); ++o) {
      const FieldType& field = predictor.outputs()[o];
      int64_t height, width, channels;
      if (!picture_shape(field.type.shape, height, width, channels))
        return Error{GRADC_INVALID, fmt::format("'{}' is {} for a sample, which is no picture: [height, width], or that with 1 or 3 channels behind", field.name, to_string(field.type))};
      pictures.push_back(picture_of(field.type.element, outputs[o] + size_t(row) * field.type.bytes(), height, width, channels));
    }
  return write_png(path, grid(pictures, outputs.size(), 112));
}

Status show_results(Model& model, Predictor& predictor, const Samples& samples, const CommandOptions& options) {
  std::vector<std::vector<char>> results;
  std::vector<char*> outputs;
  for (const FieldType& field : predictor.outputs()) results.emplace_back(field.type.bytes() * size_t(samples.count));
  for (auto& result : results) outputs.push_back(result.data());
  static const std::vector<uint32_t> in_order;
  SampleRows rows(samples, in_order);
  GRADC_TRY(predictor.run(model, rows, samples.count, outputs));

  bool npy = options.format == "npy" || (options.format == "text" && options.out.ends_with(".npy"));
  if (npy) {
    if (options.out.empty()) return Error{GRADC_INVALID, "NPY output needs --out FILE.npy"};
    for (size_t o = 0; o < outputs.size(); ++o) {
      std::string path = options.out;
      if (outputs.size() > 1) path = (path.ends_with(".npy") ? path.substr(0, path.size() - 4) : path) + "." + predictor.outputs()[o].name + ".npy";
      GRADC_TRY(write_npy(path, predictor.outputs()[o], outputs[o], samples.count));
    }
    return {};
  }
  if (options.format == "png" || (options.format == "text" && options.out.ends_with(".png"))) return write_pictures(predictor, outputs, samples.count, options.out);
  std::string out;
  if (options.json || options.format == "json") {
    JsonObject values;
    for (size_t o = 0; o < outputs.size(); ++o) {
      const FieldType& field = predictor.outputs()[o];
      std::vector<std::string> lines;
      for (int64_t row = 0; row < samples.count; ++row) lines.push_back(row_text(field, outputs[o] + size_t(row) * field.type.bytes(), ", ", true));
      values.raw(field.name, json_array(lines));
    }
    out = JsonObject().add("export", std::string_view(predictor.name())).add("samples", samples.count).raw("outputs", values.text()).text() + "\n";
  } else {
    for (int64_t row = 0; row < samples.count; ++row)
      for (size_t o = 0; o < outputs.size(); ++o) {
        const FieldType& field = predictor.outputs()[o];
        if (outputs.size() > 1) out += field.name + ": ";
        out += row_text(field, outputs[o] + size_t(row) * field.type.bytes(), " ", false);
        out += o + 1 < outputs.size() ? "  " : "\n";
      }
  }
  if (!options.out.empty()) return write_whole(options.out, {out});
  fmt::print("{}", out);
  return {};
}

Status command_predict(Model& model, const CommandOptions& options) {
  auto predictor = Predictor::create(model, options.export_name);
  if (!predictor) return std::move(predictor.error());
  GRADC_TRY(load_trained(model, options));
  const bool of_split = !options.index.empty() || (!options.split.empty() && options.inputs.empty());
  auto samples = of_split ? rows_of_split(model, *predictor, options) : rows_of_files(model, *predictor, options);
  if (!samples) return std::move(samples.error());
  if (predictor->inputs().empty()) samples->count = 1;
  return show_results(model, *predictor, *samples, options);
}

}  // namespace gradc::runtime
