// Operations in groups, each of which becomes a kernel, and the reasons why edges between them were cut. Internal to fusion*.cpp.
#pragma once
#include <map>
#include <set>
#include <string_view>
#include <vector>

#include "ir/kernel.h"
#include "passes/fusion.h"

namespace gradc::passes {

struct Group {
  ir::Form form = ir::Form::map;
  ir::Shape domain;
  int64_t outer = 0;              // row, scatter: leading axes that count rows; column: leading axes that are summed, after the `kept` ones
  int64_t kept = 0;               // column
  int64_t paired = 0;             // pairs: the axis along which they are
  int64_t parts = 0;              // contract: leading axes that say in which part of the sum an element is; 0: a sum in one (ir/kernel.h)
  ir::Value hero;
  std::vector<ir::Value> nodes;
  std::set<int> needs;            // groups that it reads from directly, or waits for
  bool waits = false;             // it reads something through `after`
  ir::Shape outer_shape() const { return {domain.begin(), domain.begin() + outer}; }
  ir::Shape column_shape() const {   // of a column kernel's results
    ir::Shape shape(domain.begin(), domain.begin() + kept);
    shape.insert(shape.end(), domain.begin() + outer, domain.end());
    return shape;
  }
};

struct Groups {
  explicit Groups(const ir::Function& function) : f(function), of(function.size(), -1), readers(function.size()), stored(function.size(), false) {}

  const ir::Function& f;
  std::vector<Group> all;
  std::vector<int> of;                    // per node: its group, or -1 (views, plain sources)
  // Why a node did not join the group of one of its operands: what follows its name in a dump.
  std::map<std::pair<int, ir::Value>, std::string_view> refused;
  // Filled in by choose_buffers.
  std::vector<std::set<int>> readers;     // per node: groups that read it, from outside its own
  std::vector<bool> stored;               // per node: it has a buffer
  std::map<ir::Value, std::string_view> kept;   // why a value that its readers could have computed is stored
  std::set<ir::Value> copied;             // views that have a buffer which contracts read

  const ir::Shape& shape(ir::Value v) const { return f.type(v).shape; }
  /// The value that is no view which `v` is computed from through views alone (v itself if it is none).
  ir::Value base(ir::Value v) const;
  /// Groups that are to be complete before `v` is read: of the second operands of `after` on the way to its base.
  std::set<int> awaited(ir::Value v) const;
  /// Whether group g needs group `on`, directly or not (also if they are the same).
  bool depends(int g, int on) const;
  /// Groups that have nodes, what they need first.
  std::vector<int> sorted() const;
};

bool computes(const ir::Node&);
/// Whether it has a value of its own for each element: maps and gather.
bool by_elements(const ir::Node&);
/// Maps that cost more than the memory traffic of storing their result would; and all that is no map.
bool expensive(const ir::Node&);

/// Whether a reduction is an element of a map kernel, summed where it is read: lanes run over axes that it keeps, as in pooling. The others have a form
/// of their own, in which rows or columns are reduced.
bool reduces_in_map(const ir::Function&, const ir::Node&);

/// Whether it is a sum over neighbouring axes with lanes along what follows them: a column kernel with whatever comes before as units.
bool sums_columns(const ir::Function&, const ir::Node&);

/// Leading indices of a product's result that say in which part of its sum an element is, if the sum is taken in parts: where its users alone read it, who sum over the first index, as in
/// Winograd's gradient of a kernel; or where an operand [X, t, ...] is computed again for it, as in attention. Else 0.
int64_t parts_of_sum(const Groups&, const std::vector<ir::Value>& users, ir::Value product);

/// Puts every node that computes something into a group.
void form_groups(Groups&);
/// Decides which values get buffers; what does not is computed in every group that reads it.
void choose_buffers(Groups&);

}  // namespace gradc::passes
