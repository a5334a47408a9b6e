// What the driver does to functions between elaboration and fusion, and how it shows a stage.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "codegen/compile.h"
#include "frontend/driver.h"
#include "ir/kernel.h"
#include "frontend/program.h"

namespace gradc {

/// Gives contracts their precision, splits validation into accumulate and finish, masks chunks, checks exports, and expands gradients. Fills in the image's
/// Accumulated rows. False if diagnostics say why not.
bool lower_to_gradient(Program&, ir::Module& out, ir::Precision, Diagnostics&, const Sources&);

/// Optimizes every function of a module without grad nodes, then has its convolutions by Winograd's algorithm if so chosen, those below f32 only if there is no AMX; with `verify`, the verifier runs after each pass.
ir::Module lower_to_optimized(const ir::Module&, passes::Winograd, bool amx, bool verify);

/// A function as it went into the plan, and the kernels that it became.
struct FusedFunction {
  ir::Function function;
  std::vector<ir::KernelCall> calls;
  codegen::EntryNotes notes;
};

/// What dump_stage may show.
struct DumpRequest {
  Stage stage;
  DumpFormat format;
  std::string function;   // "" is all
  const codegen::KernelTable& kernels;
  const std::vector<codegen::Object>& objects;
  const program::ProgramT& image;
  const std::vector<FusedFunction>& fused;
  const ir::Module& module;
  const codegen::Target& target;
};
/// Stage "kernels" as text: phases, strands, kernels, what each fused and why the next one did not join; then the kernels' bodies.
std::string kernels_text(const DumpRequest&);
std::optional<std::string> dump_stage(const DumpRequest&, Diagnostics&);

}  // namespace gradc
