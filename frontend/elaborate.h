// From syntax to graph: runs a model file at compile time. Numbers, shapes, loops and layer instances are values of the
// compiler; tensors become graph nodes. See README.md for the files in reading order.
#pragma once
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "frontend/program.h"
#include "ir/diagnostics.h"

namespace gradc {

struct ElaborateOptions {
  std::map<std::string, double> set;                 // config values fixed at build: --set width=512
  std::vector<int64_t> export_rows = {1, 64};        // chunk sizes that exports are compiled for
  std::vector<std::string> optimizers;               // standard optimizers to offer at start beside those of the file
  std::string directory;                             // where imports are looked for first; "": beside the model file
};

/// Mistakes become diagnostics (several a run); then there is no program. The standard library's texts are added to `sources`.
std::optional<Program> elaborate(FileId model_file, Sources& sources, Diagnostics&, const ElaborateOptions& = {});

}  // namespace gradc
