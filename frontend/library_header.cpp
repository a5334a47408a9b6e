// The header is made from runtime/gradc.h itself (compiled in as text): its types stay, its functions get the model's
// prefix, so there is one description of the interface.
#include "frontend/library_header.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cctype>
#include <regex>

#include "frontend/interface_text.h"

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
}  // namespace

std::string identifier(const std::string& name) {
  std::string out;
  for (char c : name) out += std::isalnum(static_cast<unsigned char>(c)) || c == '_' ? c : '_';
  return out.empty() || std::isdigit(static_cast<unsigned char>(out[0])) ? "model_" + out : out;
}

std::string library_header(const std::string& prefix, const program::ProgramT& program) {
  std::string body(interface_text());
  // From the first include or typedef on, the file is declarations; its guard and includes are replaced.
  body = std::regex_replace(body, std::regex("#ifndef GRADC_GRADC_H\n#define GRADC_GRADC_H\n"), "");
  body = std::regex_replace(body, std::regex("#include \"runtime/image.h\"\n"), "#include <stdint.h>\n");
  body = std::regex_replace(body, std::regex("\n#endif\\s*$"), "\n");
  // gradc_main is of executables; create knows its image.
  body = std::regex_replace(body, std::regex("/\\*[^/]*\\*/\nint gradc_main\\([^;]*;\n"), "");
  body = std::regex_replace(body, std::regex("const gradc_image\\* image, "), "");
  // Types are shared by all models that a program includes: declared once. Functions get the prefix.
  std::string functions = std::regex_replace(body, std::regex("(gradc_status|void|const char\\*) gradc_([a-z_]+)\\("), "$1 " + prefix + "_$2(");
  functions = std::regex_replace(functions, std::regex("gradc_message gives"), prefix + "_message gives");
  size_t types = functions.find("typedef enum gradc_status"), end = functions.find(fmt::format("/* Creates"));
  if (types != std::string::npos && end != std::string::npos) {
    functions.insert(end, "#endif /* GRADC_TYPES */\n\n");
    functions.insert(types, "#ifndef GRADC_TYPES /* shared by all models of a program */\n#define GRADC_TYPES\n");
  }
  std::string guard = prefix + "_H";
  for (char& c : guard) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return fmt::format("/* {}: made by gradc from {}.\n *\n{} */\n#ifndef {}\n#define {}\n{}\n#endif\n", prefix, program.source, contents(program), guard, guard, functions);
}
}  // namespace gradc
