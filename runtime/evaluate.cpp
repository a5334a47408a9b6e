// Accumulation is in double precision, so that the size of the chunks does not show in the figures.
#include "runtime/evaluate.h"

#include <algorithm>
#include <fmt/format.h>

namespace gradc::runtime {

Result<Evaluator> Evaluator::create(Model& model, const program::Accumulated* accumulated) {
  Evaluator evaluator;
  std::string name = accumulated ? text(accumulated->entry()) : "";
  evaluator.entry_ = model.entry(name);
  if (!evaluator.entry_) return Error{GRADC_UNKNOWN_NAME, "this program has nothing to evaluate"};
  evaluator.finish_ = model.entry(accumulated->finish());
  for (size_t i = 0; i < evaluator.entry_->outputs.size(); ++i)
    evaluator.combine_.push_back(i < size(accumulated->combine()) ? program::Combine(accumulated->combine()->Get(uint32_t(i))) : program::Combine::add);
  evaluator.chunk_ = compiled_rows(*evaluator.entry_);
  if (evaluator.chunk_ == 0) evaluator.chunk_ = std::max<int64_t>(1, accumulated->rows());
  return evaluator;
}

Figures Evaluator::run(Model& model, RowSource& source, int64_t rows, std::vector<Table>* tables) {
  const std::vector<Port>& outputs = entry_->outputs;
  std::vector<std::vector<double>> totals(outputs.size());
  for (int64_t first = 0; first < rows; first += chunk_) {
    int64_t valid = std::min(chunk_, rows - first);
    model.scalars.row = first;
    model.scalars.valid = valid;
    source.fill(*entry_, first, valid);
    model.run(*entry_);
    for (size_t o = 0; o < outputs.size(); ++o) {
      size_t count = size_t(outputs[o].type.elements()), stride = info(outputs[o].type.element).bytes;
      bool fresh = totals[o].empty();
      if (fresh) totals[o].resize(count);
      for (size_t i = 0; i < count; ++i) {
        double value = read_number(outputs[o].type.element, outputs[o].data + i * stride);
        double& total = totals[o][i];
        if (fresh) total = value;
        else if (combine_[o] == program::Combine::add) total += value;
        else total = combine_[o] == program::Combine::max ? std::max(total, value) : std::min(total, value);
      }
    }
  }
  Figures figures;
  if (!finish_) {
    for (size_t o = 0; o < outputs.size(); ++o) figures.push_back({outputs[o].name, totals[o].empty() ? 0 : totals[o][0]});
    return figures;
  }
  for (const Port& input : finish_->inputs)
    for (size_t o = 0; o < outputs.size(); ++o)
      if (outputs[o].name == input.name)
        for (size_t i = 0; i < totals[o].size() && i < size_t(input.type.elements()); ++i)
          write_number(input.type.element, input.data + i * info(input.type.element).bytes, totals[o][i]);
  model.scalars.count = double(rows);
  model.scalars.valid = rows;
  model.scalars.row = 0;
  model.run(*finish_);
  for (const Port& output : finish_->outputs) {
    if (output.type.shape.empty()) {
      figures.push_back({output.name, read_number(output.type.element, output.data)});
    } else if (tables) {
      Table table{output.name, output.type.shape, {}};
      for (int64_t i = 0; i < output.type.elements(); ++i) table.values.push_back(read_number(output.type.element, output.data + size_t(i) * info(output.type.element).bytes));
      tables->push_back(std::move(table));
    }
  }
  return figures;
}

}  // namespace gradc::runtime
