// Choosing chunks. A masked chunk costs as much as a full one, so a rest goes through a large chunk only if it fills a quarter of it.
#include "runtime/predict.h"

#include <algorithm>
#include <fmt/format.h>

namespace gradc::runtime {

Result<Predictor> Predictor::create(Model& model, const std::string& name) {
  const program::Export* found = nullptr;
  std::vector<std::string> names;
  for (uint32_t i = 0; i < size(model.program()->exports()); ++i) {
    const program::Export* candidate = model.program()->exports()->Get(i);
    names.push_back(text(candidate->name()));
    if (name.empty() ? !found : names.back() == name) found = candidate;
  }
  if (!found) return Error{GRADC_UNKNOWN_NAME, names.empty() ? "this program exports nothing" : fmt::format("no export is called '{}'{}", name, suggestion(name, names))};
  Predictor predictor;
  predictor.name_ = text(found->name());
  predictor.steps_ = found->steps();
  for (uint32_t i = 0; i < size(found->inputs()); ++i) predictor.inputs_.push_back(to_field(found->inputs()->Get(i)));
  for (uint32_t i = 0; i < size(found->outputs()); ++i) predictor.outputs_.push_back(to_field(found->outputs()->Get(i)));
  for (uint32_t i = 0; i < size(found->entries()); ++i) {
    Chunk chunk{std::max<int64_t>(1, found->entries()->Get(i)->rows()), model.entry(found->entries()->Get(i)->entry()), {}};
    if (!chunk.entry) return Error{GRADC_INTERNAL, fmt::format("export '{}' lacks the entry '{}'", predictor.name_, text(found->entries()->Get(i)->entry()))};
    for (size_t o = 0; o < predictor.outputs_.size(); ++o) {
      const Port* port = chunk.entry->output(predictor.outputs_[o].name);
      if (!port && predictor.outputs_.size() == chunk.entry->outputs.size()) port = &chunk.entry->outputs[o];
      if (!port || port->bytes != predictor.outputs_[o].type.bytes() * size_t(chunk.rows))
        return Error{GRADC_INTERNAL, fmt::format("entry '{}' does not give '{}'", chunk.entry->name, predictor.outputs_[o].name)};
      chunk.results.push_back(port);
    }
    predictor.chunks_.push_back(std::move(chunk));
  }
  if (predictor.chunks_.empty()) return Error{GRADC_INTERNAL, fmt::format("export '{}' was not compiled", predictor.name_)};
  std::sort(predictor.chunks_.begin(), predictor.chunks_.end(), [](const Chunk& a, const Chunk& b) { return a.rows < b.rows; });
  return predictor;
}

Status Predictor::run(Model& model, RowSource& source, int64_t rows, const std::vector<char*>& outputs) {
  if (steps_ > 0 && model.scalars.position + rows > steps_)
    return Error{GRADC_RANGE, fmt::format("a session of '{}' is {} steps: {} were made, {} are to follow", name_, steps_, model.scalars.position, rows)};
  for (int64_t first = 0; first < rows;) {
    int64_t left = rows - first;
    const Chunk* chunk = &chunks_.front();
    for (const Chunk& candidate : chunks_)
      if (candidate.rows <= left || left * 4 >= candidate.rows) chunk = &candidate;
    int64_t valid = std::min(chunk->rows, left);
    model.scalars.row = first;
    model.scalars.valid = valid;
    source.fill(*chunk->entry, first, valid);
    model.run(*chunk->entry);
    if (steps_ > 0) ++model.scalars.position;
    for (size_t o = 0; o < outputs.size(); ++o) {
      size_t row_bytes = outputs_[o].type.bytes();
      std::memcpy(outputs[o] + size_t(first) * row_bytes, chunk->results[o]->data, size_t(valid) * row_bytes);
    }
    first += valid;
  }
  return {};
}

}  // namespace gradc::runtime
