// Loss and reports over a whole split: an entry over chunks, its outputs accumulated, then a finishing entry.
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "runtime/batch.h"
#include "runtime/model.h"

namespace gradc::runtime {

using Figures = std::vector<std::pair<std::string, double>>;   // "loss" first, then the reports

/// A report that is no single number.
struct Table {
  std::string name;
  std::vector<int64_t> shape;
  std::vector<double> values;   // row by row
};

class Evaluator {
 public:
  /// accumulated: of a train block.
  static Result<Evaluator> create(Model& model, const program::Accumulated* accumulated);
  const Entry& entry() const { return *entry_; }
  /// Over `rows` rows. Every row counts exactly once: the last chunk is masked.
  /// tables: null, or where reports go that are no single numbers.
  Figures run(Model& model, RowSource& source, int64_t rows, std::vector<Table>* tables = nullptr);

 private:
  Entry* entry_ = nullptr;
  Entry* finish_ = nullptr;
  std::vector<program::Combine> combine_;
  int64_t chunk_ = 0;
};

}  // namespace gradc::runtime
