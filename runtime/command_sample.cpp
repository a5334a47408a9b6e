// sample: what a generator makes of noise. The export's inputs are filled instead of read: floating-point ones with normal numbers (with numbers spread evenly
// over their range if they have one), integers that have a range with its values in turn, so that a generator of classes shows them in order.
#include <fmt/format.h>

#include "runtime/command.h"
#include "runtime/data.h"
#include "runtime/generator.h"

namespace gradc::runtime {

static bool is_float(ElementType element) { return element == ElementType::f32 || element == ElementType::f64 || element == ElementType::bf16; }

// What the data have a field for is read, and no noise.
static bool is_data(const program::Program& program, const FieldType& field) {
  for (uint32_t d = 0; d < size(program.data()); ++d)
    for (uint32_t f = 0; f < size(program.data()->Get(d)->fields()); ++f)
      if (FieldType known = to_field(program.data()->Get(d)->fields()->Get(f)); is_float(field.type.element) && known.name == field.name && known.type == field.type) return true;
  return false;
}

static Status check_noise(const Predictor& predictor) {
  for (const FieldType& field : predictor.inputs())
    if (!is_float(field.type.element) && !field.has_range)
      return Error{GRADC_INVALID, fmt::format("'{}' reads '{}', {} for a sample: noise are floating-point numbers, or integers that have a range (`{}: {} < 10`)", predictor.name(), field.name,
                                              to_string(field.type), field.name, info(field.type.element).name)};
  return {};
}

// The one that is asked for, or the first that reads noise alone.
static Result<Predictor> choose(Model& model, const std::string& name) {
  const program::Program& program = *model.program();
  for (uint32_t i = 0; i < size(program.exports()) && name.empty(); ++i) {
    auto predictor = Predictor::create(model, text(program.exports()->Get(i)->name()));
    if (!predictor) return predictor;
    bool noise = bool(check_noise(*predictor));
    for (const FieldType& field : predictor->inputs()) noise = noise && !is_data(program, field);
    if (noise) return predictor;
  }
  if (name.empty()) return Error{GRADC_INVALID, "no export of this program makes something of noise: all of them read what the data have"};
  auto predictor = Predictor::create(model, name);
  if (predictor)
    if (auto status = check_noise(*predictor); !status) return std::move(status.error());
  return predictor;
}

// Sample by sample, so that the first of 64 are those of 16.
static Column noise(const FieldType& field, int64_t count, int64_t seed, size_t input) {
  const size_t bytes = field.type.bytes(), stride = info(field.type.element).bytes;
  auto data = std::make_unique<uint8_t[]>(bytes * size_t(count));
  for (int64_t row = 0; row < count; ++row) {
    Generator generator{uint64_t(seed)};
    generator.key(input);
    generator.key(uint64_t(row));
    for (int64_t e = 0; e < field.type.elements(); ++e) {
      double value = !field.has_range            ? generator.normal()
                     : is_float(field.type.element) ? field.low + (field.high - field.low) * generator.uniform()
                                                    : field.low + double((row + e) % int64_t(field.high - field.low));
      write_number(field.type.element, reinterpret_cast<char*>(data.get()) + size_t(row) * bytes + size_t(e) * stride, value);
    }
  }
  return {field, Bytes::own(std::move(data), bytes * size_t(count)), count};
}

Status command_sample(Model& model, const CommandOptions& options) {
  auto predictor = choose(model, options.export_name);
  if (!predictor) return std::move(predictor.error());
  GRADC_TRY(load_trained(model, options));
  Samples samples;
  samples.name = "noise";
  samples.count = options.count;
  for (size_t i = 0; i < predictor->inputs().size(); ++i) samples.columns.push_back(noise(predictor->inputs()[i], options.count, model.scalars.seed, i));
  return show_results(model, *predictor, samples, options);
}

}  // namespace gradc::runtime
