// The link lines that a compiler driver would make, without one: start files and libraries were found when gradc was built
// (link_paths.h). libstdc++, libgcc and zlib are linked in, so an artifact needs libc and libm alone.
#include "codegen/link.h"

#include <fmt/format.h>
#include <lld/Common/Driver.h>
#include <llvm/ObjCopy/CommonConfig.h>
#include <llvm/ObjCopy/ConfigManager.h>
#include <llvm/ObjCopy/ObjCopy.h>
#include <llvm/Object/ArchiveWriter.h>
#include <llvm/Object/ELFObjectFile.h>
#include <llvm/Support/MemoryBuffer.h>
#include <llvm/Support/raw_ostream.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "codegen/link_paths.h"

LLD_HAS_DRIVER(elf)

namespace gradc::codegen {
namespace fs = std::filesystem;
namespace {

// Objects as files in a folder of their own, which goes with this value.
class ObjectFiles {
 public:
  explicit ObjectFiles(const Objects& objects) {
    std::string pattern = (fs::temp_directory_path() / "gradc-XXXXXX").string();
    if (!mkdtemp(pattern.data())) {
      error_ = fmt::format("no temporary folder {}: {}", pattern, std::strerror(errno));
      return;
    }
    folder_ = pattern;
    for (size_t i = 0; i < objects.size() && error_.empty(); ++i) write(fmt::format("{}.o", i), objects[i].data(), objects[i].size());
  }
  ~ObjectFiles() {
    std::error_code ignored;
    if (!folder_.empty()) fs::remove_all(folder_, ignored);
  }
  std::string write(const std::string& name, const char* data, size_t size) {
    std::string path = (folder_ / name).string();
    std::ofstream file(path, std::ios::binary);
    file.write(data, static_cast<std::streamsize>(size));
    if (!file.flush()) error_ = fmt::format("cannot write {}: {}", path, std::strerror(errno));
    paths_.push_back(path);
    return path;
  }
  const std::vector<std::string>& paths() const { return paths_; }
  std::string path(const std::string& name) const { return (folder_ / name).string(); }
  const std::string& error() const { return error_; }

