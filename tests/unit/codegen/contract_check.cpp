#include "contract_check.h"

#include <catch2/catch.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <sstream>

#include "ir/evaluate.h"
#include "ir/text.h"

namespace gradc::codegen::test {
using ir::Attr, ir::Builder, ir::ElementType, ir::Kernel, ir::Op, ir::Value;

namespace {
int64_t reduced_size(const Kernel& kernel) {
  const ir::Node& hero = kernel.body[kernel.hero];
  int64_t all = 1;
  auto spec = std::get<ir::ContractSpec>(ir::ContractSpec::parse(hero.attrs.text(Attr::spec)));
  for (size_t i = 0; i < spec.a.size(); ++i)
    if (spec.result.find(spec.a[i]) == spec.result.npos) all *= kernel.body.type(hero.operands[0]).shape[i];
  return all;
}

std::vector<int64_t> random_cuts(int64_t units, std::mt19937& random) {
  std::vector<int64_t> cuts;
  if (units < 2) return cuts;
  for (int64_t at = 0;;) {
    at += std::uniform_int_distribution<int64_t>(1, std::max<int64_t>(units / 2, 1))(random);
    if (at >= units) return cuts;
    cuts.push_back(at);
  }
}

}  // namespace

void check(const Kernel& kernel, std::mt19937& random, const std::vector<Target>& on, double tolerance) {
  INFO(ir::print(kernel.body) << "outer " << kernel.outer << ", units " << kernel.units);
  auto inputs = random_inputs(kernel, static_cast<uint32_t>(random()), -1, 1);
  ir::Bindings bindings;
  for (size_t i = 0; i < inputs.size(); ++i) bindings[fmt::format("a{}", i)] = inputs[i];
  ir::Bindings expected = ir::evaluate(kernel.body, bindings);
  ElementType element = kernel.body.type(kernel.hero).element;
  double unit = (element == ElementType::f64 ? 1e-15 : 3e-7) * static_cast<double>(10 + reduced_size(kernel));
  for (const Target& target : on) {
    INFO(target.name);
    Compiled compiled(kernel, target);
    auto whole = compiled.run(inputs);
    for (size_t r = 0; r < whole.size(); ++r) {
      const ir::Tensor& value = expected.at(fmt::format("r{}", r));
      double largest = 1, difference = 0;
      for (int64_t i = 0; i < value.size(); ++i) {
        largest = std::max(largest, std::abs(value.at(i)));
        if (double off = std::abs(value.at(i) - whole[r].at(i)); off > difference || std::isnan(off)) difference = off;
      }
      INFO("result " << r << " differs by " << difference);
      CHECK(difference <= tolerance * unit * largest);
    }
    for (int round = 0; round < 2; ++round) {
      auto cuts = random_cuts(kernel.units, random);
      INFO("cut at " << fmt::format("{}", cuts));
      CHECK(compiled.run(inputs, cuts) == whole);
    }
  }
}

std::vector<Value> adam(Builder& b, Value gradient) {
  ir::Type type = b.type(gradient), scalar{type.element, {}};
  Value w = b.input("a2", type), m = b.input("a3", type), v = b.input("a4", type), rate = b.broadcast_to(b.input("a5", scalar), type.shape);
  auto mix = [&](double keep, Value old, Value fresh) { return b.make(Op::add, {b.make(Op::mul, {b.like(keep, old), old}), b.make(Op::mul, {b.like(1 - keep, fresh), fresh})}); };
  Value next_m = mix(0.9, m, gradient), next_v = mix(0.999, v, b.make(Op::mul, {gradient, gradient}));
  Value root = b.make(Op::sqrt, {b.make(Op::max, {next_v, b.like(0, next_v)})});
  Value step = b.make(Op::div, {b.make(Op::mul, {rate, next_m}), b.make(Op::add, {root, b.like(1e-3, root)})});
  return {b.make(Op::sub, {w, step}), next_m, next_v};
}

void check_tiles(const Kernel& kernel, const Target& target, int products) {
  std::istringstream lines(assembly(kernel, target));
  std::string line, label;
  std::vector<std::string> body;
  int tiles = 0;
  while (std::getline(lines, line)) {
    if (line.starts_with(".L") && line.find(':') != line.npos) {
      label = line.substr(0, line.find(':'));
      body.clear();
      continue;
    }
    body.push_back(line);
    if (line.find("\tj") == line.npos || line.find(label) == line.npos || label.empty()) continue;
    if (std::count_if(body.begin(), body.end(), [](const std::string& text) { return text.find("vfmadd") != text.npos; }) < products) continue;
    ++tiles;
    for (const std::string& text : body) {
      INFO(text);
      CHECK(text.find("(%rsp") == text.npos);   // rbp is a register like others: there is no frame pointer
    }
  }
  CHECK(tiles > 0);
}

}  // namespace gradc::codegen::test
