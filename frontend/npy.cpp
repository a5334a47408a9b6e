// The form: "\x93NUMPY", version, length of a header, the header (a Python dict with descr, fortran_order and shape), data.
#include "frontend/npy.h"

#include <charconv>
#include <cstring>
#include <utility>

namespace gradc {
namespace {

using ir::ElementType;

// What stands after 'key': up to the next comma outside of brackets, or the closing brace.
std::string_view entry(std::string_view header, std::string_view key) {
  size_t at = header.find(key);
  if (at == header.npos) return {};
  at = header.find(':', at);
  if (at == header.npos) return {};
  size_t begin = header.find_first_not_of(' ', at + 1), end = begin;
  for (int depth = 0; end < header.size() && (depth > 0 || (header[end] != ',' && header[end] != '}')); ++end)
    depth += header[end] == '(' ? 1 : header[end] == ')' ? -1 : 0;
  return begin == header.npos ? std::string_view() : header.substr(begin, end - begin);
}

std::optional<ElementType> element(std::string_view descr) {
  static constexpr std::pair<std::string_view, ElementType> table[] = {
      {"'<f4'", ElementType::f32}, {"'<f8'", ElementType::f64}, {"'<i4'", ElementType::i32},
      {"'<i8'", ElementType::i64}, {"'|u1'", ElementType::u8},  {"'|b1'", ElementType::boolean},
  };
  for (auto [text, type] : table)
    if (descr == text) return type;
  return std::nullopt;
}

}  // namespace

std::optional<ir::Tensor> read_npy(std::string_view bytes, std::string& why) {
  auto fail = [&](std::string reason) {
    why = std::move(reason);
    return std::nullopt;
  };
  if (bytes.size() < 10 || !bytes.starts_with("\x93NUMPY")) return fail("not an NPY file");
  bool long_header = bytes[6] > 1;
  if (bytes.size() < 12) return fail("the file is truncated");
  uint32_t length = 0;
  memcpy(&length, bytes.data() + 8, long_header ? 4 : 2);
  size_t start = (long_header ? 12 : 10) + size_t{length};
  if (start > bytes.size()) return fail("the file is truncated");
  std::string_view header = bytes.substr(long_header ? 12 : 10, length);

  std::string_view descr = entry(header, "'descr'");
  auto type = element(descr);
  if (!type) return fail("elements of type " + std::string(descr) + " are not known");
  std::string_view dimensions = entry(header, "'shape'");
  ir::Type tensor_type{*type, {}};
  for (const char *at = dimensions.data(), *end = at + dimensions.size(); at < end;) {
    int64_t extent = 0;
    auto [next, error] = std::from_chars(at, end, extent);
    if (error == std::errc()) tensor_type.shape.push_back(extent);
    at = error == std::errc() ? next : at + 1;
  }
  if (entry(header, "'fortran_order'") != "False" && tensor_type.rank() > 1) return fail("the array is in Fortran order");
  if (static_cast<int64_t>(bytes.size() - start) != tensor_type.bytes()) return fail("the file's size does not fit its shape");
  ir::Tensor tensor(tensor_type);
  memcpy(tensor.bytes().data(), bytes.data() + start, tensor.bytes().size());
  return tensor;
}

}  // namespace gradc
