// Exports: any number of rows, run in chunks of the compiled sizes.
#pragma once
#include <string>
#include <vector>

#include "runtime/batch.h"
#include "runtime/model.h"

namespace gradc::runtime {

class Predictor {
 public:
  /// name "": the first export.
  static Result<Predictor> create(Model& model, const std::string& name);
  const std::string& name() const { return name_; }
  const std::vector<FieldType>& inputs() const { return inputs_; }     // of one sample
  const std::vector<FieldType>& outputs() const { return outputs_; }
  /// The entry for the fewest rows: what `bench` times.
  Entry* smallest() const { return chunks_.front().entry; }
  /// Of an incremental export: how many samples a session lasts, which come one after the other; else 0.
  int64_t steps() const { return steps_; }
  /// Results of all rows, one after the other, to outputs[i]. Fails where a session is over before the rows are.
  Status run(Model& model, RowSource& source, int64_t rows, const std::vector<char*>& outputs);

 private:
  struct Chunk {
    int64_t rows;
    Entry* entry;
    std::vector<const Port*> results;   // in the order of outputs_
  };
  std::string name_;
  int64_t steps_ = 0;
  std::vector<FieldType> inputs_, outputs_;
  std::vector<Chunk> chunks_;           // ascending rows
};

}  // namespace gradc::runtime
