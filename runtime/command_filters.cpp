// filters: weights as pictures. The kernel of a convolution, [height, width, channels, filters], is a picture for each filter, in colour if it has three
// channels, else with a grey one for each channel side by side; a matrix [d, units] is a picture for each unit if d is the size of the program's images.
#include <algorithm>
#include <fmt/format.h>

#include "runtime/command.h"
#include "runtime/data.h"
#include "runtime/picture.h"

namespace gradc::runtime {

namespace {
// How a weight is seen.
struct View {
  const Variable* weight = nullptr;
  int64_t height = 0, width = 0, channels = 0, filters = 0;
};
}  // namespace

// Images that the program takes: of its data, then of its exports.
static std::vector<std::vector<int64_t>> image_shapes(const program::Program& program) {
  std::vector<std::vector<int64_t>> shapes;
  int64_t h, w, c;
  auto take = [&](const flatbuffers::Vector<flatbuffers::Offset<program::Field>>* fields) {
    for (uint32_t i = 0; i < size(fields); ++i)
      if (FieldType field = to_field(fields->Get(i)); picture_shape(field.type.shape, h, w, c)) shapes.push_back({h, w, c});
  };
  for (uint32_t i = 0; i < size(program.data()); ++i) take(program.data()->Get(i)->fields());
  for (uint32_t i = 0; i < size(program.exports()); ++i) take(program.exports()->Get(i)->inputs());
  return shapes;
}

static View view_of(const Variable& variable, const std::vector<std::vector<int64_t>>& images) {
  const std::vector<int64_t>& shape = variable.type.shape;
  if (!variable.belongs_to_model()) return {};
  if (shape.size() == 4) return {&variable, shape[0], shape[1], shape[2], shape[3]};
  if (shape.size() == 2)
    for (const auto& image : images)
      if (image[0] * image[1] * image[2] == shape[0]) return {&variable, image[0], image[1], image[2], shape[1]};
  return {};
}

static Result<View> choose(Model& model, const std::string& name) {
  const auto images = image_shapes(*model.program());
  View found;
  std::vector<std::string> names;
  for (const Variable& variable : model.variables) {
    View view = view_of(variable, images);
    if (variable.belongs_to_model()) names.push_back(variable.name);
    if (!name.empty() && variable.name == name) {
      if (view.weight) return view;
      return Error{GRADC_INVALID, fmt::format("'{}' is {}: filters are [height, width, channels, filters], or [pixels of an image, units]", name, to_string(variable.type))};
    }
    // The first kernel of a convolution; one by one pixel shows nothing.
    bool better = view.weight && (!found.weight || (found.weight->type.shape.size() == 2 && variable.type.shape.size() == 4 && view.height * view.width > 1));
    if (better) found = view;
  }
  if (!name.empty()) return Error{GRADC_UNKNOWN_NAME, fmt::format("no parameter is called '{}'{}", name, suggestion(name, names))};
  if (!found.weight) return Error{GRADC_INVALID, "this program has no parameter that could be seen as pictures: no kernel of a convolution, and no matrix as long as an image"};
  return found;
}

Status command_filters(Model& model, const CommandOptions& options) {
  auto chosen = choose(model, options.parameter);
  if (!chosen) return std::move(chosen.error());
  GRADC_TRY(load_trained(model, options));
  const View& view = *chosen;
  const bool colour = view.channels == 3;
  const std::string out = options.out.empty() ? "filters.png" : options.out;
  if (!out.ends_with(".png")) return Error{GRADC_INVALID, fmt::format("filters are written as PNG: '{}' should end in .png", out)};
  std::vector<std::unique_ptr<char[]>> copies;
  const char* data = view.weight->elements(copies).data();
  const ElementType element = view.weight->type.element;
  std::vector<Picture> pictures;
  std::vector<double> values;
  const int64_t planes = colour ? 1 : view.channels, deep = colour ? 3 : 1;
  for (int64_t filter = 0; filter < view.filters; ++filter)
    for (int64_t plane = 0; plane < planes; ++plane) {
      values.clear();
      for (int64_t pixel = 0; pixel < view.height * view.width; ++pixel)
        for (int64_t c = 0; c < deep; ++c) values.push_back(read_number(element, data + size_t((pixel * view.channels + plane + c) * view.filters + filter) * info(element).bytes));
      pictures.push_back(picture_of(values, view.height, view.width, deep));
    }
  GRADC_TRY(write_png(out, grid(pictures, size_t(planes), 48)));
  fmt::print("{}: {} filters of {} by {}{} written to {}\n", view.weight->name, view.filters, view.height, view.width,
             view.channels > 1 ? fmt::format(", {} channels", view.channels) : "", out);
  return {};
}

}  // namespace gradc::runtime
