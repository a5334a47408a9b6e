// A table of counts, classes by classes, for people: text, CSV, SVG. Row: what a sample is, column: what it was taken for.
#pragma once
#include <string>
#include <vector>

#include "runtime/evaluate.h"

namespace gradc::runtime {

struct Confusion {
  std::vector<std::string> classes;
  std::vector<double> counts;   // row by row
  double at(size_t row, size_t column) const { return counts[row * classes.size() + column]; }
  double row_sum(size_t row) const;
  double column_sum(size_t column) const;
  double recall(size_t i) const { return at(i, i) / row_sum(i); }        // NaN: no such sample
  double precision(size_t i) const { return at(i, i) / column_sum(i); }
};

/// The first of the tables that is square; its classes are called as the data calls its labels, where the data has as many names, else 0, 1, ...
Result<Confusion> find_confusion(const std::vector<Table>& tables, const std::vector<std::string>& names);

/// colour: shades of the share of a row behind the counts; columns of a terminal, or 0. Headings of columns are names, or their beginnings, or the
/// classes' numbers (which then stand before the names of the rows too): the first that fits. A table that is wider all the same is left out.
std::string confusion_text(const Confusion& table, bool colour, size_t columns);
std::string confusion_csv(const Confusion& table);
std::string confusion_svg(const Confusion& table, const std::string& title);

}  // namespace gradc::runtime
