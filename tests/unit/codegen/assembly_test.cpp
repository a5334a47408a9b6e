// What inner loops must look like: packed instructions, nothing on the stack, no calls.
#include <catch2/catch.hpp>

#include <map>
#include <sstream>

#include "kernel_harness.h"

using namespace gradc;
using namespace gradc::ir;
using namespace gradc::codegen::test;

namespace {
// The loops that contain no other one, as text.
std::vector<std::string> inner_loops(const std::string& assembly) {
  std::vector<std::string> lines;
  std::istringstream in(assembly);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  std::map<std::string, size_t> labels;
  std::vector<std::pair<size_t, size_t>> loops;
  for (size_t i = 0; i < lines.size(); ++i) {
    if (lines[i].rfind(".LBB", 0) == 0) labels[lines[i].substr(0, lines[i].find(':'))] = i;
    size_t target = lines[i].find(".LBB");
    if (target == 0 || target == std::string::npos || lines[i].find("\tj") != 0) continue;
    auto label = labels.find(lines[i].substr(target, lines[i].find_first_of(" \t,", target) - target));
    if (label != labels.end()) loops.emplace_back(label->second, i);
  }
  std::vector<std::string> result;
  for (auto [first, last] : loops) {
    bool inner = true;
    for (auto [f, l] : loops) inner = inner && !(f >= first && l <= last && std::pair(f, l) != std::pair(first, last));
    if (!inner) continue;
    result.emplace_back();
    for (size_t i = first; i <= last; ++i) result.back() += lines[i] + "\n";
  }
  return result;
}

bool contains(const std::string& text, const char* part) { return text.find(part) != std::string::npos; }

void check(const Kernel& kernel, size_t loops, std::initializer_list<const char*> instructions, int registers = 16) {
  for (const codegen::Target& target : targets()) {
    if (target.name == "baseline" || target.registers < registers) continue;
    std::string text = assembly(kernel, target);
    std::vector<std::string> found = inner_loops(text);
    INFO(target.name << "\n" << text);
    CHECK(found.size() >= loops);
    for (const char* instruction : instructions) CHECK(contains(text, instruction));
    for (const std::string& loop : found) {
      INFO(loop);
      CHECK(!contains(loop, "(%rsp"));
      CHECK(!contains(loop, "call"));
      CHECK(contains(loop, target.avx512 ? "%zmm" : "%ymm"));
    }
  }
}
}  // namespace

TEST_CASE("inner loops are packed and stay off the stack", "[assembly]") {
  SECTION("map") {
    Function f;
    Builder b(f);
    Type type{ElementType::f32, {4096}};
    Value x = b.input("a0", type), y = b.input("a1", type);
    Kernel kernel = finish(Form::map, f, type.shape, 0, {b.make(Op::max, {b.make(Op::add, {x, y}), b.constant(0, type)})});
    check(kernel, 1, {"vaddps", "vmaxps"});
    std::string loop = inner_loops(assembly(kernel, targets().front())).at(0);
    // Four vectors: a load, a sum with a load, a maximum and a store each, and three instructions of loop.
    CHECK(std::count(loop.begin(), loop.end(), '\n') <= 4 * 4 + 3 + 2);
  }
  SECTION("scalars stay outside") {
    Function f;
    Builder b(f);
    Type type{ElementType::f32, {4096}};
    Value x = b.input("a0", type), t = b.input("a1", {ElementType::f64, {}});
    Value factor = b.cast(b.make(Op::pow, {b.scalar(0.9, ElementType::f64), t}), ElementType::f32);
    check(finish(Form::map, f, type.shape, 0, {b.map(Op::div, {x, factor})}), 1, {"vmulps"});
  }
  SECTION("gates side by side have a loop each") {
    Function f;
    Builder b(f);
    Value x = b.input("a0", {ElementType::f32, {8, 128}}), y = b.input("a1", {ElementType::f32, {8, 128}});
    auto padded = [&](Value v, int64_t low) {
      return b.make(Op::pad, {v}, {{Attr::low, std::vector<int64_t>{0, low}}, {Attr::high, std::vector<int64_t>{0, 128 - low}}, {Attr::interior, std::vector<int64_t>{0, 0}}, {Attr::value, 0.0}});
    };
    Kernel kernel = finish(Form::map, f, {8, 256}, 1, {b.make(Op::add, {padded(b.make(Op::mul, {x, y}), 0), padded(b.make(Op::sub, {x, y}), 128)})});
    check(kernel, 2, {"vmulps", "vsubps"});
    for (const std::string& loop : inner_loops(assembly(kernel, targets().front()))) {
      INFO(loop);
      CHECK(contains(loop, "vmulps") != contains(loop, "vsubps"));
      CHECK(!contains(loop, "{%k"));   // nothing is asked there
    }
  }
  SECTION("softmax of long rows") {
    Function f;
    Builder b(f);
    Value x = b.input("a0", {ElementType::f32, {64, 1024}});
    auto back = [&](Value v) { return b.broadcast(v, {64, 1024}, {0}); };
    Value e = b.make(Op::exp, {b.make(Op::sub, {x, back(b.reduce(Op::reduce_max, x, {1}))})});
    check(finish(Form::row, f, {64, 1024}, 1, {b.make(Op::div, {e, back(b.reduce(Op::reduce_sum, e, {1}))})}), 3, {"vmaxps", "vaddps", "vmulps"}, 32);   // the constants of exp alone fill 16
  }
  SECTION("sums of columns") {
    Function f;
    Builder b(f);
    Value x = b.input("a0", {ElementType::f32, {128, 256}});
    check(finish(Form::column, f, {128, 256}, 1, {b.reduce(Op::reduce_sum, x, {0})}), 1, {"vaddps"});
  }
}
