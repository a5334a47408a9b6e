// The indices of a contract before they are merged: which operand has them, and which of them belong together. Internal to contract*_plan.cpp.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "codegen/contract_plan.h"
#include "ir/infer.h"

namespace gradc::codegen {

inline bool has(const std::string& letters, char c) { return letters.find(c) != letters.npos; }

// A run of neighbouring letters of the result that become one axis.
struct Group {
  std::string letters;
  AxisRole role = AxisRole::loop;
  bool outer = false;
};

// Everything about the spec that decides the form.
struct Roles {
  ir::ContractSpec spec;
  std::map<char, int64_t> extent;
  std::string result;        // letters of the result of extent above 1
  size_t outer = 0;          // how many of them units count
  std::string reduced;       // in the order of operand a
  ir::Value a, b;

  bool only_a(char c) const { return has(spec.a, c) && !has(spec.b, c); }
  bool only_b(char c) const { return has(spec.b, c) && !has(spec.a, c); }
  bool batch(char c) const { return has(spec.a, c) && has(spec.b, c); }
  void swap() {
    std::swap(spec.a, spec.b);
    std::swap(a, b);
  }
};

Roles read_roles(const ir::Kernel&);
/// Decides the form and which operand is the lane operand (b).
ContractForm choose_form(const ir::Kernel&, Roles&, bool batch_lanes);
/// The kernel's body with indices merged so, and its axes, rows, lanes and depth. The last of `reduced` is the depth, all of them in the order of the sum.
void merge_indices(const ir::Kernel&, const Roles&, const std::vector<Group>&, const std::vector<std::string>& reduced, ContractPlan&);

}  // namespace gradc::codegen