 private:
  fs::path folder_;
  std::vector<std::string> paths_;
  std::string error_;
};

// The runtime stands beside the running gradc, or else where it was built.
std::string runtime_path() {
  std::error_code failed;
  fs::path self = fs::read_symlink("/proc/self/exe", failed);
  fs::path beside = self.parent_path() / "runtime" / "libgradc_runtime.a";
  return !failed && fs::exists(beside) ? beside.string() : GRADC_PATH_runtime;
}

// LLD keeps state between runs (a second link in one process crashed), so each run is a child process of its own: it inherits
// everything, reports its messages through a pipe and is gone.
std::string lld(const std::vector<std::string>& arguments) {
  std::vector<const char*> raw = {"ld.lld"};
  for (const std::string& argument : arguments) raw.push_back(argument.c_str());
  int ends[2];
  if (pipe(ends) != 0) return fmt::format("linking failed: {}", std::strerror(errno));
  pid_t child = fork();
  if (child < 0) return fmt::format("linking failed: {}", std::strerror(errno));
  if (child == 0) {
    close(ends[0]);
    std::string out, err;
    llvm::raw_string_ostream out_stream(out), err_stream(err);
    int code = lld::lldMain(raw, out_stream, err_stream, {{lld::Gnu, &lld::elf::link}}).retCode;
    for (size_t done = 0; done < err.size();) {
      ssize_t n = ::write(ends[1], err.data() + done, err.size() - done);
      if (n <= 0) break;
      done += static_cast<size_t>(n);
    }
    _exit(code == 0 ? 0 : 1);
  }
  close(ends[1]);
  std::string messages;
  char buffer[4096];
  for (ssize_t n; (n = ::read(ends[0], buffer, sizeof buffer)) > 0;) messages.append(buffer, static_cast<size_t>(n));
  close(ends[0]);
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {}
  return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? "" : "linking failed: " + messages;
}

// Runs `make` on a path beside `output`, then renames.
template <typename Make>
std::string write_then_rename(const std::string& output, Make make) {
  fs::path folder = fs::path(output).parent_path();
  if (folder.empty()) folder = ".";
  std::string temporary = (folder / fmt::format(".{}.{}", fs::path(output).filename().string(), getpid())).string();
  if (fs::is_directory(output)) return fmt::format("cannot write {}: it is a folder", output);
  if (access(folder.c_str(), W_OK) != 0) return fmt::format("cannot write {}: {}", output, std::strerror(errno));
  std::string error = make(temporary);
  std::error_code failed;
  if (error.empty()) {
    fs::rename(temporary, output, failed);
    if (failed) error = fmt::format("cannot write {}: {}", output, failed.message());
  }
  if (!error.empty()) fs::remove(temporary, failed);
  return error;
}

std::vector<std::string> libraries() {
  return {"--start-group",     runtime_path(), GRADC_PATH_libstdc___a, GRADC_PATH_libz_a,    GRADC_PATH_libgcc_a, GRADC_PATH_libgcc_eh_a,
          "--end-group",       "--as-needed",  GRADC_PATH_libm_so,     GRADC_PATH_libc_so};
}

void append(std::vector<std::string>& to, const std::vector<std::string>& from) { to.insert(to.end(), from.begin(), from.end()); }
}  // namespace

std::string link_executable(const Objects& objects, const std::string& output) {
  ObjectFiles files(objects);
  if (!files.error().empty()) return files.error();
  return write_then_rename(output, [&](const std::string& path) {
    // Equal functions are one, also where their address is taken (100 kB): nobody compares addresses of functions.
    std::vector<std::string> line = {"-o", path, "-pie", "--gc-sections", "--icf=all", "-s", "-O1", "--eh-frame-hdr", "-z", "now", "-z", "relro", "--hash-style=gnu",
                                     "--dynamic-linker", "/lib64/ld-linux-x86-64.so.2", GRADC_PATH_Scrt1_o, GRADC_PATH_crti_o, GRADC_PATH_crtbeginS_o};
    append(line, files.paths());
    append(line, libraries());
    append(line, {GRADC_PATH_crtendS_o, GRADC_PATH_crtn_o});
    return lld(line);
  });
}

std::string link_shared(const Objects& objects, const std::string& prefix, const std::string& output) {
  ObjectFiles files(objects);
  std::string exports = fmt::format("{{ global: {}_*; local: *; }};\n", prefix);
  std::string script = files.path("exports");
  std::ofstream(script) << exports;
  if (!files.error().empty()) return files.error();
  return write_then_rename(output, [&](const std::string& path) {
    std::vector<std::string> line = {"-o", path, "-shared", "--gc-sections", "-s", "-O1", "--eh-frame-hdr", "-z", "now", "-z", "relro", "--hash-style=gnu",
                                     "-soname", fs::path(output).filename().string(), "--version-script", script, GRADC_PATH_crti_o, GRADC_PATH_crtbeginS_o};
    append(line, files.paths());
    append(line, libraries());
    append(line, {GRADC_PATH_crtendS_o, GRADC_PATH_crtn_o});
    return lld(line);
  });
}

namespace {
// Makes every global symbol local but those of the prefix: two models then live in one executable.
std::string localize(const std::string& path, const std::string& prefix, std::vector<char>& out) {
  auto buffer = llvm::MemoryBuffer::getFile(path);
  if (!buffer) return buffer.getError().message();
  auto object = llvm::object::ObjectFile::createObjectFile((*buffer)->getMemBufferRef());
  if (!object) return llvm::toString(object.takeError());
  llvm::objcopy::ConfigManager config;
  config.Common.InputFilename = path;
  config.Common.OutputFilename = path;
  const std::string names = prefix + "_*";   // the pattern refers to it
  auto pattern = llvm::objcopy::NameOrPattern::create(names, llvm::objcopy::MatchStyle::Wildcard, [](llvm::Error e) { return e; });
  if (!pattern) return llvm::toString(pattern.takeError());
  if (auto failed = config.Common.SymbolsToKeepGlobal.addMatcher(std::move(pattern))) return llvm::toString(std::move(failed));
  llvm::SmallVector<char, 0> bytes;
  llvm::raw_svector_ostream stream(bytes);
  if (auto failed = llvm::objcopy::executeObjcopyOnBinary(config, **object, stream)) return llvm::toString(std::move(failed));
  out.assign(bytes.begin(), bytes.end());
  return "";
}
}  // namespace

std::string link_static(const Objects& objects, const std::string& prefix, const std::string& output) {
  ObjectFiles files(objects);
  if (!files.error().empty()) return files.error();
  std::string whole = files.path("whole.o");
  // With all that an executable has but libc and libm, so that users need no C++ library of ours nor link in an order.
  std::vector<std::string> line = {"-r", "-o", whole};
  append(line, files.paths());
  append(line, {"--start-group", runtime_path(), GRADC_PATH_libstdc___a, GRADC_PATH_libz_a, GRADC_PATH_libgcc_a, GRADC_PATH_libgcc_eh_a, "--end-group"});
  if (std::string error = lld(line); !error.empty()) return error;
  std::vector<char> bytes;
  if (std::string error = localize(whole, prefix, bytes); !error.empty()) return "linking failed: " + error;
  return write_then_rename(output, [&](const std::string& path) -> std::string {
    llvm::NewArchiveMember member(llvm::MemoryBufferRef({bytes.data(), bytes.size()}, "model.o"));
    if (auto failed = llvm::writeArchive(path, {std::move(member)}, llvm::SymtabWritingMode::NormalSymtab, llvm::object::Archive::K_GNU, true, false))
      return llvm::toString(std::move(failed));
    return "";
  });
}
}  // namespace gradc::codegen
