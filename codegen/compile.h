// Kernels to object code, on all cores; and the object that holds the program as data.
#pragma once
#include <string>
#include <vector>

#include "codegen/cache.h"
#include "codegen/plan.h"
#include "codegen/target.h"

namespace gradc::codegen {

struct CompileOptions {
  Target target;
  int threads = 0;              // 0: all cores
  bool keep_llvm = false;       // fill Object::llvm
  bool keep_assembly = false;   // fill Object::assembly
  const Cache* cache = nullptr;   // objects of earlier runs; not looked at if text is kept
};

/// Native code of one kernel; its function is KernelTable::symbol of its index.
struct Object {
  std::vector<char> code;
  std::string llvm, assembly;
  int64_t scratch_bytes = 0;
  bool cached = false;
};

std::vector<Object> compile(const KernelTable&, const CompileOptions&);

/// Gives each entry the scratch that its kernels need, and the program its table of kernels.
void finish_program(const KernelTable&, const std::vector<Object>&, const Target&, program::ProgramT&);

/// The program as a FlatBuffer.
std::vector<uint8_t> serialize(const program::ProgramT&);

/// What stands beside the image: the `main` of an executable, or every function of runtime/interface.def as PREFIX_function.
enum class Surface { main, library };

/// An object that defines `const gradc_image PREFIX_image` (runtime/image.h), the program's bytes and the table of its
/// kernels, and the surface.
std::vector<char> image_object(const std::string& prefix, const std::vector<uint8_t>& program, const KernelTable&, Surface, const Target&);

}  // namespace gradc::codegen
