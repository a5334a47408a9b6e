// The header is made from runtime/gradc.h itself (compiled in as text): its types stay, its functions get the model's
// prefix, so there is one description of the interface.
#include "frontend/library_header.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cctype>

#include "frontend/interface_text.h"
#include "ir/check.h"

namespace gradc {
namespace {

std::string type_text(const program::TensorTypeT& type, const std::string& first) {
  std::string shape = first;
  for (int64_t extent : type.shape) shape += fmt::format("{}{}", shape.empty() ? "" : ", ", extent);
  return fmt::format("{}[{}]", program::EnumNameElementType(type.element), shape);
}

std::string contents(const program::ProgramT& program) {
  std::string text;
  for (const auto& data : program.data)
    for (const auto& field : data->fields) text += fmt::format(" *   input of step and eval  {}: {}\n", field->name, type_text(*field->type, "rows"));
  for (const auto& e : program.exports) {
    text += fmt::format(" *   predict \"{}\":", e->name);
    for (const auto& field : e->inputs) text += fmt::format(" {}: {}", field->name, type_text(*field->type, "rows"));
    text += " ->";
    for (const auto& field : e->outputs) text += fmt::format(" {}: {}", field->name, type_text(*field->type, "rows"));
    if (e->steps > 0) text += fmt::format(" (rows one after the other, {} of them from reset to reset)", e->steps);
    text += "\n";
  }
  for (const auto& train : program.trains)
    for (const auto& step : train->step_list)
      for (const auto& optimizer : step->optimizers) {
        text += fmt::format(" *   optimizer \"{}\"", optimizer->name);
        for (const auto& hyper : optimizer->hypers) text += fmt::format("  {} = {}", hyper->name, hyper->value);
        text += "\n";
      }
  for (const auto& v : program.variables)
    if (v->kind == program::VariableKind::parameter) text += fmt::format(" *   parameter {}: {}\n", v->name, type_text(*v->type, ""));
  return text;
}

constexpr std::string_view functions[] = {
#define GRADC_FUNCTION(name, signature) #name,
#include "runtime/interface.def"
#undef GRADC_FUNCTION
};

void replace(std::string& text, std::string_view from, std::string_view to) {
  for (size_t at = 0; (at = text.find(from, at)) != text.npos; at += to.size()) text.replace(at, from.size(), to);
}
}  // namespace

std::string identifier(const std::string& name) {
  std::string out;
  for (char c : name) out += std::isalnum(static_cast<unsigned char>(c)) || c == '_' ? c : '_';
  return out.empty() || std::isdigit(static_cast<unsigned char>(out[0])) ? "model_" + out : out;
}

std::string library_header(const std::string& prefix, const program::ProgramT& program) {
  std::string text(interface_text());
  // Only declarations stay: the guard and the include go, and so does gradc_main, which is of executables. `create` knows its image.
  text.erase(0, text.find("#include"));
  replace(text, "#include \"runtime/image.h\"", "#include <stdint.h>");
  if (size_t main = text.find("int gradc_main("); main != text.npos) {
    size_t comment = text.rfind("/*", main);
    text.erase(comment, text.find(';', main) + 1 - comment);
  }
  replace(text, "const gradc_image* image, ", "");
  text.erase(text.rfind("#endif"));
  // Functions get the prefix; types (gradc_model, gradc_status, ...) are shared by all models that a program includes.
  for (std::string_view function : functions) replace(text, fmt::format("gradc_{}(", function), fmt::format("{}_{}(", prefix, function));
  replace(text, "gradc_message gives", prefix + "_message gives");
  size_t types = text.find("typedef enum gradc_status"), declarations = text.find("/* Creates");
  CHECK(types != text.npos && declarations != text.npos && types < declarations, "runtime/gradc.h has another form");
  text.insert(declarations, "#endif /* GRADC_TYPES */\n\n");
  text.insert(types, "#ifndef GRADC_TYPES\n#define GRADC_TYPES\n");
  std::string guard = prefix + "_H";
  for (char& c : guard) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return fmt::format("/* {}: made by gradc from {}.\n *\n{} */\n#ifndef {}\n#define {}\n{}#endif\n", prefix, program.source, contents(program), guard, guard, text);
}
}  // namespace gradc
